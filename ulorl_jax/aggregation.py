"""From the runs of an experiment to one set of numbers: metrics and curves over seeds, and whether the claim holds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ulorl_jax.experiment import (
    CONDITION,
    MEASURED,
    PREDICTED,
    RATIO,
    ExperimentSettings,
    MetricSettings,
    RuleSettings,
    operand,
)
from ulorl_jax.io.metrics import read_metrics
from ulorl_jax.io.run_record import RunRecord, read_run
from ulorl_jax.plan_inputs import from_run, schedule_of
from ulorl_jax.planning import plan

HOLDS, FAILS, UNTESTABLE, UNFINISHED, NUMBERLESS = (
    "holds", "does not hold at this scale", "not testable at this scale", "unfinished",
    "open: finished runs lack a number that decides",
)  # fmt: skip
SIMULATED_STEPS = 200
Runs = Mapping[str, Mapping[int, Path]]  # cell, seed -> the folder of a run that ended
_REDUCE = {"mean": np.mean, "median": np.median, "min": np.min, "max": np.max}


def aggregate(experiment: ExperimentSettings, runs: Runs) -> dict[str, Any]:
    """Numbers of every run, of every cell over its seeds, and the verdict.

    Args:
      experiment: which metrics, curves and rules.
      runs: those that ended; a cell may lack some of its seeds, or all.

    Returns:
      As JSON: "cells", of each its "metrics" (see `over_seeds`) and "curves" (see `curve_over_seeds`); "rules", see
      `judge_rule`; "verdict"; "seeds" that were wanted.

    Raises:
      ValueError: a run's files cannot be read, or are too short for a figure that is measured or predicted.
    """
    rows = {
        (cell, seed): read_metrics(folder / "metrics.jsonl") for cell, of in runs.items() for seed, folder in of.items()
    }
    figures = _figures(experiment, runs)
    sources = runs.get(experiment.predict_from, {})  # a number that is predicted waits for the run it is predicted from
    cells: dict[str, Any] = {}
    for cell in experiment.cells:
        seeds = sorted(runs.get(cell, {}))
        values = {
            name: {
                seed: reduce_rows(rows[cell, seed], figures.get((cell, seed), {}), metric)
                for seed in seeds
                if seed in sources or not metric.predicted
            }
            for name, metric in experiment.metrics.items()
        }
        curves = {panel.curve for panel in experiment.panels.values() if panel.curve}
        cells[cell] = {
            "metrics": {name: over_seeds(of_seeds) for name, of_seeds in values.items()},
            "curves": {name: curve_over_seeds([rows[cell, seed] for seed in seeds], name) for name in sorted(curves)},
        }
    rules = {name: judge_rule(rule, cells, experiment.seeds) for name, rule in experiment.rules.items()}
    return {"verdict": verdict(rules), "rules": rules, "cells": cells, "seeds": list(experiment.seeds)}


def reduce_rows(rows: list[dict[str, Any]], figures: Mapping[str, float], metric: MetricSettings) -> float | str:
    """One number of a run.

    Args:
      rows: of its metrics.jsonl.
      figures: measured and predicted ones, by column.
      metric: which, of which rows.

    Returns:
      The number, or why the run has none that is finite.
    """

    def take(column: str) -> float | str:
        if column.startswith((MEASURED, PREDICTED)):
            value = figures.get(column, math.nan)
            return value if math.isfinite(value) else f"{column} could not be told from the run's record"
        there = [row[column] for row in rows if column in row]
        found = [value for value in there if math.isfinite(value)]
        if not found:
            return f"none of its {len(rows)} rows has {'a finite ' if there else ''}{column}"
        found = found[: metric.first] if metric.first else found[-metric.last :]  # [-0:] is all
        return float(_REDUCE[metric.reduce](found))

    value, divisor = take(metric.column), take(metric.per) if metric.per else 1.0
    if isinstance(value, str) or isinstance(divisor, str):
        return value if isinstance(value, str) else divisor
    value = metric.scale * value / divisor if divisor else math.nan
    return value if math.isfinite(value) else f"{metric.column} / {metric.per} is not finite"


def over_seeds(values: Mapping[int, float | str]) -> dict[str, Any]:
    """Mean, standard deviation and band of a metric; runs that have none are left out, and named.

    Args:
      values: by seed, the number of a finished run or why it has none.

    Returns:
      "values" (by seed, as text: JSON's keys are; None where there is none) and "lacking" (why not, of those), "mean",
      "sd" (of n - 1), "low", "high"; None where too few.
    """
    numbers = {str(seed): None if isinstance(value, str) else value for seed, value in values.items()}
    found = [value for value in numbers.values() if value is not None]
    return {
        "values": numbers,
        "lacking": {str(seed): value for seed, value in values.items() if isinstance(value, str)},
        "mean": float(np.mean(found)) if found else None,
        "sd": float(np.std(found, ddof=1)) if len(found) > 1 else None,
        "low": min(found) if found else None,
        "high": max(found) if found else None,
    }


def curve_over_seeds(runs: list[list[dict[str, Any]]], column: str) -> dict[str, list[Any]]:
    """Mean and band of a column at every step that some run has it, to five digits.

    Args:
      runs: the rows of each.
      column: its name.

    Returns:
      "steps", "mean", "low", "high", each as long as there are such steps.
    """
    at: dict[int, list[float]] = {}
    for rows in runs:
        for row in rows:
            if column in row and math.isfinite(row[column]):
                at.setdefault(row["step"], []).append(row[column])
    steps = sorted(at)
    bands = {
        name: [float(f"{take(at[step]):.5g}") for step in steps]
        for name, take in {"mean": np.mean, "low": min, "high": max}.items()
    }
    return {"steps": steps} | bands


def judge_rule(rule: RuleSettings, cells: Mapping[str, Any], seeds: tuple[int, ...]) -> dict[str, Any]:
    """Whether a rule holds in as many seeds as it wants.

    Args:
      rule: see `configs/experiments/base.py`.
      cells: those of `aggregate`.
      seeds: of the experiment.

    Returns:
      "says", "role", "values" (difference or ratio by seed, or None), "lacking" (by seed, why finished runs have none;
      where a value is None for another reason, a run is not finished), "wanted" in words, "seeds_holding",
      "seeds_wanted", and "holds": True, False, or None as long as the values that are None could decide it.
    """
    left, right = operand(rule.left), operand(rule.right)

    def side(of: float | tuple[str, str], seed: str) -> tuple[float | None, str]:
        """The number, and why a finished run has none."""
        if not isinstance(of, tuple):
            return of, ""
        metric = cells[of[0]]["metrics"][of[1]]
        return metric["values"].get(seed), f"{of[0]}: {metric['lacking'][seed]}" if seed in metric["lacking"] else ""

    values: dict[str, float | None] = {}
    lacking: dict[str, str] = {}
    for seed in map(str, seeds):
        (a, why_a), (b, why_b) = side(left, seed), side(right, seed)
        values[seed] = None
        if why := why_a or why_b:
            lacking[seed] = why
        elif rule.relation == RATIO and b == 0:
            lacking[seed] = f"the divisor {rule.right} is 0"
        elif a is not None and b is not None:
            values[seed] = a / b if rule.relation == RATIO else a - b
    wanted = rule.seeds or len(seeds)
    holding = sum(value is not None and rule.low <= value <= rule.high for value in values.values())
    missing = sum(value is None for value in values.values())
    holds = True if holding >= wanted else False if holding + missing < wanted else None
    return {
        "says": rule.says,
        "role": rule.role,
        "wanted": f"{_compared(rule)} {_interval(rule)}" + (f" in {rule.seeds} seeds" if rule.seeds else ""),
        "values": values,
        "lacking": lacking,
        "seeds_holding": holding,
        "seeds_wanted": wanted,
        "holds": holds,
    }


def verdict(rules: Mapping[str, Mapping[str, Any]]) -> str:
    """What the rules say together.

    Args:
      rules: of `judge_rule`.

    Returns:
      UNTESTABLE where a condition of the test is not met, FAILS where a rule of the claim does not hold, UNFINISHED as
      long as runs are missing that could decide, NUMBERLESS where finished runs lack numbers that could, else HOLDS.
    """
    open_rules = [rule for rule in rules.values() if rule["holds"] is None]
    still_open = NUMBERLESS if open_rules and not any(map(waits_for_runs, open_rules)) else UNFINISHED
    conditions = [rule["holds"] for rule in rules.values() if rule["role"] == CONDITION]
    claims = [rule["holds"] for rule in rules.values() if rule["role"] != CONDITION]
    if False in conditions:
        return UNTESTABLE
    if None in conditions or not claims:
        return still_open
    if False in claims:
        return FAILS
    return still_open if None in claims else HOLDS


def waits_for_runs(rule: Mapping[str, Any]) -> bool:
    """Whether a rule, of `judge_rule`, has seeds whose runs are not finished."""
    return any(value is None and seed not in rule["lacking"] for seed, value in rule["values"].items())


def _compared(rule: RuleSettings) -> str:
    if rule.relation == RATIO:
        return f"{rule.left} / {rule.right}"
    return rule.left if rule.right == "0" else f"{rule.left} - {rule.right}"


def _interval(rule: RuleSettings) -> str:
    if rule.low == -math.inf:
        return f"at most {rule.high:g}"
    if rule.high == math.inf:
        return f"at least {rule.low:g}"
    return f"in [{rule.low:g}, {rule.high:g}]"


def _figures(experiment: ExperimentSettings, runs: Runs) -> dict[tuple[str, int], dict[str, float]]:
    """Columns that are measured or predicted, of every run, where the experiment uses any."""
    wanted = {name.partition("/")[0] + "/" for name in experiment.columns} & {MEASURED, PREDICTED}
    if not wanted:
        return {}
    records = {(cell, seed): read_run(folder) for cell, of in runs.items() for seed, folder in of.items()}
    figures = {}
    for (cell, seed), record in records.items():
        measured = {f"{MEASURED}{name}": value for name, value in from_run(record)[3].items()}
        source = records.get((experiment.predict_from, seed))
        figures[cell, seed] = measured | (_predict(source, record) if source else {})
    return figures


def _predict(source: RunRecord, of: RunRecord) -> dict[str, float]:
    """The planner's figures of a run's schedule and cache policy, from the lengths and seconds of another run."""
    workload, _, cost, _ = from_run(source)
    r = of.rollout
    workload = dataclasses.replace(
        workload, recompute=r["kv"] != "keep", recompute_every=r["recompute_every"], output_limit=r["output_limit"]
    )
    [row] = plan(workload, cost, [schedule_of(r)], steps=SIMULATED_STEPS, seed=0)
    return {f"{PREDICTED}{name}": float(value) for name, value in row.items() if isinstance(value, int | float)}
