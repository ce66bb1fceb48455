"""What a run recorded of its rollouts: settings, metrics, and the lengths of its outputs."""

import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np

from ulorl_jax.io.metrics import read_metrics
from ulorl_jax.io.rows import read_rows
from ulorl_jax.io.step_files import LENGTHS, TRACES


@dataclasses.dataclass(frozen=True, eq=False)
class RunRecord:
    """A run's own figures.

    Attributes:
      rollout: the section of its config.json.
      rows: of its metrics.jsonl.
      steps: `[n]` i64, when each of n outputs finished: all of them, or those in the traces of an older run.
      lengths: `[n]` i64, their tokens.
      prompts: `[n]` i64, tokens of their prompts.
    """

    rollout: dict[str, Any]
    rows: list[dict[str, Any]]
    steps: np.ndarray
    lengths: np.ndarray
    prompts: np.ndarray


def read_run(folder: str | os.PathLike[str]) -> RunRecord:
    """The record of a run, finished or going on.

    Args:
      folder: its workdir.

    Returns:
      The record.

    Raises:
      ValueError: the folder is not a run's, or no output of it finished.
    """
    folder = pathlib.Path(folder)
    missing = [name for name in ("config.json", "metrics.jsonl") if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder} has no {' and no '.join(missing)}; give the workdir of a run of launch/train.py")
    sizes = _recorded(folder) or _traced(folder)
    if not sizes:
        raise ValueError(
            f"{folder} has no outputs to take lengths from, neither in lengths/ nor in rollouts/; run it anew"
        )
    rollout = json.loads((folder / "config.json").read_text(encoding="utf-8"))["rollout"]
    steps, lengths, prompts = np.array(sizes, np.int64).T
    return RunRecord(rollout, read_metrics(folder / "metrics.jsonl"), steps, lengths, prompts)


def _recorded(folder: pathlib.Path) -> list[tuple[int, int, int]]:
    """Step, tokens and prompt's tokens of every output that finished."""
    sizes = {step: json.loads(LENGTHS.path(folder, step).read_text()) for step in LENGTHS.steps(folder)}
    return [(step, *size) for step, of_step in sizes.items() for size in of_step]


def _traced(folder: pathlib.Path) -> list[tuple[int, int, int]]:
    """The same of the outputs in the traces: older runs have no more."""
    rows = ((step, row) for step in TRACES.steps(folder) for _, row in read_rows(TRACES.path(folder, step)))
    return [(step, len(row["tokens"]), len(row["prompt_tokens"])) for step, row in rows]
