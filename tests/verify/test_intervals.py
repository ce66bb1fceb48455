"""verify.intervals: the same numbers, whether in brackets, as a relation or in words."""

import pytest

from tests.verify.answer_tables import misjudged
from ulorl_jax.verify.comparison import DIFFERENT, SAME
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
