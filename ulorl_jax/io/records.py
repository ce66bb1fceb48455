"""The record of an evaluation: one JSONL file from which its score can be computed again.

Its first line is the header: all that decides the outputs. Then come the problems, and
then the outputs with length, answer and verdict, in the order of the problems. It holds
no clock time, no host and no folder of the run: made twice, or made in several parts,
it is the same file byte for byte.

While it is made, it is `record.partial.jsonl`, to which outputs are appended as they
finish, and beside it `unfinished.npz`, replaced at every commit: what was not finished
then, and how long the partial file was. Going on from there first cuts the file back to
that length; whatever a kill left behind it is made again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import io
import json
import os
import pathlib
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ulorl_jax.io.files import write_atomically

FINAL, PARTIAL, UNFINISHED = "record.jsonl", "record.partial.jsonl", "unfinished.npz"
NEEDED = {  # of each kind of line; what a header needs, its reader says
    "header": (),
    "problem": ("id", "question", "prompt", "reference"),
    "output": ("problem", "sample", "output", "num_tokens", "finished", "answer", "reward", "reason"),
}
ABOUT = "about"  # the name of the JSON text among the arrays


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
    for number, line in enumerate(_whole_lines(path), start=1):
        row = _parse(line, f"{path}:{number}")
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


class RecordInProgress:
    """The record of a folder while it is made.

    Args:
      folder: of the evaluation; made where missing.
      header: all that decides the outputs; JSON.
      problems: in order, each with a unique "id".
      free: keys of the header that may be others when an evaluation goes on; the record
        keeps the first ones.

    Attributes:
      header: as the record has it.
      outputs: those already in the record, without their text.
      about, arrays: what the last `commit` was given, or None and none.
      finished: True where the record of the folder is complete.

    Raises:
      ValueError: the folder holds the record of another evaluation, is damaged, or another process is at it.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        header: Mapping[str, Any],
        problems: Sequence[Mapping[str, Any]],
        *,
        free: Sequence[str] = (),
    ):
        self._folder = pathlib.Path(folder)
        self._ranks = {problem["id"]: rank for rank, problem in enumerate(problems)}
        assert len(self._ranks) == len(problems), "problems need ids of their own"
        self._lines: list[tuple[int, int, int, int]] = []  # of each output: rank, sample, begin and end in the file
        self.outputs: list[dict[str, Any]] = []
        self.about: dict[str, Any] | None = None
        self.arrays: dict[str, np.ndarray] = {}
        head = [_dump("header", header), *(_dump("problem", problem) for problem in problems)]
        self._folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            held.callback(os.close, _lock(self._folder))
            self._begin(head, free, held)
            self._held = contextlib.ExitStack() if self.finished else held.pop_all()

    def _begin(self, head: list[bytes], free: Sequence[str], held: contextlib.ExitStack) -> None:
        self.finished = self._path(FINAL).exists()
        source = self._path(FINAL if self.finished else PARTIAL)
        if not source.exists():
            write_atomically(source, b"".join(head))
        self.header = self._check_head(source, head, free)
        if self.finished:
            self._clear()
            self._read_outputs(source, os.path.getsize(source))
            return
        end = self._head_size
        if self._path(UNFINISHED).exists():
            self.about, self.arrays = _load(self._path(UNFINISHED))
            end = self.about.pop("record_bytes")
        if end > os.path.getsize(source):
            raise ValueError(
                f"{source} is shorter than {UNFINISHED} beside it says; remove both to evaluate from the start"
            )
        os.truncate(source, end)
        self._read_outputs(source, end)
        self._file = held.enter_context(open(source, "ab"))  # noqa: SIM115 -- closed by close()

    def append(self, outputs: Iterable[Mapping[str, Any]]) -> None:
        """Adds finished outputs; they count from the next `commit` on.

        Args:
          outputs: each with "problem" (an id), "sample", and what is known of it; JSON.
        """
        for output in outputs:
            begin = self._file.tell()
            self._file.write(_dump("output", output))
            self._note(output, begin, self._file.tell())

    def commit(self, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Makes the outputs so far, and what is unfinished, the place to go on from.

        Args:
          about: JSON.
          arrays: named arrays.
        """
        self._file.flush()
        os.fsync(self._file.fileno())  # before what points to it
        text = json.dumps({**about, "record_bytes": self._file.tell()})
        named: dict[str, Any] = {ABOUT: np.array(text), **arrays}
        packed = io.BytesIO()
        np.savez(packed, **named)
        write_atomically(self._path(UNFINISHED), packed.getvalue())

    def finish(self) -> pathlib.Path:
        """Puts the outputs in order and gives the record its name.

        Returns:
          The record's path.

        Raises:
          ValueError: an output is there twice.
        """
        self._file.flush()  # closed at the end only: another process must not cut it back while it is read
        keys = [line[:2] for line in sorted(self._lines)]
        if len(set(keys)) != len(keys):
            raise ValueError(f"{self._path(PARTIAL)} has an output twice; remove it to evaluate from the start")
        temporary = self._path(f".{FINAL}.{os.getpid()}.tmp")
        with open(self._path(PARTIAL), "rb") as source, open(temporary, "wb") as file:
            file.write(source.read(self._head_size))
            for _, _, begin, end in sorted(self._lines):
                source.seek(begin)
                file.write(source.read(end - begin))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path(FINAL))
        self._clear()
        self.close()
        self.finished = True
        return self._path(FINAL)

    def close(self) -> None:
        """Closes the file; outputs since the last `commit` are made again."""
        self._held.close()

    def _clear(self) -> None:
        """Removes what only an unfinished record needs, and what a killed process left half-written."""
        half_written = [path for name in (FINAL, UNFINISHED) for path in self._folder.glob(f".{name}.*.tmp")]
        for path in (self._path(PARTIAL), self._path(UNFINISHED), *half_written):
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> pathlib.Path:
        return self._folder / name

    def _check_head(self, source: pathlib.Path, head: list[bytes], free: Sequence[str]) -> dict[str, Any]:
        lines = _whole_lines(source)
        there = _parse(next(lines, b""), f"{source}:1")
        old, new = (
            _flat({name: row[name] for name in row if name not in free}) for row in (there, json.loads(head[0]))
        )
        differ = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        if differ:
            shown = "; ".join(f"{name}: {_short(old.get(name))} there, {_short(new.get(name))} now" for name in differ)
            raise ValueError(
                f"{self._folder} holds another evaluation; it differs in {shown}. Use another --workdir, or the "
                "settings of that one (its config.json)"
            )
        del there["kind"]
        first = _dump("header", there)
        for number, problem in enumerate(head[1:], start=2):
            if next(lines, b"") != problem:
                raise ValueError(f"{source}:{number}: not the problem that the data has now; use another --workdir")
        self._head_size = len(first) + sum(map(len, head[1:]))
        return there

    def _read_outputs(self, source: pathlib.Path, end: int) -> None:
        with open(source, "rb") as file:
            begin = file.seek(self._head_size)
            while begin < end:
                line = file.readline()
                output = _parse(line, f"{source}: byte {begin}")
                self._note(output, begin, begin + len(line))
                self.outputs.append({name: value for name, value in output.items() if name not in ("kind", "output")})
                begin += len(line)

    def _note(self, output: Mapping[str, Any], begin: int, end: int) -> None:
        self._lines.append((self._ranks[output["problem"]], output["sample"], begin, end))


def sha256(path: str | os.PathLike[str]) -> str:
    """What identifies a data file in a header.

    Args:
      path: of the file.

    Returns:
      The SHA-256 of its bytes, in hexadecimal.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lock(folder: pathlib.Path) -> int:
    """The folder, opened so that no other process has it; a process that ends in whatever way gives it back."""
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(number)
        raise ValueError(
            f"{folder} is being evaluated by another process; wait for it, or use another --workdir"
        ) from error
    except OSError:
        pass  # a file system without locks: no reason not to evaluate
    return number


def _whole_lines(path: pathlib.Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        yield from (line for line in file if line.endswith(b"\n"))


def _dump(kind: str, values: Mapping[str, Any]) -> bytes:
    return json.dumps({"kind": kind, **values}, allow_nan=False).encode() + b"\n"


def _parse(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: not a line of a record ({error}): {line[:60]!r}; move the file away") from error
    if not isinstance(row, dict) or row.get("kind") not in ("header", "problem", "output"):
        raise ValueError(f"{where}: not a line of a record: {line[:60]!r}; move the file away")
    return row


def _load(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with np.load(path, allow_pickle=False) as saved:
            arrays = dict(saved)
        return json.loads(str(arrays.pop(ABOUT))), arrays
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it and {PARTIAL} to evaluate from the start") from error


def _flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Values by dotted names: {"a": {"b": 1}} is {"a.b": 1}."""
    out = {}
    for name, value in values.items():
        out |= _flat(value, f"{path}{name}.") if isinstance(value, dict) and value else {path + name: value}
    return out


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:60] + "..."
