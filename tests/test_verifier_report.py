"""The tables of a verifier's report, against numbers worked out by hand."""

import math

import numpy as np
import pytest

from ulorl_jax.verifier_report import calibration, confusion, markdown, score, tabulate
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE


def test_scores_are_those_worked_out_by_hand():
    truths = np.array([True, True, True, False, False])
    outcomes = np.array([SAME, SAME, DIFFERENT, SAME, DIFFERENT])
    assert score(truths, outcomes) == {
        "pairs": 5,
        "accuracy": 0.6,
        "precision": pytest.approx(2 / 3),  # three were called the same, two are
        "recall": pytest.approx(2 / 3),  # three are the same, two were called so
        "unsure": 0.0,
        "false_positives": 0.2,
    }


def test_unsure_is_never_right_and_no_false_positive():
    truths = np.array([True, False])
    got = score(truths, np.array([UNSURE, UNSURE]))
    assert (got["accuracy"], got["recall"], got["unsure"], got["false_positives"]) == (0.0, 0.0, 1.0, 0.0)
    assert got["precision"] is None  # nothing was called the same


def test_categories_are_told_apart_and_all_comes_first():
    table = tabulate(["b", "a", "b"], [True, True, False], {"rules": [SAME, DIFFERENT, SAME]})
    assert list(table) == ["all", "a", "b"]
    assert [table[name]["rules"]["accuracy"] for name in table] == [pytest.approx(1 / 3), 0.0, 0.5]


def test_the_confusion_counts_the_verifier_within_each_word_of_the_rules():
    truths = [True, True, False, False]
    table = confusion(truths, [SAME, UNSURE, UNSURE, UNSURE], [SAME, SAME, SAME, DIFFERENT])
    assert table == {
        "same, rules: same": {SAME: 1, DIFFERENT: 0, UNSURE: 0},
        "same, rules: unsure": {SAME: 1, DIFFERENT: 0, UNSURE: 0},
        "different, rules: unsure": {SAME: 1, DIFFERENT: 1, UNSURE: 0},
    }


def test_calibration_of_two_bins_by_hand():
    got = calibration([0.05, 0.05, 0.95, 1.0, None], [False, True, True, True, False])
    assert got["bins"] == [
        {"pairs": 2, "score": 0.05, "same": 0.5},
        {"pairs": 2, "score": pytest.approx(0.975), "same": 1.0},
    ]
    assert got["ece"] == pytest.approx((2 * 0.45 + 2 * 0.025) / 4)
    assert got["brier"] == pytest.approx((0.05**2 + 0.95**2 + 0.05**2 + 0.0) / 4)


def test_without_scores_there_is_no_calibration():
    assert calibration([None], [True]) == {"bins": [], "ece": None, "brier": None}


def test_the_table_for_people_has_a_row_per_category_with_false_positives_beside():
    table = tabulate(["a", "a"], [True, False], {"rules": [SAME, SAME], "verifier": [SAME, DIFFERENT]})
    assert markdown(table).splitlines() == [
        "| category | pairs | rules | verifier |",
        "|---|---|---|---|",
        "| all | 2 | 50.0 (50.0) | 100.0 (0.0) |",
        "| a | 2 | 50.0 (50.0) | 100.0 (0.0) |",
    ]
    assert not any(math.isnan(v["accuracy"]) for row in table.values() for v in row.values())
