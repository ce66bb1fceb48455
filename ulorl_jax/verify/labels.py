r"""What stands behind "x =", "f(x) =", "\angle ABC =" and "Area =": the value, whose name does not count."""

from __future__ import annotations

import re

from ulorl_jax.verify.algebra import is_constant_renamed, relation_of
from ulorl_jax.verify.asking import Ask
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Comparison
from ulorl_jax.verify.expressions import names_in, readings
from ulorl_jax.verify.numbers import in_words, ratio, rational
from ulorl_jax.verify.quantities import quantity
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
NAMED = r"\s*(?:[A-Z]{1,2}|[a-df-hj-z])(?:_\w|_\{\w+\})?\s*"  # a segment, a letter; not e and i
# An area, the largest value of a formula, the ratio of two things: the number behind "=" is what is asked for.
MEASURED = re.compile(
    rf"\[\s*[A-Z]{{3,6}}\s*\]|(?:\\text\{{|\\)?(?:min|max)\}}?\s*(?:\([^,]+\)|\\\{{[^,]+\\\}})"
    rf"|{NAMED}[:/]{NAMED}|\\frac\s*\{{{NAMED}\}}\s*\{{{NAMED}\}}"
)
CALL_OF_NUMBER = re.compile(r"([fghpFGHPQ])\s*\(\s*(\d+)\s*\)")
CALL = re.compile(r"([A-Za-z])\s*\(\s*([a-z])\s*\)")
MOST_SIDES = 5
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


def last_of_chain(text: str, ask: Ask) -> str | None:
    """What an equation ends in whose sides are all the same formula: 17 of "10 + 7 = 17"; None where it says more."""
    sides = split(text, "=")
    if sides is None or not 2 <= len(sides) <= MOST_SIDES or not all(map(readings, map(_enclosed, sides[:-1]))):
        return None
    if any(re.fullmatch(r"[A-Za-z]", side) for side in sides) or re.search(r"[<>]|\\[lgn]e(?![A-Za-z])|\\approx", text):
        return None
    counted = quantity(sides[-1])  # 20 - 3 = 17 apples
    last = sides[-1] if counted is None else counted.value
    return sides[-1] if all(ask(_enclosed(side), last).outcome == SAME for side in sides[:-1]) else None


def expressed(text: str) -> tuple[str, bool] | None:
    r"""The number that an expression is said to be.

    Args:
      text: evened out.

    Returns:
      ("16", True) of "\min(a+3b) = 16", and ("8", False) of "m+n = 8", which may be a line as well; None of
      "2x = 8": there x is what is asked for.
    """
    sides = split(text, "=")
    if sides is None or not 2 <= len(sides) <= MOST_SIDES or label_of(text) is not None:
        return None
    values = {rational(side) for side in sides[1:]}
    if len(values) > 1 or (None in values and (len(sides) > 2 or not _is_value(sides[1]))):
        return None
    if MEASURED.fullmatch(sides[0]):
        return sides[-1], True
    left = CALL_OF_NUMBER.sub(r"\1_{\2}", sides[0].replace(r"\angle", ""))
    return (sides[-1], False) if len(names_in(left)) > 1 else None


def _is_value(text: str) -> bool:
    """Whether it is a number, a ratio of numbers, or a number with a unit that cannot be a factor."""
    if rational(text) is not None or ((parts := ratio(text)) and None not in map(rational, parts)):
        return True
    counted = quantity(text)
    return counted is not None and rational(counted.value) is not None and not names_in(text)


def _enclosed(side: str) -> str:
    """In an equation "17 - 3" is no span."""
    return f"({side})"


def compare_labelled(a: str, b: str, ask: Ask) -> Comparison | None:
    """x=5 and 5, y=2x+1 and 2x+1; two equations in other letters are left to the relations."""
    if "=" in a or "=" in b:
        last_a, last_b = last_of_chain(a, ask), last_of_chain(b, ask)
        if (last_a or last_b) and (last_a or relation_of(a) is None) and (last_b or relation_of(b) is None):
            return ask(last_a or a, last_b or b)
        for equation, other in ((a, b), (b, a)):
            said = expressed(equation)
            if said is None or not _is_value(other):
                continue
            value, is_sure = said
            found = ask(value, other)
            if is_sure:
                return found
            if found.outcome == SAME:
                return Comparison(SAME if equation is b else UNSURE, "the value of a combination")
    of_a, of_b = label_of(a), label_of(b)
    if of_a is not None and of_b is not None:
        (name, value), (other_name, other_value) = of_a, of_b
        calls = CALL.fullmatch(name), CALL.fullmatch(other_name)
        if calls[0] and calls[1] and calls[0][1] == calls[1][1] and calls[0][2] != calls[1][2]:
            # f(x) = x^2 and f(t) = t^2
            renamed = re.sub(rf"(?<![A-Za-z\\]){calls[1][2]}(?![A-Za-z])", calls[0][2], other_value)
            if calls[0][2] in names_in(other_value) or calls[1][2] in names_in(renamed):
                return None
            return ask(value, renamed)
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
