"""ops.quantiles against NumPy's."""

import jax.numpy as jnp
import numpy as np
import pytest

from ulorl_jax.ops.quantiles import BINS, LARGEST, count, quantile

RNG = np.random.default_rng(0)
DRAWS = {
    "wide": RNG.normal(size=(4, 5000)),
    "narrow": 1e-3 * RNG.normal(size=(4, 5000)),
    "heavy tails": np.clip(RNG.standard_cauchy(size=(4, 5000)), -LARGEST, LARGEST),
    "all alike": np.full((4, 5000), -0.3),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_a_quantile_is_numpys_but_for_a_bins_width(name, share):
    values = DRAWS[name].astype(np.float32)
    counts = count(jnp.asarray(values), jnp.full(values.shape, True)).sum(0)
    wanted = np.quantile(values, share, method="inverted_cdf")
    assert float(quantile(counts, share)) == pytest.approx(wanted, rel=0.11, abs=1.1e-5)


def test_counts_of_parts_add_up_and_what_the_mask_hides_is_not_counted():
    values = DRAWS["wide"].astype(np.float32)
    mask = RNG.random(values.shape) < 0.5
    poisoned = np.where(mask, values, np.nan)
    whole = count(jnp.asarray(poisoned), jnp.asarray(mask))
    parts = [count(jnp.asarray(poisoned[:, i::3]), jnp.asarray(mask[:, i::3])) for i in range(3)]
    np.testing.assert_array_equal(whole, sum(parts))
    np.testing.assert_array_equal(whole.sum(1), mask.sum(1))


def test_values_out_of_range_are_counted_at_its_ends():
    counts = count(jnp.array([[-np.inf, -1e9, 1e9, np.inf]]), jnp.full((1, 4), True))[0]
    assert (counts[0], counts[BINS - 1]) == (2, 2)
    assert float(quantile(counts, 0.9)) == pytest.approx(LARGEST, rel=0.11)


def test_of_nothing_a_quantile_is_0():
    assert float(quantile(jnp.zeros(BINS), 0.5)) == 0
