r"""The value of a formula: exact where it is rational, else to 400 digits; never by rounding, never without bounds.

Nothing here can explode: powers, factorials and binomials are refused before they are computed when their result
would have more than `BITS` bits, and every intermediate value of the numeric path lies within 10^-120 .. 10^120 or
is 0. So what remains of rounding is below 10^-270, and two values that agree to 10^-200 are the same.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from ulorl_jax.verify.expressions import Tree

BITS = 100_000  # of an exact value's numerator or denominator
MOST = 5_000  # of a factorial
DIGITS = 400
HIGHEST = 10_000  # degree of a root
LARGEST, ZERO = 120, 200  # powers of ten: of the largest value (and the smallest is its inverse), and of what is 0


class NoValue(ArithmeticError):
    """Undefined (1/0, 0^0), beyond the bounds, or ambiguous: an odd root of a negative number written as a power."""


class NotRational(Exception):
    """The value is not rational, or not seen to be."""


@functools.lru_cache(maxsize=4096)
def exact(tree: Tree) -> Fraction | None:
    """The rational value of a tree without names; None where it is not rational or not bounded."""
    try:
        return _exact(tree)
    except (NotRational, NoValue):
        return None


def _exact(tree: Tree) -> Fraction:
    if isinstance(tree, Fraction):
        return tree
    if isinstance(tree, str):
        raise NotRational
    operation, *rest = tree
    operands = [_exact(operand) for operand in rest]
    value = _OPERATIONS[operation](*operands) if operation in _OPERATIONS else None
    if value is None:
        raise NotRational
    if bits(value) > BITS:
        raise NoValue
    return value


def bits(value: Fraction) -> int:
    """How long a fraction is: the bits of its numerator or its denominator, whichever has more."""
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _divide(top: Fraction, bottom: Fraction) -> Fraction:
    if bottom == 0:
        raise NoValue
    return top / bottom


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1:
        return None
    if base == 0 and exponent <= 0:
        raise NoValue
    if abs(base) in (0, 1):
        return abs(base) if exponent % 2 == 0 else base
    if abs(exponent) * bits(base) > BITS:
        raise NoValue
    return base ** int(exponent)


def _root(value: Fraction, degree: Fraction) -> Fraction | None:
    if degree != 2 or value < 0:
        return None
    roots = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
    return roots if roots**2 == value else None


def _whole(value: Fraction) -> int:
    if value.denominator != 1 or not 0 <= value <= MOST:
        raise NoValue
    return int(value)


_OPERATIONS: dict[str, Any] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divide,
    "^": _power,
    "neg": lambda a: -a,
    "abs": abs,
    "floor": lambda a: Fraction(math.floor(a)),
    "ceil": lambda a: Fraction(math.ceil(a)),
    "!": lambda a: Fraction(math.factorial(_whole(a))),
    "binom": lambda n, k: Fraction(math.comb(_whole(n), _whole(k))),
    "root": _root,
}


@functools.cache
def context() -> Any:
    """mpmath with `DIGITS` digits, apart from the one that other code sets."""
    from mpmath.ctx_mp import MPContext

    mp = MPContext()
    mp.dps = DIGITS
    return mp


def number(value: Fraction) -> Any:
    """A fraction as mpmath's."""
    return context().mpf(value.numerator) / value.denominator


def evaluate(tree: Tree, values: Mapping[str, Any], log_base: int | None, is_real: bool = False) -> Any:
    r"""The value to `DIGITS` digits, real or complex.

    Args:
      tree: of `readings`.
      values: mpmath's number for every name in it.
      log_base: of a \log without one; None for e.
      is_real: a complex value on the way is none: sqrt(a)sqrt(b) of two negative numbers.

    Raises:
      NoValue: it has none, or it leaves the bounds on the way.
    """
    mp = context()
    if isinstance(tree, Fraction):
        return _bounded(number(tree))
    if isinstance(tree, str):
        constants = {r"\pi": mp.pi, "e": mp.e, "i": mp.j}
        return _bounded(+constants[tree] if tree in constants else values[tree])
    operation, *rest = tree
    operands = [evaluate(operand, values, log_base, is_real) for operand in rest]
    if operation == "log" and len(operands) == 1 and log_base is not None:
        operands.append(mp.mpf(log_base))
    try:
        value = _bounded(_numeric(operation, operands))
        if is_real and mp.im(value):
            raise NoValue
        return value
    except (ValueError, ZeroDivisionError, OverflowError, TypeError):  # poles, order of complex numbers
        raise NoValue(operation) from None


def _bounded(value: Any) -> Any:
    """The value, 0 where it is 0 but for rounding."""
    mp = context()
    parts = [mp.re(value), mp.im(value)]
    for at, part in enumerate(parts):
        if not mp.isfinite(part):
            raise NoValue
        if part and not -LARGEST <= mp.mag(part) * 0.30103 <= LARGEST:
            if mp.mag(part) * 0.30103 > -ZERO:
                raise NoValue
            parts[at] = mp.zero
    return mp.mpc(*parts) if parts[1] else parts[0]


def _numeric(operation: str, operands: list[Any]) -> Any:
    mp = context()
    first = operands[0]
    match operation:
        case "+" | "-" | "*" | "/" | "neg":
            return _OPERATIONS[operation](*operands) if operation != "/" else first / operands[1]
        case "^":
            return _raised(first, operands[1])
        case "root":
            return _numeric_root(first, operands[1])
        case "!":
            if mp.im(first) or not -1 < first < 100:
                raise NoValue
            return mp.factorial(first)
        case "binom":
            if any(mp.im(x) or abs(x) > 200 for x in operands):
                raise NoValue
            return mp.binomial(*operands)
        case "°":
            return first * mp.pi / 180
        case "floor" | "ceil":
            nearest = mp.nint(first)
            return nearest if abs(first - nearest) < mp.mpf(10) ** -ZERO else getattr(mp, operation)(first)
        case "ln" | "log":
            return mp.log(first) / mp.log(operands[1]) if len(operands) > 1 else mp.log(first)
        case "abs":
            return abs(first)
    # Past these an exponential is lost beside another number, and a sine has no digits left.
    if abs(first) > (100 if operation in ("exp", "sinh", "cosh", "tanh") else mp.mpf(10) ** 15):
        raise NoValue
    return getattr(mp, operation.replace("arc", "a"))(first)


def _raised(base: Any, exponent: Any) -> Any:
    mp = context()
    if not base and mp.re(exponent) <= 0:
        raise NoValue
    if base and abs(mp.log(base) * exponent) > LARGEST * math.log(10):
        raise NoValue
    if not mp.im(base) and not mp.im(exponent):
        nearest = mp.nint(exponent)
        if abs(exponent - nearest) < mp.mpf(10) ** -ZERO:
            return base ** int(nearest)
        if base < 0:
            raise NoValue  # (-8)^{1/3}: -2, or the complex one
    return base**exponent


def _numeric_root(value: Any, degree: Any) -> Any:
    mp = context()
    if mp.im(degree) or degree != int(degree) or not 2 <= degree <= HIGHEST:
        raise NoValue
    if degree == 2:
        return mp.sqrt(value)
    if mp.im(value):
        raise NoValue
    if value < 0 and degree % 2 == 0:
        raise NoValue
    return -mp.root(-value, int(degree)) if value < 0 else mp.root(value, int(degree))
