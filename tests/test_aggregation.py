"""From runs to numbers: against means, bands and verdicts worked out by hand."""

import dataclasses
import json
import math

import pytest

from configs.experiments import base
from tests.test_plan_inputs import write_run
from ulorl_jax.aggregation import (
    FAILS,
    HOLDS,
    NUMBERLESS,
    UNFINISHED,
    UNTESTABLE,
    aggregate,
    curve_over_seeds,
    over_seeds,
    reduce_rows,
    verdict,
)
from ulorl_jax.experiment import ExperimentSettings, MetricSettings
from ulorl_jax.experiment_report import print_report, write_report
from ulorl_jax.typed import build

ROWS = [
    {"step": 0, "heldout/sampled": 0.25},
    {"step": 1, "entropy/mean": 0.5, "time/step_s": 9.0},
    {"step": 2, "time/step_s": 1.0},
    {"step": 3, "entropy/mean": 0.25, "time/step_s": 2.0},
    {"step": 4, "entropy/mean": math.nan, "time/step_s": 3.0, "heldout/sampled": 0.75},
    {"step": 5, "loss/kl": math.inf},
]


def metric(column, **fields):
    return build(MetricSettings, base.metric(column, **fields).to_dict())


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        (0.375, {"column": "entropy/mean"}),
        (0.5, {"column": "entropy/mean", "first": 1}),
        (0.25, {"column": "entropy/mean", "last": 1}),  # the last finite one
        (0.375, {"column": "entropy/mean", "last": 10}),
        (0.25, {"column": "heldout/sampled", "first": 1}),
        (0.75, {"column": "heldout/sampled", "last": 1}),
        (2.5, {"column": "time/step_s", "reduce": "median"}),
        (9.0, {"column": "time/step_s", "reduce": "max"}),
        (1.0, {"column": "time/step_s", "reduce": "min"}),
        (3.75 / 0.375, {"column": "time/step_s", "per": "entropy/mean"}),
        (3750.0, {"column": "time/step_s", "scale": 1e3}),
        (7.0, {"column": "measured/step_s"}),
        ("none of its 6 rows has ratio/clip_frac", {"column": "ratio/clip_frac", "first": 10}),
        ("none of its 6 rows has a finite loss/kl", {"column": "loss/kl", "first": 10}),
        ("none of its 6 rows has loss/sl", {"column": "time/step_s", "per": "loss/sl"}),
        ("time/step_s / measured/nothing is not finite", {"column": "time/step_s", "per": "measured/nothing"}),
        ("predicted/step_s could not be told from the run's record", {"column": "predicted/step_s"}),
    ],
)
def test_a_metric_is_taken_from_the_rows_it_names(wanted, fields):
    figures = {"measured/step_s": 7.0, "measured/nothing": 0.0}
    assert reduce_rows(ROWS, figures, metric(**fields)) == wanted


def test_mean_deviation_and_band_over_seeds():
    spread = over_seeds({0: 1.0, 1: 2.0, 2: 6.0, 3: "no row"})
    assert spread["values"] == {"0": 1.0, "1": 2.0, "2": 6.0, "3": None}
    assert spread["lacking"] == {"3": "no row"}
    assert (spread["mean"], spread["low"], spread["high"]) == (3.0, 1.0, 6.0)
    assert spread["sd"] == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert over_seeds({0: 1.0})["sd"] is None and over_seeds({})["mean"] is None


def test_a_curve_has_every_step_that_some_seed_has():
    one = [{"step": 1, "x": 1.0}, {"step": 2, "x": 2.0}, {"step": 3, "x": math.inf}]
    two = [{"step": 1, "x": 3.0}, {"step": 2, "y": 0.0}, {"step": 4, "x": 5.0}]
    assert curve_over_seeds([one, two], "x") == {
        "steps": [1, 2, 4],
        "mean": [2.0, 2.0, 5.0],
        "low": [1.0, 2.0, 5.0],
        "high": [3.0, 2.0, 5.0],
    }


def run_of(folder, entropies):
    folder.mkdir(parents=True)
    rows = [{"step": step, "entropy/mean": value} for step, value in enumerate(entropies, 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def experiment(**rules):
    c = base.get_config()
    c.claim, c.paper = "Entropy rises.", "Figure 0"
    c.seeds, c.cells = (0, 1), base.in_order(up=("loss.sigma=inf",), down=())
    c.metrics = base.in_order(start=base.metric("entropy/mean", first=1), end=base.metric("entropy/mean", last=2))
    c.panels = base.in_order(
        curve=base.panel("Entropy", "nats", curve="entropy/mean", lines=(0.2,)),
        bars=base.panel("Both", "nats", bars=("start", "end"), marks="end"),
    )
    c.rules = base.in_order(**rules)
    return ExperimentSettings.from_dict(c.to_dict())


RUNS = {"up": {0: (0.1, 0.5, 0.7), 1: (0.2, 0.2, 0.2)}, "down": {0: (0.6, 0.4, 0.2), 1: (0.5, 0.3, 0.1)}}


@pytest.fixture
def runs(tmp_path):
    return {c: {s: run_of(tmp_path / c / f"seed_{s}", e) for s, e in of.items()} for c, of in RUNS.items()}


@pytest.mark.parametrize(
    ("rule", "values", "holds"),
    [
        (base.rule("", "up.end", "up.start", low=0.3), [0.5, 0.0], False),
        (base.rule("", "up.end", "up.start", low=0.3, seeds=1), [0.5, 0.0], True),
        (base.rule("", "down.end", "0.2", low=-0.05, high=0.05), [0.1, 0.0], False),
        (base.rule("", "up.end", "down.end", relation="ratio", low=1.0), [2.0, 1.0], True),
        (base.rule("", "down.end", "down.start", high=-0.25), [-0.3, -0.3], True),
        (base.rule("", "down.end", "0", relation="ratio"), [None, None], None),
    ],
)
def test_a_rule_compares_the_same_seeds_and_counts_them(runs, rule, values, holds):
    judged = aggregate(experiment(it=rule), runs)["rules"]["it"]
    assert judged["wanted"].endswith(" in 1 seeds") == bool(rule.seeds)
    assert list(judged["values"].values()) == [v if v is None else pytest.approx(v) for v in values]
    assert judged["holds"] is holds


def test_a_missing_run_leaves_a_rule_open_only_as_long_as_it_could_decide(runs):
    del runs["up"][0]
    both = experiment(it=base.rule("", "up.end", "up.start", low=0.3))
    one = experiment(it=base.rule("", "up.end", "up.start", low=0.3, seeds=1))
    assert aggregate(both, runs)["rules"]["it"]["holds"] is False  # seed 1 does not: no need to wait for seed 0
    assert aggregate(one, runs)["rules"]["it"]["holds"] is None
    assert aggregate(one, {})["verdict"] == UNFINISHED


def test_a_finished_run_without_the_number_is_told_apart_from_one_that_is_not_finished(runs, tmp_path, capsys):
    (runs["up"][0] / "metrics.jsonl").write_text('{"step": 1, "entropy/mean": "nan"}\n{"step": 2, "other": 1.0}\n')
    asked = experiment(it=base.rule("it rises", "up.end", "down.end", low=0.0))
    why = "none of its 2 rows has a finite entropy/mean"
    result = aggregate(asked, runs)
    rule = result["rules"]["it"]
    assert rule["values"] == {"0": None, "1": pytest.approx(0.0)} and rule["lacking"] == {"0": f"up: {why}"}
    assert rule["holds"] is None and result["verdict"] == NUMBERLESS
    write_report(asked, result, tmp_path, "rise", "")
    print_report(asked, result)
    for text in ((tmp_path / "rise.md").read_text(), capsys.readouterr().out):
        assert f"up/seed_0 is finished, and has no end: {why}." in text
    text = (tmp_path / "rise.md").read_text()
    assert "| end | 0.2 (1 without) | 0.25 ± 0.0707 |" in text and "| none, 0 | 1 of 2 | no number |" in text
    assert json.loads((tmp_path / "rise.json").read_text())["cells"]["up"]["metrics"]["end"]["lacking"] == {"0": why}

    del runs["down"][1]  # now a run that goes on could decide
    result = aggregate(asked, runs)
    assert result["rules"]["it"]["lacking"] == {"0": f"up: {why}"} and result["verdict"] == UNFINISHED
    write_report(asked, result, tmp_path, "rise", "")
    assert "| none, - | 0 of 2 | open |" in (tmp_path / "rise.md").read_text()
    del runs["up"][1]
    write_report(asked, aggregate(asked, runs), tmp_path, "rise", "")
    assert "| end | none | 0.3 |" in (tmp_path / "rise.md").read_text()


def test_a_number_that_is_predicted_waits_for_the_run_it_is_predicted_from(tmp_path):
    folders = [write_run(tmp_path / name) for name in ("up", "down")]
    for folder in folders:
        config = json.loads((folder / "config.json").read_text())
        config["rollout"] |= {"refill": "step", "recompute_every": 1}
        (folder / "config.json").write_text(json.dumps(config))
    asked = experiment(it=base.rule("", "down.end", low=0.0))
    metrics = {"start": metric("measured/step_s"), "end": metric("predicted/step_s", per="measured/step_s")}
    asked = dataclasses.replace(asked, seeds=(0,), predict_from="up", metrics=metrics, panels={})
    waits = aggregate(asked, {"down": {0: folders[1]}})
    down = waits["cells"]["down"]["metrics"]
    assert (
        down["start"]["values"] == {"0": pytest.approx(1.4)} and down["end"]["values"] == down["end"]["lacking"] == {}
    )
    assert waits["verdict"] == UNFINISHED
    there = aggregate(asked, {"up": {0: folders[0]}, "down": {0: folders[1]}})
    assert there["cells"]["down"]["metrics"]["end"]["mean"] > 0 and there["verdict"] == HOLDS


@pytest.mark.parametrize(
    ("conditions", "claims", "wanted"),
    [
        ([True], [True, True], HOLDS),
        ([], [True, False], FAILS),
        ([True], [None, False], FAILS),
        ([True], [None, True], UNFINISHED),
        ([None], [False], UNFINISHED),
        ([False], [False], UNTESTABLE),
        ([False], [None], UNTESTABLE),
        ([True], [], UNFINISHED),
        ([True], [NUMBERLESS, True], NUMBERLESS),
        ([NUMBERLESS], [False], NUMBERLESS),
        ([True], [NUMBERLESS, False], FAILS),
        ([True], [NUMBERLESS, None], UNFINISHED),
        ([False], [NUMBERLESS], UNTESTABLE),
    ],
)
def test_a_claim_holds_where_conditions_and_all_its_rules_do(conditions, claims, wanted):
    rules = [("condition", holds) for holds in conditions] + [("claim", holds) for holds in claims]
    judged = {
        str(i): {
            "role": role,
            "holds": None if holds == NUMBERLESS else holds,
            "values": {"0": None},
            "lacking": {"0": "no row"} if holds == NUMBERLESS else {},
        }
        for i, (role, holds) in enumerate(rules)
    }
    assert verdict(judged) == wanted


def test_json_table_and_picture_say_what_was_aggregated(runs, tmp_path, capsys):
    asked = experiment(it=base.rule("it rises", "up.end", "up.start", low=0.0))
    result = aggregate(asked, runs)
    write_report(asked, result, tmp_path, "rise", "Refuted by: a fall.")
    print_report(asked, result)
    read = json.loads((tmp_path / "rise.json").read_text())
    assert read["verdict"] == HOLDS and read["claim"] == "Entropy rises." and read["cells"] == result["cells"]
    assert read["cells"]["up"]["metrics"]["end"]["mean"] == pytest.approx(0.4)
    text = (tmp_path / "rise.md").read_text()
    assert "| end | 0.4 ± 0.283 | 0.25 ± 0.0707 |" in text and "| seeds | 2 | 2 |" in text
    assert "**Holds**: Entropy rises." in text and "```text\nRefuted by: a fall.\n```" in text
    assert "| it rises | up.end - up.start at least 0 | 0.5, 0 | 2 of 2 | yes |" in text
    assert "Verdict: holds" in capsys.readouterr().out
    assert (tmp_path / "rise.png").read_bytes().startswith(b"\x89PNG")


def test_an_experiment_without_a_finished_run_is_reported_too(tmp_path):
    asked = experiment(it=base.rule("it rises", "up.end", "up.start", low=0.0))
    write_report(asked, aggregate(asked, {}), tmp_path, "rise", "")
    assert "| seeds | 0 | 0 |" in (tmp_path / "rise.md").read_text()
