"""Grouped-query attention, the plain path: right on every platform.

Queries `[B, T, H, d]` come already scaled by d ** -0.5; K key heads each serve H / K
query heads. Softmax is in fp32 whatever the inputs are.
"""

from collections.abc import Callable

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


def cached_attention(q: jax.Array, k: jax.Array, v: jax.Array, positions: jax.Array) -> jax.Array:
    """Attention of new tokens over a cache that already holds their own keys and values.

    Args:
      q: `[B, T, H, d]`, scaled; T = 1 when decoding.
      k: `[B, K, d, W]`, the cache; index w holds the token at position w. Keys lie so that both products multiply
        plain matrices; XLA's CPU backend takes twice as long where one is transposed.
      v: `[B, K, W, d]`, the same.
      positions: `[B, T]` i32, position of each query; it sees w <= position.

    Returns:
      `[B, T, H, d]`.
    """
    batch, length, heads, head_dim = q.shape
    kv_heads, width = v.shape[1:3]
    shape = (batch, kv_heads, heads // kv_heads, length)
    grouped = q.reshape(batch, length, kv_heads, heads // kv_heads, head_dim).transpose(0, 2, 3, 1, 4)
    # Not einsum: it may swap the operands, and then a result with one column per query head has to be turned round.
    every = ((0, 1), (0, 1))
    rows = grouped.reshape(batch, kv_heads, -1, head_dim)
    scores = jax.lax.dot_general(rows, k, (((3,), (2,)), every), preferred_element_type=jnp.float32)
    visible = jnp.arange(width) <= positions[:, :, None]
    scores = jnp.where(visible[:, None, None], scores.reshape(*shape, width), MASKED)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype).reshape(batch, kv_heads, -1, width)
    out = jax.lax.dot_general(weights, v, (((3,), (2,)), every)).reshape(*shape, head_dim)
    return out.transpose(0, 3, 1, 2, 4).reshape(q.shape)


def blockwise_attention(
    q: jax.Array,
    read: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    positions: jax.Array,
    block: int,
) -> jax.Array:
    """The same over a cache that is read block by block: the cost follows the longest context, not the cache's width.

    The softmax is summed up as the blocks come by; a block beyond the longest context is never read, and one beyond
    a query's own position changes nothing of its result.

    Args:
      q: `[B, T, H, d]`, scaled; T = 1 when decoding.
      read: of a block's number i (`[]` i32): its keys and values, `[B, n, K, d]` each, of positions i * n and on.
      positions: `[B, T]` i32, position of each query; it sees what lies at its position and before.
      block: n, tokens in a block.

    Returns:
      `[B, T, H, d]`.
    """
    batch, length, heads, head_dim = q.shape
    kv_heads = jax.eval_shape(read, jnp.int32(0))[0].shape[2]
    grouped = q.reshape(batch, length, kv_heads, heads // kv_heads, head_dim)

    def step(i, carry):
        top, total, out = carry
        k, v = read(i)
        scores = jnp.einsum("btkgd,bwkd->bkgtw", grouped, k, preferred_element_type=jnp.float32)
        visible = i * block + jnp.arange(block) <= positions[:, :, None]
        scores = jnp.where(visible[:, None, None], scores, MASKED)
        higher = jnp.maximum(top, jnp.max(scores, axis=-1))
        # Block 0 holds a visible position of every query: from there on `higher` is finite and MASKED weighs 0.
        weights = jnp.exp(scores - higher[..., None])
        fade = jnp.exp(top - higher)
        new = jnp.einsum("bkgtw,bwkd->bkgtd", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
        return higher, total * fade + jnp.sum(weights, axis=-1), out * fade[..., None] + new

    zeros = jnp.zeros((batch, kv_heads, heads // kv_heads, length), jnp.float32)
    start = zeros + MASKED, zeros, jnp.zeros((*zeros.shape, head_dim), jnp.float32)
    _, total, out = jax.lax.fori_loop(0, jnp.max(positions) // block + 1, step, start)
    return (out / total[..., None]).transpose(0, 3, 1, 2, 4).reshape(q.shape).astype(q.dtype)


def _attend(q, k, v, visible):
    """q [B,T,H,d]; k, v [B,K,W,d]; visible [B,T,W]."""
    batch, length, heads, head_dim = q.shape
    kv_heads = k.shape[1]
    grouped = q.reshape(batch, length, kv_heads, heads // kv_heads, head_dim)
    scores = jnp.einsum("btkgd,bkwd->bkgtw", grouped, k, preferred_element_type=jnp.float32)
    scores = jnp.where(visible[:, None, None], scores, MASKED)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    return jnp.einsum("bkgtw,bkwd->btkgd", weights, v).reshape(q.shape)
