"""The first weights: out of a Hugging Face folder or a run, trained further or not, refused where they do not fit."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from tests import runs
from ulorl_jax.clock import StopRequest
from ulorl_jax.convert import convert
from ulorl_jax.io.checkpoints import Checkpoints
from ulorl_jax.models.qwen3_params import init_params
from ulorl_jax.models.rope import RopeScaling
from ulorl_jax.parts import make_parts, tokenizer_folder
from ulorl_jax.warm_start import first_params, supervised_samples
from ulorl_jax.weights import fingerprint, open_weights

STEPS = {"warm_start.steps": 2, "warm_start.optimizer.warmup_steps": 0, "warm_start.optimizer.decay_steps": 0}
YARN = {"model.rope_scaling.factor": 1.5, "model.rope_scaling.original_max_position_embeddings": 32}


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return runs.task(tmp_path_factory.mktemp("task")) | {"warm_start.steps": 0}


def write(folder, overrides, seed=0, to="hf", config=None):
    """Random weights of the settings' network: an orbax folder, or one of Hugging Face made of it. And the weights."""
    config = config or runs.settings(overrides).model
    params = init_params(jax.random.key(seed), config)
    orbax = folder.with_name(f"{folder.name}_orbax")
    with Checkpoints(orbax, keep=1, fingerprint=fingerprint(config)) as checkpoints:
        checkpoints.save(3, state=params, host={}, arrays={})
    if to == "orbax":
        return orbax, params
    convert(open_weights(orbax), folder, "hf")
    (folder / "tokenizer.json").write_text("{}")
    return folder, params


def start(workdir, overrides):
    """The weights of a run's first step."""
    with StopRequest() as stop:
        return first_params(make_parts(runs.settings(overrides), workdir), stop)


def refused(workdir, overrides):
    with pytest.raises(ValueError) as caught:
        start(workdir, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_equal(params, wanted):
    for one, other in zip(jax.tree.leaves(params), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def distance(params, others):
    """The largest difference of two weights."""
    pairs = zip(jax.tree.leaves(params), jax.tree.leaves(others), strict=True)
    return max(float(np.abs(np.asarray(one) - np.asarray(other)).max()) for one, other in pairs)


@pytest.mark.parametrize("to", ["hf", "orbax"])
def test_a_run_starts_from_a_folder_with_its_weights_on_every_device_and_its_files_kept(tmp_path, task, to):
    folder, wanted = write(tmp_path / "weights", task, to=to)
    params = start(tmp_path / "run", task | {"warm_start.checkpoint": str(folder)})
    assert_equal(params, wanted)
    assert not params["layers"]["q"].sharding.is_fully_replicated
    kept = [path.name for path in (tmp_path / "run").glob("hf/*")]
    assert sorted(kept) == (["config.json", "tokenizer.json"] if to == "hf" else [])


def test_a_run_starts_from_another_runs_train_state(tmp_path, task):
    folder, _ = write(tmp_path / "weights", task)
    from ulorl_jax.loop import run

    one_step = {"steps": 1, "data.heldout_rows": 1, "warm_start.checkpoint": str(folder)}
    run(make_parts(runs.settings(task | one_step), tmp_path / "first"))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "first").rglob("*")}
    params = start(tmp_path / "second", task | {"warm_start.checkpoint": str(tmp_path / "first")})
    saved = runs.last_checkpoint(tmp_path / "first").params()
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    assert {name: np.asarray(x).tobytes() for name, x in zip(names, jax.tree.leaves(params), strict=True)} == saved
    assert (tmp_path / "second" / "hf" / "tokenizer.json").is_file()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "first").rglob("*")} == before


def test_a_checkpoint_with_steps_is_trained_further_from_its_weights(tmp_path, task):
    one, _ = write(tmp_path / "one", task, seed=1)
    other, _ = write(tmp_path / "other", task, seed=2)
    trained = start(tmp_path / "a", task | STEPS | {"warm_start.checkpoint": str(one)})
    assert distance(trained, start(tmp_path / "b", task | STEPS | {"warm_start.checkpoint": str(other)})) > 0.1
    assert distance(trained, start(tmp_path / "c", task | STEPS)) > 0.1
    # No more than two updates away from where it began.
    begun = start(tmp_path / "d", task | {"warm_start.checkpoint": str(one)})
    assert 0 < distance(trained, begun) < 3 * runs.settings(task).warm_start.optimizer.learning_rate


def test_what_was_trained_is_taken_again_for_the_same_weights_wherever_they_lie_and_for_no_others(tmp_path, task):
    folder, _ = write(tmp_path / "weights", task, seed=1)
    other, _ = write(tmp_path / "other", task, seed=2)
    overrides = task | STEPS | {"warm_start.checkpoint": str(folder)}
    trained = start(tmp_path / "run", overrides)
    shutil.move(folder, tmp_path / "moved")
    metrics = tmp_path / "run" / "warm_start_metrics" / "metrics.jsonl"
    metrics.unlink()
    assert_equal(start(tmp_path / "run", overrides | {"warm_start.checkpoint": str(tmp_path / "moved")}), trained)
    assert not metrics.exists()  # it was not trained a second time
    error = refused(tmp_path / "run", overrides | {"warm_start.checkpoint": str(other)})
    assert "made with other settings (they differ in: warm_start)" in error


def test_a_warm_start_that_was_made_is_read_from_a_folder_that_nobody_may_write_to(tmp_path, task):
    trained = start(tmp_path / "run", task | STEPS)
    shared = tmp_path / "run" / "warm_start"
    times = {path: path.stat().st_mtime_ns for path in [shared, *shared.rglob("*")]}
    assert_equal(start(tmp_path / "run", task | STEPS), trained)
    assert_equal(start(tmp_path / "other", task | {"warm_start.checkpoint": str(shared)}), trained)
    assert {path: path.stat().st_mtime_ns for path in [shared, *shared.rglob("*")]} == times
    error = refused(tmp_path / "run", task | STEPS | {"model.rope_theta": 5e5})
    assert f"{shared} holds weights made with other settings (they differ in: model.rope_theta)" in error


@pytest.mark.parametrize("to", ["hf", "orbax"])
def test_weights_of_another_network_are_refused_with_every_field_that_differs(tmp_path, task, to):
    folder, _ = write(tmp_path / "weights", task, to=to)
    changes = {"model.hidden_size": 48, "model.rope_theta": 5e5, "model.tie_word_embeddings": False}
    error = refused(tmp_path / "run", task | changes | {"warm_start.checkpoint": str(folder)})
    for name in (
        "hidden_size is 32, want 48",
        "rope_theta is ",
        "tie_word_embeddings is True, want False",
        str(folder),
    ):
        assert name in error
    assert "set model.*" in error and not (tmp_path / "run" / "hf").exists()


def test_how_a_network_is_computed_and_what_it_does_not_use_may_differ(tmp_path, task):
    folder, wanted = write(tmp_path / "weights", task)
    values = json.loads((folder / "config.json").read_text()) | {"torch_dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(values))
    other = {"model.remat": "full", "model.moe_intermediate_size": 7, "model.norm_topk_prob": False}
    assert_equal(start(tmp_path / "run", task | other | {"warm_start.checkpoint": str(folder)}), wanted)


def test_yarn_may_be_put_on_weights_without_it_and_must_be_the_same_on_those_that_have_it(tmp_path, task):
    plain, wanted = write(tmp_path / "plain", task)
    assert_equal(start(tmp_path / "a", task | YARN | {"warm_start.checkpoint": str(plain)}), wanted)
    config = dataclasses.replace(runs.settings(task).model, rope_scaling=RopeScaling(1.5, 32))
    scaled, wanted = write(tmp_path / "scaled", task, config=config)
    given = {"warm_start.checkpoint": str(scaled)}
    assert_equal(start(tmp_path / "b", task | YARN | given), wanted)
    spelled_out = {"model.rope_scaling.attention_factor": config.rope_scaling.magnitude}
    assert_equal(start(tmp_path / "c", task | YARN | spelled_out | given), wanted)
    for other in ({}, YARN | {"model.rope_scaling.factor": 2.0}):
        assert "rope_scaling is RopeScaling(factor=1.5" in refused(tmp_path / "d", task | other | given)


def test_the_tokenizer_is_that_of_the_first_weights_until_the_run_has_begun_and_then_its_own(tmp_path, task):
    folder, _ = write(tmp_path / "weights", task)
    settings = runs.settings(task | {"tokenizer.kind": "hf", "warm_start.checkpoint": str(folder)})
    workdir = tmp_path / "run"
    (workdir / "hf").mkdir(parents=True)
    (workdir / "hf" / "tokenizer.json").write_text("{}")  # of other weights, by a start that was given up
    assert tokenizer_folder(settings, workdir) == folder
    (workdir / "checkpoints" / "1" / "host").mkdir(parents=True)
    assert tokenizer_folder(settings, workdir) == workdir / "hf"


def test_a_run_that_has_begun_does_without_the_first_weights(tmp_path, task):
    from ulorl_jax.loop import run

    folder, _ = write(tmp_path / "weights", task)
    overrides = task | {"data.heldout_rows": 1, "evaluation.every": 1, "warm_start.checkpoint": str(folder)}
    run(make_parts(runs.settings(overrides | {"steps": 1}), tmp_path / "run"))
    shutil.rmtree(folder)
    assert run(make_parts(runs.settings(overrides | {"steps": 2}), tmp_path / "run"))["steps"] == 2


def test_a_question_of_the_evaluation_is_not_among_the_worked_answers(tmp_path, task):
    with open(task["data.supervised.path"]) as file:
        rows = [json.loads(line) for line in file]
    (tmp_path / "heldout.jsonl").write_text(json.dumps(rows[0] | {"question": f" {rows[0]['question']}  "}) + "\n")
    overrides = task | STEPS | {"data.heldout.path": str(tmp_path / "heldout.jsonl")}
    samples, left_out = supervised_samples(make_parts(runs.settings(overrides), tmp_path / "run"))
    same = sum(row["question"] == rows[0]["question"] for row in rows)
    assert left_out == {"too_long": 0, "held_out": same} and len(samples) == len(rows) - same
