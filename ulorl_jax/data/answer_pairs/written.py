"""Numbers as text, exactly: digits, decimals, fractions, words."""

from __future__ import annotations

from fractions import Fraction

ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
ONES += ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
TENS = ("zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
PARTS_OF = {2: "half", 3: "third", 4: "quarter", 5: "fifth", 6: "sixth", 7: "seventh", 8: "eighth", 9: "ninth"}
PARTS_OF |= {10: "tenth", 12: "twelfth"}
PLACES = 9  # no decimal has more


def grouped(number: int, separator: str = ",") -> str:
    """Digits in groups of three, as in "-12,345"."""
    return f"{number:,}".replace(",", separator)


def decimal(number: Fraction | int, places: int = 0) -> str | None:
    """The exact decimal with at least so many places; None where it does not end within `PLACES`."""
    number = Fraction(number)
    for digits in range(places, PLACES + 1):
        if 10**digits % number.denominator == 0:
            text = str(abs(number.numerator) * (10**digits // number.denominator)).rjust(digits + 1, "0")
            whole = len(text) - digits
            return ("-" if number < 0 else "") + text[:whole] + ("." + text[whole:] if digits else "")
    return None


def decimal_places(number: Fraction) -> int:
    """How many places the shortest exact decimal has; it must end."""
    return len((decimal(number) or "").partition(".")[2])


def longer_decimal(number: Fraction, zeros: int) -> str | None:
    """The shortest exact decimal and so many zeros; None where it does not end."""
    return decimal(number) and decimal(number, decimal_places(number) + zeros)


def shortest(number: Fraction) -> str:
    """The exact decimal, or the fraction in lowest terms where it does not end."""
    return decimal(number) or fraction(number)


def fraction(number: Fraction, times: int = 1) -> str:
    """As "-3/4", numerator and denominator multiplied by `times`."""
    return f"{number.numerator * times}/{number.denominator * times}"


def tex_fraction(number: Fraction, times: int = 1, command: str = "\\frac") -> str:
    """As "-\\frac{3}{4}", numerator and denominator multiplied by `times`."""
    sign = "-" if number < 0 else ""
    return f"{sign}{command}{{{abs(number.numerator) * times}}}{{{number.denominator * times}}}"


def mixed(number: Fraction, style: str = "{} {}/{}") -> str | None:
    """As "-3 1/2"; None where there is no whole part, or no other."""
    whole, rest = divmod(abs(number), 1)
    if not whole or not rest:
        return None
    return ("-" if number < 0 else "") + style.format(whole, rest.numerator, rest.denominator)


def words(number: int, *, conjunction: bool = True, hyphen: str = "-", minus: str = "minus") -> str:
    """As "one hundred and forty-two", below a million."""
    if number < 0:
        return f"{minus} {words(-number, conjunction=conjunction, hyphen=hyphen)}"
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + (hyphen + ONES[number % 10] if number % 10 else "")
    size, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    head = f"{words(number // size, conjunction=conjunction, hyphen=hyphen)} {name}"
    rest = number % size
    if not rest:
        return head
    link = " and " if conjunction and rest < 100 else " "
    return head + link + words(rest, conjunction=conjunction, hyphen=hyphen)


def fraction_words(number: Fraction, *, quarter: str = "quarter") -> str | None:
    """As "two thirds" or "two and a half"; None where there are no plain words for it."""
    whole, rest = divmod(number, 1)
    if not rest or rest.denominator not in PARTS_OF or not 0 <= whole < 20:
        return None
    part = quarter if rest.denominator == 4 else PARTS_OF[rest.denominator]
    if not whole:
        return f"{ONES[rest.numerator]} {part}" + ("" if rest.numerator == 1 else "s")
    return f"{ONES[whole]} and " + (f"a {part}" if rest.numerator == 1 else f"{ONES[rest.numerator]} {part}s")
