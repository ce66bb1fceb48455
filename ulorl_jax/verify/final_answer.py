"""The exact rule for data whose every answer is a number, as in the tiny task and in GSM8K."""

import re
from collections.abc import Sequence
from decimal import Decimal

from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Comparison, Pair

# Longer text is no number here: it bounds what hostile output can cost.
MAX_CHARACTERS = 100
# ASCII digits with at most thousands commas, a dollar sign and a closing period. No exponent, no NaN, no
# infinity: every match is a finite Decimal that is cheap to compare.
NUMBER = re.compile(r"(?P<sign>[-+]?)\$?(?P<digits>(\d{1,3}(,\d{3})+|\d+)(\.\d+)?|\.\d+)\.?", re.ASCII)


class FinalAnswer:
    """Compares two answers as numbers, exactly, however they are written: a `Comparer`.

    What is no number is never the same as one; of a reference that is none nothing can be said.

    Attributes:
      version: of the rule, for records; another outcome for any pair is another version.
    """

    version = "final_answer-2"

    def compare(self, pairs: Sequence[Pair]) -> list[Comparison]:
        """One comparison per pair: `UNSURE` where the reference is no number."""
        return [_compare(pair.reference.strip(), pair.predicted.strip()) for pair in pairs]


def _compare(reference: str, predicted: str) -> Comparison:
    truth, prediction = _number(reference), _number(predicted)
    if truth is None:
        return Comparison(UNSURE, "the reference is not a number")
    if prediction is None:
        return Comparison(DIFFERENT, "not a number")
    return Comparison(SAME, "the same number") if prediction == truth else Comparison(DIFFERENT, "another number")


def _number(text: str) -> Decimal | None:
    if len(text) > MAX_CHARACTERS:
        return None
    match = NUMBER.fullmatch(text)
    return Decimal(match["sign"] + match["digits"].replace(",", "")) if match else None
