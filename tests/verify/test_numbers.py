"""verify.numbers: one value, however it is written, and no rounding."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verify.answer_tables import misjudged
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE
from ulorl_jax.verify.numbers import in_words, ordinal, ratio, rational
from ulorl_jax.verify.rules import compare
from ulorl_jax.verify.spelling import even_out

ALIKE = r"""
\dfrac12 ~ 1/2
\tfrac{1}{2} ~ 0.5
\frac{-1}{2} ~ -\frac{1}{2}
-\frac{1}{-2} ~ 0.5
.5 ~ 1/2
0.50 ~ 0.5
one half ~ 0.5
a half ~ 1/2
three quarters ~ 0.75
two-thirds ~ \frac{2}{3}
one third ~ 1/3
three and a half ~ 3.5
twenty-one ~ 21
Twenty one ~ 21
one hundred and five ~ 105
minus five ~ -5
negative three ~ -3
zero ~ 0
-0 ~ 0
0.0 ~ 0
3 1/2 ~ 7/2
3\frac12 ~ 3.5
-3\frac{1}{2} ~ -\frac{7}{2}
137 \frac{1}{2} ~ 137.5
1,000,000 ~ 10^6
1 000 000 ~ 1000000
2.5 million ~ 2500000
3 thousand ~ 3000
two dozen ~ 24
1.2 \times 10^{-3} ~ 0.0012
1.2e-3 ~ 0.0012
1.2E3 ~ 1200
1.5 \cdot 10^{3} ~ 1500
6.02×10^23 ~ 6.02 \times 10^{23}
0.\overline{3} ~ \frac13
0.1\overline{6} ~ 1/6
0.\overline{142857} ~ 1/7
1.\overline{9} ~ 2
.0000672 ~ 6.72 \times 10^{-5}
2^{10} ~ 1024
2**10 ~ 1024
2^10 ~ 1024
5! ~ 120
\binom{5}{2} ~ 10
\binom52 ~ 10
{5 \choose 2} ~ 10
0.1+0.2 ~ 0.3
3 \times 4 ~ 12
3×4 ~ 12
12 ÷ 4 ~ 3
2(3) ~ 6
4 \cdot 7! ~ 20160
\frac{366}{31 \times 24} ~ \frac{61}{124}
\sqrt{16} ~ 4
|{-5}| ~ 5
\lfloor 3.7 \rfloor ~ 3
\lceil 3.2 \rceil ~ 4
1 dozen ~ 12
3rd ~ third
21st ~ twenty-first
3rd ~ 3
52_8 ~ 52_{8}
4210_{5} ~ 4210_5
101_2 ~ 5_{10}
½ ~ 1/2
3½ ~ 7/2
\frac{1}{2010! + 1} ~ \frac{1}{1+2010!}
2 \times 1008! ~ 1008!\cdot 2
58,500 ~ 58500
58500.00 ~ 58,500
18 ~ 18.0
18 ~ +18
\frac{3840}{289} ~ 3840/289
\frac43 ~ 4/3
\frac{{11}}{8} ~ \frac{11}{8}
\frac 59 ~ 5/9
\frac9{19} ~ 9/19
-\frac{35}{9} ~ \frac{-35}{9}
-\frac{35}{9} ~ -35/9
\frac{35}{-9} ~ -\frac{35}{9}
1\frac{4}{5} ~ 1.8
1 4/5 ~ 9/5
\sqrt{302.76} ~ 17.4
481^2 ~ 231361
3^{4} ~ 81
11011100_2 ~ 11011100_{2}
\binom{4025}{2012} ~ \binom{4025}{2013}
0.333\overline{3} ~ \frac{1}{3}
0.\dot{3} ~ 1/3
10^{-3} ~ 0.001
1 \times 10^{-3} ~ \frac{1}{1000}
4.0 \times 10^{5} ~ 400,000
2.662 \times 10^{9} ~ 2662000000
-2.5e-3 ~ -0.0025
1.5x10^3 ~ 1500
1.5 x 10^3 ~ 1500
seven ~ 7
Seventeen ~ 17
one-half ~ \frac12
one hundred ~ 100
two hundred fifty ~ 250
1st ~ first
1.5 ~ 1\frac{1}{2}
3.14 ~ 3.140
fifty ~ 50
three fifths ~ 0.6
two and a half ~ 2.5
one and three quarters ~ 1.75
negative one half ~ -0.5
one thousand two hundred ~ 1200
twelve ~ 12
1010_2 ~ 10_{10}
(1010)_2 ~ 1010_2
FF_{16} ~ ff_{16}
\frac{6!}{4!} ~ 30
\frac{1}{1+\frac{1}{2}} ~ \frac23
1\text{st} ~ first
\displaystyle\frac12 ~ 0.5
\frac{22}{7} ~ 3\frac17
1,200 ~ 1200.00
1.200 ~ 1.2
12,000,000 ~ 12 million
2^{100}-1 ~ -1+2^{100}
3^{20} ~ 3486784401
\text{two} ~ 2
1.0 \times 10^1 ~ 10
10,\!080 ~ ten thousand eighty
58,500 ~ 58.5 thousand
58,500 ~ 5.85×10^4
137 \frac{1}{2} ~ one hundred thirty-seven and a half
.35625 ~ 57/160
52_8 ~ 52 (base 8)
52_8 ~ 52 in base eight
2516_8 ~ (2516)_{8}
2.662 \times 10^{9} ~ 2.662 billion
63_{10} ~ 63
1500 ~ 1.5k
2500000 ~ \$2.5M
\frac{1}{8} ~ an eighth
\frac16 ~ one in six
5/6 ~ five over six
2500000 ~ two and a half million
2.5 million ~ two and a half million
2 and a half million ~ 2500000
1500 ~ one and a half thousand
500000 ~ half a million
750000 ~ three quarters of a million
1500000 ~ one point five million
105 ~ a hundred and five
1234 ~ one thousand, two hundred and thirty-four
2737187 ~ two million, seven hundred and thirty-seven thousand, one hundred and eighty-seven
5100 apples ~ five thousand, one hundred apples
132115 ~ a hundred thirty-two thousand, a hundred and fifteen
1000, 2000 ~ one thousand, two thousand
2000, 3000000 ~ two thousand, three million
500000, 2000000 ~ five hundred thousand, two million
2003000 ~ two million, three thousand
3.5 ~ 3 and a half
-3.5 ~ minus three and a half
0.7 ~ point seven
6 ~ half a dozen
6 eggs ~ half a dozen eggs
18 ~ a dozen and a half
18 ~ one and a half dozen
24 ~ 2 dozens
20 ~ a score
40 ~ two score
2 ~ a couple
500 ~ 5 hundreds
50 ~ 5 tens
50 ~ five tens
third ~ the third
3 ~ the 3rd
1000000.5 ~ one million and one half
"""
UNLIKE = r"""
63_{10} ~ 77
1103_6 ~ 1183_6
1500 ~ 15k
1/2 ~ 1/3
0.5 ~ 0.05
1/3 ~ 0.333
1/3 ~ 0.333333333333
0.33 ~ 1/3
2/3 ~ 0.667
0.\overline{3} ~ 0.3
0.\overline{3} ~ 0.33
1000000 ~ 1000001
123456789012345678901 ~ 123456789012345678902
0.1234567891 ~ 0.1234567892
5 ~ -5
-\frac12 ~ \frac12
3\frac12 ~ \frac32
3\frac12 ~ 31/2
1,234 ~ 1.234
1,000 ~ 1000000
1.2\times10^3 ~ 1.2\times10^{-3}
1.2e3 ~ 1.2e4
2.5 million ~ 2.5 billion
five ~ 6
two thirds ~ 3/2
twenty-one ~ 201
5! ~ 24
\binom52 ~ \binom53 + 1
2^{10} ~ 20
2^{10} ~ 1000
3rd ~ 4th
third ~ fourth
52_8 ~ 53_8
52_8 ~ 52_9
52_8 ~ 17
101_2 ~ 101_{10}
2019! ~ 2018!
10^{100} ~ 10^{101}
1+10^{-50} ~ 1
\frac{10^{20}+1}{10^{20}} ~ 1
\frac{3840}{289} ~ \frac{3840}{298}
58,500 ~ 58,501
58,500 ~ 58500.5
\frac{2}{3} ~ 0.6666666666666666
52_8 ~ 25_8
4343_6 ~ 4343_7
seven ~ eight
seven ~ 70
first ~ second
1st ~ 2nd
2 \times 10^{9} ~ 2 \times 10^{8}
2.662 \times 10^{9} ~ 2.66 \times 10^{9}
1e-3 ~ 1e3
10^{-3} ~ 1000
2^{2005} ~ 2^{2006}
\binom{4025}{2012} ~ \binom{4025}{2011}
5 halves ~ 5
fifty ~ fifteen
fifty ~ 15
three fifths ~ five thirds
two and a half ~ 2.2
negative one half ~ 0.5
twelve ~ 20
1010_2 ~ 1011_2
1,200 ~ 1.2
12 million ~ 12 thousand
2^{100}-1 ~ 2^{99}-1
52_8 ~ 52 in base nine
\binom{5}{2} ~ C(5,3)+1
58,500 ~ 58.5 million
6 ~ five over six
2000000 ~ two and a half million
2.5 ~ two and a half million
0.5 ~ half a million
500 ~ half a million
3000 ~ one thousand, two thousand
2003000000 ~ two thousand, three million
1034 ~ one thousand, two hundred and thirty-four
150 ~ a hundred and five
3.2 ~ 3 and a half
2.5 ~ minus two and a half
7 ~ half a dozen
12.5 ~ a dozen and a half
2 ~ a score
3 ~ a couple
50 ~ 5 hundreds
1/2 ~ a second
third ~ the fourth
third ~ 5
1/5 ~ first
"""
UNKNOWN = r"""
third ~ 1/3
52_8 ~ 52
1/2 ~ half a dozen
1 ~ a dozen
1 ~ a couple
5 ~ 5 hundreds
5 ~ five tens
100 ~ hundreds
1500000 ~ a million and a half
1000000.5 ~ a million and a half
3.5 ~ 3 and one half
3 ~ threefold
14 ~ catorce
14 ~ quattordici
11 ~ once
52_8 ~ 42
"""


def test_answers_that_are_the_same_are_found_so():
    assert misjudged(ALIKE, SAME) == []


def test_answers_that_differ_are_found_so():
    assert misjudged(UNLIKE, DIFFERENT) == []


def test_what_cannot_be_known_is_not_decided():
    assert misjudged(UNKNOWN, UNSURE) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("zero", 0),
        ("one", 1),
        ("twenty-one", 21),
        ("one hundred and five", 105),
        ("minus seventeen", -17),
        ("a dozen", 12),
        ("two dozen", 24),
        ("three and a half", Fraction(7, 2)),
        ("five sixths", Fraction(5, 6)),
        ("three hundredths", Fraction(3, 100)),
        ("three point one four", Fraction(157, 50)),
        ("two thirds of a dozen", 8),
        ("three quarters of a million", 750000),
    ],
)
def test_words_name_numbers(text, value):
    assert in_words(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "one two",
        "five apples",
        "third",
        "half five",
        "point",
        "and",
        "one point",
        "5",
        "score",
        "couple",
        "hundreds",
        "a million and a half",
        "a second",
        "half of a",
        "two of a million",
    ],
)
def test_other_words_name_no_number(text):
    assert in_words(text) is None


@pytest.mark.parametrize(
    "text",
    ["", "x", "1/0", "0^0", "1/2/0", "12 3", "1.2.3", "1,23", "5%", "5 cm", "3-5", "10^{10^{10}}", "9999!", "1e5000",
     "2^{1000000}", r"\binom{9999}{5000}", r"\sqrt{2}", "5!!", "2^3^2", "f(2)", r"2\frac{5}{3}"],
)  # fmt: skip
def test_what_is_no_bounded_rational_number_has_no_value(text):
    assert rational(even_out(text)) is None


def test_a_place_is_read_in_digits_and_in_words():
    assert [ordinal(text) for text in ("1st", "2nd", "third", "twenty-first", "3")] == [1, 2, 3, 21, None]


def test_a_reference_that_is_an_ordinal_is_its_number_and_a_third_may_be_a_fraction():
    assert compare("third", "3").outcome == compare("twenty-first", "21").outcome == SAME
    assert compare("3", "third").outcome == compare("1/3", "third").outcome == UNSURE
    assert compare("third", "4").outcome == compare("4", "third").outcome == DIFFERENT


def test_a_ratio_has_parts_that_are_formulas():
    assert ratio("1:2:3") == ["1", "2", "3"] and ratio("3 to 2") == ["3", "2"]
    assert ratio("12") is None and ratio("1:") is None and ratio("a word: 3") is None


@given(st.fractions(max_denominator=10**6))
def test_every_fraction_has_its_value_in_every_writing(number):
    top, bottom = number.numerator, number.denominator
    for text in (f"{top}/{bottom}", rf"\frac{{{top}}}{{{bottom}}}", f"{2 * top} / {2 * bottom}", f"{top:,}/{bottom:,}"):
        assert rational(even_out(text)) == number


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9))
def test_every_decimal_has_its_value_and_a_last_digit_more_another(number):
    text = f"{number:f}"
    assert rational(even_out(text)) == Fraction(text)
    assert rational(even_out(f"{text}1")) != Fraction(text)
