"""Where a run stands between two steps, and how that is written down and read back.

Everything that decides the next step is here or in the train state: both pools, and what is
being judged between them, with every token, log-prob and policy step of their samples, the
prompt cursor, the ledger, what is known of the lengths of outputs. What is being judged is
judged again by a run that goes on.
Draws are seeded by (seed, sample id, position), so there is no generator to save; and
under `kv = recompute` no cache either, for the next step prefills it anyway.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ulorl_jax.io.checkpoints import Mismatch
from ulorl_jax.io.samples import decode_samples, encode_samples
from ulorl_jax.judging import Judging
from ulorl_jax.rollout.decoding import compiled_programs
from ulorl_jax.rollout.pools import ExperiencePool, Ledger, Released
from ulorl_jax.rollout.segments import SegmentRollout
from ulorl_jax.settings import Settings
from ulorl_jax.types import LIMIT, Sample, Verdict
from ulorl_jax.weights import fingerprint as network_fingerprint

# Of the fingerprint, what a kept cache adds.
_KEPT = ("kv", "slots", "context_limit", "pages.count", "pages.size", "pages.dtype", "recompute_every")


@dataclasses.dataclass
class Frontier:
    """The host's half of a run's state.

    Attributes:
      rollout: the slots, with the unfinished pool in `rollout.pool`.
      judging: finished samples whose verdicts are being found.
      experience: finished samples of incomplete groups.
      ledger: where every sampled token went.
      step: rollout steps completed.
      cursor: prompts taken from the global order.
      start: held-out scores before the first step.
      seconds: wall time by phase, of all parts of the run.
    """

    rollout: SegmentRollout
    judging: Judging
    experience: ExperiencePool
    ledger: Ledger = dataclasses.field(default_factory=Ledger)
    step: int = 0
    cursor: int = 0
    start: dict[str, float] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def tokens_in_pools(self) -> int:
        """Sampled tokens that wait in either pool, or to be judged."""
        return self.rollout.pool.num_tokens + self.judging.num_tokens + self.experience.num_tokens

    def describe(self, finished: Sequence[Sample], released: Released) -> dict[str, float]:
        """Metrics of a step: how its samples ended, and how many samples and tokens are where.

        Args:
          finished: the samples that its segment ended.
          released: the groups that left the experience pool.
        """
        pool, lengths = self.rollout.pool, [sample.num_tokens for sample in finished]
        values = {
            "rollout/finished": len(finished),
            "groups/informative": len(released.informative),
            "groups/uninformative": len(released.uninformative),
            "pool/unfinished": len(pool.occupied),
            "pool/waiting": len(pool.waiting),
            "pool/judging": len(self.judging.samples),
            "pool/experience": len(self.experience.entries),
            "ledger/in_pools": self.tokens_in_pools,
            "rollout/compiles": compiled_programs(),
        } | {f"ledger/{name}": value for name, value in dataclasses.asdict(self.ledger).items()}
        if finished:
            values |= {
                "rollout/len_mean": np.mean(lengths),
                "rollout/len_p50": np.percentile(lengths, 50),
                "rollout/len_p99": np.percentile(lengths, 99),
                "rollout/truncated": np.mean([sample.finished == LIMIT for sample in finished]),
                "rollout/segments_mean": np.mean([len(sample.segments) for sample in finished]),
            }
        return {name: float(value) for name, value in values.items()}

    def encode(self) -> tuple[dict[str, Any], dict[str, np.ndarray], Any]:
        """The frontier as JSON, host arrays, and device arrays (the kept cache, or None)."""
        pool, judging, life_table = self.rollout.pool, self.judging, self.rollout.room.life_table
        entries = self.experience.entries
        unfinished = [sample for _, sample in pool.occupied] + list(pool.waiting)
        samples = unfinished + judging.samples + [sample for sample, _ in entries]
        rows, arrays = encode_samples(samples)
        host = {
            "step": self.step,
            "cursor": self.cursor,
            "ledger": dataclasses.asdict(self.ledger),
            "slots": [slot for slot, _ in pool.occupied],
            "waiting": len(pool.waiting),
            "life_table": life_table.encode() if life_table else None,
            "judging": len(judging.samples),
            "judged": {"recent": list(judging.recent), "example": judging.example},
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
        pool = self.rollout.pool
        rest = iter(samples)
        for slot, sample in zip(host["slots"], itertools.islice(rest, len(host["slots"])), strict=True):
            if slot < len(pool.slots):
                pool.slots[slot] = sample
            else:
                pool.waiting.append(sample)
        pool.waiting.extend(itertools.islice(rest, host["waiting"]))
        life_table = self.rollout.room.life_table
        if life_table and host.get("life_table"):  # not in checkpoints older than it, nor of a run without pages
            life_table.load(host["life_table"])
        if "judging" in host:  # not in checkpoints older than overlapped rewards
            self.judging.recent.extend(host["judged"]["recent"])
            self.judging.example = host["judged"]["example"]
            self.judging.submit(list(itertools.islice(rest, host["judging"])))
        self.experience.add(list(rest), [Verdict(**verdict) for verdict in host["verdicts"]])
        if device is not None:
            key = jax.random.wrap_key_data(device.key)
            self.rollout.resume(dataclasses.replace(device, key=key))


def fingerprint(settings: Settings, prompts: str, eos_ids: Sequence[int]) -> dict[str, Any]:
    """What must be the same for a checkpoint of the workdir to be this run's.

    Args:
      settings: the run's.
      prompts: digest of its training questions.
      eos_ids: ids that end a sample.

    Returns:
      A JSON dict.
    """
    s = settings
    kept = (
        {"slots": s.rollout.slots, "context_limit": s.context_limit} if s.rollout.segment_settings.keeps_cache else {}
    )
    if kept and s.rollout.pages.count:
        kept |= {f"pages.{name}": getattr(s.rollout.pages, name) for name in ("count", "size", "dtype")}
    # What the cursor and the prompts' ids stand for.
    order = {f"data.{name}": getattr(s.data, name) for name in ("generate", "max_prompt_tokens", "shuffle")}
    sources = {f"data.train.{name}": dataclasses.asdict(source) for name, source in s.data.train.items()}
    return (
        network_fingerprint(s.model)
        | kept
        | order
        | sources
        | {
            "prompt": dataclasses.asdict(s.prompt),
            "the training questions (SHA-256)": prompts,
            "seed": s.seed,
            "samples_per_prompt": s.rollout.samples_per_prompt,
            "output_limit": s.rollout.output_limit,
            "eos_ids": list(eos_ids),
            "kv": s.rollout.kv,
        }
        # Only where it says something: older checkpoints do not know it.
        | ({"recompute_every": s.rollout.recompute_every} if s.rollout.recompute_every > 1 else {})
    )


def explain(mismatch: Mismatch) -> ValueError:
    """The same in words of the config where a kept cache is all that does not fit.

    Args:
      mismatch: of a checkpoint with this run's `fingerprint` and `device_state`.

    Returns:
      What to raise.
    """
    if mismatch.what == "device":
        # What decides it besides the fingerprint; the arrays say which.
        differ = f"of another mesh, model.dtype or kind of device ({mismatch.rows})"
        back = "go on with those it was saved with"
    elif set(mismatch.names) <= set(_KEPT):
        differ = f"of {_cache(mismatch.got)}, the config wants {_cache(mismatch.want)}"
        back = "set the rollout.* that differ back"
    else:
        return mismatch
    return ValueError(
        f"checkpoint {mismatch.directory} has a kept KV cache {differ}; {back}, or begin a run with its weights: "
        f"another --workdir, warm_start.steps=0 and warm_start.checkpoint={mismatch.directory.parent.parent}"
    )


def _cache(fingerprint: dict[str, Any]) -> str:
    """What a run keeps of it, in words."""
    policy = f"kv={fingerprint['kv']}, recompute_every={fingerprint.get('recompute_every', 1)}"
    if "slots" not in fingerprint:
        return f"no slots ({policy})"
    slots = f"{fingerprint['slots']} slots of {fingerprint['context_limit']} tokens"
    if "pages.count" not in fingerprint:
        return f"{slots}, dense ({policy})"
    count, size, dtype = (fingerprint[f"pages.{name}"] for name in ("count", "size", "dtype"))
    return f"{slots}, in {count} pages of {size} tokens of dtype {dtype!r} ({policy})"


def device_state(rollout: SegmentRollout) -> Any:
    """What of the slots must be saved: everything when a cache is kept over updates, else nothing.

    Args:
      rollout: the slots.

    Returns:
      The decode state with its key as plain integers, or None.
    """
    if not rollout.settings.keeps_cache:
        return None
    return dataclasses.replace(rollout.state, key=jax.random.key_data(rollout.state.key))
