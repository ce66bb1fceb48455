"""The allocator: no page twice, none lost, counts back at zero; what is shared is shared exactly."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ulorl_jax.rollout.pages import Pages, PageSettings

COUNT, SIZE, SLOTS = 24, 4, 6


class Allocation(RuleBasedStateMachine):
    """Slots that take, fit and give back in any order, beside a model that knows only what each slot asked for."""

    def __init__(self):
        super().__init__()
        self.pages = Pages(COUNT, SIZE)
        self.tokens: dict[int, int] = {}
        self.common: dict[int, tuple[object, int]] = {}  # slot -> key and number of its first pages that are common
        self.era = 0

    def free_slots(self):
        return sorted(set(range(SLOTS)) - self.tokens.keys())

    def sharers(self, key):
        return [slot for slot, (other, _) in self.common.items() if other == key]

    @precondition(lambda self: self.free_slots())
    @rule(data=st.data(), prompt=st.integers(0, 2), more=st.integers(0, 30))
    def take(self, data, prompt, more):
        slot = data.draw(st.sampled_from(self.free_slots()))
        common = (3, 9, 17)[prompt]  # of a key always the same
        key, before = (self.era, prompt), self.pages.free
        shared = common // SIZE if self.sharers(key) else 0
        needed = -(-(common + more) // SIZE) - shared
        found = self.pages.take(slot, common + more, key, common)
        if needed > before:
            assert found is None and self.pages.free == before and self.pages.held(slot) == []
            return
        assert found == shared and self.pages.free == before - needed
        self.tokens[slot], self.common[slot] = common + more, (key, common // SIZE)
        first = self.pages.held(self.sharers(key)[0])
        assert self.pages.held(slot)[: common // SIZE] == first[: common // SIZE]

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), tokens=st.integers(0, 60))
    def fit(self, data, tokens):
        slot = data.draw(st.sampled_from(sorted(self.tokens)))
        # What is common to several is before the tokens that come and go; and nobody takes more than is free.
        least = self.common[slot][1] * SIZE
        tokens = min(max(tokens, least), (len(self.pages.held(slot)) + self.pages.free) * SIZE)
        self.pages.fit(slot, tokens)
        self.tokens[slot] = tokens

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def release(self, data):
        slot = data.draw(st.sampled_from(sorted(self.tokens)))
        self.pages.release(slot)
        del self.tokens[slot], self.common[slot]

    @rule()
    def forget(self):
        self.pages.forget()
        self.era += 1  # what is taken from now on shares nothing with what was taken before

    @rule()
    def load(self):
        """A run that goes on reads who holds what out of the table; nobody shares with those from before."""
        before = {slot: self.pages.held(slot) for slot in range(SLOTS)}
        free = self.pages.free
        self.pages = Pages(COUNT, SIZE)
        self.pages.load({slot: before[slot] for slot in self.tokens})
        assert {slot: self.pages.held(slot) for slot in range(SLOTS)} == before and self.pages.free == free
        self.era += 1

    @invariant()
    def every_page_is_free_or_held_and_only_common_ones_are_held_twice(self):
        held = {slot: self.pages.held(slot) for slot in range(SLOTS)}
        assert {slot: len(pages) for slot, pages in held.items() if pages} == {
            slot: -(-tokens // SIZE) for slot, tokens in self.tokens.items() if tokens
        }
        holders = Counter(page for pages in held.values() for page in pages)
        assert len(holders) + self.pages.free == COUNT
        assert set(holders) <= set(range(COUNT))
        wanted = {}
        for slot, pages in held.items():
            key, common = self.common.get(slot, (None, 0))
            wanted |= dict.fromkeys(pages[:common], len(self.sharers(key))) | dict.fromkeys(pages[common:], 1)
        assert holders == wanted

    def teardown(self):
        for slot in list(self.tokens):
            self.pages.release(slot)
        assert self.pages.free == COUNT
        assert self.pages.take(0, COUNT * SIZE) == 0 and sorted(self.pages.held(0)) == list(range(COUNT))


Allocation.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestNoPageIsLostOrHeldTwice = Allocation.TestCase


def test_eight_samples_of_a_prompt_hold_its_full_pages_once():
    pages = Pages(100, 4)
    for slot in range(8):  # 18 tokens of prompt in common: four full pages, and one that each goes on in
        assert pages.take(slot, 19, "prompt", 18) == (4 if slot else 0)
    assert 100 - pages.free == 4 + 8 * 1
    for slot in range(8):
        pages.fit(slot, 19 + 4)
    assert 100 - pages.free == 4 + 8 * 2
    for slot in range(7):
        pages.release(slot)
    assert 100 - pages.free == 4 + 2 and len(pages.held(7)) == 6
    pages.release(7)
    assert pages.free == 100
    assert pages.take(0, 19, "prompt", 18) == 0  # the pages were given back: somebody must fill them again


def test_pages_of_an_older_policy_are_not_shared_with_a_newcomer():
    pages = Pages(10, 4)
    pages.take(0, 9, "prompt", 8)
    pages.forget()
    assert pages.take(1, 9, "prompt", 8) == 0
    assert not set(pages.held(0)) & set(pages.held(1))
    assert pages.take(2, 9, "prompt", 8) == 2 and pages.held(2)[:2] == pages.held(1)[:2]
    pages.release(0)
    assert pages.take(3, 9, "prompt", 8) == 2  # slot 0's going has not taken the newer offer away


def test_a_taker_for_whom_too_few_are_free_gets_none():
    pages = Pages(3, 4)
    assert pages.take(0, 8) == 0
    assert pages.take(1, 5) is None and pages.free == 1 and pages.held(1) == []
    with pytest.raises(AssertionError, match="slot 0 wants 2 pages, 1 are free"):
        pages.fit(0, 16)


@pytest.mark.parametrize(("tokens", "wanted"), [(0, 0), (1, 1), (16, 1), (17, 2)])
def test_a_page_that_is_begun_is_a_page(tokens, wanted):
    assert PageSettings(size=16).holding(tokens) == wanted
