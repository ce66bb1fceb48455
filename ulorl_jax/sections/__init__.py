"""The sections of the settings, as dataclasses: what each key means is said in `configs/base.py`.

Training and evaluation are made of the same sections.
"""

from __future__ import annotations

import dataclasses

from ulorl_jax.rollout.pages import PageSettings
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.rollout.segments import SegmentSettings
from ulorl_jax.train.state import OptimizerSettings
from ulorl_jax.typed import demand


@dataclasses.dataclass(frozen=True)
class MeshSettings:
    """Sizes of the mesh axes; one may be -1."""

    data: int
    fsdp: int
    tensor: int


@dataclasses.dataclass(frozen=True)
class TrainingMeshSettings(MeshSettings):
    """With the axes that only training splits something over by itself."""

    context: int
    expert: int


@dataclasses.dataclass(frozen=True)
class TokenizerSettings:
    """How text becomes ids."""

    kind: str
    path: str
    eos_ids: tuple[int, ...]
    pad_id: int


@dataclasses.dataclass(frozen=True)
class PromptSettings:
    """What stands around a question."""

    template: str
    chat: bool
    system: str
    thinking: bool


@dataclasses.dataclass(frozen=True)
class FileSettings:
    """A file of questions: JSONL, parquet or ArrayRecord, and the names of its fields."""

    path: str
    question_field: str
    answer_field: str
    id_field: str


@dataclasses.dataclass(frozen=True)
class SourceSettings(FileSettings):
    """One of several files that training questions come from, and its share of them."""

    weight: float


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Where questions come from and how they are read."""

    generate: str
    train: dict[str, SourceSettings]
    heldout: FileSettings
    supervised: FileSettings
    heldout_rows: int
    max_prompt_tokens: int
    shuffle: bool


@dataclasses.dataclass(frozen=True)
class AskingSettings:
    """How a generative verifier is asked."""

    mode: str
    threshold: float
    min_mass: float
    min_token_p: float
    row_lengths: tuple[int, ...]
    rows: int
    prompts_per_row: int
    output_limit: int
    segment_length: int
    slots: int

    @property
    def width(self) -> int:
        """Tokens of a prompt and its reply, at most."""
        return max(self.row_lengths) + self.output_limit


@dataclasses.dataclass(frozen=True)
class GenerativeSettings(AskingSettings):
    """A generative verifier: its weights, and how they are asked."""

    weights: str
    dtype: str
    tokenizer: TokenizerSettings

    @property
    def folder(self) -> str:
        """The weights, which must be named."""
        named = self.weights
        demand(bool(named), "verify.verifier.weights is the folder of the verifier's weights", named, "set it")
        return named


@dataclasses.dataclass(frozen=True)
class VerifySettings:
    """How an answer is judged."""

    kind: str
    marker: str
    workers: int
    deadline_s: float
    cache: int
    verifier: GenerativeSettings

    @property
    def asks_a_model(self) -> bool:
        """Whether the judge needs weights and a device."""
        return self.kind in ("verifier", "rules_then_verifier")


@dataclasses.dataclass(frozen=True)
class RewardSettings(VerifySettings):
    """How an answer is judged in training: when, and how many may stay without a verdict."""

    overlap: bool
    max_error_rate: float
    error_window: int


@dataclasses.dataclass(frozen=True)
class RolloutSettings:
    """Algorithm 1: L, M, G, the slots, and how tokens are drawn."""

    output_limit: int
    segments: int
    samples_per_prompt: int
    slots: int
    pages: PageSettings
    kv: str
    recompute_every: int
    refill: str
    refill_latency: int
    finish_groups: bool
    temperature: float
    top_p: float
    top_k: int
    prefill_rows: int
    prefill_chunk: int

    @property
    def segment_length(self) -> int:
        """S = L / M."""
        return self.output_limit // self.segments

    @property
    def segment_settings(self) -> SegmentSettings:
        """How segments are decoded, as `SegmentRollout` takes it."""
        return SegmentSettings(
            self.segment_length,
            self.output_limit,
            self.kv,
            self.prefill_rows,
            self.prefill_chunk,
            self.refill_latency,
            self.recompute_every,
            self.finish_groups,
        )

    @property
    def sampling(self) -> Sampling:
        """Temperature, top-p and top-k as the engine takes them."""
        return Sampling(self.temperature, self.top_p, self.top_k)


@dataclasses.dataclass(frozen=True)
class LossSettings:
    """Equation (10)."""

    importance: str
    clip_low: float
    clip_high: float
    tau: float
    sigma: float
    gate: str
    advantage_ddof: int
    advantage_eps: float


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """Shapes of the update and when to give up."""

    row_lengths: tuple[int, ...]
    rows_per_micro_batch: int
    logprob_chunk: int
    updates_per_step: int
    max_skipped_in_a_row: int


@dataclasses.dataclass(frozen=True)
class WarmStartSettings:
    """Where the policy's first weights come from."""

    checkpoint: str
    steps: int
    answer: str
    samples: int
    rows: int
    row_length: int
    optimizer: OptimizerSettings


@dataclasses.dataclass(frozen=True)
class EvalSettings:
    """Held-out evaluation during training."""

    every: int
    samples: int
    greedy: bool
    temperature: float
    top_p: float
    top_k: int

    @property
    def sampling(self) -> Sampling:
        """Temperature, top-p and top-k as the engine takes them."""
        return Sampling(self.temperature, self.top_p, self.top_k)


@dataclasses.dataclass(frozen=True)
class CheckpointSettings:
    """How often state is saved, how many are kept."""

    every: int
    keep: int
