"""Square roots: simplified, rationalised, and not."""

from __future__ import annotations

import math
import random
from fractions import Fraction

from ulorl_jax.data.answer_pairs.kinds import NOTHING_DRAWN, Form, Kind
from ulorl_jax.data.answer_pairs.slips import number_key
from ulorl_jax.data.answer_pairs.written import fraction, longer_decimal, tex_fraction

# (a, b, n): a + b sqrt(n), n square-free and above 1; or a number: b = 0, n = 1.
Surd = tuple[Fraction, Fraction, int]
SQUARE_FREE = tuple(n for n in range(2, 40) if all(n % (k * k) for k in range(2, 7)))
COMMON = SQUARE_FREE[:16]
LARGEST_ROOT = 999


def _draw(rng: random.Random) -> Surd:
    inside = rng.choice(COMMON if rng.random() < 0.8 else SQUARE_FREE)
    factor = Fraction(rng.randint(1, 12), rng.randint(2, 12) if rng.random() < 0.3 else 1)
    offset = Fraction(rng.randint(-12, 12)) if rng.random() < 0.3 else Fraction(0)
    return offset, -factor if rng.random() < 0.15 else factor, inside


def _near(surd: Surd, rng: random.Random) -> Surd | None:
    offset, factor, inside = surd
    slip = rng.choice(("factor", "factor", "inside", "swap", "sign", "offset", "square", "rounded"))
    if slip == "factor":
        factor += Fraction(rng.choice((-1, 1)), factor.denominator)
    elif slip == "inside":
        inside = rng.choice(COMMON)
    elif slip == "swap" and factor.denominator == 1 and abs(factor.numerator) in SQUARE_FREE:
        factor, inside = Fraction(inside if factor > 0 else -inside), abs(factor.numerator)
    elif slip == "sign":
        factor = -factor
    elif slip == "offset" and offset:
        offset = offset + rng.choice((-1, 1)) if rng.random() < 0.5 else -offset
    elif slip == "square":  # the factor taken out of the root and squared, or forgotten
        factor = factor * abs(factor) if rng.random() < 0.5 else factor / 2
    elif slip == "rounded" and not offset:
        return Fraction(round(float(factor) * math.sqrt(inside) * 1000), 1000), Fraction(0), 1
    return (offset, factor, inside) if factor else None


def _term(factor: Fraction, inside: int, style: str, command: str, product: str) -> str:
    """The absolute value of factor sqrt(inside); without a command, as "sqrt(3)/2"."""
    top = abs(factor.numerator)
    over = ("" if top == 1 else f"{top}{product}") + style.format(inside)
    if factor.denominator == 1:
        return over
    return f"{command}{{{over}}}{{{factor.denominator}}}" if command else f"{over}/{factor.denominator}"


def _sum(offset: Fraction, term: str, positive: bool, gap: str, root_first: bool) -> str:
    if not offset:
        return term if positive else "-" + term
    if not root_first:
        return f"{offset}{gap}{'+' if positive else '-'}{gap}{term}"
    return f"{'' if positive else '-'}{term}{gap}{'+' if offset > 0 else '-'}{gap}{abs(offset)}"


TEX, CALL, SIGN = "\\sqrt{{{}}}", "sqrt({})", "√{}"


def _simple(
    style: str = TEX,
    command: str = "\\frac",
    *,
    product: str = "",
    gap: str = "",
    root_first: bool = False,
    zeros: int = 0,
) -> Form:
    def write(surd: Surd, rng: random.Random) -> str | None:
        offset, factor, inside = surd
        if not factor:
            return longer_decimal(offset, zeros)
        return _sum(offset, _term(factor, inside, style, command, product), factor > 0, gap, root_first)

    return write


def _inside(style: str = TEX, command: str = "\\frac", *, product: str = "", gap: str = "", times: int = 1) -> Form:
    """A part of the factor, or all of it, under the root: 4 sqrt(2) as 2 sqrt(8) or sqrt(32)."""

    def write(surd: Surd, rng: random.Random) -> str | None:
        offset, factor, inside = surd
        if not factor:
            return fraction(offset, times)
        top = abs(factor.numerator)
        parts = [k for k in range(2, top + 1) if top % k == 0 and k * k * inside <= LARGEST_ROOT]
        if not parts:
            return None
        moved = rng.choice(parts)
        left = Fraction(top // moved, factor.denominator)
        return _sum(offset, _term(left, moved * moved * inside, style, command, product), factor > 0, gap, False)

    return write


def _below(command: str) -> Form:
    """With the root in the denominator: b sqrt(n) = b n / sqrt(n)."""

    def write(surd: Surd, rng: random.Random) -> str | None:
        offset, factor, inside = surd
        if not factor:
            return tex_fraction(offset, 1, command)
        over = factor * inside
        root = ("" if over.denominator == 1 else str(over.denominator)) + TEX.format(inside)
        return _sum(offset, f"{command}{{{abs(over.numerator)}}}{{{root}}}", factor > 0, "", False)

    return write


def _show(surd: Surd) -> str:
    return _simple(CALL, "", product=" ", gap=" ")(surd, NOTHING_DRAWN) or ""


SURDS = Kind(
    draw=_draw,
    near=_near,
    key=lambda surd: _show(surd) if surd[1] else number_key(surd[0]),
    forms={
        "tex": _simple(),
        "dfrac": _simple(command="\\dfrac"),
        "tfrac": _simple(command="\\tfrac"),
        "call": _simple(CALL, "", product="*"),
        "sign": _simple(SIGN, ""),
        "sign_zero": _simple(SIGN, "", zeros=1),
        "spaced": _simple(gap=" "),
        "last": _simple(root_first=True),
        "last_spaced": _simple(root_first=True, gap=" "),
        "call_last": _simple(CALL, "", product="*", gap=" ", root_first=True),
        "inside": _inside(),
        "inside_call": _inside(CALL, "", product="*", gap=" "),
        "inside_sign": _inside(SIGN, "", times=2),
        "below": _below("\\frac"),
        "below_large": _below("\\dfrac"),
    },
    train=(
        "<tex>",
        "$<spaced>$",
        "<call>",
        "<sign>",
        "<last>",
        "<inside>",
        "<inside_call>",
        "<below>",
        "x = <tex>",
        "<dfrac>",
        "The answer is <call>",
        "$<tfrac>$",
    ),
    held_out=(
        "$<last_spaced>$",
        "x = <inside>",
        "$<below>$",
        "<call_last>",
        "<inside_sign>",
        "<below_large>",
        "x = <sign_zero>",
        "<tfrac>",
    ),
    questions=("Find x.", "What is the length?", "Simplify.", "Find the distance.", "What is x?"),
    held_out_questions=("How long is AB?", "Find the exact value.", "What is the area?"),
    show=_show,
    short=lambda surd: _simple("r{}", "")(surd, NOTHING_DRAWN) or "",
    plain=frozenset({"call", "call_last", "inside_call"}),
)
