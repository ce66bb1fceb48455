"""Numbers with powers of ten."""

from __future__ import annotations

import random
from fractions import Fraction

from ulorl_jax.data.answer_pairs import condensed
from ulorl_jax.data.answer_pairs.kinds import Form, Kind
from ulorl_jax.data.answer_pairs.slips import near_integer, number_key
from ulorl_jax.data.answer_pairs.written import decimal, grouped

SMALLEST, LARGEST = -7, 10  # powers of ten of the last and of the first digit


def _draw(rng: random.Random) -> Fraction:
    size = rng.choice((1, 2, 2, 3))
    digits = rng.randrange(10 ** (size - 1), 10**size)
    return Fraction(digits) * Fraction(10) ** (rng.randint(-5, 9) - size + 1) * (-1 if rng.random() < 0.1 else 1)


def _split(number: Fraction) -> tuple[int, int]:
    """(m, e) with number = m 10^e, m whole and no multiple of ten."""
    power = 0
    while number.denominator > 1:
        number, power = number * 10, power - 1
    digits = number.numerator
    while digits % 10 == 0:
        digits, power = digits // 10, power + 1
    return digits, power


def _leading(number: Fraction) -> int:
    digits, power = _split(number)
    return power + len(str(abs(digits))) - 1


def _short(number: Fraction) -> str:
    power = _leading(number)
    return f"{decimal(number / Fraction(10) ** power)}e{power}"


def _near(number: Fraction, rng: random.Random) -> Fraction | None:
    slip = rng.choice(("power", "power", "digits", "digits", "sign of the power"))
    if slip == "power":
        other = number * Fraction(10) ** rng.choice((-1, 1))
    elif slip == "digits":
        digits, power = _split(number)
        other = near_integer(digits, rng) * Fraction(10) ** power
    else:
        other = number * Fraction(10) ** (-2 * _leading(number))
    return other if other and _split(other)[1] >= SMALLEST and _leading(other) <= LARGEST else None


def _power(style: str, shift: int = 0) -> Form:
    """The number as a decimal with `shift` more digits before the point, and the power of ten."""

    def write(number: Fraction, rng: random.Random) -> str | None:
        power = _leading(number) - shift
        return style.format(decimal(number / Fraction(10) ** power), power) if power else None

    return write


def _bare_power(number: Fraction, rng: random.Random) -> str | None:
    digits, power = _split(number)
    if digits == 1 and power:
        return f"10^{{{power}}}"
    return _power("{} \\cdot 10^{{{}}}")(number, rng)


SCIENTIFIC = Kind(
    draw=_draw,
    near=_near,
    key=number_key,
    forms={
        "e": _power("{}e{}"),
        "E": _power("{}E{}"),
        "times": _power("{} \\times 10^{{{}}}"),
        "tight": _power("{}\\times10^{{{}}}"),
        "cdot": _bare_power,
        "star": _power("{}*10^{}"),
        "x": _power("{} x 10^{}"),
        "cross": _power("{} × 10^{}"),
        "cross_tight": _power("{}×10^{}"),
        "shifted": _power("{} \\times 10^{{{}}}", shift=1),
        "shifted_star": _power("{}*10^{}", shift=1),
        "plain": lambda number, rng: decimal(number),
        "comma": lambda number, rng: grouped(int(number)) if number.denominator == 1 else decimal(number),
    },
    train=(
        "<e>",
        "<times>",
        "$<times>$",
        "<star>",
        "<plain>",
        "<comma>",
        "<cdot>",
        "<shifted>",
        "x = <tight>",
        "<plain>.",
        "The answer is <x>",
        "n = <E>",
        "<cross>",
    ),
    held_out=(
        "<tight>",
        "$<cdot>$",
        "<x>",
        "x = <e>",
        "<E>",
        "$<shifted>$",
        "x = <times>",
        "<shifted_star>",
        "<cross_tight>",
        "n=<plain>",
    ),
    questions=("What is x?", "Find the product.", "How large is x?", "Estimate x.", "How many are there?"),
    held_out_questions=("How large is n?", "Find x.", "Write the result."),
    show=lambda number: decimal(number) or "",
    short=_short,
    condense=condensed.number,
    plain=frozenset({"e", "E", "star", "x", "shifted_star", "plain", "comma"}),
)
