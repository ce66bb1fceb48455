"""Equations (9) and (10): well-mastered positive tokens and the gate that leaves them out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ulorl_jax.ops.losses import clipped_surrogate_loss, ulorl_loss
from ulorl_jax.ops.mastered import dynamic_mask, mastered_positive_mask

# One packed row, by hand: a prompt token and three sampled ones, twice over, then padding.
#   sample 1, right, H = (0.05 + 0.10 + 0.15) / 3 = 0.10 < sigma = 0.2: its mastered tokens are left out
#   sample 2, right, H = (0.10 + 0.60 + 0.20) / 3 = 0.30: its mastered tokens are trained
#   sample 3, wrong, H = 0.01: nothing of it is mastered, however sure the policy is
#          s1: prompt, 3 sampled      s2: prompt, 3 sampled      s3: prompt, 1 sampled   padding
P = np.array([[0.999, 0.995, 0.50, 0.992, 0.999, 0.995, 0.30, 0.98, 0.999, 0.999, 0.999]])
H = np.array([[9.0, 0.05, 0.10, 0.15, 0.0, 0.10, 0.60, 0.20, 9.0, 0.01, 0.0]], np.float32)
REWARD = np.array([[1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1]], np.float32)
MASK = np.array([[0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 0]], bool)
IDS = np.array([[1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 0]], np.int32)
MASTERED = np.array([[0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0]], bool)  # 0.98 is under tau
LEFT_OUT = np.array([[0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0]], bool)
LOGP = np.log(P).astype(np.float32)
NUM_TOKENS = 7
TAU, SIGMA = 0.99, 0.2


def masked(sigma=SIGMA, **options):
    return np.asarray(dynamic_mask(LOGP, H, REWARD, MASK, IDS, tau=TAU, sigma=sigma, **options))


def test_equation_9_by_hand():
    np.testing.assert_array_equal(mastered_positive_mask(LOGP, REWARD, MASK, tau=TAU), MASTERED)


def test_a_token_of_probability_exactly_tau_is_mastered():
    logp = jnp.log(jnp.array([[0.5, 0.4999]]))
    got = mastered_positive_mask(logp, jnp.ones((1, 2)), jnp.full((1, 2), True), tau=0.5)
    np.testing.assert_array_equal(got, [[True, False]])


def test_equation_10_by_hand_with_the_gate_of_each_sample_in_a_packed_row():
    np.testing.assert_array_equal(masked(), LEFT_OUT)


def test_the_gate_is_strict():
    ones, yes = jnp.ones((1, 2)), jnp.full((1, 2), True)
    measured = jnp.full((1, 2), 0.25)
    gate = functools.partial(dynamic_mask, jnp.zeros((1, 2)), measured, ones, yes, ones.astype(int), tau=TAU)
    assert not np.any(gate(sigma=0.25))
    assert np.all(gate(sigma=0.2500001))


@pytest.mark.parametrize("gate", ["sample", "batch"])
def test_sigma_zero_never_masks_and_sigma_infinity_always_does(gate):
    assert not np.any(masked(sigma=0.0, gate=gate))
    np.testing.assert_array_equal(masked(sigma=np.inf, gate=gate), MASTERED)


def test_the_batch_gate_compares_the_token_mean_of_the_whole_batch():
    mean = H[MASK].sum() / NUM_TOKENS  # 1.21 / 7 = 0.173
    np.testing.assert_array_equal(masked(sigma=mean + 1e-3, gate="batch"), MASTERED)
    assert not np.any(masked(sigma=mean - 1e-3, gate="batch"))


def test_the_batch_gate_given_the_global_entropy_does_not_depend_on_the_micro_batch_split():
    rows = [np.concatenate([x, x[:, ::-1]]) for x in (LOGP, H, REWARD, MASK, IDS)]
    rows[1][1] *= 3.0  # the second row alone would say otherwise
    sigma = 0.25
    whole = dynamic_mask(*rows, tau=TAU, sigma=sigma, gate="batch")
    mean = rows[1][rows[3]].mean()
    assert H[MASK].mean() < sigma < mean

    def split(batch_entropy):
        parts = [
            dynamic_mask(*(x[r : r + 1] for x in rows), tau=TAU, sigma=sigma, gate="batch", batch_entropy=batch_entropy)
            for r in range(2)
        ]
        return np.concatenate(parts)

    np.testing.assert_array_equal(split(mean), whole)
    assert np.any(split(None) != whole)


def test_a_poisoned_token_outside_the_mask_opens_no_gate():
    for poison in (np.nan, np.inf, -np.inf):
        arrays = [np.where(MASK, x, np.float32(poison)) for x in (LOGP, H, REWARD)]
        for gate in ("sample", "batch"):
            got = dynamic_mask(*arrays, MASK, IDS, tau=TAU, sigma=SIGMA, gate=gate)
            np.testing.assert_array_equal(got, masked(gate=gate))


def test_an_unknown_gate_is_refused_by_name():
    with pytest.raises(ValueError, match='gate must be "sample" or "batch", got \'token\''):
        masked(gate="token")


ADVANTAGE = np.where(IDS == 3, -2.0, 1.0).astype(np.float32)
OLD_LOGP = (LOGP + np.linspace(-0.4, 0.4, LOGP.shape[1])).astype(np.float32)
CLIP = {"clip_low": 0.2, "clip_high": 0.2}


def loss_and_gradient(sigma, logp=LOGP, gate="sample"):
    def loss(x):
        return ulorl_loss(
            x,
            OLD_LOGP,
            H,
            ADVANTAGE,
            REWARD,
            MASK,
            IDS,
            num_tokens=NUM_TOKENS,
            tau=TAU,
            sigma=sigma,
            gate=gate,
            **CLIP,
        )

    return jax.value_and_grad(loss, has_aux=True)(logp)


def plain(mask):
    def loss(x):
        return clipped_surrogate_loss(x, OLD_LOGP, ADVANTAGE, mask, num_tokens=NUM_TOKENS, **CLIP)

    return jax.value_and_grad(loss, has_aux=True)(LOGP)


@pytest.mark.parametrize("gate", ["sample", "batch"])
@pytest.mark.parametrize(
    "sigma, left_out", [(0.0, np.zeros_like(MASK)), (np.inf, MASTERED)], ids=["sigma is zero", "sigma is infinite"]
)
def test_dmmpt_at_its_ends_is_the_plain_loss_with_none_or_all_mastered_tokens_left_out(sigma, left_out, gate):
    (loss, metrics), gradient = loss_and_gradient(sigma, gate=gate)
    (want, want_metrics), want_gradient = plain(MASK & ~left_out)
    assert loss == want
    np.testing.assert_array_equal(gradient, want_gradient)
    (_, all_metrics), _ = plain(MASK)  # the ratios are measured on tokens left out too
    want_metrics |= {name: all_metrics[name] for name in ("ratio/mean", "ratio/outside_frac")}
    for name, value in want_metrics.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(metrics["dmmpt/masked_frac"], left_out.sum() / NUM_TOKENS)
    np.testing.assert_allclose(metrics["dmmpt/mpt_frac"], 3 / NUM_TOKENS)


def test_masked_tokens_take_no_gradient_and_stay_in_the_denominator():
    def loss(x):
        old = jax.lax.stop_gradient(x)
        return ulorl_loss(x, old, H, ADVANTAGE, REWARD, MASK, IDS, num_tokens=NUM_TOKENS, tau=TAU, sigma=SIGMA, **CLIP)

    (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(LOGP)
    # The ratio is 1 (POIS): one token of sample 1 and three of sample 2 with A = 1, one of sample 3 with A = -2.
    np.testing.assert_allclose(value, -(1 * 1 + 3 * 1 - 2) / 7, rtol=1e-6)
    np.testing.assert_allclose(gradient, np.where(MASK & ~LEFT_OUT, -ADVANTAGE / 7, 0.0), rtol=1e-6)
    np.testing.assert_allclose(metrics["dmmpt/masked_frac"], 2 / 7, rtol=1e-6)
    np.testing.assert_allclose(metrics["dmmpt/mpt_frac"], 3 / 7, rtol=1e-6)
    np.testing.assert_allclose(metrics["entropy/mean"], 1.21 / 7, rtol=1e-6)
    np.testing.assert_allclose(metrics["ratio/mean"], 1.0, rtol=1e-6)


def test_the_mask_carries_no_gradient_of_entropy_or_reward():
    def loss(entropy, reward):
        return ulorl_loss(
            LOGP,
            OLD_LOGP,
            entropy,
            ADVANTAGE,
            reward,
            MASK,
            IDS,
            num_tokens=NUM_TOKENS,
            tau=TAU,
            sigma=SIGMA,
            **CLIP,
        )[0]

    assert not any(np.any(gradient) for gradient in jax.grad(loss, argnums=(0, 1))(H, REWARD))
