"""Keys and values of the tokens in every slot, kept from one training step to the next.

Floor of a decode step, per layer: read 2 * C * K * d elements of every position up to the longest context, rounded up
to a stretch; write 2 * C * K * d.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ulorl_jax.mesh import Layout
from ulorl_jax.models.attention import Stretch, blockwise_attention, cached_attention
from ulorl_jax.models.qwen3 import Attend, Qwen3Config
from ulorl_jax.rollout.lanes import Chunk, Lanes

BLOCK = 128  # positions of a slot that a chunk looks at together


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class KVCache:
    """A dense cache; index w of a slot holds its token at position w.

    It lies in pieces, so that no product needs a part of an array, which XLA would copy first: by layers, all in one
    where they run in a scan, else one each; and by stretches of positions (`stretches`), of which as many are read as
    the longest context fills.

    Attributes:
      k: `[n, C, K, d, w]`, by layers and by stretches: keys after norm and rotation; see `cached_attention` for why
        they lie so.
      v: `[n, C, K, w, d]`, the same: values.
    """

    k: tuple[tuple[jax.Array, ...], ...]
    v: tuple[tuple[jax.Array, ...], ...]

    @property
    def width(self) -> int:
        """W, the positions a slot has room for."""
        return sum(v.shape[3] for v in self.v[0])

    def whole(self) -> tuple[jax.Array, jax.Array]:
        """Keys `[L, C, K, d, W]` and values `[L, C, K, W, d]`: a copy in one piece."""
        k, v = (
            jnp.concatenate([jnp.concatenate(pieces, axis=axis) for pieces in layers])
            for layers, axis in ((self.k, 4), (self.v, 3))
        )
        return k, v


AXES = (None, "slots", "kv_heads", None, None)  # of every piece


def stretches(width: int) -> list[tuple[int, int]]:
    """Where the positions of a cache are cut, start and end: in quarters, of whole lines of 64; not where it is short.

    Args:
      width: W, positions of a slot.
    """
    ends = sorted({min(-(-width * i // 256) * 64, width) for i in (1, 2, 3, 4)})
    return list(zip([0, *ends], ends, strict=False))


def init_cache(config: Qwen3Config, slots: int, width: int, unstacked: bool) -> KVCache:
    """An empty cache.

    Args:
      config: the network's shape.
      slots: C.
      width: W, positions per slot.
      unstacked: whether the layers are, see `qwen3_params.unstack_layers`.

    Returns:
      Zeros; what a slot's length does not cover is never attended to.
    """
    layers = config.num_hidden_layers
    groups = [1] * layers if unstacked else [layers]
    heads, dim, cuts = config.num_key_value_heads, config.head_dim, stretches(width)

    def zeros(*shape):
        return jnp.zeros(shape, config.dtype)

    return KVCache(
        tuple(tuple(zeros(n, slots, heads, dim, end - start) for start, end in cuts) for n in groups),
        tuple(tuple(zeros(n, slots, heads, end - start, dim) for start, end in cuts) for n in groups),
    )


def constrain(cache: KVCache, layout: Layout) -> KVCache:
    """Inside jit: pins where the cache lives."""
    return jax.tree.map(lambda piece: layout.constrain(piece, *AXES), cache)


def make_attend(lanes: Lanes, positions: jax.Array, decoding: jax.Array, chunk: Chunk | None) -> Attend:
    """Attention that first writes the new keys and values, then looks at the slots.

    Args:
      lanes: shape of the pass.
      positions: `[C]` i32, of the token that each slot decodes. Only as much of the slots is read as the longest of
        those that decode has, in whole stretches.
      decoding: `[C]` bool; what other slots read is nobody's concern.
      chunk: what is computed beside, where lanes has rows.

    Returns:
      A function for `qwen3.forward_cached`, of tokens `[T, 1]`. The cache is updated in place: nothing of it is stacked
      or copied out.
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

    def write(k, v, keys, values, n, cuts):  # [T, K, d]
        """Each stretch with what is new in it."""
        how = {"mode": "drop", "unique_indices": unique}
        inside = [jnp.where((at >= start) & (at < end), at - start, end - start) for start, end in cuts]
        return (
            tuple(x.at[n, slots, :, :, i].set(k.astype(x.dtype), **how) for x, i in zip(keys, inside, strict=True)),
            tuple(x.at[n, slots, :, i].set(v.astype(x.dtype), **how) for x, i in zip(values, inside, strict=True)),
        )

    def look(q, keys, values, n, cuts):  # [C, H, d]
        def over(count):
            def read(q, keys, values):
                k, v = ([x[n].astype(q.dtype) for x in pieces[:count]] for pieces in (keys, values))
                return cached_attention(q, k, v, positions[:, None])

            return read

        enough = jnp.searchsorted(jnp.array([end for _, end in cuts]), longest + 1)
        branches = [over(i + 1) for i in range(len(cuts))]
        return jax.lax.switch(enough, branches, q[:, None], keys, values)[:, 0]

    def look_back(chunk, q, keys, values, n, cuts):  # [R, n, H, d]
        def stretch(keys, values, start, end):
            size = min(BLOCK, end - start)

            def read(first):
                def of_slot(slot):
                    k = jax.lax.dynamic_slice(keys, (n, slot, 0, 0, first), (1, 1, *keys.shape[2:4], size))
                    v = jax.lax.dynamic_slice(
                        values, (n, slot, 0, first, 0), (1, 1, keys.shape[2], size, keys.shape[3])
                    )
                    return k[0, 0].astype(q.dtype), v[0, 0].astype(q.dtype)

                return jax.vmap(of_slot)(chunk.slots)

            return Stretch(start, end - start, size, read)

        pieces = [stretch(*piece) for piece in zip(keys, values, *zip(*cuts, strict=True), strict=True)]
        return blockwise_attention(q, pieces, chunk.positions)

    def attend(q, k, v, cache, layer):
        stacked = len(cache.k) == 1
        group, n = (0, layer) if stacked else (layer, 0)
        cuts = stretches(cache.width)
        keys, values = write(k[:, 0], v[:, 0], cache.k[group], cache.v[group], n, cuts)
        decoded, new = lanes.split(q[:, 0])
        if lanes.slots:
            decoded = look(decoded, keys, values, n, cuts)
        if chunk is not None:
            new = look_back(chunk, new, keys, values, n, cuts)
        cache = KVCache(_replaced(cache.k, group, keys), _replaced(cache.v, group, values))
        return lanes.join(decoded, new)[:, None], cache

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
      The cache; beyond P the slot keeps what it held, which is never attended to.
    """

    cuts = stretches(cache.width)

    def put(into, new, axis):
        new = jnp.concatenate(new, axis=axis)

        def one(piece, start, end):
            part = jax.lax.slice_in_dim(new, start, min(end, new.shape[axis]), axis=axis).astype(piece.dtype)
            return jax.lax.dynamic_update_slice(piece, part, (0, slot, 0, 0, 0))

        pairs = zip(into, cuts, strict=True)
        return tuple(one(piece, start, end) if start < new.shape[axis] else piece for piece, (start, end) in pairs)

    return KVCache(
        tuple(put(into, new, 4) for into, new in zip(cache.k, prefix.k, strict=True)),
        tuple(put(into, new, 3) for into, new in zip(cache.v, prefix.v, strict=True)),
    )
