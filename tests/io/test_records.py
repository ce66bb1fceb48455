"""io.records: whatever kills the writing, the record is the same; nothing of another evaluation is taken for it."""

import itertools
import json

import numpy as np
import pytest

from ulorl_jax.io.record_reader import FINAL, read_record
from ulorl_jax.io.records import PARTIAL, UNFINISHED, RecordInProgress

HEADER = {"seed": 0, "sampler": {"temperature": 0.85, "top_k": 20}, "versions": {"jax": "1"}}
PROBLEMS = [{"id": name, "question": f"{name}?", "prompt": f"<{name}?>", "reference": "1"} for name in ("z", "a", "ü")]


def output(problem: str, sample: int) -> dict:
    text = f"of {problem} \n" + "x" * sample
    return {"problem": problem, "sample": sample, "output": text, "num_tokens": 3, "finished": "eos",
            "answer": "1", "reward": [1.0, 0.0, None][sample % 3], "reason": "“”"}  # fmt: skip


# As they finish: neither problems nor samples in order.
OUTPUTS = [output(p, s) for p, s in (("a", 1), ("z", 0), ("ü", 0), ("a", 0), ("z", 1), ("ü", 1))]


def open_record(folder, header=HEADER, problems=PROBLEMS, follows=False) -> RecordInProgress:
    return RecordInProgress(folder, header, problems, free=["versions"], follows=follows)


def write(folder, cuts=()) -> bytes:
    """The record, made in parts: each cut is (outputs committed, outputs appended before the kill)."""
    done = 0
    for committed, appended in [*cuts, (len(OUTPUTS), len(OUTPUTS))]:
        record = open_record(folder)
        assert [(row["problem"], row["sample"]) for row in record.outputs] == [
            (row["problem"], row["sample"]) for row in OUTPUTS[:done]
        ]
        record.append(OUTPUTS[done:committed])
        record.commit({"at": committed}, {"tokens": np.arange(committed)})
        record.append(OUTPUTS[committed:appended])
        record.close()
        done = committed
    record = open_record(folder)
    assert record.about == {"at": len(OUTPUTS)} and record.arrays["tokens"].tolist() == list(range(len(OUTPUTS)))
    return record.finish().read_bytes()


def test_a_record_is_the_same_bytes_however_often_its_writing_was_killed(tmp_path):
    whole = write(tmp_path / "whole")
    for number, (committed, lost) in enumerate(itertools.product(range(len(OUTPUTS) + 1), (0, 1, 2))):
        assert write(tmp_path / str(number), [(committed, committed + lost)]) == whole
    assert write(tmp_path / "often", [(0, 1), (1, 3), (1, 2), (4, 6)]) == whole
    assert sorted(path.name for path in (tmp_path / "often").iterdir()) == [FINAL]


def test_who_follows_reads_what_was_committed_and_changes_nothing(tmp_path):
    first = open_record(tmp_path)
    first.append(OUTPUTS[:2])
    first.commit({"at": 2}, {"tokens": np.arange(2)})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    follower = open_record(tmp_path, follows=True)  # though the first holds the lock
    assert follower.about == {"at": 2} and follower.arrays["tokens"].tolist() == [0, 1]
    assert [row["sample"] for row in follower.outputs] == [row["sample"] for row in OUTPUTS[:2]]
    follower.append(OUTPUTS[2:])
    follower.commit({"at": 9}, {})
    follower.finish()
    follower.close()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_who_follows_and_does_not_see_the_record_writes_none_over_it(tmp_path):
    with pytest.raises(ValueError, match="is not there for this process"):
        open_record(tmp_path, follows=True)
    assert not list(tmp_path.iterdir())


def test_a_record_reads_back_as_it_was_given_in_the_order_of_the_problems(tmp_path):
    write(tmp_path)
    record = read_record(tmp_path / FINAL)
    assert record.header == HEADER
    assert list(record.problems.values()) == PROBLEMS
    assert record.outputs == [output(p, s) for p, s in itertools.product(("z", "a", "ü"), (0, 1))]
    assert read_record(tmp_path) == record


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_a_kill_cut_off_is_dropped_and_made_again(tmp_path, cut):
    whole = write(tmp_path / "whole")
    record = open_record(tmp_path / "cut")
    record.append(OUTPUTS[:3])
    record.commit({}, {})
    record.append(OUTPUTS[3:4])
    record.close()
    path = tmp_path / "cut" / PARTIAL
    path.write_bytes(path.read_bytes()[:-cut])
    assert len(read_record(path).outputs) == 3
    record = open_record(tmp_path / "cut")
    assert len(record.outputs) == 3
    record.append(OUTPUTS[3:])
    assert record.finish().read_bytes() == whole


def test_two_processes_cannot_make_one_record(tmp_path):
    first = open_record(tmp_path)
    first.append(OUTPUTS)
    first.commit({}, {})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="is being evaluated by another process; wait for it, or use another"):
        open_record(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    first.close()  # as a kill does
    assert len(open_record(tmp_path).outputs) == len(OUTPUTS)


def test_before_the_first_commit_it_starts_over(tmp_path):
    record = open_record(tmp_path)
    record.append(OUTPUTS[:2])
    record.close()
    record = open_record(tmp_path)
    assert (record.outputs, record.about, record.arrays) == ([], None, {})
    record.append(OUTPUTS)
    assert record.finish().read_bytes() == write(tmp_path / "whole")


def test_what_killed_processes_left_half_written_is_gone_when_the_record_is_finished(tmp_path):
    for name in (FINAL, UNFINISHED):
        (tmp_path / f".{name}.123.tmp").write_bytes(b"half")
    write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FINAL]


def test_a_finished_record_is_recognised_and_what_a_kill_left_beside_it_is_removed(tmp_path):
    write(tmp_path)
    (tmp_path / PARTIAL).write_text("left")
    record = open_record(tmp_path)
    assert record.finished and len(record.outputs) == len(OUTPUTS) and "output" not in record.outputs[0]
    assert [path.name for path in tmp_path.iterdir()] == [FINAL]


@pytest.mark.parametrize("finished", [True, False])
def test_another_evaluation_is_refused_by_the_name_of_what_differs(tmp_path, finished):
    if finished:
        write(tmp_path)
    else:
        open_record(tmp_path).close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = HEADER | {"seed": 1, "sampler": {"temperature": 0.85, "top_k": 0}}
    with pytest.raises(
        ValueError, match=r"differs in sampler\.top_k: 20 there, 0 now; seed: 0 there, 1 now\. Use another"
    ):
        open_record(tmp_path, other)
    with pytest.raises(ValueError, match="not the problem that the data has now"):
        open_record(tmp_path, problems=[*PROBLEMS[:1], PROBLEMS[1] | {"reference": "2"}, *PROBLEMS[2:]])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_may_differ_is_kept_as_it_was_first(tmp_path):
    open_record(tmp_path).close()
    record = open_record(tmp_path, HEADER | {"versions": {"jax": "1.0.0.0", "device": "a longer one"}})
    assert record.header["versions"] == {"jax": "1"}
    record.append(OUTPUTS)
    record.commit({}, {})
    record.close()
    record = open_record(tmp_path, HEADER | {"versions": None})
    assert len(record.outputs) == len(OUTPUTS)
    assert record.finish().read_bytes() == write(tmp_path / "whole")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / UNFINISHED).write_bytes(b"PK no zip"), "unfinished.npz is damaged"),
        (lambda folder: (folder / UNFINISHED).write_bytes((folder / UNFINISHED).read_bytes()[:-30]), "is damaged"),
        (lambda folder: (folder / PARTIAL).write_bytes((folder / PARTIAL).read_bytes()[:-5]), "is shorter than"),
        (lambda folder: (folder / PARTIAL).write_bytes(b"x" * 9999 + b"\n"), "not a line of a record"),
    ],
)  # fmt: skip
def test_damage_is_named_and_never_evaluated_on(tmp_path, damage, message):
    record = open_record(tmp_path)
    record.append(OUTPUTS[:3])
    record.commit({}, {})
    record.close()
    damage(tmp_path)
    with pytest.raises(ValueError, match=message):
        open_record(tmp_path)


def test_an_output_that_is_there_twice_makes_no_record(tmp_path):
    record = open_record(tmp_path)
    record.append([OUTPUTS[0], OUTPUTS[0]])
    with pytest.raises(ValueError, match="has an output twice"):
        record.finish()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "is empty, want a record"),
        ([{"kind": "problem", "id": "a"}], "first line; got a line of 'problem'"),
        ([{"kind": "header"}, {"kind": "header"}], ":2: the header of a record is its first line"),
        (
            [{"kind": "header"}, {"kind": "problem", "question": "q"}],
            r":2: the problem lacks \['id', 'prompt', 'reference'\]",
        ),
        (
            [{"kind": "header"}, {"kind": "output"} | OUTPUTS[0] | {"problem": "z"}],
            ":2: an output of a problem 'z' that",
        ),
        ([{"kind": "header"}, {"seed": 1}], ":2: not a line of a record"),
    ],
)
def test_a_file_that_is_no_record_is_refused_with_its_line(tmp_path, lines, message):
    path = tmp_path / FINAL
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ValueError, match=message):
        read_record(path)
    with pytest.raises(ValueError, match="no such record"):
        read_record(tmp_path / "other.jsonl")
