import json

import pytest

from ulorl_jax.data.decisions import DROP, KEEP, Row
from ulorl_jax.data.evaluated import Evaluated, make_too_easy, make_wrong_references
from ulorl_jax.io.record_reader import read_record

QUESTION = "What is  $1+1$?\n"


def write_record(path, outputs, *, question=QUESTION, reference="2", weights="a" * 64):
    """A record of one question, whose outputs are pairs of answer and reward."""
    lines = [
        {"kind": "header", "weights": {"path": path.name, "sha256": weights}, "samples": len(outputs)},
        {"kind": "problem", "id": "7", "question": question, "prompt": question, "reference": reference},
    ]
    for sample, (answer, reward) in enumerate(outputs):
        output = {"output": "...", "num_tokens": 3, "finished": "eos", "answer": answer, "reward": reward, "reason": ""}
        lines.append({"kind": "output", "problem": "7", "sample": sample} | output)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def evaluated(path, outputs, **changes):
    return Evaluated(read_record(write_record(path, outputs, **changes)))


def row(question="What is $1+1$?", answer="2", **changes):
    return Row("1", "file:1", "test", question, answer, **changes)


@pytest.mark.parametrize(
    ("rewards", "action", "reason"),
    [
        ([1.0] * 8, DROP, "right in every try"),
        ([1.0] * 9, DROP, "right in every try"),
        ([1.0] * 7, KEEP, "fewer than 8 tries in the record"),
        ([1.0] * 7 + [0.0], KEEP, ""),
        ([1.0] * 8 + [0.0], KEEP, ""),
        ([1.0] * 7 + [None], KEEP, ""),
        ([], KEEP, "no record of it"),
    ],
)
def test_a_question_is_too_easy_when_eight_tries_or_more_are_all_right(tmp_path, rewards, action, reason):
    rule = make_too_easy(evaluated(tmp_path / "r.jsonl", [("2", reward) for reward in rewards]), 8)
    assert (rule(row()).action, rule(row()).reason) == (action, reason)


def test_a_record_speaks_of_its_own_question_and_reference_only(tmp_path):
    rule = make_too_easy(evaluated(tmp_path / "r.jsonl", [("2", 1.0)] * 8), 8)
    assert rule(row("What is $1 + 1$?")).reason == "no record of it"
    assert rule(row(answer="3")).reason == "no record of it"
    assert rule(row(answer="II", original_answer="2")).action == DROP  # the reference it had when it was evaluated


def wrong_references(tmp_path, *records, agree=2):
    models = [evaluated(tmp_path / f"{i}.jsonl", outputs, weights=str(i)) for i, outputs in enumerate(records)]
    return make_wrong_references(models, agree)(row())


THREE, HALF, RIGHT = [("3", 0.0)] * 3 + [("9", 0.0)], [("3", 0.0), ("4", 0.0)], [("2", 1.0)] * 4


@pytest.mark.parametrize(
    ("records", "action"),
    [
        ([THREE, THREE], DROP),
        ([THREE, [("$3.0$", 0.0)] * 2], DROP),  # the same number in another spelling
        ([THREE, THREE, HALF], DROP),
        ([THREE, HALF], KEEP),  # exactly half is no majority
        ([THREE, [("4", 0.0)] * 4], KEEP),  # they disagree with each other
        ([THREE, THREE, RIGHT], KEEP),  # one model finds the reference
        ([RIGHT, RIGHT], KEEP),
        ([THREE, [(None, 0.0)] * 4], KEEP),  # no answer agrees with nothing
        ([[(None, 0.0)] * 4] * 2, KEEP),
        ([THREE, [("3", None)] * 4], KEEP),  # errors are not judged
    ],
)
def test_a_reference_is_wrong_when_two_models_have_the_same_other_majority_and_none_has_its(tmp_path, records, action):
    assert wrong_references(tmp_path, *records).action == action


def test_with_agree_three_two_models_are_not_enough(tmp_path):
    assert wrong_references(tmp_path, THREE, THREE, HALF, agree=3).action == KEEP
    assert wrong_references(tmp_path, THREE, THREE, THREE, agree=3).action == DROP


def test_questions_without_enough_records_are_kept_and_say_so(tmp_path):
    first = evaluated(tmp_path / "0.jsonl", THREE, weights="0")
    other = evaluated(tmp_path / "1.jsonl", THREE, weights="1", question="What is $1+2$?")
    rule = make_wrong_references([first, other], 2)
    assert rule(row()).reason == "fewer than 2 records of it"
    assert rule(row("What is $5+5$?")).reason == "no record of it"


def test_records_of_one_model_are_refused_wherever_they_lie(tmp_path):
    same = [evaluated(tmp_path / name, THREE) for name in ("0.jsonl", "1.jsonl")]
    with pytest.raises(ValueError, match="of the same weights; give records of different models"):
        make_wrong_references(same, 2)
    for agree in (1, 3):
        with pytest.raises(ValueError, match=f"from 2 to the number of records, 2; got {agree}"):
            make_wrong_references(same, agree)
