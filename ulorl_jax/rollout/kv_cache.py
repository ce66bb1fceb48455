"""Keys and values of the tokens in every slot, kept from one training step to the next.

Floor of a decode step, per layer: read 2 * C * K * d elements of every position up to the longest context, rounded up
to a quarter of W; write 2 * C * K * d.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ulorl_jax.mesh import Layout
from ulorl_jax.models.attention import blockwise_attention, cached_attention
from ulorl_jax.models.qwen3 import Attend, Qwen3Config
from ulorl_jax.rollout.lanes import Chunk, Lanes

BLOCK = 128  # positions of a slot that a chunk looks at together


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class KVCache:
    """A dense cache; index w of a slot holds its token at position w.

    Attributes:
      k: `[L, C, K, d, W]`, keys after norm and rotation; see `cached_attention` for why they lie so.
      v: `[L, C, K, W, d]`, values.
    """

    k: jax.Array
    v: jax.Array

    @property
    def width(self) -> int:
        """W, the positions a slot has room for."""
        return self.v.shape[3]


AXES = (None, "slots", "kv_heads", None, None)  # of both


def init_cache(config: Qwen3Config, slots: int, width: int) -> KVCache:
    """An empty cache.

    Args:
      config: the network's shape.
      slots: C.
      width: W, positions per slot.

    Returns:
      Zeros; what a slot's length does not cover is never attended to.
    """
    shape = (config.num_hidden_layers, slots, config.num_key_value_heads)
    keys, values = (*shape, config.head_dim, width), (*shape, width, config.head_dim)
    return KVCache(jnp.zeros(keys, config.dtype), jnp.zeros(values, config.dtype))


def constrain(cache: KVCache, layout: Layout) -> KVCache:
    """Inside jit: pins where the cache lives."""
    return KVCache(layout.constrain(cache.k, *AXES), layout.constrain(cache.v, *AXES))


def make_attend(lanes: Lanes, positions: jax.Array, decoding: jax.Array, chunk: Chunk | None) -> Attend:
    """Attention that first writes the new keys and values, then looks at the slots.

    Args:
      lanes: shape of the pass.
      positions: `[C]` i32, of the token that each slot decodes. Only as much of the slots is read as the longest of
        those that decode has, in steps of a quarter.
      decoding: `[C]` bool; what other slots read is nobody's concern.
      chunk: what is computed beside, where lanes has rows.

    Returns:
      A function for `qwen3.forward_cached`, of tokens `[T, 1]`. The cache travels whole through the layer
      scan and is updated in place: nothing of it is stacked or copied out.
    """

    rows, longest = jnp.arange(len(positions)), jnp.max(jnp.where(decoding, positions, 0))
    if chunk is None:
        # What is written for a slot that does not decode lies where its next token will, which writes over it.
        slots, at, unique = rows, positions, True
    else:
        slots = lanes.join(
            jnp.where(decoding, rows, len(rows)), jnp.where(chunk.valid, chunk.slots[:, None], len(rows))
        )
        at, unique = lanes.join(positions, chunk.positions), False

    def write(cache, layer, k, v):  # [T, K, d]
        how = {"mode": "drop", "unique_indices": unique}
        return KVCache(
            cache.k.at[layer, slots, :, :, at].set(k.astype(cache.k.dtype), **how),
            cache.v.at[layer, slots, :, at].set(v.astype(cache.v.dtype), **how),
        )

    def look(q, cache, layer):  # [C, H, d]
        def over(width):
            def read(q, cache):
                keys, values = cache.k[layer, ..., :width], cache.v[layer, ..., :width, :]
                return cached_attention(q, keys.astype(q.dtype), values.astype(q.dtype), positions[:, None])

            return read

        widths = _widths(cache.width)
        if len(widths) == 1:
            return over(cache.width)(q[:, None], cache)[:, 0]
        enough = jnp.searchsorted(jnp.asarray(widths), longest + 1)
        return jax.lax.switch(enough, [over(width) for width in widths], q[:, None], cache)[:, 0]

    def look_back(chunk, q, cache, layer):  # [R, n, H, d]
        def read(block):
            at = block * BLOCK + jnp.arange(BLOCK)[None]
            keys = cache.k.at[layer, chunk.slots[:, None], :, :, at].get(mode="clip")
            values = cache.v.at[layer, chunk.slots[:, None], :, at].get(mode="clip")
            return keys.astype(q.dtype), values.astype(q.dtype)

        return blockwise_attention(q, read, chunk.positions, BLOCK)

    def attend(q, k, v, cache, layer):
        cache = write(cache, layer, k[:, 0], v[:, 0])
        decoded, new = lanes.split(q[:, 0])
        if lanes.slots:
            decoded = look(decoded, cache, layer)
        if chunk is not None:
            new = look_back(chunk, new, cache, layer)
        return lanes.join(decoded, new)[:, None], cache

    return attend


def _widths(width: int) -> list[int]:
    """How much of a slot is read: quarters, in whole lines of 64 positions; all where that is little."""
    return sorted({min(-(-width * i // 256) * 64, width) for i in (1, 2, 3, 4)})


def copy_slots(cache: KVCache, sources: jax.Array, slots: jax.Array) -> KVCache:
    """Slots whose contexts begin alike take over what one of them holds.

    Args:
      cache: of C slots.
      sources: `[R]` i32, from which slot; one may be taken often (the G samples of a prompt).
      slots: `[R]` i32, to which; a slot >= C is dropped (padding).
    """
    return jax.tree.map(lambda x: x.at[:, slots].set(x[:, sources], mode="drop"), cache)


def insert(cache: KVCache, prefix: KVCache, slot: jax.Array) -> KVCache:
    """Copies one prefilled context into a slot.

    Args:
      cache: of C slots.
      prefix: of one row, P <= W positions wide.
      slot: `[]` i32.

    Returns:
      The cache; beyond P the slot keeps what it held, which is never attended to.
    """

    def put(into, new):
        return jax.lax.dynamic_update_slice(into, new.astype(into.dtype), (0, slot, 0, 0, 0))

    return KVCache(put(cache.k, prefix.k), put(cache.v, prefix.v))
