"""The dense cache: what is read of its stretches, and what is written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tiny import make_config
from ulorl_jax.rollout.kv_cache import init_cache, insert, make_attend
from ulorl_jax.rollout.lanes import Chunk, Lanes

CONFIG = make_config()
SLOTS, WIDTH = 3, 300  # read up to 128, 192, 256 or all


@pytest.fixture(scope="module", params=[True, False], ids=["unstacked", "stacked"])
def cache(request):
    rng = np.random.default_rng(0)
    empty = init_cache(CONFIG, SLOTS, WIDTH, request.param)
    return jax.tree.map(lambda piece: jnp.asarray(rng.normal(size=piece.shape), jnp.float32), empty)


@pytest.mark.parametrize("longest", [0, 127, 128, 191, 255, 256, 299])
def test_reading_up_to_the_longest_context_is_reading_all(cache, longest):
    rng = np.random.default_rng(longest)
    q, k, v = (jnp.asarray(rng.normal(size=(SLOTS, 1, heads, 16)), jnp.float32) for heads in (4, 2, 2))
    positions = jnp.array([longest, longest // 2, 0])
    decoding = jnp.ones(SLOTS, bool)
    part, written = make_attend(Lanes(1, SLOTS), positions, decoding, None)(q, k, v, cache, 1)
    last = jnp.array([longest, longest // 2, WIDTH - 1])  # somebody is that far, so all is read
    whole, _ = make_attend(Lanes(1, SLOTS), last, decoding, None)(q, k, v, cache, 1)
    np.testing.assert_allclose(part[:2], whole[:2], atol=1e-6)
    keys, values = (np.array(x) for x in cache.whole())
    for slot, at in enumerate(positions):
        keys[1, slot, ..., at], values[1, slot, :, at] = k[slot, 0], v[slot, 0]
    np.testing.assert_array_equal(written.whole()[0], keys)
    np.testing.assert_array_equal(written.whole()[1], values)


def test_a_chunk_sees_its_context_in_all_stretches_and_itself(cache):
    rng = np.random.default_rng(1)
    q, k, v = (jnp.asarray(rng.normal(size=(6, 1, heads, 16)), jnp.float32) for heads in (4, 2, 2))
    at = jnp.array([[125, 126, 127], [297, 298, 299]])
    chunk = Chunk(jnp.array([2, 0]), at, jnp.ones((2, 3), bool))
    nobody = jnp.zeros(SLOTS, bool)
    out, written = make_attend(Lanes(1, 0, 2, 3), jnp.zeros(SLOTS, jnp.int32), nobody, chunk)(q, k, v, cache, 1)
    keys, values = (np.asarray(x)[1] for x in written.whole())
    for i, (row, place) in enumerate([(r, c) for r in range(2) for c in range(3)]):
        slot, end = [2, 0][row], int(at[row, place]) + 1
        for head in range(4):
            weights = np.exp(np.asarray(q[i, 0, head]) @ keys[slot, head // 2, :, :end])
            wanted = weights @ values[slot, head // 2, :end] / weights.sum()
            np.testing.assert_allclose(out[i, 0, head], wanted, atol=1e-5)


def test_a_prefix_is_put_in_across_stretches(cache):
    prefix = init_cache(CONFIG, 1, 200, len(cache.k) > 1)
    prefix = jax.tree.map(lambda piece: piece + jnp.arange(piece.size).reshape(piece.shape), prefix)
    for one, old, new in zip(prefix.whole(), cache.whole(), insert(cache, prefix, jnp.int32(2)).whole(), strict=True):
        axis = 4 if one.shape[4] == 200 else 3
        np.testing.assert_array_equal(np.take(new[:, 2], range(200), axis - 1), one[:, 0])
        np.testing.assert_array_equal(
            np.take(new[:, 2], range(200, 300), axis - 1), np.take(old[:, 2], range(200, 300), axis - 1)
        )
        np.testing.assert_array_equal(new[:, :2], old[:, :2])
