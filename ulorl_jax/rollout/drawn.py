"""What a segment drew, on the host."""

from __future__ import annotations

import numpy as np

from ulorl_jax.processes import to_host
from ulorl_jax.rollout.decode_state import SegmentTokens


class DrawnTokens:
    """The tokens of one segment on the host, put together from the calls that drew them.

    Attributes:
      size: S.
      steps: decode steps run.
      chunks: those of them that computed a chunk of contexts beside.
      total: tokens drawn.
    """

    def __init__(self, slots: int, size: int):
        self.size, self.steps, self.chunks, self.total = size, 0, 0, 0
        self._tokens = np.zeros((slots, size), np.int32)
        self._logp = np.zeros((slots, size), np.float32)
        self._counts = np.zeros(slots, np.int64)

    @property
    def left(self) -> int:
        """Decode steps of the segment that are still to be run."""
        return self.size - self.steps

    def add(self, new: SegmentTokens) -> np.ndarray:
        """What one call drew, behind what its slots hold already; returns how many tokens each slot got."""
        tokens, logp, counts, steps, chunks = to_host((new.tokens, new.logp, new.counts, new.steps, new.chunks))
        for slot in np.flatnonzero(counts):
            at = slice(self._counts[slot], self._counts[slot] + counts[slot])
            self._tokens[slot, at], self._logp[slot, at] = tokens[slot, : counts[slot]], logp[slot, : counts[slot]]
        self._counts += counts
        self.steps += int(steps)
        self.chunks += int(chunks)
        self.total += int(counts.sum())
        return counts

    def last(self, slot: int) -> tuple[int, int]:
        """How many tokens the sample in a slot got, and the last of them; 0 and -1 while its context is computed."""
        count = int(self._counts[slot])
        assert count or self.left, f"slot {slot} holds a sample and drew nothing in the whole segment"
        return count, int(self._tokens[slot, count - 1]) if count else -1

    def take(self, slot: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and log-probs of the sample in a slot, which makes room for the next."""
        count, self._counts[slot] = self._counts[slot], 0
        return self._tokens[slot, :count].copy(), self._logp[slot, :count].copy()
