"""verify.numerals: Roman numerals against numbers, and letters that are none."""

import pytest

from tests.verify.answer_tables import misjudged
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE
from ulorl_jax.verify.numerals import numeral
from ulorl_jax.verify.rules import compare

ALIKE = r"""
8 ~ VIII
14 ~ XIV
14.0 ~ $\mathrm{XIV}$
8 ~ \text{VIII}
8 ~ viii
6 ~ (vi)
fourteen ~ XIV
1994 ~ MCMXCIV
400 ~ CD
2000 ~ MM
8 apples ~ VIII
19th ~ XIX
8 ~ x = VIII
VIII ~ viii
(II) ~ II
I and III ~ III and I
II, VI ~ 2, 6
"""
UNLIKE = r"""
8 ~ XIV
3 ~ XVI
2 ~ IV
VIII ~ VII
XI ~ IX
VI ~ IV
I ~ II
9 ~ viii
1/2 ~ VIII
-2 ~ II
1/2 ~ X
20th ~ XIX
9 apples ~ VIII
I, II ~ 1, 3
10 ~ 2X
10 ~ x
1000 ~ m
ellipse ~ 4
"""
# A variable, an option of A to E, a segment CD, a product iv, or letters that are no numeral.
UNKNOWN = r"""
3 ~ V
3 ~ I
5 ~ X
5th ~ V
5 volts ~ V
0 ~ I
100 ~ C
500 ~ D
5 ~ C
4 ~ CD
4 ~ vi
vi ~ iv
I, II ~ 1, 2
100 ~ (C)
500 ~ \textbf{(D)}
1 ~ (I)
5 volts ~ (V)
5 volts ~ V volts
$10 ~ $X
4 ~ IIII
8 ~ IIX
9 ~ CIVIC
"""


def test_a_numeral_is_its_number():
    assert misjudged(ALIKE, SAME) == []


def test_a_numeral_is_no_other_number():
    assert misjudged(UNLIKE, DIFFERENT) == []


def test_letters_that_may_be_something_else_are_not_decided():
    assert misjudged(UNKNOWN, UNSURE) == []


@pytest.mark.parametrize("pair", ["1 ~ I", "5 ~ V", "10 ~ X", "50 ~ L", "1000 ~ M", "10.0 ~ X", "5 ~ (V)"])
def test_one_letter_is_a_number_as_the_reference_and_may_be_a_name_as_the_prediction(pair):
    number, letter = pair.split(" ~ ")
    assert compare(letter, number).outcome == SAME
    assert compare(number, letter).outcome == UNSURE


@pytest.mark.parametrize("pair", ["X = 10 ~ X", "V = 5 ~ V", "I = 1 ~ I", "M = 1000 ~ M", "I = 5 ~ V", "10 ~ y = X"])
def test_the_name_of_the_unknown_is_not_its_value(pair):
    assert compare(*pair.split(" ~ ")).outcome == UNSURE


def test_every_number_below_4000_has_one_numeral():
    # As the Romans wrote: digit by digit, each place in its own letters.
    ones = ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"]
    tens, hundreds = ([digit.translate(str.maketrans("IVX", letters)) for digit in ones] for letters in ("XLC", "CDM"))
    for number in range(1, 4000):
        m, c, x, i = map(int, f"{number:04d}")
        assert numeral("M" * m + hundreds[c] + tens[x] + ones[i]) == number


@pytest.mark.parametrize(
    "text", ["", "IIII", "IC", "VX", "MMMM", "IXI", "A", "x", "cm", "mix", "Iv", "8", "X Y", "(C)", "(I)", "D)"]
)
def test_other_letters_are_no_numeral(text):
    assert numeral(text) is None
