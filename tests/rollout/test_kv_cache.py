"""The dense cache: how much of it a decode step reads."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.tiny import make_config
from ulorl_jax.rollout.kv_cache import KVCache, init_cache, make_attend
from ulorl_jax.rollout.lanes import Lanes

CONFIG = make_config()
SLOTS, WIDTH = 3, 300  # read up to 128, 192, 256 or all


@pytest.fixture(scope="module")
def cache():
    rng = np.random.default_rng(0)
    empty = init_cache(CONFIG, SLOTS, WIDTH)
    return KVCache(*(jnp.asarray(rng.normal(size=leaf.shape), jnp.float32) for leaf in (empty.k, empty.v)))


@pytest.mark.parametrize("longest", [0, 127, 128, 191, 255, 256, 299])
def test_reading_up_to_the_longest_context_is_reading_all(cache, longest):
    rng = np.random.default_rng(longest)
    q, k, v = (jnp.asarray(rng.normal(size=(SLOTS, 1, heads, 16)), jnp.float32) for heads in (4, 2, 2))
    positions = jnp.array([longest, longest // 2, 0])
    decoding = jnp.ones(SLOTS, bool)
    part, written = make_attend(Lanes(1, SLOTS), positions, decoding, None)(q, k, v, cache, jnp.int32(1))
    last = jnp.array([longest, longest // 2, WIDTH - 1])  # somebody is that far, so all is read
    whole, _ = make_attend(Lanes(1, SLOTS), last, decoding, None)(q, k, v, cache, jnp.int32(1))
    np.testing.assert_allclose(part[:2], whole[:2], atol=1e-6)
    np.testing.assert_array_equal(written.k[1, 0, ..., longest], k[0, 0])
    np.testing.assert_array_equal(written.v[1, 0, :, longest], v[0, 0])
    np.testing.assert_array_equal(written.k[0], cache.k[0])
