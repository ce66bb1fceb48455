"""Which samples may be in the slots: as many as there is room for their keys and values.

Dense, every slot has room for its longest context. With pages the slots share a pool that may be smaller than
that. The host gives out all pages that a call on the device can need before it starts the call, and starts none
that needs more: so the device never asks, and what is given out too early is given back when the call is over.

Those who are admitted grow until they end. So a sample waits while all together are predicted to want, at some later
time, more than `over_provisioning` times the pages there are (`LifeTable`).

When pages run out all the same, first no more samples are admitted. Then the sample whose context is shortest, the
cheapest to prefill again, gives its pages up and waits; it keeps its tokens. Whoever is admitted can decode `size`
tokens at least, so everybody gets on; and a sample alone always fits (`PolicyEngine` sees to it) and is admitted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ulorl_jax.rollout.admission import LifeTable
from ulorl_jax.rollout.decode_state import EngineSpec
from ulorl_jax.rollout.pages import Pages, pages_for
from ulorl_jax.types import Sample

PREFILL_PAYS = 8  # a token that is prefilled costs about so many times less than one that is decoded

MEMORY = 8  # ended outputs for each slot from which lengths are learned; fewer than 1 say nothing yet


def make_room(spec: EngineSpec, output_limit: int) -> Room:
    """The room of an engine's slots, all empty.

    Args:
      spec: the engine's.
      output_limit: L.
    """
    return PagedRoom(spec, output_limit) if spec.pages.count else Room()


class Room:
    """Dense: every slot has room for its longest context, so nobody is refused and nobody must leave.

    Attributes:
      table: `[C, B]` i32, the pages of each slot; None where there are no pages.
      life_table: of outputs, from which their lengths are predicted; None where nobody asks.
    """

    table: np.ndarray | None = None
    life_table: LifeTable | None = None

    def begin(self) -> None:
        """Samples admitted from now on are prefilled by another policy than those before."""

    def admit(self, slot: int, sample: Sample) -> bool:
        """Whether there is room for the sample in this free slot; if so, it is taken."""
        return True

    def plan(self, steps: int) -> tuple[int, list[int]]:
        """Makes room for a call of so many decode steps, or of fewer; returns how many, and who must leave for it."""
        return steps, []

    def grow(self, counts: np.ndarray) -> None:
        """The slots have got so many tokens, `[C]`."""

    def release(self, slot: int) -> None:
        """The sample in the slot has left."""

    def end(self, slot: int) -> None:
        """The sample in the slot has ended."""

    def computed(self, slot: int) -> int:
        """The first so many tokens of the context in a slot another slot's prefill computes."""
        return 0

    def load(self, table: np.ndarray | None, occupied: Sequence[tuple[int, Sample]]) -> None:
        """Takes up a decode state with these samples in its slots."""

    def metrics(self) -> dict[str, float]:
        """Of the time since `begin`."""
        return {}


class PagedRoom(Room):
    """The slots of each part of the mesh share that part's pages.

    Args:
      spec: the engine's.
      output_limit: L.
    """

    def __init__(self, spec: EngineSpec, output_limit: int):
        self.size, self._none = spec.pages.size, spec.pages.count // spec.parts
        self._limit, self._slots_per_part = output_limit, spec.slots // spec.parts
        self.pools = [Pages(self._none, self.size) for _ in range(spec.parts)]
        self.table: np.ndarray = np.full((spec.slots, spec.pages.holding(spec.width)), self._none, np.int32)
        self._held = np.zeros(spec.slots, np.int64)  # pages of each slot
        self._shared = np.zeros(spec.slots, np.int64)  # the first so many of them another slot's context fills
        self._lengths = np.zeros(spec.slots, np.int64)  # tokens of each context; 0: nobody is there
        self._ends = np.zeros(spec.slots, np.int64)  # the context length at which the sample is truncated
        self._admitted = np.zeros(spec.slots, np.int64)  # when, counted in admissions; 0: it has drawn since
        self._most = spec.pages.over_provisioning * self._none  # pages of a pool that may be wanted at a later time
        self._closed: dict[int, Sample] = {}  # part -> whom it refused: it will again, until something changes
        self.life_table: LifeTable = LifeTable(output_limit, MEMORY * spec.slots)
        self._predicted = np.zeros(spec.slots)  # tokens at the end, as it looked at `begin` or admission; NaN: unknown
        self.begin()

    def begin(self) -> None:
        self._peak, self._predicted_peak = 0.0, 0.0
        self._admitted[:] = 0
        self._refused: set[int] = set()  # samples that could be placed, but would come to want too many pages
        self._ended: list[tuple[float, int]] = []  # of those that ended: tokens predicted, tokens
        self._closed.clear()
        for pool in self.pools:
            pool.forget()
        self._predicted[:] = self._predict(self._outputs())

    def admit(self, slot: int, sample: Sample) -> bool:
        prompt, part = len(sample.prompt.tokens), slot // self._slots_per_part
        pool, length, end = self.pools[part], sample.context_length, prompt + self._limit
        # All must be able to decode long enough that prefilling this one pays, and at least as long as `plan` asks.
        steps = max(self.size, length // PREFILL_PAYS)
        its_own = pages_for(min(length + steps, end) - 1, self.size) - pool.offered(sample.prompt.id)
        if self._closed.get(part) is sample:
            return False
        self._closed[part] = sample
        if self._lacking(part, steps) + its_own > 0:
            return False
        own = pages_for(length, self.size) - pool.offered(sample.prompt.id)
        if self._will_lack(part, sample.num_tokens, own):
            self._refused.add(sample.id)
            return False
        # The last token of the prompt is computed again by the first decode step: its page is the sample's own.
        shared = pool.take(slot, length, sample.prompt.id, prompt - 1)
        if shared is None:  # some slots hold more than they need until the next plan
            return False
        self._lengths[slot], self._ends[slot], self._shared[slot] = length, end, shared
        self._admitted[slot] = self._admitted.max() + 1
        self._predicted[slot] = self._predict(np.array([sample.num_tokens]))[0]
        self._record(slot)
        return True

    def plan(self, steps: int) -> tuple[int, list[int]]:
        least, leave = min(steps, self.size), []
        for part in range(len(self.pools)):
            while self._lacking(part, least) > 0:
                slots = self._slots(part)
                shortest = min(slots, key=self._worth)
                assert len(slots) > 1, "a single sample does not fit its pool"
                self.release(shortest)
                leave.append(shortest)
        while least < steps:  # the most steps that the pages allow
            middle = (least + steps + 1) // 2
            fits = all(self._lacking(part, middle) <= 0 for part in range(len(self.pools)))
            least, steps = (middle, steps) if fits else (least, middle - 1)
        needed = self._needed(steps)
        changed = np.flatnonzero(needed != self._held).tolist()
        for slot in sorted(changed, key=lambda slot: needed[slot] - self._held[slot]):  # who gives back comes first
            self.pools[slot // self._slots_per_part].fit(slot, int(needed[slot]) * self.size)
            self._record(slot)
        used = sum(pool.count - pool.free for pool in self.pools)
        self._peak = max(self._peak, used / (self._none * len(self.pools)))
        return steps, leave

    def grow(self, counts: np.ndarray) -> None:
        drew = counts > 0
        self._admitted[drew] = 0
        self.life_table.draw(self._outputs()[drew], counts[drew])
        self._lengths += counts
        self._closed.clear()

    def end(self, slot: int) -> None:
        length = int(self._outputs()[slot])
        self.life_table.end(length)
        self._ended.append((self._predicted[slot], length))
        self.release(slot)

    def release(self, slot: int) -> None:
        self.pools[slot // self._slots_per_part].release(slot)
        self._lengths[slot] = 0
        self._record(slot)

    def computed(self, slot: int) -> int:
        return int(self._shared[slot]) * self.size

    def load(self, table: np.ndarray | None, occupied: Sequence[tuple[int, Sample]]) -> None:
        assert table is not None
        self._lengths[:], self._shared[:] = 0, 0
        pages = {slot: table[slot][table[slot] < self._none].tolist() for slot, _ in occupied}
        for part, pool in enumerate(self.pools):
            pool.load({slot: held for slot, held in pages.items() if slot // self._slots_per_part == part})
        for slot, sample in occupied:
            self._lengths[slot] = sample.context_length
            self._ends[slot] = len(sample.prompt.tokens) + self._limit
        for slot in range(len(self.table)):
            self._record(slot)

    def metrics(self) -> dict[str, float]:
        values = {"rollout/pages_peak": self._peak, "rollout/refused": float(len(self._refused))}
        if self._predicted_peak:
            values["rollout/pages_predicted"] = self._predicted_peak
        ended = np.array(self._ended)
        if self._ended and not np.isnan(ended).any():
            values["rollout/len_predicted"] = float(ended[:, 0].mean())
            values["rollout/len_error"] = float(np.abs(ended[:, 0] - ended[:, 1]).mean())
        return values

    def _outputs(self) -> np.ndarray:
        """`[C]`, tokens of the output in each slot."""
        return np.where(self._lengths > 0, self._lengths - (self._ends - self._limit), 0)

    def _predict(self, outputs: np.ndarray) -> np.ndarray:
        """Tokens these outputs will have at their ends; NaN before anything is known."""
        known = self.life_table.ended >= len(self.table)
        return self.life_table.expected(outputs) if known else np.full(len(outputs), np.nan)

    def _will_lack(self, part: int, tokens: int, own: int) -> bool:
        """Whether a part will want more pages than it may, with one more sample of so many tokens and pages."""
        of_part = slice(part * self._slots_per_part, (part + 1) * self._slots_per_part)
        there = self._lengths[of_part] > 0
        # A sample alone always fits, and so has to be admitted.
        if not self._most or not there.any() or self.life_table.ended < len(self.table):
            return False
        # Those who hold a prompt's full pages together have the first page in common; each is taken to hold its share.
        _, group, holders = np.unique(self.table[of_part, 0][there], return_inverse=True, return_counts=True)
        common = (self._ends[of_part][there] - self._limit - 1) // self.size
        held = pages_for(self._lengths[of_part][there], self.size) - common * (1 - 1 / holders[group])
        outputs = np.append(self._outputs()[of_part][there], tokens)
        peak = float(self.life_table.demand(outputs, np.append(held, own), self.size).max())
        if peak <= self._most:
            self._predicted_peak = max(self._predicted_peak, peak / self._none)
        return peak > self._most

    def _worth(self, slot: int) -> tuple[int, int, int]:
        """Who has least of it leaves first: a short context is cheap to prefill again. Whoever has not drawn yet stays
        longest, first come last gone: the pages that he fills may be those that a later comer waits for."""
        admitted = int(self._admitted[slot])
        return int(admitted > 0), -admitted if admitted else int(self._lengths[slot]), -slot

    def _slots(self, part: int) -> list[int]:
        """Those of a part that hold a sample."""
        first = part * self._slots_per_part
        return [slot for slot in range(first, first + self._slots_per_part) if self._lengths[slot]]

    def _needed(self, steps: int) -> np.ndarray:
        """`[C]`, pages that each slot needs for so many steps; the last token drawn has no keys and values yet."""
        tokens = np.minimum(self._lengths + steps, self._ends) - 1
        return np.where(self._lengths > 0, pages_for(tokens, self.size), 0)

    def _lacking(self, part: int, steps: int) -> int:
        """Pages that a part's pool has too few for all its slots to decode so many steps."""
        of_part = slice(part * self._slots_per_part, (part + 1) * self._slots_per_part)
        return int((self._needed(steps) - self._held)[of_part].sum()) - self.pools[part].free

    def _record(self, slot: int) -> None:
        """Brings the table up to date with the pool."""
        held = self.pools[slot // self._slots_per_part].held(slot)
        self.table[slot, : len(held)], self.table[slot, len(held) :] = held, self._none
        self._held[slot] = len(held)
        self._closed.pop(slot // self._slots_per_part, None)
