"""Rows of data sets: JSONL, Parquet and ArrayRecord, told apart by the file's suffix."""

import contextlib
import decimal
import importlib
import itertools
import json
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

CHUNK = 4096  # rows read or written at once, where a format works in chunks


class WrittenFloat(float):
    """A JSON number with a point or an exponent that knows how it was written: str() of 1.50 is "1.50"."""

    written: str

    def __new__(cls, written: str):
        number = super().__new__(cls, written)
        number.written = written
        return number

    def __getnewargs__(self):
        return (self.written,)

    def __str__(self):
        return self.written


def read_rows(path: str | os.PathLike[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a file, one after the other; the file is never in memory as a whole.

    Args:
      path: .jsonl (one JSON object per line, blank lines are passed over), .parquet, or
        .array_record (each record a JSON object as UTF-8).

    Returns:
      Pairs of a place and a row. The place is "path:number", for messages; numbers count lines of
      JSONL and rows of the other formats, from 1.

    Raises:
      ValueError: no such file or another suffix, at once; while iterating, a row that is not a JSON
        object or a file of another format, with its place.
    """
    path = pathlib.Path(path)
    read, _ = _format(path)
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    return read(path)


def write_rows(path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]]) -> int:
    """Writes rows as they come; the file appears under its name once it is whole.

    Args:
      path: .jsonl, .parquet or .array_record; missing folders are made, an old file is replaced.
      rows: values are what JSON knows. Parquet has one schema: there, what some rows lack is None when
        read back, and rows whose types disagree are refused.

    Returns:
      How many rows were written.

    Raises:
      ValueError: another suffix, or a row the format cannot hold, with its number.
    """
    path = pathlib.Path(path)
    _, write = _format(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        count = write(temporary, rows)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())  # or a power cut could keep the rename and lose the content
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def field(row: Mapping[str, Any], name: str, where: str) -> Any:
    """A field of a row; dots in the name lead into nested objects.

    Args:
      row: from `read_rows`.
      name: such as "question" or "extra_info.question"; a field whose own name has dots comes first.
      where: the row's place.

    Returns:
      The value.

    Raises:
      ValueError: no such field; names the place and the fields there are.
    """
    value: Any = row
    parts = [name] if name in row else name.split(".")
    for depth, part in enumerate(parts):
        if not isinstance(value, Mapping) or part not in value:
            inside = repr(".".join(parts[:depth])) if depth else "the row"
            got = f"has {sorted(value)}" if isinstance(value, Mapping) else f"is {type(value).__name__}, not an object"
            raise ValueError(f"{where}: no field {name!r}; {inside} {got}")
        value = value[part]
    return value


def text_field(row: Mapping[str, Any], name: str, where: str) -> str:
    """A field that is text, or a number as it was written (1.50 stays "1.50").

    Args:
      row: from `read_rows`.
      name: as for `field`.
      where: the row's place.

    Returns:
      The text.

    Raises:
      ValueError: no such field, or it is something else; names the place and what it is.
    """
    value = field(row, name, where)
    is_number = isinstance(value, int | float | decimal.Decimal) and not isinstance(value, bool)
    if isinstance(value, WrittenFloat) or (is_number and math.isfinite(value)):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"{where}: the field {name!r} must be text or a number, got {str(value)[:60]}")
    return value


def _format(path: pathlib.Path) -> tuple[Callable[..., Iterator[tuple[str, dict[str, Any]]]], Callable[..., int]]:
    if path.suffix not in _FORMATS:
        raise ValueError(f"{path}: want a file whose name ends in {', '.join(_FORMATS)}, got {path.suffix or 'none'!r}")
    return _FORMATS[path.suffix]


def _read_jsonl(path: pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with open(path, "rb") as file:  # bytes, so that a line ends at \n only and bad UTF-8 is found with its line
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"{path}:{number}", _parse(line, f"{path}:{number}")


def _write_jsonl(path: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    with open(path, "wb") as file:
        for count, row in enumerate(rows, start=1):
            file.write(_dump(row, count) + b"\n")
    return count


def _read_array_record(path: pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
    library = _library("array_record.python.array_record_module", "array-record", path)
    number = 0
    try:
        with contextlib.closing(library.ArrayRecordReader(str(path))) as reader:
            total = reader.num_records()
            for start in range(0, total, CHUNK):
                for record in reader.read(start, min(start + CHUNK, total)):
                    number += 1
                    yield f"{path}:{number}", _parse(record, f"{path}:{number}")
    except (RuntimeError, IndexError) as error:  # what the library raises, at the latest when it is closed
        raise ValueError(f"{path}: not a whole ArrayRecord file, after row {number}: {_line(error)}") from error


def _write_array_record(path: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> int:
    library = _library("array_record.python.array_record_module", "array-record", path)
    count = 0
    # One record per group: what grain asks for, so that any record can be read alone.
    with contextlib.closing(library.ArrayRecordWriter(str(path), "group_size:1")) as writer:
        for count, row in enumerate(rows, start=1):
            writer.write(_dump(row, count))
    return count


def _read_parquet(path: pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
    arrow, parquet = _library("pyarrow", "pyarrow", path), _library("pyarrow.parquet", "pyarrow", path)
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=CHUNK):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}:{number}", row
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a whole Parquet file, after row {number}: {_line(error)}") from error


def _write_parquet(path: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> int:
    arrow, parquet = _library("pyarrow", "pyarrow", path), _library("pyarrow.parquet", "pyarrow", path)
    rows, count, writer = iter(rows), 0, None
    with contextlib.ExitStack() as stack:
        while (chunk := list(itertools.islice(rows, CHUNK))) or writer is None:
            place = f"rows {count + 1} to {count + len(chunk)}"
            try:  # an array of objects has the fields of all of them; a table would take the first one's
                batch = arrow.RecordBatch.from_struct_array(arrow.array(chunk, None if chunk else arrow.struct([])))
                if writer is None:
                    writer = stack.enter_context(parquet.ParquetWriter(path, batch.schema))
                elif arrow.unify_schemas([writer.schema, batch.schema]) == writer.schema:
                    batch = arrow.RecordBatch.from_struct_array(arrow.array(chunk, arrow.struct(writer.schema)))
                else:
                    raise ValueError(f"they have {_line(batch.schema)}, those before {_line(writer.schema)}")
            except (arrow.ArrowException, OverflowError, ValueError) as error:
                raise ValueError(f"{place} do not fit Parquet's one schema, write .jsonl: {_line(error)}") from error
            writer.write_batch(batch)
            count += len(chunk)
    return count


def _parse(record: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(record, parse_float=WrittenFloat, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON ({error}): {record.strip()[:60]!r}") from error
    if not isinstance(row, dict):
        raise ValueError(f"{where}: want a JSON object, got {record.strip()[:60]!r}")
    return row


def _refuse(constant: str) -> None:
    raise ValueError(f"JSON has no {constant}")


def _dump(row: Mapping[str, Any], number: int) -> bytes:
    try:
        return json.dumps(row, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(f"row {number} is not what JSON knows: {error}") from error


def _library(module: str, package: str, path: pathlib.Path) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"{path}: this format needs the library {package}; run: pip install {package}") from error


def _line(message: object) -> str:
    return " ".join(str(message).split())[:200]


_FORMATS = {
    ".jsonl": (_read_jsonl, _write_jsonl),
    ".parquet": (_read_parquet, _write_parquet),
    ".array_record": (_read_array_record, _write_array_record),
}
