"""Grouped-query attention, the plain path: right on every platform.

Queries `[B, T, H, d]` come already scaled by d ** -0.5; K key heads each serve H / K
query heads. Softmax is in fp32 whatever the inputs are.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

MASKED = -1e30  # not -inf: a row with nothing to attend to must not turn into NaN


def packed_attention(q: jax.Array, k: jax.Array, v: jax.Array, sample_ids: jax.Array) -> jax.Array:
    """Causal attention among the tokens of one sample, several samples in a row.

    Args:
      q: `[B, T, H, d]`, scaled.
      k, v: `[B, T, K, d]`.
      sample_ids: `[B, T]` i32; tokens with different ids never see each other.

    Returns:
      `[B, T, H, d]`.
    """
    length = q.shape[1]
    causal = jnp.tril(jnp.ones((length, length), bool))
    visible = causal & (sample_ids[:, :, None] == sample_ids[:, None, :])
    return _attend(q, k.swapaxes(1, 2), v.swapaxes(1, 2), visible)


def cached_attention(
    q: jax.Array, keys: Sequence[jax.Array], values: Sequence[jax.Array], positions: jax.Array
) -> jax.Array:
    """Attention of new tokens over a cache that already holds their own keys and values.

    Args:
      q: `[B, T, H, d]`, scaled; T = 1 when decoding.
      keys: `[B, K, d, w]` each, the cache in stretches: index w of all of them, one after the other, holds the token
        at position w. Keys lie so that both products multiply plain matrices; XLA's CPU backend takes twice as long
        where one is transposed.
      values: `[B, K, w, d]` each, the same.
      positions: `[B, T]` i32, position of each query; it sees w <= position.

    Returns:
      `[B, T, H, d]`.
    """
    batch, length, heads, head_dim = q.shape
    kv_heads = keys[0].shape[1]
    shape = (batch, kv_heads, heads // kv_heads, length)
    grouped = q.reshape(batch, length, kv_heads, heads // kv_heads, head_dim).transpose(0, 2, 3, 1, 4)
    rows = grouped.reshape(batch, kv_heads, -1, head_dim)
    scores = jnp.concatenate([_product(rows, k, preferred_element_type=jnp.float32) for k in keys], axis=-1)
    visible = jnp.arange(scores.shape[-1]) <= positions[:, :, None]
    scores = jnp.where(visible[:, None, None], scores.reshape(*shape, -1), MASKED)
    weights = jax.nn.softmax(scores, axis=-1).astype(q.dtype).reshape(batch, kv_heads, rows.shape[2], -1)
    ends = list(itertools.accumulate(v.shape[2] for v in values))
    pieces = [_product(w, v) for w, v in zip(jnp.split(weights, ends[:-1], axis=-1), values, strict=True)]
    return sum(pieces[1:], pieces[0]).reshape(*shape, head_dim).transpose(0, 3, 1, 2, 4).reshape(q.shape)


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Consecutive positions of a cache, read block by block.

    Attributes:
      start: the first position.
      width: how many there are.
      block: n, how many are read together, at most the width.
      read: of where a block begins, counted from the start (`[]` i32, at most width - n): its keys `[B, K, d, n]` and
        values `[B, K, n, d]`.
    """

    start: int
    width: int
    block: int
    read: Callable[[jax.Array], tuple[jax.Array, jax.Array]]


def blockwise_attention(q: jax.Array, stretches: Sequence[Stretch], positions: jax.Array) -> jax.Array:
    """The same over a cache that is read block by block: the cost follows the longest context, not the cache's width.

    The softmax is summed up as the blocks come by; a block beyond the longest context is never read, and one beyond
    a query's own position changes nothing of its result.

    Args:
      q: `[B, T, H, d]`, scaled; T = 1 when decoding.
      stretches: of the cache, from position 0 on without a gap.
      positions: `[B, T]` i32, position of each query; it sees what lies at its position and before.

    Returns:
      `[B, T, H, d]`.
    """
    batch, length, heads, head_dim = q.shape
    kv_heads = jax.eval_shape(stretches[0].read, jnp.int32(0))[0].shape[1]
    shape = (batch, kv_heads, heads // kv_heads, length)
    rows = q.reshape(batch, length, kv_heads, -1, head_dim).transpose(0, 2, 3, 1, 4).reshape(*shape[:2], -1, head_dim)

    def step(stretch, i, carry):
        top, total, out = carry
        first = jnp.minimum(i * stretch.block, stretch.width - stretch.block)
        k, v = stretch.read(first)
        scores = _product(rows, k, preferred_element_type=jnp.float32).reshape(*shape, -1)
        at = first + jnp.arange(stretch.block)
        visible = (at >= i * stretch.block) & (stretch.start + at <= positions[:, :, None])
        scores = jnp.where(visible[:, None, None], scores, MASKED)
        higher = jnp.maximum(top, jnp.max(scores, axis=-1))
        # Block 0 holds a visible position of every query: from there on `higher` is finite and MASKED weighs 0.
        weights = jnp.exp(scores - higher[..., None])
        fade = jnp.exp(top - higher)
        flat = weights.astype(v.dtype).reshape(*rows.shape[:3], -1)
        new = _product(flat, v, preferred_element_type=jnp.float32).reshape(out.shape)
        return higher, total * fade + jnp.sum(weights, axis=-1), out * fade[..., None] + new

    zeros = jnp.zeros(shape, jnp.float32)
    carry = zeros + MASKED, zeros, jnp.zeros((*shape, head_dim), jnp.float32)
    for stretch in stretches:
        seen = jnp.minimum(jnp.max(positions) + 1 - stretch.start, stretch.width)
        blocks = (seen + stretch.block - 1) // stretch.block
        carry = jax.lax.fori_loop(0, blocks, functools.partial(step, stretch), carry)
    _, total, out = carry
    return (out / total[..., None]).transpose(0, 3, 1, 2, 4).reshape(q.shape).astype(q.dtype)


def _product(x, y, **how):
    """`[B, K, m, n]` @ `[B, K, n, o]`. Not einsum: it may swap the operands, and then the result has to be turned."""
    return jax.lax.dot_general(x, y, (((3,), (2,)), ((0, 1), (0, 1))), **how)


def _attend(q, k, v, visible):
    """q [B,T,H,d]; k, v [B,K,W,d]; visible [B,T,W]."""
    batch, length, heads, head_dim = q.shape
    kv_heads = k.shape[1]
    grouped = q.reshape(batch, length, kv_heads, heads // kv_heads, head_dim)
    scores = jnp.einsum("btkgd,bkwd->bkgtw", grouped, k, preferred_element_type=jnp.float32)
    scores = jnp.where(visible[:, None, None], scores, MASKED)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    return jnp.einsum("bkgtw,bkwd->btkgd", weights, v).reshape(q.shape)
