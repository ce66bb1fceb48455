"""Keys and values of the tokens in every slot, kept from one training step to the next.

Floor of a decode step, per layer: read 2 * K * d elements of every position of every context, each rounded up to whole
blocks; write 2 * C * K * d.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ulorl_jax.mesh import Layout
from ulorl_jax.models.qwen3 import Attend, Qwen3Config
from ulorl_jax.rollout.lanes import Chunk, Lanes
from ulorl_jax.rollout.slot_attention import NEW, QUERY, attend_slots, blocks_for, per_part


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class KVCache:
    """A dense cache: every slot has room for W positions, in blocks of n, the last of which may reach beyond W.

    The layers lie all in one array where they run in a scan, else in one each: a part of an array would be copied
    before anything is multiplied with it.

    Attributes:
      k: `[l, C, B, K, d, n]`: keys after norm and rotation; see `blockwise_attention` for why they lie so.
      v: `[l, C, B, K, n, d]`: values.
      width: W, positions that a slot has room for.
    """

    k: tuple[jax.Array, ...]
    v: tuple[jax.Array, ...]
    width: int = dataclasses.field(metadata={"static": True})

    def whole(self) -> tuple[jax.Array, jax.Array]:
        """Keys and values `[L, C, W, K, d]`: a copy, position by position."""
        k, v = jnp.concatenate(self.k).transpose(0, 1, 2, 5, 3, 4), jnp.concatenate(self.v).swapaxes(3, 4)
        k, v = (x.reshape(*x.shape[:2], -1, *x.shape[4:])[:, :, : self.width] for x in (k, v))
        return k, v


AXES = (None, "slots", None, "kv_heads", None, None)  # of every array


def init_cache(config: Qwen3Config, slots: int, width: int, unstacked: bool) -> KVCache:
    """An empty cache.

    Args:
      config: the network's shape.
      slots: C.
      width: W, positions per slot.
      unstacked: whether the layers are, see `qwen3_params.unstack_layers`: on a CPU.

    Returns:
      Zeros; what a slot's length does not cover is never attended to.
    """
    layers = config.num_hidden_layers
    groups = [1] * layers if unstacked else [layers]
    heads, dim, (blocks, size) = config.num_key_value_heads, config.head_dim, blocks_for(width, unstacked)

    def zeros(*shape):
        return tuple(jnp.zeros((n, slots, blocks, heads, *shape), config.dtype) for n in groups)

    return KVCache(zeros(dim, size), zeros(size, dim), width)


def constrain(cache: KVCache, layout: Layout) -> KVCache:
    """Inside jit: pins where the cache lives."""
    return jax.tree.map(lambda x: layout.constrain(x, *AXES), cache)


def make_attend(
    lanes: Lanes, positions: jax.Array, decoding: jax.Array, chunk: Chunk | None, layout: Layout | None
) -> Attend:
    """Attention that first writes the new keys and values, then looks at the slots.

    Args:
      lanes: shape of the pass.
      positions: `[C]` i32, of the token that each slot decodes.
      decoding: `[C]` bool; what other slots read is nobody's concern.
      chunk: what is computed beside, where lanes has rows.
      layout: the decoding layout; None: one device.

    Returns:
      A function for `qwen3.forward_cached`, of tokens `[T, 1]`. The cache is updated in place: nothing of it is stacked
      or copied out.
    """
    mine = lanes.one_part

    def attend(q, k, v, cache, layer):
        def local(q, k, v, positions, decoding, chunk, n, keys, values):
            blocks, size, slots = keys.shape[2], keys.shape[-1], jnp.arange(len(positions))
            if chunk is None:
                # What is written for a slot that does not decode lies where its next token will, which writes over it.
                to, at = slots, positions
            else:
                nobody = len(slots)
                theirs = jnp.where(chunk.valid, chunk.slots[:, None] % len(slots), nobody)
                to, at = mine.join(jnp.where(decoding, slots, nobody), theirs), mine.join(positions, chunk.positions)
            how = {"mode": "drop", "unique_indices": chunk is None}
            keys = keys.at[n, to, at // size, :, :, at % size].set(k[:, 0].astype(keys.dtype), **how)
            values = values.at[n, to, at // size, :, at % size].set(v[:, 0].astype(values.dtype), **how)

            def read(slots, block):
                found = (x.at[n, slots, block].get(mode="promise_in_bounds") for x in (keys, values))
                return tuple(x.astype(q.dtype) for x in found)

            out = attend_slots(mine, q, jnp.where(decoding, positions, 0), chunk, (blocks, size), read)
            return out, keys, values

        group, n = (0, layer) if len(cache.k) == 1 else (layer, 0)
        inputs = (QUERY, NEW, NEW, ("slots",), ("slots",), ("slots",), (), AXES, AXES)
        arguments = (q, k, v, positions, decoding, chunk, jnp.int32(n), cache.k[group], cache.v[group])
        out, keys, values = per_part(local, layout, inputs, (QUERY, AXES, AXES))(*arguments)
        return out, KVCache(_replaced(cache.k, group, keys), _replaced(cache.v, group, values), cache.width)

    return attend


def _replaced(groups, index, new):
    return (*groups[:index], new, *groups[index + 1 :])


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
      The cache; what the slot held in other blocks than the prefix's it keeps, and nobody ever attends to it.
    """
    size = cache.k[0].shape[-1]
    count = -(-prefix.width // size)
    new = (jnp.pad(x[:, 0], ((0, 0), (0, count * size - prefix.width), (0, 0), (0, 0))) for x in prefix.whole())
    k, v = (x.reshape(x.shape[0], count, size, *x.shape[2:]).swapaxes(2, 3) for x in new)  # [L, B, K, n, d]

    def put(into, new):
        each = into[0].shape[0]
        return tuple(
            x.at[:, slot, :count].set(new[i * each : (i + 1) * each].astype(x.dtype)) for i, x in enumerate(into)
        )

    return KVCache(put(cache.k, k.swapaxes(3, 4)), put(cache.v, v), cache.width)
