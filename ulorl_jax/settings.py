"""Every setting of a training run, typed, checked before anything compiles.

`configs/base.py` holds the same tree as a ConfigDict, with unit, meaning and source
of every key. `Settings.from_dict` takes it apart: a key that is unknown, missing or
of the wrong type is an error, so no key can be given and not be used.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ulorl_jax.mesh import TRAINING, mesh_sizes
from ulorl_jax.models.packed_attention import PLAIN
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.rollout.pages import DTYPES
from ulorl_jax.rollout.segments import KEEP, RECOMPUTE, REFILLS, STEP
from ulorl_jax.sections import (
    CheckpointSettings,
    DataSettings,
    EvalSettings,
    LossSettings,
    PromptSettings,
    RewardSettings,
    RolloutSettings,
    TokenizerSettings,
    TrainingMeshSettings,
    TrainSettings,
    WarmStartSettings,
)
from ulorl_jax.sections.checks import check_experts, check_optimizer, check_prompt, check_verify
from ulorl_jax.train.state import OptimizerSettings
from ulorl_jax.typed import build, demand, demand_least


@dataclasses.dataclass(frozen=True)
class Settings:
    """A whole run; see `configs/base.py` for what every field means."""

    seed: int
    steps: int
    model: Qwen3Config
    mesh: TrainingMeshSettings
    tokenizer: TokenizerSettings
    prompt: PromptSettings
    data: DataSettings
    verify: RewardSettings
    rollout: RolloutSettings
    loss: LossSettings
    train: TrainSettings
    optimizer: OptimizerSettings
    warm_start: WarmStartSettings
    evaluation: EvalSettings
    checkpoint: CheckpointSettings
    traces_per_step: int
    groups_every: int
    replay: str

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """Settings from a plain nested dict, such as `ConfigDict.to_dict()`.

        Raises:
          ValueError: an unknown, missing or wrongly typed key, or settings that
            contradict each other; the message names the key and a value that works.
        """
        settings = build(cls, values)
        check(settings)
        return settings

    @property
    def context_limit(self) -> int:
        """W: the longest prompt plus L, in tokens."""
        return self.data.max_prompt_tokens + self.rollout.output_limit


def check(settings: Settings) -> None:
    """Refuses settings that contradict each other.

    Args:
      settings: the whole run.

    Raises:
      ValueError: what was wrong, the value got, a value that works.
    """
    s, r = settings, settings.rollout
    shape = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim")
    for name, least, value in (
        *((f"model.{size}", 1, getattr(s.model, size)) for size in shape),
        ("seed", 0, s.seed),
        ("steps", 1, s.steps),
        ("rollout.segments", 1, r.segments),
        ("rollout.output_limit", 1, r.output_limit),
        ("rollout.slots", 1, r.slots),
        ("rollout.pages.count", 0, r.pages.count),
        ("rollout.pages.size", 1, r.pages.size),
        ("rollout.refill_latency", 0, r.refill_latency),
        ("rollout.recompute_every", 1, r.recompute_every),
        ("rollout.pages.over_provisioning", 0, r.pages.over_provisioning),
        ("rollout.samples_per_prompt", 2, r.samples_per_prompt),
        ("rollout.prefill_rows", 1, r.prefill_rows),
        ("rollout.prefill_chunk", 1, r.prefill_chunk),
        ("data.max_prompt_tokens", 1, s.data.max_prompt_tokens),
        ("data.heldout_rows", 1, s.data.heldout_rows),
        ("train.rows_per_micro_batch", 0, s.train.rows_per_micro_batch),
        ("train.logprob_chunk", 1, s.train.logprob_chunk),
        ("train.updates_per_step", 1, s.train.updates_per_step),
        ("train.max_skipped_in_a_row", 1, s.train.max_skipped_in_a_row),
        ("train.row_lengths", 1, min(s.train.row_lengths, default=1)),
        ("loss.clip_low", 0, s.loss.clip_low),
        ("loss.clip_high", 0, s.loss.clip_high),
        ("loss.advantage_eps", 0, s.loss.advantage_eps),
        ("warm_start.steps", 0, s.warm_start.steps),
        ("warm_start.samples", 1, s.warm_start.samples),
        ("warm_start.rows", 1, s.warm_start.rows),
        ("warm_start.row_length", 1, s.warm_start.row_length),
        ("evaluation.every", 1, s.evaluation.every),
        ("evaluation.samples", 1, s.evaluation.samples),
        ("checkpoint.every", 1, s.checkpoint.every),
        ("checkpoint.keep", 1, s.checkpoint.keep),
        ("traces_per_step", 0, s.traces_per_step),
        ("groups_every", 0, s.groups_every),
    ):
        demand_least(name, least, value)
    m, limit = r.segments, r.output_limit
    demand(
        limit % m == 0,
        f"rollout.output_limit (L) must be a multiple of rollout.segments (M = {m})",
        limit,
        " or ".join(str(i * m) for i in (limit // m, limit // m + 1) if i) + " would work",
    )
    demand(
        max(s.train.row_lengths, default=0) >= s.context_limit,
        f"the longest of train.row_lengths must hold a prompt and its output, {s.data.max_prompt_tokens} + {limit} "
        "tokens",
        s.train.row_lengths,
        f"add {s.context_limit}",
    )
    demand(
        r.kv in (KEEP, RECOMPUTE), f"rollout.kv must be {KEEP!r} or {RECOMPUTE!r}", r.kv, f"the paper's: {RECOMPUTE}"
    )
    demand(
        r.recompute_every == 1 or r.kv == RECOMPUTE,
        f"rollout.recompute_every is for rollout.kv={RECOMPUTE!r}; with {r.kv!r} it must be 1",
        r.recompute_every,
        "1",
    )
    demand(r.refill in REFILLS, f"rollout.refill must be one of {REFILLS}", r.refill, f"the paper's: {STEP}")
    demand(
        r.temperature > 0, "rollout.temperature must be positive: greedy rollouts do not explore", r.temperature, "0.85"
    )
    for name, draws in (("rollout", r), ("evaluation", s.evaluation)):
        demand(
            draws.temperature >= 0 and 0 < draws.top_p <= 1 and draws.top_k >= 0,
            f"{name} wants temperature >= 0, 0 < top_p <= 1 and top_k >= 0",
            (draws.temperature, draws.top_p, draws.top_k),
            "1.0, 1.0 and 0 draw from the policy as it is",
        )
    demand(
        s.loss.importance == "pois" or (r.top_p == 1 and r.top_k == 0),
        f"loss.importance={s.loss.importance} needs log-probs of the whole distribution, so no top-p and no top-k",
        (r.top_p, r.top_k),
        "set rollout.top_p=1.0 and rollout.top_k=0, or loss.importance=pois",
    )
    demand(0 < s.loss.tau <= 1, "loss.tau is a probability in (0, 1]", s.loss.tau, "the paper's is 0.99")
    demand(
        s.loss.sigma >= 0, "loss.sigma is an entropy in nats, at least 0", s.loss.sigma, "the paper's is 0.2, 0 is off"
    )
    demand(
        s.loss.gate in ("sample", "batch"),
        'loss.gate must be "sample" or "batch"',
        s.loss.gate,
        "equation (10): sample",
    )
    demand(
        s.loss.importance != "tois" or (m == 1 and r.refill == STEP),
        f"loss.importance=tois means a whole output drawn by one policy: rollout.segments=1, rollout.refill={STEP}",
        (m, r.refill),
        "set them so, or loss.importance=pois or sais",
    )
    demand(r.pages.dtype in DTYPES, f"rollout.pages.dtype must be one of {DTYPES}", r.pages.dtype, "model")
    everybody = r.slots * r.pages.holding(s.context_limit)
    demand(
        s.loss.importance != "tois" or not r.pages.count or r.pages.count >= everybody,
        f"loss.importance=tois means a whole output drawn by one policy, but where rollout.pages.count is under "
        f"{everybody}, room for all slots, a sample may have to leave and go on at a later step",
        r.pages.count,
        f"{everybody}, 0 (no pages), or loss.importance=pois or sais",
    )
    demand(
        s.loss.importance != "tois" or not s.verify.overlap,
        "loss.importance=tois trains on the newest policy's outputs alone, verify.overlap on those of a step before",
        s.verify.overlap,
        "set verify.overlap=False, or loss.importance=pois or sais",
    )
    check_experts(s.mesh.expert, s.model.num_experts)
    check_optimizer(s.optimizer, "optimizer")
    check_optimizer(s.warm_start.optimizer, "warm_start.optimizer")
    bad_eos = [i for i in s.tokenizer.eos_ids if not 0 <= i < s.model.vocab_size]
    demand(
        bool(s.tokenizer.eos_ids or s.tokenizer.kind != "bytes") and not bad_eos,
        f"tokenizer.eos_ids must name at least one id under model.vocab_size ({s.model.vocab_size})",
        s.tokenizer.eos_ids,
        "without an end token every sample runs to L and is worth 0",
    )
    check_prompt(s.prompt, s.tokenizer)
    check_verify(s.verify)
    demand(
        "{answer}" in s.warm_start.answer,
        "warm_start.answer is what is learned, so it must hold {answer}, the place of a row's answer",
        s.warm_start.answer,
        "{answer} alone learns the answers as they are",
    )
    demand(
        bool(s.data.train) and all(source.weight > 0 for source in s.data.train.values()),
        "data.train must name at least one source, each with a weight above 0",
        {name: source.weight for name, source in s.data.train.items()},
        "the weights are shares: 1.0 each mixes them evenly",
    )


def on_devices(settings: Settings, count: int) -> Settings:
    """The settings as they are on so many devices: with the sizes of the mesh where they say -1, and with a row of a
    micro-batch for every part of the mesh that has rows of its own where they say 0.

    Args:
      settings: the whole run.
      count: devices.

    Raises:
      ValueError: the mesh does not fit the devices.
    """
    sizes = mesh_sizes(count, **dataclasses.asdict(settings.mesh))
    rows = settings.train.rows_per_micro_batch or math.prod(sizes[axis] for axis in TRAINING["rows"])
    mesh = dataclasses.replace(settings.mesh, **sizes)
    train = dataclasses.replace(settings.train, rows_per_micro_batch=rows)
    return dataclasses.replace(settings, mesh=mesh, train=train)


def check_mesh(settings: Settings, row_ways: int, slot_ways: int, token_ways: int = 1, tile: int = 1) -> None:
    """Refuses rows, their tokens and slots that the mesh cannot split evenly.

    Args:
      settings: the whole run.
      row_ways: into how many parts the training layout splits packed rows.
      slot_ways: into how many parts the decoding layout splits slots.
      token_ways: into how many parts the training layout splits the tokens of a row.
      tile: see `packed_attention.row_tile`.

    Raises:
      ValueError: what does not divide, and a value that works.
    """
    chunks = 2 * token_ways if token_ways > 1 else 1  # each part holds an early and a late one

    def parts(length: int) -> int:
        return max(chunks, tile * token_ways) if token_ways > 1 or length > PLAIN else chunks

    for name, value, ways in (
        ("train.rows_per_micro_batch", settings.train.rows_per_micro_batch, row_ways),
        ("warm_start.rows", settings.warm_start.rows, row_ways),
        ("rollout.slots", settings.rollout.slots, slot_ways),
        *(("train.row_lengths", length, parts(length)) for length in settings.train.row_lengths),
        ("warm_start.row_length", settings.warm_start.row_length, parts(settings.warm_start.row_length)),
    ):
        up = -(-value // ways) * ways
        demand(
            value % ways == 0,
            f"{name} must be a multiple of {ways}, the parts the mesh splits it into",
            value,
            f"{up} would work",
        )
    pages = settings.rollout.pages
    least = slot_ways * pages.holding(settings.context_limit)
    demand(
        not pages.count or (pages.count >= least and pages.count % slot_ways == 0),
        f"rollout.pages.count must be 0 (no pages), or a multiple of {slot_ways}, the parts the mesh splits slots "
        f"into, and at least {least}: one longest context of {settings.context_limit} tokens in each part",
        pages.count,
        f"{max(-(-pages.count // slot_ways) * slot_ways, least)} would work",
    )
