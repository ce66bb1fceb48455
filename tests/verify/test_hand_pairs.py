"""The exam itself: enough pairs, of every kind, about the problems they were written for."""

import dataclasses
import json
import shutil
from collections import Counter

import pytest

from tests.verify import hand_pairs

pytest.importorskip("pyarrow")

# A hedge is never an answer, and there is no problem without a solution among these.
NEVER_SAME = {"hedge", "no answer"}


@pytest.fixture(scope="module")
def lines():
    return [json.loads(line) for line in hand_pairs.FILE.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def pairs(data_dir):
    return hand_pairs.read_hand_pairs(data_dir)


def one_row(tmp_path, line, answer="#### 18", rows=1):
    """A data folder with rows of GSM8K alone and a file of one pair about it."""
    folder = tmp_path / "data"
    (folder / "gsm8k").mkdir(parents=True)
    row = json.dumps({"question": "How much?", "answer": f"9 * 2 = 18\n{answer}"})
    (folder / "gsm8k" / "test.jsonl").write_text((row + "\n") * rows)
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps(line) + "\n")
    return folder, file


LINE = {"source": "gsm8k", "row": 0, "check": "4ec9599f", "predicted": "\\$18", "same": True, "category": "money"}


def test_every_check_fits_and_the_pairs_are_in_the_order_of_the_file(pairs, lines):
    assert [(p.source, p.row, p.predicted, p.same, p.category) for p in pairs] == [
        (line["source"], line["row"], line["predicted"], line["same"], line["category"]) for line in lines
    ]
    assert all(p.question.strip() and p.reference.strip() for p in pairs)


def test_there_are_200_pairs_and_enough_problems_of_each_source(lines):
    assert len(lines) >= 200
    problems = Counter(source for source, _ in {(line["source"], line["row"]) for line in lines})
    assert set(problems) == set(hand_pairs.SOURCES)
    assert problems["math500"] >= 70 and problems["deepscaler"] >= 90 and problems["gsm8k"] >= 40


def test_each_label_is_given_to_two_fifths_or_more(lines):
    told = Counter(line["same"] for line in lines)
    assert set(told) == {True, False}
    assert min(told.values()) >= 0.4 * len(lines)


def test_no_pair_is_there_twice(lines):
    counts = Counter((line["source"], line["row"], line["predicted"].strip()) for line in lines)
    assert [pair for pair, count in counts.items() if count > 1] == []


def test_no_prediction_is_its_reference_letter_for_letter(pairs):
    assert [p for p in pairs if p.predicted.strip() == p.reference.strip()] == []


def test_every_category_has_both_labels_but_those_never_the_same(lines):
    labels = {}
    for line in lines:
        labels.setdefault(line["category"], set()).add(line["same"])
    assert {category: told for category, told in labels.items() if told != {True, False}} == dict.fromkeys(
        NEVER_SAME, {False}
    )


def test_every_line_has_these_fields_and_no_copy_of_the_data(lines):
    fields = {"source": str, "row": int, "check": str, "predicted": str, "same": bool, "category": str}
    assert all({name: type(value) for name, value in line.items()} == fields for line in lines)
    assert all(len(line["check"]) == 8 and len(line["predicted"]) <= 100 for line in lines)


def test_a_pair_is_read_with_its_question_and_what_follows_the_marker(tmp_path):
    folder, file = one_row(tmp_path, LINE)
    (pair,) = hand_pairs.read_hand_pairs(folder, file)
    assert dataclasses.astuple(pair) == ("How much?", "18", "\\$18", True, "money", "gsm8k", 0)


def test_a_changed_reference_is_refused_by_its_row(tmp_path):
    folder, file = one_row(tmp_path, LINE, answer="#### 19")
    with pytest.raises(ValueError, match=r"gsm8k row 0: its reference '19' has check \w{8}, want 4ec9599f"):
        hand_pairs.read_hand_pairs(folder, file)


def test_a_row_that_is_not_there_is_refused_by_name(tmp_path):
    folder, file = one_row(tmp_path, LINE | {"row": 2}, rows=2)
    with pytest.raises(ValueError, match="gsm8k row 2: no such row"):
        hand_pairs.read_hand_pairs(folder, file)


def test_a_missing_data_set_is_refused(tmp_path):
    folder, file = one_row(tmp_path, LINE)
    shutil.rmtree(folder / "gsm8k")
    with pytest.raises(ValueError, match="no such file.*gsm8k"):
        hand_pairs.read_hand_pairs(folder, file)
