"""Polynomials in one or two letters: expanded, factored, in any order."""

from __future__ import annotations

import dataclasses
import random

from ulorl_jax.data.answer_pairs import condensed
from ulorl_jax.data.answer_pairs.kinds import LONGEST, NOTHING_DRAWN, Form, Kind

LETTERS = ("xy", "ab", "tn", "xz", "mn")
NOT_ZERO = tuple(k for k in range(-12, 13) if k)
ONE_LETTER = ((3, 0), (2, 0), (1, 0), (0, 0))
TWO_LETTERS = ((2, 0), (1, 1), (0, 2), (1, 0), (0, 1), (0, 0))

Powers = tuple[int, int]
Factor = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Polynomial:
    """A sum of terms.

    Attributes:
      letters: two; the second may be in no term.
      terms: coefficients, none of them 0, by the powers of the letters.
      factors: (a, b) for each factor a x + b, or with `mixed` a x + b y; () where it was made of none.
      times: the number in front of the factors.
      mixed: whether the second letter is in the factors.
    """

    letters: str
    terms: dict[Powers, int]
    factors: tuple[Factor, ...] = ()
    times: int = 1
    mixed: bool = False

    def powers(self) -> list[Powers]:
        """Of the terms, from the highest down."""
        return sorted(self.terms, key=lambda powers: (-sum(powers), -powers[0]))


def _product(letters: str, factors: tuple[Factor, ...], times: int, mixed: bool) -> Polynomial:
    terms = {(0, 0): times}
    for first, second in factors:
        grown: dict[Powers, int] = {}
        for (power, other), number in terms.items():
            for powers, part in (((power + 1, other), first), ((power, other + mixed), second)):
                grown[powers] = grown.get(powers, 0) + number * part
        terms = grown
    return Polynomial(letters, {powers: k for powers, k in terms.items() if k}, factors, times, mixed)


def _draw(rng: random.Random) -> Polynomial:
    letters = rng.choice(LETTERS)
    if rng.random() < 0.45:
        factors = tuple(
            (rng.choice((1, 1, 1, 2, 3)), rng.choice([k for k in range(-9, 10) if k]))
            for _ in range(rng.choice((1, 2, 2)))
        )
        times = rng.choice((1, 1, 1, 2, 3, -1)) if len(factors) == 2 else rng.randint(2, 9)
        return _product(letters, factors, times, rng.random() < 0.25)
    places = TWO_LETTERS if rng.random() < 0.5 else ONE_LETTER
    terms = {place: rng.choice(NOT_ZERO) for place in rng.sample(places, rng.choice((2, 3, 3)))}
    return Polynomial(letters, terms) if any(map(sum, terms)) else _draw(rng)


def _near(value: Polynomial, rng: random.Random) -> Polynomial | None:
    if rng.random() < 0.15:
        return dataclasses.replace(value, letters=rng.choice(LETTERS))
    return _near_factors(value, rng) if value.factors and rng.random() < 0.75 else _near_terms(value, rng)


def _near_factors(value: Polynomial, rng: random.Random) -> Polynomial | None:
    place = rng.randrange(len(value.factors))
    (first, second), times = value.factors[place], value.times
    slip = rng.choice(("sign", "sign", "next", "times", "first", "swap"))
    if slip == "sign":
        second = -second
    elif slip == "next":
        second += rng.choice((-1, 1))
    elif slip == "first":
        first = first % 3 + 1
    elif slip == "swap" and second > 0:
        first, second = second, first
    elif slip == "times":
        times += rng.choice((-1, 1))
    if not second or not times:
        return None
    factors = (*value.factors[:place], (first, second), *value.factors[place + 1 :])
    return _product(value.letters, factors, times, value.mixed)


def _near_terms(value: Polynomial, rng: random.Random) -> Polynomial | None:
    slip = rng.choice(("number", "number", "sign", "power"))
    terms = dict(value.terms)
    powers = rng.choice(list(terms))
    number = terms.pop(powers)
    if slip == "power":
        powers = (powers[0] + 1, powers[1]) if rng.random() < 0.5 else (powers[1], powers[0])
    elif slip == "sign":
        number = -number
    else:
        number += rng.choice((-1, 1, 10))
    if powers in terms or not number:
        return None
    return Polynomial(value.letters, terms | {powers: number})


def _monomial(letters: str, powers: Powers, number: int, product: str, braces: bool) -> str:
    parts = [str(abs(number))] if abs(number) > 1 or not any(powers) else []
    for letter, power in zip(letters, powers, strict=True):
        if power:
            exponent = f"^{{{power}}}" if braces else f"^{power}"
            parts.append(letter + (exponent if power > 1 else ""))
    return product.join(parts)


def _expanded(*, gap: str = "", order: str = "down", product: str = "", braces: bool = False) -> Form:
    """As a sum, its powers going down, up, or anyhow."""

    def write(value: Polynomial, rng: random.Random) -> str:
        places = value.powers()
        if order == "up":
            places.reverse()
        elif order == "any":
            rng.shuffle(places)
        text = ""
        for powers in places:
            number = value.terms[powers]
            sign = "-" if number < 0 else "+"
            text += f"{gap}{sign}{gap}" if text else "-" if number < 0 else ""
            text += _monomial(value.letters, powers, number, product, braces)
        return text

    return write


def _factored(*, gap: str = "", product: str = "") -> Form:
    def write(value: Polynomial, rng: random.Random) -> str | None:
        if not value.factors:
            return None
        texts = []
        for first, second in rng.sample(value.factors, len(value.factors)):
            head = _monomial(value.letters, (1, 0), first, product, False)
            tail = _monomial(value.letters, (0, int(value.mixed)), second, product, False)
            texts.append(f"({head}{gap}{'+' if second > 0 else '-'}{gap}{tail})")
        if len(texts) == 2 and texts[0] == texts[1]:
            texts = [texts[0] + "^2"]
        times = "" if value.times == 1 else "-" if value.times == -1 else f"{value.times}{product}"
        return times + product.join(texts)

    return write


def _named(*, gap: str = "") -> Form:
    """As "y = ...", where y is no letter of it."""
    expanded = _expanded(gap=gap)

    def write(value: Polynomial, rng: random.Random) -> str | None:
        if value.letters[0] != "x" or any(power for _, power in value.terms):
            return None
        return f"y{gap}={gap}{expanded(value, rng)}"

    return write


_show = _expanded(gap=" ")


def _key(value: Polynomial) -> str:
    return _show(value, NOTHING_DRAWN) or ""


def _note(v: Polynomial, w: Polynomial) -> str:
    """A coefficient in which they differ, where both together are too long."""
    if len(f"{_key(v)} is not {_key(w)}") <= LONGEST:
        return ""
    first, second = _terms(v), _terms(w)
    name = next(name for name in first | second if first.get(name) != second.get(name))
    return f"{name or 'constant'}: {first.get(name, 0)} is not {second.get(name, 0)}"


def _terms(value: Polynomial) -> dict[str, int]:
    return {
        _monomial(value.letters, powers, 1, "", False) if any(powers) else "": number
        for powers, number in value.terms.items()
    }


ALGEBRA = Kind(
    draw=_draw,
    near=_near,
    key=_key,
    forms={
        "down": _expanded(),
        "spaced": _show,
        "up": _expanded(order="up"),
        "any": _expanded(gap=" ", order="any"),
        "star": _expanded(product="*"),
        "star_any": _expanded(gap=" ", order="any", product="*"),
        "braces": _expanded(braces=True),
        "braces_any": _expanded(order="any", braces=True),
        "factors": _factored(),
        "factors_spaced": _factored(gap=" "),
        "factors_star": _factored(product="*"),
        "named": _named(gap=" "),
        "named_tight": _named(),
    },
    train=(
        "<down>",
        "<spaced>",
        "$<up>$",
        "<any>",
        "<star>",
        "$<braces>$",
        "<factors>",
        "$<factors>$",
        "<factors_star>",
        "<spaced>.",
        "The answer is <down>",
        "<named>",
    ),
    held_out=(
        "$<any>$",
        "<star_any>",
        "$<braces_any>$",
        "<factors_spaced>",
        "<up>",
        "The answer is <factors>",
        "<braces>",
        "$<factors_spaced>$",
        "<named_tight>",
    ),
    questions=("Simplify.", "Expand the product.", "Find the polynomial.", "What is the area?", "Factor it."),
    held_out_questions=("Write it out.", "Find the expression.", "Multiply out."),
    plain=frozenset({"spaced", "any", "factors", "factors_spaced"}),
    short=lambda value: condensed.polynomial(_key(value)),
    condense=condensed.polynomial,
    roundabout=frozenset({"factors", "factors_spaced", "factors_star"}),
    note=_note,
)
