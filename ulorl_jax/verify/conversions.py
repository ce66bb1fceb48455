"""Quantities in two units, converted: 27 cm and 0.27 m, an hour and a half and 90 minutes."""

from __future__ import annotations

import re
from fractions import Fraction

from ulorl_jax.verify.amounts import amount, total
from ulorl_jax.verify.asking import Ask
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Comparison
from ulorl_jax.verify.expressions import readings
from ulorl_jax.verify.numbers import rational
from ulorl_jax.verify.quantities import Quantity, is_factor_apart, quantity
from ulorl_jax.verify.units import registry

CALENDAR = {"month", "year", "ten_years", "century", "millennium"}  # in days they have several lengths


def compare_units(a: str, b: str, ask: Ask) -> Comparison | None:
    """Quantities in two known units, converted, and sums of them; a sum against a number is not decided."""
    for text, other in ((a, b), (b, a)):
        if quantity(text) is None and rational(other) is not None and amount(text):
            return _compare_sum(text, other, ask)
    if any(quantity(text) is None and amount(text) is None for text in (a, b)):
        return None
    if amount(a) is not None and amount(a) == amount(b):
        return Comparison(SAME, "the same amount")
    ask.needs_worker()
    of_a, of_b = _summed(a), _summed(b)
    if of_a is None or of_b is None or not of_a.unit or not of_b.unit:
        return None
    from pint.errors import DimensionalityError, OffsetUnitCalculusError

    units = registry()
    try:
        factor = units.Quantity(Fraction(1), of_a.unit).to(of_b.unit).magnitude
        if {of_a.unit, of_b.unit} & {"degC", "degF"} and of_a.unit != of_b.unit:
            value = rational(of_a.value)
            if value is None:
                return Comparison(UNSURE, "temperatures on two scales")
            return ask(str(units.Quantity(value, of_a.unit).to(of_b.unit).magnitude), of_b.value)
    except DimensionalityError:
        # 30m may be minutes or millions.
        certain = all(one.is_sure or one.unit != "meter" for one in (of_a, of_b))
        certain = certain and "percent" not in (of_a.unit, of_b.unit) and not re.search(r"\bin (?:one|an?) ", a + b)
        certain = certain and not {of_a.unit, of_b.unit} <= {"penny", "cent", "dollar"}  # some say penny of a cent
        return Comparison(DIFFERENT if certain else UNSURE, f"{of_a.unit} and {of_b.unit}")
    except OffsetUnitCalculusError:
        return Comparison(UNSURE, "temperatures in a product")
    if {of_a.unit, of_b.unit} == {"degree", "radian"}:  # pint's pi is rounded
        one, two = (of_a, of_b) if of_a.unit == "degree" else (of_b, of_a)
        return ask(rf"({one.value})*\frac{{\pi}}{{180}}", two.value)
    if not isinstance(factor, Fraction | int):
        return Comparison(UNSURE, "no exact factor between the units")
    found = ask(of_a.value if factor == 1 else f"({of_a.value})*({factor})", of_b.value)
    one, two = rational(of_a.value), rational(of_b.value)
    is_calendar = len({unit in CALENDAR for unit in _units_in(a) | _units_in(b)}) > 1
    if found.outcome == DIFFERENT and is_calendar and one and two and 0.9 < one * factor / two < 1.1:
        return Comparison(UNSURE, "months and years have several lengths")
    return found


def _compare_sum(text: str, number: str, ask: Ask) -> Comparison | None:
    """90 and 1.5 may be 1 hour 30 minutes."""
    ask.needs_worker()
    found = _summed(text)
    if found is None:
        return None
    whole = registry().Quantity(Fraction(found.value), found.unit)
    may_be = rational(number) in {whole.to(unit).magnitude for unit in _units_in(text)}
    is_apart = not may_be and not is_factor_apart(found, number)
    return Comparison(DIFFERENT if is_apart else UNSURE, f"a number, and a sum ({found.unit}: {found.value})")


def _summed(text: str) -> Quantity | None:
    """ "2 hours 30 minutes" as minutes; a single quantity with its value in figures."""
    if (one := quantity(text)) is not None:
        value = None if readings(one.value) else rational(one.value)
        return one if value is None else one._replace(value=str(value))
    found = total(amount(text) or ())
    return None if found is None else Quantity(str(found.count), found.unit, "", True)


def _units_in(text: str) -> set[str]:
    return {one.unit} if (one := quantity(text)) else {part.unit for part in amount(text) or ()}
