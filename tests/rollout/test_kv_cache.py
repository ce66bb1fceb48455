"""The dense cache: what is read of its blocks, and what is written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tiny import make_config
from ulorl_jax.rollout.kv_cache import init_cache, insert, make_attend
from ulorl_jax.rollout.lanes import Chunk, Lanes
from ulorl_jax.rollout.slot_attention import blocks_for

CONFIG = make_config()
SLOTS, WIDTH = 3, 300  # five blocks of 64 on a CPU, one elsewhere


@pytest.fixture(scope="module", params=[True, False], ids=["as on a CPU", "as elsewhere"])
def cache(request):
    rng = np.random.default_rng(0)
    empty = init_cache(CONFIG, SLOTS, WIDTH, request.param)
    return jax.tree.map(lambda piece: jnp.asarray(rng.normal(size=piece.shape), jnp.float32), empty)


def by_hand(q, keys, values, end):
    """q [H, d] over the first positions of keys and values [W, K, d] of one slot."""
    out = []
    for head, query in enumerate(np.asarray(q)):
        weights = np.exp(keys[:end, head // 2] @ query)
        out.append(weights @ values[:end, head // 2] / weights.sum())
    return np.stack(out)


@pytest.mark.parametrize("longest", [0, 63, 64, 191, 255, 256, 299])
def test_a_token_is_written_at_its_position_and_sees_its_slots_context(cache, longest):
    rng = np.random.default_rng(longest)
    q, k, v = (jnp.asarray(rng.normal(size=(SLOTS, 1, heads, 16)), jnp.float32) for heads in (4, 2, 2))
    positions = jnp.array([longest // 2, longest, 0])
    attend = make_attend(Lanes(1, SLOTS), positions, jnp.ones(SLOTS, bool), None, None)
    out, written = attend(q, k, v, cache, 1)
    keys, values = (np.array(x) for x in cache.whole())
    for slot, at in enumerate(positions):
        keys[1, slot, at], values[1, slot, at] = k[slot, 0], v[slot, 0]
    np.testing.assert_array_equal(written.whole()[0], keys)
    np.testing.assert_array_equal(written.whole()[1], values)
    for slot, at in enumerate(positions):
        wanted = by_hand(q[slot, 0], keys[1, slot], values[1, slot], int(at) + 1)
        np.testing.assert_allclose(out[slot, 0], wanted, atol=1e-5)


def test_a_chunk_sees_its_context_in_all_blocks_and_itself(cache):
    rng = np.random.default_rng(1)
    q, k, v = (jnp.asarray(rng.normal(size=(6, 1, heads, 16)), jnp.float32) for heads in (4, 2, 2))
    at = jnp.array([[125, 126, 127], [297, 298, 299]])
    chunk = Chunk(jnp.array([2, 0]), at, jnp.ones((2, 3), bool))
    nobody = jnp.zeros(SLOTS, bool)
    attend = make_attend(Lanes(1, 0, 2, 3), jnp.zeros(SLOTS, jnp.int32), nobody, chunk, None)
    out, written = attend(q, k, v, cache, 1)
    keys, values = (np.asarray(x)[1] for x in written.whole())
    for i, (row, place) in enumerate([(r, c) for r in range(2) for c in range(3)]):
        slot, end = [2, 0][row], int(at[row, place]) + 1
        np.testing.assert_allclose(out[i, 0], by_hand(q[i, 0], keys[slot], values[slot], end), atol=1e-5)


@pytest.mark.parametrize("width", [200, 64, 20])
def test_a_prefix_is_put_in_whatever_its_blocks_are(cache, width):
    prefix = init_cache(CONFIG, 1, width, len(cache.k) > 1)
    prefix = jax.tree.map(lambda piece: piece + jnp.arange(piece.size).reshape(piece.shape), prefix)
    size = cache.k[0][0].shape[-1]
    touched = -(-width // size) * size
    for one, old, new in zip(prefix.whole(), cache.whole(), insert(cache, prefix, jnp.int32(2)).whole(), strict=True):
        np.testing.assert_array_equal(new[:, 2, :width], one[:, 0])
        np.testing.assert_array_equal(new[:, 2, touched:], old[:, 2, touched:])
        np.testing.assert_array_equal(new[:, :2], old[:, :2])


@pytest.mark.parametrize(
    ("width", "wanted"), [(20, (1, 20)), (64, (1, 64)), (300, (5, 64)), (4096, (64, 64)), (131_072, (64, 2048))]
)
def test_where_there_are_64_blocks_at_most_they_are_of_64_positions_or_more(width, wanted):
    assert blocks_for(width, 64, 64) == wanted


@pytest.mark.parametrize(
    ("width", "wanted"), [(1000, (1, 1000)), (4160, (5, 832)), (5000, (5, 1024)), (132_096, (129, 1024))]
)
def test_where_there_may_be_any_number_a_block_has_its_size_at_most(width, wanted):
    assert blocks_for(width, 1024) == wanted
