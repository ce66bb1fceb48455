"""A run as the report reads it, finished or going on."""

import dataclasses
import itertools
import json
import math
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ulorl_jax.io.metrics import read_metrics
from ulorl_jax.io.step_files import LENGTHS

PERCENTILES = (10, 50, 90, 99)


@dataclasses.dataclass(frozen=True)
class Run:
    """What the folder of a run says.

    Attributes:
      name: what it is called in the report, unique in it.
      folder: its workdir.
      config: its config.json.
      summary: its summary.json; {} before the first evaluation.
      rows: of its metrics.jsonl.
    """

    name: str
    folder: pathlib.Path
    config: dict[str, Any]
    summary: dict[str, Any]
    rows: list[dict[str, Any]]

    def column(self, name: str) -> list[tuple[int, float]]:
        """Steps and values of one metric, where it has a finite one."""
        return [(row["step"], row[name]) for row in self.rows if math.isfinite(row.get(name, math.nan))]


def read_runs(folders: Sequence[str | os.PathLike[str]]) -> list[Run]:
    """Reads runs and gives each a name: of one its folder's, of several the way from the folder that they share.

    Args:
      folders: workdirs of launch/train.py, each once.

    Returns:
      The runs, in this order.

    Raises:
      ValueError: a folder is no run's, or is given twice; a file of it is damaged.
    """
    paths = [pathlib.Path(folder).resolve() for folder in folders]
    if twice := {str(path) for path in paths if paths.count(path) > 1}:
        raise ValueError(f"{sorted(twice)} is given more than once; give each run once")
    names = [paths[0].name] if len(paths) == 1 else [os.path.relpath(path, common_folder(paths)) for path in paths]
    return [_read(path, path.name if name == "." else name) for path, name in zip(paths, names, strict=True)]


def common_folder(folders: Sequence[str | os.PathLike[str]]) -> pathlib.Path:
    """The deepest folder that holds all of these; of one folder itself."""
    return pathlib.Path(os.path.commonpath([pathlib.Path(folder).resolve() for folder in folders]))


def columns(run: Run) -> dict[str, list[float | None]]:
    """The metrics of a run by column, for its curves.

    Args:
      run: any.

    Returns:
      By name one value per row, None where the row has none or it is not finite. Besides the metrics: "step",
      "x/trained" (tokens trained so far), "x/seconds" (of all steps so far), and "rollout/len_p10" to
      "rollout/len_p99" where the run recorded its lengths.
    """
    rows = [row | _percentiles(run.folder, row["step"]) for row in run.rows]
    names = dict.fromkeys(["step", *(name for row in rows for name in row)])  # in their order, once
    out = {name: [_number(row.get(name)) for row in rows] for name in names}
    spent = itertools.accumulate(_number(row.get("time/step_s")) or 0.0 for row in rows)
    out["x/seconds"] = [_number(seconds) for seconds in spent]
    # Step 0, and a step without an update, have no row of the ledger or the same one as before.
    out["x/trained"] = list(itertools.accumulate((row.get("ledger/trained", 0) for row in rows), max))
    return out


def whole_rows(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file, line by line; a last line without its end is still being written.

    Raises:
      ValueError: another line is no JSON object; names it.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}:{number}: not JSON ({error}); move the file away") from error
            if not isinstance(row, dict):
                raise ValueError(f"{path}:{number}: want a JSON object, got {line[:60]!r}; move the file away")
            yield row


def _read(folder: pathlib.Path, name: str) -> Run:
    missing = [file for file in ("config.json", "metrics.jsonl") if not (folder / file).is_file()]
    if missing:
        raise ValueError(
            f"{folder} has no {' and no '.join(missing)}; give the workdir of a run of launch/train.py "
            "(a new run writes them after its warm start)"
        )
    config, summary = (_json(folder / file) for file in ("config.json", "summary.json"))
    return Run(name, folder, config, summary, read_metrics(folder / "metrics.jsonl"))


def _json(path: pathlib.Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); move the file away") from error


def _percentiles(folder: pathlib.Path, step: int) -> dict[str, float]:
    path = LENGTHS.path(folder, step)
    sizes = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    if not sizes:
        return {}
    values = np.percentile([tokens for tokens, _ in sizes], PERCENTILES)
    return {f"rollout/len_p{p}": float(value) for p, value in zip(PERCENTILES, values, strict=True)}


def _number(value: float | None) -> float | None:
    """Six digits of it: more cannot be seen, and the page stays small. Counts stay whole."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else float(f"{value:.6g}")
