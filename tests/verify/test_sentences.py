r"""What is said around an answer, times, steps, residues and brackets of other countries: both outcomes of each."""

from tests.verify.answer_tables import misjudged
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE
from ulorl_jax.verify.rules import compare

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
5x-7y+11z+4 = 0 ~ The plane is 5x-7y+11z+4=0.
(3,4) ~ The point is (3, 4).
\{1,2\} ~ The solutions are x = 1 and x = 2
\text{Navin} ~ Navin would earn the most
3 \mid n ~ n is divisible by 3
isosceles ~ isosceles triangle
17:25 ~ twenty-five past five in the afternoon
x=5 ~ x = 5 is the only solution (x = 1 is extraneous)
17 ~ 10+7 = 17
x^2-1 ~ (x-1)(x+1) = x^2-1
f(x) = x^2 ~ f(t) = t^2
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
5x-7y+11z+4 = 0 ~ The plane is 5x-7y+11z-4=0.
(3,4) ~ The point is (4, 3).
3,4 ~ The solutions are 3 and 5
\text{Navin} ~ Luka would earn the most
3 \mid n ~ n is divisible by 6
isosceles ~ equilateral triangle
5:25 pm ~ twenty-five past five in the morning
x=1 ~ x = 5 is the only solution (x = 1 is extraneous)
17 ~ 11+7 = 18
f(x) = x^2 ~ f(t) = t^3
"""
UNKNOWN = r"""
east ~ She is not facing East.
5 ~ The sum is not 5
10 ~ twice the number is 10
yes ~ Yes, but only if n is even
0.474 ~ \frac{9}{19} \approx 0.474
right triangle ~ right angle
the first house ~ the red house
30m ~ 30 minutes
\lfloor x \rfloor ~ x
\lfloor n/2 \rfloor ~ \frac{n-1}{2}
y = Ce^x ~ y = Ae^x
$18/day ~ $18 per week
Area = 5 ~ Perimeter = 5
infinitely many ~ \infty
Evelyn ~ Briana is faster than Evelyn
17 ~ 10+8 = 17
x^2+1 ~ (x-1)(x+1) = x^2+1
"""


def test_answers_that_are_the_same_are_found_so():
    assert misjudged(ALIKE, SAME) == []


def test_answers_that_differ_are_found_so():
    assert misjudged(UNLIKE, DIFFERENT) == []


def test_what_cannot_be_known_is_not_decided():
    assert misjudged(UNKNOWN, UNSURE) == []


COUNTED = r"""
15 ~ Sam has 15 more popsicles than Betty
120 ~ Tim deals with 120 calls
6,250 ~ Each student raised \$6250
7 ~ Mary needs to buy 7 more boxes
7 ~ 7 days left
7 ~ exactly 7
\$70 ~ He spent a total of \$70
366 ~ The program had 366 downloads in the three months
160 ~ It takes Carla 160 minutes to download the file
\$12 ~ Janet makes \$12 every day at the market.
"""
COUNTED_OTHERWISE = r"""
15 ~ Sam has 51 more popsicles than Betty
15 \text{ cm} ~ Sam has 15 kg left
\$15 ~ Sam has 15 euros left
150 ~ Sam has \$15 left
7 ~ The total number of apples is 17
7 ~ between 6 and 8
"""
# Another value may be made of the number, or it is not the answer.
NOT_COUNTED = r"""
7 ~ Tim has more than 7 apples
7 ~ Tim has at least 7 apples
7 ~ about 7 apples
7 ~ He needs 7 more than twice that
7 ~ 7 pairs of shoes
7 ~ half of the 7 apples
7 ~ James ate all but 7 apples
7 ~ The price dropped by 7
7 ~ the number of divisors of 7
7 ~ increase of 7 percent
7 ~ floor 7
7 ~ There are 7 times as many apples
7 ~ James ate 3 of the 7 apples
15 ~ He sold 1/5 of 15
"""


def test_a_sentence_with_one_number_gives_that_number():
    assert misjudged(COUNTED, SAME) == []
    assert misjudged(COUNTED_OTHERWISE, DIFFERENT) == []


def test_a_number_of_which_another_value_may_be_made_is_not_taken_for_the_answer():
    assert misjudged(NOT_COUNTED, UNSURE) == []


def test_a_value_of_a_combination_is_the_answer_but_an_equation_is_not_answered_by_its_right_side():
    assert compare("8", "m+n = 8").outcome == SAME
    assert compare("9", "m+n = 8").outcome == DIFFERENT
    assert compare("x+y = 8", "8").outcome == UNSURE
    assert compare("8", "2x = 8").outcome == UNSURE


COMPUTED = r"""
14 ~ Erin has 17 - 3 = 14 lollipops left
14 ~ The total number of apples is 10 + 4 = 14
\$15 ~ She pays 3 * 5 = \$15
1,234 ~ They sold 1,000 + 234 = 1,234 tickets
14 ~ Taking 3 from 17 leaves 14
14 ~ The sum of 10 and 4 gives 14
14 ~ 17 - 3 = 14
"""
COMPUTED_OTHERWISE = r"""
15 ~ Erin has 17 - 3 = 14 lollipops left
3 ~ Erin has 17 - 3 = 14 lollipops left
"""
# The computation is wrong, goes on, or is one of two; what comes out is not the last word.
NOT_COMPUTED = r"""
14 ~ Erin has 17 - 3 = 15 lollipops left
15 ~ Erin has 17 - 3 = 15 lollipops left
14 ~ Erin has 17 - 3 = 14x left
14 ~ Erin has 17 - 3 = 14 + x left
14 ~ x + 17 - 3 = 14 is true
14 ~ He had 7 * 2 = 14 apples and ate 3
6 ~ Tom has 5 + 5 = 10 and Ann has 3 + 3 = 6
17 ~ Taking 3 from 17 leaves 14
3 ~ Taking 3 from 17 leaves 14
14 ~ Taking 3 from 17 leaves about 14
14 ~ Taking 3 from 17 leaves 14 pairs of shoes
"""


def test_a_sentence_is_read_by_what_its_computation_comes_to():
    assert misjudged(COMPUTED, SAME) == []
    assert misjudged(COMPUTED_OTHERWISE, DIFFERENT) == []
    assert misjudged(NOT_COMPUTED, UNSURE) == []
