"""The rotation: pairs, angles, and what it is for."""

import jax.numpy as jnp
import numpy as np
import pytest

from ulorl_jax.models.rope import apply_rope, rope_angles


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
