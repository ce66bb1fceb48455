"""How a rule asks for the outcome of parts of the answers: members of a list, what stands behind "x =", a value."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ulorl_jax.verify.comparison import UNSURE, Comparison

DEEPEST = 6  # parts of parts of parts


class NotQuick(Exception):
    """What follows is for a worker: it imports much, or takes milliseconds."""


@dataclasses.dataclass(frozen=True)
class Ask:
    """Calls all rules on two parts.

    Attributes:
      decide: the rules.
      is_quick: nothing that is not cheap may follow; where it would, `NotQuick` is raised.
      depth: how many parts lie around these.
    """

    decide: Callable[[str, str, Ask], Comparison]
    is_quick: bool
    depth: int = 0

    def __call__(self, a: str, b: str) -> Comparison:
        """The outcome for two evened-out texts."""
        if self.depth == DEEPEST:
            return Comparison(UNSURE, f"more than {DEEPEST} parts inside each other")
        return self.decide(a, b, dataclasses.replace(self, depth=self.depth + 1))

    def needs_worker(self) -> None:
        """Says that what follows is not cheap."""
        if self.is_quick:
            raise NotQuick
