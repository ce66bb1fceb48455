"""What a run recorded of its rollouts: settings, metrics, and the lengths of the outputs in its traces."""

import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np

from ulorl_jax.io.metrics import read_metrics
from ulorl_jax.io.rows import read_rows


@dataclasses.dataclass(frozen=True, eq=False)
class RunRecord:
    """A run's own figures.

    Attributes:
      rollout: the section of its config.json.
      rows: of its metrics.jsonl.
      lengths: `[n]` i64, tokens of the finished outputs in its traces: the first `traces_per_step` of each step.
      prompts: `[n]` i64, tokens of their prompts.
    """

    rollout: dict[str, Any]
    rows: list[dict[str, Any]]
    lengths: np.ndarray
    prompts: np.ndarray


def read_run(folder: str | os.PathLike[str]) -> RunRecord:
    """The record of a run, finished or going on.

    Args:
      folder: its workdir.

    Returns:
      The record.

    Raises:
      ValueError: the folder is not a run's, or it has no traces.
    """
    folder = pathlib.Path(folder)
    missing = [name for name in ("config.json", "metrics.jsonl") if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder} has no {' and no '.join(missing)}; give the workdir of a run of launch/train.py")
    sizes: list[tuple[int, int]] = []
    for path in sorted((folder / "rollouts").glob("step_*.jsonl")):
        for _, row in read_rows(path):
            sizes.append((len(row["tokens"]), len(row["prompt_tokens"])))
    if not sizes:
        raise ValueError(f"{folder}/rollouts has no outputs to take lengths from; run with traces_per_step > 0")
    rollout = json.loads((folder / "config.json").read_text(encoding="utf-8"))["rollout"]
    lengths, prompts = np.array(sizes, np.int64).T
    return RunRecord(rollout, read_metrics(folder / "metrics.jsonl"), lengths, prompts)
