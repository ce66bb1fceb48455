"""Causal attention over packed rows, block pair by block pair, in plain XLA: no scores of T x T ever exist.

A pair of a block of queries and a block of keys is computed only where some query of the one may see some key of
the other (`visible_blocks`): not above the diagonal, not between different samples. All pairs of all rows are one
list, and one loop runs as far as the list goes. The backward pass goes through the same list and keeps nothing but the
output and the logarithm of each query's sum, both under the name `RESIDUAL` for rematerialisation.
"""

import functools

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from ulorl_jax.models.attention import MASKED

RESIDUAL = "attention"  # what a remat policy may keep of the attention of a layer
BLOCK = 256  # tokens; on a CPU twice or half of it is as fast
# A pair of 256 tokens is 1 GFLOP for 32 heads of 128: a GPU computes it in less time than it starts a kernel, of which
# a pair takes several. Sixteen times as much at a time; counted, not measured.
GPU_BLOCK = 1024


def visible_blocks(
    index: jax.Array, q_ids: jax.Array, kv_ids: jax.Array, q_block: int, kv_block: int
) -> tuple[jax.Array, jax.Array]:
    """Which pairs of blocks attention has to look at.

    Args:
      index: `[t]` i32, place of each query in its row; it sees keys up to there.
      q_ids: `[t]` i32, sample of each query.
      kv_ids: `[T]` i32, sample of each key. The smallest and the largest id stand for a block, so that in a row
        whose ids never fall no pair is looked at in vain; whatever their order, none is missed.
      q_block, kv_block: tokens of a block; divide t and T.

    Returns:
      `[t / q_block, T / kv_block]` bool: pairs in which something may be visible, and those of them that
      lie wholly below the diagonal.
    """
    index, q_ids, kv_ids = index.reshape(-1, q_block), q_ids.reshape(-1, q_block), kv_ids.reshape(-1, kv_block)
    first = jnp.arange(len(kv_ids)) * kv_block
    meet = (q_ids.min(1)[:, None] <= kv_ids.max(1)) & (q_ids.max(1)[:, None] >= kv_ids.min(1))
    live = meet & (index.max(1)[:, None] >= first)
    return live, live & (index.min(1)[:, None] >= first + kv_block - 1)


def block_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, index: jax.Array, sample_ids: jax.Array, block: int = BLOCK
) -> jax.Array:
    """Causal attention among the tokens of one sample.

    Args:
      q: `[B, t, H, d]`, scaled: all queries of the rows, or some.
      k, v: `[B, T, K, d]`, of whole rows in their own order.
      index: `[t]` i32, place of each query in its row.
      sample_ids: `[B, T]` i32; tokens with different ids never see each other.
      block: tokens of a block.

    Returns:
      `[B, t, H, d]`.
    """
    batch, queries, heads, head_dim = q.shape
    length, kv_heads = k.shape[1:3]
    q_block, kv_block = min(block, queries), min(block, length)
    more_q, more_kv = -queries % q_block, -length % kv_block
    # What fills up the last blocks belongs to no sample and meets nothing, itself included.
    q_ids = jnp.pad(sample_ids[:, index], ((0, 0), (0, more_q)), constant_values=-1)
    kv_ids = jnp.pad(sample_ids, ((0, 0), (0, more_kv)), constant_values=-2)
    index = jnp.pad(index, (0, more_q), mode="edge")

    def blocks(x, size, more):  # [B, T, K, (G,) d] -> [B * blocks, K, (G *) size, d]
        x = jnp.pad(x, ((0, 0), (0, more), *[(0, 0)] * (x.ndim - 2)))
        x = x.reshape(-1, size, *x.shape[2:])
        return jnp.moveaxis(x, 1, -2).reshape(len(x), kv_heads, -1, head_dim)

    live = jax.vmap(lambda a, b: visible_blocks(index, a, b, q_block, kv_block)[0])(q_ids, kv_ids)
    grouped = q.reshape(batch, queries, kv_heads, heads // kv_heads, head_dim)
    out = _attend(
        blocks(grouped, q_block, more_q),
        blocks(k, kv_block, more_kv),
        blocks(v, kv_block, more_kv),
        index.reshape(-1, q_block),
        q_ids.reshape(-1, q_block),
        kv_ids.reshape(-1, kv_block),
        live,
    )
    out = out.reshape(len(out), kv_heads, -1, q_block, head_dim)
    return jnp.moveaxis(out, -2, 1).reshape(batch, -1, heads, head_dim)[:, :queries].astype(q.dtype)


@jax.custom_vjp
def _attend(q, k, v, index, q_ids, kv_ids, live):
    """q [R, K, G * q_block, d]; k, v [S, K, kv_block, d]; index [q_blocks, q_block]; ids [R or S, block]."""
    return _forward(q, k, v, index, q_ids, kv_ids, live)[0]


def _forward(q, k, v, index, q_ids, kv_ids, live):
    pairs = _pairs(live)

    def step(n, carry):
        top, total, out = carry
        r, s = pairs.at(n)
        scores = _scores(_take(q, r), _take(k, s), _visible(index, q_ids, kv_ids, live, r, s))
        old = _take(top, r)
        higher = jnp.maximum(old, jnp.max(scores, axis=-1))
        weights, fade = jnp.exp(scores - higher[..., None]), jnp.exp(old - higher)
        new = jnp.einsum("kgw,kwd->kgd", weights.astype(v.dtype), _take(v, s), preferred_element_type=jnp.float32)
        return (
            _put(top, higher, r),
            _put(total, _take(total, r) * fade + jnp.sum(weights, axis=-1), r),
            _put(out, _take(out, r) * fade[..., None] + new, r),
        )

    zeros = jnp.zeros(q.shape[:-1], jnp.float32)
    start = zeros + MASKED, zeros, jnp.zeros(q.shape, jnp.float32)
    top, total, out = jax.lax.fori_loop(0, pairs.count, step, start)
    total = jnp.where(total == 0, 1.0, total)  # of queries that only fill up
    out = checkpoint_name((out / total[..., None]).astype(q.dtype), RESIDUAL)
    log_sum = checkpoint_name(top + jnp.log(total), RESIDUAL)
    return out, (q, k, v, index, q_ids, kv_ids, live, out, log_sum)


def _backward(saved, g):
    q, k, v, index, q_ids, kv_ids, live, out, log_sum = saved
    pairs = _pairs(live)
    inner = jnp.sum(out.astype(jnp.float32) * g.astype(jnp.float32), axis=-1)

    # What keys and values learn is added up turned around, so that of no product the larger operand has to be turned:
    # XLA's CPU backend takes twice as long for such a one.
    q_turned, g_turned = q.swapaxes(-1, -2), g.swapaxes(-1, -2)

    def product(pattern, a, b):
        return jnp.einsum(pattern, a, b, preferred_element_type=jnp.float32)

    def step(n, carry):
        dq, dk, dv = carry
        r, s = pairs.at(n)
        k_s = _take(k, s)
        scores = _scores(_take(q, r), k_s, _visible(index, q_ids, kv_ids, live, r, s))
        weights = jnp.exp(scores - _take(log_sum, r)[..., None])
        d_weights = product("kgd,kwd->kgw", _take(g, r), _take(v, s))
        d_scores = (weights * (d_weights - _take(inner, r)[..., None])).astype(q.dtype)
        return (
            _put(dq, _take(dq, r) + product("kgw,kwd->kgd", d_scores, k_s), r),
            _put(dk, _take(dk, s) + product("kdg,kgw->kdw", _take(q_turned, r), d_scores), s),
            _put(dv, _take(dv, s) + product("kdg,kgw->kdw", _take(g_turned, r), weights.astype(g.dtype)), s),
        )

    zeros = [jnp.zeros(x.shape, jnp.float32) for x in (q, k.swapaxes(-1, -2), v.swapaxes(-1, -2))]
    dq, dk, dv = jax.lax.fori_loop(0, pairs.count, step, tuple(zeros))
    dk, dv = dk.swapaxes(-1, -2), dv.swapaxes(-1, -2)
    return dq.astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype), None, None, None, None


_attend.defvjp(_forward, _backward)


class _pairs:
    """The live pairs of all rows, in one list."""

    def __init__(self, live: jax.Array):
        self._shape = live.shape
        self.count = jnp.sum(live, dtype=jnp.int32)
        (self._flat,) = jnp.nonzero(live.reshape(-1), size=live.size, fill_value=0)

    def at(self, n):
        """The n-th pair: which block of queries, which block of keys, each counted over all rows."""
        _, q_blocks, kv_blocks = self._shape
        r, j = jnp.divmod(self._flat[n], kv_blocks)
        return r, r // q_blocks * kv_blocks + j


def _visible(index, q_ids, kv_ids, live, r, s):
    """[q_block, kv_block] of a pair."""
    _, q_blocks, kv_blocks = live.shape
    block = kv_ids.shape[1]
    keys = s % kv_blocks * block + jnp.arange(block)
    causal = _take(index, r % q_blocks)[:, None] >= keys
    return causal & (_take(q_ids, r)[:, None] == _take(kv_ids, s))


def _scores(q, k, visible):
    scores = jnp.einsum("kgd,kwd->kgw", q, k, preferred_element_type=jnp.float32)
    masked = jnp.where(visible, scores.reshape(len(k), -1, *visible.shape), MASKED)
    return masked.reshape(scores.shape)


_take = functools.partial(jax.lax.dynamic_index_in_dim, axis=0, keepdims=False)
_put = functools.partial(jax.lax.dynamic_update_index_in_dim, axis=0)
