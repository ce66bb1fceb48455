"""Algorithm 1 with weights that stay as they are and outputs of given lengths: what benchmarks/segments.py measures.

All is as in a run, but for the update: the slots, both pools, the ledger, and as many new prompts as `loop.run` takes.
No answer is judged: the even samples of a group are called right and the odd ones wrong, so that every group of two or
more is trained.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.cells import PREFILL_CHUNK, PREFILL_ROWS, Cell, Load
from benchmarks.decoders import GivenLengths
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.rollout.engine import EngineSpec, PolicyEngine
from ulorl_jax.rollout.pools import ExperiencePool, Ledger
from ulorl_jax.rollout.segments import RECOMPUTE, SegmentSettings
from ulorl_jax.types import LIMIT, Verdict


def make_rollout(spec: EngineSpec, cell: Cell, load: Load) -> GivenLengths:
    """Empty slots."""
    settings = SegmentSettings(
        segment_length=-(-load.output_limit // cell.schedule.segments),
        output_limit=load.output_limit,
        kv=cell.kv,
        prefill_rows=PREFILL_ROWS,
        prefill_chunk=PREFILL_CHUNK,
        refill_latency=cell.schedule.refill_latency or 0,
    )
    rollout = GivenLengths(PolicyEngine(spec, 0), settings)
    rollout.lengths = load.lengths
    return rollout


class FrozenLoop:
    """Algorithm 1 around a rollout.

    Args:
      rollout: its slots, empty.
      cell: how it is run.
      load: what it decodes.
    """

    def __init__(self, rollout: GivenLengths, cell: Cell, load: Load):
        self.rollout, self.cell, self.load = rollout, cell, load
        self.experience = ExperiencePool(load.samples_per_prompt)
        self.ledger = Ledger()
        self._cursor = self._steps = 0

    def step(self, params: Any) -> dict[str, float]:
        """One step.

        Args:
          params: the policy, in the decoding layout.

        Returns:
          "seconds" of the step, of these "decode_s" and "prefill_s"; "token_steps", "tokens" drawn, "prefill_passes",
          "prefill_tokens", of these "carried" (of samples that have begun); samples "finished" and
          "evicted", tokens "trained".
        """
        began, trained = time.perf_counter(), self.ledger.trained
        self._add_prompts()
        pool, refill = self.rollout.pool, None if self.cell.schedule.refill_latency is None else self._add_prompts
        carried = sum(sample.context_length - 1 for _, sample in pool.occupied) if self.cell.kv == RECOMPUTE else 0
        finished, values = self.rollout.run(params, self._steps, refill)
        self.experience.add(finished, [Verdict(float(sample.id % 2)) for sample in finished])
        released = self.experience.release()
        groups = [*released.informative, *released.uninformative]
        self.ledger.sampled += int(values["rollout/tokens"])
        self.ledger.trained += sum(sample.num_tokens for group in groups for sample in group.samples)
        self.ledger.check(pool.num_tokens + self.experience.num_tokens)
        self._steps += 1
        return {
            "seconds": time.perf_counter() - began,
            "decode_s": values["time/decode_s"],
            "prefill_s": values["time/prefill_s"],
            "token_steps": values["rollout/decode_steps"],
            "tokens": values["rollout/tokens"],
            "prefill_tokens": values["rollout/prefill_tokens"],
            "prefill_passes": values["rollout/prefill_passes"],
            "carried": float(carried),
            "finished": float(len(finished)),
            "evicted": values["rollout/evicted"],
            "trained": float(self.ledger.trained - trained),
        }

    def go_on_with(self, rollout: GivenLengths, cell: Cell) -> FrozenLoop:
        """The same pools in other slots, whose first step prefills all that has begun.

        Args:
          rollout: empty slots, as many.
          cell: how they are run.
        """
        new = FrozenLoop(rollout, cell, self.load)
        begun = [sample for _, sample in self.rollout.pool.occupied]
        rollout.pool.waiting = deque([*begun, *self.rollout.pool.waiting])
        new.experience.groups = {key: list(entries) for key, entries in self.experience.groups.items()}
        new.ledger = copy.copy(self.ledger)
        new._cursor, new._steps = self._cursor, self._steps
        return new

    def _add_prompts(self) -> None:
        """A group of samples for as many prompts as the free slots can take, as `loop.run` does."""
        pool, size = self.rollout.pool, self.load.samples_per_prompt
        numbers = range(self._cursor, self._cursor - (-pool.missing // size))
        vocabulary = self.rollout.engine.spec.model.vocab_size
        pool.add_prompts([self.load.make_prompt(number, vocabulary) for number in numbers], size)
        self._cursor += len(numbers)


def compile_all(rollout: GivenLengths, load: Load, params: Any) -> None:
    """Runs every program that the rollout can need: they differ in how many slots are filled at one time.

    Args:
      rollout: its slots, empty; they are empty again afterwards.
      load: what it will decode.
      params: the policy.
    """
    slots, vocabulary = rollout.engine.spec.slots, rollout.engine.spec.model.vocab_size
    given, rollout.lengths = rollout.lengths, np.ones(1, np.int64)
    for refill in (None, lambda: None):
        for power in range(slots.bit_length() + 1):
            rollout.pool.add_prompts([load.make_prompt(0, vocabulary)], min(1 << power, slots))
            finished, _ = rollout.run(params, 0, refill)
            assert not rollout.pool.occupied and all(sample.finished == LIMIT for sample in finished)
    rollout.lengths = given


def take_turns(loops: Sequence[FrozenLoop], steps: Sequence[int], params: Any) -> list[list[dict[str, float]]]:
    """Steps of all loops, each as many as it is given, spread evenly: a busy moment hits all of them.

    Returns:
      What `FrozenLoop.step` returned, by loop.
    """
    taken: list[list[dict[str, float]]] = [[] for _ in loops]
    for _ in range(sum(steps)):
        behind = min(range(len(loops)), key=lambda i: (len(taken[i]) + 0.5) / steps[i])
        taken[behind].append(loops[behind].step(params))
    return taken


def small_network(model: Qwen3Config) -> Qwen3Config:
    """One narrow layer with the same vocabulary: which tokens it draws does not matter where lengths are given."""
    return dataclasses.replace(
        model,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=16,
    )
