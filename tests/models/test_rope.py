"""The rotation: pairs, angles, and what it is for."""

import jax.numpy as jnp
import numpy as np
import pytest

from ulorl_jax.models.rope import RopeScaling, apply_rope, rope_angles


def rotate(x, positions, theta=1e4):
    return np.asarray(apply_rope(jnp.asarray(x), *rope_angles(jnp.asarray(positions), x.shape[-1], theta)))


def heads(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_pairs_half_a_head_apart_turn_as_complex_numbers_do():
    x, positions, theta = heads(0, 2, 5, 3, 8), np.array([[0, 1, 2, 3, 4], [0, 1, 0, 1, 9]]), 50.0
    turn = np.exp(1j * positions[..., None, None] * theta ** (-np.arange(4) / 4))
    wanted = (x[..., :4] + 1j * x[..., 4:]) * turn
    np.testing.assert_allclose(rotate(x, positions, theta), np.concatenate([wanted.real, wanted.imag], -1), atol=1e-5)


def test_the_first_token_is_not_turned():
    x = heads(1, 1, 1, 2, 8)
    np.testing.assert_array_equal(rotate(x, np.zeros((1, 1), int)), x)


@pytest.mark.parametrize("shift", [1, 1000])
def test_a_query_meets_a_key_by_their_distance_alone(shift):
    q, k = heads(2, 1, 6, 1, 16), heads(3, 1, 6, 1, 16)
    positions = np.arange(6)[None]

    def scores(at):
        return np.einsum("bthd,bshd->ts", rotate(q, at), rotate(k, at))

    np.testing.assert_allclose(scores(positions + shift), scores(positions), atol=5e-3)
    assert np.abs(scores(positions) - np.einsum("bthd,bshd->ts", q, k)).max() > 0.1


def test_the_last_position_of_a_128k_context_is_still_turned_to_the_right_angle():
    position, half, theta = 131_071, 64, 1e6
    cos, sin = rope_angles(jnp.array([[position]]), 2 * half, theta)
    angle = position * theta ** (-np.arange(half) / half)  # float64
    # float32 holds an angle of 131,071 to 0.004; frequencies are rounded to as much again.
    np.testing.assert_allclose(cos[0, 0, 0], np.cos(angle), atol=0.02)
    np.testing.assert_allclose(sin[0, 0, 0], np.sin(angle), atol=0.02)


def test_a_bfloat16_head_is_turned_in_float32_and_comes_back_as_bfloat16():
    x = heads(4, 1, 300, 1, 8)
    low = jnp.asarray(x, jnp.bfloat16)
    out = apply_rope(low, *rope_angles(jnp.arange(300)[None], 8, 1e4))
    assert out.dtype == jnp.bfloat16
    wanted = rotate(np.asarray(low, np.float32), np.arange(300)[None])
    # One rounding at the end: 8 bits. An angle of 299 rounded to bfloat16 would be off by up to 1.
    np.testing.assert_allclose(np.asarray(out, np.float32), wanted, rtol=2**-8, atol=1e-6)


# YaRN.


def slow_down_by_hand(half, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    """Each pair's frequency over its old one, by walking along the pairs."""

    def pair(turns):  # theta ** (-pair / half) * original == turns * 2 pi
        return half * np.log(original / (turns * 2 * np.pi)) / np.log(theta)

    first, last = max(np.floor(pair(beta_fast)), 0), min(np.ceil(pair(beta_slow)), 2 * half - 1)
    kept = [min(max(1 - (i - first) / (last - first), 0), 1) for i in range(half)]
    return np.array([k + (1 - k) / factor for k in kept])


def test_factor_1_is_off_to_the_bit():
    positions = jnp.arange(0, 40_000, 997)[None]
    off = RopeScaling(1.0, 4096, 0.0, 16.0, 2.0)
    plain, scaled = rope_angles(positions, 64, 1e6), rope_angles(positions, 64, 1e6, off)
    for one, other in zip(plain, scaled, strict=True):
        np.testing.assert_array_equal(one, other)
    assert off.effect == RopeScaling().effect == ()


def test_the_papers_140k_setting_slows_pairs_down_between_its_two_ends():
    scaling = RopeScaling(1.5, 95_232)  # UloRL, 4.1
    cos, sin = (np.asarray(x, np.float64)[0, :, 0] for x in rope_angles(jnp.array([[0, 1]]), 128, 1e6, scaling))
    magnitude = 0.1 * np.log(1.5) + 1
    np.testing.assert_allclose(cos[0], magnitude, rtol=1e-6)  # position 0: cos is 1
    np.testing.assert_allclose(cos**2 + sin**2, magnitude**2, rtol=1e-5)
    wanted = slow_down_by_hand(64, 1e6, 1.5, 95_232) * 1e6 ** (-np.arange(64) / 64)
    np.testing.assert_allclose(np.arctan2(sin[1], cos[1]), wanted, rtol=1e-4, atol=1e-7)
    # A pair that turned often keeps its frequency, one that never came round is slowed down by the whole factor.
    ratio = wanted * 1e6 ** (np.arange(64) / 64)
    assert np.allclose(ratio[:29], 1) and np.allclose(ratio[45:], 1 / 1.5) and (np.diff(ratio[28:46]) < 0).all()


def test_an_attention_factor_takes_the_place_of_the_formula():
    positions = jnp.array([[7]])
    one, other = (rope_angles(positions, 8, 50.0, RopeScaling(2.0, 64, m)) for m in (0.0, 1.3))
    ratio = 1.3 / (0.1 * np.log(2) + 1)
    for by_formula, given in zip(one, other, strict=True):
        np.testing.assert_allclose(np.asarray(by_formula) * ratio, given, rtol=1e-6)


@pytest.mark.parametrize("setting", [(1.5, 342, 10), (4.0, 32_768, 0.9), (2.0, 7, 0), (2.0, 3, 0)])
def test_angles_and_magnitude_are_those_of_transformers(setting):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers", minversion="5")
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    factor, original, attention_factor = setting
    rope = {"rope_type": "yarn", "rope_theta": 1e4, "factor": factor, "original_max_position_embeddings": original}
    rope |= {"attention_factor": attention_factor} if attention_factor else {}
    config = transformers.Qwen3Config(head_dim=32, rope_parameters=rope, max_position_embeddings=int(factor * original))
    frequency, magnitude = ROPE_INIT_FUNCTIONS["yarn"](config, "cpu")
    scaling = RopeScaling(factor, original, attention_factor)
    cos, sin = (np.asarray(x)[0, 0, 0] for x in rope_angles(jnp.array([[1]]), 32, 1e4, scaling))
    np.testing.assert_allclose(np.arctan2(sin, cos), frequency.numpy(), rtol=1e-4)
    np.testing.assert_allclose(np.hypot(cos, sin), magnitude, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factor": 0.5}, r"factor must be at least 1 \(1 is off\), got 0.5"),
        ({"factor": float("nan")}, "factor must be at least 1"),
        ({"factor": 2.0}, "factor=2.0 needs original_max_position_embeddings.* got 0"),
        ({"attention_factor": 1.2}, "factor=1 is off, attention_factor=1.2 would be without effect"),
        ({"attention_factor": -1.0}, "attention_factor must be at least 0, got -1.0"),
        ({"beta_fast": 1.0}, "0 < beta_slow < beta_fast, got 1.0 and 1.0"),
    ],
)
def test_a_scaling_that_is_not_defined_is_refused_with_its_reason(change, message):
    with pytest.raises(ValueError, match=message):
        RopeScaling(**change)
