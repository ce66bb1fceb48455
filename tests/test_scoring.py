"""From a record to its scores, by hand."""

import numpy as np
import pytest

from ulorl_jax.io.record_reader import Record
from ulorl_jax.scoring import score_record
from ulorl_jax.types import EOS, LIMIT

HEADER = {"samples": 4, "seed": 3, "scoring": {"pass_at": [1, 2, 4], "bootstrap": 500}}
# Answers, a right one with a star, an error with a question mark; "" is an output without an answer.
BY_HAND = {
    "a": ["7*", "7*", "8", ""],  # avg 1/2, pass@2 1 - 1/6, maj 1
    "b": ["1*", "2", "", "cut"],  # avg 1/4, pass@2 1 - 3/6, maj 1/2: a tie
    "c": ["x?", "5*", "5*", "y?"],  # two judged outputs: avg 1, pass@2 1, not in pass@4, maj 1
    "d": ["x?", "x?", "x?", "x?"],  # none judged
}


def make_record(answers=BY_HAND, header=HEADER) -> Record:
    outputs = []
    for problem, row in answers.items():
        for sample, text in enumerate(row):
            cut = text == "cut"
            reward = None if text.endswith("?") else float(text.endswith("*"))
            answer = None if cut else text.strip("*?") or None
            outputs.append(
                {"problem": problem, "sample": sample, "output": text, "num_tokens": 10 * sample + 1, "answer": answer,
                 "finished": LIMIT if cut else EOS, "reward": reward, "reason": "why not"}
            )  # fmt: skip
    return Record(header, {name: {"id": name} for name in answers}, outputs)


def test_scores_by_hand():
    scores = score_record(make_record())
    assert {name: (scores[name]["score"], scores[name]["problems"]) for name in scores if "@" in name} == {
        "avg@4": (pytest.approx((1 / 2 + 1 / 4 + 1) / 3), 3),
        "pass@1": (pytest.approx((1 / 2 + 1 / 4 + 1) / 3), 3),
        "pass@2": (pytest.approx((5 / 6 + 1 / 2 + 1) / 3), 3),
        "pass@4": (pytest.approx(1.0), 2),
        "maj@4": (pytest.approx((1 + 1 / 2 + 1) / 3), 3),
    }
    assert (scores["problems"], scores["unjudged_problems"], scores["outputs"], scores["errors"]) == (4, 1, 16, 6)
    assert (scores["without_answer"], scores["truncated"], scores["tokens"]) == (3 / 16, 1 / 16, 4 * (1 + 11 + 21 + 31))
    assert scores["length"] == {"mean": 16.0, "p50": 16.0, "p99": pytest.approx(31.0), "max": 31}


def test_the_bounds_are_the_mean_of_all_problems_had_all_errors_been_wrong_and_had_they_been_right():
    answers = {"a": ["1*", "2", "3?", "4?"], "b": ["1*", "1*", "1*", "1*"], "d": ["1?", "1?", "1?", "1?"]}
    scores = score_record(make_record(answers))
    assert scores["avg@4"]["score"] == pytest.approx((1 / 2 + 1) / 2)
    assert scores["avg_bounds"] == [pytest.approx((1 / 4 + 1 + 0) / 3), pytest.approx((3 / 4 + 1 + 1) / 3)]


def test_a_header_that_does_not_say_how_to_score_is_refused():
    with pytest.raises(ValueError, match=r"header lacks \['samples', 'scoring'\]"):
        score_record(make_record(header={"seed": 0}))


def test_outputs_that_an_unfinished_record_lacks_are_counted():
    record = make_record()
    assert score_record(record)["missing"] == 0
    assert score_record(Record(record.header, record.problems, record.outputs[:-3]))["missing"] == 3


def test_every_score_stands_in_its_interval_and_is_the_same_at_every_call():
    scores = score_record(make_record())
    for name in scores:
        if "@" in name:
            assert scores[name]["low"] <= scores[name]["score"] <= scores[name]["high"]
    assert scores["avg@4"]["low"] < scores["avg@4"]["high"]
    assert scores == score_record(make_record())


def test_a_score_that_no_problem_has_outputs_for_is_none_and_not_nan():
    scores = score_record(make_record({"c": BY_HAND["c"]}))
    assert scores["pass@4"] == {"score": None, "low": None, "high": None, "problems": 0}
    assert scores["pass@2"]["score"] == 1.0


@pytest.mark.parametrize("answers", [{"d": BY_HAND["d"]}, {"d": []}], ids=["errors", "nothing"])
def test_a_record_of_which_nothing_was_judged_has_no_score(answers):
    with pytest.raises(ValueError, match=r"outputs could be judged.*check data\.answer_field"):
        score_record(make_record(answers))


def test_the_order_of_the_outputs_does_not_matter():
    record = make_record()
    mixed = [record.outputs[i] for i in np.random.default_rng(0).permutation(len(record.outputs))]
    assert score_record(Record(record.header, record.problems, mixed)) == score_record(record)
