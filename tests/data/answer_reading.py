"""Reads generated answers without knowing how they were written, to find out again which agree.

Nothing of the generator is used. Numbers are evaluated exactly, roots with 60 digits, polynomials
at points, quantities by pint, dates by datetime.
"""

import datetime
import decimal
import functools
import re
from fractions import Fraction

import pint

decimal.getcontext().prec = 60
registry = pint.UnitRegistry(non_int_type=Fraction)

WRAPPERS = (
    r"\$(.*)\$",
    r"\\text(?:bf)?\{([^{}]*)\}",
    r'"(.*)"',
    r"(?:The answer is|answer:|option) (.*)",
    r"(?:x|n|y) ?= ?((?!.*=).*)",
    r"x \\in (.*)",
    r"(?!.*[ap]\.m\.$)(.*)\.",
)
TOKEN = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|root|\*\*|[a-z]|[-+*/()]")
UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
UNITS += " seventeen eighteen nineteen"
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
PARTS = "half third quarter fifth sixth seventh eighth ninth tenth eleventh twelfth"
WORTH = {word: value for value, word in enumerate(UNITS.split())}
WORTH |= {word: 10 * value for value, word in enumerate(TENS.split(), 2)}
PART = {word: Fraction(1, value) for value, word in enumerate(PARTS.split(), 2)} | {"fourth": Fraction(1, 4)}
PART |= {word + "s": value for word, value in PART.items()} | {"halves": Fraction(1, 2)}
POINTS = tuple({letter: ord(letter) * prime % 10007 for letter in "abmntxyz"} for prime in (7919, 6007, 4001))
NOTHING = {"no solution", "no solutions", "\\emptyset", "\\varnothing", "∅", "empty set", "{}", "none"}
CODES = {"$": "dollar", "\\$": "dollar", "dollars": "dollar", "USD": "dollar", "€": "euro", "euros": "euro"}
CODES |= {"EUR": "euro", "£": "pound", "pounds": "pound", "GBP": "pound"}
SYMBOLS = {"in": "inch", "L": "liter", "mL": "milliliter", "min": "minute", "h": "hour"}


def unwrapped(text):
    """Without what stands around the answer."""
    while True:
        for wrapper in WRAPPERS:
            found = re.fullmatch(wrapper, text)
            if found:
                text = found[1].strip()
                break
        else:
            return text


def evaluated(text, number=Fraction, letters=None):
    """The value of an expression in LaTeX or as people type it; roots need decimal.Decimal."""
    text = re.sub(r"\\left|\\right|\{,\}|\\,", "", text)
    text = re.sub(r"\\[dt]frac", r"\\frac", text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"^(-?)(\d+)(?: (?=\d+/)|(?=\\frac))(.*)$", r"\1(\2+\3)", text)
    text = re.sub(r"√(\d+)|\\?sqrt[({](\d+)[)}]", lambda m: f"root({m[1] or m[2]})", text)
    text = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", text)
    text = re.sub(r"\\times|\\cdot|×|(?<=\d) x (?=10)", "*", text)
    text = re.sub(r"\^\{?(-?\d+)\}?", r"**(\1)", text)
    tokens = TOKEN.findall(text)
    assert "".join(tokens) == text.replace(" ", ""), f"cannot read {text!r}"
    written = []
    for token in tokens:
        starts = token == "(" or token.isalpha() or token[0] in ".0123456789"
        if written and starts and (written[-1][-1] in ")'" or written[-1][:7] == "letters") and written[-1] != "root":
            written.append("*")
        is_letter = len(token) == 1 and token.isalpha()
        written.append(
            f"letters[{token!r}]" if is_letter else f"number('{token}')" if token[0] in ".0123456789" else token
        )
    names = {"number": number, "letters": letters, "root": lambda value: value.sqrt()}
    return eval("".join(written), names)


def spoken(text):
    """The value of a number in words."""
    words = text.casefold().replace("-", " ").split()
    sign = -1 if words[0] in ("minus", "negative") else 1
    total = group = Fraction(0)
    if words[-1] in PART:
        whole = spoken(" ".join(words[:-3])) if len(words) > 2 else 0
        return whole + (1 if words[-2] == "a" else WORTH[words[-2]]) * PART[words[-1]]
    for word in words[sign < 0 :]:
        if word == "hundred":
            group *= 100
        elif word == "thousand":
            total, group = total + group * 1000, Fraction(0)
        elif word != "and":
            group += WORTH[word]
    return sign * (total + group)


def number(text):
    text = unwrapped(text)
    counted = re.fullmatch(r"(\d+) [a-z]+", text)
    if counted:
        return Fraction(counted[1])
    is_spoken = re.fullmatch(r"[A-Za-z -]+", text) and re.search(r"[a-z]{2}", text)
    return spoken(text) if is_spoken else evaluated(text.replace(":", "/"))


def percent(text):
    """All that it can mean: a number alone is a share or a percentage."""
    text, sign = re.subn(r"(\\?%|percent|\\,)", "", unwrapped(text))
    value = evaluated(unwrapped(text.strip()))
    if sign:
        return {value / 100}
    return {value} if re.search(r"^\d+/|frac", text) else {value, value / 100}


def quantity(text):
    """(dimension, amount), or a number alone."""
    text = re.sub(r"\\text|\\mathrm|\\,|[{}]", "", unwrapped(text))
    clock = re.fullmatch(r"(\d+) h(?:ours)? (\d+) min(?:utes)?", text)
    if clock:
        return _base("min")[0], (60 * int(clock[1]) + int(clock[2])) * Fraction(60)
    amount, unit = re.fullmatch(r"([\d./]+) *(.*)", text).groups()
    dimension, size = _base(unit) if unit else (None, 1)
    return dimension, Fraction(amount) * size


@functools.cache
def _base(unit):
    unit = re.sub(r"\bsquare (\w+)", r"\1^2", re.sub(r"\bcubic (\w+)", r"\1^3", unit))
    unit = " ".join(SYMBOLS.get(word, word) for word in unit.split()).replace("km/h", "km/hour")
    base = registry.Quantity(Fraction(1), unit.replace(" per ", "/")).to_base_units()
    return frozenset(base.dimensionality.items()), Fraction(base.magnitude)


def degrees(text):
    text = unwrapped(text)
    in_radians = re.search(r"pi|π", text)
    text = re.sub(r"\^\{?\\circ\}?|°| deg(rees)?$", "", re.sub(r"\\?pi|π", "(180)", text))
    return evaluated(text) if in_radians else Fraction(text)


def money(text):
    text = unwrapped(re.sub(r"\\text\{ (\w+)\}", r" \1", text))
    currency = next((CODES[code] for code in sorted(CODES, reverse=True) if code in text), "")
    return currency, Fraction(re.search(r"\d[\d,]*(\.\d\d)?", text)[0].replace(",", ""))


def spans(text):
    """A set of (low, low is in, high, high is in)."""
    text = re.sub(r"\\infty|\boo\b|\binf\b|∞", "inf", unwrapped(text)).replace("\\text{ or }", " or ")
    text = re.sub(r"\\leq? ?|≤", "<=", re.sub(r"\\geq? ?|≥", ">=", text))
    found = set()
    for part in re.split(r"\\cup|U|∪|or", text.replace(" ", "")):
        bracketed = re.fullmatch(r"([\[\](])(.+),(.+)([\[\])])", part)
        if bracketed:
            opening, low, high, closing = bracketed.groups()
            found.add((float(low), opening == "[", float(high), closing == "]"))
            continue
        low, low_in, high, high_in = -float("inf"), False, float("inf"), False
        sides = re.split(r"(<=|>=|<|>)", part)
        for left, sign, right in zip(sides[:-2:2], sides[1::2], sides[2::2], strict=True):
            if sign[0] == ">":
                left, right = right, left
            if right == "x":
                low, low_in = float(left), len(sign) > 1
            else:
                high, high_in = float(right), len(sign) > 1
        found.add((low, low_in, high, high_in))
    return frozenset(found)


def listed(text):
    """The numbers in their order."""
    text = re.sub(
        r"\\(left|right|langle|rangle|(begin|end)\{[pb]matrix\})|\\(?=[{}])|\([xyz,]+\) = ", "", unwrapped(text)
    )
    text = re.sub(r"[xyz] ?= ?", "", re.sub(r" or | and |;|\\\\", ",", text.strip()))
    text = re.sub(r"^[{(](.*)[})]$", r"\1", text)
    return tuple(evaluated(part.strip()) for part in text.split(","))


def surd(text):
    return round(evaluated(unwrapped(text), decimal.Decimal), 40)


def polynomial(text):
    return tuple(evaluated(unwrapped(text), int, letters) for letters in POINTS)


def moment(text):
    text = unwrapped(text)
    clock = re.fullmatch(r"(\d+)[:.](\d\d) ?(?:([ap])\.?m\.?)?", text, re.IGNORECASE)
    if clock:
        hour, minute, half = int(clock[1]), int(clock[2]), (clock[3] or "").lower()
        if not half and hour < 13:
            return hour % 12, minute  # in either half of the day
        return datetime.time(hour % 12 + 12 * (half == "p") if half else hour, minute)
    text = re.sub(r"(?<=\d)(st|nd|rd|th)\b|,|\bthe |\bof ", "", text)
    for style in ("%B %d %Y", "%d %B %Y", "%b %d %Y", "%d %b %Y", "%Y-%m-%d", "%Y/%m/%d"):
        try:
            return datetime.datetime.strptime(text, style).date()
        except ValueError:
            continue
    raise AssertionError(f"cannot read {text!r}")


def option(text):
    return re.search(r"\b([A-E])\b", unwrapped(text))[1]


def worded(text):
    text = unwrapped(text).casefold()
    return "no solution" if text in NOTHING else text


READERS = dict.fromkeys(("integers", "fractions", "decimals", "number_words", "scientific", "digits"), number)
READERS |= {"percent": percent, "units": quantity, "intervals": spans, "tuples": listed, "surds": surd}
READERS |= {"sets": lambda text: frozenset(listed(text)), "algebra": polynomial, "degrees": degrees}
READERS |= {"currency": money, "dates": moment, "options": option, "text": worded}


def agree(category, first, second):
    """Whether two answers of a category are the same, as a teacher would say."""
    a, b = READERS[category](first), READERS[category](second)
    if category == "percent":
        return bool(a & b)
    if category == "dates" and isinstance(a, tuple) != isinstance(b, tuple):
        a, b = (part if isinstance(part, tuple) else (part.hour % 12, part.minute) for part in (a, b))
    if category == "currency":
        return a[1] == b[1] and (a[0] == b[0] or not a[0] or not b[0])
    if category == "units" and (a[0] is None) != (b[0] is None):  # one has no unit: only numbers count
        return re.search(r"[\d.]+", first)[0] == re.search(r"[\d.]+", second)[0]
    return a == b
