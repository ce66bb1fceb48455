"""launch/ablate.py itself: a grid of real runs, one of which cannot begin, gone on with and aggregated."""

import fcntl
import json
import os
import subprocess
import sys

import pytest

from tests import runs

EXPERIMENT = '''
"""Entropy is measured. Refuted by: no entropy."""

from configs.experiments import base


def get_config():
    c = base.get_config()
    c.claim, c.paper, c.config, c.seeds = "Entropy is measured.", "none", "configs/tiny.py", (0,)
    c.overrides = {overrides}
    c.warm_start = (*c.overrides, "steps=1", "evaluation.greedy=False")
    c.cells = base.in_order(plain=("loss.sigma=0.0",), broken=("data.heldout.path=nowhere.jsonl",))
    c.metrics = base.in_order(entropy=base.metric("entropy/mean"), accuracy=base.metric("heldout/sampled", last=1))
    c.panels = base.in_order(entropy=base.panel("Entropy", "nats", curve="entropy/mean"))
    c.rules = base.in_order(some=base.rule("there is some", "plain.entropy", low=0.01))
    return c
'''


def ablate(folder, *flags):
    line = [sys.executable, "launch/ablate.py", f"--config={folder}/claim.py", f"--workdir={folder}/grid", *flags]
    return subprocess.run(
        line, cwd=runs.ROOT, env=runs.environment(), capture_output=True, text=True, timeout=runs.DEADLINE
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablate")
    small = runs.SMALL | runs.task(folder / "task") | {"steps": 4, "warm_start.steps": 30}
    (folder / "claim.py").write_text(EXPERIMENT.format(overrides=tuple(f"{k}={v}" for k, v in small.items())))
    return folder


@pytest.mark.slow
def test_a_grid_runs_tells_what_failed_and_goes_on_without_running_again(folder):
    first = ablate(folder)
    assert first.returncode == 1, first.stderr[-2000:]
    assert "not finished: broken/seed_0: exit status 1: error: data.heldout.path='nowhere.jsonl' is " in first.stderr
    assert "plain/seed_0: done" in first.stdout and "Verdict: holds" in first.stdout
    grid = folder / "grid"
    run = grid / "cells" / "plain" / "seed_0"
    result = json.loads((grid / "claim.json").read_text())
    rows = [row["entropy/mean"] for row in runs.rows(run) if "entropy/mean" in row]
    assert result["cells"]["plain"]["metrics"]["entropy"]["mean"] == pytest.approx(sum(rows) / len(rows))
    assert result["cells"]["broken"]["metrics"]["entropy"]["mean"] is None
    page = (grid / "claim.md").read_text()
    assert "**Holds**: Entropy is measured." in page and "Refuted by: no entropy." in page
    assert "| seeds | 1 | 0 |" in page
    assert (grid / "claim.png").stat().st_size > 10_000
    assert runs.summary(run)["steps"] == 4 and "warm_start" not in os.listdir(run)
    assert (grid / "warm_starts" / "seed_0" / "warm_start").is_dir()

    written = (run / "metrics.jsonl").stat().st_mtime_ns
    again = ablate(folder, "--cells=plain")
    assert again.returncode == 0 and "0 of 2 runs to do" in again.stdout, again.stderr[-2000:]
    assert (run / "metrics.jsonl").stat().st_mtime_ns == written

    with open(grid / "cells" / "broken" / "seed_0.log", "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held_up = ablate(folder)
    assert held_up.returncode == 1 and "Verdict: holds" in held_up.stdout
    assert "not finished: broken/seed_0: held by another process" in held_up.stderr

    text = (folder / "claim.py").read_text()
    (folder / "claim.py").write_text(text.replace("sigma=0.0", "sigma=0.3"))
    changed = ablate(folder, "--aggregate_only")
    (folder / "claim.py").write_text(text)
    assert changed.returncode == 1 and changed.stderr.startswith("error: plain/seed_0 was begun with other settings")
    assert "loss.sigma was 0.0 and is 0.3" in changed.stderr and changed.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--cells=plane"], "--cells must be one of ['broken', 'plain']; got 'plane'"),
        (["--config.seed=1"], "error: no config key 'seed'. Did you mean \"seeds\""),
    ],
)
def test_a_mistake_on_the_command_line_is_answered_in_a_line(folder, flags, said):
    answered = ablate(folder, *flags)
    assert answered.returncode == 1 and said in answered.stderr and answered.stderr.count("\n") == 1, answered.stderr
