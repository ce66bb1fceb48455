"""Keys and values of the tokens in every slot, kept from one training step to the next.

Floor of a decode step, per layer: read 2 * C * K * d elements of every position up to the longest context, rounded up
to a quarter of W; write 2 * C * K * d.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ulorl_jax.mesh import Layout
from ulorl_jax.models.attention import cached_attention
from ulorl_jax.models.qwen3 import Attend, Qwen3Config


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


def make_attend(positions: jax.Array, longest: jax.Array | None = None) -> Attend:
    """Attention that first writes the new keys and values, then looks at the slots.

    Args:
      positions: `[C, T]` i32, consecutive in each row; positions[:, 0] + T must not
        exceed W (a slice written past the end would silently move back).
      longest: `[]` i32, nobody whose result matters has a position beyond it: only so much of the slots is read,
        in steps of a quarter. None reads them whole.

    Returns:
      A function for `qwen3.forward_cached`. The cache travels whole through the layer
      scan and is updated in place: nothing of it is stacked or copied out.
    """
    start = positions[:, 0]
    rows = jnp.arange(positions.shape[0])

    def write(cache, layer, new, axis):  # the tokens of `new`, [C, K, T, d] or [C, K, d, T], lie along an axis
        new = new.astype(cache.dtype)
        if new.shape[axis] == 1:
            at = (layer, rows, slice(None), *(start if i == axis else slice(None) for i in (2, 3)))
            return cache.at[at].set(new.squeeze(axis), unique_indices=True)
        place = jax.vmap(lambda row, x, at: jax.lax.dynamic_update_slice_in_dim(row, x, at, axis - 1))
        return cache.at[layer].set(place(cache[layer], new, start))

    def attend(q, k, v, cache, layer):
        cache = KVCache(write(cache.k, layer, k.transpose(0, 2, 3, 1), 3), write(cache.v, layer, v.swapaxes(1, 2), 2))

        def over(width):
            def read(q, cache):
                keys, values = cache.k[layer, ..., :width], cache.v[layer, ..., :width, :]
                return cached_attention(q, keys.astype(q.dtype), values.astype(q.dtype), positions)

            return read

        widths = _widths(cache.width)
        if longest is None or len(widths) == 1:
            return over(cache.width)(q, cache), cache
        enough = jnp.searchsorted(jnp.asarray(widths), longest + 1)
        return jax.lax.switch(enough, [over(width) for width in widths], q, cache), cache

    return attend


def _widths(width: int) -> list[int]:
    """How much of a slot is read: quarters, in whole lines of 64 positions; all where that is little."""
    return sorted({min(-(-width * i // 256) * 64, width) for i in (1, 2, 3, 4)})


def insert_rows(cache: KVCache, prefix: KVCache, rows: jax.Array, slots: jax.Array) -> KVCache:
    """Copies rows of a prefilled cache into slots.

    Args:
      cache: of C slots.
      prefix: of N rows, P <= W positions wide.
      rows: `[R]` i32, which prefix row each copy takes; a row may be taken often (the G
        samples of a prompt).
      slots: `[R]` i32, where it goes; a slot >= C is dropped (padding).

    Returns:
      The cache; beyond P the slots keep what they held, which is never attended to.
    """

    def copy(into, source, at):
        return into.at[at].set(source[:, rows].astype(into.dtype), mode="drop")

    every, held = slice(None), slice(prefix.width)
    keys, values = (every, slots, every, every, held), (every, slots, every, held)
    return KVCache(copy(cache.k, prefix.k, keys), copy(cache.v, prefix.v, values))
