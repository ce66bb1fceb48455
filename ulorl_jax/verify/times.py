"""Times of the day and dates, in figures and in words."""

from __future__ import annotations

import datetime
import re

from ulorl_jax.verify.asking import Ask
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Comparison
from ulorl_jax.verify.numbers import in_words
from ulorl_jax.verify.spelling import plain

TIME = re.compile(
    r"(?P<hour>\d{1,2})(?:(?P<mark>[:.])(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?)?\s*"
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
MINUTES = {"half": 30, "quarter": 15, "a quarter": 15}
SAID = re.compile(
    r"(?:at )?(?P<minutes>half|(?:a )?quarter|\d{1,2}|[a-z]+(?:[ -][a-z]+)??)(?P<unit> minutes?)?"
    r" (?P<way>past|after|to|till) (?P<hour>\d{1,2}|[a-z]+)(?: o'clock)?"
    r"(?: (?P<half>a\.?m\.?|p\.?m\.?|in the (?:morning|afternoon|evening)))?",
    re.IGNORECASE,
)


CLOCK = re.compile(r"(?P<hour>[a-z]+) (?P<minutes>[a-z]+(?:[ -][a-z]+)?)", re.IGNORECASE)  # nine twenty-four


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


def _time(text: str) -> tuple[tuple[int, int, int], str] | None:
    r"""((hour, minute, second), half): half is "m" of am or pm, "24" where the hour tells it, "" where nothing does."""
    if text.lower() in ("noon", "midnight"):
        return (12 if text.lower() == "noon" else 0, 0, 0), "m"
    if (said := SAID.fullmatch(text)) and (told := _said(said)) is not None:
        return told
    if clock := CLOCK.fullmatch(text):
        hour, minute = in_words(clock["hour"]), in_words(clock["minutes"])
        if hour is not None and minute is not None and 1 <= hour <= 12 and 10 <= minute < 60 and minute % 1 == 0:
            return (int(hour), int(minute), 0), ""
    found = TIME.fullmatch(text)
    if found and found["mark"] == "." and not (found["half"] or "").lower().startswith(("a", "p")):
        return None  # a decimal
    if not found or not (found["minute"] or found["half"]) or int(found["hour"]) > 24:
        return None
    hour, half = int(found["hour"]), (found["half"] or "").lower()
    clock = int(found["minute"] or 0), int(found["second"] or 0)
    if half in ("", "o'clock") or hour > 12:
        return (hour % 24, *clock), "24" if hour > 12 or found["hour"][0] == "0" else ""
    late = half[0] == "p" or half in ("noon", "in the afternoon", "in the evening")
    return (hour % 12 + 12 * late, *clock), "m"


def _said(found: re.Match[str]) -> tuple[tuple[int, int, int], str] | None:
    """Of "twenty minutes to one" and "half past two"."""
    if found["minutes"].isdigit() and not found["unit"] and found["way"].lower() == "to":
        return None  # 3 to 2
    minutes, hour = MINUTES.get(found["minutes"].lower()) or in_words(found["minutes"]), in_words(found["hour"])
    minutes = minutes if minutes is not None or not found["minutes"].isdigit() else int(found["minutes"])
    hour = hour if hour is not None or not found["hour"].isdigit() else int(found["hour"])
    if minutes is None or hour is None or not 0 < minutes < 60 or not 1 <= hour <= 12 or hour % 1 or minutes % 1:
        return None
    if found["way"].lower() in ("to", "till"):
        minutes, hour = 60 - minutes, hour - 1
    if half := (found["half"] or "").lower():
        return (int(hour) % 12 + 12 * (not half.startswith("a") and "morning" not in half), int(minutes), 0), "m"
    return (int(hour) % 12 or 12, int(minutes), 0), ""


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
