"""Dates, and times of day."""

from __future__ import annotations

import calendar
import datetime
import random

from ulorl_jax.data.answer_pairs.kinds import NOTHING_DRAWN, Form, Kind
from ulorl_jax.data.answer_pairs.slips import near_integer

P_CLOCK = 0.2
HALF_A_DAY = 12 * 60
YEARS = range(1000, 3000)

Moment = datetime.date | int  # a day, or minutes after midnight


def _draw(rng: random.Random) -> Moment:
    if rng.random() < P_CLOCK:
        return rng.randrange(0, 2 * HALF_A_DAY, rng.choice((1, 5, 15)))
    year, month = rng.randint(1900, 2060), rng.randint(1, 12)
    return datetime.date(year, month, rng.randint(1, calendar.monthrange(year, month)[1]))


def _near(moment: Moment, rng: random.Random) -> Moment | None:
    return _near_clock(moment, rng) if isinstance(moment, int) else _near_date(moment, rng)


def _near_clock(minutes: int, rng: random.Random) -> int | None:
    slip = rng.choice(("half", "half", "hour", "minutes", "swap"))
    if slip == "swap":
        hour, minute = divmod(minutes, 60)
        return minute * 60 + hour if minute < 24 else None
    later = {"half": (HALF_A_DAY,), "hour": (-60, 60), "minutes": (-10, -5, -1, 1, 5, 10)}[slip]
    return (minutes + rng.choice(later)) % (2 * HALF_A_DAY)


def _near_date(date: datetime.date, rng: random.Random) -> datetime.date | None:
    slip = rng.choice(("day", "day", "next", "month", "year", "swap"))
    year, month, day = date.year, date.month, date.day
    if slip == "day":
        day = near_integer(day, rng)
    elif slip == "next":
        day += rng.choice((-1, 1))
    elif slip == "month":
        month = rng.randint(1, 12)
    elif slip == "year":
        year = near_integer(year, rng)
    else:
        month, day = day, month
    if year not in YEARS or not 1 <= month <= 12 or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    return datetime.date(year, month, day)


def _ordinal(day: int) -> str:
    return f"{day}" + ("th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th"))


def _written(date: str, clock: str) -> Form:
    """A date in the one style, a time of day in the other."""

    def write(moment: Moment, rng: random.Random) -> str:
        if isinstance(moment, int):
            hour, minute = divmod(moment, 60)
            half = "am" if hour < 12 else "pm"
            return clock.format(
                hour=(hour - 1) % 12 + 1, minute=minute, half=half, HALF=half.upper(), dots=f"{half[0]}.m."
            )
        return date.format(
            month=calendar.month_name[moment.month],
            mon=calendar.month_abbr[moment.month],
            day=moment.day,
            th=_ordinal(moment.day),
            year=moment.year,
            iso=moment.isoformat(),
            slashes=moment.isoformat().replace("-", "/"),
        )

    return write


def _numbers_only(moment: Moment, rng: random.Random) -> str | None:
    """2021-03-05, or 14:30; before 13:00 a time without am or pm could be in either half of the day."""
    return None if isinstance(moment, int) and moment < HALF_A_DAY + 60 else _key(moment)


def _bare_clock(moment: Moment, rng: random.Random) -> str | None:
    """As "2:30", of either half of the day."""
    return f"{(moment // 60 - 1) % 12 + 1}:{moment % 60:02d}" if isinstance(moment, int) else None


def _fits(first: str, second: str, v: Moment, w: Moment) -> bool:
    """Without am or pm beside one of them only, and only where both values are in that half of the day."""
    if "bare_clock" not in (first, second) or isinstance(v, datetime.date) or isinstance(w, datetime.date):
        return True
    return first != second and "numbers" not in (first, second) and v // HALF_A_DAY == w // HALF_A_DAY


def _key(moment: Moment) -> str:
    return f"{moment // 60:02d}:{moment % 60:02d}" if isinstance(moment, int) else moment.isoformat()


DATES = Kind(
    draw=_draw,
    near=_near,
    key=_key,
    forms={
        "american": _written("{month} {day}, {year}", "{hour}:{minute:02d} {half}"),
        "british": _written("{day} {month} {year}", "{hour}:{minute:02d}{half}"),
        "numbers": _numbers_only,
        "slashes": _written("{slashes}", "{hour}:{minute:02d} {HALF}"),
        "ordinal": _written("{month} {th}, {year}", "{hour}:{minute:02d} {dots}"),
        "of": _written("the {th} of {month} {year}", "{hour}.{minute:02d} {half}"),
        "short": _written("{mon} {day}, {year}", "{hour}:{minute:02d}{HALF}"),
        "british_short": _written("{day} {mon} {year}", "{hour}.{minute:02d} {HALF}"),
        "british_ordinal": _written("{th} {month} {year}", "{hour}.{minute:02d} {dots}"),
        "no_comma": _written("{month} {day} {year}", "{hour}.{minute:02d}{HALF}"),
        "short_ordinal": _written("{mon} {th}, {year}", "{hour}:{minute:02d}{dots}"),
        "bare_clock": _bare_clock,
        "of_comma": _written("the {th} of {month}, {year}", "{hour}.{minute:02d}{half}"),
    },
    train=(
        "<american>",
        "<british>",
        "<numbers>",
        "<slashes>",
        "\\text{<american>}",
        "<ordinal>",
        "<british>.",
        "<short>",
        "<british_ordinal>",
        "<of>",
        "<bare_clock>",
    ),
    held_out=(
        "<british_short>",
        "<no_comma>",
        "<short_ordinal>",
        "\\text{<british>}",
        "<american>.",
        "<of_comma>",
        "\\text{<short>}",
    ),
    questions=("When was it?", "On what date?", "When does it start?", "When did <name> arrive?"),
    held_out_questions=("When did <name> leave?", "When does it end?", "Give the date or time."),
    show=lambda moment: _written("{iso}", "{hour}:{minute:02d} {half}")(moment, NOTHING_DRAWN) or "",
    short=lambda moment: _key(moment).replace("-", ""),
    fits=_fits,
    plain=frozenset({"american", "british", "numbers", "short", "british_short"}),
)
