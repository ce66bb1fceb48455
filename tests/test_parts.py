"""What `make_parts` builds from an objective of one's own."""

import dataclasses

import jax
import numpy as np
import pytest

from tests import runs
from tests.tiny import make_samples
from ulorl_jax.clock import Clock
from ulorl_jax.models.qwen3_params import init_params
from ulorl_jax.ops.losses import clipped_surrogate_loss
from ulorl_jax.ops.packing import pack
from ulorl_jax.parts import make_parts
from ulorl_jax.processes import put
from ulorl_jax.train.state import start_state
from ulorl_jax.train.step import batch_shardings
from ulorl_jax.types import Group
from ulorl_jax.update import update as loop_update

SEVERAL = {"train.updates_per_step": 2, "loss.sigma": 0.0}


def update(parts):
    """Weights and metrics after an update at weights that have moved since the step's beginning."""
    settings = parts.settings
    params = init_params(jax.random.key(0), settings.model)
    moved = jax.tree.map(lambda p: p + 0.1 * jax.random.normal(jax.random.key(1), p.shape), params)
    samples, rewards = make_samples(16), np.tile(np.float32([0, 1]), 8)
    lengths, rows = settings.train.row_lengths, settings.train.rows_per_micro_batch
    batch = pack(samples, 2 * rewards - 1, rewards, lengths=lengths, rows_per_micro_batch=rows)
    batch = put(batch, batch_shardings(parts.training))
    scores = parts.score(start_state(params, settings.model, parts.optimizer, parts.training).params, batch)
    state = start_state(moved, settings.model, parts.optimizer, parts.training)
    state, metrics = parts.train_step(state, batch, scores)
    return jax.device_get((state.params, metrics))


def test_an_objective_of_your_own_gets_what_the_run_s_own_gets_and_its_metrics_are_the_run_s(tmp_path):
    task = runs.task(tmp_path / "task") | SEVERAL

    def pois(logp, entropy, micro, first):
        return clipped_surrogate_loss(
            logp, first.logp, micro.advantage, micro.mask, num_tokens=micro.num_tokens, clip_low=0.2, clip_high=0.2
        )

    # What stands in the config's loss is not read then: with these keys the run's own loss would be another.
    other = runs.settings(task | {"loss.importance": "sais", "loss.sigma": float("inf"), "loss.tau": 0.001})
    ours, our_metrics = update(make_parts(other, tmp_path / "ours", pois))
    theirs, their_metrics = update(make_parts(runs.settings(task), tmp_path / "theirs"))
    assert their_metrics["ratio/outside_frac"] > 0.1 and their_metrics["train/grad_norm"] > 0.1
    assert all(our_metrics[name] == pytest.approx(their_metrics[name], rel=1e-5) for name in our_metrics)
    assert set(their_metrics) - set(our_metrics) == {"entropy/mean", "dmmpt/mpt_frac", "dmmpt/masked_frac"}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), ours, theirs)


def test_the_loop_s_update_takes_an_objective_whose_only_metric_is_none_of_ours(tmp_path):
    def reinforce(logp, entropy, micro, first):
        loss = -jax.numpy.sum(logp * micro.advantage * micro.mask) / micro.num_tokens
        return loss, {"own/loss": loss}

    parts = make_parts(runs.settings(runs.task(tmp_path / "task")), tmp_path / "run", reinforce)
    state = start_state(
        init_params(jax.random.key(0), parts.settings.model), parts.settings.model, parts.optimizer, parts.training
    )
    group = Group(0, tuple(make_samples(8)), np.tile(np.float32([0, 1]), 4))
    updated = loop_update(parts, state, [group], Clock())
    assert updated.values["own/loss"] != 0 and updated.values["train/updates"] == 1 and updated.masked == {}


def test_an_objective_of_your_own_gets_scores_only_where_a_step_makes_several_updates(tmp_path):
    task = runs.task(tmp_path / "task")

    def nothing(logp, entropy, micro, first):
        raise AssertionError("nothing is traced here")

    for updates, gate, wanted in ((1, "batch", False), (2, "sample", True)):
        settings = runs.settings(task | {"train.updates_per_step": updates})
        settings = dataclasses.replace(settings, loss=dataclasses.replace(settings.loss, gate=gate))
        assert (make_parts(settings, tmp_path / "run", nothing).score is not None) == wanted
        assert make_parts(settings, tmp_path / "run").score is not None
