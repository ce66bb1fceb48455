"""Questions from JSONL files, in one global order whose whole state is one integer."""

import json
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import cast

import grain
import numpy as np

from ulorl_jax.io.tokenizer import Tokenizer
from ulorl_jax.types import Prompt

PLACE = "{question}"


def load_rows(path: str | os.PathLike[str], fields: Sequence[str]) -> list[dict[str, str]]:
    """The wanted fields of every row of a JSONL file, as text, in file order.

    Args:
      path: one JSON object per line; blank lines are passed over.
      fields: what each row must have; numbers are kept as they are written.

    Returns:
      One dict of `fields` per row; at least one row.

    Raises:
      ValueError: no such file, no rows, or a row that is not a JSON object or lacks a
        field; names the file and the line.
    """
    return [row for _, row in _numbered_rows(path, fields)]


class Prompts:
    """The prompts of one file, tokenized once.

    Position c of the order is a function of (file, seed, c) alone: every host computes
    the same one, and a run resumes from its cursor. Each pass over the rows (an epoch)
    has every row once, in an order of its own.

    Args:
      rows: the prompts in file order, at least one.
      counts: see below.
      examples: see below.
      seed: of the order, >= 0; None keeps the file's order, in every epoch.

    Attributes:
      counts: rows "kept", and those dropped as "too_long", "unencodable", "duplicates".
      examples: the first row dropped for each of those reasons, for the log.
    """

    def __init__(self, rows: Sequence[Prompt], counts: dict[str, int], examples: dict[str, str], *, seed: int | None):
        self.counts = counts
        self.examples = examples
        self._rows = list(rows)
        order = grain.MapDataset.source(self._rows)
        if seed is not None:
            # grain orders epoch e by seed + e, so seeds 0 and 1 would share all epochs but one: hash the seed first.
            order = order.shuffle(seed=int(np.random.SeedSequence(seed).generate_state(1)[0]))
        self._order = order.repeat()

    @classmethod
    def from_jsonl(
        cls,
        path: str | os.PathLike[str],
        tokenizer: Tokenizer,
        *,
        question_field: str,
        answer_field: str,
        id_field: str | None,
        template: str,
        max_tokens: int,
        seed: int,
        shuffle: bool,
    ) -> "Prompts":
        """Reads, checks and tokenizes a JSONL file.

        Rows that repeat a question, are too long or cannot be encoded are dropped and counted.

        Args:
          path: one JSON object per line.
          tokenizer: turns the filled template into ids.
          question_field: name of the field with the question.
          answer_field: name of the field with the reference, kept whole: the verifier reads it.
          id_field: name of the row's own id; None takes the line number.
          template: the prompt's text, with "{question}" where the question goes.
          max_tokens: longest prompt kept, in tokens.
          seed: of the order, >= 0; unused without shuffle.
          shuffle: False keeps the file's order.

        Returns:
          The prompts.

        Raises:
          ValueError: as `load_rows`; or an empty question, a template without its place, nothing left.
        """
        if PLACE not in template:
            raise ValueError(f"the prompt template {template!r} has no {PLACE}, the place of the question")
        rows: list[Prompt] = []
        counts = {"kept": 0, "too_long": 0, "unencodable": 0, "duplicates": 0}
        examples: dict[str, str] = {}
        first_line: dict[str, int] = {}  # of a question
        for line, row in _numbered_rows(path, [question_field, answer_field, *([id_field] if id_field else [])]):
            question = row[question_field]
            if not question.strip():
                raise ValueError(f"{path}:{line}: the field {question_field!r} is empty; fill it in or remove the row")
            tokens, reason = np.empty(0, np.int32), ""
            if first_line.setdefault(question, line) != line:
                kind, reason = "duplicates", f"the question of line {first_line[question]} again"
            else:
                try:
                    tokens = tokenizer.encode(template.replace(PLACE, question))
                except ValueError as error:
                    kind, reason = "unencodable", str(error)
                else:
                    kind = "kept" if len(tokens) <= max_tokens else "too_long"
                    reason = f"{len(tokens)} tokens, more than {max_tokens}"
            counts[kind] += 1
            if kind == "kept":
                rows.append(Prompt(len(rows), tokens, row[answer_field], row[id_field] if id_field else str(line)))
            else:
                examples.setdefault(kind, f"{path}:{line}: {reason}: {question[:60]!r}")
        if not rows:
            raise ValueError(f"no prompt of {path} is left: {counts}; first: {'; '.join(examples.values())}")
        return cls(rows, counts, examples, seed=seed if shuffle else None)

    def __len__(self) -> int:
        """Rows kept: the length of an epoch."""
        return len(self._rows)

    def take(self, cursor: int, count: int) -> tuple[list[Prompt], int]:
        """Prompts cursor .. cursor + count - 1 of the endless order.

        Args:
          cursor: how many prompts the run has taken before, >= 0.
          count: how many to take, >= 0.

        Returns:
          The prompts, whose ids are their positions in the order, and the next cursor.
        """
        taken = []
        for position in range(cursor, cursor + count):
            row = cast(Prompt, self._order[position])  # grain's type says "or None", for filtered data sets
            taken.append(Prompt(position, row.tokens, row.reference, row.source))
        return taken, cursor + count

    def all(self) -> list[Prompt]:
        """Every row kept, once, in file order, with ids 0 .. len - 1: for held-out sets."""
        return list(self._rows)


def _numbered_rows(path: str | os.PathLike[str], fields: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"no such file: {path}; want one JSON object per line with the fields {list(fields)}")
    number_of_rows = 0
    with open(path, "rb") as file:  # bytes, so that a line ends at \n only and bad UTF-8 is found with its line
        for number, line in enumerate(file, start=1):
            if line.strip():
                number_of_rows += 1
                yield number, _parse(line, fields, f"{path}:{number}")
    if not number_of_rows:
        raise ValueError(f"{path} is empty; want one JSON object per line with the fields {list(fields)}")


def _parse(line: bytes, fields: Sequence[str], where: str) -> dict[str, str]:
    try:
        row = json.loads(line, parse_int=str, parse_float=str)  # 1.50 stays "1.50"
    except ValueError as error:
        raise ValueError(f"{where}: not JSON ({error}): {line.strip()[:60]!r}") from error
    if not isinstance(row, dict):
        raise ValueError(f"{where}: want a JSON object with the fields {list(fields)}, got {line.strip()[:60]!r}")
    for field in fields:
        if field not in row:
            raise ValueError(f"{where}: no field {field!r}; the row has {sorted(row)}, wanted are {list(fields)}")
        if not isinstance(row[field], str):
            got = json.dumps(row[field])[:60]
            raise ValueError(f"{where}: the field {field!r} must be text or a number, got {got}")
    return {field: row[field] for field in fields}
