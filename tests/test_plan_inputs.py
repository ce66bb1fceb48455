"""What a plan is made from: lengths with the moments asked for, a run's own figures; and the script."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from configs import plan_base
from ulorl_jax.io.metrics import Metrics
from ulorl_jax.io.run_record import read_run
from ulorl_jax.io.tokenizer import ByteTokenizer
from ulorl_jax.io.traces import TracedSample, write_lengths, write_trace
from ulorl_jax.lengths import fit_lognormal, lognormal_lengths
from ulorl_jax.plan_inputs import PlanSettings, from_run, make_plan
from ulorl_jax.planning import Schedule
from ulorl_jax.types import EOS, Prompt, Sample, Segment

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("shape", [(0.32, 0.49), (0.20, 0.30)])
def test_lengths_have_the_mean_and_p80_asked_for(shape: tuple[float, float]):
    lengths = lognormal_lengths(*shape, 100_000)
    assert lengths.mean() == pytest.approx(1e5 * shape[0], rel=2e-3)
    assert np.percentile(lengths, 80) == pytest.approx(1e5 * shape[1], rel=2e-3)
    assert lengths.min() >= 1 and lengths.max() == 100_000 and (np.diff(lengths) >= 0).all()


def test_a_log_normal_that_no_cut_reaches_is_the_plain_one():
    mu, sigma = fit_lognormal(0.1, 0.1 * np.exp(0.8416212 * 0.2 - 0.2**2 / 2))
    assert (mu, sigma) == pytest.approx((np.log(0.1) - 0.2**2 / 2, 0.2), rel=1e-3)


def test_lengths_that_no_log_normal_has_are_refused_with_the_range():
    with pytest.raises(ValueError, match="length_p80 = 0.49 has a length_mean from 0.2.* to 0.4.*; got 0.6"):
        fit_lognormal(0.6, 0.49)
    with pytest.raises(ValueError, match="between 0 and 1; got 1.2"):
        fit_lognormal(0.6, 1.2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segments": ()}, "segments must be at least 1"),
        ({"refill": ("later",)}, "refill must name one or both"),
        ({"given.kv": "drop"}, "given.kv must be 'keep' or 'recompute'"),
        ({"active_share": 0.7, "slots_share": 0.7}, "must add up to at most 1; got 1.4"),
        ({"given.token_step_s": -1.0}, "cost.token_step_s must be at least 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, message):
    config = plan_base.get_config()
    config.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=message):
        make_plan(PlanSettings.from_dict(config.to_dict()), None)


def write_run(folder: pathlib.Path, steps: int = 12) -> pathlib.Path:
    """The record of a run in steady state whose every figure can be reckoned by hand: M = 1, 4 slots, G = 2."""
    rollout = {"output_limit": 8, "segments": 1, "samples_per_prompt": 2, "slots": 4, "kv": "recompute"}
    rollout |= {"prefill_rows": 1, "prefill_chunk": 2}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"rollout": rollout}))
    with Metrics(folder, after_step=-1) as metrics:
        metrics.write(0, {"heldout/sampled": 0.5})
        for step in range(1, steps + 1):
            parts = {"decode": 0.8, "prefill": 0.02, "update": 0.4, "verify": 0.1, "weights": 0.03, "other": 0.05}
            if step == 5:
                parts |= {"decode": 9.0, "update": 9.0}  # this one compiles
            values = {f"time/{name}_s": seconds for name, seconds in parts.items()} | {"time/evaluate_s": 3.0}
            tokens = {"rollout/tokens": 20, "rollout/decode_steps": 8, "rollout/prefill_tokens": 6}
            tokens["rollout/prefill_passes"] = 4
            ended = {"rollout/finished": 4, "rollout/len_mean": 5.0, "ledger/trained": 15 * step}
            ledger = {"ledger/uninformative": 5 * step, "ledger/error": 0, "ledger/skipped": 0}
            compiles = {"rollout/compiles": 3 + (step >= 5), "train/compiles": 1} if step % 2 else {}
            metrics.write(step, values | tokens | ended | ledger | {"rollout/compiles": 3 + (step >= 5)} | compiles)
    tokenizer = ByteTokenizer(128, (10,))
    for step in range(1, steps + 1):
        samples = []
        for index, length in enumerate((2, 8, 8, 2)):
            prompt = Prompt(2 * step + index // 2, np.full(3, 65, np.int32), "1")
            segment = Segment(np.full(length, 66, np.int32), np.zeros(length, np.float32), step, "prefill")
            samples.append(Sample(4 * step + index, prompt, (), "").append(segment, EOS))
        write_trace(folder, step, [TracedSample(sample) for sample in samples], tokenizer)
    return folder


def test_a_run_s_lengths_and_costs_are_read_out_of_its_record(tmp_path):
    load, schedule, cost, measured = from_run(read_run(write_run(tmp_path / "run")), slots_share=0.5, active_share=0.3)
    assert (
        sorted(set(load.lengths.tolist())) == [2, 8] and set(load.prompts.tolist()) == {3} and len(load.lengths) == 44
    )  # of all outputs but those of the first step
    assert (load.output_limit, load.samples_per_prompt, load.recompute) == (8, 2, True)
    assert schedule == Schedule(1, 4, None, prefill_chunk=2, prefill_rows=1)
    assert measured["steps"] == 10  # not the first, nor the one that compiled
    assert measured["step_s"] == pytest.approx(1.4) and measured["trained_tokens"] == pytest.approx(20)
    assert cost.step_s == pytest.approx(0.08) and measured["prefill_passes"] == 4
    # Simulated, four slots take two groups, whose prompts of 3 tokens are a chunk of 2 each, in one row.
    assert cost.prefill_pass_s == pytest.approx(0.02 / 2)
    assert cost.released_token_s == pytest.approx(0.5 / 20)
    assert cost.decode_s(4, 8, 20) == pytest.approx(0.8)  # whatever the shares
    assert measured["length_mean"] == pytest.approx(5.0)


@pytest.mark.parametrize("known", [0, 3])
def test_the_passes_of_an_older_run_and_of_one_that_goes_on_with_it_are_not_said_and_cost_the_same(tmp_path, known):
    run = write_run(tmp_path / "run")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for row in rows[: len(rows) - known]:
        row.pop("rollout/prefill_passes", None)
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, _, cost, measured = from_run(read_run(run))
    assert "prefill_passes" not in measured and cost.prefill_pass_s == pytest.approx(0.02 / 2)


def test_an_older_run_that_stopped_to_fill_slots_has_no_passes_and_keeps_its_seconds(tmp_path):
    run = write_run(tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    del config["rollout"]["prefill_rows"], config["rollout"]["prefill_chunk"]
    config["rollout"] |= {"refill": "continuous", "refill_latency": 0}
    (run / "config.json").write_text(json.dumps(config))
    _, schedule, cost, _ = from_run(read_run(run))
    assert schedule == Schedule(1, 4, 0)
    assert cost.prefill_pass_s == 0 and cost.step_s == pytest.approx(0.08 + 0.02)


def test_the_lengths_are_those_of_all_outputs_where_they_are_recorded(tmp_path):
    run = write_run(tmp_path / "run")
    prompt, segment = Prompt(0, np.full(4, 65, np.int32), ""), Segment(np.full(7, 66, np.int32), np.zeros(7), 0, "keep")
    for step in (1, 2):
        write_lengths(run, step, [Sample(0, prompt, (segment,))] * step)
    record = read_run(run)
    assert record.steps.tolist() == [1, 2, 2] and record.lengths.tolist() == [7] * 3
    load, *_ = from_run(record)
    assert load.lengths.tolist() == [7, 7] and load.prompts.tolist() == [4, 4]


def test_outputs_that_ended_too_early_to_be_typical_are_refused(tmp_path):
    run = write_run(tmp_path / "run")
    write_lengths(run, 1, [Sample(0, Prompt(0, np.zeros(3), ""), (Segment(np.zeros(2), np.zeros(2), 0, "keep"),))])
    with pytest.raises(ValueError, match="outputs that ended after step 1 tell lengths; got 0: run longer"):
        from_run(read_run(run))


def test_a_plan_says_when_the_run_had_pages(tmp_path):
    run, settings = write_run(tmp_path / "run"), PlanSettings.from_dict(plan_base.get_config().to_dict())
    settings = dataclasses.replace(settings, segments=(1,), steps=2)
    assert not any("pages" in note for note in make_plan(settings, read_run(run))["assumptions"])
    config = json.loads((run / "config.json").read_text())
    config["rollout"] |= {"pages": {"count": 1200, "size": 16, "dtype": "model"}, "segments": 4}
    (run / "config.json").write_text(json.dumps(config))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows = [row | {"rollout/evicted": 3.0, "rollout/pages_peak": 0.5 + 0.01 * row["step"]} for row in rows]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    [note] = make_plan(settings, read_run(run))["assumptions"][5:]
    assert "shared 1,200 pages of 16 tokens, of which up to 62% were in use; 3 samples per step had to leave" in note


def test_a_run_too_short_to_tell_is_refused(tmp_path):
    with pytest.raises(ValueError, match="compile nothing tell costs; got 0: run longer"):
        from_run(read_run(write_run(tmp_path / "run", steps=1)))


def script(*flags: str) -> subprocess.CompletedProcess:
    line = [sys.executable, "launch/plan.py", "--config=configs/plan_base.py", *flags]
    return subprocess.run(
        line, cwd=ROOT, capture_output=True, text=True, timeout=300, env=os.environ | {"COLUMNS": "80"}
    )


def test_the_script_plans_from_a_run_and_predicts_that_run(tmp_path):
    run, out = write_run(tmp_path / "run"), tmp_path / "plan"
    done = script("segments", f"--run={run}", f"--workdir={out}", "--config.segments=1,4", "--config.steps=400")
    assert done.returncode == 0, done.stderr
    made = json.loads((out / "plan.json").read_text())
    assert [(row["segments"], row["refill"]) for row in made["rows"]] == [
        (1, "step"), (4, "step"), (1, "continuous"), (4, "continuous"),
    ]  # fmt: skip
    assert made["best"][0] == max(made["rows"], key=lambda row: row["trained_tokens_per_s"])
    # Of four outputs one is nearly always of 8 tokens: 15 of 16 times, and otherwise 2 token steps do.
    assert made["predicted"]["token_steps"] == pytest.approx(8 - 6 / 16, rel=0.02)
    assert made["predicted"]["step_s"] == pytest.approx(made["measured"]["step_s"], rel=0.05)
    assert (out / "plan.png").read_bytes().startswith(b"\x89PNG")
    for word in (
        "L = 8 tokens, G = 2",
        "44 outputs of the run",
        "The run prefilled prompts only",
        "s / step",
        "measured",
        "Refill continuous: most",
    ):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("segments", "--run=nowhere"),
            "error: nowhere has no config.json and no metrics.jsonl; give the workdir of a run",
        ),
        (("--config.steps=3",), "want one argument, of ['segments', 'compile']; got []"),
        (("segments", "--config.given.length_men=0.3"), "error: no config key"),
    ],
)
def test_a_mistyped_command_line_is_answered_in_a_line(tmp_path, flags, message):
    done = script(*flags, f"--workdir={tmp_path}")
    assert done.returncode == 1 and message in done.stderr + done.stdout, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())
