"""The grid of runs: resumed, failing, waited for, refused. The runs are programs that leave behind what a run does."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from ulorl_jax.clock import StopRequest
from ulorl_jax.grid import GridRun, refuse_changed, run_grid

# Steps on from where it was, a row each; at the end a summary. Fails, or is killed, at the step it is told.
RUN = """
    import json, os, pathlib, signal, sys, time
    folder, steps, fails, dies, slow = pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:5]), float(sys.argv[5])
    folder.mkdir(parents=True, exist_ok=True)
    rows = folder / "metrics.jsonl"
    done = len(rows.read_text().splitlines()) if rows.exists() else 0
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    print("begins at", done, flush=True)
    if hasattr(os, "sched_getaffinity"):
        print("cores", *sorted(os.sched_getaffinity(0)), flush=True)
    for step in range(done + 1, steps + 1):
        if stopped:
            break
        if step == fails:
            sys.exit("error: step %d cannot be" % step)
        with rows.open("a") as file:
            file.write(json.dumps({"step": step, "reward/mean": 0.5}) + "\\n")
        if step == dies and done == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(slow)
    (folder / "summary.json").write_text(json.dumps({"steps": step, "stopped": "SIGTERM" if stopped else ""}))
"""


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """A run of some steps."""
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(RUN))
    monkeypatch.setattr("ulorl_jax.grid.POLL_S", 0.02)

    def make(name, steps=3, fails=0, dies=0, slow=0.0, after=None, asked=None):
        folder = tmp_path / "cells" / name
        command = (sys.executable, str(script), str(folder), *map(str, (steps, fails, dies, slow)))
        return GridRun(name, folder, command, asked or {"loss": {"sigma": 0.1}}, steps, after)

    return make


def go(*runs, jobs=1):
    with StopRequest() as stop:
        return run_grid(list(runs), jobs, "grid", stop)


def begun(run):
    """Where each start of a run began, from its log."""
    return [line for line in run.log.read_text().splitlines() if line.startswith("begins")]


def test_a_finished_run_is_not_run_again_and_what_is_new_is(make_run):
    one, two = make_run("one"), make_run("two")
    assert go(one) == {} and one.finished and not two.finished
    assert go(one, two, jobs=2) == {} and two.finished
    assert begun(one) == ["begins at 0"] == begun(two)


def test_a_killed_run_is_told_and_goes_on_where_it_was(make_run):
    run = make_run("killed", steps=5, dies=2)
    failed = go(run)
    assert list(failed) == ["killed"] and "signal 9" in failed["killed"] and str(run.log) in failed["killed"]
    assert go(run) == {} and run.finished
    assert begun(run) == ["begins at 0", "begins at 2"]


def test_a_failing_run_is_told_with_its_last_line_and_the_others_go_on(make_run, capfd):
    bad, good = make_run("bad", fails=2), make_run("good")
    failed = go(bad, good)
    assert list(failed) == ["bad"] and good.finished and not bad.finished
    assert "exit status 1: error: step 2 cannot be" in failed["bad"]
    assert "bad: failed: exit status 1" in capfd.readouterr().out


def test_a_run_begins_after_the_one_it_needs_and_never_when_that_failed(make_run):
    first = make_run("first", slow=0.1)
    needs = make_run("needs", after=first)
    assert go(first, needs, jobs=2) == {}
    assert first.log.stat().st_mtime < needs.log.stat().st_mtime
    broken = make_run("broken", fails=1)
    left = make_run("left", after=broken)
    failed = go(broken, left, jobs=2)
    assert failed["left"] == "not begun: it needs broken" and not left.folder.exists()


def test_no_more_than_so_many_run_at_a_time(make_run, monkeypatch):
    runs, most, start = [make_run(f"r{i}", slow=0.02) for i in range(5)], [], subprocess.Popen
    alive = []

    def counted(*args, **kwargs):
        alive.append(start(*args, **kwargs))
        most.append(sum(process.poll() is None for process in alive))
        return alive[-1]

    monkeypatch.setattr("ulorl_jax.grid.subprocess.Popen", counted)
    assert go(*runs, jobs=2) == {} and max(most) == 2 and len(most) == 5


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="wants two cores, and Linux"
)
def test_runs_side_by_side_have_cores_of_their_own(make_run):
    def cores(run):
        return {int(core) for core in run.log.read_text().split("cores")[1].split("\n")[0].split()}

    one, two, alone = (make_run(name, slow=0.1) for name in ("one", "two", "alone"))
    assert go(one, two, jobs=2) == {} and go(alone) == {}
    assert cores(one).isdisjoint(cores(two)) and cores(one) | cores(two) == cores(alone) == os.sched_getaffinity(0)


def test_settings_that_changed_under_a_run_are_refused_with_both_values(make_run):
    run = make_run("run")
    go(run)
    refuse_changed([run])
    changed = make_run("run", asked={"loss": {"sigma": 0.2}, "steps": 3})
    with pytest.raises(ValueError, match=r"run was begun .*loss.sigma was 0.1 and is 0.2; steps was None and is 3"):
        go(changed)
    assert begun(run) == ["begins at 0"]


def test_infinite_settings_are_the_same_when_they_are_read_back(make_run):
    run = make_run("run", asked={"loss": {"sigma": float("inf")}, "train": {"row_lengths": (48,)}})
    go(run)
    refuse_changed([run])


def test_a_run_that_another_process_holds_is_told_and_left_to_it_and_the_others_go_on(make_run, capfd):
    held, free = make_run("held"), make_run("free")
    needs = make_run("needs", after=held)
    held.folder.parent.mkdir()
    with open(held.log, "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        failed = go(held, needs, free)
    assert free.finished and not held.folder.exists() and not needs.folder.exists()
    assert failed["held"].startswith(f"held by another process, which has {held.log} open; once that has ended")
    assert failed["needs"] == "not begun: it needs held" and len(failed) == 2
    assert "held: held by another process" in capfd.readouterr().out
    assert go(held, needs, free) == {} and held.finished and needs.finished


def test_asked_to_stop_all_runs_save_and_none_is_begun(make_run):
    going, later = make_run("going", steps=10_000, slow=0.02), make_run("later")

    def stop_soon():
        while going.step < 3:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop_soon)
    thread.start()
    failed = go(going, later)
    thread.join()
    summary = json.loads((going.folder / "summary.json").read_text())
    assert failed == {} and summary["stopped"] == "SIGTERM" and summary["steps"] < 10_000
    assert not later.folder.exists() and not going.finished
