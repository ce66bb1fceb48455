"""ops.masked against plain loops; what a mask hides is never touched."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulorl_jax.ops.masked import masked_mean, masked_sum, sample_mean

SHAPE = (3, 10)


def mean_by_loops(values, mask, sample_ids):
    out = np.zeros(values.shape)
    for b in range(values.shape[0]):
        for t in range(values.shape[1]):
            mine = [u for u in range(values.shape[1]) if sample_ids[b, u] == sample_ids[b, t] and mask[b, u]]
            out[b, t] = np.mean(values[b, mine]) if mine else 0.0
    return out


def packed_ids(rng):
    """Rows of samples 1, 2, .. of random lengths, then padding 0."""
    ids = np.zeros(SHAPE, np.int32)
    for row in ids:
        ends = np.sort(rng.choice(np.arange(1, SHAPE[1] + 1), size=3, replace=False))
        for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True), start=1):
            row[start:end] = number
    return ids


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_sums_and_means_equal_plain_loops_whatever_lies_outside_the_mask(seed):
    rng = np.random.default_rng(seed)
    values, mask, ids = rng.normal(size=SHAPE).astype(np.float32), rng.random(SHAPE) < 0.6, packed_ids(rng)
    poisoned = np.where(mask, values, rng.choice([np.nan, np.inf, -np.inf], SHAPE)).astype(np.float32)
    kept = values[mask].astype(np.float64)
    np.testing.assert_allclose(masked_sum(poisoned, mask), kept.sum(), atol=1e-5)
    np.testing.assert_allclose(masked_mean(poisoned, mask), kept.mean() if kept.size else 0.0, atol=1e-5)
    np.testing.assert_allclose(sample_mean(poisoned, mask, ids), mean_by_loops(values, mask, ids), atol=1e-5)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_gradients_are_zero_outside_the_mask_and_exact_inside(poison):
    values = jnp.array([[1.0, poison, 3.0, poison]])
    mask, ids = jnp.array([[True, False, True, False]]), jnp.array([[1, 1, 1, 0]])
    np.testing.assert_array_equal(jax.grad(masked_sum)(values, mask), [[1, 0, 1, 0]])
    np.testing.assert_array_equal(jax.grad(masked_mean)(values, mask), [[0.5, 0, 0.5, 0]])
    first = jax.grad(lambda v: sample_mean(v, mask, ids)[0, 0])(values)
    np.testing.assert_array_equal(first, [[0.5, 0, 0.5, 0]])


def test_an_empty_mask_gives_zero_and_not_zero_over_zero():
    values, nothing = jnp.array([[1.0, jnp.nan]]), jnp.zeros((1, 2), bool)
    assert masked_sum(values, nothing) == 0.0
    assert masked_mean(values, nothing) == 0.0
    np.testing.assert_array_equal(sample_mean(values, nothing, jnp.ones((1, 2), int)), [[0.0, 0.0]])


def test_samples_of_different_rows_with_the_same_id_are_not_mixed():
    values = jnp.array([[1.0, 3.0], [10.0, 30.0]])
    means = sample_mean(values, jnp.full((2, 2), True), jnp.ones((2, 2), int))
    np.testing.assert_array_equal(means, [[2.0, 2.0], [20.0, 20.0]])
