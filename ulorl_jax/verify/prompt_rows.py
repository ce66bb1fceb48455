"""Prompts of ragged length side by side in rows of a few static shapes: the door of the verifier to the device."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from ulorl_jax.ops.packing import first_fit_decreasing

# Of each prompt in a call (row, place in the row) and its key; tokens, positions, sample_ids [B, T], ends [B, N].
Call = tuple[dict[tuple[int, int], int], tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class RowShapes:
    """The shapes that prompts are packed into; each length is one compiled program.

    Attributes:
      lengths: T, tokens of a row; a prompt goes to the shortest that holds it, one longer than all is not judged.
      rows: B, rows of a call.
      prompts_per_row: N, at most.
    """

    lengths: tuple[int, ...]
    rows: int
    prompts_per_row: int


def pack_prompts(prompts: dict[int, np.ndarray], shapes: RowShapes) -> Iterator[Call]:
    """Prompts side by side in rows of the shortest length that holds them.

    Args:
      prompts: by key, `[n]` i32 each, none longer than the longest row.
      shapes: of the rows.

    Yields:
      Of a call where each of its prompts stands, and the arguments of `VerdictModel`.
    """
    shorter = 0
    for length in sorted(shapes.lengths):
        indices = [index for index, ids in prompts.items() if shorter < len(ids) <= length]
        shorter = length
        bins = first_fit_decreasing(np.array([len(prompts[index]) for index in indices], np.int64), length)
        step = shapes.prompts_per_row
        rows = [[indices[i] for i in held[at : at + step]] for held in bins for at in range(0, len(held), step)]
        for start in range(0, len(rows), shapes.rows):
            yield _fill(rows[start : start + shapes.rows], prompts, length, shapes)


def _fill(rows: list[list[int]], prompts: dict[int, np.ndarray], length: int, shapes: RowShapes) -> Call:
    tokens, positions, sample_ids = (np.zeros((shapes.rows, length), np.int32) for _ in range(3))
    ends = np.full((shapes.rows, shapes.prompts_per_row), -1, np.int32)
    members = {}
    for row, held in enumerate(rows):
        start = 0
        for place, index in enumerate(held):
            whole = slice(start, start + len(prompts[index]))
            tokens[row, whole] = prompts[index]
            positions[row, whole] = np.arange(len(prompts[index]))
            sample_ids[row, whole] = place + 1
            start = whole.stop
            ends[row, place] = start - 1
            members[row, place] = index
    return members, (tokens, positions, sample_ids, ends)
