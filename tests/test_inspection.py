"""launch/inspect.py: what a terminal shows of a run's samples, of new traces and old ones."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests import runs
from ulorl_jax.inspection import show
from ulorl_jax.io.tokenizer import ByteTokenizer
from ulorl_jax.io.traces import TRAINED, TracedSample, write_trace
from ulorl_jax.types import EOS, LIMIT, Prompt, Sample, Segment, Verdict

NEW = ("group", "use", "advantage", "policy_logp", "entropy", "mastered", "masked")


def segment(text, policy_step, kv, logp):
    ids = np.frombuffer(text.encode(), np.uint8).astype(np.int32)
    return Segment(ids, np.broadcast_to(np.float32(logp), ids.shape), policy_step, kv)


@pytest.fixture
def run(tmp_path):
    """A run's folder with the trace of one step: the two samples of one group."""
    config = {"tokenizer": {"kind": "bytes", "path": "", "eos_ids": [10], "pad_id": 0}, "model": {"vocab_size": 256}}
    config["warm_start"] = {"checkpoint": ""}
    (tmp_path / "config.json").write_text(json.dumps(config))
    prompt = Prompt(5, np.frombuffer("é=".encode(), np.uint8).astype(np.int32), "#7", "row-9", "é")
    first, second = segment("a", 2, "prefill", [-0.1]), segment("é#7\n", 3, "recompute", [-0.1, -5, -0.1, -5, -0.1])
    right = Sample(40, prompt).append(first).append(second, EOS)
    wrong = Sample(41, prompt).append(segment("b\x1b[2J", 3, "prefill", -0.1), LIMIT)
    seen = np.full(6, -0.25, np.float32)
    told = {"policy_logp": seen, "entropy": -seen, "mastered": [1, 2, 4], "masked": True}
    verdicts = Verdict(1.0, "'7': the same number"), Verdict(0.0, "no [b]ox[/x]")
    traced = [TracedSample(right, verdicts[0], 5, TRAINED, 0.5, **told)]
    traced.append(TracedSample(wrong, verdicts[1], 5, TRAINED, -0.5, seen[:5], seen[:5] * -2))
    write_trace(tmp_path, 12, traced, ByteTokenizer(256, [10]))
    return tmp_path


def make_old(run: pathlib.Path) -> None:
    """The trace as runs wrote it before it had groups."""
    path = run / "rollouts" / "step_000012.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [{name: value for name, value in row.items() if name not in NEW} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_sample_is_shown_whole_by_segment_with_unlikely_tokens_marked_and_its_group_s_rewards(run, capsys):
    show(run, 12, 40)
    said = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert said == [
        "sample 40, group 5 row row-9",
        "prompt",
        "é=",
        "output (6 tokens, ended by eos; tokens drawn with a probability under 0.1 are marked)",
        "segment 1: policy step 2, prefill, 1 tokens",
        "a",
        "segment 2: policy step 3, recompute, 5 tokens",
        "[é]#[7]",  # two tokens are one character, the second of them unlikely
        "",
        "reference #7",
        "verdict reward 1: '7': the same number",
        "use trained, advantage 0.5",
        "entropy 0.25 nats; 3 mastered tokens, left out of the loss",
        "rewards of the group 40: 1, 41: 0",
    ]


def test_an_output_cannot_change_the_terminal(run, capsys):
    show(run, 12, 41)
    said = capsys.readouterr().out
    assert "b␛[2J" in said and "\x1b" not in said


def test_a_step_is_a_table_of_its_samples(run, capsys):
    show(run, 12, None)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    right, wrong = [row for row in rows if row]
    assert right == ["5", "40", "1", "trained", "0.5", "6", "2", "0.25", "50%", "yes", "'7': the same number"]
    assert wrong == ["5", "41", "0", "trained", "-0.5", "5", "1", "0.5", "0%", "-", "no [b]ox[/x]"]


def test_older_traces_are_shown_with_what_they_have(run, capsys):
    make_old(run)
    show(run, 12, None)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert ["5", "41", "0", "-", "-", "5", "1", "-", "-", "-", "no [b]ox[/x]"] in rows
    show(run, 12, 40)
    said = capsys.readouterr().out
    assert "[é]#[7]" in said and "rewards of the group 40: 1, 41: 0" in said and "advantage" not in said


def test_without_its_tokenizer_an_output_is_shown_unmarked(run, capsys):
    config = json.loads((run / "config.json").read_text())
    config["tokenizer"] |= {"kind": "hf", "path": str(run / "gone")}
    (run / "config.json").write_text(json.dumps(config))
    show(run, 12, 40)
    said = capsys.readouterr().out
    assert "no tokenizer: no token is marked" in said and "é#7\n" in said


@pytest.mark.parametrize(
    ("step", "sample", "error"),
    [
        (11, None, "no trace of step 11; there are traces of the steps 12"),
        (12, 7, "has no sample 7; it has 40-41"),
        (None, 40, "--sample=40 wants --step=N too"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(run, step, sample, error):
    with pytest.raises(ValueError, match=error):
        show(run, step, sample)


def test_a_folder_without_traces_is_refused_with_the_reason(run, tmp_path):
    with pytest.raises(ValueError, match="is not the folder of a run of launch/train.py: it has no config.json"):
        show(tmp_path / "other", None, None)
    (run / "rollouts" / "step_000012.jsonl").unlink()
    with pytest.raises(ValueError, match="has no traces: no group has been released yet; with traces_per_step=8"):
        show(run, None, None)
    (run / "config.json").write_text('{"traces_per_step": 0}')
    with pytest.raises(ValueError, match="has no traces: it ran with traces_per_step=0"):
        show(run, None, None)


def test_the_script_lists_the_steps(run):
    line = [sys.executable, "launch/inspect.py", str(run)]
    done = subprocess.run(line, cwd=runs.ROOT, env=runs.environment(), capture_output=True, text=True, timeout=120)
    assert done.stdout == f"{run}: traces of 1 steps: 12; --step=12 shows the newest\n", done.stderr


def test_no_script_takes_launch_inspect_for_python_s_own_module():
    scripts = [path for path in (runs.ROOT / "launch").glob("*.py") if "__main__" in path.read_text()]
    assert len(scripts) >= 7
    for path in scripts:
        before = path.read_text().partition("sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])")
        assert before[1], f"{path.name}: its own folder must leave sys.path; put the project's in its place"
        assert "absl" not in before[0], f"{path.name}: before anything but Python's own modules is imported"
