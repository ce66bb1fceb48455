"""The settings of a verifier's training, typed and checked; `configs/verifier_base.py` says what every field means."""

from __future__ import annotations

import dataclasses
from typing import Any

from ulorl_jax.data.answer_pairs import JUSTIFICATIONS
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.sections import AskingSettings, CheckpointSettings, TokenizerSettings, TrainingMeshSettings
from ulorl_jax.sections.checks import check_asking, check_optimizer
from ulorl_jax.train.state import OptimizerSettings
from ulorl_jax.typed import build, demand, demand_least
from ulorl_jax.verifier_data import PairDataSettings
from ulorl_jax.verify.verifier_prompt import VerifierPrompt


@dataclasses.dataclass(frozen=True)
class UpdateSettings:
    """What an update learns from."""

    reasoned: float
    micro_batches: int
    rows: int
    row_length: int
    logprob_chunk: int
    max_skipped_in_a_row: int


@dataclasses.dataclass(frozen=True)
class MeasureSettings(AskingSettings):
    """How the verifier is measured on the test pairs, beside the rules."""

    every: int
    pairs: int
    workers: int
    deadline_s: float


@dataclasses.dataclass(frozen=True)
class VerifierSettings:
    """A verifier's training; see `configs/verifier_base.py` for what every field means."""

    seed: int
    steps: int
    weights: str
    model: Qwen3Config
    mesh: TrainingMeshSettings
    tokenizer: TokenizerSettings
    prompt: VerifierPrompt
    data: PairDataSettings
    updates: UpdateSettings
    optimizer: OptimizerSettings
    evaluation: MeasureSettings
    checkpoint: CheckpointSettings

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> VerifierSettings:
        """Settings from a plain nested dict, such as `ConfigDict.to_dict()`.

        Raises:
          ValueError: an unknown, missing or wrongly typed key, or settings that
            contradict each other; the message names the key and a value that works.
        """
        settings = build(cls, values)
        check(settings)
        return settings


def check(settings: VerifierSettings) -> None:
    """Refuses settings that contradict each other.

    Raises:
      ValueError: what was wrong, the value got, a value that works.
    """
    s = settings
    for name, least, value in (
        ("seed", 0, s.seed),
        ("steps", 1, s.steps),
        ("data.generate", 0, s.data.generate),
        ("data.test_generate", 0, s.data.test_generate),
        ("updates.micro_batches", 1, s.updates.micro_batches),
        ("updates.rows", 1, s.updates.rows),
        ("updates.row_length", 2, s.updates.row_length),
        ("evaluation.every", 1, s.evaluation.every),
        ("evaluation.pairs", 1, s.evaluation.pairs),
        ("evaluation.workers", 1, s.evaluation.workers),
        ("checkpoint.every", 1, s.checkpoint.every),
        ("checkpoint.keep", 1, s.checkpoint.keep),
    ):
        demand_least(name, least, value)
    check_asking(s.evaluation, "evaluation")
    check_optimizer(s.optimizer, "optimizer")
    demand(s.data.why in JUSTIFICATIONS, f"data.why must be one of {JUSTIFICATIONS}", s.data.why, "words are usual")
    demand(0 <= s.updates.reasoned <= 1, "updates.reasoned is a share of the pairs", s.updates.reasoned, "0.5 is half")
    demand(
        not (s.prompt.chat and s.tokenizer.kind == "bytes"),
        "prompt.chat needs the chat template of tokenizer.kind=hf",
        s.tokenizer.kind,
        "set prompt.chat=False",
    )
