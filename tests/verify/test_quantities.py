"""verify.quantities and verify.units: what counts as a unit, and what it is worth."""

import pytest

from tests.verify.answer_tables import misjudged
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE
from ulorl_jax.verify.quantities import Quantity, quantity
from ulorl_jax.verify.spelling import even_out
from ulorl_jax.verify.units import registry, unit_names, unit_of

ALIKE = r"""
2/4 ~ 50\%
27 cm ~ 27
27cm ~ 0.27m
5 km ~ 5000 meters
5 m/s ~ 18 km/h
60 mph ~ 60 miles per hour
15\mbox{ cm}^2 ~ 15 cm²
15 cm^2 ~ 15 square centimeters
864 \mbox{ inches}^2 ~ 864
1 square foot ~ 144 square inches
1 m^3 ~ 1000 liters
2 hours ~ 120 minutes
2 hours 30 minutes ~ 150 minutes
2 hours and 30 minutes ~ 2.5 hours
1 year ~ 12 months
5 feet 6 inches ~ 66 inches
1 kg ~ 1000 g
2 lbs ~ 32 oz
12 square units ~ 12
12 units ~ 12
12 units^2 ~ 12
5 apples ~ 5
five apples ~ 5
5 apples ~ 5 apple
5 \text{ ways} ~ 5
100 degrees ~ 100^\circ
\frac{270}7\text{ degrees} ~ \frac{270}{7}
90° ~ 90
90^\circ ~ \frac{\pi}{2}
\frac{\pi}{3} \text{ radians} ~ 60^\circ
180 degrees ~ \pi
25°C ~ 77°F
20 °C ~ 20 degrees Celsius
$18 ~ 18
\$18 ~ 18 dollars
$18.00 ~ \$18
18 USD ~ $18
\$32,\!348 ~ 32348
$1,234.50 ~ 1234.5
$0.50 ~ 50 cents
5.4 \text{ cents} ~ 5.4
€18 ~ 18 euros
£5 ~ 5 pounds
$5 million ~ 5000000
-$5 ~ -5
50% ~ 50
50\% ~ \frac12
50 percent ~ 50%
12.5% ~ 1/8
150\% ~ 1.5
58,500 ~ \$58,500
12\pi \text{ cm}^2 ~ 12\pi
12\pi cm^2 ~ 12\pi
3.5 hours ~ 3 hours 30 minutes
3.5 hours ~ 210 minutes
90 minutes ~ 1.5 hours
1.5 hrs ~ 90 min
1 hour ~ 60 minutes
1 hour ~ 3600 seconds
one hour ~ 60 minutes
100 cm ~ 1 m
100cm ~ 1m
10 km/h ~ 10 kilometers per hour
10 km/h ~ 10 km per hour
9.8 m/s^2 ~ 9.8 \text{ m/s}^2
5\ \mathrm{kg} ~ 5000 g
5\,\text{L} ~ 5000 mL
2 gallons ~ 8 quarts
3 weeks ~ 21 days
1 m^2 ~ 10000 cm^2
1\text{ ft}^2 ~ 144\text{ in}^2
45 miles ~ 45
$45 ~ 45 dollars
45 bucks ~ $45
\$45.50 ~ 45.5
18 dollars per hour ~ 18
200\% ~ 2
0.2\% ~ 0.002
21.21\% ~ 21.21
33\frac{1}{3}\% ~ \frac{1}{3}
24 different ways ~ 24
3 red balls ~ 3
90^{\circ} ~ 90 degrees
90^\circ ~ 90 \text{ degrees}
145^\circ ~ 145
60^{\circ} ~ \pi/3
\frac{\pi}{6} ~ 30^\circ
-\frac{\pi}{6} ~ -30^\circ
a quarter ~ 25\%
eight dollars ~ \$8
25^\circ\mathrm{C} ~ 77^\circ F
5\ {\rm cm} ~ 5 cm
5\mathrm{~cm} ~ 5 cm
\frac{5\pi}{6} ~ 150^\circ
10\sqrt{3}\text{ m} ~ 10\sqrt3
10\sqrt{3}\text{ m} ~ 1000\sqrt{3}\text{ cm}
\frac{10}{3}\text{ hours} ~ 200\text{ minutes}
12 inches ~ 1 foot
1 mile ~ 5280 feet
\frac{1}{2} \text{ cup} ~ 0.5 cups
7 days ~ 1 week
100 pence ~ £1
€5 ~ 5 EUR
₹500 ~ 500 rupees
¥100 ~ 100 yen
500 g ~ 0.5 kg
500 mg ~ 0.5 g
2.5 L ~ 2500 ml
36 km/h ~ 10 m/s
12 \text{ square inches} ~ 12 \text{ in}^2
12 \text{ in}^2 ~ 12
144 \text{ cm}^{2} ~ 144\ cm^2
$12{,}345.67 ~ 12345.67
USD 50 ~ $50
50 US dollars ~ 50
fifty dollars ~ $50
fifty percent ~ 1/2
5 \, \text{units}^2 ~ 5
\text{5 apples} ~ 5
\dfrac{3}{4}\text{ hr} ~ 45\text{ min}
\frac{3}{4} \text{ of a mile} ~ \frac34
50 \text{ mph} ~ 50 miles/hour
0.5\text{ m}^2 ~ 5000\text{ cm}^2
$1.2 million ~ 1200000
\$1,200 ~ 1200 dollars
70\,^\circ ~ 70
70^{\text{o}} ~ 70
\tfrac{\pi}{4} ~ 45^\circ
3\sqrt{2} \text{ units} ~ \sqrt{18}
36\pi \text{ cubic inches} ~ 36\pi
1/3 cup ~ 1/3
2 times ~ 2
864 \mbox{ inches}^2 ~ 864 sq in
864 \mbox{ inches}^2 ~ 6 square feet
15\mbox{ cm}^2 ~ 0.0015 m^2
\frac{270}7\text{ degrees} ~ 38 4/7 degrees
5.4 \text{ cents} ~ $0.054
\$18.90 ~ 1890 cents
\$18.90 ~ 18 dollars and 90 cents
20\% ~ twenty percent
20\% ~ 20 per cent
18 ~ \$18/day
18 ~ $18 per day
18 ~ 18 dollars per day
70000 ~ $70,000 profit
70000 ~ 70000 dollars profit
$70,000 ~ 70000 dollars profit
20 ~ 20 cups of feed
20 cups ~ 20 cups of feed
12 years ~ 12 years old
half an hour ~ 30 minutes
3/4 of a mile ~ 0.75 miles
\frac{\pi}{6} ~ pi/6 radians
\frac{\pi}{6} ~ 30 deg
2.5 hrs ~ 2 h 30 min
1 day 2 hours ~ 26 hours
10 lbs of apples ~ 10 pounds
5 second graders ~ 5
2.2\times 10^{-8} ~ 2.2e-8 m
72 ~ 72 Mb/hour
5 m/s ~ 5 m s^{-1}
5'6" ~ 66 inches
1.5 hours ~ 1h 30m
\$5.20 ~ \$5 and 20 cents
70 ~ 70 (years)
0.25 ~ 25% chance
"""
UNLIKE = r"""
5 m/s ~ 5 m s^{-2}
5'6" ~ 65 inches
1.5 hours ~ 1h 50m
\$5.20 ~ \$5 and 2 cents
27cm ~ 27m
27 cm ~ 28 cm
27 cm ~ 28
27cm ~ 2.7m
5 km ~ 500 m
5 km ~ 5 miles
5 kg ~ 5 m
5 kg ~ 5 lb
15 cm ~ 15 cm^2
15 cm^2 ~ 15 cm^3
1 m^2 ~ 100 cm^2
2 hours ~ 100 minutes
2 hours 30 minutes ~ 2.3 hours
60 mph ~ 60 km/h
25°C ~ 25°F
90^\circ ~ 80^\circ
90^\circ ~ \pi
90^\circ ~ 90 radians
45^\circ ~ \frac{\pi}{3}
18 dollars ~ 18 euros
$18 ~ €18
$18 ~ $81
$18 ~ $1.8
50 cents ~ $50
$5 million ~ $5
50% ~ 5%
50% ~ 0.05
50\% ~ \frac13
0.5% ~ 50
5 apples ~ 6 apples
5 apples ~ 6
\$32,348 ~ 32,384
\frac{2}{3} ~ 66.67\%
33.33\% ~ \frac13
20\% ~ 0.02
20\% ~ 80\%
5.4 \text{ cents} ~ 5.4 \text{ dollars}
$5 ~ 5 cents
1.5 hours ~ 1 hour 50 minutes
2 hours ~ 2 minutes
2 hours ~ 2 days
100 cm ~ 10 m
1 kg ~ 100 g
5 L ~ 500 mL
15\text{ cm}^2 ~ 15\text{ m}^2
864 \mbox{ inches}^2 ~ 864 \mbox{ feet}^2
60 mph ~ 60 m/s
30^\circ ~ 60^\circ
30^\circ ~ \frac{\pi}{3}
30° ~ 30 rad
25°C ~ 26°C
12 inches ~ 12 feet
1 mile ~ 5000 feet
36 km/h ~ 36 m/s
500 g ~ 0.05 kg
7 days ~ 2 weeks
£1 ~ €1
€5 ~ ¥5
12 \text{ in}^2 ~ 12 \text{ in}
\frac{5\pi}{6} ~ 120^\circ
10\sqrt3\text{ m} ~ 10\sqrt3\text{ cm}
\text{5 apples} ~ 6
\frac{3}{4} \text{ hr} ~ 75 \text{ min}
36\pi \text{ cubic inches} ~ 36
864 \mbox{ inches}^2 ~ 72 square feet
5.4 \text{ cents} ~ $5.4
\$18.90 ~ 18 dollars and 9 cents
half an hour ~ 20 minutes
3/4 of a mile ~ 0.34 miles
20 cups of feed ~ 21 cups
$70,000 profit ~ $7,000 profit
1 day 2 hours ~ 12 hours
"""
UNKNOWN = r"""
5m ~ 5
5 apples ~ 5 pears
120 ~ 2 hours
"""


def test_answers_that_are_the_same_are_found_so():
    assert misjudged(ALIKE, SAME) == []


def test_answers_that_differ_are_found_so():
    assert misjudged(UNLIKE, DIFFERENT) == []


def test_what_cannot_be_known_is_not_decided():
    assert misjudged(UNKNOWN, UNSURE) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("27 cm", Quantity("27", "centimeter", "", True)),
        ("27cm", Quantity("27", "centimeter", "", True)),
        ("5m", Quantity("5", "meter", "", False)),  # or 5 times m
        ("5 m", Quantity("5", "meter", "", True)),
        (r"2\sqrt{3}\text{ m}", Quantity(r"2\sqrt{3}", "meter", "", True)),
        (r"\$18", Quantity("18", "dollar", "", True)),
        ("-$5", Quantity("-5", "dollar", "", True)),
        ("five apples", Quantity("5", "", "apples", True)),
        ("12 square units", Quantity("12", "", "", True)),
        ("10 pounds of apples", Quantity("10", "pound", "", True)),
        ("50%", Quantity("50", "percent", "", True)),
        (r"90^\circ", Quantity("90", "degree", "", True)),
    ],
)
def test_a_quantity_is_a_value_and_a_unit(text, found):
    assert quantity(even_out(text)) == found


@pytest.mark.parametrize(
    "text",
    ["5", "2k", "2x", "x", "cm", "5 factorial", "5 or 6", "5 more", "3 times 4", "5 mmmmmmmm", "5 xyz",
     r"\sin 30^\circ", "5 halves", "a square", "10 thousand", "5 pi", "1,2"],
)  # fmt: skip
def test_what_is_no_quantity_is_none(text):
    assert quantity(even_out(text)) is None


@pytest.mark.parametrize(
    ("words", "unit"),
    [
        ("cm", "centimeter"),
        ("square feet", "(foot)**2"),
        ("cm^2", "(centimeter)**2"),
        ("feet squared", "(foot)**2"),
        ("miles per hour", "(mile)/(hour)"),
        ("m/s^2", "(meter)/(second)**2"),
        ("degrees Celsius", "degC"),
    ],
)
def test_words_are_read_as_units(words, unit):
    assert unit_of(words) == unit


@pytest.mark.parametrize("words", ["apples", "m s", "per hour", "square", "cm apples", "", "m/", "x", "^2"])
def test_other_words_are_none(words):
    assert unit_of(words) is None


def test_the_library_knows_every_unit_and_is_exact():
    units = registry()
    for unit in set(unit_names().values()):
        assert units.Quantity(1, unit).units is not None
    for one, other, factor in (("inch", "centimeter", "127/50"), ("mile", "foot", "5280"), ("pound", "ounce", "16")):
        assert str(units.Quantity(1, one).to(other).magnitude) == factor
