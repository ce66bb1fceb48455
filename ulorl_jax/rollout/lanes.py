"""What one pass of the network computes in the decoder: a token of every slot, and a chunk of contexts.

Decoding alone leaves the processor idle: every weight is read for a handful of tokens. So a slot that was filled
while others decode has its context computed in chunks beside their tokens, for little more than it costs to read the
weights once. The tokens of a pass lie part by part of the mesh: first one of each slot, then the chunk's.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterable

import jax
import jax.numpy as jnp

FEW_DECODE = 4  # when no more than one slot in so many decodes, a pass leaves the others out
MANY_WAIT = 8  # when more than one slot in so many waits for its context, a decode step computes several


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Chunk:
    """The next n tokens of R contexts, R / parts of each part.

    Attributes:
      slots: `[R]` i32, whose contexts; no two the same.
      positions: `[R, n]` i32, consecutive; 0 where not valid.
      valid: `[R, n]` bool; other tokens leave no trace.
    """

    slots: jax.Array
    positions: jax.Array
    valid: jax.Array


@dataclasses.dataclass(frozen=True)
class Lanes:
    """The shape of a pass; hashable, so it can be a static argument.

    Attributes:
      parts: of the mesh, each with its own slots.
      slots: of a part whose tokens are decoded; 0: none are, or those of a chunk.
      rows: contexts in a part's chunk; 0: there is no chunk.
      size: n, tokens of each of them.
    """

    parts: int
    slots: int
    rows: int = 0
    size: int = 1

    @property
    def one_part(self) -> Lanes:
        """The pass as each part sees it."""
        return dataclasses.replace(self, parts=1)

    def join(self, decoded: jax.Array | None, chunk: jax.Array | None) -> jax.Array:
        """Both lanes in one array.

        Args:
          decoded: `[C, ...]`, not looked at where no slot is decoded.
          chunk: `[R, n, ...]`, not looked at where there is no chunk.

        Returns:
          `[T, ...]`, T = C + R * n.
        """
        if not self.rows:
            assert decoded is not None
            return decoded
        assert chunk is not None
        flat = chunk.reshape(-1, *chunk.shape[2:])
        if not self.slots:
            return flat
        assert decoded is not None
        of_part = [x.reshape(self.parts, -1, *x.shape[1:]) for x in (decoded, flat)]
        return jnp.concatenate(of_part, axis=1).reshape(-1, *flat.shape[1:])

    def split(self, both: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What was joined.

        Args:
          both: `[T, ...]`.

        Returns:
          `[C, ...]` and `[R, n, ...]`; C or R may be 0.
        """
        of_part = both.reshape(self.parts, -1, *both.shape[1:])
        decoded, chunk = of_part[:, : self.slots], of_part[:, self.slots :]
        rows = (self.parts * self.rows, self.size)
        return decoded.reshape(-1, *both.shape[1:]), chunk.reshape(*rows, *both.shape[1:])


def next_chunk(
    lanes: Lanes, turns: jax.Array, leaders: jax.Array, lengths: jax.Array, contexts: jax.Array, filling: jax.Array
) -> Chunk:
    """Of each part the contexts that have waited longest.

    Args:
      lanes: how many, and how many tokens of each.
      turns: `[C]` i32, the lowest comes first, and of these the lowest slot.
      leaders: `[C]` i32, the slot of the part whose context has to be complete before; C: none has.
      lengths: `[C]` i32, tokens of each context that are computed.
      contexts: `[C]` i32, tokens of each context that have to be.
      filling: `[C]` bool, whose context is not complete.

    Returns:
      Their next tokens.
    """

    def of_part(x):
        return x.reshape(lanes.parts, -1)

    waits = jnp.append(filling, False)[leaders]
    now = of_part(filling & ~waits)
    order = jnp.where(now, of_part(turns), jnp.iinfo(jnp.int32).max)
    slots = jnp.argsort(order, axis=1, stable=True)[:, : lanes.rows]

    def take(x):
        return jnp.take_along_axis(of_part(x), slots, axis=1).reshape(-1, 1)

    positions = take(lengths) + jnp.arange(lanes.size)
    valid = take(now) & (positions < take(contexts))
    slots += jnp.arange(lanes.parts)[:, None] * order.shape[1]
    return Chunk(slots.reshape(-1), jnp.where(valid, positions, 0), valid)


def count_passes(chunks: Iterable[int], rows: int) -> int:
    """Passes that compute contexts before anybody decodes, as `next_chunk` takes them: the first R, and as soon as one
    of these is complete the next in its place.

    Args:
      chunks: of each context, in their order.
      rows: R, contexts side by side.
    """
    busy = [0] * rows  # passes after which each row is free, a heap
    for count in chunks:
        heapq.heapreplace(busy, busy[0] + count)
    return max(busy)
