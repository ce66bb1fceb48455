r"""Numbers without a formula around them: words, "2.5 million", ordinals, bases, ratios; and exact values.

Everything here is cheap whatever the text, and exact: a decimal is the fraction that it writes.
"""

from __future__ import annotations

import functools
import re
from fractions import Fraction

from ulorl_jax.verify.asking import Ask
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Comparison
from ulorl_jax.verify.expressions import SPAN, readings
from ulorl_jax.verify.spelling import plain, split
from ulorl_jax.verify.values import exact

MOST_WORDS = 20  # "two million seven hundred and thirty-seven thousand one hundred and four and two thirds" has 15
SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
PLURALS = {f"{name}s": value for name, value in SCALES.items()} | {"tens": 10}
SCALES |= PLURALS
PARTS = ["half", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"]
DENOMINATORS = {name: at for at, name in enumerate(PARTS, 2)} | {"quarter": 4, "hundredth": 100, "thousandth": 1000}
DENOMINATORS |= {f"{name}s": value for name, value in DENOMINATORS.items()} | {"halves": 2}
GROUPS = {"dozen": 12, "dozens": 12, "score": 20, "tens": 10}
SCALED = re.compile(rf"(.*\d)\s*({'|'.join(sorted([*SCALES, *DENOMINATORS], key=len, reverse=True))})", re.IGNORECASE)
MIXED = re.compile(r"(\d+) and (an? [a-z]+)(?: ([a-z]+))?")  # 3 and a half; "3 and one half" may be two values
ONE = re.compile(r"\Aan?\Z|\ba(?= (?:hundred|thousand|[mbtr]+illion)\b)")  # a hundred
ORDINAL = re.compile(r"(\d{1,9})\s*\^?\{?(?:\\text\{)?(?:st|nd|rd|th)\}*", re.IGNORECASE)
BASED = re.compile(
    r"(?P<sign>-?)\s*\(?(?P<digits>[0-9A-Fa-f ]+?)\)?\s*"
    r"(?:_\s*\{?\s*(?P<base>-?\w+)\s*\}?|\(?(?:in )?base[ -](?P<said>-?\w+)\)?)",
    re.ASCII,
)
SHORTENED = re.compile(r"\$?(?P<value>\d+(?:\.\d+)?)\s*(?P<scale>[kKM])", re.ASCII)
SAID_RATIO = re.compile("([A-Za-z-]+) (?:to|out of|in|over) ([A-Za-z-]+)")
TEN = re.compile(r"(?:_\s*\{?\s*|base )(?:10|ten)\s*[})]*\Z")
RESIDUE = re.compile(
    r"(?:(?P<name>[A-Za-z])\s*(?:\\equiv|=|≡)\s*)?(?P<value>-?\d{1,9})\s*"
    r"[({]?\s*(?:\\p?mod(?![A-Za-z])|\\bmod|mod)\s*[({]?\s*(?P<modulus>\d{1,9})\s*[)}]*",
    re.ASCII,
)
DOZENS = re.compile(
    rf"(?:an?|(?P<count>.+?)(?: of)?(?: an?)?)\s*(?:dozen|score|couple|{'|'.join(PLURALS)})", re.IGNORECASE
)
LANGUAGES = ("fr", "es", "de", "it", "pt", "nl")
RATIO_LABEL = re.compile(r"\A[A-Za-z]+(?:\s*:\s*[A-Za-z]+)+\s*=\s*")
SHARE = re.compile(r"(?P<part>.+?)(?P<percent>\s*(?:%|percent))? of (?P<whole>[$€£]?\s*\d[\d,.]*)", re.IGNORECASE)


@functools.lru_cache(maxsize=4096)
def rational(text: str) -> Fraction | None:
    r"""The exact value of an answer that is one rational number: 7/2 of "3.50", "3\frac12", "three and a half".

    Args:
      text: of `even_out`.

    Returns:
      None where it is anything else, where it can be read as two numbers, or where the value is too large.
    """
    trees = readings(text)
    if trees:
        values = {exact(tree) for tree in trees}
        return values.pop() if len(values) == 1 else None
    words = plain(text)
    if share := SHARE.fullmatch(words):
        part, whole = rational(share["part"].strip()), rational(share["whole"].lstrip("$€£ "))
        if part is None or whole is None or (part.denominator == 1 and not share["percent"]):
            return None  # "3 of 5" may be 3/5
        return part * whole / (100 if share["percent"] else 1)
    if (mixed := MIXED.fullmatch(words)) and (part := in_words(mixed[2])) is not None:
        scale = SCALES.get(mixed[3] or "", 0 if mixed[3] else 1)
        return (int(mixed[1]) + part) * scale if 0 < part < 1 and scale else None
    if scaled := SCALED.fullmatch(words):
        value, word = rational(scaled[1].strip()), scaled[2].lower()
        return None if value is None else value * SCALES[word] if word in SCALES else value / DENOMINATORS[word]
    return in_words(words)


@functools.lru_cache(maxsize=4096)
def in_words(text: str) -> Fraction | None:
    """The number that English words name: "two thirds", "minus five", "three and a half", "three point one four"."""
    if not re.fullmatch(r"[A-Za-z]+(?:[ -][A-Za-z]+)*", text):
        return None
    words = re.split("[ -]", text.lower())
    if len(words) > MOST_WORDS:
        return None
    if words in (["a"], ["an"]):
        return None
    if words == ["a", "couple"]:
        return Fraction(2)
    if words[0] in ("minus", "negative"):
        value = _positive(words[1:])
        return None if value is None else -value
    return _positive(words)


def in_another_language(word: str) -> bool:
    """Whether it names a number elsewhere than in English: quatorze, catorce."""
    from text_to_num import text2num

    for language in LANGUAGES:
        try:
            text2num(word.lower(), language)
        except ValueError:
            continue
        return True
    return False


def ordinal(text: str) -> int | None:
    """3 of "3rd", "third" and "the third"."""
    words = re.sub("^the ", "", plain(text), flags=re.IGNORECASE)
    if digits := ORDINAL.fullmatch(words):
        return int(digits[1])
    if not re.fullmatch(r"[A-Za-z]+(?:[ -][A-Za-z]+){0,5}", words) or not re.search("(st|nd|rd|th)$", words.lower()):
        return None
    from text_to_num import alpha2digit

    found = ORDINAL.fullmatch(alpha2digit(words.lower().replace("-", " "), "en", threshold=0))
    return int(found[1]) if found else None


def compare_ordinals(a: str, b: str, ask: Ask) -> Comparison | None:
    """ "third" is the 3rd; said of a reference 3, it may be 1/3."""
    places = ordinal(a), ordinal(b)
    if None not in places:
        return Comparison(SAME if places[0] == places[1] else DIFFERENT, "ordinal numbers")
    for place, text, other in ((places[0], a, b), (places[1], b, a)):
        value = rational(other)
        if place is not None and value is not None:
            if re.search(r"\d", text):
                return Comparison(SAME if value == place else DIFFERENT, "an ordinal number and a number")
            if value == place and text is a:
                return Comparison(SAME, "an ordinal number and a number")
            if value in (place, Fraction(1, place or 1)):
                return Comparison(UNSURE, "an ordinal number, or a fraction")
            return Comparison(DIFFERENT, "an ordinal number and a number")
    return None


def compare_rationals(a: str, b: str, ask: Ask) -> Comparison | None:
    """Two plain numbers, exactly."""
    values = rational(a), rational(b)
    for value, other in zip(values, (b, a), strict=True):
        if value is not None and (short := SHORTENED.fullmatch(other)):
            found = Fraction(short["value"]) * (10**6 if short["scale"] == "M" else 1000)
            return Comparison(SAME, "1.5k is 1500") if found == value else None
    for value, other in zip(values, (b, a), strict=True):
        if value is not None and SPAN.fullmatch(other):  # "12-14" is no 12, be it a span or a difference
            first, *rest = (int(digits) for digits in other.split("-"))
            return Comparison(DIFFERENT, "a span, or a difference") if value != first - sum(rest) else None
    if None in values:
        return None
    for text, value in ((a, values[1]), (b, values[0])):
        if (dozens := DOZENS.fullmatch(plain(text))) and rational(dozens["count"] or "1") == value:
            return Comparison(UNSURE, "a number of dozens, or of what is in them")
    return Comparison(SAME, "equal numbers") if values[0] == values[1] else Comparison(DIFFERENT, "other numbers")


def compare_bases(a: str, b: str, ask: Ask) -> Comparison | None:
    """52_8 and 101_2 by value; with a base on one side only, equal digits may be meant, or an equal value."""
    based = [_based(text) for text in (a, b)]
    if None not in based:
        same = based[0][1] == based[1][1]  # type: ignore[index]
        return Comparison(SAME if same else DIFFERENT, "numbers in a base")
    if based != [None, None] and all(BASED.fullmatch(plain(text)) and text[0].isdigit() for text in (a, b)):
        return Comparison(DIFFERENT, "a digit that the base does not have")
    for number, other in zip(based, (b, a), strict=True):
        value = rational(other)
        if number is not None and value is not None:
            if TEN.search(plain(a if other is b else b)):  # the base that is not written
                return Comparison(SAME if value == number[1] else DIFFERENT, "base ten")
            if str(value) == number[0].lstrip("0") or value == number[1]:
                return Comparison(UNSURE, "the base stands on one side only")
            return Comparison(DIFFERENT, "other digits and another value")
    return None


def compare_residues(a: str, b: str, ask: Ask) -> Comparison | None:
    """Numbers with their modulus: 1 and 4 (mod 3)."""
    found = RESIDUE.fullmatch(plain(a)), RESIDUE.fullmatch(plain(b))
    if found[0] is None or found[1] is None or len({one["name"] for one in found if one} - {None}) > 1:
        return None
    (one, modulus), (two, other) = ((int(each["value"]), int(each["modulus"])) for each in found if each)
    same = modulus == other and modulus > 0 and (one - two) % modulus == 0
    return Comparison(SAME if same else DIFFERENT, "residues")


def is_based(text: str) -> bool:
    """Whether it is a number in a base that is written with it."""
    return _based(text) is not None


def ratio(text: str) -> list[str] | None:
    """The parts of "1:2", "3 : 4 : 5" and "3 to 2"; None where it is no ratio."""
    if said := SAID_RATIO.fullmatch(plain(text)):
        text = f"{in_words(said[1])}:{in_words(said[2])}"
    parts = split(RATIO_LABEL.sub("", text), r":|(?<=[0-9})]) (?:to|over|out of|in) (?=[0-9\\(])")
    if parts is None or not 2 <= len(parts) <= 6 or not all(map(readings, parts)):
        return None
    return parts


def _positive(words: list[str]) -> Fraction | None:
    if "and" in words:
        cut = len(words) - 1 - words[::-1].index("and")
        whole, part = _positive(words[:cut]), _fraction(words[cut + 1 :])
        if whole is not None and part is not None and whole.denominator == 1 and part < 1:
            # A dozen and a half is 18; a million and a half may be 1,500,000.
            is_scaled = words[cut - 1] in SCALES and words[cut - 1] not in GROUPS
            return None if is_scaled and words[cut + 1] == "a" else whole + part * GROUPS.get(words[cut - 1], 1)
    if "point" in words:
        if words[-1] in SCALES:
            return _fraction_of(words[:-1], SCALES[words[-1]])
        cut = words.index("point")
        whole, digits = _cardinal(words[:cut] or ["zero"]), [_cardinal([word]) for word in words[cut + 1 :]]
        if whole is None or not digits or any(digit is None or digit > 9 for digit in digits):
            return None
        return Fraction(f"{whole}.{''.join(map(str, digits))}")
    cardinal = _cardinal(words)
    if cardinal is not None:
        return Fraction(cardinal)
    scale = (SCALES | GROUPS).get(words[-1]) if len(words) > 1 else None
    return _fraction(words) if scale is None else _fraction_of(words[:-1], scale)


def _fraction_of(words: list[str], scale: int) -> Fraction | None:
    """Half a million, two thirds of a dozen, two and a half million: of the scale, which stands behind."""
    if len(words) > 1 and words[-1] == "a":
        words = words[: -2 if words[-2] == "of" else -1]
    value = _positive(words)
    return None if value is None or value.denominator == 1 else value * scale


def _fraction(words: list[str]) -> Fraction | None:
    """ "one half", "three quarters"; a lone "third" is an ordinal number."""
    if words in (["half"], ["a", "half"]):
        return Fraction(1, 2)
    if len(words) < 2:
        return None
    top, bottom = _cardinal(words[:-1]), DENOMINATORS.get(words[-1])
    if bottom is None and top is not None and re.search("(?:st|nd|rd|th)s?$", words[-1]):
        # Thirteen fifteenths; but "hundred fifteenth" is a place.
        bottom = ordinal(words[-1].removesuffix("s")) if words[-1].endswith("s") or top == 1 else None
        bottom = None if bottom == 2 else bottom  # a second is no half
    return None if top is None or not bottom else Fraction(top, bottom)


def _cardinal(words: list[str]) -> int | None:
    if not words or words[0] in PLURALS:
        return None  # hundreds of them
    if group := GROUPS.get(words[-1]):
        count = 1 if words == ["dozen"] else _cardinal(words[:-1])
        return None if count is None else group * count
    from text_to_num import text2num

    try:
        return int(text2num(ONE.sub("one", " ".join(words)), "en"))
    except ValueError:
        return None


def _based(text: str) -> tuple[str, int] | None:
    """(digits, value) of 52_8; None where a digit is not of the base."""
    found = BASED.fullmatch(plain(text))
    if not found:
        return None
    digits, named = found["digits"].replace(" ", "").lower(), found["base"] or found["said"]
    base = Fraction(named) if named.lstrip("-").isdigit() else in_words(named)
    if base is None or base.denominator != 1 or not 2 <= abs(base) <= 36:
        return None
    places = [int(digit, 36) for digit in digits]
    if max(places) >= abs(base):
        return None  # 9_8
    value = 0
    for place in places:
        value = value * int(base) + place
    return found["sign"] + digits, -value if found["sign"] else value
