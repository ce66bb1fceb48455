"""verify.intervals: the same numbers, whether in brackets, as a relation or in words."""

import pytest

from tests.verify.answer_tables import misjudged
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE
from ulorl_jax.verify.intervals import Piece, Pieces, pieces_of
from ulorl_jax.verify.spelling import even_out

ALIKE = r"""
(0,1) ~ 0<x<1
(0,1) ~ ]0,1[
x \in (0,1) ~ (0,1)
x \in [-2,7] ~ -2 \le x \le 7
[-2,7] ~ 7 \geq x \geq -2
(3,\infty) ~ x>3
(3,\infty) ~ 3<x
(3, +\infty) ~ (3,\infty)
(-\infty, 0] ~ x \leq 0
x<1 or x>3 ~ (-\infty,1)\cup(3,\infty)
(3,\infty)\cup(-\infty,1) ~ (-\infty,1)\cup(3,\infty)
x \ne 2 ~ (-\infty,2)\cup(2,\infty)
\mathbb{R}\setminus\{2\} ~ x \neq 2
[0,1]\cup[1,2] ~ [0,2]
x > 0 and x < 1 ~ (0,1)
(-\sqrt{3}, \sqrt{3}) ~ -\sqrt3 < x < \sqrt3
\left[ \frac{\pi^2}{8}, \frac{5 \pi^2}{4} \right] ~ [\pi^2/8, 5\pi^2/4]
\{x \mid 2 < x < 3\} ~ (2,3)
(-1,6) ~ x\in(-1,6)
-1 < x < 6 ~ (-1,6)
x \in (-\infty, 2) \cup (3, \infty) ~ x < 2 \text{ or } x > 3
y \in [0,1] ~ 0 \leq y \leq 1
(3,4] ~ 3<x\le4
(3,4] ~ 3 < x \leqslant 4
(2,12) \cup (12,102) ~ (2, 12) ∪ (12, 102)
p \geq 7 ~ [7, \infty)
p \geq 7 ~ 7 \leq p
0 \leq r \leq \frac{1}{2} ~ [0, 0.5]
x > 2 ~ 2 < x
x \geq 2 ~ [2,\infty)
-3 \leq x \leq 3 ~ [-3, 3]
x \in (-\infty, -2] \cup [2, \infty) ~ x \leq -2 \text{ or } x \geq 2
1 < x \leq 5 ~ (1, 5]
x \in \mathbb{R} ~ (-\infty, \infty)
x\geqslant 1 ~ [1,\infty)
\left(-\frac{1}{2},\infty\right) ~ x>-0.5
(-\infty,-3)\cup(-3,3)\cup(3,\infty) ~ x \neq \pm 3
x \neq 1, 2 ~ (-\infty,1)\cup(1,2)\cup(2,\infty)
\mathbb{R} \setminus \{1, 2\} ~ (-\infty,1)\cup(1,2)\cup(2,\infty)
\text{all real numbers except } 2 ~ x \ne 2
[1,2] \cup \{3\} ~ \{3\} \cup [1,2]
x=3 \text{ or } x \ge 5 ~ \{3\} \cup [5, \infty)
-\infty < x < 3 ~ (-\infty,3)
-\infty < x < \infty ~ \mathbb{R}
x<-1\text{ or }x>1 ~ (-\infty,-1)\cup(1,\infty)
(-\infty, 2) \cup (3, \infty) ~ x < 2, x > 3
[0,1) ~ {x | 0 <= x < 1}
[0,1) ~ \{x \in \mathbb{R} : 0 \le x < 1\}
"""
UNLIKE = r"""
(0,1) ~ [0,1]
[0,1) ~ [0,1]
[0,1) ~ (0,1]
(0,1) ~ 0<x<2
(0,1) ~ 0 \le x<1
(3,\infty) ~ x<3
(3,\infty) ~ [3,\infty)
(3,\infty) ~ 3
(-\infty,1)\cup(3,\infty) ~ (1,3)
(-\infty,1)\cup(3,\infty) ~ (-\infty,1)\cup[3,\infty)
x \ne 2 ~ x \ne 3
x \ne 2 ~ all real numbers
(0,1)\cup(1,2) ~ (0,2)
[0,1] ~ \{0,1\}
(3,4] ~ [3,4)
(3,4] ~ (3,4)
(-\infty,2)\cup(3,\infty) ~ (-\infty,2]\cup[3,\infty)
(-\infty,2)\cup(3,\infty) ~ (-\infty,3)\cup(2,\infty)
(2,12)\cup(12,102) ~ (2,102)
x \le 5 ~ x \ge 5
x \le 5 ~ x < 5
x \in [-2,7] ~ x \in [-2,7)
p \geq 7 ~ 7
\{x \mid 2 < x < 3\} ~ (2,3]
x>2 ~ x>-2
-3 \le x \le 3 ~ (-3,3)
-3 \le x \le 3 ~ [-3,4]
(-\infty,-2]\cup[2,\infty) ~ [-2,2]
\mathbb{R} ~ (0,\infty)
(-\infty,-3)\cup(3,\infty) ~ x \ne \pm 3
[1,2]\cup\{3\} ~ [1,2]
[1,2]\cup\{3\} ~ [1,3]
x<-1\text{ or }x>1 ~ -1<x<1
[0,1) ~ {x | 0 < x < 1}
(-\infty,2)\cup(3,\infty) ~ x < 2, x > 4
"""


def test_answers_that_are_the_same_are_found_so():
    assert misjudged(ALIKE, SAME) == []


def test_answers_that_differ_are_found_so():
    assert misjudged(UNLIKE, DIFFERENT) == []


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("[0,1)", Pieces((Piece("0", True, "1", False),))),
        ("]0,1]", Pieces((Piece("0", False, "1", True),))),
        ("(0,1)", Pieces((Piece("0", False, "1", False),), is_pair=True)),
        ("0 < x <= 1", Pieces((Piece("0", False, "1", True),), "x")),
        ("x > 3", Pieces((Piece("3", False, r"\infty", False),), "x")),
        ("3 > x", Pieces((Piece(r"-\infty", False, "3", False),), "x")),
        (r"\{3\} \cup [5,6]", Pieces((Piece("3", True, "3", True), Piece("5", True, "6", True)))),
    ],
)
def test_intervals_are_read(text, pieces):
    assert pieces_of(even_out(text)) == pieces


@pytest.mark.parametrize("text", ["5", "(2,1)", "(1,2,3)", "x = 3", "x+y>1", "a>b", "0<x>1", "", r"[-\infty,0]"])
def test_other_texts_are_no_intervals(text):
    assert pieces_of(even_out(text)) is None


WORDED = r"""
(2,\infty) ~ all real numbers greater than 2
(-\infty,5] ~ all real numbers less than or equal to 5
[3,\infty) ~ x ≥ 3 (all real)
[3,\infty) ~ all x such that x \ge 3
x < \frac{1}{2} ~ less than 1/2
(0,\infty) ~ all positive real numbers
[0,\infty) ~ x is nonnegative
[2,5] ~ x is between 2 and 5, inclusive
(2,5) ~ strictly between 2 and 5
(2,5) ~ between 2 and 5
n \ge 1005 ~ all integers n ≥ 1005
all integers n > 2 ~ n \ge 3
p \ge 7 ~ all primes p ≥ 7
(-\sqrt{3},\sqrt{3}) ~ |x| < \sqrt{3}
(1,5) ~ |x-3| < 2
[1,2] ~ |2x-3| \le 1
(-\infty,1) \cup (5,\infty) ~ |x-3| > 2
"""
WORDED_OTHERWISE = r"""
(2,\infty) ~ all real numbers greater than or equal to 2
(2,\infty) ~ all real numbers less than 2
[2,5] ~ strictly between 2 and 5
(2,5) ~ between 2 and 6
n \ge 1005 ~ all integers n > 1005
(1,5) ~ |x-3| \le 2
(1,5) ~ |x+3| < 2
(1,5) ~ |x-3| > 2
p \le 1/4 ~ p < 1/4
7 ~ more than 7
"""
OPEN_TO_DOUBT = r"""
[2,5] ~ between 2 and 5
(2,5) ~ all integers between 2 and 5
x > 0 ~ all positive integers
n \ge 7 ~ all primes n ≥ 7
n \ge 3 ~ n > 2
"""


def test_conditions_in_words_and_with_absolute_values_are_intervals():
    assert misjudged(WORDED, SAME) == []
    assert misjudged(WORDED_OTHERWISE, DIFFERENT) == []


def test_what_is_said_of_integers_is_no_interval_of_real_numbers():
    assert misjudged(OPEN_TO_DOUBT, UNSURE) == []
