"""Numbers to start from, and slips of the pen: what turns an answer into a wrong one that looks like it."""

from __future__ import annotations

import random
from fractions import Fraction

from ulorl_jax.data.answer_pairs.written import decimal, decimal_places

P_SINGLE_DIGIT = 0.05


def number_key(number: Fraction | int) -> str:
    """A number's canonical text, one for all categories that hold numbers: a value is reserved in all of them."""
    return str(Fraction(number))


def draw_integer(rng: random.Random, longest: int, *, negative: float) -> int:
    """An integer with as many digits, one to `longest`, and negative with that probability."""
    size = 1 if rng.random() < P_SINGLE_DIGIT else rng.randint(2, longest)
    number = rng.randrange(10 ** (size - 1) if size > 1 else 0, 10**size)
    return -number if rng.random() < negative else number


def near_integer(number: int, rng: random.Random) -> int:
    """Off by a digit, by one, by two digits swapped, by the sign, or by a zero; may be the number itself."""
    digits = list(str(abs(number)))
    sign = -1 if number < 0 else 1
    slip = rng.choice(("digit", "digit", "next", "swap", "swap", "sign", "zero"))
    if slip == "next":
        return number + rng.choice((-1, 1))
    if slip == "digit":
        place = rng.randrange(len(digits))
        digits[place] = rng.choice("0123456789" if place else "123456789")
    elif slip == "swap" and len(digits) > 1:
        place = rng.randrange(len(digits) - 1)
        digits[place], digits[place + 1] = digits[place + 1], digits[place]
        if digits[0] == "0":
            return number
    elif slip == "sign":
        sign = -sign
    elif slip == "zero" and number:
        digits = digits[:-1] if digits[-1] == "0" else [*digits, "0"]
    return sign * int("".join(digits))


def near_decimal(number: Fraction, rng: random.Random) -> Fraction:
    """Off by a digit, by digits swapped, by the point, by the sign, or rounded; may be the number itself."""
    slip = rng.choice(("digits", "digits", "digits", "point", "sign", "rounded"))
    if slip == "point":
        return number * Fraction(10) ** rng.choice((-1, 1))
    if slip == "sign":
        return -number
    if decimal(number) is None:
        return rounded(number, rng)
    places = decimal_places(number)
    if slip == "rounded":
        return Fraction(round(number, places - 1)) if places else number
    return Fraction(near_integer(int(number * 10**places), rng), 10**places)


def rounded(number: Fraction, rng: random.Random) -> Fraction:
    """To two or three places, which is another number where it has more."""
    return Fraction(round(number, rng.choice((2, 3))))


def near_fraction(number: Fraction, rng: random.Random) -> Fraction | None:
    """Off in numerator or denominator, by the sign, by one, turned over, or rounded; never whole."""
    top, bottom = number.numerator, number.denominator
    slip = rng.choice(("top", "top", "top digits", "bottom", "turned", "sign", "whole", "rounded"))
    if slip == "top":
        other = Fraction(top + rng.choice((-1, 1)), bottom)
    elif slip == "top digits":
        other = Fraction(near_integer(top, rng), bottom)
    elif slip == "bottom":
        other = Fraction(top, max(bottom + rng.choice((-1, 1)), 2))
    elif slip == "turned":
        other = Fraction(bottom, top) if top else number
    elif slip == "sign":
        other = -number
    elif slip == "whole":
        other = number + rng.choice((-1, 1))
    else:
        other = rounded(number, rng)
    return other if other.denominator > 1 else None
