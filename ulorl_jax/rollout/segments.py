"""One rollout step: every sample of the pool gets at most S more tokens (Algorithm 1, paper 3.1)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ulorl_jax.rollout.decoding import DecodeState, SegmentTokens
from ulorl_jax.rollout.engine import PolicyEngine
from ulorl_jax.rollout.paged_cache import PagedCache
from ulorl_jax.rollout.pools import UnfinishedPool
from ulorl_jax.rollout.room import make_room
from ulorl_jax.types import EOS, LIMIT, Sample, Segment

PREFILL = "prefill"  # a new sample: the cache is this policy's own
KEEP = "keep"  # carry the cache over an update: the sampler then mixes versions of the policy
REFILL_CALL = 256  # decode steps of one call at most where slots are refilled: bounds what a call brings to the host
STEP, CONTINUOUS = REFILLS = "step", "continuous"  # when a free slot gets its next sample
RECOMPUTE = "recompute"  # prefill unfinished samples again with the new weights (the paper)


@dataclasses.dataclass(frozen=True)
class SegmentSettings:
    """How segments are decoded.

    Attributes:
      segment_length: S = L / M, tokens a sample gets per step.
      output_limit: L, tokens after which an output is truncated.
      kv: `KEEP` or `RECOMPUTE`: what becomes of the cache after an update.
      prefill_rows: contexts prefilled in one call.
      prefill_lengths: allowed padded lengths of such a call; the longest covers prompt + L.
      refill_latency: decode steps that a slot freed within a segment may stay empty before decoding stops to refill
        it, where it is refilled; more of them share one prefill.
      finish_groups: samples of the group nearest to its release are placed first.
    """

    segment_length: int
    output_limit: int
    kv: str
    prefill_rows: int
    prefill_lengths: tuple[int, ...]
    refill_latency: int
    finish_groups: bool = False


class _Drawn:
    """The tokens of one segment on the host, put together from the calls that drew them.

    Attributes:
      size: S.
      steps: decode steps run.
      total: tokens drawn.
    """

    def __init__(self, slots: int, size: int):
        self.size, self.steps, self.total = size, 0, 0
        self._tokens = np.zeros((slots, size), np.int32)
        self._logp = np.zeros((slots, size), np.float32)
        self._counts = np.zeros(slots, np.int64)

    @property
    def left(self) -> int:
        """Decode steps of the segment that are still to be run."""
        return self.size - self.steps

    def add(self, new: SegmentTokens) -> np.ndarray:
        """What one call drew, behind what its slots hold already; returns how many tokens each slot got."""
        tokens, logp, counts, steps = jax.device_get((new.tokens, new.logp, new.counts, new.steps))
        for slot in np.flatnonzero(counts):
            at = slice(self._counts[slot], self._counts[slot] + counts[slot])
            self._tokens[slot, at], self._logp[slot, at] = tokens[slot, : counts[slot]], logp[slot, : counts[slot]]
        self._counts += counts
        self.steps += int(steps)
        self.total += int(counts.sum())
        return counts

    def last(self, slot: int) -> tuple[int, int]:
        """How many tokens the sample in a slot got, at least one, and the last of them."""
        count = int(self._counts[slot])
        assert count, f"slot {slot} holds a sample and drew nothing"
        return count, int(self._tokens[slot, count - 1])

    def take(self, slot: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and log-probs of the sample in a slot, which makes room for the next."""
        count, self._counts[slot] = self._counts[slot], 0
        return self._tokens[slot, :count].copy(), self._logp[slot, :count].copy()


class SegmentRollout:
    """The slots: device state in `state`, the samples in them in `pool`, whether they have room in `room`.

    Args:
      engine: the decoder.
      settings: segment length, limit, cache policy.
    """

    def __init__(self, engine: PolicyEngine, settings: SegmentSettings):
        self.engine = engine
        self.settings = settings
        self.pool = UnfinishedPool(engine.spec.slots, settings.finish_groups)
        self.room = make_room(engine.spec, settings.output_limit)
        self.state: DecodeState = engine.init_decode_state()

    def resume(self, state: DecodeState) -> None:
        """Goes on from a decode state that was kept; its samples are in the pool's slots already."""
        self.state = state
        table = np.asarray(state.cache.table) if isinstance(state.cache, PagedCache) else None
        self.room.load(table, self.pool.occupied)

    def limit(self, sample: Sample) -> int:
        """Tokens after which a sample is truncated: L for all; a subclass may say less for some."""
        return self.settings.output_limit

    def run(
        self, params: Any, policy_step: int, refill: Callable[[], None] | None = None
    ) -> tuple[list[Sample], dict[str, float]]:
        """Places waiting samples, prefills what needs it, decodes one segment.

        Args:
          params: the newest policy, in the decoding layout.
          policy_step: updates it has seen; recorded with every segment.
          refill: called when slots have become free within the segment: queues samples in the pool. They are placed
            at once and get what is left of the segment. None leaves the slots free until the next step (the paper).

        Returns:
          The samples that finished (EOS or limit), in the order of their ends, lowest slot first; the others stay in
          the pool, one segment longer. And metrics: tokens, decode steps, seconds.
        """
        pool, room, drawn = self.pool, self.room, _Drawn(self.engine.spec.slots, self.settings.segment_length)
        again = self.settings.kv == RECOMPUTE
        room.begin()
        evicted = self._admit_again() if again else 0
        placed = set(pool.place(room.admit))
        fresh = [(slot, sample) for slot, sample in pool.occupied if again or slot in placed]
        finished, prefilled, refilled, seconds = [], 0, 0, {PREFILL: 0.0, "decode": 0.0}

        def longer(slot: int, sample: Sample, end: str = "") -> Sample:
            """The sample with what its slot drew in this segment, if anything."""
            tokens, logp = drawn.take(slot)
            kv = self._kv(sample, slot in placed)
            return sample.append(Segment(tokens, logp, policy_step, kv), end) if len(tokens) else sample

        while pool.occupied and drawn.left:
            began = time.perf_counter()
            prefilled += self._prefill(params, fresh)
            jax.block_until_ready(self.state.lengths)
            seconds[PREFILL] += time.perf_counter() - began
            began = time.perf_counter()
            size = min(drawn.size, REFILL_CALL) if refill else drawn.size
            steps, leaving = room.plan(min(size, drawn.left))
            pool.withdraw({slot: longer(slot, sample) for slot, sample in pool.occupied if slot in leaving})
            evicted += len(leaving)
            self._assign_pages()
            # Slots that stay free although they could be refilled are no reason to stop: nothing is waiting,
            # or it waits for pages, and then a slot that ends may free enough of them.
            patience = self.settings.refill_latency if refill and (pool.waiting or not pool.free) else None
            self.state, new = self.engine.generate_segment(params, self.state, size, steps, patience)
            room.grow(drawn.add(new))
            seconds["decode"] += time.perf_counter() - began
            for slot, sample in pool.occupied:
                end = self._end(sample, *drawn.last(slot))
                if end or not drawn.left:
                    sample = longer(slot, sample, end)
                    pool.slots[slot] = None if end else sample
                if end:
                    room.end(slot)
                    finished.append(sample)
            fresh = []
            if refill and drawn.left and pool.free:
                refill()
                slots = pool.place(room.admit)
                placed.update(slots)
                refilled += len(slots)
                fresh = [(slot, sample) for slot, sample in pool.occupied if slot in slots]
        self._assign_pages()
        return finished, room.metrics() | {
            "rollout/tokens": drawn.total,
            "rollout/decode_steps": drawn.steps,
            "rollout/slot_use": drawn.total / max(drawn.steps * self.engine.spec.slots, 1),
            "rollout/refilled": refilled,
            "rollout/evicted": evicted,
            "rollout/prefill_tokens": prefilled,
            "time/prefill_s": seconds[PREFILL],
            "time/decode_s": seconds["decode"],
        }

    def _admit_again(self) -> int:
        """All samples in slots are to be prefilled anew; returns how many have no room any more and must wait."""
        # Whoever is expensive to prefill comes first. Nothing is lost: all of them would be prefilled now anyway.
        occupied = sorted(self.pool.occupied, key=lambda member: -member[1].context_length)
        for slot, _ in occupied:
            self.room.release(slot)
        refused = {slot: sample for slot, sample in occupied if not self.room.admit(slot, sample)}
        self.pool.withdraw(refused)
        return len(refused)

    def _assign_pages(self) -> None:
        """Tells the device whose the pages are."""
        if self.room.table is not None:
            self.state = self.engine.assign_pages(self.state, self.room.table.copy())

    def _kv(self, sample: Sample, placed: bool) -> str:
        """Whose cache the sample's newest tokens were drawn with."""
        if not sample.segments:
            return PREFILL
        # A sample with an output that is placed anew has lost its cache: it had to leave, or a resumed run has fewer
        # slots.
        return RECOMPUTE if placed else self.settings.kv

    def _end(self, sample: Sample, count: int, last: int) -> str:
        """Why the sample ends with so many more tokens, the last of them given; "" where it goes on."""
        if last in self.engine.spec.eos_ids:
            return EOS
        return LIMIT if sample.num_tokens + count >= self.limit(sample) else ""

    def _prefill(self, params: Any, fresh: Sequence[tuple[int, Sample]]) -> int:
        """Contexts of like length share a call, samples of a new prompt a row; returns the tokens computed."""
        rows: dict[tuple[int, int], list[tuple[int, Sample]]] = {}
        for slot, sample in fresh:
            # Samples without an output have the same context when they have the same prompt.
            own = sample.id if sample.segments else -1
            rows.setdefault((sample.prompt.id, own), []).append((slot, sample))
        order = sorted(rows.values(), key=lambda members: members[0][1].context_length)
        for start in range(0, len(order), self.settings.prefill_rows):
            self._prefill_rows(params, order[start : start + self.settings.prefill_rows])
        return sum(members[0][1].context_length for members in order)

    def _prefill_rows(self, params: Any, rows: list[list[tuple[int, Sample]]]) -> None:
        contexts = [members[0][1].context for members in rows]
        longest = max(len(context) for context in contexts)
        width = min(length for length in self.settings.prefill_lengths if length >= longest)
        width = min(width, self.engine.spec.width)
        tokens = np.zeros((self.settings.prefill_rows, width), np.int32)
        lengths = np.ones(self.settings.prefill_rows, np.int32)
        for row, context in enumerate(contexts):
            tokens[row, : len(context)] = context
            lengths[row] = len(context)
        prefix = self.engine.prefill_batch(params, tokens, lengths)
        copies = [(row, slot, sample) for row, members in enumerate(rows) for slot, sample in members]
        # Padded to a power of two, so that inserts compile a handful of times; slot C is dropped.
        size = 1 << (len(copies) - 1).bit_length()
        row_of, id_of, limit_of = (np.zeros(size, np.int32) for _ in range(3))
        slot_of = np.full(size, self.engine.spec.slots, np.int32)
        for index, (row, slot, sample) in enumerate(copies):
            row_of[index], slot_of[index], id_of[index] = row, slot, sample.id
            limit_of[index] = len(sample.prompt.tokens) + self.limit(sample)
        writes = self.room.writes(slot_of)
        self.state = self.engine.insert_batch(prefix, self.state, row_of, slot_of, id_of, limit_of, writes)
