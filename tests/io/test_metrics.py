import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from ulorl_jax.io.metrics import Metrics, last_step, read_metrics, write_summary


def write_steps(workdir, first, last, *, after_step):
    with Metrics(workdir, after_step=after_step) as metrics:
        for step in range(first, last + 1):
            metrics.write(step, {"reward/mean": step / 7, "entropy/mean": 1 / (1 + step)})


def test_a_row_is_readable_as_soon_as_it_is_written(tmp_path):
    with Metrics(tmp_path / "new" / "run", after_step=-1) as metrics:
        metrics.write(3, {"reward/mean": np.float32(0.5), "rollout/tokens": 7})
        assert read_metrics(tmp_path / "new" / "run" / "metrics.jsonl") == [
            {"step": 3, "reward/mean": 0.5, "rollout/tokens": 7.0}
        ]


def test_the_file_of_a_resumed_run_is_that_of_an_uninterrupted_one(tmp_path):
    write_steps(tmp_path / "whole", 0, 8, after_step=-1)
    write_steps(tmp_path / "resumed", 0, 6, after_step=-1)  # killed after step 6, its last checkpoint is of step 4
    with open(tmp_path / "resumed" / "metrics.jsonl", "a") as file:
        file.write('{"step": 7, "rewa')
    write_steps(tmp_path / "resumed", 5, 8, after_step=4)
    whole, resumed = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "resumed"))
    assert resumed == whole


def test_a_new_start_removes_every_row_and_a_last_line_without_its_end(tmp_path):
    write_steps(tmp_path, 0, 2, after_step=-1)
    write_steps(tmp_path, 0, 0, after_step=-1)
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [0]
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n{"step": 1}')  # it parses, and may still be cut short
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 0}]


def test_rows_survive_a_kill_without_a_close(tmp_path):
    code = (
        "import os, signal, sys; from ulorl_jax.io.metrics import Metrics\n"
        "metrics = Metrics(sys.argv[1], after_step=-1)\n"
        "for step in range(20): metrics.write(step, {'a/b': step})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=os.environ, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert [row["a/b"] for row in read_metrics(tmp_path / "metrics.jsonl")] == list(range(20))


def test_values_that_are_not_finite_stay_valid_json_and_come_back(tmp_path):
    with Metrics(tmp_path, after_step=-1) as metrics:
        metrics.write(0, {"a/nan": math.nan, "a/inf": math.inf, "a/low": np.float32(-np.inf)})

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    row = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=refuse)
    assert row == {"step": 0, "a/nan": "nan", "a/inf": "inf", "a/low": "-inf"}
    (back,) = read_metrics(tmp_path / "metrics.jsonl")
    assert math.isnan(back["a/nan"]) and back["a/inf"] == math.inf and back["a/low"] == -math.inf


@pytest.mark.parametrize("line", ["nonsense", "[1]", '{"reward/mean": 1}'])
def test_a_line_that_is_no_row_is_refused_and_left_in_place(tmp_path, line):
    text = '{"step": 1}\n' + line + '\n{"step": 2}\n'
    (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(ValueError, match="metrics.jsonl: .*move the file away"):
        Metrics(tmp_path, after_step=1)
    assert (tmp_path / "metrics.jsonl").read_text() == text


def test_the_last_step_is_that_of_the_last_whole_row_however_long_the_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.touch()
    assert last_step(path) == 0
    path.write_text("".join(json.dumps({"step": step, "x": "1" * 1000}) + "\n" for step in range(200)))
    assert path.stat().st_size > 2**17 and last_step(path) == 199
    with path.open("a") as file:
        file.write('{"step": 200, "x"')
    assert last_step(path) == 199
    path.write_text('{"step": 1}\n{"steps": 2}\n')
    with pytest.raises(ValueError, match="needs a whole"):
        last_step(path)


def test_tensorboard_gets_the_finite_values_and_the_purge_of_what_was_undone(tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    write_steps(tmp_path, 0, 3, after_step=-1)
    with Metrics(tmp_path, after_step=1) as metrics:
        metrics.write(2, {"reward/mean": 0.25, "loss/policy": math.nan})
    newest = max((tmp_path / "tensorboard").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    data, events = newest.read_bytes(), []
    while data:  # a record: length, its checksum, the event, its checksum
        size = int.from_bytes(data[:8], "little")
        events.append(Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    scalars = [(event.step, value.tag, value.simple_value) for event in events for value in event.summary.value]
    assert scalars == [(2, "reward/mean", 0.25)]
    assert [event.step for event in events if event.session_log.status == 1] == [2]  # 1: the session starts here


def test_the_summary_is_json_for_people_and_replaced_whole(tmp_path):
    write_summary(tmp_path, {"steps": 1})
    write_summary(tmp_path, {"steps": 2, "seconds": {"decode": 1.5}})
    text = (tmp_path / "summary.json").read_text()
    assert json.loads(text) == {"steps": 2, "seconds": {"decode": 1.5}} and '\n  "steps": 2' in text
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
