"""Grouped-query attention, the plain path: right on every platform.

Queries `[B, T, H, d]` come already scaled by d ** -0.5; K key heads each serve H / K
query heads. Softmax is in fp32 whatever the inputs are.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

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


@dataclasses.dataclass(frozen=True)
class Blocks:
    """What slots hold, as it is read.

    Attributes:
      count: blocks of a slot, at most.
      size: n, positions of a block, which are read together.
      apart: whether each lies in an array of its own, as an only one does: then nothing has to be copied to be read.
      read: of some slots (`[b]` i32, or a slice of all) and which block of them, an int where they lie apart: its keys
        `[b, K, d, n]` and values `[b, K, n, d]`. Keys lie so that both products multiply plain matrices; XLA's CPU
        backend takes twice as long where one is transposed.
    """

    count: int
    size: int
    apart: bool
    read: Callable[[Any, Any], tuple[jax.Array, jax.Array]]


def blockwise_attention(q: jax.Array, slots: jax.Array | None, positions: jax.Array, blocks: Blocks) -> jax.Array:
    """Attention of new tokens over caches that hold their own keys and values already, read block by block.

    Blocks that lie apart are read up to the end of the longest context. Others have to be copied, so each context is
    read as far as it goes: the longest come first, and as soon as half of those that are read is complete, only the
    other half is read on. Either way each is summed up alone and in its own order: its result does not depend, to the
    last bit, on whose contexts are read beside it.

    Floor: 2 * K * d elements of every position, a context rounded up to whole blocks. By halves less than twice as much
    is read until an eighth of the contexts is left, and for these up to as much as for the longest.

    Args:
      q: `[B, T, H, d]`, scaled; T = 1 when decoding.
      slots: `[B]` i32, whose context each row of queries looks at; None: row b at that of slot b, of B slots.
      positions: `[B, T]` i32, position of each query; it sees what lies at its position and before.
      blocks: of the slots.

    Returns:
      `[B, T, H, d]`.
    """
    size, read = blocks.size, blocks.read
    batch, length, heads, head_dim = q.shape
    filled = jnp.max(positions, axis=1) // size + 1
    whose: Any = slice(None) if slots is None else slots
    order = jnp.argsort(-filled, stable=True)
    if not blocks.apart:
        filled, q, positions = filled[order], q[order], positions[order]
        whose = order if slots is None else slots[order]
    kv_heads = jax.eval_shape(lambda: read(whose, 0))[0].shape[1]
    shape = (batch, kv_heads, heads // kv_heads, length)
    rows = q.reshape(batch, length, kv_heads, -1, head_dim).transpose(0, 2, 3, 1, 4).reshape(*shape[:2], -1, head_dim)

    def add_block(i, some, sums):
        """The softmax's sums so far of the first rows, with block i of their slots in them."""
        (k, v), (top, total, out) = read(some, i), sums
        count = len(top)
        scores = _product(rows[:count], k, preferred_element_type=jnp.float32).reshape(*top.shape, -1)
        visible = i * size + jnp.arange(size) <= positions[:count, :, None]
        scores = jnp.where(visible[:, None, None], scores, MASKED)
        higher = jnp.maximum(top, jnp.max(scores, axis=-1))
        # Block 0 holds a visible position of every query: from there on `higher` is finite and MASKED weighs 0.
        weights = jnp.exp(scores - higher[..., None])
        fade = jnp.exp(top - higher)
        flat = weights.astype(v.dtype).reshape(count, kv_heads, rows.shape[2], -1)
        new = _product(flat, v, preferred_element_type=jnp.float32).reshape(out.shape)
        return higher, total * fade + jnp.sum(weights, axis=-1), out * fade[..., None] + new

    zeros = jnp.zeros(shape, jnp.float32)
    sums = zeros + MASKED, zeros, jnp.zeros((*shape, head_dim), jnp.float32)
    if blocks.apart:
        longest, sums = jnp.max(filled), add_block(0, whose, sums)
        for i in range(1, blocks.count):
            sums = jax.lax.cond(i < longest, functools.partial(add_block, i, whose), lambda sums: sums, sums)
        complete = [sums]
    else:
        i, complete, counts = jnp.int32(0), [], _halves(batch)
        for count, fewer in zip(counts, [*counts[1:], 0], strict=True):
            # The context at `fewer` is the longest of those that are not read on.
            i, sums = jax.lax.while_loop(
                lambda carry, fewer=fewer: carry[0] < filled[fewer],
                lambda carry, some=whose[:count]: (carry[0] + 1, add_block(carry[0], some, carry[1])),
                (i, sums),
            )
            complete.insert(0, jax.tree.map(lambda x, fewer=fewer: x[fewer:], sums))
            sums = jax.tree.map(lambda x, fewer=fewer: x[:fewer], sums)
    out = jnp.concatenate([out / total[..., None] for _, total, out in complete])
    out = out.transpose(0, 3, 1, 2, 4).reshape(q.shape).astype(q.dtype)
    return out if blocks.apart else out[jnp.argsort(order)]


def _halves(count: int) -> list[int]:
    """A number, half of it, and so on to 1; at most four, for each is a loop to compile and to end."""
    found = [count]
    while found[-1] > 1 and len(found) < 4:
        found.append(-(-found[-1] // 2))
    return found


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
