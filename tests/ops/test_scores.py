"""ops.scores against examples worked by hand and against going through every subset of the outputs."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulorl_jax.ops.scores import avg_at_k, bootstrap_interval, maj_at_k, pass_at_k

REWARDS = st.lists(st.integers(0, 1), min_size=1, max_size=7)
OUTPUTS = st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d", None]), st.integers(0, 1)), min_size=1, max_size=7)


def pass_by_enumeration(rewards, k):
    return np.mean([max(subset) for subset in itertools.combinations(rewards, k)])


def maj_by_enumeration(answers, rewards, k):
    worth = {a: np.mean([r for b, r in zip(answers, rewards, strict=True) if b == a]) for a in answers}

    def vote(subset):
        votes = Counter(a for a in subset if a is not None)
        return np.mean([worth[a] for a in votes if votes[a] == max(votes.values())]) if votes else 0.0

    return np.mean([vote(subset) for subset in itertools.combinations(answers, k)])


def test_pass_at_k_by_hand():
    # 5 outputs, 2 right: of the 10 pairs, 3 are of the three wrong ones; every four have a right one among them.
    rewards = [[1, 0, 1, 0, 0]]
    assert pass_at_k(rewards, 1) == pytest.approx([2 / 5])
    assert pass_at_k(rewards, 2) == pytest.approx([1 - 3 / 10])
    assert pass_at_k(rewards, 3) == pytest.approx([1 - 1 / 10])
    assert pass_at_k(rewards, 4) == pass_at_k(rewards, 5) == [1.0]


def test_maj_at_k_by_hand():
    # 7 (right), 7, 8, and an output without an answer. Of the 6 pairs: 77 wins, 78 twice ties, 7- wins twice, 8- loses.
    answers, rewards = [["7", "8", "7", None]], [[1, 0, 1, 0]]
    assert maj_at_k(answers, rewards, 2) == pytest.approx([(1 + 2 * 1 / 2 + 2 * 1 + 0) / 6])
    assert maj_at_k(answers, rewards, 1) == pytest.approx([2 / 4])
    assert maj_at_k(answers, rewards) == maj_at_k(answers, rewards, 4) == [1.0]


def test_a_tie_is_the_expected_value_of_a_fair_draw_among_the_tied_classes():
    assert maj_at_k([["1", "2", "2", "1", "3"]], [[1, 0, 0, 1, 0]]) == pytest.approx([1 / 2])
    assert maj_at_k([["1", "2", "3"]], [[1, 0, 1]]) == pytest.approx([2 / 3])


def test_outputs_without_an_answer_never_vote_and_where_nobody_votes_the_score_is_0():
    assert maj_at_k([[None, None, None, "7"], [None, None]], [[0, 0, 0, 1], [0, 0]]).tolist() == [1.0, 0.0]


def test_a_class_that_was_judged_both_ways_is_worth_its_mean():
    assert maj_at_k([["7", "7", "7", "8"]], [[1, 1, 0, 0]]) == pytest.approx([2 / 3])


@given(REWARDS, st.data())
def test_pass_at_k_equals_the_mean_over_all_subsets(rewards, data):
    k = data.draw(st.integers(1, len(rewards)))
    assert pass_at_k([rewards], k)[0] == pytest.approx(pass_by_enumeration(rewards, k))


@settings(max_examples=200, deadline=None)
@given(OUTPUTS, st.data())
def test_maj_at_k_equals_the_mean_over_all_subsets(outputs, data):
    answers, rewards = zip(*outputs, strict=True)
    k = data.draw(st.integers(1, len(answers)))
    assert maj_at_k([answers], [rewards], k)[0] == pytest.approx(maj_by_enumeration(answers, rewards, k))


@given(REWARDS)
def test_with_one_output_all_three_scores_are_the_mean_reward(rewards):
    answers = [f"right {r}" for r in rewards]
    for scores in (avg_at_k([rewards]), pass_at_k([rewards], 1), maj_at_k([answers], [rewards], 1)):
        assert scores == pytest.approx([np.mean(rewards)])


def test_problems_may_have_different_numbers_of_outputs_and_count_the_same():
    rewards = [[1, 0, 0, 0], np.array([1.0, 1.0]), [0]]
    assert avg_at_k(rewards).tolist() == [0.25, 1.0, 0.0]
    assert pass_at_k(rewards[:2], 2).tolist() == [0.5, 1.0]
    assert maj_at_k([["a", "b", "b", "b"], ["c", "c"], [None]], rewards).tolist() == [0.0, 1.0, 0.0]


def test_many_outputs_of_one_problem_neither_overflow_nor_cancel():
    rewards = [[1] + [0] * 999]
    assert pass_at_k(rewards, 500) == pytest.approx([0.5], rel=1e-12)
    assert pass_at_k([[0] * 1000], 1000).tolist() == [0.0]
    assert maj_at_k([["a", "b"] * 500], [[1, 0] * 500], 501) == pytest.approx([0.5], rel=1e-9)
    assert maj_at_k([["a", "b", None, None] * 1000], [[1, 0, 0, 0] * 1000]).tolist() == [0.5]
    assert maj_at_k([list(range(4000))], [[1] * 4000]).tolist() == [1.0]  # 4000 classes: at once, or it takes hours


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda: pass_at_k([[1, 0], [1]], 2), "problem 1 has 1 judged outputs, the score wants 2"),
        (lambda: maj_at_k([["a"]], [[1]], 2), "problem 0 has 1 judged outputs, the score wants 2"),
        (lambda: avg_at_k([[1], []]), "problem 1 has 0 judged outputs, the score wants 1"),
        (lambda: pass_at_k([[1]], 0), "k must be at least 1, got 0"),
        (lambda: avg_at_k([[0.5]]), "rewards must be 0 or 1"),
        (lambda: avg_at_k([[float("nan")]]), "rewards must be 0 or 1"),
        (lambda: maj_at_k([["a"]], [[1, 0]]), "problem 0 has 1 answers and 2 rewards"),
        (lambda: bootstrap_interval([], draws=10, seed=0), "at least one score"),
        (lambda: bootstrap_interval([1.0], draws=0, seed=0), "one draw"),
    ],
)
def test_what_no_score_can_be_made_of_is_refused(score, message):
    with pytest.raises(ValueError, match=message):
        score()


def test_the_bootstrap_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        low, high = bootstrap_interval(rng.random(60) < 0.3, draws=200, seed=1)
        inside += low <= 0.3 <= high
    assert 0.88 <= inside / 200 <= 0.98  # 95 of 100, with the noise of 200 tries and of a percentile interval


def test_the_bootstrap_interval_is_that_of_a_binomial_and_the_same_at_every_call():
    scores = [1.0] * 40 + [0.0] * 60
    low, high = bootstrap_interval(scores, draws=4000, seed=0)
    error = 1.96 * np.sqrt(0.4 * 0.6 / 100)
    assert (low, high) == pytest.approx((0.4 - error, 0.4 + error), abs=0.015)
    assert (low, high) == bootstrap_interval(scores, draws=4000, seed=0)
    assert bootstrap_interval([0.5] * 3, draws=10, seed=0) == (0.5, 0.5)
