r"""verify.labels: "b + c = 3.21" against its value, and equations that ask for a letter."""

from tests.verify.answer_tables import misjudged
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE
from ulorl_jax.verify.rules import compare

# The left side is one measured thing: in either direction the value decides.
MEASURED = r"""
16 ~ \min(a+3b) = 16
16 ~ \operatorname{max}(a+3b) = 2^4
14 ~ [\triangle ACD] = 14
14 ~ [ACD] = 14 \text{ cm}^2
3:2 ~ CD:DA = 1.5
3:2 ~ \frac{CD}{DA} = 1.5
3/2 ~ CD/DA = 6:4
3/5 ~ \frac{m}{n}=\frac35
0.6 ~ m/n = 3/5
7 ~ x: 7
x = 7 ~ x: 7
"""
MEASURED_OTHERWISE = r"""
16 ~ \min(a+3b) = 17
28 ~ [\triangle ACD] = 14
3:2 ~ CD:DA = 2/3
3:2 ~ CD:DA = 2:3
5/3 ~ \frac{m}{n}=\frac35
8 ~ \frac{m}{n}=\frac35
8 ~ x: 7
"""
# A combination of letters may be a line as well, where it is the reference.
COMBINED = [
    ("3.21", r"b + c = \frac{321}{100}"),
    ("8", "m+n = 3+5 = 8"),
    ("8", "f(2)+f(3) = 8"),
    ("90", r"\angle A + \angle B = 90^\circ"),
    ("3:2", r"\frac{AB+BC}{CD} = 1.5"),
]
# Here a letter is asked for, the sides do not agree, or the equation is no value of that thing.
COMPETING = r"""
8 ~ 2x = 8
8 ~ \frac{x}{2} = 8
8 ~ \frac{\pi}{x} = 8
8 ~ x/e = 8
8 ~ [x] = 8
8 ~ m+n = 3+6 = 8
8 ~ f(x)+f(y) = 8
\frac{n}{m}=\frac53 ~ \frac{m}{n}=\frac35
"""


def test_a_measured_thing_with_its_value_is_that_value():
    assert misjudged(MEASURED, SAME) == []
    assert misjudged(MEASURED_OTHERWISE, DIFFERENT) == []


def test_a_combination_with_the_references_value_is_the_same_but_a_combination_is_not_answered_by_it():
    for value, equation in COMBINED:
        assert (compare(value, equation).outcome, compare(equation, value).outcome) == (SAME, UNSURE), equation
    assert compare("3.22", r"b + c = \frac{321}{100}").outcome == DIFFERENT


def test_an_equation_that_can_be_solved_is_not_answered_by_its_right_side():
    assert misjudged(COMPETING, UNSURE) == []


def test_what_stands_before_a_colon_is_a_name_only_against_a_number():
    assert misjudged("x/7 ~ x:7\n1:7 ~ 2:14", SAME) == []
    assert misjudged("7 ~ 1:7\n7 ~ x:y", DIFFERENT) == []
