"""Keys and values of the tokens in every slot, kept from one training step to the next.

Floor of a decode step, per layer: read 2 * C * K * W * d elements, write 2 * C * K * d.
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
    """A dense cache, `[L, C, K, W, d]`; index w of a slot holds its token at position w.

    Attributes:
      k: keys, after norm and rotation.
      v: values.
    """

    k: jax.Array
    v: jax.Array

    @property
    def width(self) -> int:
        """W, the positions a slot has room for."""
        return self.k.shape[3]


AXES = (None, "slots", "kv_heads", None, None)


def init_cache(config: Qwen3Config, slots: int, width: int) -> KVCache:
    """An empty cache.

    Args:
      config: the network's shape.
      slots: C.
      width: W, positions per slot.

    Returns:
      Zeros; what a slot's length does not cover is never attended to.
    """
    shape = (config.num_hidden_layers, slots, config.num_key_value_heads, width, config.head_dim)
    return KVCache(jnp.zeros(shape, config.dtype), jnp.zeros(shape, config.dtype))


def constrain(cache: KVCache, layout: Layout) -> KVCache:
    """Inside jit: pins where the cache lives."""
    return KVCache(layout.constrain(cache.k, *AXES), layout.constrain(cache.v, *AXES))


def make_attend(positions: jax.Array) -> Attend:
    """Attention that first writes the new keys and values, then looks at the whole slot.

    Args:
      positions: `[C, T]` i32, consecutive in each row; positions[:, 0] + T must not
        exceed W (a slice written past the end would silently move back).

    Returns:
      A function for `qwen3.forward_cached`. The cache travels whole through the layer
      scan and is updated in place: nothing of it is stacked or copied out.
    """
    start = positions[:, 0]
    rows = jnp.arange(positions.shape[0])

    def write(cache, layer, new):
        new = new.swapaxes(1, 2).astype(cache.dtype)  # [C, K, T, d]
        if new.shape[2] == 1:
            return cache.at[layer, rows, :, start].set(new[:, :, 0], unique_indices=True)
        place = jax.vmap(lambda row, x, at: jax.lax.dynamic_update_slice(row, x, (0, at, 0)))
        return cache.at[layer].set(place(cache[layer], new, start))

    def attend(q, k, v, cache, layer):
        cache = KVCache(write(cache.k, layer, k), write(cache.v, layer, v))
        return cached_attention(q, cache.k[layer].astype(q.dtype), cache.v[layer].astype(q.dtype), positions), cache

    return attend


def insert_rows(cache: KVCache, prefix: KVCache, rows: jax.Array, slots: jax.Array) -> KVCache:
    """Copies rows of a prefilled cache into slots.

    Args:
      cache: `[L, C, K, W, d]`.
      prefix: `[L, N, K, P, d]` with P <= W.
      rows: `[R]` i32, which prefix row each copy takes; a row may be taken often (the G
        samples of a prompt).
      slots: `[R]` i32, where it goes; a slot >= C is dropped (padding).

    Returns:
      The cache; beyond P the slots keep what they held, which is never attended to.
    """

    def copy(into, source):
        return into.at[:, slots, :, : source.shape[3]].set(source[:, rows].astype(into.dtype), mode="drop")

    return KVCache(copy(cache.k, prefix.k), copy(cache.v, prefix.v))
