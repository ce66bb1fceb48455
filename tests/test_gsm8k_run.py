"""configs/gsm8k_bytes.py through the real script: every phase on real text."""

import json
import re

import pytest

from tests import runs

pytestmark = pytest.mark.slow
CONFIG = "configs/gsm8k_bytes.py"
SHORT = {"data.heldout_rows": 4, "warm_start.steps": 10, "warm_start.optimizer.decay_steps": 20}


def run(workdir, overrides):
    return runs.summary_of(runs.start_command(workdir, runs.command(workdir, SHORT | overrides, CONFIG)), workdir)


def assert_balanced(summary):
    tokens = summary["tokens"]
    assert tokens["sampled"] == sum(count for place, count in tokens.items() if place != "sampled") > 0


def test_every_phase_runs_and_steps_without_an_informative_group_say_so(tmp_path, data_dir, monkeypatch):
    monkeypatch.setenv("ULORL_DATA", str(data_dir))
    summary = run(tmp_path / "run", {})
    assert summary["steps"] == 5
    assert {"warm_start", "evaluate", "prefill", "decode", "verify"} <= summary["seconds"].keys()
    assert_balanced(summary)
    output, rows = (tmp_path / "run.out").read_text(), runs.rows(tmp_path / "run")[1:]
    policy_step = 0
    for row in rows:
        policy_step += row["train/updates"]
        assert row["policy/step"] == policy_step
        said = f"step {row['step']}: no informative group was released; nothing to update" in output
        assert said == (row["groups/informative"] == 0) == (row["train/updates"] == 0)
    assert sum(row["groups/uninformative"] for row in rows) > 0 < rows[-1]["ledger/uninformative"]
    assert max(row["rollout/segments_mean"] for row in rows) > 1

    with open(data_dir / "gsm8k" / "train.jsonl") as file:
        answers = {row["question"]: row["answer"] for row in map(json.loads, file)}
    traces = [json.loads(line) for path in (tmp_path / "run" / "rollouts").iterdir() for line in path.open()]
    assert traces and all(answers[sample["question"]] == sample["reference"] for sample in traces)
    assert summary["prompts"]["too_long"] > 0  # counted, and the run went on


def test_where_real_questions_are_answered_right_at_times_they_are_trained_on(tmp_path, data_dir, monkeypatch):
    """The questions of two common answers, shown without their solutions: a short warm start guesses between them."""
    monkeypatch.setenv("ULORL_DATA", str(data_dir))
    with open(data_dir / "gsm8k" / "train.jsonl") as file:
        rows = [json.loads(line) for line in file]
    rows = [row | {"answer": re.search("####.*", row["answer"])[0]} for row in rows]
    rows = [row for row in rows if row["answer"] in ("#### 10", "#### 20")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = dict.fromkeys(
        ("data.train.main.path", "data.heldout.path", "data.supervised.path"), str(tmp_path / "rows.jsonl")
    )
    short = {"rollout.output_limit": 16, "warm_start.steps": 40, "warm_start.optimizer.decay_steps": 40}
    summary = run(tmp_path / "run", files | short)
    assert summary["updates"] > 0 and summary["tokens"]["trained"] > 0
    assert {"pack", "update", "weights"} <= summary["seconds"].keys()
    assert_balanced(summary)
