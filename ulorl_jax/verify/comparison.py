"""The nouns of verification: two answers to one question, and what was found when they were compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

SAME = "same"
DIFFERENT = "different"
UNSURE = "unsure"  # neither could be said: an error where nobody else is asked, never a 0


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two answers to one question.

    Attributes:
      question: the problem's text; "" where it is not known.
      reference: the true answer, as the data writes it.
      predicted: the answer that was read out of an output.
    """

    question: str
    reference: str
    predicted: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What was found.

    Attributes:
      outcome: `SAME`, `DIFFERENT` or `UNSURE`.
      reason: for people: by which rule, or what failed.
    """

    outcome: str
    reason: str = ""


class Comparer(Protocol):
    """Compares answers; `version` changes when the outcome of any pair may."""

    version: str

    def compare(self, pairs: Sequence[Pair]) -> list[Comparison]:
        """One comparison per pair, in their order. Never raises for what a pair holds."""
        ...
