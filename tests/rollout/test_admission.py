"""How long outputs will get, and how many pages they will want: by hand, against the truth, and by drawing lots."""

import json

import numpy as np
import pytest

from tests.rollout.test_room import LIMIT, PROMPT, SIZE, room, sample, used
from ulorl_jax.rollout.admission import STRETCHES, LifeTable

FOR_EVER = 10**12  # ended outputs until a count has faded


def watch(table, lengths, ended):
    """Shows outputs to a table: all that they have drawn, and which of them have ended."""
    table.draw(np.zeros(len(lengths), np.int64), np.asarray(lengths))
    for length, end in zip(lengths, ended, strict=True):
        if end:
            table.end(length)


def long_tail(count, limit, seed=0):
    return np.minimum(np.exp(np.random.default_rng(seed).normal(np.log(0.27 * limit), 0.7, count)), limit).astype(int)


def test_chances_by_hand():
    table = LifeTable(4, FOR_EVER)
    watch(table, [1, 2, 2, 3], [True, True, True, False])
    assert table.width == 1 and table.at_risk == pytest.approx([4, 3, 1, 0])
    assert table.ends == pytest.approx([1, 2, 0, 0])
    # And one output more in each stretch, which ends there with the mean chance of 3 ends in 8 stretches.
    through = 1 - np.array([1 + 3 / 8, 2 + 3 / 8, 3 / 8, 3 / 8]) / [5, 4, 2, 1]
    np.testing.assert_allclose(table.survival[0], np.cumprod([1, *through]))
    np.testing.assert_allclose(table.survival[2], [1, through[2], through[2] * through[3], 0, 0])
    # Ends are taken to be spread evenly over a stretch, and so a third token is half one.
    assert table.expected(np.array([2]))[0] == pytest.approx(2 + 0.5 + through[2] * (1 + through[3] / 2))


def test_the_last_stretch_of_an_output_counts_whole():
    table = LifeTable(10 * STRETCHES, FOR_EVER)
    watch(table, [13, 27, 20], [True, False, True])
    assert table.width == 10 and table.at_risk[:4] == pytest.approx([3, 3, 0.7, 0])
    assert table.ends[:4] == pytest.approx([0, 2, 0, 0])


def test_it_does_not_matter_in_how_many_calls_an_output_is_drawn():
    one, many = LifeTable(1000, FOR_EVER), LifeTable(1000, FOR_EVER)
    one.draw(np.array([5, 0]), np.array([700, 33]))
    for first in range(5, 705, 7):
        many.draw(np.array([first]), np.array([7]))
    many.draw(np.array([0]), np.array([33]))
    np.testing.assert_allclose(one.at_risk, many.at_risk)


def test_those_still_running_correct_what_the_first_to_end_seem_to_say():
    limit = 4096
    lengths, now = long_tail(600, limit), 0.3 * limit  # all began together
    ended = lengths <= now
    assert 0.4 < ended.mean() < 0.7 and lengths[ended].mean() < 0.6 * lengths.mean()
    table = LifeTable(limit, FOR_EVER)
    watch(table, np.minimum(lengths, int(now)), ended)
    assert table.expected(np.array([0]))[0] == pytest.approx(lengths.mean(), rel=0.15)


def test_in_a_steady_stream_the_expected_length_is_the_true_one_for_any_number_of_tokens():
    limit, slots = 4096, 64
    lengths = long_tail(4000, limit)
    table, at, started, step = LifeTable(limit, 8 * slots), np.zeros(slots, np.int64), slots, 16
    length = lengths[:slots].copy()
    while started < len(lengths):
        drew = np.minimum(length - at, step)
        table.draw(at, drew)
        at += drew
        for slot in np.flatnonzero(at == length):
            table.end(int(at[slot]))
            length[slot], at[slot] = lengths[started % len(lengths)], 0
            started += 1
    for tokens in (0, 500, 1500, 3000):
        true = lengths[lengths > tokens].mean()
        assert table.expected(np.array([tokens]))[0] == pytest.approx(true, rel=0.1), tokens


@pytest.mark.parametrize("fixed", [700, 1000])
def test_where_all_outputs_are_of_one_length_it_is_expected_of_all(fixed):
    table = LifeTable(1000, FOR_EVER)
    watch(table, [fixed] * 200, [True] * 200)  # at 1000, the limit, they are truncated
    assert table.expected(np.array([0, 300, 650])) == pytest.approx([fixed] * 3, rel=0.02)


def test_what_was_long_ago_is_forgotten():
    table = LifeTable(1000, memory=50)
    watch(table, [900] * 400, [True] * 400)
    for _ in range(400):
        watch(table, [100], [True])
    assert table.expected(np.array([0]))[0] == pytest.approx(100, rel=0.1)
    assert table.at_risk.max() < 52


def test_nine_times_in_ten_outputs_want_no_more_pages_than_predicted():
    limit, size, rng = 2048, 16, np.random.default_rng(1)
    table = LifeTable(limit, FOR_EVER)
    watch(table, lengths := long_tail(2000, limit), [True] * len(lengths))
    now = rng.integers(0, 1200, 200)
    pages = (now + 100) / size + 0.5
    predicted = table.demand(now, pages, size)
    # Lots are drawn among the true lengths of those that got as far.
    ends = np.stack([rng.choice(lengths[lengths > n], 2000) for n in now], axis=1)
    for k in (2, 8, 16, 40):
        later = now + k * table.width
        wanted = np.where(ends > later, pages + k * table.width / size, 0).sum(axis=1)
        assert 0.85 < (wanted <= predicted[k]).mean() < 0.95, k
    assert predicted[0] == pytest.approx(pages.sum()) and predicted[-1] < predicted[0] / 100


def test_a_table_goes_through_a_checkpoint_bit_by_bit():
    table, other = LifeTable(1000, 30), LifeTable(1000, 30)
    watch(table, long_tail(100, 1000), [True] * 100)
    other.load(json.loads(json.dumps(table.encode())))
    for each in (table, other):
        watch(each, [17, 300], [True, False])
    assert table.ended == other.ended == 101 and (table.survival == other.survival).all()


def everybody_gets_to_the_limit(made):
    """Teaches a room, for certain, that no output ends before L."""
    made.life_table.draw(np.zeros(100, np.int64), np.full(100, LIMIT))
    for _ in range(100):
        made.life_table.end(LIMIT)
    return made


def test_a_sample_that_fits_now_is_refused_when_all_together_will_not():
    # Each has three pages now, for the 11 tokens of its prompt, and will want five more for an output of 20.
    for count, admitted in ((31, 3), (32, 4)):
        made = everybody_gets_to_the_limit(room(count))
        assert [made.admit(slot, sample(slot)) for slot in range(4)] == [slot < admitted for slot in range(4)]
        assert made.metrics()["rollout/refused"] == 4 - admitted
        assert made.metrics()["rollout/pages_predicted"] == pytest.approx(8 * admitted / count)
        assert used(made) == 3 * admitted


@pytest.mark.parametrize(("factor", "admitted"), [(0.0, 4), (0.1, 1), (0.5, 2), (1.0, 4)])
def test_over_provisioning_says_how_much_of_the_pool_may_be_wanted(factor, admitted):
    made = everybody_gets_to_the_limit(room(32, over_provisioning=factor))
    assert sum(made.admit(slot, sample(slot)) for slot in range(4)) == admitted  # one is always admitted


def test_more_pages_than_there_are_may_be_wanted_later():
    made = everybody_gets_to_the_limit(room(16, over_provisioning=2.0))
    assert sum(made.admit(slot, sample(slot)) for slot in range(4)) == 4


def test_the_pages_of_a_prompt_are_wanted_once():
    # Two full pages of the prompt in common, and six of its own for each: 2 + 4 * 6 = 26.
    for count, admitted in ((25, 3), (26, 4)):
        made = everybody_gets_to_the_limit(room(count))
        assert sum(made.admit(slot, sample(slot, prompt_id=7)) for slot in range(4)) == admitted


def test_before_as_many_have_ended_as_there_are_slots_nothing_is_predicted():
    made = room(16)
    for _ in range(3):
        made.life_table.draw(np.array([0]), np.array([LIMIT]))
        made.life_table.end(LIMIT)
    assert sum(made.admit(slot, sample(slot)) for slot in range(4)) == 4
    assert made.metrics() == {"rollout/pages_peak": 0.0, "rollout/refused": 0.0}


def test_the_error_is_that_of_the_lengths_predicted_when_the_step_began():
    made = everybody_gets_to_the_limit(room(32))
    assert made.admit(0, sample(0)) and made.admit(1, sample(1, output=8))
    made.begin()
    made.grow(np.array([12, 12, 0, 0]))
    made.end(0)
    made.end(1)
    # L was predicted for both; they ended with 12 and 20 tokens.
    values = made.metrics()
    assert values["rollout/len_predicted"] == LIMIT and values["rollout/len_error"] == 4
    assert used(made) == 0 and made.life_table.ended == 102


def test_whom_a_part_has_refused_it_refuses_until_something_changes():
    made = everybody_gets_to_the_limit(room(31))
    assert all(made.admit(slot, sample(slot)) for slot in range(3))
    last = sample(3)
    assert not made.admit(3, last) and not made.admit(3, last)
    made.release(1)
    assert made.admit(3, last) and PROMPT // SIZE == 2
