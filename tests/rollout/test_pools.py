"""The pools: what is placed, what is released, and that no sampled token is lost on the way (T8)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulorl_jax.rollout.pools import ExperiencePool, Ledger, UnfinishedPool
from ulorl_jax.types import EOS, LIMIT, Prompt, Sample, Segment, Verdict

RIGHT, WRONG, ERROR = Verdict(1.0), Verdict(0.0), Verdict(None, "the verifier died")


def prompt(number):
    return Prompt(number, np.array([1, 2], np.int32), "")


def segment(length, step=0):
    return Segment(np.zeros(length, np.int32), np.zeros(length, np.float32), step, "prefill")


def finished(sample_id, group, length=1):
    return Sample(sample_id, prompt(sample_id // group)).append(segment(length), EOS)


def pool_of(group, verdicts):
    """An experience pool to which the samples 0, 1, .. were added one by one."""
    pool = ExperiencePool(group)
    for i, verdict in enumerate(verdicts):
        pool.add([finished(i, group)], [verdict])
    return pool


def test_new_samples_take_the_free_slots_in_order_and_the_rest_wait():
    pool = UnfinishedPool(5)
    assert pool.missing == 5
    pool.add_prompts([prompt(4), prompt(9)], 3)
    assert pool.missing == 0 and pool.place() == [0, 1, 2, 3, 4]
    assert [sample.id for _, sample in pool.occupied] == [12, 13, 14, 27, 28]
    assert [sample.id for sample in pool.waiting] == [29] and pool.free == [] and pool.missing == 0
    pool.slots[1] = pool.slots[3] = None
    assert pool.free == [1, 3] and pool.missing == 1  # one of the two is for the sample that waits
    assert pool.place() == [1] and pool.slots[1].id == 29 and pool.place() == []


def test_samples_of_the_group_nearest_to_its_release_are_placed_first():
    pool = UnfinishedPool(4, finish_groups=True)
    pool.add_prompts([prompt(0), prompt(1), prompt(2)], 3)
    assert pool.place() == [0, 1, 2, 3]  # groups are equal: in order
    pool.slots[3] = None  # of group 1, which has two left
    pool.withdraw({0: Sample(0, prompt(0)), 2: Sample(2, prompt(0))})
    assert pool.place() == [0, 2, 3]
    assert [sample.id for _, sample in pool.occupied] == [4, 1, 5, 0]
    assert [sample.id for sample in pool.waiting] == [2, 6, 7, 8]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_sample_waits_for_a_group_that_was_started_after_it_began_to_wait(data):
    """Ends, withdrawals and room of any kind: so whoever waits does so for finitely many."""
    group, pool, cursor = data.draw(st.integers(1, 4)), UnfinishedPool(3, finish_groups=True), 0
    begun: dict[int, int] = {}  # waiting sample -> prompts taken when it began to wait
    for _ in range(data.draw(st.integers(1, 12))):
        wanted = -(-pool.missing // group)
        pool.add_prompts([prompt(cursor + i) for i in range(wanted)], group)
        cursor += wanted
        begun |= {sample.id: cursor for sample in pool.waiting if sample.id not in begun}
        room = data.draw(st.integers(0, 3))
        placed = [pool.slots[slot] for slot in pool.place(lambda slot, sample: len(pool.occupied) < room)]  # noqa: B023
        for sample in placed:
            del begun[sample.id]
            assert all(sample.prompt.id < taken for taken in begun.values())
        for slot, sample in pool.occupied:
            fate = data.draw(st.sampled_from(["stays", "ends", "leaves"]))
            if fate == "ends":
                pool.slots[slot] = None
            if fate == "leaves":
                pool.withdraw({slot: sample})
                begun[sample.id] = cursor


def test_tokens_of_a_sample_that_waits_for_a_slot_count_as_in_the_pool():
    pool = UnfinishedPool(1)
    pool.slots[0] = Sample(0, prompt(0)).append(segment(3))
    pool.waiting.append(Sample(1, prompt(0)).append(segment(4)))
    assert pool.num_tokens == 7


def test_a_group_is_released_only_when_its_last_sample_is_finished():
    pool = pool_of(3, [RIGHT, WRONG])
    released = pool.release()
    assert not (released.informative or released.uninformative or released.errors) and pool.num_tokens == 2
    pool.add([finished(2, 3)], [WRONG])
    (group,) = pool.release().informative
    assert [sample.id for sample in group.samples] == [0, 1, 2] and group.rewards.tolist() == [1, 0, 0]
    assert group.rewards.dtype == np.float32 and pool.entries == [] and not pool.release().informative


def test_groups_come_out_by_prompt_and_samples_by_id_whatever_order_they_finished_in():
    pool = ExperiencePool(2)
    for i, verdict in ((7, WRONG), (2, RIGHT), (6, RIGHT), (3, WRONG)):
        pool.add([finished(i, 2)], [verdict])
    groups = pool.release().informative
    assert [group.prompt_id for group in groups] == [1, 3]
    assert [[sample.id for sample in group.samples] for group in groups] == [[2, 3], [6, 7]]
    assert [group.rewards.tolist() for group in groups] == [[1, 0], [1, 0]]


@pytest.mark.parametrize(
    ("verdicts", "informative", "uninformative", "errors"),
    [
        ([RIGHT, WRONG, WRONG], [0, 1, 2], [], []),
        ([RIGHT, RIGHT, RIGHT], [], [0, 1, 2], []),
        ([WRONG, WRONG, WRONG], [], [0, 1, 2], []),
        ([RIGHT, ERROR, WRONG], [0, 2], [], [1]),
        ([RIGHT, ERROR, RIGHT], [], [0, 2], [1]),
        ([ERROR, RIGHT, ERROR], [], [1], [0, 2]),
        ([ERROR, ERROR, ERROR], [], [], [0, 1, 2]),
    ],
)
def test_errors_leave_the_group_and_the_rest_is_judged_among_itself(verdicts, informative, uninformative, errors):
    released = pool_of(3, verdicts).release()

    def ids(groups):
        return [sample.id for group in groups for sample in group.samples]

    assert ids(released.informative) == informative
    assert ids(released.uninformative) == uninformative
    assert [sample.id for sample in released.errors] == errors


def test_an_unfinished_sample_is_kept_out_of_the_experience_pool():
    with pytest.raises(AssertionError, match="sample 0 is not finished"):
        ExperiencePool(2).add([Sample(0, prompt(0)).append(segment(1))], [RIGHT])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_T8_the_ledger_balances_at_every_step_of_any_history(data):
    """Segments of any length, ends, verdicts, skipped updates, slots taken away: a token is always in one place."""
    group = data.draw(st.integers(2, 4), "G")
    unfinished, experience, ledger = (
        UnfinishedPool(data.draw(st.integers(1, 6), "slots")),
        ExperiencePool(group),
        Ledger(),
    )
    lengths, verdicts = st.integers(1, 5), st.sampled_from([RIGHT, WRONG, ERROR])
    cursor = 0
    for step in range(data.draw(st.integers(1, 8), "steps")):
        if data.draw(st.integers(0, 5), "resumed with another number of slots?") == 0:
            samples = [sample for _, sample in unfinished.occupied] + list(unfinished.waiting)
            unfinished = UnfinishedPool(data.draw(st.integers(1, 6), "slots"))
            unfinished.waiting.extend(samples)
        wanted = -(-unfinished.missing // group)
        unfinished.add_prompts([prompt(cursor + i) for i in range(wanted)], group)
        cursor += wanted
        unfinished.place()
        done = []
        for slot, sample in unfinished.occupied:
            length, end = data.draw(lengths), data.draw(st.sampled_from(["", "", EOS, LIMIT]))
            ledger.sampled += length
            sample = sample.append(segment(length, step), end)
            unfinished.slots[slot] = None if end else sample
            done += [sample] if end else []
        experience.add(done, [data.draw(verdicts) for _ in done])
        released = experience.release()

        def tokens(groups):
            return sum(sample.num_tokens for each in groups for sample in each.samples)

        if data.draw(st.booleans(), "update applied?"):
            ledger.trained += tokens(released.informative)
        else:
            ledger.skipped += tokens(released.informative)
        ledger.uninformative += tokens(released.uninformative)
        ledger.error += sum(sample.num_tokens for sample in released.errors)
        in_pools = unfinished.num_tokens + experience.num_tokens
        ledger.check(in_pools)
        for off in (-1, 1):
            with pytest.raises(RuntimeError, match="does not balance"):
                ledger.check(in_pools + off)
        assert all(0 < len(members) < group for members in experience.groups.values())


def test_a_lost_token_is_reported_with_the_books():
    ledger = Ledger(sampled=10, trained=4, uninformative=2, error=1, skipped=1)
    ledger.check(2)
    with pytest.raises(RuntimeError, match=r"10 sampled, but 8 settled and 1 in the pools .*'trained': 4"):
        ledger.check(1)
