"""One rollout step: every sample of the pool gets at most S more tokens (Algorithm 1, paper 3.1)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ulorl_jax.rollout.engine import DecodeState, PolicyEngine
from ulorl_jax.rollout.pools import UnfinishedPool
from ulorl_jax.types import EOS, LIMIT, Sample, Segment

PREFILL = "prefill"  # a new sample: the cache is this policy's own
KEEP = "keep"  # carry the cache over an update: the sampler then mixes versions of the policy
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
    """

    segment_length: int
    output_limit: int
    kv: str
    prefill_rows: int
    prefill_lengths: tuple[int, ...]


class SegmentRollout:
    """The slots: device state in `state`, the samples in them in `pool`.

    Args:
      engine: the decoder.
      settings: segment length, limit, cache policy.
    """

    def __init__(self, engine: PolicyEngine, settings: SegmentSettings):
        self.engine = engine
        self.settings = settings
        self.pool = UnfinishedPool(engine.spec.slots)
        self.state: DecodeState = engine.init_decode_state()

    def run(self, params: Any, policy_step: int) -> tuple[list[Sample], dict[str, float]]:
        """Places waiting samples, prefills what needs it, decodes one segment.

        Args:
          params: the newest policy, in the decoding layout.
          policy_step: updates it has seen; recorded with every segment.

        Returns:
          The samples that finished (EOS or limit), lowest slot first; the others stay in
          the pool, one segment longer. And metrics: tokens, decode steps, seconds.
        """
        began = time.perf_counter()
        placed = set(self.pool.place())
        again = self.settings.kv == RECOMPUTE
        fresh = [(slot, sample) for slot, sample in self.pool.occupied if again or slot in placed]
        prefilled_tokens = self._prefill(params, fresh)
        jax.block_until_ready(self.state.lengths)
        prefilled = time.perf_counter()
        self.state, drawn = self.engine.generate_segment(params, self.state, self.settings.segment_length)
        tokens, logp, counts, steps = jax.device_get((drawn.tokens, drawn.logp, drawn.counts, drawn.steps))
        decoded = time.perf_counter()
        finished = []
        for slot, sample in self.pool.occupied:
            sample = self._extend(sample, tokens[slot], logp[slot], int(counts[slot]), policy_step, slot in placed)
            self.pool.slots[slot] = None if sample.finished else sample
            if sample.finished:
                finished.append(sample)
        drawn_tokens, steps = int(counts.sum()), int(steps)
        return finished, {
            "rollout/tokens": drawn_tokens,
            "rollout/decode_steps": steps,
            "rollout/slot_use": drawn_tokens / max(steps * len(counts), 1),
            "rollout/prefill_tokens": prefilled_tokens,
            "time/prefill_s": prefilled - began,
            "time/decode_s": decoded - prefilled,
        }

    def _extend(self, sample: Sample, tokens, logp, count: int, policy_step: int, placed: bool) -> Sample:
        # A sample with an output that is placed anew (a resumed run has fewer slots) has lost its cache.
        again = RECOMPUTE if placed else self.settings.kv
        kv = again if sample.segments else PREFILL
        segment = Segment(tokens[:count].copy(), logp[:count].copy(), policy_step, kv)
        finished = ""
        if int(tokens[count - 1]) in self.engine.spec.eos_ids:
            finished = EOS
        elif sample.num_tokens + count >= self.settings.output_limit:
            finished = LIMIT
        return sample.append(segment, finished)

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
            limit_of[index] = len(sample.prompt.tokens) + self.settings.output_limit
        self.state = self.engine.insert_batch(prefix, self.state, row_of, slot_of, id_of, limit_of)
