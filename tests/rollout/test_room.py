"""Who is admitted, who must leave and how far a call may go: the host's half of pages, without a device."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny import make_config, make_layout
from ulorl_jax.rollout.engine import EngineSpec
from ulorl_jax.rollout.pages import PageSettings
from ulorl_jax.rollout.pools import UnfinishedPool
from ulorl_jax.rollout.room import PagedRoom, Room, make_room
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.types import Prompt, Sample, Segment

SIZE, PROMPT, LIMIT = 4, 11, 20


def room(count, slots=4, layout=None, over_provisioning=1.0):
    spec = EngineSpec(
        make_config(), slots, PROMPT + LIMIT, Sampling(1.0), (1,), layout or make_layout("decoding"),
        PageSettings(count, SIZE, over_provisioning=over_provisioning),
    )  # fmt: skip
    made = make_room(spec, LIMIT)
    assert isinstance(made, PagedRoom)
    return made


def sample(i, prompt=PROMPT, output=0, prompt_id=None):
    segments = (Segment(np.zeros(output, np.int32), np.zeros(output, np.float32), 0, "prefill"),) if output else ()
    return Sample(i, Prompt(i if prompt_id is None else prompt_id, np.zeros(prompt, np.int32), ""), segments)


def used(made):
    return sum(pool.count - pool.free for pool in made.pools)


def test_the_samples_of_a_prompt_share_its_full_pages():
    made = room(32)
    for slot in range(4):
        assert made.admit(slot, sample(slot, prompt_id=5))
    # Ten of eleven tokens are common, two full pages; the third page is each sample's own.
    assert used(made) == 2 + 4
    assert len({tuple(row) for row in made.table[:, :2].tolist()}) == 1 and len(set(made.table[:, 2].tolist())) == 4
    assert [made.computed(slot) for slot in range(4)] == [0, 8, 8, 8]  # the first taker computes what is shared


def test_samples_share_a_prompts_pages_when_their_outputs_are_prefilled_too():
    made = room(32)
    assert made.admit(0, sample(0, output=9, prompt_id=5)) and made.admit(1, sample(1, output=2, prompt_id=5))
    assert used(made) == 5 + (4 - 2)


def test_what_another_policy_prefilled_is_not_shared():
    made = room(32)
    assert made.admit(0, sample(0, prompt_id=5))
    made.begin()
    assert made.admit(1, sample(1, prompt_id=5)) and made.admit(2, sample(2, prompt_id=5))
    assert used(made) == 3 + 3 + 1


def test_admission_stops_while_those_admitted_still_have_their_next_page():
    made = room(8)
    assert made.admit(0, sample(0)) and made.admit(1, sample(1))
    # Six pages are taken. Two are free, and belong to the growth of the two: no third context of any length.
    assert not made.admit(2, sample(2, prompt=3)) and used(made) == 6
    assert made.plan(SIZE) == (SIZE, [])
    made.release(1)
    assert made.admit(2, sample(2, prompt=3))


def test_a_long_context_comes_back_only_when_prefilling_it_pays():
    spec = EngineSpec(
        make_config(), 2, 400, Sampling(1.0), (1,), make_layout("decoding"), PageSettings(100, SIZE)
    )  # fmt: skip
    made = make_room(spec, 300)
    assert made.admit(0, sample(0, prompt=100, output=100))  # 50 of 100 pages
    long = sample(1, prompt=100, output=84)  # 46 pages: both could decode the next four tokens, but not 184 / 8
    assert not made.admit(1, long)
    assert made.admit(1, sample(1, prompt=100, output=40))


def test_nobody_leaves_before_him_who_waits_for_the_pages_that_he_fills():
    made = room(13)
    assert made.admit(0, sample(0, output=9))
    made.grow(np.array([1, 0, 0, 0]))
    # Slot 1 fills the pages of its prompt while slot 0 decodes; slot 2, whose output goes on, waits for them.
    assert made.admit(1, sample(1, prompt_id=5)) and made.admit(2, sample(2, output=6, prompt_id=5))
    assert [made.computed(slot) for slot in range(3)] == [0, 0, 8]
    made.grow(np.array([4, 0, 0, 0]))
    assert made.plan(LIMIT)[1] == [0]  # slot 1 has the shortest context, but has not drawn yet


def test_the_cheapest_to_prefill_again_leaves_first_and_a_call_takes_all_the_pages_allow():
    made = room(12)
    assert made.admit(0, sample(0)) and made.admit(1, sample(1, prompt=9)) and made.admit(2, sample(2))
    steps, leave = made.plan(LIMIT)
    # Nine pages are taken and three free. Contexts of 11, 9 and 11 tokens end on positions 10 + s, 8 + s and 10 + s:
    # four pages each hold them for s = 6.
    assert (steps, leave) == (6, []) and used(made) == 12
    made.grow(np.array([6, 6, 6, 0]))
    steps, leave = made.plan(LIMIT - 6)
    assert leave == [1]  # 15 tokens; the others have 17
    assert made.table[1].tolist() == [12] * 8
    # Six pages, 24 tokens, for each of the two that stay: 16 + s of them after s steps.
    assert steps == 8 and used(made) == 12


def test_what_a_call_did_not_use_is_given_back():
    made = room(16)
    assert made.admit(0, sample(0)) and made.plan(20) == (20, []) and used(made) == 8
    made.grow(np.array([2, 0, 0, 0]))  # it stopped early, for somebody else
    assert made.plan(4) == (4, []) and used(made) == 4


def test_each_part_of_the_mesh_gives_out_its_own_pages(devices):
    layout = make_layout("decoding", devices, data=2, fsdp=2, tensor=2)
    made = room(4 * 8, slots=8, layout=layout)
    pool = UnfinishedPool(8)
    pool.waiting.extend(sample(i) for i in range(8))
    assert pool.place(made.admit) == list(range(8))
    assert [8 - part.free for part in made.pools] == [6] * 4
    assert made.table[:, 0].tolist() == [0, 3] * 4  # numbers are those within a part
    assert made.plan(5) == (5, []) and made.plan(9) == (6, [])  # 16 tokens are four pages: 11 - 1 + 6


def test_nobody_overtakes_a_sample_that_must_wait_for_room():
    made, pool = room(8), UnfinishedPool(4)
    pool.waiting.extend([sample(0), sample(1, output=8), sample(2, prompt=1)])
    assert pool.place(made.admit) == [0] and [waiting.id for waiting in pool.waiting] == [1, 2]
    pool.withdraw({0: sample(0, output=3)})
    assert [waiting.id for waiting in pool.waiting] == [0, 1, 2] and pool.free == [0, 1, 2, 3]


def test_without_pages_there_is_always_room():
    made = make_room(
        EngineSpec(make_config(), 4, PROMPT + LIMIT, Sampling(1.0), (1,), make_layout("decoding")), LIMIT
    )  # fmt: skip
    assert type(made) is Room and made.admit(0, sample(0)) and made.plan(7) == (7, []) and made.table is None


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(8, 40),
    prompts=st.lists(st.integers(1, PROMPT), min_size=1, max_size=6),
    outputs=st.lists(st.integers(1, LIMIT), min_size=12, max_size=12),
    segment=st.integers(1, LIMIT),
    again=st.booleans(),
    over_provisioning=st.sampled_from([0.0, 0.1, 1.0]),
    finish_groups=st.booleans(),
)
def test_any_pool_that_holds_one_sample_brings_all_to_their_ends(
    count, prompts, outputs, segment, again, over_provisioning, finish_groups
):
    """The host's loop with a device that draws what it is told: nobody is lost, everybody ends, no page is missing."""
    made, pool = room(count, over_provisioning=over_provisioning), UnfinishedPool(4, finish_groups)
    pool.waiting.extend(sample(2 * i + j, length, prompt_id=i) for i, length in enumerate(prompts) for j in (0, 1))
    everybody, ended, calls = len(pool.waiting), [], 0
    while pool.occupied or pool.waiting:
        made.begin()
        if again:
            for slot, _ in pool.occupied:
                made.release(slot)
            pool.withdraw({slot: one for slot, one in pool.occupied if not made.admit(slot, one)})
        pool.place(made.admit)
        left = segment
        while left and pool.occupied:
            steps, leave = made.plan(left)
            assert 0 < steps <= left and (steps == left or steps >= SIZE)
            pool.withdraw({slot: one for slot, one in pool.occupied if slot in leave})
            counts = np.zeros(4, np.int64)
            for slot, one in pool.occupied:
                drawn = min(steps, outputs[one.id % 12] - one.num_tokens)
                last = one.context_length + drawn - 2  # whose keys and values the call's last step writes
                assert made.table[slot, last // SIZE] < count
                counts[slot] = drawn
                pool.slots[slot] = one.append(
                    Segment(np.zeros(drawn, np.int32), np.zeros(drawn, np.float32), 0, "keep")
                )
            made.grow(counts)
            for slot, one in pool.occupied:
                if one.num_tokens == outputs[one.id % 12]:
                    made.end(slot)
                    ended.append(one.id)
                    pool.slots[slot] = None
            left, calls = left - steps, calls + 1
            assert len(ended) + len(pool.occupied) + len(pool.waiting) == everybody
            assert calls < 1000, "no end"
    assert sorted(ended) == list(range(everybody)) and used(made) == 0


@pytest.mark.parametrize("slots", [1, 4])
def test_a_table_read_back_is_the_room_it_was(slots):
    made, other = room(20, slots), room(20, slots)
    members = [(slot, sample(slot, prompt_id=0)) for slot in range(slots)]
    assert all(made.admit(*member) for member in members)
    made.plan(6)
    other.load(made.table.copy(), members)
    assert used(other) == used(made) and (other.table == made.table).all()
    assert other.plan(9) == made.plan(9) and used(other) == used(made)
