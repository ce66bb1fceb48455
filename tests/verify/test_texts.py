"""verify.texts: options, yes and no, words, times, dates, and nothing at all."""

from tests.verify.answer_tables import misjudged
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE

ALIKE = r"""
all real numbers ~ \mathbb{R}
(-\infty,\infty) ~ all real numbers
Monday ~ \text{monday}
Paris ~ PARIS
the ellipse ~ ellipse
an ellipse ~ \text{ellipse}
right-angled ~ right angled
Yes ~ yes
yes ~ True
\text{No} ~ no
False ~ false
A ~ (A)
\text{(C)} ~ C
\textbf{(B)} ~ \text{B}
B ~ B) 5
C ~ C. 5
(C) 5 ~ C
Option A ~ A
\textbf{(D)}\ 12 ~ D
no solution ~ \emptyset
no real solutions ~ \varnothing
\{\} ~ none
empty set ~ ∅
\infty ~ infinity
+\infty ~ ∞
-\infty ~ negative infinity
12:30 ~ 12:30 pm
2:30 pm ~ 14:30
2:30 p.m. ~ 2:30 PM
5 pm ~ 5:00 p.m.
noon ~ 12:00 pm
5 o'clock ~ 5:00
9:24 ~ 09:24
March 5, 2021 ~ 5 March 2021
March 5, 2021 ~ 2021-03-05
5th of March 2021 ~ Mar 5, 2021
Friday, March 5, 2021 ~ 2021-03-05
\text{(C)} ~ \text{C}
\textbf{(C) }5 ~ C
\mathrm{(C)} ~ C
C. \text{yes} ~ C
(C)\ 5 ~ C
12:40 ~ 12:40 PM
4:45 ~ 4:45 p.m.
9:36 ~ 9:36 AM
\infty ~ +\infty
+\infty ~ \text{infinity}
undefined ~ does not exist
DNE ~ does not exist
No solution. ~ \text{no solution}
no solutions ~ There is no solution
\text{June 20} ~ June 20th
20 June ~ June 20
July 4, 1776 ~ 4 July 1776
no ~ No.
$\text{odd}$ ~ Odd
Team A ~ team A
square ~ a square
A team ~ team
all reals ~ \mathbb{R}
10 o'clock ~ 10:00
10:05 a.m. ~ 10:05 AM
midnight ~ 12:00 am
Dec 25 ~ December 25
25 December 2020 ~ 12/25/2020
Sunday ~ sunday
green ~ Green
New York ~ new york
isosceles triangle ~ Isosceles triangle
an isosceles triangle ~ isosceles triangle
(D) ~ D)
choice B ~ B
\text{no real solution} ~ \emptyset
10 \text{ a.m.} ~ 10:00 AM
8 a.m. ~ 8:00 am
April 1st ~ 1 April
\text{(C)} ~ c)
\text{(C)} ~ option C
\text{(C)} ~ choice c
Saturday ~ Sat
even ~ even function
gold ~ golden
"""
UNLIKE = r"""
8 ~ cannot be determined
8 ~ not enough information
8 ~ impossible
8 ~ I'm not sure
8 ~ yes
Evelyn ~ Evelyn or Briana
0 ~ \text{no solution}
even ~ odd function
Saturday ~ Sun
x ~ y
3, maybe 5 ~ 3
3 or maybe 5 ~ 5
either 3 or 5 ~ 3
Monday ~ Tuesday
listen ~ silent
even ~ odd
\text{east} ~ west
Evelyn ~ Briana
ellipse ~ parabola
Yes ~ No
True ~ False
yes ~ false
A ~ B
A ~ (B)
\text{(C)} ~ D
A) 5 ~ B) 6
A ~ B. 5
A or B ~ A
A, C ~ A
no solution ~ 5
\infty ~ -\infty
\infty ~ 5
no solution ~ \infty
all real numbers ~ no solution
12:30 ~ 12:31
12:30 am ~ 12:30 pm
2:30 pm ~ 2:30 am
2:30 ~ 3:30
14:30 ~ 15:30
March 5, 2021 ~ March 6, 2021
March 5, 2021 ~ May 3, 2021
March 5, 2021 ~ March 5, 2020
2021-03-05 ~ 2021-05-03
\text{(C)} ~ \text{(E)}
A) 3 ~ B) 4
Evelyn ~ Debra
north ~ south
golden ~ silver
yes ~ no
increasing ~ decreasing
12:40 ~ 12:04
12:40 ~ 1:40
9:24 am ~ 9:24 pm
June 20 ~ June 21
June 20 ~ July 20
June 20, 2020 ~ June 20, 2021
no solution ~ 0.5
\infty ~ 100
undefined ~ 3
square ~ circle
northeast ~ northwest
square ~ 4
Team A ~ Team B
10:05 am ~ 10:05 pm
midnight ~ noon
Dec 25 ~ Dec 24
25 December 2020 ~ 12/24/2020
green ~ blue
\mathbb{R} ~ \emptyset
(D) ~ (B)
Sunday ~ Monday
10 a.m. ~ 10 p.m.
April 1 ~ April 2
"""
UNKNOWN = r"""
none of the above ~ cannot be determined
2:30 ~ 14:30
3/5/2021 ~ 5 March 2021
March 5 ~ March 5, 2021
AB ~ BA
dog ~ god
(A) ~ 5
A) 5 ~ A) 6
A) 5 ~ B) 5
does not exist ~ no solution
the first house ~ the red house
ellipse ~ ellipses
increases ~ increasing
triangle ~ triangular
infinite ~ infinity
northeast ~ NE
kilogram ~ kg
yes ~ Y
certain ~ 1
a ~ A
New York ~ York
A) B) ~ C
A) B) ~ A
"""


def test_answers_that_are_the_same_are_found_so():
    assert misjudged(ALIKE, SAME) == []


def test_answers_that_differ_are_found_so():
    assert misjudged(UNLIKE, DIFFERENT) == []


def test_what_cannot_be_known_is_not_decided():
    assert misjudged(UNKNOWN, UNSURE) == []
