"""Unions of intervals: in order, joined, cut with each other, and of integers only."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from ulorl_jax.verify.numbers import rational

INFINITE = {r"\infty": 1, r"+\infty": 1, r"-\infty": -1}


class Piece(NamedTuple):
    """One interval, its ends as written; an end at infinity is open."""

    low: str
    low_closed: bool
    high: str
    high_closed: bool


class Pieces(NamedTuple):
    """A union of intervals.

    `name` is the letter it was said of, `is_pair` where it may be a point as well, `domain` "integer" or "prime" where
    it is said of those only, `is_vague` where nothing tells whether the ends belong to it.
    """

    pieces: tuple[Piece, ...]
    name: str = ""
    is_pair: bool = False
    domain: str = ""
    is_vague: bool = False


def merged(pieces: tuple[Piece, ...]) -> tuple[Piece, ...] | None:
    """In order and joined where they touch; None where an end is no fraction, or one piece is empty."""
    keyed = []
    for piece in pieces:
        low = (INFINITE.get(piece.low, 0), 0 if piece.low in INFINITE else rational(piece.low))
        high = (INFINITE.get(piece.high, 0), 0 if piece.high in INFINITE else rational(piece.high))
        if low[1] is None or high[1] is None or low > high:
            return None
        keyed.append((low, not piece.low_closed, high, piece))
    joined: list[Piece] = []
    reached = None
    for low, _, high, piece in sorted(keyed):
        touches = reached is not None and (
            low < reached or (low == reached and (piece.low_closed or joined[-1].high_closed))
        )
        if not touches:
            joined.append(piece)
            reached = high
        elif high > reached or (high == reached and piece.high_closed):  # type: ignore[operator]
            joined[-1] = joined[-1]._replace(high=piece.high, high_closed=piece.high_closed)
            reached = high
    return tuple(joined)


def intersection(a: Pieces, b: Pieces) -> Pieces | None:
    """What lies in both; of two half-lines without a common point, their union."""
    if merged(a.pieces) is not None and merged(b.pieces) is not None:
        pieces = [piece for x in a.pieces for y in b.pieces if (piece := _common(x, y)) is not None]
        if pieces:
            return Pieces(tuple(pieces), a.name or b.name)
    if len(a.pieces) != 1 or len(b.pieces) != 1:
        return None
    one, two = a.pieces[0], b.pieces[0]
    if one.low == r"-\infty":
        one, two = two, one
    if one.high != r"\infty" or two.low != r"-\infty":
        return None
    values = rational(one.low), rational(two.high)
    if None not in values and values[0] > values[1]:  # type: ignore[operator]
        return Pieces((two, one), a.name)  # "x < 2, x > 3" means or
    return Pieces((Piece(one.low, one.low_closed, two.high, two.high_closed),), a.name)


def _common(a: Piece, b: Piece) -> Piece | None:
    """The part of the line in both; their ends are rational, or at infinity."""
    low = max(a, b, key=lambda piece: (_place(piece.low), not piece.low_closed))
    high = min(a, b, key=lambda piece: (_place(piece.high), piece.high_closed))
    both = Piece(low.low, low.low_closed, high.high, high.high_closed)
    ends = _place(both.low), _place(both.high)
    is_empty = ends[0] > ends[1] or (ends[0] == ends[1] and not (both.low_closed and both.high_closed))
    return None if is_empty else both


def _place(end: str) -> tuple[int, Fraction]:
    """Of an end that is rational or infinite, for sorting."""
    return INFINITE.get(end, 0), Fraction(0) if end in INFINITE else rational(end) or Fraction(0)


def opened(piece: Piece) -> Piece:
    """The same interval without the points at its ends."""
    return piece._replace(low_closed=False, high_closed=False)


def tightened(piece: Piece) -> Piece:
    """From the least to the greatest integer in it."""
    low, high = rational(piece.low), rational(piece.high)
    if low is not None:
        piece = piece._replace(
            low=str(math.ceil(low) + (low.denominator == 1 and not piece.low_closed)), low_closed=True
        )
    if high is not None:
        high = math.floor(high) - (high.denominator == 1 and not piece.high_closed)
        piece = piece._replace(high=str(high), high_closed=True)
    return piece
