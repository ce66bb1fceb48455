r"""What is said around an answer, times, steps, residues and brackets of other countries: both outcomes of each."""

from tests.verify.answer_tables import misjudged
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE

ALIKE = r"""
\text{east} ~ She is facing East.
\text{east} ~ to the east
ellipse ~ It is an ellipse.
c ~ c is the greatest
Evelyn ~ Evelyn has the greatest average speed.
yes ~ Yes, it is.
7425 ~ She makes \$7,425 in one week.
\frac{20000}{\pi} ~ \frac{20000}{\pi} \approx 6366.2 \text{ m}^2
[-2,1[ ~ -2 \le x < 1
]-\infty,2] \cup ]3,5[ ~ x \le 2 or 3 < x < 5
(-\infty,22) ~ (-oo, 22)
(-\infty,-9) \cup [6,\infty) ~ x \in (-oo,-9) U [6,oo)
(0,9) \cup (9,36) ~ 0 < x < 36,\ x \neq 9
(0,9) \cup (9,36) ~ (0,36) \setminus \{9\}
(-1,1) ~ |x| < 1
x > 2 ~ x is greater than 2
906 ~ x = nine hundred and six
\frac{13}{15} ~ thirteen fifteenths of the pie
33\frac{1}{3}\% ~ one third of the students
77\% of 250.00 ~ \$192.50
12:40 ~ twenty minutes to one
half past two ~ 2:30
3:03 pm ~ 3.03 PM
\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix} ~ \frac{1}{3}\begin{pmatrix} -1 \\ 2 \end{pmatrix}
\begin{pmatrix} -1 & 0 \\ 0 & -1 \end{pmatrix} ~ -\begin{bmatrix} 1 & 0 \\ 0 & 1 \end{bmatrix}
\begin{pmatrix} 7 \\ 36 \end{pmatrix} ~ x = 7, y = 36
861_{12} ~ 861 (base 12)
-37_8 ~ -(37)_8
\lceil n/2 \rceil ~ \lfloor (n+1)/2 \rfloor
6:5:4 ~ a : b : c = 12 : 10 : 8
\sqrt{2} : 1 ~ √2 to 1
\frac{3}{5} ~ three out of five
n = 5 ~ x = 5
E ~ E) (1, 2)
11m^3+7m^2 ~ 7m^2+11m^3
140 ~ 140 CZK
2 ~ 2 kPa
4 ~ 4 pounds each
40 miles an hour ~ 40 mph
n \equiv 1 \pmod 3 ~ n \equiv 4 \pmod 3
6 or 397/9 or 18 ~ x = 18,6,397/9
"""
UNLIKE = r"""
\text{west} ~ She is facing East.
\text{west} ~ to the east
ellipse ~ It is a parabola.
b ~ c is the greatest
no ~ Yes, it is.
7426 ~ She makes \$7,425 in one week.
\frac{9}{19} ~ x \approx 0.474
[-2,1[ ~ -2 \le x \le 1
]0,1[ ~ [0,1[
(-\infty,22) ~ (-oo, 22]
(0,9) \cup (9,36) ~ 0 < x < 36,\ x \neq 8
[-1,1] ~ |x| < 1
x > 2 ~ x is at least 2
916 ~ x = nine hundred and six
\frac{13}{16} ~ thirteen fifteenths of the pie
33.3\% ~ one third of the students
12:20 ~ twenty minutes to one
3:03 pm ~ 3.04 PM
\begin{pmatrix} -1/3 \\ 2 \end{pmatrix} ~ \frac{1}{3}\begin{pmatrix} -1 \\ 2 \end{pmatrix}
\begin{pmatrix} 1 & -1 \\ 1 & \phantom -1 \end{pmatrix} ~ \begin{pmatrix} 1 & -1 \\ 1 & -1 \end{pmatrix}
\begin{pmatrix} 36 \\ 7 \end{pmatrix} ~ x = 7, y = 36
861_{11} ~ 861 (base 12)
200203_{-4} ~ 200203_4
\lfloor \frac{n-1}{2} \rfloor ~ \lfloor \frac{n}{2} \rfloor
\binom{2n}{k} - 2\binom{n}{k} ~ \binom{2n}{k} - \binom{n}{k}
5:6:4 ~ a : b : c = 12 : 10 : 8
2:3 ~ three to two
n = 5 ~ x = 6
D) ~ E. -5
10-3t+6n ~ 6n+10-3m
140 EUR ~ 140 CZK
2 kPa ~ 2 Pa
Nadia Larson ~ Nadia Lawson
Black rectangle ~ Yellow rectangle
one solution ~ no solution
infinitely many ~ empty set
3 \mid n ~ n \mid 3
n \equiv 1 \pmod 3 ~ n \equiv 1 \pmod 4
0.07g ~ 70 \text{ millimeters}
"""
UNKNOWN = r"""
east ~ She is not facing East.
5 ~ The sum is not 5
10 ~ twice the number is 10
yes ~ Yes, but only if n is even
0.474 ~ \frac{9}{19} \approx 0.474
right triangle ~ right angle
the first house ~ the red house
isosceles ~ isosceles triangle
30m ~ 30 minutes
\lfloor x \rfloor ~ x
\lfloor n/2 \rfloor ~ \frac{n-1}{2}
y = Ce^x ~ y = Ae^x
$18/day ~ $18 per week
Area = 5 ~ Perimeter = 5
infinitely many ~ \infty
"""


def test_answers_that_are_the_same_are_found_so():
    assert misjudged(ALIKE, SAME) == []


def test_answers_that_differ_are_found_so():
    assert misjudged(UNLIKE, DIFFERENT) == []


def test_what_cannot_be_known_is_not_decided():
    assert misjudged(UNKNOWN, UNSURE) == []
