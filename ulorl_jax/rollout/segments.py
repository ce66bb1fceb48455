"""One rollout step: every sample of the pool gets at most S more tokens (Algorithm 1, paper 3.1)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ulorl_jax.processes import to_host
from ulorl_jax.rollout.decode_state import DecodeState
from ulorl_jax.rollout.drawn import DrawnTokens
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
      prefill_rows: contexts computed side by side before a segment, and within it where many slots wait for theirs;
        else a decode step computes one.
      prefill_chunk: tokens of each of them that one pass computes.
      refill_latency: decode steps that a slot freed within a segment may stay empty, where it is refilled, before a
        call returns to the host for that.
      recompute_every: segments that a cache serves before it is computed again, with `RECOMPUTE`: 1 is the paper's,
        more lie between it and `KEEP`; each sample counts its own.
      finish_groups: samples of the group nearest to its release are placed first.
    """

    segment_length: int
    output_limit: int
    kv: str
    prefill_rows: int
    prefill_chunk: int
    refill_latency: int
    recompute_every: int = 1
    finish_groups: bool = False

    @property
    def keeps_cache(self) -> bool:
        """Whether a later segment needs the cache of an earlier one."""
        return self.kv == KEEP or self.recompute_every > 1


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
        self._turn = 0  # of the contexts filled next
        self._computes: dict[
            tuple[int, int], int
        ] = {}  # part, prompt -> the slot that computes pages which others share

    def resume(self, state: DecodeState) -> None:
        """Goes on from a decode state that was kept; its samples are in the pool's slots already."""
        self.state = state
        table = to_host(state.cache.table) if isinstance(state.cache, PagedCache) else None
        self.room.load(table, self.pool.occupied)

    def limit(self, sample: Sample) -> int:
        """Tokens after which a sample is truncated: L for all; a subclass may say less for some. Room is made for L all
        the same: of an output that ends by itself nobody knows more."""
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
        pool, room, drawn = self.pool, self.room, DrawnTokens(self.engine.spec.slots, self.settings.segment_length)
        room.begin()
        self._turn = 0  # all that was filled in earlier segments is computed
        self._computes.clear()
        again, evicted = self._admit_again()
        placed = again | set(pool.place(room.admit))
        fresh = [(slot, sample) for slot, sample in pool.occupied if slot in placed]
        finished, prefilled, passes, refilled, seconds = [], 0, 0, 0, {PREFILL: 0.0, "decode": 0.0}
        together = True  # whether contexts are computed before anybody decodes

        def longer(slot: int, sample: Sample, end: str = "") -> Sample:
            """The sample with what its slot drew in this segment, if anything."""
            tokens, logp = drawn.take(slot)
            kv = self._kv(sample, slot in placed)
            return sample.append(Segment(tokens, logp, policy_step, kv), end) if len(tokens) else sample

        busy = np.zeros(self.engine.spec.parts, np.int64)  # the decode step at which a part's contexts are computed

        def in_time(slot: int, sample: Sample) -> bool:
            """Whether the sample gets a token in this segment if it is placed now; if there is room, it is."""
            part = slot * len(busy) // len(pool.slots)
            chunks = -(-(sample.context_length - 1) // self.settings.prefill_chunk)
            done = max(int(busy[part]), drawn.steps) + chunks
            if done >= drawn.size or not room.admit(slot, sample):
                return False
            busy[part] = done
            return True

        while pool.occupied and drawn.left:
            began = time.perf_counter()
            tokens, more = self._fill(params, fresh, together)
            prefilled, passes = prefilled + tokens, passes + more
            if together:
                busy[:] = drawn.steps
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
            rows, chunk = (self.settings.prefill_rows, self.settings.prefill_chunk) if refill else (0, 1)
            self.state, new = self.engine.generate_segment(params, self.state, size, steps, patience, rows, chunk)
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
                # Beside the others' tokens, unless these are too few to be worth it.
                together = min(len(pool.free), len(pool.waiting)) >= len(pool.occupied)
                slots = pool.place(room.admit if together else in_time)
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
            "rollout/prefill_passes": passes,
            "rollout/prefill_steps": drawn.chunks,
            "time/prefill_s": seconds[PREFILL],
            "time/decode_s": seconds["decode"],
        }

    def _admit_again(self) -> tuple[set[int], int]:
        """Samples whose cache has served its time are to be prefilled anew: their slots, and how many must wait now."""
        # Whoever is expensive to prefill comes first. Nothing is lost: all of them would be prefilled now anyway.
        outworn = [(slot, sample) for slot, sample in self.pool.occupied if self._outworn(sample)]
        outworn.sort(key=lambda member: -member[1].context_length)
        for slot, _ in outworn:
            self.room.release(slot)
        refused = {slot: sample for slot, sample in outworn if not self.room.admit(slot, sample)}
        self.pool.withdraw(refused)
        return {slot for slot, _ in outworn} - set(refused), len(refused)

    def _outworn(self, sample: Sample) -> bool:
        """Whether the cache of a sample in a slot has served as many segments as it may."""
        served = 0
        for segment in reversed(sample.segments):
            served += 1
            if segment.kv != KEEP:  # the first it served
                break
        return self.settings.kv == RECOMPUTE and served >= self.settings.recompute_every

    def _assign_pages(self) -> None:
        """Tells the device whose the pages are; between two calls some nearly always change hands."""
        if self.room.table is not None:
            self.state = self.engine.assign_pages(self.state, self.room.table.copy())

    def _kv(self, sample: Sample, placed: bool) -> str:
        """Whose cache the sample's newest tokens were drawn with."""
        if not sample.segments:
            return PREFILL
        # A sample with an output that is placed anew has lost its cache: it had to leave, or a resumed run has fewer
        # slots.
        return RECOMPUTE if placed else KEEP

    def _end(self, sample: Sample, count: int, last: int) -> str:
        """Why the sample ends with so many more tokens, the last of them given; "" where it goes on."""
        if last in self.engine.spec.eos_ids:
            return EOS
        return LIMIT if sample.num_tokens + count >= self.limit(sample) else ""

    def _fill(self, params: Any, fresh: Sequence[tuple[int, Sample]], together: bool) -> tuple[int, int]:
        """Puts contexts into slots, and computes them if that is not left to the decode steps; returns the tokens, and
        in how many passes they were computed."""
        if not fresh:
            return 0, 0
        # Padded to a power of two, so that it compiles a handful of times; slot C is dropped.
        size, spec = 1 << (len(fresh) - 1).bit_length(), self.engine.spec
        slots = np.full(size, spec.slots, np.int32)
        contexts = np.zeros((size, spec.width), np.int32)
        known, computed, ids, limits = (np.zeros(size, np.int32) for _ in range(4))
        leaders = np.full(size, spec.slots, np.int32)
        copies: dict[int, int] = {}  # slot -> the slot that computes the same context
        self._turn += 1
        for i, (slot, sample) in enumerate(fresh):
            context = sample.context
            slots[i], known[i], ids[i] = slot, len(context), sample.id
            contexts[i, : len(context)] = context
            limits[i] = len(sample.prompt.tokens) + self.limit(sample)
            computed[i] = self.room.computed(slot)
        groups = [(slot * spec.parts // spec.slots, sample.prompt.id) for slot, sample in fresh]
        if self.room.table is not None:
            # Whoever shares pages waits until they are computed. A slot that is given away has computed its own.
            self._computes = {group: slot for group, slot in self._computes.items() if slot not in slots}
            self._computes |= {groups[i]: slot for i, (slot, _) in enumerate(fresh) if not computed[i]}
            for i in np.flatnonzero(computed):
                leaders[i] = self._computes.get(groups[i], spec.slots)
        elif together:
            first: dict[tuple[int, int], int] = {}
            for i, (slot, sample) in enumerate(fresh):
                if not sample.segments and first.setdefault(groups[i], slot) != slot:
                    copies[slot], computed[i] = first[groups[i]], known[i] - 1
        turns = np.full(size, self._turn, np.int32)
        self.state = self.engine.fill(self.state, slots, contexts, known, computed, turns, leaders, ids, limits)
        passes = 0
        if together:
            self._assign_pages()
            shape = self.settings.prefill_rows, self.settings.prefill_chunk
            self.state, passes = self.engine.prefill_slots(params, self.state, *shape)
            self._copy(copies)
        return int((known - 1 - computed)[: len(fresh)].sum()), int(passes)

    def _copy(self, copies: dict[int, int]) -> None:
        """Slots take over what others hold, so many at one time as are computed side by side."""
        rows, targets = self.settings.prefill_rows, list(copies)
        for start in range(0, len(targets), rows):
            piece = targets[start : start + rows]
            slots = np.array(piece + [self.engine.spec.slots] * (rows - len(piece)), np.int32)
            sources = np.array([copies[slot] for slot in piece] + [0] * (rows - len(piece)), np.int32)
            self.state = self.engine.copy_slots(self.state, sources, slots)
