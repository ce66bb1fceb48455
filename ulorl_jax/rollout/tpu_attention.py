"""Attention over pages on a TPU: jax's own kernel, `ragged_paged_attention`, which reads the pool as it lies.

It reads what each sequence's context needs and no more, and takes a token of every slot and a chunk of contexts in one
call. Elsewhere, and for what the kernel does not know, `paged_cache` has the same in plain XLA.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ulorl_jax.mesh import Layout
from ulorl_jax.rollout.lanes import Chunk, Lanes

HEAD_DIM = 128  # the kernel's: heads are multiples of a TPU's lanes
KEYS, QUERIES = 2048, 32  # tokens that the kernel looks at together
VMEM = 64 << 20  # bytes of a core's memory that it may take


class Sequences(NamedTuple):
    """What the kernel is told of a pass of one part: slots first, then the chunk's contexts.

    Attributes:
      kv_lens: `[N]` i32, tokens each sequence's last query sees, itself among them.
      page_indices: `[N, B]` i32, its pages, counted over all layers.
      cu_q_lens: `[N + 1]` i32, queries of all sequences before each.
      num_seqs: `[1]` i32, N.
    """

    kv_lens: jax.Array
    page_indices: jax.Array
    cu_q_lens: jax.Array
    num_seqs: jax.Array


def kernel_applies(layout: Layout, pages: jax.Array, scales: jax.Array | None) -> bool:
    """Whether the kernel can read the pool.

    Args:
      layout: the decoding layout.
      pages: `[..., d]`.
      scales: the kernel knows one for all keys, not one for each token and head: with scales it does not apply.
    """
    on_tpu = layout.platform == "tpu"
    return on_tpu and scales is None and pages.shape[-1] % HEAD_DIM == 0


def make_sequences(
    lanes: Lanes, positions: jax.Array, chunk: Chunk | None, table: jax.Array, pages: int, layer: jax.Array
) -> Sequences:
    """The sequences of a pass.

    Args:
      lanes: shape of the pass, as one part sees it.
      positions: `[C]` i32, of the token that each slot decodes; 0 where it decodes none.
      chunk: what is computed beside.
      table: `[C, B]` i32, the pages of each slot; >= P: none, and whatever is read instead is nobody's concern.
      pages: P, of a layer.
      layer: `[]` i32.
    """
    lengths, tables, queries = [], [], []
    if lanes.slots:
        lengths, tables, queries = [positions + 1], [table], [jnp.ones(len(positions), jnp.int32)]
    if chunk is not None:
        rows, size = chunk.positions.shape
        lengths.append(chunk.positions[:, 0] + size)
        tables.append(table[chunk.slots % len(table)])
        queries.append(jnp.full(rows, size, jnp.int32))
    ends = jnp.cumsum(jnp.concatenate(queries), dtype=jnp.int32)
    return Sequences(
        jnp.concatenate(lengths).astype(jnp.int32),
        jnp.minimum(jnp.concatenate(tables), pages - 1) + layer * pages,
        jnp.concatenate([jnp.zeros(1, jnp.int32), ends]),
        jnp.array([len(ends)], jnp.int32),
    )


def kernel_attention(q: jax.Array, pages: jax.Array, sequences: Sequences) -> jax.Array:
    """Causal attention of all sequences' queries over their pages.

    Args:
      q: `[T, H, d]`, scaled; the sequences' queries one after the other.
      pages: `[L, P, size, 2 * K, d]`, the pool of one part.
      sequences: of `make_sequences`.

    Returns:
      `[T, H, d]`.
    """
    # Imported here: it takes half a second, on every platform.
    from jax.experimental.pallas.ops.tpu.ragged_paged_attention import ragged_paged_attention

    pool = pages.reshape(-1, *pages.shape[2:])
    return ragged_paged_attention(
        q,
        pool,
        *sequences,
        sm_scale=1.0,
        # Said here, for the kernel's own table asks the default device, which is not the one that is compiled for.
        num_kv_pages_per_block=min(max(KEYS // pool.shape[1], 1), sequences.page_indices.shape[1]),
        num_queries_per_block=min(QUERIES, len(q)),
        vmem_limit_bytes=VMEM,
    )
