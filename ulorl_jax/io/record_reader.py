"""Reads the record of an evaluation, line by line; `io.records` says what it holds."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

FINAL = "record.jsonl"
NEEDED = {  # of each kind of line; what a header needs, its reader says
    "header": (),
    "problem": ("id", "question", "prompt", "reference"),
    "output": ("problem", "sample", "output", "num_tokens", "finished", "answer", "reward", "reason"),
}


@dataclasses.dataclass(frozen=True)
class Record:
    """A record as it was read.

    Attributes:
      header: of the first line, all that decides the outputs.
      problems: by id, in the order of the data: "question", "prompt", "reference".
      outputs: in the file's order: "problem", "sample", "output", "num_tokens",
        "finished", "answer" (or None), "reward" (1.0, 0.0, or None for an error), "reason".
    """

    header: dict[str, Any]
    problems: dict[str, dict[str, Any]]
    outputs: list[dict[str, Any]]


def read_record(path: str | os.PathLike[str]) -> Record:
    """Reads a record, also one that is being made: a last line without its end is left out.

    Args:
      path: of the file, or the folder of an evaluation that is finished.

    Returns:
      The record.

    Raises:
      ValueError: no such file, or a line that is not of a record; names file and line.
    """
    path = pathlib.Path(path)
    path = path / FINAL if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"no such record: {path}; give the {FINAL} of an evaluation, or its folder")
    header: dict[str, Any] | None = None
    problems: dict[str, dict[str, Any]] = {}
    outputs = []
    for number, line in enumerate(whole_lines(path), start=1):
        row = parse(line, f"{path}:{number}")
        kind = row.pop("kind")
        if (kind == "header") != (number == 1):
            raise ValueError(f"{path}:{number}: the header of a record is its first line; got a line of {kind!r}")
        if lacking := [name for name in NEEDED[kind] if name not in row]:
            raise ValueError(f"{path}:{number}: the {kind} lacks {lacking}; this is no record of an evaluation")
        if kind == "header":
            header = row
        elif kind == "problem":
            problems[row["id"]] = row
        elif row["problem"] in problems:
            outputs.append(row)
        else:
            raise ValueError(
                f"{path}:{number}: an output of a problem {row['problem']!r} that the record does not have"
            )
    if header is None:
        raise ValueError(f"{path} is empty, want a record; remove it")
    return Record(header, problems, outputs)


def whole_lines(path: pathlib.Path) -> Iterator[bytes]:
    """The lines of a file that have their end: a last one without it was cut off."""
    with open(path, "rb") as file:
        yield from (line for line in file if line.endswith(b"\n"))


def dump(kind: str, values: Mapping[str, Any]) -> bytes:
    """A line of a record: `kind` is "header", "problem" or "output"."""
    return json.dumps({"kind": kind, **values}, allow_nan=False).encode() + b"\n"


def parse(line: bytes, where: str) -> dict[str, Any]:
    """What `dump` wrote, its "kind" included.

    Raises:
      ValueError: it is no line of a record; says `where` it stands.
    """
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: not a line of a record ({error}): {line[:60]!r}; move the file away") from error
    if not isinstance(row, dict) or row.get("kind") not in ("header", "problem", "output"):
        raise ValueError(f"{where}: not a line of a record: {line[:60]!r}; move the file away")
    return row
