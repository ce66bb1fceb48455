"""How long outputs get, learned from those being decoded, and how many pages they will want.

Short outputs end first, so the lengths of those that have ended say too little; those still running say that they are
longer. A life table hears both: for each stretch of an output's length it counts who came through and who ended there,
the running ones as far as they have come. (It is the estimator of Kaplan and Meier, in stretches.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ulorl_jax.rollout.pages import pages_for

STRETCHES = 128  # at most so many of them make up L
MARGIN = 1.28  # standard deviations under which nine of ten draws of a normal variable are


class LifeTable:
    """Of outputs up to L tokens: the chance of each length.

    Args:
      output_limit: L; nobody gets longer, so an output truncated there is one of L tokens.
      memory: ended outputs after which an older count weighs a third: lengths change with the policy.

    Attributes:
      width: tokens of a stretch.
      at_risk: `[B]`, outputs that came through a stretch or ended in it; parts of it count as parts.
      ends: `[B]`, outputs that ended in it, before L.
      ended: outputs that have ended.
    """

    def __init__(self, output_limit: int, memory: int):
        self.limit, self.memory = output_limit, memory
        self.width = pages_for(output_limit, STRETCHES)
        self.at_risk, self.ends = np.zeros((2, pages_for(output_limit, self.width)))
        self.ended = 0
        self._survival: np.ndarray | None = None

    def draw(self, lengths: np.ndarray, counts: np.ndarray) -> None:
        """Outputs have got longer.

        Args:
          lengths: `[n]`, tokens they had.
          counts: `[n]`, tokens they have got now.
        """
        self.at_risk += self._came_through(lengths + counts) - self._came_through(lengths)
        self._survival = None

    def end(self, length: int) -> None:
        """An output has ended, and all its tokens are in the table."""
        self.at_risk *= 1 - 1 / self.memory
        self.ends *= 1 - 1 / self.memory
        self.ended += 1
        if length < self.limit:
            stretch = (length - 1) // self.width
            self.ends[stretch] += 1
            self.at_risk[stretch] += stretch + 1 - length / self.width  # it was at risk in the whole of its last one
        self._survival = None

    @property
    def survival(self) -> np.ndarray:
        """`[B + 1, B + 1]`: the chance that an output that has come through j stretches is there k stretches later."""
        if self._survival is None:
            # As if one more had come through every stretch and ended there as often as outputs do in the mean: so
            # where nobody has been yet an end is as likely as elsewhere.
            usual = self.ends.sum() / max(self.at_risk.sum(), 1)
            chance = np.minimum((self.ends + usual) / (self.at_risk + 1), 0.999)
            size = len(chance) + 1
            log = np.concatenate([[0], np.cumsum(np.log1p(-chance)), np.full(len(chance), -np.inf)])
            later = np.lib.stride_tricks.sliding_window_view(log, size)
            self._survival = np.exp(later - later[:, :1])
        return self._survival

    def expected(self, lengths: np.ndarray) -> np.ndarray:
        """Tokens that outputs will have at their ends, in the mean.

        Args:
          lengths: `[n]`, tokens they have.
        """
        here, there = self._nearest(lengths), self.survival
        at_limit = np.fliplr(there).diagonal()  # who comes through the last stretch ends there
        left = (there.sum(axis=1) - (1 + at_limit) / 2) * self.width
        return np.minimum(lengths + left[here], self.limit)

    def demand(self, lengths: np.ndarray, pages: np.ndarray, page_size: int) -> np.ndarray:
        """`[B + 1]`, pages that outputs will hold 0, 1, .. stretches from now, or fewer, nine times in ten.

        Each grows until it ends and then gives its pages back; who comes after it does not count.

        Args:
          lengths: `[n]`, tokens they have.
          pages: `[n]`, pages they hold, prompts included.
          page_size: tokens per page.
        """
        here, there, size = self._nearest(lengths), self.survival, len(self.ends) + 1
        ones, held, squares = (np.bincount(here, weight, size) for weight in (None, pages, pages * pages))
        more = np.arange(size) * (self.width / page_size)
        # Ends are independent: mean and variance of a sum, page counts with a chance each.
        mean = held @ there + ones @ there * more
        gone = there * (1 - there)
        variance = squares @ gone + (2 * (held @ gone) + ones @ gone * more) * more
        return mean + MARGIN * np.sqrt(variance)

    def encode(self) -> dict[str, Any]:
        """What `load` reads, for JSON."""
        return {"at_risk": self.at_risk.tolist(), "ends": self.ends.tolist(), "ended": self.ended}

    def load(self, saved: dict[str, Any]) -> None:
        """Takes the place of what `encode` wrote."""
        self.at_risk, self.ends = np.array(saved["at_risk"]), np.array(saved["ends"])
        self.ended = saved["ended"]
        self._survival = None

    def _nearest(self, lengths: np.ndarray) -> np.ndarray:
        return np.minimum((lengths + self.width // 2) // self.width, len(self.ends))

    def _came_through(self, lengths: np.ndarray) -> np.ndarray:
        """`[B]`, how many outputs of these lengths have come through each stretch."""
        whole, rest = np.divmod(lengths, self.width)
        size = len(self.ends) + 1
        there = np.bincount(whole, minlength=size)
        return (there.sum() - np.cumsum(there) + np.bincount(whole, rest / self.width, size))[:-1]
