"""Supervised updates on worked answers: the policy's warm start and the verifier's training are made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from ulorl_jax.mesh import Layout
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.ops.losses import supervised_loss
from ulorl_jax.ops.packing import pack
from ulorl_jax.processes import put
from ulorl_jax.train.state import OptimizerSettings, make_optimizer, refuse_endless_skips
from ulorl_jax.train.step import StepSettings, batch_shardings, make_train_step
from ulorl_jax.types import EOS, Prompt, Sample, Segment, TrainState


@dataclasses.dataclass(frozen=True)
class RowSettings:
    """Shapes of an update.

    Attributes:
      rows: packed rows per micro-batch.
      row_length: tokens per row.
      logprob_chunk: tokens per row whose logits exist at one time.
      max_skipped_in_a_row: non-finite updates in a row after which training stops.
    """

    rows: int
    row_length: int
    logprob_chunk: int
    max_skipped_in_a_row: int


class Supervised:
    """Updates that raise the log-probability of worked answers.

    Args:
      model: the network.
      optimizer: AdamW's settings.
      layout: the training layout.
      rows: shapes of an update.
      section: of the config that holds the optimizer's settings, for messages.

    Attributes:
      optimizer: optax's, whose state the train state holds.
    """

    def __init__(
        self, model: Qwen3Config, optimizer: OptimizerSettings, layout: Layout, rows: RowSettings, section: str
    ):
        self.optimizer = make_optimizer(optimizer)
        self._rows, self._section, self._shardings = rows, section, batch_shardings(layout)
        settings = StepSettings(temperature=1.0, logprob_chunk=rows.logprob_chunk)
        self._step = make_train_step(model, _objective, self.optimizer, layout, settings)

    def update(self, state: TrainState, samples: Sequence[Sample]) -> tuple[TrainState, dict[str, jax.Array]]:
        """One update on some worked answers.

        Args:
          state: donated.
          samples: from `worked_sample`; each fits a row.

        Returns:
          The new state, and metrics that are still on the device.
        """
        ones = np.ones(len(samples), np.float32)
        batch = pack(samples, ones, ones, lengths=[self._rows.row_length], rows_per_micro_batch=self._rows.rows)
        return self._step(state, put(batch, self._shardings), None)

    def row(self, state: TrainState, values: dict[str, jax.Array]) -> dict[str, float]:
        """The metrics of an update for people, read from the device.

        Raises:
          FloatingPointError: too many updates in a row were not finite.
        """
        refuse_endless_skips(state, self._rows.max_skipped_in_a_row, self._section)
        return {name: float(values[name]) for name in ("loss/supervised", "train/grad_norm", "train/skipped")}


def worked_sample(index: int, prompt: np.ndarray, answer: np.ndarray) -> Sample:
    """A prompt and the answer to learn, as a finished sample.

    Args:
      index: its number.
      prompt: `[P]` i32, P >= 1.
      answer: `[n]` i32, the end token among it.

    Returns:
      The sample; its recorded log-probs are 0 and mean nothing.
    """
    segment = Segment(answer, np.zeros(len(answer), np.float32), 0, "prefill")
    return Sample(index, Prompt(index, prompt, "")).append(segment, EOS)


def _objective(logp, entropy, micro, first):
    """Cross entropy of the answers, as an `Objective`."""
    del entropy, first
    return supervised_loss(logp, micro.mask, num_tokens=micro.num_tokens)
