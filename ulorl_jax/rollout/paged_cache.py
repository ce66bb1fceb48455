"""Keys and values in pages: a pool that all slots share, and a table that says which pages are whose.

Layout: `[parts, L, P, size, 2 * K, d]`. A slot's pages of all layers have one number, so the host hands out
P pages and not L * P. Within a page tokens come first and then the heads, keys and values in turn: read as
`[L * P, size, 2 * K, d]` it is what the TPU kernel `ragged_paged_attention` takes, without a copy. `parts` are
the parts into which the mesh splits the slots: each has pages of its own, so nothing of a page ever travels.

int8 pages: log-probs of sampled tokens are off by 0.006 in the mean and 0.03 at most, on a random network of 16.6M
parameters (8192 ids, heads of 64, contexts of 64 and of 512 tokens) and on the tests' tiny one alike.

Floor of a decode step, per layer: read 2 * K * d elements of every token of every context, each rounded up to whole
blocks; write 2 * C * K * d.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ulorl_jax.mesh import Layout
from ulorl_jax.models.attention import Blocks
from ulorl_jax.models.qwen3 import Attend, Qwen3Config
from ulorl_jax.rollout.kv_cache import KVCache
from ulorl_jax.rollout.lanes import Chunk, Lanes
from ulorl_jax.rollout.pages import INT8, PageSettings
from ulorl_jax.rollout.slot_attention import LINE, MANY, NEW, QUERY, attend_slots, blocks_for, per_part
from ulorl_jax.rollout.tpu_attention import kernel_applies, kernel_attention, make_sequences


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class PagedCache:
    """A pool of pages and whose they are.

    Attributes:
      pages: `[parts, L, P, size, 2 * K, d]`; head 2h is key h after norm and rotation, head 2h + 1 its value.
      scales: `[parts, L, P, size, 2 * K]` f32, what int8 pages are multiplied by; else None.
      table: `[C, B]` i32, the pages of each slot within its part; P: none.
    """

    pages: jax.Array
    scales: jax.Array | None
    table: jax.Array


AXES = ("slots", None, None, None, "kv_heads", None)
TABLE_AXES = ("slots", None)
_SCALES = AXES[:-1]
_PREFIX = (None, None, None, "kv_heads", None)  # every part sees a prefilled context, and its slot's part takes it


def init_cache(config: Qwen3Config, slots: int, width: int, pages: PageSettings, parts: int) -> PagedCache:
    """An empty pool, no page of it anybody's.

    Args:
      config: the network's shape.
      slots: C.
      width: W, positions a slot may need.
      pages: how many of which size.
      parts: into how many the mesh splits the slots.
    """
    shape = (parts, config.num_hidden_layers, pages.count // parts, pages.size, 2 * config.num_key_value_heads)
    int8 = pages.dtype == INT8
    return PagedCache(
        jnp.zeros((*shape, config.head_dim), jnp.int8 if int8 else config.dtype),
        jnp.zeros(shape, jnp.float32) if int8 else None,
        jnp.full((slots, pages.holding(width)), pages.count // parts, jnp.int32),
    )


def constrain(cache: PagedCache, layout: Layout) -> PagedCache:
    """Inside jit: pins where the pool lives."""
    return PagedCache(
        layout.constrain(cache.pages, *AXES),
        None if cache.scales is None else layout.constrain(cache.scales, *_SCALES),
        layout.constrain(cache.table, *TABLE_AXES),
    )


def make_attend(lanes: Lanes, positions: jax.Array, decoding: jax.Array, chunk: Chunk | None, layout: Layout) -> Attend:
    """Attention that first writes the new keys and values, then reads the slots' pages.

    Args:
      lanes: shape of the pass.
      positions: `[C]` i32, of the token that each slot decodes; a slot that decodes holds the page of its position.
      decoding: `[C]` bool; other slots write nothing, and what they read is nobody's concern.
      chunk: what is computed beside, where lanes has rows; its slots hold the pages of its positions.
      layout: the decoding layout.

    Returns:
      A function for `qwen3.forward_cached`, of tokens `[T, 1]`; the pool travels through the layer scan and is updated
      in place.
    """
    positions = jnp.where(decoding, positions, 0)
    mine = lanes.one_part

    def attend(q, k, v, cache, layer):
        def local(q, k, v, positions, decoding, chunk, layer, pages, scales, table):
            size, none = pages.shape[3], pages.shape[2]

            def page_of(valid, table, at):
                return jnp.where(valid, jnp.take_along_axis(table, at // size, axis=1), none)

            page, at = page_of(decoding[:, None], table, positions[:, None])[:, 0], positions
            if chunk is not None:
                theirs = table[chunk.slots % len(table)]
                page = mine.join(page, page_of(chunk.valid, theirs, chunk.positions))
                at = mine.join(at, chunk.positions)
            new = jnp.stack([k, v], axis=3).reshape(k.shape[0], 2 * k.shape[2], k.shape[3])
            pages, scales = _write(pages, scales, new, (0, layer, page, at % size))

            if kernel_applies(layout, pages, scales):
                sequences = make_sequences(mine, positions, chunk, table, none, layer)
                return kernel_attention(q[:, 0], pages[0], sequences)[:, None], pages, scales

            # A block costs a turn of a loop: next to nothing on a CPU, several launches of kernels on a GPU.
            most = (LINE, 64) if layout.platform == "cpu" else (MANY, None)
            count = -(-blocks_for(table.shape[1] * size, *most)[1] // size)  # pages of a block
            table = jnp.pad(table, ((0, 0), (0, -table.shape[1] % count)), constant_values=none)

            def read(slots, block):
                numbers = jax.lax.dynamic_slice_in_dim(table, block * count, count, axis=1)[slots]
                return _read(pages, scales, (0, layer, numbers), q.dtype)

            number = table.shape[1] // count
            blocks = Blocks(number, count * size, number == 1, read)
            return attend_slots(mine, q, positions, chunk, blocks), pages, scales

        pool = (AXES, None if cache.scales is None else _SCALES)
        arguments = (q, k, v, positions, decoding, chunk, layer, cache.pages, cache.scales, cache.table)
        inputs = (QUERY, NEW, NEW, ("slots",), ("slots",), ("slots",), (), *pool, TABLE_AXES)
        out, pages, scales = per_part(local, layout, inputs, (QUERY, *pool))(*arguments)
        return out, PagedCache(pages, scales, cache.table)

    return attend


def insert(cache: PagedCache, prefix: KVCache, slot: jax.Array, writes: jax.Array, layout: Layout) -> PagedCache:
    """Copies one prefilled context into pages, which become those of its slot.

    Args:
      cache: the pool.
      prefix: of one row, P positions wide.
      slot: `[]` i32, whose context it is.
      writes: `[B]` i32, the slot's pages within its part.
      layout: the decoding layout.

    Returns:
      The cache.
    """
    num_slots, (parts, _, none, size) = cache.table.shape[0], cache.pages.shape[:4]

    def local(part, pages, scales, k, v, slot, writes):
        blocks = -(-prefix.width // size)
        mine = slot // (num_slots // parts) == part[0]
        to = jnp.where(mine, writes, none)[:blocks]
        new = jnp.stack([k[:, 0], v[:, 0]], axis=3)  # [L, P, K, 2, d]
        new = jnp.pad(new, ((0, 0), (0, blocks * size - new.shape[1]), (0, 0), (0, 0), (0, 0)))
        new = new.reshape(new.shape[0], blocks, size, -1, new.shape[-1])
        return _write(pages, scales, new, (0, jnp.arange(new.shape[0])[:, None], to))

    pool = (AXES, None if cache.scales is None else _SCALES)
    arguments = (jnp.arange(parts), cache.pages, cache.scales, *prefix.whole(), slot, writes)
    inputs = (("slots",), *pool, _PREFIX, _PREFIX, (), (None,))
    pages, scales = per_part(local, layout, inputs, pool)(*arguments)
    return PagedCache(pages, scales, cache.table.at[slot].set(writes))


def quantize(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """int8 with a scale for each vector: 127 is its largest element.

    Args:
      x: `[..., d]`.

    Returns:
      values `[..., d]` int8, scales `[...]` f32; values * scales is x within scales / 2.
    """
    x = x.astype(jnp.float32)
    scales = jnp.maximum(jnp.max(jnp.abs(x), axis=-1) / 127, jnp.finfo(jnp.float32).tiny)
    return jnp.round(x / scales[..., None]).astype(jnp.int8), scales


def _write(pages, scales, new, at):
    """The pool with `new` at an index; a page >= P is dropped."""
    if scales is None:
        return pages.at[at].set(new.astype(pages.dtype), mode="drop"), None
    values, new_scales = quantize(new)
    return pages.at[at].set(values, mode="drop"), scales.at[at].set(new_scales, mode="drop")


def _read(pages, scales, at, dtype):
    """Keys [b, K, d, n] and values [b, K, n, d] of the pages at an index, [b, count] of them."""
    found = pages.at[at].get(mode="clip").astype(dtype)  # [b, count, size, 2 * K, d]
    if scales is not None:
        found *= scales.at[at].get(mode="clip")[..., None].astype(dtype)
    found = found.reshape(found.shape[0], -1, found.shape[3] // 2, 2, found.shape[4])
    return found[:, :, :, 0].transpose(0, 2, 3, 1), found[:, :, :, 1].swapaxes(1, 2)
