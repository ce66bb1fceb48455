"""Angles in degrees and radians."""

from __future__ import annotations

import random
from fractions import Fraction

from ulorl_jax.data.answer_pairs import condensed
from ulorl_jax.data.answer_pairs.kinds import Form, Kind
from ulorl_jax.data.answer_pairs.slips import near_integer

LARGEST = 1080
LARGEST_PART = 36  # of pi, in radians
NEATLY = (4, 5, 6, 9, 10, 12, 18, 20, 36)  # multiples of these are short in radians

Degrees = int


def _draw(rng: random.Random) -> Degrees:
    shape = rng.random()
    if shape < 0.5:
        return 15 * rng.randint(1, 36) * (-1 if rng.random() < 0.1 else 1)
    return rng.choice(NEATLY) * rng.randint(1, 20) if shape < 0.75 else rng.randint(1, 360)


def _near(degrees: Degrees, rng: random.Random) -> Degrees | None:
    part = Fraction(degrees, 180)
    slip = rng.choice(("digits", "digits", "rest", "half", "turned", "sign", "numerator", "denominator"))
    if slip == "rest":
        other = Fraction(rng.choice((90, 180, 360)) - degrees)
    elif slip == "half":
        other = degrees * rng.choice((Fraction(1, 2), Fraction(2)))
    elif slip == "turned":
        other = 180 / part
    elif slip == "sign":
        other = Fraction(-degrees)
    elif slip == "numerator":
        other = (part + Fraction(rng.choice((-1, 1)), part.denominator)) * 180
    elif slip == "denominator":
        other = Fraction(part.numerator, max(part.denominator + rng.choice((-1, 1)), 1)) * 180
    else:
        other = Fraction(near_integer(degrees, rng))
    return other.numerator if other and other.denominator == 1 and abs(other) <= LARGEST else None


def _radians(pi: str, product: str = "", tex: bool = False) -> Form:
    def write(degrees: Degrees, rng: random.Random) -> str | None:
        part = Fraction(degrees, 180)
        if part.denominator > LARGEST_PART:
            return None
        sign, top = "-" if part < 0 else "", abs(part.numerator)
        over = pi if top == 1 else f"{top}{product}{pi}"
        if part.denominator == 1:
            return sign + over
        return sign + (f"\\frac{{{over}}}{{{part.denominator}}}" if tex else f"{over}/{part.denominator}")

    return write


DEGREES = Kind(
    draw=_draw,
    near=_near,
    key=lambda degrees: f"{degrees} degrees",
    short=str,
    condense=condensed.angle,
    forms={
        "circ": lambda degrees, rng: f"{degrees}^\\circ",
        "circ_braces": lambda degrees, rng: f"{degrees}^{{\\circ}}",
        "sign": lambda degrees, rng: f"{degrees}°",
        "word": lambda degrees, rng: f"{degrees} degrees",
        "short_word": lambda degrees, rng: f"{degrees} deg",
        "zero_sign": lambda degrees, rng: f"{degrees}.0°",
        "zero_word": lambda degrees, rng: f"{degrees}.0 degrees",
        "zero_circ": lambda degrees, rng: f"{degrees}.0^\\circ",
        "bare": lambda degrees, rng: str(degrees),
        "tex": _radians("\\pi", tex=True),
        "tex_flat": _radians("\\pi"),
        "flat": _radians("pi", "*"),
        "greek": _radians("π"),
    },
    train=(
        "<circ>",
        "$<circ>$",
        "<sign>",
        "<word>",
        "<tex>",
        "<flat>",
        "<greek>",
        "x = <sign>",
        "$<tex>$",
        "<zero_sign>",
        "<bare>",
        "x = <short_word>",
    ),
    held_out=(
        "<circ_braces>",
        "x = <circ>",
        "<short_word>",
        "$<tex_flat>$",
        "x = <tex>",
        "<zero_word>",
        "$<zero_circ>$",
        "x = <greek>",
        "$<bare>$",
    ),
    questions=("Find the angle.", "What is the angle at A?", "How far does it turn?", "Find x."),
    held_out_questions=("What angle is it?", "Find the angle at B.", "How far did <name> turn?"),
    plain=frozenset({"sign", "word", "short_word", "flat"}),
    # 90 beside pi/2 is no clear case
    fits=lambda first, second, v, w: (
        "bare" not in (first, second) or not {first, second} & {"tex", "tex_flat", "flat", "greek"}
    ),
)
