"""Theorem T4: killed or stopped at any moment and started again, a run ends as if nothing had been, bit for bit."""

import signal

import numpy as np
import pytest

from tests import runs

pytestmark = pytest.mark.slow
KEEP = {"rollout.kv": "keep", "train.updates_per_step": 2}
# 24 slots of up to 48 tokens, and room for a sixth of that; predictions refuse some, and some have to leave.
PAGES = {"rollout.refill": "continuous", "rollout.pages.count": 100, "rollout.pages.size": 2}
PAGES |= {"rollout.pages.over_provisioning": 1.1, "rollout.finish_groups": True}
PAGES |= {"rollout.recompute_every": 2, "train.updates_per_step": 2}


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Overrides for a task with an update at nearly every step."""
    return runs.task(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, task):
    """The run all others must equal, with the cache recomputed (the default)."""
    workdir = tmp_path_factory.mktemp("runs") / "uninterrupted"
    runs.run(workdir, task)
    return workdir


@pytest.fixture(scope="module")
def uninterrupted_keep(tmp_path_factory, task):
    """The same with the cache kept over updates, and two updates per step."""
    workdir = tmp_path_factory.mktemp("runs") / "uninterrupted_keep"
    runs.run(workdir, task | KEEP)
    return workdir


def assert_equal(workdir, other):
    """Weights, optimizer, pools, books, cursor, metrics, traces and summary."""
    one, two = runs.last_checkpoint(workdir), runs.last_checkpoint(other)
    assert one.arrays.keys() == two.arrays.keys() and one.host == two.host
    different = [name for name, array in one.arrays.items() if array.tobytes() != two.arrays[name].tobytes()]
    assert not different
    one, two = ([runs.untimed(row) for row in runs.rows(path)] for path in (workdir, other))
    assert one == two and [row["step"] for row in one] == list(range(runs.SMALL["steps"] + 1))
    one, two = ({p.name: p.read_bytes() for p in (path / "rollouts").iterdir()} for path in (workdir, other))
    assert one == two and one
    assert runs.untimed(runs.summary(workdir)) == runs.untimed(runs.summary(other))


def kill(process):
    process.send_signal(signal.SIGKILL)
    assert process.wait(runs.DEADLINE) == -signal.SIGKILL


def kill_in_the_middle_of_a_step(workdir, overrides):
    """Kills a run that is past its checkpoint of step 4 and has finished step 5."""
    process = runs.start(workdir, overrides)
    runs.wait_for(lambda: runs.num_rows(workdir) >= 6, process, "step 5", pause=0.001)
    kill(process)
    saved = runs.last_checkpoint(workdir)
    assert saved.step >= 4 and runs.num_rows(workdir) > saved.step + 1, "there was nothing to lose"
    unfinished = saved.host["samples"][: len(saved.host["slots"])]
    assert max(len(sample["segments"]) for sample in unfinished) >= 2
    assert all(sample["finished"] == "" for sample in unfinished)


def kill_while_a_checkpoint_is_written(workdir, task):
    """Kills a run, if need be again and again, until a half-written checkpoint is left behind."""
    for _ in range(5):
        process = runs.start(workdir, task)
        runs.wait_for(lambda: not runs.half_written(workdir), process, "the clean-up", pause=0.001)
        runs.wait_for(lambda: runs.half_written(workdir), process, "a checkpoint", pause=0)
        kill(process)
        if runs.half_written(workdir):
            return
    raise AssertionError("no kill came while a checkpoint was written")


def test_killed_during_the_warm_start_it_ends_as_if_nothing_had_been(tmp_path, task, uninterrupted):
    workdir = tmp_path / "run"
    process = runs.start(workdir, task)
    metrics = workdir / "warm_start_metrics" / "metrics.jsonl"
    runs.wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= 1, process, "the warm start")
    kill(process)
    assert not (workdir / "metrics.jsonl").exists() and not runs.checkpoint_steps(workdir)
    runs.run(workdir, task)
    assert_equal(workdir, uninterrupted)


def test_killed_in_the_middle_of_a_step_it_ends_as_if_nothing_had_been(tmp_path, task, uninterrupted):
    kill_in_the_middle_of_a_step(tmp_path / "run", task)
    runs.run(tmp_path / "run", task)
    assert_equal(tmp_path / "run", uninterrupted)


def test_killed_in_the_middle_of_a_checkpoint_it_ends_as_if_nothing_had_been(tmp_path, task, uninterrupted):
    kill_while_a_checkpoint_is_written(tmp_path / "run", task)
    runs.run(tmp_path / "run", task)
    assert not runs.half_written(tmp_path / "run")
    assert_equal(tmp_path / "run", uninterrupted)


def test_killed_with_a_kept_cache_it_ends_as_if_nothing_had_been(tmp_path, task, uninterrupted_keep):
    kill_in_the_middle_of_a_step(tmp_path / "run", task | KEEP)
    runs.run(tmp_path / "run", task | KEEP)
    assert_equal(tmp_path / "run", uninterrupted_keep)
    kinds = {
        kind for sample in runs.last_checkpoint(tmp_path / "run").host["samples"] for *_, kind in sample["segments"]
    }
    assert kinds == {"prefill", "keep"}


def test_killed_with_a_kept_pool_of_pages_that_is_too_small_for_all_it_ends_as_if_nothing_had_been(tmp_path, task):
    runs.run(tmp_path / "uninterrupted", task | PAGES)
    kill_in_the_middle_of_a_step(tmp_path / "run", task | PAGES)
    runs.run(tmp_path / "run", task | PAGES)
    assert_equal(tmp_path / "run", tmp_path / "uninterrupted")
    rows = runs.rows(tmp_path / "run")
    assert sum(row.get("rollout/evicted", 0) for row in rows) > 0
    assert max(row.get("pool/waiting", 0) for row in rows) > 0
    assert sum(row.get("rollout/refused", 0) for row in rows) > 0 and "rollout/len_error" in rows[-1]


def test_the_comparison_tells_runs_of_two_policies_apart(uninterrupted, uninterrupted_keep):
    one, two = runs.last_checkpoint(uninterrupted), runs.last_checkpoint(uninterrupted_keep)
    with pytest.raises(AssertionError):
        assert_equal(uninterrupted_keep, uninterrupted)
    embed = next(name for name in one.arrays if "params" in name and "embed" in name)
    assert not np.array_equal(one.arrays[embed], two.arrays[embed])


def test_signals_stop_a_run_with_exit_code_0_and_it_goes_on_where_it_was(tmp_path, task, uninterrupted):
    workdir = tmp_path / "run"
    process = runs.start(workdir, task)
    metrics = workdir / "warm_start_metrics" / "metrics.jsonl"
    runs.wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= 1, process, "the warm start")
    process.send_signal(signal.SIGTERM)
    assert runs.finish(process) == 0
    assert not runs.checkpoint_steps(workdir)

    for number, step in ((signal.SIGTERM, 3), (signal.SIGINT, 7)):
        process = runs.start(workdir, task)
        runs.wait_for(lambda step=step: runs.num_rows(workdir) >= step + 1, process, f"step {step}", pause=0.001)
        process.send_signal(number)
        assert runs.finish(process) == 0
        rows, summary = runs.rows(workdir), runs.summary(workdir)
        assert summary["stopped"] == number.name
        assert runs.checkpoint_steps(workdir)[-1] == rows[-1]["step"] == summary["steps"] < runs.SMALL["steps"]
    runs.run(workdir, task)
    assert_equal(workdir, uninterrupted)
    assert "Traceback" not in (tmp_path / "run.err").read_text()
