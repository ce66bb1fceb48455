r"""Values with units: "27\text{ cm}", "$18", "50%", "90°", "2 hours 30 minutes", "12 apples"."""

from __future__ import annotations

import functools
import re
from fractions import Fraction
from typing import NamedTuple

from ulorl_jax.verify.amounts import amount
from ulorl_jax.verify.asking import Ask
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Comparison
from ulorl_jax.verify.expressions import names_of, readings
from ulorl_jax.verify.numbers import DENOMINATORS, in_words, rational
from ulorl_jax.verify.spelling import plain
from ulorl_jax.verify.units import unit_names, unit_of

NO_UNIT = re.compile(
    r"(?:square |cubic |sq |cu )?units?(?: ?\^\{?[23]\}?| squared| cubed)?|o'clock|[ap]\.?m\.?", re.IGNORECASE
)
# Words with which more is said than what is counted.
TELLING = re.compile(
    "or|and|as|inclusive|exclusive|more|less|than|not|no|at|least|most|about|approximately|approx|around|maybe|if|when|each|every|exactly|left"
    "|remaining|over|under|below|above|up|to|plus|minus|either|only|mod|base|is|are|was|factorial|squared|cubed|pairs?"
    "|score|remainder|root|infinity|negative|pi|" + "|".join(DENOMINATORS)
)
NOUN = re.compile(r"[a-z][a-z'-]*\.?|[a-z]+/[a-z]{3,}")  # apples, Mb/hour
SHORT_NOUN = re.compile("men|ways?|boys?|eggs?|box|toys?|cats|dogs|cars|pens|pts")
# Between units of one kind: 120 may stand for 2 hours. Not 10: that is more often a digit too many.
FACTORS = {7, 12, 16, 24, 36, 60, 100, 144, 1000, 3600, 5280, 10**4, 10**6}
FACTORS_OF = {
    "fortnight": {2, 14},
    "month": {4, 30, 31},
    "year": {52, 365, 366},
    "ten_years": {10, 120},
    "century": {10},
}
ANGLE_FUNCTION = re.compile(r"(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
START = re.compile(r"(?=\\text\{)|(?<![A-Za-z\\{])(?=[A-Za-z°%$€£¥₹¢])|(?<=[°%])(?=[A-Za-z])")
PREFIX = re.compile(r"(?P<sign>-?)\s*(?:US)?(?P<unit>[$€£¥₹]|USD|EUR|GBP|Rs\.?)\s*(?P<value>[^$€£¥₹]+)")
RATE = re.compile(r"(.+?)\s*(?:/|\b(?:per|an?) )\s*[A-Za-z]+")
PER = re.compile(r"(?:/ ?|(?<!\A)\b(?:per|an?|each|every|in one) )(day|week|month|year|hour|minute|second)\b")
TIMES = re.compile(
    r"(?<=[A-Za-z])(?<!half)(?<!quarter)(?<!quarters)(?<!rds)(?<!hs)(?<! of)\s+"
    r"(?:an?|each|every) (day|week|month|year|hour|minute|second)(?=\}?\Z)"
)
TAIL = re.compile(
    r",?\s+(?:each|apiece|altogether|overall|remaining|left over|(?:in )?total"
    r"|(?:per|in one|in an?) (?:person|day|week|month|year|hour|minute|second))(?P<brace>\}?)\Z"
)
REMARK = re.compile(r"(?P<value>.*\d[\s})]*)[(\[](?P<words>[A-Za-z]{2,}(?: [A-Za-z]+){0,2})[)\]]")  # 17 (students)
SUM = re.compile(r"[\w)}]\s*[+-].*(?<! )\Z|[A-Za-z]")
COMMAND = re.compile(r"\\[A-Za-z]+|\bpi\b|(?<=\d)[eE]-?\d+")
MONEY = {"dollar", "euro", "pound_sterling", "rupee", "yen"}
# 22° 30' 36"
ARC = re.compile(
    r"(?P<sign>-?)\s*(?P<degrees>\d+)\s*(?:°|degrees?\b,?)(?=.)"
    r"(?:\s*(?:and )?(?P<minutes>\d+(?:\.\d+)?)\s*(?:'(?!')|minutes?\b,?))?"
    r"(?:\s*(?:and )?(?P<seconds>\d+(?:\.\d+)?)\s*(?:''|\"|seconds?\b))?",
    re.ASCII,
)


class Quantity(NamedTuple):
    """A value and what it is of.

    Attributes:
      value: an evened-out formula or number.
      unit: for pint; "" where it is none that is known.
      noun: the words, lower case, where they are no unit.
      is_sure: False of "5m", which may be a product.
    """

    value: str
    unit: str
    noun: str
    is_sure: bool


@functools.lru_cache(maxsize=4096)
def quantity(text: str) -> Quantity | None:
    """The value and the unit of an evened-out text; None where there is no unit, or more than that."""
    if arc := ARC.fullmatch(plain(text)):
        value = sum(Fraction(arc[part] or 0) / 60**at for at, part in enumerate(("degrees", "minutes", "seconds")))
        return Quantity(arc["sign"] + str(value), "degree", "", True)
    text = TIMES.sub(r" per \1", text)  # 40 miles an hour
    text = REMARK.sub(r"\g<value> \g<words>", text)
    if prefixed := PREFIX.fullmatch(text):
        unit, value = unit_names()[prefixed["unit"].rstrip(".")], prefixed["value"].strip()
        if _is_value(value):
            return Quantity(prefixed["sign"] + value, unit, "", True)
        if (rate := RATE.fullmatch(value)) and _is_value(rate[1]):  # $18/day
            return Quantity(prefixed["sign"] + rate[1], unit, "", True)
        inner = quantity(value)
        if inner and (inner.unit == unit or inner.noun):  # $18 dollars, $18 profit
            return Quantity(prefixed["sign"] + inner.value, unit, "", True)
    for start in START.finditer(text):
        value, rest = text[: start.start()].strip(), text[start.start() :]
        if not _is_value(value) or value in ("a", "A"):
            continue
        words = re.sub("^(?:US |(?:of )?an? |of (?:(?:the|all|his|her|their|its) )?)", "", plain(rest))
        if NO_UNIT.fullmatch(words):
            return Quantity(value, "", "", True)
        if rest == "°" and ANGLE_FUNCTION.search(value):
            return None  # \sin 30°
        named = in_words(value)
        value = value if named is None else str(named)
        if re.match(r"[A-Za-z](?![A-Za-z])", rest) and SUM.search(COMMAND.sub("", text[: start.start()])):
            continue  # a sum, in which the letter is one
        marked = r"\text" in rest or rest[0] in "°%$€£¥₹¢" or named is not None
        spaced = text[start.start() - 1] == " "
        if (unit := _leading_unit(words)) and (marked or len(words) > 1 or (rational(value) is not None)):
            return Quantity(value, unit, "", marked or len(words) > 1 or spaced)
        if (marked or spaced) and re.search(r"\d|\\", value) and _is_noun(words, rest.startswith((r"\text", "of "))):
            return Quantity(value, "", words.lower(), True)
    if (shorter := TAIL.sub(r"\g<brace>", text)) != text:  # "4 pounds each"
        return Quantity(shorter, "", "", True) if _is_value(shorter) else quantity(shorter)
    if (said := amount(text)) and len(said) == 1:  # an hour and a half
        return Quantity(str(said[0].count), said[0].unit, "", True)
    return None


def compare_like_units(a: str, b: str, ask: Ask) -> Comparison | None:
    """Quantities that need no conversion: equal units, a unit on one side only, percent and degrees."""
    of_a, of_b = quantity(a), quantity(b)
    if of_a is None and of_b is None:
        return None
    if of_a is not None and of_b is not None:
        per = [set(PER.findall(plain(text))) for text in (a, b)]
        if per[0] and per[1] and per[0] != per[1] and ask(of_a.value, of_b.value).outcome == SAME:
            return Comparison(UNSURE, "per another time")
        return _compare_two(of_a, of_b, ask)
    one, other = (of_a, b) if of_a is not None else (of_b, a)
    assert one is not None
    if not _is_value(other) or (not one.is_sure and any(map(names_of, readings(other)))):
        return None
    plainly = ask(one.value, other)
    if one.unit in ("percent", "degree"):
        factor = r"\frac{1}{100}" if one.unit == "percent" else r"\frac{\pi}{180}"
        if plainly.outcome != SAME:
            return _either(plainly, ask(f"({one.value})*{factor}", other))
    if not one.is_sure and plainly.outcome == SAME:
        return Comparison(UNSURE, "a unit, or a factor")
    if one.unit and plainly.outcome == DIFFERENT and is_factor_apart(one, other):
        return Comparison(UNSURE, f"equal if the other is in another unit than {one.unit}")
    return plainly


def _compare_two(a: Quantity, b: Quantity, ask: Ask) -> Comparison | None:
    if a.noun and b.noun and _stem(a.noun) == _stem(b.noun):
        numbers = rational(a.value), rational(b.value)  # 20 dozen eggs are no 20 eggs
        return ask(a.value, b.value) if None in numbers else ask(*map(str, numbers))
    if (a.unit == b.unit and a.noun == b.noun) or {a.unit, b.unit} == {"pound", "pound_sterling"}:
        return ask(a.value, b.value)
    if any(x.unit in MONEY and y.unit.startswith(f"({x.unit})/") for x, y in ((a, b), (b, a))):
        return ask(a.value, b.value)  # "$18" of 18 dollars per hour
    if a.unit and b.unit:
        return None  # a conversion
    for one, other in ((a, b), (b, a)):
        part = rational(other.value)
        if one.unit == "percent" and other.noun and part is not None and 0 < part < 1:  # a third of the students
            return ask(rf"({one.value})*\frac{{1}}{{100}}", other.value)
    values = ask(a.value, b.value)
    if not (a.unit or a.noun) or not (b.unit or b.noun):
        return values
    if values.outcome == DIFFERENT and a.noun and b.noun:
        return values
    return Comparison(UNSURE, "other things are counted")


def is_factor_apart(one: Quantity, other: str) -> bool:
    """Whether a number may be the quantity in another unit than its own."""
    value, number = rational(one.value), rational(other)
    if not value or not number:
        return False
    return bool({value / number, number / value} & FACTORS) or number / value in FACTORS_OF.get(one.unit, ())


def _either(one: Comparison, two: Comparison) -> Comparison:
    """The outcome where a writer may mean one or the other."""
    for outcome in (SAME, UNSURE, DIFFERENT):
        for comparison in (one, two):
            if comparison.outcome == outcome:
                return comparison
    raise AssertionError(one)


def _is_value(text: str) -> bool:
    return bool(readings(text)) or rational(text) is not None


def _leading_unit(words: str) -> str | None:
    """The unit of "miles per hour", and of "pounds of apples"."""
    if unit := unit_of(words):
        return unit
    parts = words.split()
    for cut in range(min(len(parts) - 1, 4), 0, -1):
        unit = unit_of(" ".join(parts[:cut]))
        if unit and (len(parts[0]) > 1 or parts[0] == "%") and _is_noun(" ".join(parts[cut:]), marked=True):
            return unit
    return None


def _is_noun(words: str, marked: bool) -> bool:
    found = words.lower().split()
    if not 1 <= len(found) <= 4 or not all(NOUN.fullmatch(word) for word in found):
        return False
    if any(TELLING.fullmatch(word) or in_words(word) is not None for word in found):
        return False
    if any(not re.search("[aeiouy]", word) or re.search(r"(.)\1\1", word) for word in found if len(word) > 3):
        return False
    if marked:
        return len(found[-1]) > 1
    return len(found[0]) > 2 and (len(found[-1]) > 3 or SHORT_NOUN.fullmatch(found[-1]) is not None)


def _stem(noun: str) -> str:
    return re.sub("(?<=..)(?:ies|y|es|s|e)$", "", noun)
