r"""verify.expressions and verify.tokens: a formula is read in full and as people read it, or not at all."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulorl_jax.verify.expressions import names_in, readings
from ulorl_jax.verify.spelling import even_out

HALF = ("/", Fraction(1), Fraction(2))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("2x", ("*", 2, "x")),
        ("-3^2", ("neg", ("^", 3, 2))),
        (r"\frac12", HALF),
        (r"\frac1{1+x}", ("/", 1, ("+", 1, "x"))),
        (r"3\frac{1}{2}", Fraction(7, 2)),
        ("3 1/2", Fraction(7, 2)),
        (r"3\frac{x}{2}", ("*", 3, ("/", "x", 2))),
        (r"x\frac{1}{2}", ("*", "x", HALF)),
        ("2(3)", ("*", 2, 3)),
        ("1,234.5", Fraction(2469, 2)),
        ("1 000 000", 10**6),
        ("1.5e-3", Fraction(3, 2000)),
        (r"0.1\overline{6}", Fraction(1, 6)),
        (r"\sqrt[3]{2}", ("root", 2, 3)),
        ("sqrt(2)", ("root", 2, 2)),
        (r"\sin 2x", ("sin", ("*", 2, "x"))),
        (r"\sin^2 x", ("^", ("sin", "x"), 2)),
        (r"\sin^{-1} x", ("arcsin", "x")),
        (r"\sin x\cos x", ("*", ("sin", "x"), ("cos", "x"))),
        (r"\log_2 8", ("log", 8, 2)),
        ("a_{10}+a_1", ("+", "a_10", "a_1")),
        ("2pi", ("*", 2, r"\pi")),
        ("abc", ("*", ("*", "a", "b"), "c")),
        ("10!", ("!", 10)),
        ("2!3!", ("*", ("!", 2), ("!", 3))),
        ("|x-1|", ("abs", ("-", "x", 1))),
        (r"\binom52", ("binom", 5, 2)),
        ("2^{10}", ("^", 2, 10)),
        ("2**-1", ("^", 2, ("neg", 1))),
        (r"\cos x/\sin x", ("/", ("cos", "x"), ("sin", "x"))),
    ],
)
def test_a_formula_is_read_as_people_read_it(text, tree):
    assert readings(even_out(text)) == (tree,)


def test_a_division_before_a_product_is_read_in_two_ways():
    assert readings("1/2x") == (("*", HALF, "x"), ("/", Fraction(1), ("*", Fraction(2), "x")))
    assert len(readings("1/2+x")) == len(readings("(1/2)x")) == 1


@pytest.mark.parametrize(
    "text",
    ["", "foo", "one", "men", "listen", "12 3", "x2", "5%", "1,2", "1,23", "f(x)", "3!!", "2^3^2", "(1", "1)", "((2x)",
     "x+", "*x", "()", r"\frac{1}", r"\sqrt12", r"\text{cm}", "5 or so", "any", "all", "5_8", "3-5", "2021-03-05",
     r"\int x", r"\sin 2(x+1)", r"\sin x/2", r"2\frac{5}{3}", "1.2.3", "x=1", "a<b", "|x", "0x1F", "1e5000", "\\",
     "5\x00", "(" * 21 + "1" + ")" * 21],
)  # fmt: skip
def test_what_is_not_understood_in_full_is_not_read(text):
    assert readings(text) == ()


def test_names_are_letters_less_the_constants():
    assert names_in(r"ax+\pi e^{i\theta}") == {"a", "x", r"\theta"}


@given(st.text(alphabet=r"\{}()[]|^_+-*/!.,° 0123456789xyzabfracsqrtpisinlog", max_size=60))
def test_any_text_is_read_or_refused(text):
    assert len(readings(even_out(text))) in (0, 1, 2)
