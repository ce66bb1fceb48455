"""The nouns of the project, as frozen dataclasses.

Host nouns (`Prompt`, `Segment`, `Sample`, `Group`) hold NumPy arrays of ragged
length; device nouns (`Batch`, `TrainState`) are pytrees of arrays with static
shapes. `ops.packing` is the only door between the two.

Letters: B packed rows, T tokens per row, M segments per output, S tokens per
segment, G samples per prompt, L the limit of an output in tokens.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

Array = Any  # NumPy on the host, jax.Array on the device, a sharding where a layout is described
PyTree = Any

EOS = "eos"  # the sample ended itself
LIMIT = "limit"  # it reached L: truncated, reward 0 (paper, 3.5)


@dataclasses.dataclass(frozen=True, eq=False)
class Prompt:
    """One question, tokenized once; its ids are never re-encoded from text.

    Attributes:
      id: position of the prompt in the run's one global order; unique in a run.
      tokens: `[P]` i32, the prompt's ids as the policy reads them.
      reference: the answer the verifier compares with, as text.
      source: the row's own id in its data set, for traces.
      question: the text the row asks, without template and instruction, for verifiers and traces.
    """

    id: int
    tokens: np.ndarray
    reference: str
    source: str = ""
    question: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Segment:
    """The tokens one rollout step added to one sample, all drawn by one policy.

    Attributes:
      tokens: `[n]` i32, sampled ids, 1 <= n <= S.
      logp: `[n]` f32, nats: the log-probability each token was drawn with.
      policy_step: updates the sampling weights had seen, f(i) of equation (8).
      kv: where the keys and values before this segment came from: "prefill" (the
        prompt's, computed by this policy), "recompute" (prefilled again by this policy)
        or "keep" (carried over an update, so older weights computed some of them).
    """

    tokens: np.ndarray
    logp: np.ndarray
    policy_step: int
    kv: str

    def __post_init__(self):
        if len(self.tokens) == 0 or len(self.tokens) != len(self.logp):
            raise ValueError(
                f"a segment needs one log-prob per token and at least one token: got {len(self.tokens)} "
                f"tokens and {len(self.logp)} log-probs"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """One output of one prompt, as far as it has been decoded.

    Attributes:
      id: `prompt.id * G + index`; together with the position it seeds every draw.
      prompt: the prompt it answers.
      segments: what was decoded so far, oldest policy first.
      finished: "" while decoding, then `EOS` or `LIMIT`.
    """

    id: int
    prompt: Prompt
    segments: tuple[Segment, ...] = ()
    finished: str = ""

    @property
    def num_tokens(self) -> int:
        """Tokens sampled so far."""
        return sum(len(segment.tokens) for segment in self.segments)

    @property
    def context_length(self) -> int:
        """Tokens of prompt and output."""
        return len(self.prompt.tokens) + self.num_tokens

    @property
    def output(self) -> np.ndarray:
        """`[num_tokens]` i32, the sampled ids of all segments."""
        return _concatenate([segment.tokens for segment in self.segments], np.int32)

    @property
    def logp(self) -> np.ndarray:
        """`[num_tokens]` f32, the log-probs recorded when sampled."""
        return _concatenate([segment.logp for segment in self.segments], np.float32)

    @property
    def policy_steps(self) -> np.ndarray:
        """`[num_tokens]` i32, the policy step that drew each token."""
        steps = [np.full(len(segment.tokens), segment.policy_step) for segment in self.segments]
        return _concatenate(steps, np.int32)

    @property
    def context(self) -> np.ndarray:
        """`[P + num_tokens]` i32, prompt and output: what the next token is conditioned on."""
        return np.concatenate([self.prompt.tokens, self.output]).astype(np.int32)

    def append(self, segment: Segment, finished: str = "") -> Sample:
        """The sample one segment longer.

        Raises:
          ValueError: the sample is finished already, or the segment is of an
            older policy than the one before it.
        """
        if self.finished:
            raise ValueError(f"sample {self.id} ended by {self.finished!r}: it cannot take another segment")
        if self.segments and segment.policy_step < self.segments[-1].policy_step:
            raise ValueError(
                f"sample {self.id}: a segment of policy step {segment.policy_step} after one of "
                f"{self.segments[-1].policy_step}; segments must come oldest first"
            )
        return dataclasses.replace(self, segments=(*self.segments, segment), finished=finished)


@dataclasses.dataclass(frozen=True)
class Attempt:
    """A finished output as text, with what it is judged by.

    Attributes:
      question: the problem's text; "" where it is not known.
      reference: the true answer, as the data writes it.
      output: the text that was written, without its end token.
      truncated: it reached L: nobody is asked about it.
    """

    question: str
    reference: str
    output: str
    truncated: bool = False


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a judge says of one attempt.

    Attributes:
      reward: 1.0 right, 0.0 wrong, None when nobody could tell: an error, which is
        counted and never trained as a 0.
      reason: for people: the answer that was read, or what failed.
      answer: the predicted answer in its normal form, None where none was read; outputs with
        equal answers vote together for a majority.
    """

    reward: float | None
    reason: str = ""
    answer: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """The finished, judged samples of one prompt: what the advantage is taken over.

    Attributes:
      prompt_id: the group's key.
      samples: at most G; those with an error verdict have left the group.
      rewards: `[len(samples)]` f32 in {0, 1}.
    """

    prompt_id: int
    samples: tuple[Sample, ...]
    rewards: np.ndarray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Packed rows for the trainer, `[A, B, T]` with A micro-batches.

    Index t of every array speaks of token t. Padding has `sample_ids` 0 and
    `mask` False, and nothing in it is ever read.

    Attributes:
      tokens: i32, prompt and output ids of the samples, one after the other.
      positions: i32, position of the token inside its own sample (for RoPE).
      sample_ids: i32, 1.. within a row tells the packed samples apart, 0 = padding.
        ("Segment" is kept for UloRL's segments.)
      mask: bool, True where a sampled token is trained.
      rollout_logp: f32, nats, recorded when the token was sampled.
      policy_step: i32, of the weights that sampled the token.
      advantage: f32, of the token's sample.
      reward: f32, of the token's sample.
      num_tokens: `[]` f32, response tokens in the GLOBAL batch: the one denominator.
      num_micro_batches: `[]` i32, how many of the A are real; the rest is padding.
    """

    tokens: Array
    positions: Array
    sample_ids: Array
    mask: Array
    rollout_logp: Array
    policy_step: Array
    advantage: Array
    reward: Array
    num_tokens: Array
    num_micro_batches: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class TrainState:
    """All that the train step reads and writes besides its batch.

    Attributes:
      step: `[]` i32, updates applied: the policy step of the next rollout.
      params: the policy's weights (fp32 master copy).
      opt_state: optax's.
      skipped: `[]` i32, updates skipped because of a non-finite loss or gradient.
      skipped_in_a_row: `[]` i32, of those, how many came last without a good one between.
    """

    step: Array
    params: PyTree
    opt_state: PyTree
    skipped: Array
    skipped_in_a_row: Array


def _concatenate(parts: list[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *parts]).astype(dtype)
