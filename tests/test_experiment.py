"""The experiments: every cell of every file is a run that could begin, and mistakes in a file are named."""

import importlib
import json
import pathlib

import pytest

from configs.experiments import base
from launch.experiment_runs import make_runs, resolve
from ulorl_jax.experiment import ExperimentSettings, operand

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILES = sorted(path.stem for path in (ROOT / "configs" / "experiments").glob("[a-z]*[0-9_]*.py") if "_" in path.stem)


def experiment(name):
    module = importlib.import_module(f"configs.experiments.{name}")
    return module, ExperimentSettings.from_dict(module.get_config().to_dict())


def test_every_claim_has_its_file():
    assert {name.partition("_")[0] for name in FILES} == {"f2", "f4", "f5", "t1", "t2", "t3", "kv"}


@pytest.mark.parametrize("name", FILES)
def test_every_cell_of_an_experiment_is_a_run_that_could_begin(name):
    module, asked = experiment(name)
    runs = make_runs(asked, pathlib.Path("somewhere"), ROOT)
    assert len(runs) == len(asked.cells) * len(asked.seeds) and len(asked.seeds) >= 3
    for (cell, seed), run in runs.items():
        assert run.asked["seed"] == seed and run.folder == pathlib.Path(f"somewhere/cells/{cell}/seed_{seed}")
        assert (
            run.after is not None and f"--config.warm_start.checkpoint={run.after.folder / 'warm_start'}" in run.command
        )
    assert len({json.dumps(run.asked) for run in runs.values()}) == len(runs), "two cells are the same run"
    assert asked.rules and asked.claim and asked.paper
    for words in ("Paper:", "Setting:", "Command:", "Expected time:", "Refuted by:", f"experiments/{name}.py"):
        assert words in module.__doc__, words


def test_cells_of_one_name_are_one_run_in_all_experiments():
    seen = {}
    for name in FILES:
        for (cell, seed), run in make_runs(experiment(name)[1], pathlib.Path("somewhere"), ROOT).items():
            assert seen.setdefault((cell, seed), run.asked) == run.asked, (name, cell)
    assert len(seen) > 40


def test_overrides_are_resolved_as_launch_train_does():
    config = ROOT / "configs" / "tiny.py"
    resolved = resolve(config, ("loss.sigma=inf", "train.row_lengths=(300,)", "rollout.kv=keep"))
    assert resolved["loss"]["sigma"] == float("inf") and resolved["train"]["row_lengths"] == (300,)
    assert resolved["rollout"]["kv"] == "keep" and resolved["steps"] == 100


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("loss.sigmaa=1", 'Did you mean "sigma"'),
        ("loss.sigma=much", "much"),
        ("loss.sigma", "loss.sigma"),
        ("rollout.segments=7", "multiple of rollout.segments"),
    ],
)
def test_a_cell_that_cannot_be_is_named(override, said):
    c = base.get_config()
    c.cells = base.in_order(bad=(override,))
    with pytest.raises(ValueError, match="bad/seed_0: ") as refused:
        make_runs(ExperimentSettings.from_dict(c.to_dict()), pathlib.Path("x"), ROOT)
    assert said in str(refused.value)


def test_without_a_shared_warm_start_every_cell_makes_its_own():
    c = base.get_config()
    c.cells, c.warm_start, c.seeds = base.in_order(one=()), (), (4,)
    (run,) = make_runs(ExperimentSettings.from_dict(c.to_dict()), pathlib.Path("x"), ROOT).values()
    assert run.after is None and run.asked["warm_start"]["steps"] == 700 and run.command[-1] == "--config.seed=4"


@pytest.mark.parametrize(
    ("section", "value", "said"),
    [
        ("cells", {}, "at least one cell"),
        ("cells", {"a/b": ()}, "a/b"),
        ("cells", {"a": "loss.sigma=0.0"}, "cells.a"),
        ("seeds", (0, 0), "different"),
        ("seeds", (), "different"),
        ("predict_from", "b", "predict_from"),
        ("metrics", {"x": base.metric("a/b", first=1, last=1)}, "metrics.x"),
        ("metrics", {"x": base.metric("a/b", reduce="mode")}, "metrics.x.reduce"),
        ("metrics", {"x": base.metric("predicted/step_s")}, "predict_from"),
        ("panels", {"p": base.panel("t", "u")}, "panels.p"),
        ("panels", {"p": base.panel("t", "u", bars=("y",))}, "panels.p"),
        ("rules", {"r": base.rule("s", "a.y")}, "the metric in rules.r"),
        ("rules", {"r": base.rule("s", "b.x")}, "the cell in rules.r"),
        ("rules", {"r": base.rule("s", "a.x", low=1.0, high=0.0)}, "rules.r.low"),
        ("rules", {"r": base.rule("s", "a.x", low=0.0, seeds=4)}, "rules.r.seeds"),
        ("rules", {"r": base.rule("s", "a.x", relation="times")}, "rules.r.relation"),
        ("rules", {"r": base.rule("s", "a.x", role="hope")}, "rules.r.role"),
        ("rules", {"r": base.rule("s", "a.x", "much")}, "'much'"),
        ("rulez", {}, "rulez"),
    ],
)
def test_a_mistake_in_an_experiment_is_named(section, value, said):
    c = base.get_config()
    c.cells, c.metrics = base.in_order(a=()), base.in_order(x=base.metric("a/b"))
    values = c.to_dict()
    values[section] = (
        {k: v if isinstance(v, (tuple, str)) else v.to_dict() for k, v in value.items()}
        if isinstance(value, dict)
        else value
    )
    with pytest.raises(ValueError) as refused:
        ExperimentSettings.from_dict(values)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "wanted"), [("0.2", 0.2), ("-1", -1.0), ("m4.step_s", ("m4", "step_s")), ("1.5", 1.5)]
)
def test_a_side_of_a_rule_is_a_number_or_a_cells_metric(text, wanted):
    assert operand(text) == wanted
