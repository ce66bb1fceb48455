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
import fcntl
import hashlib
import io
import json
import os
import pathlib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ulorl_jax.io.files import write_atomically
from ulorl_jax.io.record_reader import FINAL, dump, parse, whole_lines

PARTIAL, UNFINISHED = "record.partial.jsonl", "unfinished.npz"
ABOUT = "about"  # the name of the JSON text among the arrays


class RecordInProgress:
    """The record of a folder while it is made.

    Args:
      folder: of the evaluation; made where missing.
      header: all that decides the outputs; JSON.
      problems: in order, each with a unique "id".
      free: keys of the header that may be others when an evaluation goes on; the record
        keeps the first ones.
      follows: another process writes the record, and opened it before: only what is there is read, and `append`,
        `commit` and `finish` do nothing.

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
        follows: bool = False,
    ):
        self._follows = follows
        self._folder = pathlib.Path(folder)
        self._ranks = {problem["id"]: rank for rank, problem in enumerate(problems)}
        assert len(self._ranks) == len(problems), "problems need ids of their own"
        self._lines: list[tuple[int, int, int, int]] = []  # of each output: rank, sample, begin and end in the file
        self.outputs: list[dict[str, Any]] = []
        self.about: dict[str, Any] | None = None
        self.arrays: dict[str, np.ndarray] = {}
        head = [dump("header", header), *(dump("problem", problem) for problem in problems)]
        self._folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            if not follows:
                held.callback(os.close, _lock(self._folder))
            self._begin(head, free, held)
            self._held = contextlib.ExitStack() if self.finished else held.pop_all()

    def _begin(self, head: list[bytes], free: Sequence[str], held: contextlib.ExitStack) -> None:
        self.finished = self._path(FINAL).exists()
        source = self._path(FINAL if self.finished else PARTIAL)
        if self._follows and not source.exists():
            raise ValueError(
                f"{source} is not there for this process, though another one has just made it; give a --workdir on a "
                f"file system on which all hosts see at once what one of them writes"
            )
        if not source.exists():
            write_atomically(source, b"".join(head))
        self.header = self._check_head(source, head, free)
        end = os.path.getsize(source)
        if not self.finished:
            end = self._go_on_from(end)
        self._read_outputs(source, end)
        if self._follows:
            return
        if self.finished:
            self._clear()
        else:
            os.truncate(source, end)
            self._file = held.enter_context(open(source, "ab"))  # noqa: SIM115 -- closed by close()

    def _go_on_from(self, size: int) -> int:
        """Reads what the last commit was given; returns how long the record was then, of the bytes it has."""
        end = self._head_size
        if self._path(UNFINISHED).exists():
            self.about, self.arrays = _load(self._path(UNFINISHED))
            end = self.about.pop("record_bytes")
        if end > size:
            raise ValueError(
                f"{self._path(PARTIAL)} is shorter than {UNFINISHED} beside it says; remove both to evaluate from the "
                "start"
            )
        return end

    def append(self, outputs: Iterable[Mapping[str, Any]]) -> None:
        """Adds finished outputs; they count from the next `commit` on.

        Args:
          outputs: each with "problem" (an id), "sample", and what is known of it; JSON.
        """
        if self._follows:
            return
        for output in outputs:
            begin = self._file.tell()
            self._file.write(dump("output", output))
            self._note(output, begin, self._file.tell())

    def commit(self, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Makes the outputs so far, and what is unfinished, the place to go on from.

        Args:
          about: JSON.
          arrays: named arrays.
        """
        if self._follows:
            return
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
        if self._follows:
            return self._path(FINAL)
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
        lines = whole_lines(source)
        there = parse(next(lines, b""), f"{source}:1")
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
        first = dump("header", there)
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
                output = parse(line, f"{source}: byte {begin}")
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
