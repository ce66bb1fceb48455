r"""What stands behind "x =", "f(x) =", "\angle ABC =" and "Area =": the value, whose name does not count."""

from __future__ import annotations

import re

from ulorl_jax.verify.algebra import is_constant_renamed, relation_of
from ulorl_jax.verify.asking import Ask
from ulorl_jax.verify.comparison import DIFFERENT, UNSURE, Comparison
from ulorl_jax.verify.expressions import names_in
from ulorl_jax.verify.numbers import in_words
from ulorl_jax.verify.spelling import compact, members_of, plain, split

LABEL = re.compile(
    r"""(?!\\?(?:ln|log|exp|sqrt)(?![a-z]))             # of these the value is not what is asked for
        (?P<label> (?: \\(?:vec|overrightarrow|overline)\s*\{?[A-Za-z]+\}?
                     | \\frac\s*\{d[a-z]?\}\s*\{d[a-z]\}          # dy/dx
                     | [a-zA-Z]\s*\^\s*\{-1\}                      # the inverse of f
                     | \\text\{[^{}]*\} | (?:m\s*)?\\angle
                     | \|?[A-Za-z]+\|?(?:[ ][A-Za-z]+){0,3} | \\[a-z]+ )
          (?:_\s*(?:\w|\{[^{}]*\}))? '{0,2} (?:\s*\([\w, ]*\)|[ ][A-Z]{1,3})? )
        \s*=\s*(?P<value>.+)""",
    re.VERBOSE | re.DOTALL,
)
TURNED = re.compile(r"(?P<value>[^A-Za-z=]+)=\s*(?P<label>[A-Za-z])")  # 5 = x


def label_of(text: str) -> tuple[str, str] | None:
    """("x", "5") of "x = 5", and of "x = 2 + 3 = 5"."""
    found = LABEL.fullmatch(text) or TURNED.fullmatch(text)
    if not found or (len(members_of(text) or [""]) > 1 and in_words(plain(found["value"])) is None):
        return None  # "and" in a number is no list
    if re.search(r"[<>]|\\[lgn]e(?![A-Za-z])|\\approx|\bnot\b", text):
        return None
    sides = split(found["value"], "=")
    if sides is None or not all(sides):
        return None
    if found["label"] in names_in(sides[-1]):
        return None  # x = x^2 - 2 is an equation
    return found["label"], sides[-1]


def compare_labelled(a: str, b: str, ask: Ask) -> Comparison | None:
    """x=5 and 5, y=2x+1 and 2x+1; two equations in other letters are left to the relations."""
    of_a, of_b = label_of(a), label_of(b)
    if of_a is not None and of_b is not None:
        (name, value), (other_name, other_value) = of_a, of_b
        values = ask(value, other_value)
        if values.outcome == DIFFERENT and is_constant_renamed(value, other_value):
            return Comparison(UNSURE, "another letter for a constant")
        if compact(name) == compact(other_name):
            return values
        if ("(" in name) != ("(" in other_name) and values.outcome != UNSURE:
            return values  # y = 2x and f(x) = 2x
        if names_in(value) or names_in(other_value):
            return None
        if values.outcome == DIFFERENT or (len(name) == len(other_name) == 1):
            return values  # the letter of the one unknown is no part of its value
        return Comparison(UNSURE, f"{name} and {other_name}")
    if of_a is not None:
        return None if relation_of(b) else ask(of_a[1], b)
    if of_b is not None:
        return None if relation_of(a) else ask(a, of_b[1])
    return None
