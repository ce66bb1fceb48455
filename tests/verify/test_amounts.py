"""verify.amounts and verify.conversions: amounts in words, and of several units."""

from fractions import Fraction

import pytest

from tests.verify.answer_tables import misjudged
from ulorl_jax.verify.amounts import Part, amount
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE
from ulorl_jax.verify.rules import compare
from ulorl_jax.verify.spelling import even_out

# Each line holds writings of one amount, and no two lines are of the same.
AMOUNTS = r"""
90 minutes | 1 hour 30 minutes | 1 hour, 30 minutes | 1 hour and 30 minutes | 1.5 hours | an hour and a half | \
    one and a half hours | one hour and thirty minutes | 1 hr 30 min | 1h 30m | 1h30 | 1 and a half hours
75 minutes | an hour and a quarter | one hour and fifteen minutes | 5/4 hours
30 minutes | half an hour | a half hour | 1800 seconds
15 minutes | a quarter of an hour | quarter of an hour
45 minutes | three quarters of an hour | 0.75 hours | 3/4 hour
2 weeks | a fortnight | 14 days | one fortnight | two weeks
1 week | a week | 7 days | one week
10 days | a week and three days | 1 week 3 days
20 years | two decades | a score of years | 240 months
10 years | a decade | ten years | 120 months
a century | 100 years | ten decades | one hundred years
half a century | 50 years | five decades
18 months | a year and a half | one year and six months | 1 year, 6 months
1 hour | an hour | 60 minutes | sixty minutes
two and a half minutes | 150 seconds | two minutes thirty seconds | 2 minutes and 30 seconds
$1.25 | a dollar and a quarter | one dollar and twenty-five cents | 125 cents
$0.50 | half a dollar | fifty cents
a kilometer | 1 km | 1000 meters
half a kilometer | 500 m | 0.5 km
five feet six inches | 5'6" | five and a half feet | 66 inches
61 minutes 5 seconds | 1 hour 1 minute 5 seconds | 3665 seconds | 1h 1m 5s
60 minutes 15 seconds | 1h15s | 1h 15s | 3615 seconds
60 minutes 30 seconds | 1h30s | 1h 30 s | 3630 seconds
3 pounds 8 ounces | three and a half pounds | 56 ounces
"""
UNLIKE = r"""
2 hours, 3 hours ~ 5 hours
2 hours and 3 hours ~ 5 hours
40 miles an hour ~ 41 miles
7 days ~ a fortnight
95 ~ 1 hour 30 minutes
12 ~ 5 feet 6 inches
3 ~ a fortnight
10 ~ an hour
a year ~ 300 days
a year ~ a month
90 minutes ~ an hour and a third
63 minutes ~ 1h30s
1 hour 1 minute 5 seconds ~ 1h 15s
4 ~ 3 yards 1 foot
"""
# A number without a unit, months of 28 to 31 days, or no amount at all.
UNKNOWN = r"""
90 ~ 1 hour 30 minutes
1.5 ~ 1 hour 30 minutes
30 ~ half an hour
14 ~ a fortnight
2 ~ a fortnight
10 ~ a decade
7 ~ a week
1 year ~ 365 days
1 year ~ 52 weeks
1 month ~ 30 days
1 ~ a bit
7 ~ week
1 cent ~ one penny
$0.05 ~ a nickel
2.5 ~ 2 cm 5 mm
25 ~ 2 cm 5 mm
1.2 ~ 1 m 2 dm
1.25 ~ 1 gallon 1 quart
10/3 ~ 3 yards 1 foot
"""


def lines() -> list[list[str]]:
    return [line.split(" | ") for line in AMOUNTS.strip().replace("| \\\n    ", "| ").splitlines()]


def test_every_writing_of_an_amount_is_every_other():
    wrong = [(a, b) for line in lines() for a in line for b in line if compare(a, b).outcome != SAME]
    assert wrong == []


def test_no_writing_of_an_amount_is_one_of_another():
    kept = lines()
    others = [(a, b) for line in kept for a in line for other in kept if other is not line for b in other[:2]]
    assert len(others) > 2000
    assert [pair for pair in others if compare(*pair).outcome == SAME] == []


def test_other_amounts_differ():
    assert misjudged(UNLIKE, DIFFERENT) == []


def test_what_may_be_the_same_amount_is_not_decided():
    assert misjudged(UNKNOWN, UNSURE) == []


def test_amounts_that_are_not_exact_in_days_are_the_same_where_said_alike():
    assert misjudged("a year and a day ~ one year and one day", SAME) == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("an hour and a half", [(Fraction(3, 2), "hour")]),
        ("2 hours and 30 minutes", [(2, "hour"), (30, "minute")]),
        ("1 day, 2 hours, 3 minutes", [(1, "day"), (2, "hour"), (3, "minute")]),
        ("three quarters of a mile", [(Fraction(3, 4), "mile")]),
        ("a couple of hours", [(2, "hour")]),
        ("1,500 m", [(1500, "meter")]),
        ("1h30", [(1, "hour"), (30, "minute")]),
    ],
)
def test_the_parts_of_an_amount(text, parts):
    assert amount(even_out(text)) == tuple(Part(Fraction(count), unit) for count, unit in parts)


@pytest.mark.parametrize(
    "text",
    ["", "5", "an", "hour", "a bit", "40 miles an hour", "5 apples", "half past one", "an hour or two", "a m",
     "an hour and 5", "an hour and", "two an hour", "-5 hours", "a square foot", "5 hours left", "1 2 hours"],
)  # fmt: skip
def test_what_is_no_amount_is_none(text):
    assert amount(even_out(text)) is None
