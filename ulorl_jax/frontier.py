"""Where a run stands between two steps, and how that is written down and read back.

Everything that decides the next step is here or in the train state: both pools with
every token, log-prob and policy step of their samples, the prompt cursor, the ledger.
Draws are seeded by (seed, sample id, position), so there is no generator to save; and
under `kv = recompute` no cache either, for the next step prefills it anyway.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from ulorl_jax.io.samples import decode_samples, encode_samples
from ulorl_jax.rollout.pools import ExperiencePool, Ledger
from ulorl_jax.rollout.segments import KEEP, SegmentRollout
from ulorl_jax.types import Verdict


@dataclasses.dataclass
class Frontier:
    """The host's half of a run's state.

    Attributes:
      rollout: the slots, with the unfinished pool in `rollout.pool`.
      experience: finished samples of incomplete groups.
      ledger: where every sampled token went.
      step: rollout steps completed.
      cursor: prompts taken from the global order.
      start: held-out scores before the first step.
      seconds: wall time by phase, of all parts of the run.
    """

    rollout: SegmentRollout
    experience: ExperiencePool
    ledger: Ledger = dataclasses.field(default_factory=Ledger)
    step: int = 0
    cursor: int = 0
    start: dict[str, float] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def tokens_in_pools(self) -> int:
        """Sampled tokens that wait in either pool."""
        return self.rollout.pool.num_tokens + self.experience.num_tokens

    def encode(self) -> tuple[dict[str, Any], dict[str, np.ndarray], Any]:
        """The frontier as JSON, host arrays, and device arrays (the kept cache, or None)."""
        pool = self.rollout.pool
        entries = self.experience.entries
        samples = [sample for _, sample in pool.occupied] + list(pool.waiting) + [sample for sample, _ in entries]
        rows, arrays = encode_samples(samples)
        host = {
            "step": self.step,
            "cursor": self.cursor,
            "ledger": dataclasses.asdict(self.ledger),
            "slots": [slot for slot, _ in pool.occupied],
            "waiting": len(pool.waiting),
            "verdicts": [dataclasses.asdict(verdict) for _, verdict in entries],
            "samples": rows,
            "start": self.start,
            "seconds": self.seconds,
        }
        return host, arrays, device_state(self.rollout)

    def load(self, host: dict[str, Any], arrays: dict[str, np.ndarray], device: Any) -> None:
        """Takes the place of what `encode` wrote.

        A sample goes back to its slot. Where the run now has fewer slots it waits for one,
        with all its tokens.
        """
        self.step, self.cursor = host["step"], host["cursor"]
        self.start, self.seconds = host["start"], host["seconds"]
        self.ledger = Ledger(**host["ledger"])
        samples = decode_samples(host["samples"], arrays)
        pool, num_slots, num_waiting = self.rollout.pool, len(host["slots"]), host["waiting"]
        for slot, sample in zip(host["slots"], samples[:num_slots], strict=True):
            if slot < len(pool.slots):
                pool.slots[slot] = sample
            else:
                pool.waiting.append(sample)
        pool.waiting.extend(samples[num_slots : num_slots + num_waiting])
        verdicts = [Verdict(**verdict) for verdict in host["verdicts"]]
        for sample, verdict in zip(samples[num_slots + num_waiting :], verdicts, strict=True):
            self.experience.add([sample], [verdict])
        if device is not None:
            key = jax.random.wrap_key_data(device.key)
            self.rollout.state = dataclasses.replace(device, key=key)


def device_state(rollout: SegmentRollout) -> Any:
    """What of the slots must be saved: everything when the cache is kept over updates, else nothing.

    Args:
      rollout: the slots.

    Returns:
      The decode state with its key as plain integers, or None.
    """
    if rollout.settings.kv != KEEP:
        return None
    return dataclasses.replace(rollout.state, key=jax.random.key_data(rollout.state.key))
