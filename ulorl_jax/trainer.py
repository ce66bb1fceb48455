"""What an update is made of, by the settings of its run: optimizer, objective, programs. A replay needs no more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import optax

from ulorl_jax.mesh import Layout
from ulorl_jax.ops import importance
from ulorl_jax.ops.losses import ulorl_loss
from ulorl_jax.settings import Settings
from ulorl_jax.train.state import make_optimizer
from ulorl_jax.train.step import Objective, StepSettings, make_score, make_train_step
from ulorl_jax.typed import choose

IMPORTANCE = {
    "tois": importance.on_policy,
    "sais": importance.segment_aware,
    "pois": importance.pseudo_on_policy,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Trainer:
    """What an update needs.

    Attributes:
      settings: the resolved settings.
      training: the layout of the mesh.
      optimizer: of the RL stage.
      train_step: (state, batch, scores or None) to (state, metrics).
      score: (params, batch) to scores, or None where no part of the loss needs it.
    """

    settings: Settings
    training: Layout
    optimizer: optax.GradientTransformation
    train_step: Callable[..., Any]
    score: Callable[..., Any] | None


def make_trainer(settings: Settings, layout: Layout, objective: Objective | None = None) -> Trainer:
    """What an update needs; compiles nothing yet.

    Args:
      settings: as they are on the devices.
      layout: the training layout.
      objective: a loss of one's own; None: the one that `settings.loss` describes.

    Returns:
      The trainer.
    """
    s, sizes = settings, step_settings(settings)
    optimizer = make_optimizer(s.optimizer)
    # POIS at one update per step is stop_gradient(logp): no forward pass is spent on it.
    several = s.train.updates_per_step > 1
    needs_scores = several if objective else (several and s.loss.importance == "pois") or s.loss.gate == "batch"
    return Trainer(
        settings=s,
        training=layout,
        optimizer=optimizer,
        train_step=make_train_step(s.model, objective or make_objective(s), optimizer, layout, sizes),
        score=make_score(s.model, layout, sizes) if needs_scores else None,
    )


def step_settings(settings: Settings) -> StepSettings:
    """What the trainer's programs are compiled for, of a run's settings."""
    return StepSettings(settings.rollout.temperature, settings.train.logprob_chunk)


def make_objective(settings: Settings) -> Objective:
    """The loss of a micro-batch, as the settings want it.

    Args:
      settings: the run's.
    """
    loss = settings.loss
    old_logp_of = choose(IMPORTANCE, loss.importance, "loss.importance")
    # With one update POIS is exactly stop_gradient(logp), also where gate="batch" asks for scores.
    several = settings.train.updates_per_step > 1

    def objective(logp, entropy, micro, first):
        return ulorl_loss(
            logp,
            old_logp_of(logp, micro.rollout_logp, first.logp if first is not None and several else None),
            entropy,
            micro.advantage,
            micro.reward,
            micro.mask,
            micro.sample_ids,
            num_tokens=micro.num_tokens,
            clip_low=loss.clip_low,
            clip_high=loss.clip_high,
            tau=loss.tau,
            sigma=loss.sigma,
            gate=loss.gate,  # pyright: ignore[reportArgumentType] (checked in settings.check)
            batch_entropy=None if first is None else first.entropy,
        )

    return objective
