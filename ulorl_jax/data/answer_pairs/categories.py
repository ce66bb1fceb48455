"""The categories by name, in the order of reports."""

from ulorl_jax.data.answer_pairs.algebra import ALGEBRA
from ulorl_jax.data.answer_pairs.angles import DEGREES
from ulorl_jax.data.answer_pairs.choices import OPTIONS
from ulorl_jax.data.answer_pairs.groups import SETS, TUPLES
from ulorl_jax.data.answer_pairs.intervals import INTERVALS
from ulorl_jax.data.answer_pairs.kinds import Kind
from ulorl_jax.data.answer_pairs.moments import DATES
from ulorl_jax.data.answer_pairs.money import CURRENCY
from ulorl_jax.data.answer_pairs.numbers import DIGITS, INTEGERS, NUMBER_WORDS
from ulorl_jax.data.answer_pairs.powers import SCIENTIFIC
from ulorl_jax.data.answer_pairs.quantities import UNITS
from ulorl_jax.data.answer_pairs.ratios import DECIMALS, FRACTIONS, PERCENT
from ulorl_jax.data.answer_pairs.surds import SURDS
from ulorl_jax.data.answer_pairs.wording import TEXT

CATEGORIES: dict[str, Kind] = {
    "integers": INTEGERS,
    "fractions": FRACTIONS,
    "decimals": DECIMALS,
    "percent": PERCENT,
    "number_words": NUMBER_WORDS,
    "scientific": SCIENTIFIC,
    "units": UNITS,
    "intervals": INTERVALS,
    "sets": SETS,
    "tuples": TUPLES,
    "surds": SURDS,
    "algebra": ALGEBRA,
    "degrees": DEGREES,
    "currency": CURRENCY,
    "dates": DATES,
    "options": OPTIONS,
    "text": TEXT,
    "digits": DIGITS,
}
