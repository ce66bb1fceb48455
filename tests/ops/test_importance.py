"""T5: which policy stands in the denominator, and what follows for loss and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ulorl_jax.ops.importance import on_policy, pseudo_on_policy, segment_aware
from ulorl_jax.ops.losses import clipped_surrogate_loss
from ulorl_jax.ops.packing import pack
from ulorl_jax.types import EOS, Prompt, Sample, Segment

B, T = 3, 9
CLIP = {"clip_low": 0.2, "clip_high": 0.28}


@pytest.fixture(scope="module")
def arrays():
    """logp, rollout_logp, advantage, mask and num_tokens; some ratios lie far outside the clip range."""
    rng = np.random.default_rng(0)
    logp = -rng.exponential(1.0, (B, T)).astype(np.float32)
    rollout_logp = (logp + rng.normal(0, 0.5, (B, T))).astype(np.float32)
    advantage = np.repeat(rng.normal(size=(B, 1)), T, axis=1).astype(np.float32)
    mask = np.arange(T) >= np.array([[2], [1], [4]])
    return logp, rollout_logp, advantage, mask, mask.sum()


def loss_of(importance, arrays, first_logp=None):
    """The loss as a function of logp, with old_logp by the given rule."""
    _, rollout_logp, advantage, mask, num_tokens = arrays

    def loss(logp):
        old_logp = importance(logp, rollout_logp, first_logp)
        return clipped_surrogate_loss(logp, old_logp, advantage, mask, num_tokens=num_tokens, **CLIP)

    return jax.value_and_grad(loss, has_aux=True)


def grpo(arrays):
    """Loss and gradient of GRPO's token-mean objective, token by token in float64."""
    logp, rollout_logp, advantage, mask, num_tokens = arrays
    loss, gradient = 0.0, np.zeros((B, T))
    for b, t in np.argwhere(mask):
        ratio, a = np.exp(np.float64(logp[b, t]) - rollout_logp[b, t]), advantage[b, t]
        limited = min(max(ratio, 1 - CLIP["clip_low"]), 1 + CLIP["clip_high"])
        loss -= min(ratio * a, limited * a) / num_tokens
        if ratio * a <= limited * a:
            gradient[b, t] = -ratio * a / num_tokens
    return loss, gradient


def test_pois_has_ratio_one_everywhere_and_clips_nothing(arrays):
    (_, metrics), _ = loss_of(pseudo_on_policy, arrays)(arrays[0])
    assert metrics["ratio/mean"] == 1.0
    assert metrics["ratio/clip_frac"] == metrics["ratio/outside_frac"] == 0.0
    ratio = jnp.exp(arrays[0] - pseudo_on_policy(*arrays[:2]))
    np.testing.assert_array_equal(ratio, np.ones((B, T)))


def test_the_gradient_of_pois_is_that_of_reinforce(arrays):
    logp, _, advantage, mask, num_tokens = arrays
    _, gradient = loss_of(pseudo_on_policy, arrays)(logp)
    reinforce = jax.grad(lambda x: -jnp.sum(jnp.where(mask, advantage * x, 0.0)) / num_tokens)(logp)
    assert np.any(reinforce)
    np.testing.assert_allclose(gradient, reinforce, rtol=1e-6)


@pytest.mark.parametrize("clip_low, clip_high", [(0.0, 0.0), (0.0, 0.2), (0.2, 0.0)])
def test_the_gradient_of_pois_is_that_of_reinforce_even_on_the_edge_of_the_clip_range(arrays, clip_low, clip_high):
    logp, rollout_logp, advantage, mask, num_tokens = arrays

    def loss(x):
        old = pseudo_on_policy(x, rollout_logp)
        return clipped_surrogate_loss(
            x, old, advantage, mask, num_tokens=num_tokens, clip_low=clip_low, clip_high=clip_high
        )[0]

    np.testing.assert_allclose(jax.grad(loss)(logp), np.where(mask, -advantage / num_tokens, 0.0), rtol=1e-6)


def test_pois_reads_the_first_weights_log_probs_where_a_step_makes_several_updates(arrays):
    logp, rollout_logp, *_ = arrays
    first = logp + 0.3
    np.testing.assert_array_equal(pseudo_on_policy(logp, rollout_logp, first), first)
    (_, metrics), _ = loss_of(pseudo_on_policy, arrays, first_logp=first)(logp)
    np.testing.assert_allclose(metrics["ratio/mean"], np.exp(-0.3), rtol=1e-5)
    # The first update of such a step: first_logp is logp, and all is as with one update.
    for several, one in zip(
        jax.tree.leaves(loss_of(pseudo_on_policy, arrays, first_logp=logp)(logp)),
        jax.tree.leaves(loss_of(pseudo_on_policy, arrays)(logp)),
        strict=True,
    ):
        np.testing.assert_array_equal(several, one)


@pytest.mark.parametrize("importance", [segment_aware, on_policy])
def test_sais_with_one_segment_is_grpo_in_loss_and_gradient(arrays, importance):
    want_loss, want_gradient = grpo(arrays)
    (loss, metrics), gradient = loss_of(importance, arrays)(arrays[0])
    assert 0.0 < metrics["ratio/clip_frac"] < metrics["ratio/outside_frac"] < 1.0
    np.testing.assert_allclose(loss, want_loss, atol=1e-6)
    np.testing.assert_allclose(gradient, want_gradient, atol=1e-6)


def test_sais_divides_each_segment_by_its_own_policy_and_pois_all_by_the_newest():
    # Segments drawn by policies that gave 0.5, 0.25 and 0.8; the policy in training gives 0.5 throughout.
    drawn = [(0.5, 3, 0), (0.25, 2, 1), (0.8, 2, 4)]
    sample = Sample(0, Prompt(0, np.array([7, 8]), ""))
    for p, n, step in drawn:
        sample = sample.append(Segment(np.zeros(n, np.int32), np.full(n, np.log(p), np.float32), step, "prefill"))
    sample = sample.append(Segment(np.zeros(1, np.int32), np.log([0.5]).astype(np.float32), 5, "prefill"), EOS)
    batch = pack([sample], np.ones(1), np.ones(1), lengths=[12], rows_per_micro_batch=1)
    logp = jnp.full((1, 12), jnp.log(0.5))
    response = slice(2, 10)
    sais = jnp.exp(logp - segment_aware(logp, batch.rollout_logp[0]))[0, response]
    pois = jnp.exp(logp - pseudo_on_policy(logp, batch.rollout_logp[0]))[0, response]
    np.testing.assert_allclose(sais, [1, 1, 1, 2, 2, 0.625, 0.625, 1], rtol=1e-6)
    np.testing.assert_array_equal(pois, np.ones(8))


@pytest.mark.parametrize("importance", [on_policy, segment_aware, pseudo_on_policy])
@pytest.mark.parametrize("with_first", [False, True])
def test_no_gradient_flows_through_the_denominator(arrays, importance, with_first):
    logp, rollout_logp, *_ = arrays
    first = logp - 0.1 if with_first else None
    gradients = jax.grad(lambda *args: jnp.sum(importance(*args)), argnums=(0, 1, 2) if with_first else (0, 1))(
        logp, rollout_logp, first
    )
    assert not any(np.any(gradient) for gradient in gradients)


def test_the_loss_itself_takes_no_gradient_from_old_logp(arrays):
    logp, rollout_logp, advantage, mask, num_tokens = arrays

    def loss(old_logp):
        return clipped_surrogate_loss(logp, old_logp, advantage, mask, num_tokens=num_tokens, **CLIP)[0]

    assert not np.any(jax.grad(loss)(rollout_logp))
