"""Attention of a pass over what the slots hold, for both caches: each part of the mesh reads its own slots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from ulorl_jax.mesh import Layout
from ulorl_jax.models.attention import Blocks, blockwise_attention
from ulorl_jax.rollout.lanes import Chunk, Lanes

QUERY, NEW = ("slots", None, "heads", None), ("slots", None, "kv_heads", None)  # axes of q and of k, v
LINE, MANY = 64, 1024  # positions
APART = 8  # blocks at most where each lies in an array of its own: the program has the code of every one


def blocks_for(width: int, size: int, most: int | None = None) -> tuple[int, int]:
    """Blocks of a slot and positions of a block, which are read together.

    Args:
      width: W, positions of a slot.
      size: of a block, which is larger only if there would be too many.
      most: blocks; None: any number.

    Returns:
      So many, and a multiple of 64 where there is more than one.
    """
    blocks = min(-(-width // size), most or width)
    size = -(-width // (blocks * LINE)) * LINE if blocks > 1 else width
    return -(-width // size), size


def attend_slots(lanes: Lanes, q: jax.Array, positions: jax.Array, chunk: Chunk | None, blocks: Blocks) -> jax.Array:
    """A pass's queries over the slots of one part, which hold their keys and values already.

    Args:
      lanes: shape of the pass, as the part sees it.
      q: `[T, 1, H, d]`, scaled.
      positions: `[C]` i32, of the token that each slot decodes; 0 where it decodes none, so that little is read.
      chunk: what is computed beside, where lanes has rows.
      blocks: of the slots.

    Returns:
      `[T, 1, H, d]`.
    """
    decoded, new = lanes.split(q[:, 0])
    if lanes.slots:
        decoded = blockwise_attention(decoded[:, None], None, positions[:, None], blocks)[:, 0]
    if chunk is not None:
        new = blockwise_attention(new, chunk.slots % len(positions), chunk.positions, blocks)
    return lanes.join(decoded, new)[:, None]


def per_part(function: Callable[..., Any], layout: Layout | None, inputs, outputs) -> Callable[..., Any]:
    """`function` of the arrays that each part of the mesh holds.

    Args:
      function: of arrays.
      layout: the decoding layout; None: one device.
      inputs: of each argument its logical axes; None: no array.
      outputs: of each result, likewise.
    """
    if layout is None:
        return function
    spec = [None if axes is None else layout.sharding(*axes).spec for axes in (*inputs, *outputs)]
    given, made = tuple(spec[: len(inputs)]), tuple(spec[len(inputs) :])
    return jax.shard_map(function, mesh=layout.mesh, in_specs=given, out_specs=made, check_vma=False)
