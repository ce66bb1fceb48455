"""Keys and values of the tokens in every slot, kept from one training step to the next.

Floor of a decode step, per layer: read 2 * K * d elements of every position of every context, each rounded up to whole
blocks; write 2 * C * K * d.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ulorl_jax.mesh import Layout
from ulorl_jax.models.attention import Blocks
from ulorl_jax.models.qwen3 import Attend, Qwen3Config
from ulorl_jax.rollout.lanes import Chunk, Lanes
from ulorl_jax.rollout.slot_attention import APART, LINE, MANY, NEW, QUERY, attend_slots, blocks_for, per_part


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class KVCache:
    """A dense cache: every slot has room for W positions, in blocks of n, the last of which may reach beyond W.

    All lies in one array where the layers run in a scan, else every block of every layer in one of its own: a part of
    an array would be copied before anything is multiplied with it.

    Attributes:
      k: of each group of layers and each group of blocks `[l, C, b, K, d, n]`: keys after norm and rotation; see
        `Blocks` for why they lie so.
      v: likewise `[l, C, b, K, n, d]`: values.
      width: W, positions that a slot has room for.
    """

    k: tuple[tuple[jax.Array, ...], ...]
    v: tuple[tuple[jax.Array, ...], ...]
    width: int = dataclasses.field(metadata={"static": True})

    def whole(self) -> tuple[jax.Array, jax.Array]:
        """Keys and values `[L, C, W, K, d]`: a copy, position by position."""
        k, v = (jnp.concatenate([jnp.concatenate(blocks, axis=2) for blocks in x]) for x in (self.k, self.v))
        k, v = k.transpose(0, 1, 2, 5, 3, 4), v.swapaxes(3, 4)
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
    layers, heads, dim = config.num_hidden_layers, config.num_key_value_heads, config.head_dim
    blocks, size = blocks_for(width, LINE, APART) if unstacked else blocks_for(width, MANY)
    each, apart = ((1, 1), (layers, blocks)) if unstacked else ((layers, blocks), (1, 1))

    def zeros(*shape):
        array = (each[0], slots, each[1], heads, *shape)
        return tuple(tuple(jnp.zeros(array, config.dtype) for _ in range(apart[1])) for _ in range(apart[0]))

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
            blocks, size, slots = keys[0].shape[2], keys[0].shape[-1], jnp.arange(len(positions))
            groups = len(keys)
            if chunk is None:
                # What is written for a slot that does not decode lies where its next token will, which writes over it.
                to, at = slots, positions
            else:
                nobody = len(slots)
                theirs = jnp.where(chunk.valid, chunk.slots[:, None] % len(slots), nobody)
                to, at = mine.join(jnp.where(decoding, slots, nobody), theirs), mine.join(positions, chunk.positions)
            how = {"mode": "drop", "unique_indices": chunk is None}
            block, place = at // size, at % size

            def write(i, keys, values):
                """Into the blocks of a group; of others nothing."""
                own = block - i * blocks
                slot = to if groups == 1 else jnp.where((own >= 0) & (own < blocks), to, to + len(slots))
                new = keys.at[n, slot, own, :, :, place].set(k[:, 0].astype(keys.dtype), **how)
                return new, values.at[n, slot, own, :, place].set(v[:, 0].astype(values.dtype), **how)

            keys, values = zip(*map(write, range(groups), keys, values), strict=True)

            def read(slots, i):
                group, own = (i, 0) if groups > 1 else (0, i)
                found = (x[group].at[n, slots, own].get(mode="promise_in_bounds") for x in (keys, values))
                return tuple(x.astype(q.dtype) for x in found)

            held = Blocks(blocks * groups, size, blocks == 1, read)
            out = attend_slots(mine, q, jnp.where(decoding, positions, 0), chunk, held)
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
    size = cache.k[0][0].shape[-1]
    count = -(-prefix.width // size)
    new = (jnp.pad(x[:, 0], ((0, 0), (0, count * size - prefix.width), (0, 0), (0, 0))) for x in prefix.whole())
    k, v = (x.reshape(x.shape[0], count, size, *x.shape[2:]).swapaxes(2, 3) for x in new)  # [L, B, K, n, d]

    def put(into, new):
        def put_one(layer, block, x):
            layers, blocks = x.shape[0], x.shape[2]
            own = new[layer * layers : (layer + 1) * layers, block * blocks : (block + 1) * blocks]
            return x.at[:, slot, : own.shape[1]].set(own.astype(x.dtype))

        return tuple(tuple(put_one(i, j, x) for j, x in enumerate(blocks)) for i, blocks in enumerate(into))

    return KVCache(put(cache.k, k.swapaxes(3, 4)), put(cache.v, v), cache.width)
