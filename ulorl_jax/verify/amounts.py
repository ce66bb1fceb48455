"""Amounts as people say them: "2 hours and 30 minutes", "an hour and a half", "half a week", "1h30"."""

from __future__ import annotations

import functools
import re
from fractions import Fraction
from typing import NamedTuple

from ulorl_jax.verify.numbers import in_words, rational
from ulorl_jax.verify.spelling import plain
from ulorl_jax.verify.units import registry, unit_names

MOST_PARTS = 4  # 1 day 2 hours 3 minutes 4 seconds
WORD = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:/\d+)?|[A-Za-z]+(?:-[A-Za-z]+)*|,", re.ASCII)
SHORT = [
    (re.compile(r"(\d+)\s*'\s*(\d+(?:\.\d+)?)\s*(?:\"|'')"), r"\1 feet \2 inches"),
    # Of 1h15s the 15 are no minutes, nor is the 1 of it.
    (
        re.compile(r"\b(\d+)\s*h\s*(\d+)(?:\s*(?:m|mins?)(?![A-Za-z])|(?!\s*(?:[A-Za-z\d]|[.,/]\d)))"),
        r"\1 hours \2 minutes",
    ),
    (re.compile(r"\$\s*(\d+),? (?:and )?(?=\d+ cents?\Z)"), r"\1 dollars "),
]
PART_OF = re.compile(r"(?P<share>.+?)(?: of)? an?|(?P<couple>a couple) of")  # a quarter of an hour, half a mile
VAGUE = {"bit", "bits"}  # a bit of luck


class Part(NamedTuple):
    """So many of a unit, by pint's name."""

    count: Fraction
    unit: str


@functools.lru_cache(maxsize=4096)
def amount(text: str) -> tuple[Part, ...] | None:
    """The parts of an amount, the larger unit first: (1 hour, 30 minutes).

    Args:
      text: evened out.

    Returns:
      None where it is anything else, or more is said; whether the units go together is not looked at.
    """
    text = plain(text)
    for pattern, spelled_out in SHORT:
        text = pattern.sub(spelled_out, text)
    if WORD.sub("", text).strip():
        return None
    parts: list[Part] = []
    count: list[str] = []
    joint = ""
    for word in WORD.findall(text):
        unit = unit_names().get(word)
        if count and unit and (len(word) > 2 or count[-1][-1].isdigit()) and word not in VAGUE:
            value = _count(count)
            if value is None or (parts and count[0] in ("a", "an") and not joint):
                return None  # 40 miles an hour
            parts.append(Part(value, unit))
            count, joint = [], ""
        elif not count and parts and word in (",", "and"):
            joint = word
        else:
            count.append(word.lower())
    if count or joint:
        more = in_words(" ".join(count))
        if joint != "and" or len(parts) != 1 or more is None or not 0 < more < 1:
            return None
        parts = [Part(parts[0].count + more, parts[0].unit)]  # an hour and a half
    return tuple(parts) if 1 <= len(parts) <= MOST_PARTS else None


def total(parts: tuple[Part, ...]) -> Part | None:
    """All of it in the last unit; None where the units do not go together, or it is a list of several amounts.

    Not cheap: it asks pint.
    """
    if not parts:
        return None
    measured = [registry().Quantity(part.count, part.unit) for part in parts]
    units = [registry().Quantity(Fraction(1), part.unit) for part in parts]
    if not all(one.is_compatible_with(units[-1]) for one in units):
        return None
    for larger, smaller, one in zip(units, units[1:], measured[1:], strict=False):
        if larger <= smaller or one > larger:
            return None  # 2 hours and 3 hours; 1 day and 36 hours
    return Part(Fraction(sum(one.to(units[-1]).magnitude for one in measured)), parts[-1].unit)


def _count(words: list[str]) -> Fraction | None:
    text = " ".join(words)
    if text in ("a", "an"):
        return Fraction(1)
    if found := PART_OF.fullmatch(text):
        if found["couple"]:
            return Fraction(2)
        value = in_words(found["share"]) or in_words(f"a {found['share']}")  # third of a mile
        return value if value is not None and 0 < value < 1 else None
    value = rational(text)
    return value if value is not None and value >= 0 else None
