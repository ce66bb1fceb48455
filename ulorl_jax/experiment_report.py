"""What an experiment came to, for people: printed, as markdown, as a picture; and as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ulorl_jax.aggregation import waits_for_runs
from ulorl_jax.experiment import ExperimentSettings
from ulorl_jax.io.experiment_picture import plot_experiment
from ulorl_jax.io.files import write_atomically
from ulorl_jax.io.progress import format_number
from ulorl_jax.io.tables import markdown_table, print_table

_SEEN = {True: "yes", False: "no"}


def write_report(
    experiment: ExperimentSettings, result: Mapping[str, Any], workdir: Path, name: str, text: str
) -> None:
    """Writes WORKDIR/NAME.json, .md and .png, each atomically.

    Args:
      experiment: what was asked.
      result: of `aggregation.aggregate`.
      workdir: where to.
      name: of the experiment.
      text: what its file says of itself, for the page: setting, command, what would refute it, what was tried.
    """
    about = {"claim": experiment.claim, "paper": experiment.paper, "config": experiment.config}
    about |= {"overrides": list(experiment.overrides), "settings_of_cells": dict(experiment.cells)}
    numbers = json.dumps(about | dict(result), indent=2, allow_nan=False)
    numbers = re.sub(r"\[[-\d.e,\s]+\]", lambda curve: " ".join(curve[0].split()), numbers)  # in a line, not in 900
    write_atomically(workdir / f"{name}.json", numbers + "\n")
    write_atomically(workdir / f"{name}.md", _markdown(experiment, result, name, text))
    plot_experiment(result["cells"], experiment.panels, workdir / f"{name}.png")


def print_report(experiment: ExperimentSettings, result: Mapping[str, Any]) -> None:
    """Prints the tables and the verdict.

    Args:
      experiment: what was asked.
      result: of `aggregation.aggregate`.
    """
    rows = _cells(result)
    print(experiment.claim)
    print_table("Mean and standard deviation over seeds", rows, {name: name for name in rows[0]})
    if rules := _rules(result):
        print_table("What must be seen", rules, {name: name for name in rules[0]})
    for line in _lacking(result):
        print(line)
    print(f"Verdict: {result['verdict']}")


def _markdown(experiment: ExperimentSettings, result: Mapping[str, Any], name: str, text: str) -> str:
    rules = _rules(result)
    parts = [
        f"# {name}",
        f"**{result['verdict'].capitalize()}**: {experiment.claim}",
        f"Paper: {experiment.paper}",
        *([f"```text\n{text.strip()}\n```"] if text.strip() else []),
        f"Seeds {', '.join(map(str, result['seeds']))}; mean and standard deviation over them.",
        markdown_table(_cells(result)),
        *([markdown_table(rules)] if rules else []),
        *_lacking(result),
        f"![{name}]({name}.png)",
    ]
    return "\n\n".join(parts) + "\n"


def _cells(result: Mapping[str, Any]) -> list[dict[str, str]]:
    """A column for each cell, a row for each metric."""
    cells = {cell: of["metrics"] for cell, of in result["cells"].items()}
    seeds = {cell: str(max((len(one["values"]) for one in of.values()), default=0)) for cell, of in cells.items()}
    names = dict.fromkeys(name for of in cells.values() for name in of)
    rows = [{"metric": name} | {cell: _spread(of[name]) for cell, of in cells.items()} for name in names]
    return [{"metric": "seeds"} | seeds, *rows]


def _rules(result: Mapping[str, Any]) -> list[dict[str, str]]:
    """A row for each rule."""
    return [
        {
            "rule": rule["says"] + (" (condition)" if rule["role"] == "condition" else ""),
            "wanted": rule["wanted"],
            "by seed": ", ".join(
                "none" if seed in rule["lacking"] else "-" if v is None else format_number(v)
                for seed, v in rule["values"].items()
            ),
            "seeds": f"{rule['seeds_holding']} of {len(rule['values'])}",
            "seen": _SEEN.get(rule["holds"], "open" if waits_for_runs(rule) else "no number"),
        }
        for rule in result["rules"].values()
    ]


def _lacking(result: Mapping[str, Any]) -> list[str]:
    """A line for each number that a finished run does not have, with the reason."""
    return [
        f"{cell}/seed_{seed} is finished, and has no {name}: {why}."
        for cell, of in result["cells"].items()
        for name, metric in of["metrics"].items()
        for seed, why in metric["lacking"].items()
    ]


def _spread(metric: Mapping[str, Any]) -> str:
    """Mean and deviation; "-" where no run is finished, "none" where those that are do not have the number."""
    lacking = len(metric["lacking"])
    if metric["mean"] is None:
        return "none" if lacking else "-"
    mean = format_number(metric["mean"])
    spread = mean if metric["sd"] is None else f"{mean} ± {format_number(metric['sd'])}"
    return f"{spread} ({lacking} without)" if lacking else spread
