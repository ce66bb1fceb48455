"""verify.collections and verify.labels: when the order counts, and what is only a name."""

import pytest

from tests.verify.answer_tables import misjudged
from ulorl_jax.verify.collections import Parts, parts_of
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE
from ulorl_jax.verify.labels import label_of
from ulorl_jax.verify.spelling import even_out

ALIKE = r"""
x=5 ~ 5
5 ~ x = 5
x=2+3=5 ~ 5
y=2x+1 ~ 2x+1
f(x) = x^2 ~ x^2
\angle ABC = 30^\circ ~ 30
\text{Area} = 12 ~ 12
P(A) = \frac12 ~ 0.5
a_{10} = 55 ~ 55
\{1,2,3\} ~ \{3,2,1\}
\{1,2,3\} ~ 1,2,3
\{1, 2\} ~ {1,2}
1,2 ~ 2,1
1, 2 ~ 1 and 2
1, 2, and 3 ~ 1, 2, 3
1; 2 ~ 1, 2
x=1 or x=2 ~ \{1,2\}
x = 1, 2 ~ 1,2
x=1 \text{ or } x=2 ~ 2, 1
x = \pm 2 ~ 2, -2
\pm 2 ~ \{-2, 2\}
1 \pm \sqrt{19} ~ 1-\sqrt{19}, 1+\sqrt{19}
\{1\pm\sqrt{5},-2\} ~ -2, 1+\sqrt5, 1-\sqrt5
\{5\} ~ 5
\{-1\} ~ x=-1
x \in \{1,2\} ~ 1, 2
\frac12, \frac13 ~ 1/3, 0.5
\{(1,2),(3,4)\} ~ (3,4), (1,2)
\{100,200,300\} ~ 100,200,300
1,000, 2,000 ~ 2000, 1000
5,-1,000 ~ 5, -1000
9,13,-20,191 ~ 9, 13, -20, 191
x=1, y=2 ~ y=2, x=1
(x,y)=(1,2) ~ (1,2)
(1,2) ~ (1, 2.0)
\left( 3, \frac{\pi}{2} \right) ~ (3, \pi/2)
(1,2,3) ~ 1,2,3
\begin{pmatrix}1&2\\3&4\end{pmatrix} ~ \begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}
\begin{pmatrix} -1/3 \\ 2/3 \\ 5/3 \end{pmatrix} ~ \begin{pmatrix} -\frac13 \\ \frac23 \\ \frac53 \end{pmatrix}
\begin{pmatrix} 1 \\ 2 \end{pmatrix} ~ (1,2)
\left[\begin{matrix}1&2\\3&4\end{matrix}\right] ~ \begin{pmatrix}1&2\\3&4\end{pmatrix}
\left(\begin{array}{cc}1&2\\3&4\end{array}\right) ~ \begin{pmatrix}1&2\\3&4\end{pmatrix}
1:2 ~ 1/2
1:2 ~ 2:4
3 to 2 ~ 3:2
1:2:3 ~ 2:4:6
\sqrt{2}:1 ~ 2:\sqrt{2}
5 apples and 3 pears ~ 3 pears and 5 apples
A, C ~ C, A
A and C ~ A, C
x = -1 ~ -1
x=\frac{1}{2} ~ \frac12
\boxed{x = 5} ~ 5
$x=5$ and $x=6$ ~ 5, 6
x=5, x=6 ~ 5, 6
y = -2x ~ -2x
2:1 ~ 2
3:2 ~ 1.5
\begin{pmatrix} 7/17 & -3 \\ 0 & 2 \end{pmatrix} ~ \begin{pmatrix} \frac{7}{17} & -3 \\ 0 & 2 \end{pmatrix}
\begin{pmatrix} 4 \\ -10 \end{pmatrix} ~ \begin{bmatrix}4\\-10\end{bmatrix}
\begin{pmatrix} 4 \\ -10 \end{pmatrix} ~ \langle 4, -10 \rangle
3, 5, 7 ~ 7, 5, 3
3, 5, 7 ~ \{3,5,7\}
3, 5, 7 ~ 3, 5 and 7
-2,1 ~ 1 and -2
-2,1 ~ x=-2, x=1
-2,1 ~ x = -2 or x = 1
1,-2 ~ \{-2, 1\}
3 \pm 2 \sqrt{2} ~ 3+2\sqrt{2}, 3-2\sqrt{2}
x = 3 \pm 2\sqrt{2} ~ 3 \pm 2\sqrt 2
\left\{\frac{1}{2}, 3\right\} ~ 3, 0.5
\frac{dy}{dx} = 2x ~ 2x
f'(x) = 2x ~ 2x
f^{-1}(x) = \frac{x-1}{2} ~ \frac{x-1}{2}
S_n = n^2 ~ n^2
(1,2), (3,4) ~ (3,4) and (1,2)
(1, 2) and (3, 4) ~ \{(1,2),(3,4)\}
x=5, y=3 ~ (5,3)
(5,3) ~ y=3, x=5
1/2 or 0.5 ~ 1/2
2, 2 ~ 2
(x,y) = (1,2) ~ x=1,y=2
\begin{pmatrix}1\\2\\3\end{pmatrix} ~ \begin{bmatrix}1\\2\\3\end{bmatrix}
\begin{pmatrix} 1 & 2 \end{pmatrix} ~ \begin{bmatrix} 1 & 2 \end{bmatrix}
\{2\} ~ x = 2
$\{-3, 3\}$ ~ x = \pm 3
7, -7 ~ \pm 7
x = 9,13,-20,191/6 ~ 13, 9, 191/6, -20
9,13,-20,191 ~ 191, 13, 9, -20
-20,191 ~ -20191
1, -20,191 ~ -20191, 1
-1, 0, 1 ~ \{-1, 0, 1\}
1, 1/2, 1/3 ~ 1, 0.5, \frac{1}{3}
4:3 ~ \frac{4}{3}
6:4 ~ 3:2
2.5:1 ~ 5:2
2\pi:3 ~ \frac{2\pi}{3}
x = 5 \text{ cm} ~ 5
x = 5 \text{ cm} ~ 50 mm
-1 \text{ and } 1 ~ \pm 1
\left\{ -1, 1 \right\} ~ 1, -1
5\text{ and }6 ~ 6, 5
(a, b) = (3, 4) ~ (3,4)
A = 3, B = 4 ~ (3, 4)
n = 3k+1 ~ 3k+1
1/2, -3 ~ x=\frac{1}{2} \text{ or } x=-3
1 : 4 ~ \frac{1}{4}
\left(\frac12,\,-3\right) ~ (0.5, -3)
\vec{v} = (1,2) ~ (1,2)
\langle 1, 2 \rangle ~ (1,2)
\begin{pmatrix} 1 \\ 2 \end{pmatrix} ~ \langle 1,2 \rangle
x \in \{-1, 1\} ~ \pm1
f(x)=2x+3 ~ y=2x+3
\{1\pm\sqrt{5},-2\} ~ x=-2 or x=1\pm\sqrt5
\begin{pmatrix} -1/3 \\ 2/3 \\ 5/3 \end{pmatrix} ~ <-1/3, 2/3, 5/3>
\begin{pmatrix} -1/3 \\ 2/3 \\ 5/3 \end{pmatrix} ~ [-1/3, 2/3, 5/3]
\begin{pmatrix} -1 & 0 \\ 0 & -1 \end{pmatrix} ~ [[-1,0],[0,-1]]
\frac35 ~ 3 out of 5
1:2 ~ 1 to 2
5 = x ~ 5
x=1, y=2 ~ 1, 2
\begin{pmatrix} -7 \\ 16 \\ 5 \end{pmatrix} ~ -7\mathbf{i} + 16\mathbf{j} + 5\mathbf{k}
\langle 3, -4 \rangle ~ 3\mathbf{i} - 4\mathbf{j}
\begin{pmatrix} 3 \\ 4 \end{pmatrix} ~ [3, 4]^T
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} ~ \begin{pmatrix} 1 & 3 \\ 2 & 4 \end{pmatrix}^T
(3,4) ~ P(3,4)
\frac{\pi}{4}+k\pi, k\in\mathbb{Z} ~ \frac{5\pi}{4}+k\pi, k\in\mathbb{Z}
x = k\pi, k \in \mathbb{Z} ~ x = n\pi where n is an integer
"""
UNLIKE = r"""
3,-2,100 ~ 3,-2,101
3,-2,100 ~ 3,-2101
\begin{pmatrix} 3 \\ 4 \end{pmatrix} ~ 4\mathbf{i} + 3\mathbf{j}
\begin{pmatrix} 3 \\ 4 \end{pmatrix} ~ 3i + 4k
\begin{pmatrix} 3 \\ 4 \end{pmatrix} ~ [4, 3]^T
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} ~ \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}^T
5 apples and 3 pears ~ 3 apples and 5 pears
5 apples and 3 pears ~ 5
x=5 ~ 6
x=5 ~ x=6
x=5 ~ y=6
y=2x+1 ~ y=2x-1
y=2x+1 ~ 2x-1
(0,1) ~ (0,2)
(-\sqrt3,\sqrt3) ~ (-\sqrt2,\sqrt2)
\{1,2,3\} ~ \{1,2,4\}
\{1,2,3\} ~ \{1,2\}
1,2 ~ 1,3
1,2 ~ 1
1,2 ~ 1,2,3
3 or 5 ~ 3
x=1 or x=2 ~ x=1
\pm 2 ~ 2
1 \pm \sqrt{19} ~ 1+\sqrt{19}
1 \pm \sqrt{19} ~ 1 \pm \sqrt{17}
x=1, y=2 ~ x=2, y=1
(1,2) ~ (2,1)
(1,2) ~ (1,-2)
(1,2) ~ (1,2,3)
(1,2,3) ~ (1,3,2)
(1,2) ~ \{1,2\}
(1,2) ~ 12
(x,y)=(1,2) ~ (2,1)
\{(1,2),(3,4)\} ~ \{(1,2),(4,3)\}
\langle 1,2\rangle ~ \langle 2,1\rangle
\begin{pmatrix}1&2\\3&4\end{pmatrix} ~ \begin{pmatrix}1&2\\3&5\end{pmatrix}
\begin{pmatrix}1&2\\3&4\end{pmatrix} ~ \begin{pmatrix}1&3\\2&4\end{pmatrix}
\begin{pmatrix}1\\2\end{pmatrix} ~ \begin{pmatrix}2\\1\end{pmatrix}
1:2 ~ 2:1
1:2 ~ 2
1:2:3 ~ 1:2:4
1:2:3 ~ 3:2:1
A, C ~ A, B
\emptyset ~ \{1\}
-2,1 ~ 2,-1
-2,1 ~ -2
3,5,7 ~ 3,5,9
3,5,7 ~ 357
1,-2 ~ 1,2
1 \pm 2 ~ 3
(6,31,-1) ~ (6,31,1)
(15,-29) ~ (-29,15)
y=-2x ~ y=2x
y=2x+3 ~ y=3x+2
1:3 ~ 3:1
1:3 ~ 1:4
5:11 ~ 5/12
\begin{pmatrix} 4 \\ -10 \end{pmatrix} ~ \begin{pmatrix} 4 \\ 10 \end{pmatrix}
\begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix} ~ \begin{pmatrix} 0 & 1 \\ 1 & 0 \end{pmatrix}
\{1,2\} ~ \{-1,-2\}
x=5 ~ x=-5
x=1 or x=2 ~ x=1 or x=3
x=1, y=2 ~ x=1, y=3
f(x)=x^2 ~ f(x)=2x
x=5, y=3 ~ (3,4)
(1,2), (3,4) ~ (1,2)
(1,2), (3,4) ~ (1,3), (2,4)
2, 2 ~ 3
\pm 7 ~ 7
\pm 7 ~ \pm 6
-1,0,1 ~ -1,0
4:3 ~ 3:4
4:3 ~ 4:5
\{2\} ~ \{-2\}
x = 5 \text{ cm} ~ 5 m
x = 5 \text{ cm} ~ 6
-1 \text{ and } 1 ~ 1
a=3, b=4 ~ a=4, b=3
A=3, B=4 ~ (3,5)
(0,-3) ~ (-3,0)
(0,-3) ~ (0,3)
y = 2x + 3 ~ y = 2x + 3x
f(x)=2x+3 ~ f(x)=2x-3
\frac35 ~ 3 out of 4
\begin{pmatrix} -1/3 \\ 2/3 \\ 5/3 \end{pmatrix} ~ <-1/3, 2/3, 3/5>
\begin{pmatrix} -1 & 0 \\ 0 & -1 \end{pmatrix} ~ [[-1,0],[0,1]]
"""
UNKNOWN = r"""
(1,2) ~ 1,2
1,5 ~ 1.5
1, 1, 2 ~ 1, 2
3,-2,100 ~ 3,-2100
(5,-1,000) ~ (5,-1000)
\frac{\pi}{3}+k\pi, k\in\mathbb{Z} ~ \frac{\pi}{6}+k\pi, k\in\mathbb{Z}
1 and 1/2 ~ 3/2
x \in \{1,2\} ~ b \in \{1,2\}
x=1, y=2 ~ 2, 1
x=1, y=2 ~ \{1, 2\}
5 apples and 3 pears ~ 3, 5
"""


def test_answers_that_are_the_same_are_found_so():
    assert misjudged(ALIKE, SAME) == []


def test_answers_that_differ_are_found_so():
    assert misjudged(UNLIKE, DIFFERENT) == []


def test_what_cannot_be_known_is_not_decided():
    assert misjudged(UNKNOWN, UNSURE) == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1, 2", Parts("list", ["1", "2"])),
        ("1,000, 2,000", Parts("list", ["1000", "2000"])),
        (r"\{1,234\}", Parts("set", ["1", "234"])),
        ("(1,2)", Parts("tuple", ["1", "2"])),
        ("[1,2]", Parts("brackets", ["1", "2"])),
        ("<1,2>", Parts("tuple", ["1", "2"])),
        ("1, 2, and 3", Parts("list", ["1", "2", "3"])),
        (r"\pm 2", Parts("list", ["2", "-2"])),
        (r"1 \pm \sqrt{2}", Parts("list", [r"1 +\sqrt{2}", r"1 +-\sqrt{2}"])),
        ("(1,2), (3,4)", Parts("list", ["(1,2)", "(3,4)"])),
        ("(x,y)=(1,2)", Parts("tuple", ["1", "2"], "x,y")),
    ],
)
def test_an_answer_in_parts_is_cut_into_them(text, parts):
    assert parts_of(even_out(text)) == parts


@pytest.mark.parametrize("text", ["5", "1,234", "(1+2)", "(1,2", "(((", "x+1", r"\frac{1,2}{3}", ", ,"])
def test_one_value_has_no_parts(text):
    assert parts_of(even_out(text)) is None


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("x = 5", ("x", "5")),
        ("x = 2 + 3 = 5", ("x", "5")),
        ("f(x) = x^2", ("f(x)", "x^2")),
        (r"\angle ABC = 30", (r"\angle ABC", "30")),
        ("5 = x", ("x", "5")),
        ("x = x^2", None),
        ("2x = 10", None),
        ("x = 1, 2", None),
        ("x = ", None),
    ],
)
def test_a_name_before_an_equals_sign_is_a_label(text, label):
    assert label_of(even_out(text)) == label
