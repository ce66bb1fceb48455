"""Numbers of a run: one JSON object per step, the source of truth, and TensorBoard beside it."""

import json
import math
import os
import pathlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from ulorl_jax.io.files import write_atomically

_END = 2**16  # bytes, many rows


class Metrics:
    """Appends rows to `workdir/metrics.jsonl` and events to `workdir/tensorboard`.

    Every row has "step" and values named `room/name`. JSON has no NaN: a value that is
    not finite is written as the text "nan", "inf" or "-inf", and `read_metrics` turns it
    back into a float; TensorBoard is not given it.

    Opening a file cuts it back to the step the run goes on from: rows of later steps and
    a last line that a kill left half-written are removed, so the file of a resumed run
    has the rows of an uninterrupted one.

    Args:
      workdir: the run's folder; made where missing.
      after_step: rows of later steps are removed: the step of the checkpoint resumed
        from, or -1 for a run from its start (step 0 may have a row).
      silent: nothing is touched or written: another process does that.

    Raises:
      ValueError: a line of the existing file is not a row.

    Example:
      with Metrics(workdir, after_step=-1) as metrics:
          metrics.write(1, {"reward/mean": 0.5})
    """

    def __init__(self, workdir: str | os.PathLike[str], *, after_step: int, silent: bool = False):
        self._silent = silent
        if silent:
            return
        from tensorboardX import SummaryWriter  # here: half a second that readers of metrics need not wait

        workdir = pathlib.Path(workdir)
        path = workdir / "metrics.jsonl"
        if path.exists():
            kept = [line for line in _whole_lines(path) if _row(line, path)["step"] <= after_step]
            write_atomically(path, "".join(kept))
        workdir.mkdir(parents=True, exist_ok=True)
        path.touch()
        self._path = path
        # A purge step tells TensorBoard to forget the events from there on.
        self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=after_step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Appends the row of one step.

        Args:
          step: >= 0.
          values: names to numbers; anything that `float` takes.
        """
        if self._silent:
            return
        row = {name: float(value) for name, value in values.items()}
        text = {name: value if math.isfinite(value) else str(value) for name, value in row.items()}
        # One write: a kill leaves either no line or a line without its end. Closed at once: a bucket that is mounted
        # as a folder gets what was written when its file is closed.
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step} | text) + "\n")
        for name, value in row.items():
            if math.isfinite(value):
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes out what is pending."""
        if self._silent:
            return
        self._board.close()

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of a metrics file, also of one that is being written.

    Args:
      path: a `metrics.jsonl`.

    Returns:
      One dict per row: "step" (int) and floats, NaN and infinities among them.

    Raises:
      ValueError: a line other than an unfinished last one is not a row.
    """
    path = pathlib.Path(path)
    rows = [_row(line, path) for line in _whole_lines(path)]
    return [{name: value if name == "step" else float(value) for name, value in row.items()} for row in rows]


def last_step(path: str | os.PathLike[str]) -> int:
    """The step of the last row; only the end of the file is read, so that it can be asked for often.

    Args:
      path: a `metrics.jsonl`.

    Returns:
      The step; 0 where there is no row yet.

    Raises:
      ValueError: the last whole line is not a row.
    """
    path = pathlib.Path(path)
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - _END))
        *whole, _ = file.read().split(b"\n")  # what follows the last line end is being written
    return _row(whole[-1].decode(errors="replace"), path)["step"] if whole else 0


def write_summary(workdir: str | os.PathLike[str], summary: Mapping[str, Any]) -> None:
    """Writes `workdir/summary.json`, atomically and indented for people.

    Args:
      workdir: the run's folder.
      summary: JSON values.
    """
    write_atomically(pathlib.Path(workdir) / "summary.json", json.dumps(summary, indent=2) + "\n")


def _whole_lines(path: pathlib.Path) -> list[str]:
    with open(path, encoding="utf-8", errors="replace") as file:
        return [line for line in file if line.endswith("\n")]


def _row(line: str, path: pathlib.Path) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not a row of metrics: {line.strip()[:60]!r}; move the file away") from error
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        raise ValueError(f'{path}: a row of metrics needs a whole "step": {line.strip()[:60]!r}; move the file away')
    return row
