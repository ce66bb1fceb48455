"""A verifier is trained by the script, goes on where it was, and is then asked as a judge asks it."""

import json
import subprocess
import sys

import pytest

from configs import base, verifier_base, verifier_tiny
from tests import runs
from tests.tiny import make_layout
from ulorl_jax.inputs import make_verifier
from ulorl_jax.sections import GenerativeSettings
from ulorl_jax.typed import build
from ulorl_jax.verifier_data import read_pairs, to_pair
from ulorl_jax.verifier_settings import VerifierSettings
from ulorl_jax.verify.comparison import SAME, UNSURE

SMALL = {
    "steps": 24,
    "model.hidden_size": 32,
    "model.intermediate_size": 48,
    "model.num_hidden_layers": 1,
    "model.num_attention_heads": 2,
    "model.num_key_value_heads": 1,
    "model.head_dim": 16,
    "data.generate": 100,  # so few that there is a second pass
    "data.test_generate": 36,
    "updates.rows": 4,
    "updates.reasoned": 0.5,
    "evaluation.mode": "verdict",
    "evaluation.every": 15,
    "evaluation.pairs": 36,
    "evaluation.workers": 1,
    "evaluation.min_mass": 0.0,  # so young a model hardly says a verdict
    "optimizer.warmup_steps": 2,
    "optimizer.decay_steps": 100,
}


def command(workdir, overrides) -> list[str]:
    flags = [f"--config.{name}={value}" for name, value in (SMALL | overrides).items()]
    script = [sys.executable, "launch/train_verifier.py", "--config=configs/verifier_tiny.py"]
    return [*script, f"--workdir={workdir}", *flags]


def settings(**overrides) -> VerifierSettings:
    config = verifier_tiny.get_config()
    config.update_from_flattened_dict(SMALL | overrides)
    return VerifierSettings.from_dict(config.to_dict())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The workdir of a training that nobody disturbed."""
    workdir = tmp_path_factory.mktemp("verifier")
    assert runs.finish(runs.start_command(workdir, command(workdir, {}))) == 0
    return workdir


def test_the_script_leaves_weights_prompt_report_picture_and_summary(trained):
    report = json.loads((trained / "report.json").read_text())
    everything = report["table"]["all"]
    assert list(everything) == ["rules", "verifier", "rules, then verifier"]
    assert everything["verifier"]["pairs"] == 36 and everything["rules"]["accuracy"] > 0.8
    # Nobody is asked about what the rules are sure of.
    assert everything["rules, then verifier"]["unsure"] == 0.0
    assert sum(sum(row.values()) for row in report["confusion"].values()) == 36
    assert sum(row["pairs"] for row in report["calibration"]["bins"]) == 36
    assert (trained / "report.png").stat().st_size > 10_000
    assert "| all | 36 |" in (trained / "report.md").read_text()
    summary = runs.summary(trained)
    assert summary["updates"] == 24 and summary["train_pairs"] == 100 and summary["left_out"] == {}
    assert summary["accuracy"]["verifier"] == everything["verifier"]["accuracy"]


def test_the_replies_become_likelier(trained):
    losses = [row["loss/supervised"] for row in runs.rows(trained) if "loss/supervised" in row]
    assert losses[-1] < 4.0  # a guess among 256 bytes is 5.5


def test_a_judge_asks_the_trained_weights_what_the_training_asked_them(trained):
    asked = base.asking().to_dict() | {"weights": str(trained), "dtype": "float32", "min_mass": 0.0}
    asked |= {"tokenizer": verifier_tiny.get_config().tokenizer.to_dict(), "row_lengths": [144], "rows": 4}
    verifier = make_verifier(build(GenerativeSettings, asked), make_layout("decoding"))
    pairs = read_pairs(settings().data, "test", 0)
    said = verifier.compare([to_pair(pair) for pair in pairs])
    right = [(c.outcome == SAME) == pair.same for c, pair in zip(said, pairs, strict=True)]
    assert sum(right) / len(right) == runs.summary(trained)["accuracy"]["verifier"]


@pytest.mark.slow
def test_a_training_stopped_at_any_update_ends_with_the_weights_of_one_that_was_not(trained, tmp_path):
    process = runs.start_command(tmp_path, command(tmp_path, {"checkpoint.every": 1}))
    runs.wait_for(lambda: len(runs.checkpoint_steps(tmp_path)) > 0, process, "the first checkpoint")
    process.kill()
    process.wait(60)
    assert runs.checkpoint_steps(tmp_path)[-1] < 24
    assert runs.finish(runs.start_command(tmp_path, command(tmp_path, {}))) == 0
    assert runs.last_checkpoint(tmp_path).params() == runs.last_checkpoint(trained).params()
    ours, theirs = runs.summary(tmp_path), runs.summary(trained)
    assert ours["accuracy"] == theirs["accuracy"] and ours["ece"] == theirs["ece"]


@pytest.mark.slow
def test_a_verifier_that_justifies_first_is_measured_by_what_it_writes(tmp_path):
    overrides = {"evaluation.mode": "reasoned", "evaluation.output_limit": 8, "steps": 2}
    assert runs.finish(runs.start_command(tmp_path, command(tmp_path, overrides))) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["table"]["all"]["verifier"]["unsure"] == 1.0  # two updates teach no justification
    assert report["calibration"]["bins"] == []
    assert {row[UNSURE] for row in report["confusion"].values()} != {0}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"updates.reasoned": 1.5}, r"updates.reasoned is a share of the pairs; got 1.5"),
        ({"prompt.chat": True}, r"prompt.chat needs the chat template of tokenizer.kind=hf; got 'bytes'"),
        ({"prompt.template": "{question} {reference}"}, r"template must hold \{predicted\} once"),
        ({"steps": 0}, r"steps must be at least 1; got 0"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_the_key(overrides, message):
    with pytest.raises(ValueError, match=message):
        settings(**overrides)


def test_every_verifier_config_has_the_keys_of_the_base_and_no_others():
    wanted = set(verifier_base.get_config().to_dict())
    assert set(verifier_tiny.get_config().to_dict()) == wanted
    VerifierSettings.from_dict(verifier_base.get_config().to_dict())


def test_a_mistyped_key_is_answered_in_a_line(tmp_path):
    line = command(tmp_path, {}) + ["--config.stepz=3"]
    done = subprocess.run(line, capture_output=True, text=True, env=runs.environment(), cwd=runs.ROOT)
    assert done.returncode == 1 and "no config key" in done.stderr and "configs/verifier_base.py" in done.stderr
