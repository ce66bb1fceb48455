import json

import numpy as np
import pytest

from ulorl_jax.data.stairs import QUESTIONS, teacher_climb, write_stairs
from ulorl_jax.rewards import Judge
from ulorl_jax.types import Attempt
from ulorl_jax.verify.final_answer import FinalAnswer

SIZES = {"train": 300, "heldout": 60, "supervised": 400, "max_output_tokens": 24}
judge = Judge(FinalAnswer(), "#")


def read(paths):
    return {name: [json.loads(line) for line in path.read_text().splitlines()] for name, path in paths.items()}


def is_right(answer, reference):
    return judge([Attempt("", reference, answer)])[0].reward == 1


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return read(write_stairs(tmp_path_factory.mktemp("stairs"), seed=0, **SIZES))


def test_the_teacher_strides_from_the_ground_and_stops_at_the_stair_or_beyond():
    rng, back, lengths = np.random.default_rng(0), 0, []
    for stair in [3, 4, 5, 6, 7, 8] * 300:
        *climbed, last = teacher_climb(stair, rng).split(",")
        ways = [0, *map(int, climbed)]
        strides = np.diff(ways)
        assert last == f"#{ways[-1]}" and set(strides.tolist()) <= {1, 2, -1}
        assert ways[-1] in (stair, stair + 1) and max(ways[:-1]) < stair and strides[0] > 0
        back += np.count_nonzero(strides < 0)
        lengths.append(len(strides))
    assert 0.15 < back / sum(lengths) < 0.25
    assert max(lengths) > 3 * np.median(lengths)  # a tail


def test_the_teacher_is_right_about_two_times_in_three():
    rng = np.random.default_rng(1)
    right = [is_right(teacher_climb(stair, rng), f"#{stair}") for stair in [3, 4, 5, 6, 7, 8] * 300]
    assert 0.62 < np.mean(right) < 0.78


def test_there_are_several_right_ways(written):
    by_stair = {}
    for row in written["supervised"]:
        stair = row["question"][2]
        if is_right(row["answer"], f"#{stair}"):
            by_stair.setdefault(stair, set()).add(row["answer"])
    assert sorted(by_stair) == list("345678") and min(map(len, by_stair.values())) >= 4


def test_references_are_the_questions_stairs_and_no_question_comes_twice(written):
    questions = [row["question"] for split in ("heldout", "train") for row in written[split]]
    assert len(set(questions)) == len(questions) == 360
    assert all(row["answer"] == f"#{row['question'][2]}" for split in ("heldout", "train") for row in written[split])
    held_out = {row["question"] for row in written["heldout"]}
    assert not held_out & {row["question"] for row in written["supervised"]}
    assert max(len(row["answer"]) for row in written["supervised"]) == 22  # L and the end token aside


def test_files_that_are_there_are_found_again_and_another_seed_writes_others(tmp_path):
    few = SIZES | {"train": 5, "heldout": 5, "supervised": 5}
    paths = write_stairs(tmp_path, seed=0, **few)
    first, times = read(paths), {path: path.stat().st_mtime_ns for path in paths.values()}
    assert write_stairs(tmp_path, seed=0, **few) == paths
    assert {path: path.stat().st_mtime_ns for path in paths.values()} == times
    other = read(write_stairs(tmp_path, seed=1, **few))
    assert all(other[split] != first[split] for split in first)
    assert read(write_stairs(tmp_path, seed=0, **few)) == first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_output_tokens": 6}, "max_output_tokens must be at least 7.*got 6"),
        ({"train": QUESTIONS}, rf"there are {QUESTIONS} questions; got heldout=60 and train={QUESTIONS}"),
        ({"train": 0, "heldout": QUESTIONS}, "ask for fewer"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        write_stairs(tmp_path, seed=0, **SIZES | changes)
