"""Bad configs and inputs, as a user meets them: one line says what to do, and nothing is lost."""

import hashlib
import json
import shutil
import subprocess

import pytest

from tests import runs
from ulorl_jax.loop import run
from ulorl_jax.parts import make_parts


def refused_by_command_line(workdir, overrides, config="configs/tiny.py"):
    """What the user reads when the real command refuses to start: all of it, exit code 1, nothing compiled."""
    done = subprocess.run(
        runs.command(workdir, overrides, config),
        cwd=runs.ROOT,
        env=runs.environment(),
        capture_output=True,
        text=True,
        timeout=runs.DEADLINE,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr and "warm start" not in done.stdout and "held-out" not in done.stdout
    return done.stderr


def refused(workdir, overrides):
    """The same start in this process; launch/train.py prints the error after "error: " and exits with 1."""
    with pytest.raises(ValueError) as caught:
        run(make_parts(runs.settings(overrides), workdir))
    message = str(caught.value)
    assert "\n" not in message
    return message


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def write_rows(path, questions):
    path.write_text("".join(json.dumps({"question": q, "answer": "#7", "id": q}) + "\n" for q in questions))
    return str(path)


def own_data(folder, train):
    heldout = write_rows(folder / "heldout.jsonl", [f"a{i}b2=" for i in range(4)])
    return {
        "data.generate": "",
        "data.train.main.path": train,
        "data.heldout.path": heldout,
        "warm_start.steps": 0,
    }


# Early enough that the real command answers in a second or two.


def test_an_unknown_key_is_answered_with_the_key_that_was_meant(tmp_path):
    error = refused_by_command_line(tmp_path / "run", {"rollout.segmnts": 4})
    assert error == (
        'error: no config key \'segmnts\'. Did you mean "segments" instead of "segmnts"? '
        "(configs/base.py has all keys)\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_value_of_the_wrong_type_names_flag_and_value(tmp_path):
    error = refused_by_command_line(tmp_path / "run", {"rollout.slots": "many"})
    assert "config.rollout.slots" in error and "many" in error
    assert not (tmp_path / "run").exists()


def test_a_limit_that_the_segments_do_not_divide_is_answered_with_limits_that_work(tmp_path):
    error = refused_by_command_line(tmp_path / "run", {"rollout.output_limit": 42})
    assert error == (
        "error: rollout.output_limit (L) must be a multiple of rollout.segments (M = 4); got 42: 40 or 44 would work\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_workdir_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    error = refused_by_command_line(tmp_path / "file" / "run", {})
    assert (
        error.startswith(f"error: --workdir={tmp_path / 'file' / 'run'} cannot be written") and error.count("\n") == 1
    )


def test_a_config_file_that_is_not_there_is_named(tmp_path):
    error = refused_by_command_line(tmp_path / "run", {}, config="configs/tinny.py")
    assert error.startswith("error: the config file cannot be read") and "configs/tinny.py" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ({"rollout.slots": 0}, ["rollout.slots", "got 0", "set it to 1 or more"]),
        ({"rollout.slots": 12}, ["rollout.slots", "multiple of 8", "got 12", "16 would work"]),
        ({"train.row_lengths": (32,)}, ["train.row_lengths", "8 + 40", "(32,)", "add 48"]),
        ({"rollout.prefill_chunk": 0}, ["rollout.prefill_chunk", "got 0", "set it to 1 or more"]),
        ({"loss.importance": "tois"}, ["loss.importance=tois", "rollout.segments=1", "got (4, 'step')"]),
        ({"loss.importance": "poise"}, ["loss.importance", "pois", "sais", "tois", "got 'poise'"]),
        ({"mesh.fsdp": 3}, ["needs 3 devices", "there are 8", "mesh.fsdp=-1"]),
        ({"data.heldout_rows": 0}, ["data.heldout_rows", "got 0", "set it to 1 or more"]),
        ({"data.generate": "chain_sums"}, ["data.generate", "chain_sum", "got 'chain_sums'"]),
        ({"data.generate": ""}, ["data.train.main.path=''", "is no file", "question"]),
        (
            {"warm_start.steps": 0, "warm_start.checkpoint": "runs/nothing"},
            ["warm_start.checkpoint='runs/nothing'", "is no folder", "or the warm_start folder of a run"],
        ),
        ({"warm_start.row_length": 8}, ["supervised.jsonl", "warm_start.row_length=8", "warm_start.samples=32"]),
        ({"warm_start.optimizer.decay_steps": 5}, ["warm_start.optimizer.decay_steps", "got 5", "6 or more"]),
        ({"tokenizer.eos_ids": (400,)}, ["tokenizer.eos_ids", "model.vocab_size (128)", "got (400,)"]),
    ],
    ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_contradictory_settings_are_refused_with_the_key_the_value_and_what_would_work(tmp_path, overrides, parts):
    error = refused(tmp_path / "run", overrides)
    assert [part for part in parts if part not in error] == []
    assert not list((tmp_path / "run").glob("**/checkpoints/*")) and not (tmp_path / "run" / "config.json").exists()


def test_a_missing_and_an_empty_prompt_file_are_named(tmp_path):
    missing = str(tmp_path / "nothing.jsonl")
    assert f"data.train.main.path={missing!r} is no file" in refused(tmp_path / "run", own_data(tmp_path, missing))
    empty = write_rows(tmp_path / "empty.jsonl", [])
    assert f"{empty} is empty" in refused(tmp_path / "run", own_data(tmp_path, empty))


def test_a_prompt_longer_than_the_limit_is_skipped_and_counted(tmp_path):
    train = write_rows(tmp_path / "train.jsonl", ["a1b3=", "a" * 25, "a3b4="])
    few = {"steps": 1, "evaluation.every": 1}
    summary = run(make_parts(runs.settings(own_data(tmp_path, train) | few), tmp_path / "run"))
    assert summary["prompts"] == {
        "kept": 2,
        "too_long": 1,
        "unencodable": 0,
        "empty": 0,
        "duplicates": 0,
        "held_out": 0,
    }
    assert summary["steps"] == 1


def test_a_run_whose_questions_have_changed_is_not_gone_on_with(tmp_path):
    train = write_rows(tmp_path / "train.jsonl", ["a1b3=", "a3b4="])
    overrides = own_data(tmp_path, train) | {"steps": 1, "evaluation.every": 1}
    run(make_parts(runs.settings(overrides), tmp_path / "run"))
    write_rows(tmp_path / "train.jsonl", ["a1b3=", "a5b4="])
    assert "the training questions (SHA-256) is" in refused(tmp_path / "run", overrides | {"steps": 2})


class TestAnExistingRun:
    """What a start that is refused must leave as it was."""

    @pytest.fixture(scope="class")
    def good(self, tmp_path_factory):
        workdir = tmp_path_factory.mktemp("bad_input") / "run"
        run(make_parts(runs.settings({"steps": 2, "checkpoint.every": 1, "warm_start.steps": 2}), workdir))
        return workdir

    @pytest.fixture
    def workdir(self, good, tmp_path):
        return shutil.copytree(good, tmp_path / "run")

    @pytest.mark.parametrize(
        ("key", "value", "name", "remedy"),
        [
            ("model.hidden_size", 48, "hidden_size", "use the config it was saved with, or another directory"),
            ("seed", 1, "seed", "use the config it was saved with, or another directory"),
            ("rollout.kv", "keep", "kv", "set the rollout.* that differ back, or begin a run with its weights"),
        ],
    )
    def test_a_checkpoint_of_another_run_is_refused_and_nothing_is_changed(self, workdir, key, value, name, remedy):
        before = contents(workdir)
        error = refused(workdir, {"steps": 4, "warm_start.steps": 2, key: value})
        assert str(workdir / "checkpoints" / "2") in error and name in error and str(value) in error
        assert remedy in error
        after = contents(workdir)
        assert {name: after[name] for name in before} == before

    def test_other_settings_of_the_warm_start_are_refused_where_its_weights_lie_ready(self, workdir):
        shutil.rmtree(workdir / "checkpoints")
        before = contents(workdir)
        error = refused(workdir, {"warm_start.steps": 3})
        assert str(workdir / "warm_start") in error and "warm_start" in error and "--workdir" in error
        assert contents(workdir) == before

    @pytest.mark.parametrize("item", ["state", "host"])
    def test_a_damaged_checkpoint_is_named_and_moved_away_the_run_goes_on_from_the_one_before(self, workdir, item):
        newest = workdir / "checkpoints" / "2"
        largest = max((p for p in (newest / item).rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
        largest.write_bytes(largest.read_bytes()[:-1])
        before = contents(workdir)
        error = refused(workdir, {"steps": 3, "warm_start.steps": 2})
        assert f"checkpoint {newest} is damaged" in error and "move this directory away" in error and "step 1" in error
        assert contents(workdir) == before

        newest.rename(workdir.parent / "damaged")
        overrides = {"steps": 3, "checkpoint.every": 1, "warm_start.steps": 2}
        summary = run(make_parts(runs.settings(overrides), workdir))
        assert summary["steps"] == 3
        assert [row["step"] for row in runs.rows(workdir)] == [0, 1, 2, 3]

    def test_a_warm_start_of_another_model_is_refused(self, workdir, tmp_path):
        overrides = {"warm_start.steps": 0, "warm_start.checkpoint": str(workdir / "warm_start")}
        before = contents(workdir)
        error = refused(tmp_path / "new", overrides | {"model.hidden_size": 48})
        assert str(workdir / "warm_start" / "2") in error and "hidden_size is 32, want 48" in error
        assert contents(workdir) == before
