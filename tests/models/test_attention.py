"""Attention against loops, and its two forms against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ulorl_jax.models.attention import Blocks, blockwise_attention, packed_attention

H, K, D = 4, 2, 8


def arrays(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def by_loops(q, k, v, visible):
    """q [B,T,H,d], k and v [B,S,K,d], visible [B,T,S], in float64."""
    out = np.zeros(q.shape)
    for b, t, h in np.ndindex(q.shape[:3]):
        see = visible[b, t]
        scores = k[b, see, h * K // H].astype(np.float64) @ q[b, t, h]
        weights = np.exp(scores - scores.max())
        out[b, t, h] = weights / weights.sum() @ v[b, see, h * K // H]
    return out


def test_packed_tokens_see_earlier_tokens_of_their_own_sample_only():
    q, k, v = arrays(0, (2, 9, H, D), (2, 9, K, D), (2, 9, K, D))
    ids = np.array([[1, 1, 1, 2, 2, 3, 3, 0, 0], [1, 2, 2, 2, 2, 2, 2, 2, 2]])
    visible = np.tril(np.ones((9, 9), bool)) & (ids[:, :, None] == ids[:, None, :])
    np.testing.assert_allclose(packed_attention(q, k, v, jnp.asarray(ids)), by_loops(q, k, v, visible), atol=1e-5)


def over_cache(q, k, v, positions, block=4, slots=None, apart=False):
    """`blockwise_attention` over keys and values [C, W, K, d] of arrays as they are, W a multiple of the block."""

    def read(slots, i):
        held = (jnp.asarray(x)[slots] for x in (k, v))
        keys, values = (jax.lax.dynamic_slice_in_dim(x, i * block, block, axis=1) for x in held)
        return keys.transpose(0, 2, 3, 1), values.swapaxes(1, 2)

    slots = None if slots is None else jnp.asarray(slots)
    blocks = Blocks(k.shape[1] // block, block, apart, read)
    return blockwise_attention(jnp.asarray(q), slots, jnp.asarray(positions), blocks)


@pytest.mark.parametrize(("block", "apart"), [(1, False), (3, False), (3, True), (4, False), (12, True)])
def test_over_a_cache_a_token_sees_what_lies_at_or_before_its_position(block, apart):
    q, k, v = arrays(1, (5, 2, H, D), (6, 12, K, D), (6, 12, K, D))
    positions, slots = np.array([[0, 1], [3, 4], [10, 11], [2, 3], [7, 8]]), np.array([5, 0, 3, 1, 2])
    visible = np.arange(12) <= positions[:, :, None]
    got = over_cache(q, k, v, positions, block, slots, apart)
    np.testing.assert_allclose(got, by_loops(q, k[slots], v[slots], visible), atol=1e-5)


def test_what_the_cache_holds_beyond_a_position_is_never_seen():
    q, k, v = arrays(2, (1, 1, H, D), (1, 8, K, D), (1, 8, K, D))
    old_k, old_v = k.copy(), v.copy()
    old_k[:, 4:], old_v[:, 4:] = 1e6, -1e6
    at = jnp.array([[3]])
    np.testing.assert_array_equal(over_cache(q, k, v, at, 8), over_cache(q, old_k, old_v, at, 8))


def test_one_sample_packed_equals_the_same_over_a_cache():
    q, k, v = arrays(3, (2, 6, H, D), (2, 6, K, D), (2, 6, K, D))
    positions = jnp.broadcast_to(jnp.arange(6), (2, 6))
    cached = over_cache(q, k, v, positions, 2)
    np.testing.assert_allclose(packed_attention(q, k, v, jnp.ones((2, 6), int)), cached, atol=1e-6)


def test_scores_a_thousand_apart_stay_finite_in_bfloat16():
    q, k, v = (jnp.asarray(x * 100, jnp.bfloat16) for x in arrays(4, (1, 5, H, D), (1, 5, K, D), (1, 5, K, D)))
    out = packed_attention(q, k, v, jnp.ones((1, 5), int))
    assert out.dtype == jnp.bfloat16 and bool(jnp.isfinite(out.astype(jnp.float32)).all())


LENGTHS = [3, 40, 1, 17, 9, 40, 2]


@pytest.mark.parametrize("apart", [False, True])
def test_what_a_row_sees_does_not_depend_to_the_last_bit_on_whose_contexts_are_read_beside_it(apart):
    q, k, v = arrays(5, (7, 1, H, D), (7, 40, K, D), (7, 40, K, D))
    positions = np.array(LENGTHS)[:, None] - 1
    together = over_cache(q, k, v, positions, apart=apart)
    for row in range(7):
        some = [row, (row + 1) % 7]
        alone = over_cache(q[some], k[some], v[some], positions[some], apart=apart)[0]
        np.testing.assert_array_equal(alone, together[row])


@pytest.mark.parametrize("apart", [False, True])
def test_a_block_beyond_the_longest_context_is_never_read(apart):
    q, k, v = arrays(6, (2, 1, H, D), (2, 12, K, D), (2, 12, K, D))
    positions = jnp.array([[2], [7]])
    wanted = over_cache(q, k, v, positions, 1, apart=apart)
    k[:, 8:], v[:, 8:] = np.nan, np.nan  # NaN times a weight of 0 would be NaN
    np.testing.assert_array_equal(over_cache(q, k, v, positions, 1, apart=apart), wanted)


def test_a_context_is_read_on_only_until_half_of_those_that_are_read_are_complete():
    reads = []

    def read(slots, i):
        jax.debug.callback(lambda i: reads.append((len(slots), int(i))), i)
        return jnp.zeros((len(slots), K, D, 4)), jnp.zeros((len(slots), K, 4, D))

    q = jnp.ones((7, 1, H, D))
    blockwise_attention(
        q, None, jnp.array(LENGTHS)[:, None] - 1, Blocks(10, 4, False, read)
    )  # 10, 10, 5, 3, 1, 1, 1 blocks
    jax.effects_barrier()
    wanted = [(7, 0), (4, 1), (4, 2), (4, 3), (4, 4), *((2, i) for i in range(5, 10))]
    assert sorted(reads, key=lambda pair: pair[1]) == wanted
