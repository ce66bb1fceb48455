r"""Answers that are no mathematics: options, yes and no, words, times of the day, dates, nothing at all."""

from __future__ import annotations

import datetime
import re
from typing import NamedTuple

from ulorl_jax.verify.asking import Ask
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Comparison
from ulorl_jax.verify.numbers import in_words, ordinal, rational
from ulorl_jax.verify.spelling import LIST, compact, plain, split

NO_SOLUTION = re.compile(
    r"\\emptyset|\\\{\s*\\\}|\{\s*\}|(?:the )?empty set|none|null set"
    r"|(?:there (?:is|are) )?no (?:real |such |integer |valid |possible )?"
    r"(?:solutions?|values?|roots?|numbers?)(?: exists?)?",
    re.IGNORECASE,
)
UNDEFINED = re.compile(r"undefined|(?:it )?does not exist|dne|not defined|diverges?|divergent", re.IGNORECASE)
INFINITY = re.compile(r"(?P<sign>[-+]?|minus |plus |negative |positive )\s*(?:\\infty|infinity|inf)", re.IGNORECASE)
REALS = re.compile(r"(?:all )?(?:real numbers|reals|\\mathbb\{R\}|real values)(?: of x)?", re.IGNORECASE)

TRUTHS = {"yes": True, "true": True, "no": False, "false": False}
OPTION = re.compile(
    r"(?P<said>(?i:(?:the )?(?:answer|option|choice)(?: is)?:? ))?"
    r"(?:(?P<bracket>[(\[])\s*(?P<in>[A-Ja-j])\s*[)\]]|(?P<bare>[A-Ja-j])(?P<mark>[).:](?!\d))?)\s*(?P<content>.*)",
    re.DOTALL,
)
ANOTHER_OPTION = re.compile(r"(?<![A-Za-z])[A-J][).:](?!\d)")
TIME = re.compile(
    r"(?P<hour>\d{1,2})(?::(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?)?\s*"
    r"(?P<half>a\.? ?m\.?|p\.? ?m\.?|o'clock|noon|midnight|in the (?:morning|afternoon|evening))?",
    re.IGNORECASE,
)
MONTHS = ["january", "february", "march", "april", "may", "june", "july"]
MONTHS += ["august", "september", "october", "november", "december"]
MONTH = "|".join(f"{name[:3]}(?:{name[3:]})?" if len(name) > 3 else name for name in MONTHS) + "|sept"
WEEKDAY = r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,? )?"
DATES = [
    re.compile(rf"{WEEKDAY}(?P<month>{MONTH})\.? (?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:,? (?P<year>\d{{4}}))?"),
    re.compile(
        rf"{WEEKDAY}(?:the )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<month>{MONTH})\.?(?:,? (?P<year>\d{{4}}))?"
    ),
    re.compile(r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})"),
]
SLASHED = re.compile(r"(\d{1,2})[/.](\d{1,2})[/.](\d{4})")
WORDS = re.compile(r"[^\W\d_]+(?:(?:['. ]+|(?<=[^\W\d_]{2})-(?=[^\W\d_]{2}))[^\W\d_]+)*\.?")
# They may say a number.
COUNTING = re.compile(
    "none|never|once|twice|thrice|nothing|nobody|zero|dozen|pair|single|double|triple|half|quarter|impossible"
)
HEDGES = re.compile(r"\b(?:maybe|perhaps|possibly|probably|either|not sure|or)\b", re.IGNORECASE)


class _Option(NamedTuple):
    letter: str
    content: str
    marked: bool  # by brackets or a word: it is no variable


def compare_nothing(a: str, b: str, ask: Ask) -> Comparison | None:
    """No solution, undefined, infinity, all real numbers: constants with many names."""
    kinds = [_kind(plain(text)) for text in (a, b)]
    if kinds == [None, None]:
        return None
    if kinds[0] == kinds[1]:
        return Comparison(SAME, kinds[0] or "")
    if None not in kinds:
        undecided = {"no solution", "undefined"} == set(kinds) or {"undefined", "infinity"} == set(kinds)
        return Comparison(UNSURE if undecided else DIFFERENT, f"{kinds[0]} and {kinds[1]}")
    kind, other = (kinds[0], b) if kinds[0] else (kinds[1], a)
    value = rational(other)
    if value is None or (value == 0 and kind == "no solution"):  # "how many are there: none"
        return None
    return Comparison(DIFFERENT, f"{kind} and a number")


def compare_options(a: str, b: str, ask: Ask) -> Comparison | None:
    """A, (A), A) 5, Option A. A lone letter may be a variable, so against anything else it is not decided."""
    one, two = _option(plain(a)), _option(plain(b))
    if one and two:
        same_letter = one.letter.upper() == two.letter.upper()
        if one.content and two.content:
            same_content = ask(one.content, two.content).outcome
            if same_letter != (same_content == SAME):
                return Comparison(UNSURE, "letter and content of the options do not tell the same")
        if same_letter and one.letter != two.letter and not (one.marked or two.marked):
            return Comparison(UNSURE, f"{one.letter} and {two.letter}")
        return Comparison(SAME if same_letter else DIFFERENT, "options")
    for option, other in ((one, b), (two, a)):
        if option is not None:
            several = split(plain(other), LIST)
            if several and len(several) > 1 and all(map(_option, several)):
                return Comparison(DIFFERENT, "one option and several")
            if option.content:
                return ask(option.content, other)
            if option.letter in "ABCDE" or option.marked:
                return Comparison(UNSURE, "an option against what may be its content")
    return None


def compare_truths(a: str, b: str, ask: Ask) -> Comparison | None:
    """Yes and no, true and false."""
    truths = [TRUTHS.get(plain(text).lower()) for text in (a, b)]
    if None in truths:
        return None
    return Comparison(SAME if truths[0] == truths[1] else DIFFERENT, "yes or no")


def compare_times(a: str, b: str, ask: Ask) -> Comparison | None:
    """Times of the day. 12:30 is 12:30 pm; against 2:30, 14:30 is not decided."""
    of_a, of_b = _time(plain(a)), _time(plain(b))
    if of_a is None or of_b is None:
        return None
    (one, half_one), (two, half_two) = of_a, of_b
    if half_one and half_two:
        return Comparison(SAME if one == two else DIFFERENT, "times")
    if _on_the_clock(one) != _on_the_clock(two):
        if ":" in a and ":" in b and one[0] * two[1] == two[0] * one[1] and not half_one and not half_two:
            return Comparison(UNSURE, "times, or equal ratios")
        return Comparison(DIFFERENT, "times")
    if one[0] == two[0] or "m" in half_one + half_two:
        return Comparison(SAME, "times")
    return Comparison(UNSURE, "times that may be in other halves of the day")


def compare_dates(a: str, b: str, ask: Ask) -> Comparison | None:
    """Dates; 3/5/2021 is not decided against either of its readings."""
    dates = _dates(plain(a).lower()), _dates(plain(b).lower())
    if not dates[0] or not dates[1]:
        return None
    outcomes = set()
    for one in dates[0]:
        for two in dates[1]:
            years = {one[0], two[0]} - {None}
            if one[1:] != two[1:] or len(years) == 2:
                outcomes.add(DIFFERENT)
            else:
                outcomes.add(SAME if one[0] == two[0] else UNSURE)
    if len(dates[0]) == len(dates[1]) == 2 and dates[0] == dates[1]:
        return Comparison(SAME, "dates")
    return Comparison(outcomes.pop() if len(outcomes) == 1 else UNSURE, "dates")


def compare_words(a: str, b: str, ask: Ask) -> Comparison | None:
    """Words as words: case, articles, hyphens and \text{} aside."""
    words = _words(a), _words(b)
    return None if words[0] is None or words[1] is None else _compare_word_lists(words[0], words[1])


def is_ordinary_word(text: str) -> bool:
    """Whether it is one word, and none that says a number, an option or nothing at all."""
    words = _words(text)
    return (
        words is not None
        and len(words) == 1
        and len(words[0]) >= 4
        and not COUNTING.fullmatch(words[0].lower())
        and ordinal(text) is None
        and _kind(plain(text)) is None
    )


def compare_hedges(a: str, b: str, ask: Ask) -> Comparison | None:
    """ "3, maybe 5" is no answer to what 3 answers."""
    for hedged, other in ((a, b), (b, a)):
        words = plain(hedged)
        value = rational(other)
        numbers = {rational(digits) for digits in re.findall(r"-?\d+(?:\.\d+)?", words)}
        if value is not None and HEDGES.search(words) and len(numbers - {None}) > 1:
            return Comparison(DIFFERENT, "a hedge")
    return None


def _kind(text: str) -> str | None:
    if NO_SOLUTION.fullmatch(text):
        return "no solution"
    if UNDEFINED.fullmatch(text):
        return "undefined"
    if found := INFINITY.fullmatch(text):
        return "minus infinity" if found["sign"].strip().lower() in ("-", "minus", "negative") else "infinity"
    if REALS.fullmatch(text) or compact(text) in (r"(-\infty,\infty)", r"(-\infty,+\infty)"):
        return "all real numbers"
    return None


def _option(text: str) -> _Option | None:
    found = OPTION.fullmatch(text)
    if not found:
        return None
    letter, content = found["in"] or found["bare"], found["content"].strip()
    marked = bool(found["said"] or found["bracket"] or found["mark"])
    if found["mark"] == ":" and content and text[2] != " ":
        return None  # the ratio a:b
    if ANOTHER_OPTION.search(content):
        return None
    if content and (
        not (found["bracket"] or found["mark"]) or content[0] in "^_*/+-=<>!,(|" or len(letter + content) < 2
    ):
        return None  # (a)^2, "A cat"
    return _Option(letter, content, marked)


def _time(text: str) -> tuple[tuple[int, int, int], str] | None:
    r"""((hour, minute, second), half): half is "m" of am or pm, "24" where the hour tells it, "" where nothing does."""
    if text.lower() in ("noon", "midnight"):
        return (12 if text.lower() == "noon" else 0, 0, 0), "m"
    found = TIME.fullmatch(text)
    if not found or not (found["minute"] or found["half"]) or int(found["hour"]) > 24:
        return None
    hour, half = int(found["hour"]), (found["half"] or "").lower()
    clock = int(found["minute"] or 0), int(found["second"] or 0)
    if half in ("", "o'clock") or hour > 12:
        return (hour % 24, *clock), "24" if hour > 12 or found["hour"][0] == "0" else ""
    late = half[0] == "p" or half in ("noon", "in the afternoon", "in the evening")
    return (hour % 12 + 12 * late, *clock), "m"


def _on_the_clock(time: tuple[int, int, int]) -> tuple[int, int, int]:
    return time[0] % 12, time[1], time[2]


def _dates(text: str) -> list[tuple[int | None, int, int]]:
    """(year, month, day) for every reading."""
    if found := SLASHED.fullmatch(text):
        one, two, year = map(int, found.groups())
        found = [(year, one, two), (year, two, one)] if one != two else [(year, one, two)]
        return [date for date in found if _is_date(date)]
    for pattern in DATES:
        if found := pattern.fullmatch(text):
            name = found["month"]
            month = (
                int(name) if name.isdigit() else next(at for at, full in enumerate(MONTHS, 1) if full[:3] == name[:3])
            )
            date = int(found["year"]) if found["year"] else None, month, int(found["day"])
            return [date] if _is_date(date) else []
    return []


def _is_date(date: tuple[int | None, int, int]) -> bool:
    try:
        datetime.date(date[0] or 2000, *date[1:])
    except ValueError:
        return False
    return True


def _words(text: str) -> list[str] | None:
    r"""The words of a text that is nothing else, without articles."""
    text = plain(text).strip("*")
    if not WORDS.fullmatch(text) or in_words(text) is not None:
        return None
    words = [word for word in re.split(r"[\s-]+", text.replace(".", "")) if word]
    return words[1:] if len(words) > 1 and words[0].lower() in ("a", "an", "the") else words


def _compare_word_lists(a: list[str], b: list[str]) -> Comparison | None:
    lower = ["".join(words).casefold() for words in (a, b)]
    if lower[0] == lower[1]:
        if a != b and (len(lower[0]) <= 2 or (len(lower[0]) == 3 and "".join(a).isupper() != "".join(b).isupper())):
            return Comparison(UNSURE, "letters in another case")
        return Comparison(SAME, "the same words")
    other = [pair for pair in zip(a, b, strict=False) if pair[0].casefold() != pair[1].casefold()]
    if 1 < len(a) == len(b) and all(len(one) == len(two) == 1 for one, two in other):
        return Comparison(DIFFERENT, "other letters")  # team A and team B
    if len(a) != 1 or len(b) != 1:
        return Comparison(UNSURE, "other words, which may mean the same")
    if max(map(len, lower)) <= 3:
        if sorted(lower[0]) != sorted(lower[1]):
            return Comparison(DIFFERENT, "other letters")
        # A product of letters, the name of a segment, or "dog" and "god".
        is_product = not set(lower[0]) & set("aeiou") and (a[0] + b[0]).islower()
        return None if is_product else Comparison(UNSURE, "the same letters in another order")
    if lower[0].startswith(lower[1]) or lower[1].startswith(lower[0]) or min(map(len, lower)) == 1:
        return Comparison(UNSURE, "one word begins as the other")
    return Comparison(DIFFERENT, "other words")
