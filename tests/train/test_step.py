"""One update: T3 (nothing depends on how the batch was split), T5, updates that are skipped, and compilations."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from tests.tiny import (
    make_config,
    make_layout,
    make_optimizer_settings,
    make_params,
    make_samples,
)
from ulorl_jax.mesh import Layout
from ulorl_jax.ops.importance import pseudo_on_policy
from ulorl_jax.ops.losses import ulorl_loss
from ulorl_jax.ops.packing import pack
from ulorl_jax.train.drift import RATIO_QUANTILES
from ulorl_jax.train.state import make_optimizer, start_state, state_shardings
from ulorl_jax.train.step import PER_TOKEN, StepSettings, batch_shardings, make_score, make_train_step

CONFIG = make_config()
SAMPLES = make_samples(10, policy_steps=(0, 2))
rng = np.random.default_rng(0)
ADVANTAGES = rng.normal(size=len(SAMPLES)).astype(np.float32)
REWARDS = (ADVANTAGES > 0).astype(np.float32)
# eps well above rounding, so that Adam does not blow up the sign of a gradient that is almost 0
OPTIMIZER = make_optimizer(make_optimizer_settings(eps=1e-3, weight_decay=0.1, clip_norm=1.0))


def objective(logp, entropy, micro, first, *, gate="sample"):
    """Equation (10); tau so low and sigma so high that DMMPT masks some of the tokens of a random network."""
    return ulorl_loss(
        logp,
        pseudo_on_policy(logp, micro.rollout_logp, None if first is None else first.logp),
        entropy,
        micro.advantage,
        micro.reward,
        micro.mask,
        micro.sample_ids,
        num_tokens=micro.num_tokens,
        clip_low=0.2,
        clip_high=0.28,
        tau=0.01,
        sigma=4.0,
        gate=gate,
        batch_entropy=None if first is None else first.entropy,
    )


@functools.cache
def step_of(config=CONFIG, layout: Layout | None = None, **choices):
    settings = StepSettings(temperature=0.85, logprob_chunk=20)
    chosen = functools.partial(objective, **choices)
    return make_train_step(config, chosen, OPTIMIZER, layout or make_layout("training"), settings)


@functools.cache
def score_of(layout: Layout | None = None):
    return make_score(CONFIG, layout or make_layout("training"), StepSettings(temperature=0.85, logprob_chunk=20))


def make_state(config=CONFIG, layout: Layout | None = None):
    layout = layout or make_layout("training")
    params = jax.device_put(make_params(config), state_shardings(config, OPTIMIZER, layout).params)
    return start_state(params, config, OPTIMIZER, layout)


def make_batch(*, times=1, length=96, rows=2, garbage=False, turned=False):
    """The ten samples, `times` over, packed; `garbage` in the micro-batches that are padding; rows last to first where
    `turned`."""
    given = SAMPLES * times, np.tile(ADVANTAGES, times), np.tile(REWARDS, times)
    batch = pack(*given, lengths=[length], rows_per_micro_batch=rows)
    changes = {name: getattr(batch, name).copy() for name in PER_TOKEN if garbage or turned}
    real = int(batch.num_micro_batches)
    assert not garbage or len(batch.tokens) > real
    for array in changes.values():
        if garbage:
            array[real:] = np.nan if array.dtype == np.float32 else 1
        if turned:
            array[:real] = array[:real][::-1, ::-1].copy()
    return dataclasses.replace(batch, **changes)


def host(tree):
    return jax.tree.map(np.array, tree)


def assert_same_update(one, other):
    """States and metrics equal but for rounding."""
    (state, metrics), (other_state, other_metrics) = one, other
    assert metrics.keys() == other_metrics.keys()
    for name in metrics:
        np.testing.assert_allclose(other_metrics[name], metrics[name], rtol=2e-5, atol=2e-6, err_msg=name)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-4, atol=2e-6), state, other_state)


@pytest.fixture(scope="module")
def update():
    """State and metrics after one update of the plain batch on one device."""
    return host(step_of()(make_state(), make_batch(), None))


def test_the_update_moves_every_parameter_and_masks_some_tokens(update):
    state, metrics = update
    moved = jax.tree.map(lambda new, old: np.abs(new - old).max(), state.params, host(make_state().params))
    assert min(jax.tree.leaves(moved)) > 1e-5
    assert int(state.step) == 1 and 0.05 < metrics["dmmpt/masked_frac"] < 0.95 and metrics["train/grad_norm"] > 0.1


@pytest.mark.parametrize(
    "packing", [{"rows": 1}, {"rows": 1, "garbage": True}, {"rows": 8, "length": 48}, {"turned": True}], ids=str
)
def test_T3_the_update_does_not_depend_on_how_the_samples_are_packed_and_split(update, packing):
    plain, other = make_batch(), make_batch(**packing)
    assert plain.tokens.shape != other.tokens.shape or (plain.tokens != other.tokens).any()
    # Placed as the compilation's test below places it: one program serves both.
    placed = jax.device_put(other, batch_shardings(make_layout("training")))
    assert_same_update(update, host(step_of()(make_state(), placed, None)))


def test_what_stands_in_padding_and_prompts_is_never_read(update):
    batch = make_batch()
    padding, unsampled = batch.sample_ids == 0, ~batch.mask
    changes = {name: np.where(unsampled, np.nan, getattr(batch, name)) for name in ("rollout_logp", "advantage")}
    changes["tokens"] = np.where(padding, 17, batch.tokens)
    changes["reward"] = np.where(padding, 1, batch.reward)
    changes["policy_step"] = np.where(unsampled, 99, batch.policy_step)
    dirty = dataclasses.replace(batch, **{k: v.astype(getattr(batch, k).dtype) for k, v in changes.items()})
    assert padding.any()
    got = host(step_of()(make_state(), dirty, None))
    jax.tree.map(np.testing.assert_array_equal, got, update)


def test_T5_pois_with_one_update_has_ratio_1_and_clips_nothing(update):
    _, metrics = update
    assert metrics["ratio/mean"] == pytest.approx(1, abs=1e-6)
    assert metrics["ratio/clip_frac"] == metrics["ratio/outside_frac"] == 0


def test_with_several_updates_pois_keeps_the_first_weights_in_the_denominator():
    batch, state = make_batch(), make_state()
    first = score_of()(state.params, batch)
    step = step_of(gate="batch")
    state, one = step(state, batch, first)
    state, two = step(state, batch, first)
    assert float(one["ratio/mean"]) == pytest.approx(1, abs=1e-6)
    assert float(one["ratio/clip_frac"]) == float(one["ratio/outside_frac"]) == 0
    assert abs(float(two["ratio/mean"]) - 1) > 1e-3
    assert float(two["ratio/outside_frac"]) > 0 and int(state.step) == 2


@pytest.mark.parametrize("packing", [{"rows": 1}, {"rows": 1, "garbage": True}], ids=str)
def test_the_batchs_entropy_gates_alike_however_the_batch_is_split(packing):
    def updated(batch):
        state = make_state()
        first = score_of()(state.params, batch)
        return host(step_of(gate="batch")(state, batch, first)), first

    one, scores = updated(make_batch())
    other, other_scores = updated(make_batch(**packing))
    assert float(other_scores.entropy) == pytest.approx(float(scores.entropy), rel=1e-5)
    assert 3 < float(scores.entropy) < 4 and one[1]["dmmpt/masked_frac"] > 0.05
    assert_same_update(one, other)


def test_scores_are_the_log_probs_and_the_entropy_of_the_update(update):
    batch = make_batch()
    scores = score_of()(make_state().params, batch)
    assert float(scores.entropy) == pytest.approx(float(update[1]["entropy/mean"]), rel=1e-5)
    # staleness/kl is the mean of exp(gap) - 1 - gap over all sampled tokens
    gap = (np.asarray(scores.logp) - batch.rollout_logp)[batch.mask]
    assert (np.expm1(gap) - gap).mean() == pytest.approx(float(update[1]["staleness/kl"]), rel=1e-4)


def test_drift_is_split_by_the_age_of_the_policy_that_drew_a_token():
    batch, state = make_batch(), make_state()
    state = dataclasses.replace(state, step=jax.device_put(np.int32(2), state.step.sharding))
    logp = np.asarray(score_of()(state.params, batch).logp)
    gap = (logp - batch.rollout_logp)[batch.mask]
    fresh = batch.policy_step[batch.mask] == 2
    _, metrics = host(step_of()(state, batch, None))
    assert 0 < fresh.sum() < len(fresh)
    assert metrics["mismatch/kl"] == pytest.approx((np.expm1(gap) - gap)[fresh].mean(), rel=1e-4)
    assert metrics["mismatch/max"] == pytest.approx(np.abs(gap)[fresh].max(), rel=1e-5)
    for name, share in RATIO_QUANTILES.items():  # ops.quantiles: off by a tenth of the log-ratio at most
        wanted = np.quantile(gap, share, method="inverted_cdf")
        assert np.log(metrics[f"staleness/ratio_{name}"]) == pytest.approx(wanted, rel=0.11, abs=2e-5)
    assert metrics["staleness/steps"] == pytest.approx((2 - batch.policy_step[batch.mask]).mean(), rel=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_batch_that_is_not_finite_changes_nothing_and_is_counted(bad):
    batch = make_batch()
    a, b, t = np.argwhere(batch.mask & (batch.reward == 0))[5]  # a wrong answer's: DMMPT never leaves it out
    poisoned = dataclasses.replace(batch, advantage=batch.advantage.copy())
    poisoned.advantage[a, b, t] = bad
    step = step_of()
    state, _ = step(make_state(), batch, None)  # one good update: moments that are not 0
    before = host(state)
    for row in (1, 2):
        state, metrics = step(state, poisoned, None)
        jax.tree.map(np.testing.assert_array_equal, host(state.params), before.params)
        jax.tree.map(np.testing.assert_array_equal, host(state.opt_state), before.opt_state)
        assert (int(state.step), int(state.skipped), int(state.skipped_in_a_row)) == (1, row, row)
        assert int(metrics["train/skipped"]) == 1
    state, metrics = step(state, batch, None)
    assert (int(state.step), int(state.skipped), int(state.skipped_in_a_row)) == (2, 2, 0)
    assert int(metrics["train/skipped"]) == 0
    # What was skipped left no trace: this is the second update of a run without it.
    clean, _ = step(make_state(), batch, None)
    clean, _ = step(clean, batch, None)
    jax.tree.map(np.testing.assert_array_equal, host(state.params), host(clean.params))


def test_an_update_that_would_make_weights_infinite_changes_nothing_though_loss_and_gradient_are_finite():
    optimizer = make_optimizer(make_optimizer_settings(learning_rate=1e38, eps=1e-3, weight_decay=1e3, clip_norm=1.0))
    settings = StepSettings(temperature=0.85, logprob_chunk=20)
    step = make_train_step(CONFIG, objective, optimizer, make_layout("training"), settings)
    state = start_state(make_state().params, CONFIG, optimizer, make_layout("training"))
    before = host(state)
    state, metrics = step(state, make_batch(), None)
    assert int(metrics["train/skipped"]) == 1 and np.isfinite(metrics["train/grad_norm"])
    jax.tree.map(np.testing.assert_array_equal, host(state.params), before.params)


def test_the_state_is_donated():
    state = make_state()
    step_of()(state, make_batch(), None)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize("on_eight", [False, True], ids=["one device", "eight devices"])
def test_one_compilation_serves_every_micro_batch_count_of_a_power_of_two(devices, on_eight):
    layout = make_layout("training", devices, data=2, fsdp=4) if on_eight else make_layout("training")
    batch = make_batch(rows=8, length=48) if on_eight else make_batch(rows=1)
    count, padded = int(batch.num_micro_batches), len(batch.tokens)
    assert on_eight or (count, padded) == (3, 4)
    step, state, compiled = step_of(layout=layout), make_state(layout=layout), []
    for real in (count, padded, 1):  # the state that comes out goes in again
        placed = dataclasses.replace(batch, num_micro_batches=np.int32(real))
        state, _ = step(state, jax.device_put(placed, batch_shardings(layout)), None)
        compiled.append(step._cache_size())
    assert compiled[0] == compiled[1] == compiled[2]
