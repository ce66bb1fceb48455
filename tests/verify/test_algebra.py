"""verify.algebra and verify.values: formulas and relations by their values, exactly and within bounds."""

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verify.answer_tables import misjudged
from ulorl_jax.verify.algebra import compare_formulas, relation_of
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE
from ulorl_jax.verify.expressions import readings
from ulorl_jax.verify.rules import compare
from ulorl_jax.verify.spelling import even_out
from ulorl_jax.verify.values import NoValue, context, evaluate, exact

ALIKE = r"""
\sqrt{8} ~ 2\sqrt2
2√3 ~ \sqrt{12}
sqrt(2)/2 ~ \frac{1}{\sqrt{2}}
\sqrt[3]{16} ~ 2\sqrt[3]{2}
\sqrt[3]{-8} ~ -2
8^{1/3} ~ 2
2^{1/2} ~ \sqrt{2}
\frac{\sqrt{3}}{3} ~ \frac{1}{\sqrt3}
\frac{\sqrt{5}-1}{2} ~ \frac{2}{1+\sqrt{5}}
\sqrt{3+2\sqrt{2}} ~ 1+\sqrt{2}
3\sqrt{13} ~ \sqrt{117}
2pi ~ 2\pi
π/2 ~ \frac{\pi}{2}
\frac{1}{2}\pi ~ \frac{\pi}{2}
18+2\pi ~ 2(\pi + 9)
e^{i\pi} ~ -1
\ln(e^2) ~ 2
\ln 8 ~ 3\ln 2
\log_2 8 ~ 3
\log_{10} 100 ~ 2
3\log 2 ~ \log 8
\sin 30^\circ ~ \frac12
\sin\frac{\pi}{6} ~ 0.5
\cos^2 x + \sin^2 x ~ 1
\tan x ~ \frac{\sin x}{\cos x}
\sin 2x ~ 2\sin x\cos x
\cot x ~ \frac{1}{\tan x}
\arctan 1 ~ \frac{\pi}{4}
\tan^{-1} 1 ~ \frac{\pi}{4}
2x+1 ~ 1+2x
(x+1)^2 ~ x^2+2x+1
(a+5)(b+2) ~ ab+2a+5b+10
x(x+1) ~ x^2+x
p - q ~ -q + p
\frac{11+9a}{20} ~ \frac{9a+11}{20}
\frac{x^2-1}{x-1} ~ x+1
x^2y ~ yx^2
xy ~ yx
5r^5 ~ 5 r^{5}
x^{-1} ~ \frac1x
\frac{a^2 - b^2}{2a} ~ \frac{(a-b)(a+b)}{2a}
\pi r^2 ~ \pi r r
e^{x}e^{y} ~ e^{x+y}
\ln(xy) ~ \ln x + \ln y
2^{n+1} ~ 2\cdot 2^n
n! ~ n(n-1)!
\binom{n}{2} ~ \frac{n(n-1)}{2}
a_1+a_2 ~ a_{2}+a_{1}
\alpha+\beta ~ \beta+\alpha
2+3i ~ 3i+2
(1+i)^2 ~ 2i
6 - 5i ~ -5i + 6
x² + 1 ~ x^2+1
y=2x+1 ~ 2x-y+1=0
x^2+y^2=1 ~ 2x^2+2y^2=2
xy=1 ~ 1 = yx
5x - 7y + 11z + 4 = 0 ~ 10x - 14y + 22z = -8
\frac{x^2}{4}+\frac{y^2}{9}=1 ~ 9x^2+4y^2=36
a>b ~ b<a
x+y \le 1 ~ 1 \geq x + y
2x+2y<2 ~ x+y<1
\binom{2n}{k} - 2\binom{n}{k} ~ -2\binom{n}{k}+\binom{2n}{k}
\int_0^1 x\,dx ~ \frac{1}{2}
\sum_{k=1}^{4} k ~ 10
\frac {7}{3} \sqrt {3} ~ \frac{7\sqrt3}{3}
\sqrt{\frac{35}{2}} ~ \frac{\sqrt{70}}{2}
11\sqrt2 ~ 11 \cdot \sqrt{2}
11\sqrt2 ~ 11*sqrt(2)
\frac{1}{2}\ln 2 ~ \ln\sqrt2
\ln 2 - \frac{1}{2} ~ -0.5+\ln(2)
\frac{4.5\sqrt{3}}{\pi} ~ \frac{9\sqrt3}{2\pi}
8^{1/8} ~ 2^{3/8}
288 \pi ~ 288pi
\frac{20000}{\pi} ~ \frac{2\cdot 10^4}{\pi}
x^5 - x^4 + x^3 - x^2 + x - 1 ~ (x-1)(x^4+x^2+1)
6r^2-4r-24 ~ 2(3r^2 - 2r - 12)
8n^2 + 4n + 1 ~ 1+4n(2n+1)
-13x+3 ~ 3-13x
15x - 80 ~ 5(3x-16)
x^3+3x-6 ~ x^{3} + 3 x - 6
\cot x ~ \frac{\cos x}{\sin x}
4x^2 -2x + \frac{3}{2} ~ \frac{8x^2-4x+3}{2}
\frac{2}{x} + 4x^2 ~ \frac{2+4x^3}{x}
y = -2x ~ y+2x=0
y=2x+3 ~ y - 2x = 3
2k+2 ~ 2(k+1)
-1 + i ~ i-1
\frac{1}{2}+\frac{\sqrt{3}}{2}i ~ \frac{1+i\sqrt{3}}{2}
\frac{1}{2}+\frac{\sqrt{3}}{2}i ~ e^{i\pi/3}
x^{ - 1}y^{ - 1} ~ \frac{1}{xy}
\frac{1}{xy} ~ 1/(xy)
\sqrt{x} ~ x^{1/2}
\frac{2n+2}{3} ~ \frac{2(n+1)}{3}
e ~ e^1
1-e ~ -e+1
a^2+b^2=c^2 ~ c^2=a^2+b^2
\sin(\theta) ~ \sin\theta
\log_a b ~ \frac{\ln b}{\ln a}
2\theta ~ \theta + \theta
-\frac{\sqrt{2}}{2} ~ -\frac{1}{\sqrt{2}}
\frac{-\sqrt2}{2} ~ -\frac{\sqrt2}{2}
x^{2}+y^{2} ~ y^2+x^2
x^2 - 4 = 0 ~ x^2 = 4
2x + 3y = 6 ~ y = 2 - \frac{2}{3}x
y - 3 = 2(x - 1) ~ y = 2x + 1
e^{2\ln 3} ~ 9
\log_3 27 ~ 3
\log_4 8 ~ \frac32
\frac{\ln 8}{\ln 2} ~ 3
\sqrt{50} ~ 5\sqrt{2}
\sqrt[4]{81} ~ 3
27^{2/3} ~ 9
\cos 60^\circ ~ \frac12
\cos\frac{\pi}{3} ~ \sin\frac{\pi}{6}
\tan 45^\circ ~ 1
\arcsin\frac12 ~ \frac{\pi}{6}
\sec x ~ \frac{1}{\cos x}
1 - 2\sin^2 x ~ \cos 2x
\frac{e^x+e^{-x}}{2} ~ \cosh x
\frac{1}{x(x+1)} ~ \frac1x - \frac{1}{x+1}
\frac{x+1}{x+1} ~ 1
(a-b)(a+b) ~ a^2-b^2
3i + 4 ~ 4+3i
\frac{1}{i} ~ -i
\sqrt{-4} ~ 2i
(2+i)(2-i) ~ 5
|3+4i| ~ 5
y=3x-5 ~ 3x-y=5
y=3x-5 ~ 3x - y - 5 = 0
y = \frac{1}{2}x + 3 ~ x - 2y + 6 = 0
(x-1)^2+(y+2)^2=9 ~ x^2+y^2-2x+4y-4=0
x^2+y^2=25 ~ x^2 + y^2 = 5^2
2\sqrt{2}i ~ i\sqrt{8}
-i ~ -1i
(2x-1)(x+3) ~ 2x^2+5x-3
(x+3)(2x-1) ~ (2x-1)(x+3)
3(x-2)(x+2) ~ 3x^2-12
\frac{1}{2}bh ~ \frac{bh}{2}
\frac{n(n+1)}{2} ~ \frac{n^2+n}{2}
a^{-2} ~ \frac{1}{a^2}
\sqrt{a}\sqrt{b} ~ \sqrt{ab}
\ln\frac{a}{b} ~ \ln a - \ln b
\log_2 x + \log_2 y ~ \log_2(xy)
\sin^2\theta ~ 1-\cos^2\theta
3x ~ 3\cdot x
\frac{\sqrt[3]{4}}{2} ~ 2^{-1/3}
\frac{5}{\sqrt[3]{25}} ~ \sqrt[3]{5}
11\sqrt2 ~ 11*2^(1/2)
6 - 5i ~ 6+(-5)i
p - q ~ -(q-p)
\cot x ~ cos x/sin x
\frac{3\sqrt{3}}{4} ~ 3√3/4
\frac{3\sqrt{3}}{4} ~ 0.75√3
8 \cdot \sqrt[4]{2} ~ 8\cdot 2^{0.25}
y = 2x + 3 ~ 2x+3=y
"""
UNLIKE = r"""
\sqrt2 ~ 1.414
\sqrt2 ~ 1.41421356237309
\pi ~ 3.14159
\pi ~ \frac{22}{7}
e ~ 2.718281828
\sqrt8 ~ 2\sqrt3
\sqrt8 ~ 4
2\sqrt3 ~ 3\sqrt2
\sqrt[3]{2} ~ \sqrt{2}
\sqrt{2}+\sqrt{3} ~ \sqrt{5}
3\pi ~ \pi^3
\ln 2 ~ \ln 3
\log_2 8 ~ \log_3 8
\sin 30^\circ ~ \frac{\sqrt3}{2}
\sin x ~ \cos x
\sin^2 x ~ \sin x^2
\tan x ~ \cot x
2x+1 ~ 2x-1
(x+1)^2 ~ x^2+1
(x+1)^2 ~ x^2+2x+2
x^2 ~ x^3
x+y ~ x-y
p-q ~ q-p
2k ~ 2k+1
5r^5 ~ 5r^4
\frac{x}{y} ~ \frac{y}{x}
3x ~ 3
n ~ 7
2+3i ~ 2-3i
2+3i ~ 3+2i
6-5i ~ 6
a_1 ~ a_2 + 1
n! ~ (n+1)!
y=2x+1 ~ 2x-y+2=0
y=2x+1 ~ x=2y+1
x^2+y^2=1 ~ x^2+y^2=2
x^2+y^2=1 ~ x^2-y^2=1
x^2=4 ~ x^2=9
a>b ~ a<b
a>b ~ a \ge b
x+y<1 ~ x+y \le 1
x+y<1 ~ x+y<2
y = x ~ y > x
2008!-1 ~ 2\sqrt{61}
tan 45 ~ 1
\frac{1}{2}x ~ \frac{2}{x}
x^5-x^4+x^3-x^2+x-1 ~ x^5-x^4+x^3-x^2+x+1
6r^2-4r-24 ~ 6r^2+4r-24
2k+2 ~ 2k+1
y=2x+3 ~ x=2y+3
5x-7y+11z+4=0 ~ 5x-7y+11z-4=0
1+274i ~ 1-274i
3-2\sqrt2 ~ 3+2\sqrt2
\frac{\sqrt3}{3} ~ \frac{\sqrt3}{2}
\frac{1}{\sqrt3} ~ \frac{\sqrt3}{2}
\frac{\sqrt{2}}{2} ~ 0.707
\frac{1+\sqrt5}{2} ~ 1.618
\frac{20000}{\pi} ~ 6366.2
288\pi ~ 904.78
288\pi ~ 288
12\pi ~ 12
e^2 ~ 7.389
\ln 2 ~ 0.693
\log_2 3 ~ \log_3 2
\sqrt[3]{3} ~ 3^{1/2}
|x| ~ -|x|
x^2y ~ xy^2
\sin x + C ~ \cos x + C
\frac{a}{b+c} ~ \frac{a}{b}+c
\frac{a+b}{c} ~ a+\frac{b}{c}
(a+b)^2 ~ a^2+b^2
\sqrt{a^2+b^2} ~ a+b
2^{x+1} ~ 2^x+1
\alpha ~ \beta
\theta ~ 2\theta
x_1 ~ x_2
x^2=4 ~ x=2
2x+3y=6 ~ 3x+2y=6
y-3=2(x-1) ~ y=2x+2
e^{2\ln 3} ~ 6
\log_4 8 ~ 2
\sqrt{50} ~ 25\sqrt2
27^{2/3} ~ 18
\cos 60^\circ ~ \cos 30^\circ
\cos 60 ~ \frac12
\sec x ~ \csc x
\frac1x-\frac1{x+1} ~ \frac{1}{x+1}-\frac1x
(a-b)^2 ~ a^2-b^2
\frac1i ~ i
|3+4i| ~ 7
\sqrt{-4} ~ 2
x^2+y^2 ~ (x+y)^2
y=3x-5 ~ 3x+y=5
y=\frac12x+3 ~ 2x-y+3=0
(x-1)^2+(y+2)^2=9 ~ (x+1)^2+(y-2)^2=9
(x-1)^2+(y+2)^2=9 ~ (x-1)^2+(y+2)^2=3
(2x-1)(x+3) ~ 2x^2-5x-3
\frac12bh ~ bh
a^{-2} ~ -a^2
\log_2 x+\log_2 y ~ \log_2(x+y)
\sqrt[3]{5} ~ \sqrt[3]{25}
\cot x ~ sin x/cos x
2n ~ 2k
3x ~ 3y
"""
UNKNOWN = r"""
10^{10^{10}} ~ 10^{10^{10}}+1
9^{9^{9^{9}}} ~ 9^{9^{9^{8}}}
\log 100 ~ 2
1/2x ~ \frac{x}{2}
\sqrt{x^2} ~ x
\cos(n\pi) ~ (-1)^n
\pi r^2 ~ \pi R^2
x^2+C ~ x^2+1+C
1/0 ~ 1
0^0 ~ 1
(-8)^{1/3} ~ -2
AB ~ 5
2n ~ 2N
"""


def test_answers_that_are_the_same_are_found_so():
    assert misjudged(ALIKE, SAME) == []


def test_answers_that_differ_are_found_so():
    assert misjudged(UNLIKE, DIFFERENT) == []


def test_what_cannot_be_known_is_not_decided():
    assert misjudged(UNKNOWN, UNSURE) == []


def test_a_reference_that_minds_the_sign_is_no_formula_that_does_not():
    assert compare(r"|t|\sqrt{1+t^2}", r"t\sqrt{1+t^2}").outcome == DIFFERENT
    assert compare(r"t\sqrt{1+t^2}", r"|t|\sqrt{1+t^2}").outcome == UNSURE


def value_of(text: str):
    (tree,) = readings(even_out(text))
    return evaluate(tree, {}, None)


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        (r"\sqrt{2}", "1.4142135623730950488016887242"),
        (r"\pi", "3.1415926535897932384626433833"),
        ("e", "2.7182818284590452353602874714"),
        (r"\ln 2", "0.69314718055994530941723212146"),
        (r"\sin 1", "0.84147098480789650665250232163"),
        (r"\arctan 2", "1.1071487177940905030170654602"),
        (r"\sqrt[3]{-2}", "-1.2599210498948731647672106073"),
        (r"\frac{1+\sqrt{5}}{2}", "1.6180339887498948482045868344"),
    ],
)
def test_values_have_the_digits_of_the_books(text, digits):
    assert context().nstr(value_of(text), 29) == digits


@pytest.mark.parametrize(
    "text",
    ["1/0", "0^0", r"\tan\frac{\pi}{2}", r"\ln 0", "10^{121}", "10^{-121}", "10^{10^{10}}", "e^{e^{e^{e}}}",
     r"\sin(10^{16})", r"\tanh 101", "(-8)^{1/3}", r"\sqrt[4]{-1}", "200!", r"\cosh(10^9)"],
)  # fmt: skip
def test_what_is_undefined_or_leaves_the_bounds_has_no_value(text):
    with pytest.raises(NoValue):
        value_of(text)


def test_a_tower_of_powers_costs_nothing():
    began = time.monotonic()
    for text in ("9^{9^{9^{9^{9}}}}", "10^{10^{10}}", "99999!", "(5000!)^{5000}", r"\binom{5000}{2500}^{99}"):
        (tree,) = readings(text)
        assert exact(tree) is None
    assert exact(readings("5000!/4999!")[0]) == 5000
    assert time.monotonic() - began < 5


def test_a_difference_in_the_fiftieth_digit_is_a_difference():
    close = "1." + "4142135623730950488016887242096980785696718753769"
    assert compare_formulas(r"\sqrt{2}", close).outcome == DIFFERENT
    assert compare_formulas(r"\sqrt{2}+10^{-100}", r"\sqrt{2}").outcome == DIFFERENT
    assert compare_formulas("x+10^{-100}", "x").outcome == DIFFERENT


def test_a_relation_is_cut_at_its_sign_and_turned_to_the_left():
    assert relation_of("2 x + 1 = y") == ("2 x + 1", "=", "y")
    assert relation_of("a > b") == ("b", "<", "a") and relation_of(r"a \ge b") == ("b", r"\le", "a")
    assert relation_of("a < b < c") is None and relation_of("x") is None and relation_of("= 3") is None


coefficients = st.integers(-9, 9)


@given(coefficients, coefficients, coefficients)
def test_a_factored_polynomial_is_the_same_as_its_terms_and_as_no_other(a, b, c):
    terms = f"{b * c}+{b + c}x+x^2".replace("+-", "-")
    assert compare_formulas(f"(x+{b})(x+{c})".replace("+-", "-"), terms).outcome == SAME
    assert compare_formulas(f"{terms}+{abs(a)}", terms).outcome == (SAME if a == 0 else DIFFERENT)


@given(st.integers(2, 10**6))
def test_a_root_is_no_decimal_unless_it_is_a_whole_number(n):
    root = Fraction(round(n**0.5 * 10**9), 10**9)
    same = root * root == n
    assert compare_formulas(rf"\sqrt{{{n}}}", f"{float(root):.9f}").outcome == (SAME if same else DIFFERENT)
