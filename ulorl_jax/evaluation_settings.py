"""The settings of a whole evaluation, and which of them contradict each other."""

from __future__ import annotations

import dataclasses
from typing import Any

from ulorl_jax.models.rope import RopeScaling
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.sections import FileSettings, MeshSettings, PromptSettings, TokenizerSettings, VerifySettings
from ulorl_jax.sections.checks import check_prompt, check_verify
from ulorl_jax.typed import build, demand, demand_least


@dataclasses.dataclass(frozen=True)
class DecodingSettings:
    """How many outputs, how long, how drawn, and how many side by side."""

    samples: int
    temperature: float
    top_p: float
    top_k: int
    output_limit: int
    max_prompt_tokens: int
    slots: int
    segment_length: int
    commit_every: int
    prefill_rows: int
    prefill_chunk: int

    @property
    def context_limit(self) -> int:
        """W: the longest prompt plus the longest output, in tokens."""
        return self.max_prompt_tokens + self.output_limit


@dataclasses.dataclass(frozen=True)
class ScoringSettings:
    """What is computed from the verdicts."""

    pass_at: tuple[int, ...]
    bootstrap: int


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """A whole evaluation; see `configs/evaluation/base.py` for what every field means."""

    seed: int
    weights: str
    dtype: str
    rope_scaling: RopeScaling
    mesh: MeshSettings
    tokenizer: TokenizerSettings
    prompt: PromptSettings
    data: FileSettings
    verify: VerifySettings
    decoding: DecodingSettings
    scoring: ScoringSettings

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EvaluationSettings:
        """Settings from a plain nested dict, such as `ConfigDict.to_dict()`.

        Raises:
          ValueError: an unknown, missing or wrongly typed key, or settings that
            contradict each other; the message names the key and a value that works.
        """
        settings = build(cls, values)
        check(settings)
        return settings


def check(settings: EvaluationSettings) -> None:
    """Refuses settings that contradict each other.

    Raises:
      ValueError: what was wrong, the value got, a value that works.
    """
    s, d = settings, settings.decoding
    for name in ("samples", "output_limit", "max_prompt_tokens", "slots", "segment_length", "commit_every"):
        demand_least(f"decoding.{name}", 1, getattr(d, name))
    demand_least("decoding.prefill_rows", 1, d.prefill_rows, "8 is a good start")
    demand_least("decoding.prefill_chunk", 1, d.prefill_chunk, "512 is a good start")
    demand_least("seed", 0, s.seed)
    demand_least("scoring.bootstrap", 1, s.scoring.bootstrap, "1000 is usual")
    Sampling(d.temperature, d.top_p, d.top_k)  # refuses what is none
    demand(bool(s.weights), "weights is the folder of the weights to evaluate", s.weights, "set --config.weights")
    demand(bool(s.data.path), "data.path is the file of the questions", s.data.path, "set --config.data.path")
    demand(
        all(1 <= k <= d.samples for k in s.scoring.pass_at),
        f"scoring.pass_at must name k from 1 to decoding.samples ({d.samples}), of which pass@k is reckoned",
        s.scoring.pass_at,
        f"(1, {d.samples})",
    )
    check_prompt(s.prompt, s.tokenizer)
    check_verify(s.verify)
