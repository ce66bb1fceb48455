"""Who holds which page of a pool: plain Python on the host; the pages themselves are on the device.

A page has room for the keys and values of `size` tokens. A slot holds pages in the order of its tokens;
what samples of one prompt have in common they may hold together. A page is free when nobody holds it.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np

MODEL, INT8 = DTYPES = "model", "int8"  # what keys and values are kept in: the network's own type, or int8


Tokens = TypeVar("Tokens", int, np.ndarray)


def pages_for(tokens: Tokens, size: int) -> Tokens:
    """Pages that so many tokens of one slot take.

    Args:
      tokens: a number, or several.
      size: tokens per page.
    """
    return -(-tokens // size)


@dataclasses.dataclass(frozen=True)
class PageSettings:
    """The pool that all slots share; hashable, so it can be a static argument.

    Attributes:
      count: pages, of all layers together one each; 0: no pages, every slot has room for its longest context.
      size: tokens per page.
      dtype: of keys and values in a page: `MODEL`'s, or `INT8` with a scale for every token and head.
      over_provisioning: times `count`, pages that samples may be predicted to want at a later time; 0: nothing is
        predicted. The host's alone: no program depends on it.
    """

    count: int = 0
    size: int = 64
    dtype: str = MODEL
    over_provisioning: float = dataclasses.field(default=1.0, compare=False)

    def holding(self, tokens: int) -> int:
        """Pages that so many tokens of one slot take."""
        return pages_for(tokens, self.size)


class Pages:
    """The pages 0..count-1 of one pool.

    Args:
      count: how many there are.
      size: tokens per page.
    """

    def __init__(self, count: int, size: int):
        self.count, self.size = count, size
        self._free = list(range(count))  # a heap: the lowest is taken first, so a run that goes on takes the same ones
        self._held: dict[int, list[int]] = {}
        self._holders: Counter[int] = Counter()
        self._offered: dict[Hashable, list[int]] = {}
        self._key_of: dict[int, Hashable] = {}  # first page offered -> its key

    @property
    def free(self) -> int:
        """Pages that nobody holds."""
        return len(self._free)

    def held(self, slot: int) -> list[int]:
        """The pages of a slot, in the order of its tokens."""
        return list(self._held.get(slot, ()))

    def offered(self, key: Hashable) -> int:
        """How many pages a taker with this key would hold together with another one."""
        return len(self._offered.get(key, ()))

    def take(self, slot: int, tokens: int, key: Hashable = None, common: int = 0) -> int | None:
        """Gives pages to a slot that has none.

        Args:
          slot: who takes them.
          tokens: what they must have room for.
          key: of what the first tokens are; None: they are nobody else's.
          common: tokens, <= `tokens`, that are the same for all takers with this key. Full pages of them are held
            together; a page they only begin is each taker's own, for it goes on there differently.

        Returns:
          How many of the slot's first pages another taker has filled or will fill; None where too few are free, and
          then nothing has changed.
        """
        assert slot not in self._held, f"slot {slot} has pages"
        shared = self._offered.get(key, []) if key is not None else []
        needed = pages_for(tokens, self.size) - len(shared)
        if needed > self.free:
            return None
        self._held[slot] = list(shared)
        self._holders.update(shared)
        self._grow(slot, needed)
        full = self._held[slot][: common // self.size]
        if key is not None and full and not shared:
            self._offered[key], self._key_of[full[0]] = full, key
        return len(shared)

    def fit(self, slot: int, tokens: int) -> None:
        """Makes a slot hold what so many tokens take: it gives pages back from its end, or takes free ones."""
        more = pages_for(tokens, self.size) - len(self._held[slot])
        for _ in range(-more):
            self._drop(self._held[slot].pop())
        self._grow(slot, max(more, 0))

    def release(self, slot: int) -> None:
        """Takes all pages from a slot; those that another one holds too stay that one's."""
        for page in self._held.pop(slot, []):
            self._drop(page)

    def forget(self) -> None:
        """No later taker shares what was offered so far: their keys and values would be another policy's."""
        self._offered.clear()
        self._key_of.clear()

    def load(self, held: dict[int, Sequence[int]]) -> None:
        """Starts anew with these pages held; one that occurs twice is shared.

        Args:
          held: slot -> its pages.
        """
        self._held = {slot: list(pages) for slot, pages in held.items()}
        self._holders = Counter(page for pages in held.values() for page in pages)
        self._free = [page for page in range(self.count) if page not in self._holders]
        self.forget()

    def _grow(self, slot: int, more: int) -> None:
        assert more <= self.free, f"slot {slot} wants {more} pages, {self.free} are free"
        new = [heapq.heappop(self._free) for _ in range(more)]
        self._held[slot] += new
        self._holders.update(new)

    def _drop(self, page: int) -> None:
        self._holders[page] -= 1
        if not self._holders[page]:
            del self._holders[page]
            heapq.heappush(self._free, page)
            if page in self._key_of:
                del self._offered[self._key_of.pop(page)]
