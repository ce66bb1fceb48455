"""Attention against loops, and its two forms against each other."""

import jax
import jax.numpy as jnp
import numpy as np

from ulorl_jax.models.attention import Stretch, blockwise_attention, cached_attention, packed_attention

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


def test_over_a_cache_a_token_sees_what_lies_at_or_before_its_position():
    q, k, v = arrays(1, (3, 2, H, D), (3, 7, K, D), (3, 7, K, D))
    positions = np.array([[0, 1], [3, 4], [5, 6]])
    visible = np.arange(7) <= positions[:, :, None]
    got = cached_attention(q, [k.transpose(0, 2, 3, 1)], [v.swapaxes(1, 2)], jnp.asarray(positions))
    np.testing.assert_allclose(got, by_loops(q, k, v, visible), atol=1e-5)


def test_what_the_cache_holds_beyond_a_position_is_never_seen():
    q, k, v = arrays(2, (1, 1, H, D), (1, 7, K, D), (1, 7, K, D))
    k, v = k.transpose(0, 2, 3, 1), v.swapaxes(1, 2)
    old_k, old_v = k.copy(), v.copy()
    old_k[..., 4:], old_v[:, :, 4:] = 1e6, -1e6
    at = jnp.array([[3]])
    np.testing.assert_array_equal(cached_attention(q, [k], [v], at), cached_attention(q, [old_k], [old_v], at))


def test_one_sample_packed_equals_the_same_over_a_cache():
    q, k, v = arrays(3, (2, 6, H, D), (2, 6, K, D), (2, 6, K, D))
    positions = jnp.broadcast_to(jnp.arange(6), (2, 6))
    over_cache = cached_attention(q, [k.transpose(0, 2, 3, 1)], [v.swapaxes(1, 2)], positions)
    np.testing.assert_allclose(packed_attention(q, k, v, jnp.ones((2, 6), int)), over_cache, atol=1e-6)


def test_scores_a_thousand_apart_stay_finite_in_bfloat16():
    q, k, v = (jnp.asarray(x * 100, jnp.bfloat16) for x in arrays(4, (1, 5, H, D), (1, 5, K, D), (1, 5, K, D)))
    out = packed_attention(q, k, v, jnp.ones((1, 5), int))
    assert out.dtype == jnp.bfloat16 and bool(jnp.isfinite(out.astype(jnp.float32)).all())


def blocks_of(cache, size):
    """A cache [2, B, K, W, d] as `blockwise_attention` reads it, in two stretches."""

    def stretch(start, end):
        def read(first):
            block = jax.lax.dynamic_slice_in_dim(cache, start + first, min(size, end - start), axis=3)
            return block[0].swapaxes(2, 3), block[1]

        return Stretch(start, end - start, min(size, end - start), read)

    return [stretch(0, 7), stretch(7, cache.shape[3])]


def test_block_by_block_is_the_same_as_at_once():
    q, k, v = arrays(5, (3, 2, H, D), (3, K, 12, D), (3, K, 12, D))
    positions = jnp.array([[0, 1], [3, 4], [9, 10]])
    whole = cached_attention(q, [k.swapaxes(2, 3)], [v], positions)
    for size in (1, 3, 4, 12):
        got = blockwise_attention(q, blocks_of(jnp.stack([k, v]), size), positions)
        np.testing.assert_allclose(got, whole, atol=1e-5)


def test_a_block_beyond_the_longest_context_is_never_read():
    q, k, v = arrays(6, (2, 1, H, D), (2, K, 12, D), (2, K, 12, D))
    positions = jnp.array([[2], [7]])
    poisoned = jnp.stack([k, v]).at[:, :, :, 8:].set(jnp.nan)  # NaN times a weight of 0 would be NaN
    got = blockwise_attention(q, blocks_of(poisoned, 1), positions)
    np.testing.assert_allclose(got, cached_attention(q, [k.swapaxes(2, 3)], [v], positions), atol=1e-5)
