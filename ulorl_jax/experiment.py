"""An experiment: which runs a claim is seen in, what is taken from them, and from what on it holds.

`configs/experiments/base.py` holds the same tree as a ConfigDict, with unit, meaning and source of every key.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from ulorl_jax.typed import build, choose, demand

REDUCTIONS = ("mean", "median", "min", "max")
DIFFERENCE, RATIO = "difference", "ratio"
CLAIM, CONDITION = "claim", "condition"
MEASURED, PREDICTED = "measured/", "predicted/"  # columns of a run's own figures, and of the planner's


@dataclasses.dataclass(frozen=True)
class MetricSettings:
    """One number of a run; see `configs/experiments/base.py`."""

    column: str
    per: str
    scale: float
    first: int
    last: int
    reduce: str

    @property
    def predicted(self) -> bool:
        """Whether the planner has a part in it."""
        return any(column.startswith(PREDICTED) for column in (self.column, self.per))


@dataclasses.dataclass(frozen=True)
class PanelSettings:
    """A panel of the picture; see `configs/experiments/base.py`."""

    title: str
    unit: str
    curve: str
    bars: tuple[str, ...]
    marks: str
    lines: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class RuleSettings:
    """What must be seen; see `configs/experiments/base.py`."""

    says: str
    left: str
    right: str
    relation: str
    low: float
    high: float
    seeds: int
    role: str


@dataclasses.dataclass(frozen=True)
class ExperimentSettings:
    """An experiment; see `configs/experiments/base.py` for what every field means."""

    claim: str
    paper: str
    config: str
    overrides: tuple[str, ...]
    cells: dict[str, tuple[str, ...]]
    seeds: tuple[int, ...]
    warm_start: tuple[str, ...]
    predict_from: str
    metrics: dict[str, MetricSettings]
    panels: dict[str, PanelSettings]
    rules: dict[str, RuleSettings]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ExperimentSettings:
        """Settings from a plain nested dict.

        Raises:
          ValueError: an unknown, missing or wrongly typed key, a name of a cell or metric that is not there, or a value
            that cannot be; the message names it.
        """
        settings = build(cls, values)
        _check(settings)
        return settings

    @property
    def columns(self) -> set[str]:
        """Of the runs' metrics, measured and predicted figures: all that are used."""
        of_metrics = {name for metric in self.metrics.values() for name in (metric.column, metric.per) if name}
        return of_metrics | {panel.curve for panel in self.panels.values() if panel.curve}


def operand(text: str) -> float | tuple[str, str]:
    """A side of a rule: a number, or the name of a cell and of a metric.

    Args:
      text: "0.2", or "cell.metric".

    Raises:
      ValueError: it is neither.
    """
    cell, dot, metric = text.partition(".")
    if dot and re.fullmatch(r"[A-Za-z_]\w*", metric):
        return cell, metric
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"a side of a rule is a number or cell.metric, such as pois.accuracy; got {text!r}") from error


def _check(s: ExperimentSettings) -> None:
    demand(bool(s.cells), "cells must name at least one cell", s.cells, "give its overrides, () for none")
    demand(
        bool(s.seeds) and len(set(s.seeds)) == len(s.seeds) and min(s.seeds) >= 0,
        "seeds must be different whole numbers, at least 0, and one at least",
        s.seeds,
        "0,1,2",
    )
    for name in s.cells:
        demand(
            bool(re.fullmatch(r"\w+", name)),
            "a cell's name is a folder: letters, digits and _",
            name,
            "rename the cell",
        )
    demand(
        not s.predict_from or s.predict_from in s.cells,
        "predict_from must name a cell",
        s.predict_from,
        "or leave it empty",
    )
    demand(
        bool(s.predict_from) or not any(name.startswith(PREDICTED) for name in s.columns),
        f"columns that begin with {PREDICTED} need predict_from",
        s.predict_from,
        "name the cell whose lengths and seconds the planner is given",
    )
    for name, metric in s.metrics.items():
        demand(
            metric.first >= 0 and metric.last >= 0 and not (metric.first and metric.last),
            f"metrics.{name} takes the first or the last so many rows",
            (metric.first, metric.last),
            "set one of them, the other to 0",
        )
        demand(metric.reduce in REDUCTIONS, f"metrics.{name}.reduce must be one of {REDUCTIONS}", metric.reduce, "mean")
    for name, panel in s.panels.items():
        demand(
            bool(panel.curve) != bool(panel.bars),
            f"panels.{name} draws a curve over the steps or bars of metrics",
            (panel.curve, panel.bars),
            "give one of them",
        )
        for metric in (*panel.bars, *([panel.marks] if panel.marks else [])):
            choose(dict(s.metrics), metric, f"panels.{name}")
    for name, rule in s.rules.items():
        where = f"rules.{name}"
        demand(rule.low <= rule.high, f"{where}.low must not be above high", (rule.low, rule.high), "swap them")
        demand(
            0 <= rule.seeds <= len(s.seeds),
            f"{where}.seeds must be at most the seeds that there are, {len(s.seeds)}",
            rule.seeds,
            "0 means all of them",
        )
        choose(dict.fromkeys((DIFFERENCE, RATIO)), rule.relation, f"{where}.relation")
        choose(dict.fromkeys((CLAIM, CONDITION)), rule.role, f"{where}.role")
        for side in (rule.left, rule.right):
            if isinstance(named := operand(side), tuple):
                choose(dict(s.cells), named[0], f"the cell in {where}")
                choose(dict(s.metrics), named[1], f"the metric in {where}")
