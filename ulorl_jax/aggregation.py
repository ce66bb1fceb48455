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
from ulorl_jax.plan_inputs import from_run
from ulorl_jax.planning import Schedule, plan
from ulorl_jax.rollout.segments import CONTINUOUS

HOLDS, FAILS, UNTESTABLE, UNFINISHED = (
    "holds", "does not hold at this scale", "not testable at this scale", "unfinished",
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
      As JSON: "cells", of each its "metrics" (each with "values" by seed, "mean", "sd" (n - 1; None of one seed), "low"
      and "high", the band of the seeds) and "curves" (each with "steps", and of every step "mean", "low" and "high"
      over the seeds that have it); "rules", see `judge_rule`; "verdict"; "seeds" that were wanted.

    Raises:
      ValueError: a run's files cannot be read, or are too short for a figure that is measured or predicted.
    """
    rows = {
        (cell, seed): read_metrics(folder / "metrics.jsonl") for cell, of in runs.items() for seed, folder in of.items()
    }
    figures = _figures(experiment, runs)
    cells: dict[str, Any] = {}
    for cell in experiment.cells:
        seeds = sorted(runs.get(cell, {}))
        values = {
            name: {seed: reduce_rows(rows[cell, seed], figures.get((cell, seed), {}), metric) for seed in seeds}
            for name, metric in experiment.metrics.items()
        }
        curves = {panel.curve for panel in experiment.panels.values() if panel.curve}
        cells[cell] = {
            "metrics": {name: over_seeds(of_seeds) for name, of_seeds in values.items()},
            "curves": {name: curve_over_seeds([rows[cell, seed] for seed in seeds], name) for name in sorted(curves)},
        }
    rules = {name: judge_rule(rule, cells, experiment.seeds) for name, rule in experiment.rules.items()}
    return {"verdict": verdict(rules), "rules": rules, "cells": cells, "seeds": list(experiment.seeds)}


def reduce_rows(rows: list[dict[str, Any]], figures: Mapping[str, float], metric: MetricSettings) -> float | None:
    """One number of a run.

    Args:
      rows: of its metrics.jsonl.
      figures: measured and predicted ones, by column.
      metric: which, of which rows.

    Returns:
      The number, or None where the run has no finite one.
    """

    def take(column: str) -> float:
        if column.startswith((MEASURED, PREDICTED)):
            return figures.get(column, math.nan)
        found = [row[column] for row in rows if column in row and math.isfinite(row[column])]
        found = found[: metric.first] if metric.first else found[-metric.last :]  # [-0:] is all
        return float(_REDUCE[metric.reduce](found)) if found else math.nan

    value = metric.scale * take(metric.column)
    if metric.per:
        divisor = take(metric.per)
        value = value / divisor if divisor else math.nan
    return value if math.isfinite(value) else None


def over_seeds(values: Mapping[int, float | None]) -> dict[str, Any]:
    """Mean, standard deviation and band of a metric; runs that have none are left out.

    Args:
      values: by seed.

    Returns:
      "values" (by seed, as text: JSON's keys are), "mean", "sd" (of n - 1), "low", "high"; None where too few.
    """
    found = [value for value in values.values() if value is not None]
    return {
        "values": {str(seed): value for seed, value in values.items()},
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
      "says", "role", "values" (difference or ratio by seed, None where a run is not there), "wanted" in words,
      "seeds_holding", "seeds_wanted", and "holds": True, False, or None as long as missing runs could decide it.
    """
    left, right = operand(rule.left), operand(rule.right)

    def side(of: float | tuple[str, str], seed: int) -> float | None:
        return cells[of[0]]["metrics"][of[1]]["values"].get(str(seed)) if isinstance(of, tuple) else of

    values: dict[str, float | None] = {}
    for seed in seeds:
        a, b = side(left, seed), side(right, seed)
        if a is None or b is None or (rule.relation == RATIO and b == 0):
            values[str(seed)] = None
        else:
            values[str(seed)] = a / b if rule.relation == RATIO else a - b
    wanted = rule.seeds or len(seeds)
    holding = sum(value is not None and rule.low <= value <= rule.high for value in values.values())
    missing = sum(value is None for value in values.values())
    holds = True if holding >= wanted else False if holding + missing < wanted else None
    return {
        "says": rule.says,
        "role": rule.role,
        "wanted": f"{_compared(rule)} {_interval(rule)}" + (f" in {rule.seeds} seeds" if rule.seeds else ""),
        "values": values,
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
      long as runs are missing that could decide, else HOLDS.
    """
    conditions = [rule["holds"] for rule in rules.values() if rule["role"] == CONDITION]
    claims = [rule["holds"] for rule in rules.values() if rule["role"] != CONDITION]
    if False in conditions:
        return UNTESTABLE
    if None in conditions or not claims:
        return UNFINISHED
    if False in claims:
        return FAILS
    return UNFINISHED if None in claims else HOLDS


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
    latency = r["refill_latency"] if r["refill"] == CONTINUOUS else None
    beside = (r["prefill_chunk"], r["prefill_rows"]) if r["refill"] == CONTINUOUS else ()
    schedule = Schedule(r["segments"], r["slots"], latency, *beside)
    workload = dataclasses.replace(
        workload, recompute=r["kv"] != "keep", recompute_every=r["recompute_every"], output_limit=r["output_limit"]
    )
    [row] = plan(workload, cost, [schedule], steps=SIMULATED_STEPS, seed=0)
    return {f"{PREDICTED}{name}": float(value) for name, value in row.items() if isinstance(value, int | float)}
