r"""Answers in several parts: sets, lists, tuples, ratios.

A list is a set: "1,2" is {2,1}. The order counts in brackets and in ratios.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from typing import NamedTuple

from ulorl_jax.verify.asking import Ask
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Comparison
from ulorl_jax.verify.expressions import readings
from ulorl_jax.verify.intervals import pieces_of
from ulorl_jax.verify.labels import label_of
from ulorl_jax.verify.numbers import in_words, ratio, rational
from ulorl_jax.verify.quantities import quantity
from ulorl_jax.verify.spelling import compact, members_of, plain

MOST = 12  # members that are compared each with each; more are compared where all are numbers
THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?!\d)")
SIGNED_THOUSANDS = re.compile(r"(?<=\d,-)\d{1,3}(?:,\d{3})+(?!\d|,\d)")  # perhaps: 3,-2,100
TUPLE_LABEL = re.compile(r"\(\s*(?P<name>[^()]*?[A-Za-z][^()=]*?)\)\s*=\s*(?P<value>\(.+\))")
POINT_LABEL = re.compile(r"(?P<name>[ADEI-OQ-Z]|P)\s*(?P<value>\([^()]+,.+\))")  # A(1,2); not f(1,2)
SET_LABEL = re.compile(r"(?P<name>[A-Za-z]|\\[a-z]+)\s*(?:\\in(?![A-Za-z])|=)\s*(?P<value>\\?\{.+\})")
COORDINATES = (["x", "y"], ["x", "y", "z"])  # x=1, y=2 is the point (1,2)


class Parts(NamedTuple):
    r"""The members and how they are held: "set", "list" (without brackets), "tuple", "brackets" [1,2].

    `name` is what they were said to be: "(x,y)" of (x,y)=(1,2).
    """

    kind: str
    members: list[str]
    name: str = ""


@functools.lru_cache(maxsize=1024)
def parts_of(text: str) -> Parts | None:
    r"""The members of an evened-out text with several; \pm is two. None where it is one value."""
    if in_words(plain(text)) is not None:
        return None  # nine hundred and six
    if named := TUPLE_LABEL.fullmatch(text) or SET_LABEL.fullmatch(text):
        inner = parts_of(named["value"])
        return inner and inner._replace(name=compact(named["name"]))
    if point := POINT_LABEL.fullmatch(text):
        return parts_of(point["value"])
    if label := label_of(text):
        return parts_of(label[1])
    for opening, closing, kind in (
        (r"\{", r"\}", "set"),
        ("{", "}", "set"),
        ("(", ")", "tuple"),
        (r"\langle", r"\rangle", "tuple"),
        ("<", ">", "tuple"),
        ("[", "]", "brackets"),
    ):
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening + closing):
            inner = text[len(opening) : -len(closing)]
            members = members_of(inner, "[,;]", is_bare=False)
            if members is not None and (len(members) > 1 or kind == "set"):
                return Parts(kind, [sign for member in members for sign in _signs(member)])
    members = members_of(text)
    if members is None:
        return None
    members = [sign for member in members for sign in _signs(member)]
    return Parts("list", members) if len(members) > 1 else None


def compare_parts(a: str, b: str, ask: Ask) -> Comparison | None:
    """Two answers in parts, or one in parts and one value."""
    of_a, of_b = parts_of(a), parts_of(b)
    if of_a is None and of_b is None:
        return None
    if of_a is None or of_b is None:
        for text, other in ((a, b), (b, a)):
            if (label := label_of(text)) is not None:
                return ask(label[1], other)
        many, other = (of_a, b) if of_a else (of_b, a)
        assert many is not None
        return _compare_with_one(many, other, ask)
    found = _compare_several(of_a, of_b, ask)
    joined = [SIGNED_THOUSANDS.sub(lambda number: number[0].replace(",", ""), text) for text in (a, b)]
    if found.outcome == DIFFERENT and joined != [a, b] and ask(*joined).outcome == SAME:
        return Comparison(UNSURE, "commas of thousands, or between the values")
    return found


def compare_ratios(a: str, b: str, ask: Ask) -> Comparison | None:
    """1:2 is 2:4 and 1/2; 1:2:3 is 2:4:6."""
    of_a, of_b = ratio(a), ratio(b)
    if of_a is None and of_b is None:
        return None
    if of_a is not None and of_b is not None:
        if len(of_a) != len(of_b):
            return Comparison(DIFFERENT, "ratios of more and of fewer parts")
        quotients = [[f"({part})/({parts[-1]})" for part in parts[:-1]] for parts in (of_a, of_b)]
        return in_order(quotients[0], quotients[1], ask)
    parts, other = (of_a, b) if of_a else (of_b, a)
    if parts is None or len(parts) != 2 or not readings(other):
        return None
    if re.fullmatch("[A-Za-z]", parts[0]) and rational(parts[1]) is not None and rational(other) is not None:
        return ask(parts[1], other)  # x: 7
    return ask(f"({parts[0]})/({parts[1]})", other)


def _signs(member: str) -> list[str]:
    r"""Both values of a member with one \pm."""
    if len(re.findall(r"\\pm(?![A-Za-z])|\\mp(?![A-Za-z])", member)) != 1:
        return [member]
    upper, lower = (re.sub(r"\\[pm]{2}(?![A-Za-z])\s*", sign, member) for sign in ("+", "+-"))  # "1-2" would be a span
    return [re.sub(r"(^|[=({])\s*\+", r"\1", side) for side in (upper, lower)]


def _compare_several(of_a: Parts, of_b: Parts, ask: Ask) -> Comparison:
    """Both in parts."""
    if of_a.name and of_b.name and of_a.name != of_b.name:
        return Comparison(UNSURE, f"of {of_a.name} and of {of_b.name}")
    kinds = {of_a.kind, of_b.kind}
    if kinds <= {"tuple", "brackets"}:
        ordered = in_order(of_a.members, of_b.members, ask)
        if len(kinds) == 1 or ordered.outcome == DIFFERENT:
            return ordered
        return Comparison(UNSURE, "two kinds of brackets")
    if kinds <= {"set", "list"}:
        unordered = _unordered(of_a.members, of_b.members, ask)
        if unordered.outcome == SAME and (by_label(of_a.members) is None) != (by_label(of_b.members) is None):
            # x=1, y=2 against 1, 2: which is which is told by the order alone.
            ordered = in_order(of_a.members, of_b.members, ask)
            if kinds != {"list"} or ordered.outcome != SAME:
                return Comparison(UNSURE, "named on one side")
        return unordered
    return _compare_list_and_tuple(of_a, of_b, ask)


def _compare_list_and_tuple(of_a: Parts, of_b: Parts, ask: Ask) -> Comparison:
    """One in brackets, the other not, or in those of a set."""
    kinds = {of_a.kind, of_b.kind}
    for parts, other in ((of_a, of_b), (of_b, of_a)):
        if parts.kind == "list" and other.kind == "tuple" and (named := by_label(parts.members)):
            # x=1, y=2 against (1,2): the names in their own order.
            values = [named[name] for name in sorted(named)]
            if sorted(named) in COORDINATES:
                return in_order(values, other.members, ask)
            found = [in_order(order, other.members, ask) for order in (values, values[::-1])]
            if found[0].outcome == SAME or DIFFERENT == found[0].outcome == found[1].outcome:
                return found[0]
    unordered = _unordered(of_a.members, of_b.members, ask)
    if unordered.outcome == DIFFERENT:
        return unordered
    if kinds == {"set", "tuple"}:
        return Comparison(DIFFERENT, "a set and a tuple")
    ordered = in_order(of_a.members, of_b.members, ask)
    if kinds == {"list", "tuple"} and len(of_a.members) > 2 and ordered.outcome == SAME:
        return ordered
    return Comparison(UNSURE, "a list, and a tuple or an interval")


def _compare_with_one(many: Parts, other: str, ask: Ask) -> Comparison | None:
    if len(many.members) == 2 and rational(other) is not None:
        whole, part = map(rational, many.members)
        if whole is not None and part is not None and 0 < part < 1:
            sums = (abs(whole) + part, whole * (1 + part))  # 1 and 1/2, a million and a half
            if rational(other) in sums:
                return Comparison(UNSURE, "two values, or a mixed number: 1 and 1/2")
    if many.kind == "set" and len(many.members) == 1:
        return ask(many.members[0], other)
    if not all(map(_is_understood, many.members)):
        return None
    if THOUSANDS.fullmatch(other) and len(other.split(",")) == len(many.members):
        return compare_parts(rf"\{{{'; '.join(many.members)}\}}", rf"\{{{other.replace(',', ';')}\}}", ask)
    if re.fullmatch(r"-?\d+,\d+", ",".join(many.members)) and rational(other) == rational(".".join(many.members)):
        return Comparison(UNSURE, "a list, or a decimal comma")
    if not _is_understood(other) or pieces_of(other):
        return None
    if any(re.fullmatch(r"[^\W\d_]{3,}", plain(part)) and in_words(part) is None for part in (*many.members, other)):
        return None  # Paris, France
    outcomes = {ask(member, other).outcome for member in many.members[:MOST]}
    if outcomes == {SAME} and len(many.members) <= MOST:
        certain = many.kind in ("list", "set")
        return Comparison(SAME if certain else UNSURE, "one value, several times")
    if outcomes == {UNSURE} or outcomes == {SAME, UNSURE}:
        return Comparison(UNSURE, "one value, perhaps several times")
    return Comparison(DIFFERENT, f"{len(many.members)} values and one")


def _is_understood(text: str) -> bool:
    if bool(readings(text)) or rational(text) is not None or quantity(text) is not None or label_of(text) is not None:
        return True
    parts = parts_of(text)
    if parts is not None:
        return all(map(_is_understood, parts.members))
    return bool(re.fullmatch(r"[^\W\d_]+|\([A-J]\)", plain(text))) and in_words(text) is None


def in_order(a: list[str], b: list[str], ask: Ask) -> Comparison:
    """Compares the first with the first, and so on."""
    if len(a) != len(b):
        return Comparison(DIFFERENT, f"{len(a)} values and {len(b)}")
    found = [ask(x, y) for x, y in zip(a, b, strict=True)]
    for outcome in (DIFFERENT, UNSURE):
        for comparison in found:
            if comparison.outcome == outcome:
                return comparison
    return Comparison(SAME, "the same values in the same order")


def _unordered(a: list[str], b: list[str], ask: Ask) -> Comparison:
    numbers = [[rational(member) for member in members] for members in (a, b)]
    if None not in numbers[0] + numbers[1]:
        if Counter(numbers[0]) == Counter(numbers[1]):
            return Comparison(SAME, "the same numbers")
        same = set(numbers[0]) == set(numbers[1])
        return Comparison(UNSURE, "some numbers several times") if same else Comparison(DIFFERENT, "other numbers")
    if max(len(a), len(b)) > MOST:
        return Comparison(UNSURE, f"more than {MOST} values")
    labelled = by_label(a), by_label(b)
    if labelled[0] and labelled[1] and labelled[0].keys() == labelled[1].keys():
        return in_order(list(labelled[0].values()), [labelled[1][name] for name in labelled[0]], ask)
    table = [[ask(x, y).outcome for y in b] for x in a]
    unmatched, left = [], set(range(len(b)))
    for row in table:
        match = next((at for at in sorted(left) if row[at] == SAME), None)
        if match is None:
            unmatched.append(row)
        else:
            left.remove(match)
    if not unmatched and not left:
        return Comparison(SAME, "the same values")
    # A value that is like none on the other side proves that they differ.
    columns = [[row[at] for row in table] for at in left]
    if any(set(values) == {DIFFERENT} for values in unmatched + columns):
        return Comparison(DIFFERENT, "a value that the other does not have")
    return Comparison(UNSURE, "values that could not all be matched")


def by_label(members: list[str]) -> dict[str, str] | None:
    """x=1, y=2 and "5 apples, 3 pears" by their names; None where one has no name of its own."""
    found: dict[str, str] = {}
    for member in members:
        label, counted = label_of(member), quantity(member)
        if label is not None:
            found[compact(label[0])] = label[1]
        elif counted is not None and counted.noun:
            found[counted.noun] = counted.value
        else:
            return None
    return found if len(found) == len(members) > 1 else None
