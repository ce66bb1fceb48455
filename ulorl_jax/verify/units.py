r"""Which words are units, and what they are worth.

The words are written here, since a library that knows every unit takes "5 a" for years and "3 pens" for pico-ens;
what they are worth is pint's, with exact fractions.
"""

from __future__ import annotations

import functools
import re
from fractions import Fraction
from typing import Any

# pint's name: what people write. A plural s is understood of names of four letters and more.
UNITS = """
millimeter: mm millimeter millimetre
centimeter: cm centimeter centimetre
decimeter: dm decimeter decimetre
meter: m meter metre
kilometer: km kms kilometer kilometre
inch: in inch inches
foot: ft foot feet
yard: yd yds yard
mile: mi mile
milligram: mg mgs milligram
gram: g gram gm gms
kilogram: kg kgs kilogram kilo
metric_ton: tonne
pound: lb lbs pound
ounce: oz ounce
millisecond: ms millisecond
second: s sec secs second
minute: min mins minute
hour: h hr hrs hour
day: day days
week: week wk wks
fortnight: fortnight
month: month
year: year yr yrs
ten_years: decade
century: century centuries
millennium: millennium millennia
milliliter: ml mL milliliter millilitre cc
centiliter: cl cL centiliter centilitre
liter: l L liter litre
gallon: gallon gal
quart: quart
pint: pint
cup: cup cups
acre: acre
hectare: hectare ha
mile/hour: mph
kilometer/hour: kph kmh kmph
newton: N newton
joule: J joule
kilojoule: kJ kilojoule
watt: W watt
kilowatt: kW kilowatt
kilowatt*hour: kWh
volt: V volt
ampere: A amp ampere
ohm: ohm
pascal: Pa pascal
kilopascal: kPa kilopascal
megapascal: MPa
atmosphere: atm
kilonewton: kN
calorie: cal calorie
kilocalorie: kcal kilocalorie
megawatt: MW megawatt
millivolt: mV
kilovolt: kV
milliampere: mA
kilohertz: kHz
megahertz: MHz
gigahertz: GHz
micrometer: micrometer micron
nanometer: nm nanometer
mole: mol mole
kilobyte: KB kilobyte
megabyte: MB megabyte
gigabyte: GB gigabyte
knot: knot
hertz: Hz hertz
kelvin: K kelvin
degree: ° degree deg degs
radian: rad rads radian
degC: °C celsius
degF: °F fahrenheit
bit: bit bits
byte: byte
dollar: $ dollar usd USD buck
cent: cent cents ¢
euro: € euro eur EUR
pound_sterling: £ gbp GBP
penny: penny pence
yen: ¥ yen JPY
rupee: ₹ rupee rs Rs INR
percent: % percent
"""
# pint's own decade is one of a logarithm.
DEFINED = """
ten_years = 10 * year
dollar = [us_money]
cent = dollar / 100
euro = [euro_money]
pound_sterling = [uk_money]
penny = pound_sterling / 100
yen = [japanese_money]
rupee = [indian_money]
"""
# Of ISO 4217, less those that are units above or words.
CURRENCIES = "AED ARS AUD BRL CAD CHF CLP CNY COP CZK DKK EGP HKD HUF IDR ILS ISK KRW MXN MYR NGN NOK NZD PHP PLN RON"
CURRENCIES += " RSD RUB SAR SEK SGD THB TWD UAH VND ZAR"
POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
UNIT_TOKEN = re.compile(
    r"\s*(?:(?P<word>°[CF]?(?![A-Za-z])|[%$€£¥₹¢]|[A-Za-z]+)\.?|\^\s*\{?(?P<power>-?[1-9])\}?|(?P<sign>[/*]))"
)


@functools.cache
def unit_names() -> dict[str, str]:
    """pint's name of every word that is a unit."""
    names: dict[str, str] = {}
    for line in UNITS.strip().splitlines():
        unit, _, words = line.partition(": ")
        for word in words.split():
            names[word] = unit
            if len(word) > 3 and word.islower():
                names |= {word.capitalize(): unit, f"{word}s": unit, f"{word}s".capitalize(): unit}
    return names | {code: code for code in CURRENCIES.split()}


def unit_of(words: str) -> str | None:
    """pint's expression for "cm^2", "square feet", "miles per hour", "m/s"."""
    parts: list[str] = []
    names, at, pending, joint = unit_names(), 0, 1, ""
    while at < len(words):
        token = UNIT_TOKEN.match(words, at)
        if token is None:
            return None
        at = token.end()
        word = token["word"] or ""
        if token["power"] or word in ("squared", "cubed"):
            if not parts or joint:
                return None
            parts[-1] += f"**{token['power'] or POWERS[word]}"
        elif token["sign"] or word == "per":
            joint = "*" if token["sign"] == "*" else "/"
            if not parts:
                return None
        elif word in POWERS:
            pending = POWERS[word]
        elif word.lower() == "degrees" and words[at:].strip().lower() in ("celsius", "fahrenheit", "c", "f"):
            return "degC" if words[at:].strip()[0] in "cC" else "degF"
        elif word in names:
            if parts and not joint:
                if not re.match(r"\s*\^\s*\{?-", words[at:]):
                    return None  # "m s" may be anything; m s^{-1} is not
                joint = "*"
            parts.append(f"{joint}({names[word]})" + (f"**{pending}" if pending > 1 else ""))
            pending, joint = 1, ""
        else:
            return None
    if joint or pending > 1 or not parts:
        return None
    return parts[0][1:-1] if len(parts) == 1 and parts[0].endswith(")") else "".join(parts)


@functools.cache
def registry() -> Any:
    """pint's units and those of `DEFINED`, with exact factors."""
    import pint

    exactly: Any = Fraction  # pint declares it a type of floats
    units = pint.UnitRegistry(non_int_type=exactly, on_redefinition="ignore")
    for line in DEFINED.strip().splitlines():
        units.define(line)
    for code in CURRENCIES.split():
        units.define(f"{code} = [money_{code}]")
    return units
