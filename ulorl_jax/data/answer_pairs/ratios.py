"""Fractions, decimals and percentages."""

from __future__ import annotations

import random
from fractions import Fraction

from ulorl_jax.data.answer_pairs import condensed
from ulorl_jax.data.answer_pairs.kinds import NOTHING_DRAWN, Form, Kind
from ulorl_jax.data.answer_pairs.slips import near_decimal, near_fraction, number_key
from ulorl_jax.data.answer_pairs.written import (
    decimal,
    decimal_places,
    fraction,
    longer_decimal,
    mixed,
    shortest,
    tex_fraction,
)


def _draw_fraction(rng: random.Random) -> Fraction:
    number = Fraction(rng.randint(1, 40), rng.randint(2, 20))
    if number.denominator == 1:
        number += Fraction(1, rng.randint(2, 12))
    return -number if rng.random() < 0.2 else number


def _unreduced(command: str) -> Form:
    return lambda number, rng: tex_fraction(number, rng.randint(2, 6), command)


def _ended(number: Fraction, rng: random.Random) -> str:
    """The decimal, or the fraction where it does not end: so 0.333 stands beside 1/3."""
    return shortest(number)


def _over(number: Fraction, rng: random.Random) -> str:
    return str(number)


def _tex(number: Fraction, rng: random.Random) -> str:
    return tex_fraction(number) if number.denominator > 1 else str(number)


FRACTIONS = Kind(
    draw=_draw_fraction,
    near=near_fraction,
    key=number_key,
    short=str,
    condense=condensed.number,
    roundabout=frozenset({"unreduced", "frac_unreduced", "dfrac_unreduced"}),
    forms={
        "over": lambda number, rng: fraction(number),
        "frac": lambda number, rng: tex_fraction(number),
        "dfrac": lambda number, rng: tex_fraction(number, 1, "\\dfrac"),
        "tfrac": lambda number, rng: tex_fraction(number, 1, "\\tfrac"),
        "spaced": lambda number, rng: fraction(number).replace("/", " / "),
        "unreduced": lambda number, rng: fraction(number, rng.randint(2, 6)),
        "frac_unreduced": _unreduced("\\frac"),
        "dfrac_unreduced": _unreduced("\\dfrac"),
        "ratio": lambda number, rng: fraction(number).replace("/", ":") if number > 0 else None,
        "spaced_ratio": lambda number, rng: fraction(number).replace("/", " : ") if number > 0 else None,
        "mixed": lambda number, rng: mixed(number),
        "frac_mixed": lambda number, rng: mixed(number, "{}\\frac{{{}}}{{{}}}"),
        "dfrac_mixed": lambda number, rng: mixed(number, "{}\\dfrac{{{}}}{{{}}}"),
        "decimal": _ended,
        "decimal_or_tfrac": lambda number, rng: decimal(number) or tex_fraction(number, 1, "\\tfrac"),
    },
    train=(
        "<over>",
        "<frac>",
        "<dfrac>",
        "<unreduced>",
        "$<frac_unreduced>$",
        "<mixed>",
        "<frac_mixed>",
        "<ratio>",
        "x = <over>",
        "<decimal>",
        "<over>.",
        "$<frac>$",
        "The answer is <tfrac>",
    ),
    held_out=(
        "<tfrac>",
        "$<dfrac>$",
        "<dfrac_unreduced>",
        "<spaced>",
        "<spaced_ratio>",
        "x = <frac>",
        "<dfrac_mixed>",
        "x = <unreduced>",
        "$<mixed>$",
        "x = <decimal_or_tfrac>",
    ),
    questions=("What is x?", "Find the probability.", "Which part is left?", "Solve for x.", "What share gets <name>?"),
    held_out_questions=("Find x.", "What part did <name> eat?", "How much is left?"),
    plain=frozenset({"over", "unreduced", "mixed", "decimal"}),
)


def _draw_decimal(rng: random.Random) -> Fraction:
    places = rng.choice((1, 1, 2, 2, 3))
    number = Fraction(rng.randrange(1, 10 ** rng.randint(places, places + 2)), 10**places)
    if rng.random() < 0.1:
        number = Fraction(rng.randint(1, 20), rng.choice((3, 6, 7, 9, 11)))
    return -number if rng.random() < 0.2 else number


def _longer(zeros: int) -> Form:
    return lambda number, rng: longer_decimal(number, zeros) or fraction(number)


def _leading_point(number: Fraction, rng: random.Random) -> str | None:
    text = decimal(number)
    return text and (text.replace("0.", ".", 1) if abs(number) < 1 else text)


def _over_power(number: Fraction, rng: random.Random) -> str | None:
    """0.45 as 45/100."""
    if decimal(number) is None:
        return None
    bottom = 10 ** decimal_places(number)
    return f"{int(number * bottom)}/{bottom}" if bottom > 1 else None


DECIMALS = Kind(
    draw=_draw_decimal,
    near=lambda number, rng: near_decimal(number, rng) or None,
    key=number_key,
    short=shortest,
    forms={
        "decimal": _ended,
        "zero": _longer(1),
        "zeros": _longer(2),
        "point": _leading_point,
        "plus": lambda number, rng: ("+" if number > 0 else "") + _ended(number, rng),
        "over": _over,
        "frac": _tex,
        "tenths": _over_power,
    },
    train=(
        "<decimal>",
        "<zero>",
        "<point>",
        "<over>",
        "$<frac>$",
        "x = <decimal>",
        "<decimal>.",
        "$<zeros>$",
        "<plus>",
        "The answer is <decimal>",
        "<tenths>",
        "\\text{<decimal>}",
    ),
    held_out=(
        "x = <over>",
        "<zeros>",
        "<frac>",
        "x = <point>",
        "$<decimal>$",
        "x = <zero>",
        "The answer is <tenths>",
        "\\text{<zero>}",
    ),
    questions=("What is x?", "Find the mean.", "How far is it?", "What is the average?", "How much does <name> get?"),
    held_out_questions=("Find the average.", "How long is it?", "How much has <name>?"),
    plain=frozenset({"decimal", "zero", "zeros", "over", "tenths"}),
)


def _draw_share(rng: random.Random) -> Fraction:
    shape = rng.random()
    if shape < 0.1:
        return Fraction(rng.randint(1, 20), rng.choice((3, 6, 7, 9, 12)))
    if shape < 0.25:
        return Fraction(rng.randint(1, 999), 1000)
    return Fraction(rng.randint(1, 100 if shape < 0.8 else 300), 100)


def _near_share(number: Fraction, rng: random.Random) -> Fraction | None:
    slip = rng.choice(("rest", "tenth", "number", "number", "number", "number", "rounded"))
    if slip == "rest":
        other = 1 - number
    elif slip == "tenth":
        other = number + Fraction(rng.choice((-1, 1)), 1000)
    elif slip == "rounded":
        other = Fraction(round(number, rng.choice((1, 2, 3))))
    else:
        other = near_decimal(number * 100, rng) / 100
    # 50% is 0.5 to one teacher and 50 to another: numbers a hundredfold apart are no clear case
    return other if 0 < other < 100 and other not in (number * 100, number / 100) else None


def _percent(zeros: int, sign: str = "") -> Form:
    def write(number: Fraction, rng: random.Random) -> str | None:
        text = longer_decimal(number * 100, zeros) or mixed(number * 100) or fraction(number * 100)
        return text + sign

    return write


PERCENT = Kind(
    draw=_draw_share,
    near=_near_share,
    key=number_key,
    forms={
        "percent": _percent(0, "%"),
        "tex": _percent(0, "\\%"),
        "word": _percent(0, " percent"),
        "spaced": _percent(0, " %"),
        "thin": _percent(0, "\\,\\%"),
        "zero": _percent(1, "%"),
        "zero_tex": _percent(1, "\\%"),
        "zero_word": _percent(1, " percent"),
        "bare": _percent(0),
        "decimal": _ended,
        "over": _over,
        "hundred": lambda number, rng: f"{number * 100}/100" if (number * 100).denominator == 1 else None,
        "frac": _tex,
    },
    train=(
        "<percent>",
        "<tex>",
        "<word>",
        "<decimal>",
        "<over>",
        "$<frac>$",
        "<hundred>",
        "<zero>",
        "x = <percent>",
        "$<tex>$",
        "<bare>",
    ),
    held_out=(
        "<spaced>",
        "<zero_word>",
        "<zero_tex>",
        "x = <decimal>",
        "<frac>",
        "<thin>",
        "<percent>.",
        "$<thin>$",
        "x = <bare>",
    ),
    questions=("What percent is it?", "Which share is left?", "Find the rate.", "What share does <name> own?"),
    held_out_questions=("What is the rate?", "What percent of them are red?", "How much did <name> save?"),
    show=lambda number: _percent(0, "%")(number, NOTHING_DRAWN) or "",
    short=lambda number: shortest(number * 100),
    condense=condensed.number,
    plain=frozenset({"percent", "zero", "decimal", "over", "hundred"}),
    # the sign may be left out beside a number that has it
    fits=lambda first, second, v, w: (
        "bare" not in (first, second) or not {first, second} & {"decimal", "over", "hundred", "frac"}
    ),
)
