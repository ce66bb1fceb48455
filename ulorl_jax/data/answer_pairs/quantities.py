"""Quantities with units of length, mass, time, area, volume and speed."""

from __future__ import annotations

import dataclasses
import random
from fractions import Fraction

from ulorl_jax.data.answer_pairs.kinds import Form, Kind
from ulorl_jax.data.answer_pairs.slips import near_decimal
from ulorl_jax.data.answer_pairs.written import decimal

LONGEST_NUMBER = 7  # characters of a number in front of a unit


@dataclasses.dataclass(frozen=True)
class Unit:
    """A unit: its symbol, its name for one and for several, and how many base units it is."""

    symbol: str
    one: str
    several: str
    size: Fraction


def _unit(symbol: str, one: str, several: str, size: str) -> Unit:
    return Unit(symbol, one, several, Fraction(size))


UNITS_OF = {  # the base unit of each dimension comes first
    "length": (
        _unit("m", "meter", "meters", "1"),
        _unit("cm", "centimeter", "centimeters", "0.01"),
        _unit("mm", "millimeter", "millimeters", "0.001"),
        _unit("km", "kilometer", "kilometers", "1000"),
        _unit("ft", "foot", "feet", "0.3048"),
        _unit("in", "inch", "inches", "0.0254"),
    ),
    "mass": (
        _unit("g", "gram", "grams", "1"),
        _unit("kg", "kilogram", "kilograms", "1000"),
        _unit("mg", "milligram", "milligrams", "0.001"),
    ),
    "time": (
        _unit("min", "minute", "minutes", "1"),
        _unit("s", "second", "seconds", "1/60"),
        _unit("h", "hour", "hours", "60"),
    ),
    "area": (
        _unit("m^2", "square meter", "square meters", "1"),
        _unit("cm^2", "square centimeter", "square centimeters", "0.0001"),
    ),
    "volume": (
        _unit("L", "liter", "liters", "1"),
        _unit("mL", "milliliter", "milliliters", "0.001"),
        _unit("cm^3", "cubic centimeter", "cubic centimeters", "0.001"),
    ),
    "speed": (
        _unit("km/h", "kilometer per hour", "kilometers per hour", "1"),
        _unit("m/s", "meter per second", "meters per second", "3.6"),
    ),
}
WEIGHTS = (4, 3, 3, 1, 2, 1)  # lengths are met most
WRONG_FACTORS = tuple(Fraction(text) for text in ("10", "1/10", "6/10", "10/6", "100", "1/100"))


@dataclasses.dataclass(frozen=True)
class Quantity:
    """An amount in base units, and the unit in which it was thought of."""

    dimension: str
    amount: Fraction
    home: Unit


def _draw(rng: random.Random) -> Quantity:
    dimension = rng.choices(tuple(UNITS_OF), WEIGHTS)[0]
    unit = rng.choice(UNITS_OF[dimension])
    number = Fraction(rng.randint(1, 999), rng.choice((1, 1, 1, 10)))
    if rng.random() < 0.3:
        number = Fraction(rng.randint(1, 20) * 10 ** rng.randint(0, 2))
    return Quantity(dimension, number * unit.size, unit)


def _near(quantity: Quantity, rng: random.Random) -> Quantity | None:
    dimension, number = quantity.dimension, quantity.amount / quantity.home.size
    slip = rng.choice(("unit", "unit", "number", "number", "factor", "dimension"))
    if slip == "factor":  # converted wrongly
        return dataclasses.replace(quantity, amount=quantity.amount * rng.choice(WRONG_FACTORS))
    if slip == "number":
        other = near_decimal(number, rng)
        return dataclasses.replace(quantity, amount=other * quantity.home.size) if other > 0 else None
    if slip == "dimension":
        dimension = rng.choice(tuple(UNITS_OF))
    unit = rng.choice(UNITS_OF[dimension])
    return Quantity(dimension, number * unit.size, unit)


def _number(quantity: Quantity, unit: Unit) -> str | None:
    text = decimal(quantity.amount / unit.size)
    return text if text is not None and len(text) <= LONGEST_NUMBER else None


def _in_unit(style: str, at_home: bool = False) -> Form:
    """In any unit that gives a short number, or in the unit it was thought of."""

    def write(quantity: Quantity, rng: random.Random) -> str | None:
        units = (quantity.home,) if at_home else UNITS_OF[quantity.dimension]
        drawn = rng.sample(units, len(units))
        unit, number = next(((unit, number) for unit in drawn if (number := _number(quantity, unit))), (None, ""))
        if unit is None:
            return None
        name = unit.one if number == "1" else unit.several
        letters, power, exponent = unit.symbol.partition("^")
        return style.format(number=number, symbol=unit.symbol, letters=letters, power=power + exponent, name=name)

    return write


def _clock(style: str, otherwise: Form = lambda quantity, rng: None) -> Form:
    """As "1 h 30 min", or otherwise where it cannot be written so."""

    def write(quantity: Quantity, rng: random.Random) -> str | None:
        minutes = quantity.amount
        if quantity.dimension != "time" or minutes.denominator > 1 or minutes < 60 or minutes % 60 == 0:
            return otherwise(quantity, rng)
        return style.format(minutes // 60, minutes % 60)

    return write


def _show(quantity: Quantity) -> str:
    """In the unit it was thought of, or in one that gives a short number."""
    texts = [(unit, _number(quantity, unit)) for unit in (quantity.home, *UNITS_OF[quantity.dimension])]
    return next((f"{number} {unit.symbol}" for unit, number in texts if number), _key(quantity))


def _key(quantity: Quantity) -> str:
    return f"{quantity.amount} {UNITS_OF[quantity.dimension][0].symbol}"


def _fits(first: str, second: str, v: Quantity, w: Quantity) -> bool:
    """A number alone stands beside the same unit only, and only where both values are meant in it."""
    if "bare" not in (first, second):
        return True
    return v.home == w.home and all(form == "bare" or form.startswith("home") for form in (first, second))


UNITS = Kind(
    draw=_draw,
    near=_near,
    key=_key,
    forms={
        "symbol": _in_unit("{number} {symbol}"),
        "joined": _in_unit("{number}{symbol}"),
        "name": _in_unit("{number} {name}"),
        "text": _in_unit("{number} \\text{{ {letters}}}{power}"),
        "thin": _in_unit("{number}\\,\\text{{{letters}}}{power}"),
        "roman": _in_unit("{number}\\,\\mathrm{{{letters}}}{power}"),
        "named_text": _in_unit("{number}\\text{{ {name}}}"),
        "clock": _clock("{} h {} min", _in_unit("{number} {symbol}")),
        "clock_words": _clock("{} hours {} minutes"),
        "home": _in_unit("{number} {symbol}", at_home=True),
        "home_text": _in_unit("{number} \\text{{ {name}}}", at_home=True),
        "home_joined": _in_unit("{number}{symbol}", at_home=True),
        "bare": _in_unit("{number}", at_home=True),
    },
    train=(
        "<symbol>",
        "<name>",
        "$<text>$",
        "<clock>",
        "x = <symbol>",
        "<symbol>.",
        "$<roman>$",
        "The answer is <symbol>",
        "<home>",
        "$<home_text>$",
        "<bare>",
    ),
    held_out=(
        "<joined>",
        "$<thin>$",
        "<name>.",
        "<named_text>",
        "x = <joined>",
        "<roman>",
        "<clock_words>",
        "<home_joined>",
        "$<bare>$",
    ),
    questions=("How much is it?", "Find the result.", "What does <name> measure?", "What is the answer?"),
    held_out_questions=("How much did <name> measure?", "What is the result?", "Give the result."),
    show=_show,
    plain=frozenset({"symbol", "joined", "name", "clock", "home", "home_joined", "bare"}),
    fits=_fits,
)
