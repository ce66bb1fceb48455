"""Whole numbers, numbers in words, and single digits."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction

from ulorl_jax.data.answer_pairs import condensed
from ulorl_jax.data.answer_pairs.kinds import Form, Kind
from ulorl_jax.data.answer_pairs.slips import draw_integer, near_fraction, near_integer, number_key
from ulorl_jax.data.answer_pairs.written import (
    fraction_words,
    grouped,
    longer_decimal,
    mixed,
    shortest,
    tex_fraction,
    words,
)
from ulorl_jax.data.chain_sum import question_text

NOUNS = ("apples", "books", "coins", "students", "cards", "games", "trees", "pages")
HELD_OUT_NOUNS = ("pens", "seats", "marbles", "tickets", "dogs")


def _counted(nouns: tuple[str, ...]) -> Form:
    return lambda number, rng: f"{number} {rng.choice(nouns)}" if number > 1 else None


INTEGERS = Kind(
    draw=lambda rng: draw_integer(rng, 7, negative=0.2),
    near=near_integer,
    key=number_key,
    forms={
        "plain": lambda number, rng: str(number),
        "comma": lambda number, rng: grouped(number),
        "tex": lambda number, rng: grouped(number, "{,}"),
        "thin": lambda number, rng: grouped(number, "\\,"),
        "plus": lambda number, rng: f"{number:+d}",
        "point": lambda number, rng: f"{number}.0",
        "counted": _counted(NOUNS),
        "new_counted": _counted(HELD_OUT_NOUNS),
    },
    train=(
        "<plain>",
        "<comma>",
        "<plain>.",
        "<plus>",
        "x = <plain>",
        "x=<comma>",
        "$<plain>$",
        "<tex>",
        "The answer is <plain>.",
        "<point>",
        "n = <thin>",
        "\\text{<comma>}",
        "<counted>",
        "<thin>",
    ),
    held_out=(
        "x = <comma>",
        "$<tex>$",
        "n=<plain>",
        "$<thin>$",
        "\\text{<plain>}",
        "The answer is <comma>",
        "x=<point>",
        "$<plus>$",
        "<new_counted>",
        "<counted>.",
    ),
    questions=("What is x?", "How many are there?", "Find the sum.", "Compute n.", "How many does <name> have?"),
    held_out_questions=("Find the value of n.", "How many are left?", "<name> has how many?"),
    plain=frozenset({"plain", "comma", "point"}),
    # 12 apples and 12 books are no clear case
    fits=lambda first, second, v, w: "counted" not in first or "counted" not in second,
)


def _draw_spoken(rng: random.Random) -> Fraction:
    if rng.random() < 0.25:
        return Fraction(rng.randint(1, 30), rng.choice((2, 3, 4, 5, 6, 7, 8, 9, 10, 12)))
    return Fraction(draw_integer(rng, 4, negative=0.15))


def _near_spoken(number: Fraction, rng: random.Random) -> Fraction | None:
    if number.denominator > 1:
        return near_fraction(number, rng)
    below_hundred = abs(number.numerator) % 100
    sign = -1 if number < 0 else 1
    if rng.random() < 0.4 and 13 <= below_hundred < 20:  # fifteen, fifty
        return number + sign * ((below_hundred - 10) * 10 - below_hundred)
    if rng.random() < 0.4 and below_hundred >= 30 and below_hundred % 10 == 0:
        return number + sign * (below_hundred // 10 + 10 - below_hundred)
    other = near_integer(number.numerator, rng)
    return Fraction(other) if abs(other) < 100_000 else None


def _spoken(
    conjunction: bool = True, hyphen: str = "-", minus: str = "minus", change: Callable[[str], str] = str
) -> Form:
    def write(number: Fraction, rng: random.Random) -> str | None:
        if number.denominator == 1:
            return change(words(number.numerator, conjunction=conjunction, hyphen=hyphen, minus=minus))
        text = fraction_words(number, quarter=rng.choice(("quarter", "fourth")))
        return text and change(text)

    return write


NUMBER_WORDS = Kind(
    draw=_draw_spoken,
    near=_near_spoken,
    key=number_key,
    short=shortest,
    condense=condensed.spoken,
    forms={
        "words": _spoken(),
        "short": _spoken(conjunction=False),
        "open": _spoken(hyphen=" "),
        "negative": _spoken(minus="negative"),
        "open_negative": _spoken(hyphen=" ", minus="negative"),
        "capital": _spoken(change=str.capitalize),
        "title": _spoken(conjunction=False, change=str.title),
        "figures": lambda number, rng: str(number),
        "comma": lambda number, rng: grouped(number.numerator) if number.denominator == 1 else mixed(number),
        "tex": lambda number, rng: tex_fraction(number) if number.denominator > 1 else str(number),
    },
    train=(
        "<words>",
        "<short>",
        "<capital>.",
        "<negative>",
        "<figures>",
        "<figures>.",
        "<comma>",
        "\\text{<words>}",
        "$<tex>$",
        "x = <figures>",
        "<open>",
        "The answer is <words>",
    ),
    held_out=(
        "<title>",
        "<capital>",
        "\\text{<short>}",
        "x = <words>",
        "<words>.",
        "\\text{<open>}",
        "<open_negative>",
    ),
    questions=("How many?", "What number is it?", "How many does <name> see?", "Find the number.", "What is left?"),
    held_out_questions=("Which number is meant?", "How many did <name> count?", "What number is left?"),
    plain=frozenset({"figures"}),
)


def _quotient(style: str) -> Form:
    """With one digit below the line."""

    def write(number: Fraction, rng: random.Random) -> str:
        bottom = number.denominator
        times = rng.randint(2 if bottom == 1 else 1, 9 // bottom)
        return style.format(number.numerator * times, bottom * times)

    return write


def _near_digit(number: Fraction, rng: random.Random) -> Fraction | None:
    """Another digit, or what a division gives that was meant to give this one."""
    if rng.random() < 0.5:
        return Fraction(rng.randrange(10))
    bottom = rng.randint(2, 9)
    other = Fraction(near_integer(int(number) * bottom, rng), bottom)
    return other if other > 0 else None


def _ask_chain(template: str, number: Fraction, rng: random.Random) -> str:
    """A chain of sums whose last sum is the number, in the place of "<chain>"."""
    if template != "<chain>":
        return template
    if number.denominator > 1 or number > 9:
        return "What is x?"
    digits = [rng.randrange(10) for _ in range(rng.randint(1, 11))]
    return question_text([*digits, (int(number) - sum(digits)) % 10])


DIGITS = Kind(
    draw=lambda rng: Fraction(rng.randrange(10)),
    near=_near_digit,
    key=number_key,
    short=shortest,
    forms={
        "plain": lambda number, rng: shortest(number),
        "point": lambda number, rng: longer_decimal(number, 1),
        "points": lambda number, rng: longer_decimal(number, 2),
        "zero": lambda number, rng: f"0{shortest(number)}",
        "plus": lambda number, rng: f"+{shortest(number)}",
        "word": lambda number, rng: words(int(number)) if number.denominator == 1 else None,
        "capital": lambda number, rng: words(int(number)).capitalize() if number.denominator == 1 else None,
        "over": _quotient("{}/{}"),
        "frac": _quotient("\\frac{{{}}}{{{}}}"),
    },
    train=(
        "<plain>",
        "<point>",
        "<zero>",
        "<plus>",
        "<word>",
        "<over>",
        "<plain>.",
        "x = <plain>",
        "$<frac>$",
        "<capital>.",
        "The answer is <plain>",
        "\\text{<word>}",
        "n=<points>",
    ),
    held_out=("x = <word>", "<frac>", "<points>", "<capital>", "$<over>$", "<plus>.", "n=<plain>", "x = <zero>"),
    questions=("What is x?", "Which digit is it?", "Find the last digit.", "<chain>", "<chain>", "<chain>"),
    held_out_questions=("What digit is x?", "Find the digit.", "<chain>"),
    plain=frozenset({"plain", "over", "word"}),
    tiny=lambda number: True,
    ask=_ask_chain,
)
