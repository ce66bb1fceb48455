r"""Roman numerals: VIII is 8. One letter alone (V) may also be a variable, an option or a unit.

So a letter is a number only where it is the whole reference: who answers X to "X = 10" has told nothing.
"""

from __future__ import annotations

import re
from fractions import Fraction

from ulorl_jax.verify.asking import Ask
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Comparison
from ulorl_jax.verify.numbers import ordinal, rational
from ulorl_jax.verify.quantities import quantity
from ulorl_jax.verify.spelling import plain

WORTH = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
LETTERS = re.compile("[IVXLCDM]+|[ivx]{2,}")  # cm and mix are no numerals
NUMERAL = re.compile("M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
OPTION = re.compile("[CD]")  # of A to E
MARKED_OPTION = re.compile(r"\(?[A-J]\)?")


def numeral(text: str) -> int | None:
    """8 of "VIII", from 1 to 3999; None where it is none, as IIII, IC and the option (C) are not."""
    letters = _letters(text)
    if not LETTERS.fullmatch(letters) or not NUMERAL.fullmatch(letters.upper()):
        return None
    worth = [WORTH[letter] for letter in letters.upper()]
    return sum(-one if one < after else one for one, after in zip(worth, [*worth[1:], 0], strict=True))


def is_in_roman_letters(text: str) -> bool:
    """Whether it may be meant as a numeral, be it one or not."""
    return LETTERS.fullmatch(_letters(text)) is not None


def compare_numerals(a: str, b: str, ask: Ask) -> Comparison | None:
    """A numeral against a number or another numeral."""
    values = numeral(a), numeral(b)
    if None not in values:
        if not (_is_sure(a) and _is_sure(b)):
            return None
        return Comparison(SAME if values[0] == values[1] else DIFFERENT, "Roman numerals")
    for value, text, other in ((values[0], a, b), (values[1], b, a)):
        if not is_in_roman_letters(text) or (number := _number(other)) is None:
            continue
        if value is None:
            return Comparison(UNSURE, "letters that may stand for a number: IIII")
        letters = _letters(text)
        if len(letters) == 1 and (OPTION.fullmatch(letters) or number.denominator > 1):
            return None
        if len(letters) == 1 and rational(other) is None:
            return Comparison(UNSURE, "a Roman numeral, or a letter") if number == value else None
        if number == value and (len(letters) > 1 or (text is a and ask.depth == 0)):
            return Comparison(SAME, "a Roman numeral")
        return Comparison(DIFFERENT if _is_sure(text) else UNSURE, f"{letters} may be {value}, or a name")
    return None


def _letters(text: str) -> str:
    """Without the brackets; "" of an option in them."""
    bare = plain(text)
    letters = bare.strip("()")
    return "" if letters != bare and MARKED_OPTION.fullmatch(bare) else letters


def _number(text: str) -> Fraction | None:
    """Of 8, eight, 8th and 8 apples."""
    counted = quantity(text)
    place = ordinal(text)
    return Fraction(place) if place is not None else rational(text if counted is None else counted.value)


def _is_sure(text: str) -> bool:
    """Whether nobody calls a variable, an option or a segment so: CD and XL are segments, ix and vi products."""
    letters = _letters(text)
    return len(letters) > 1 and (set(letters) <= set("IVX") or len(letters) > 3)
