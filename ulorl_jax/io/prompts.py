"""Questions from data sets, in one global order whose whole state is one integer."""

import dataclasses
import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import grain
import numpy as np

from ulorl_jax.io.rows import field, read_rows, text_field
from ulorl_jax.types import Prompt

REASONS: tuple[str, ...] = ("kept", "too_long", "unencodable", "empty", "duplicates", "held_out")


@dataclasses.dataclass(frozen=True)
class Source:
    """A file of questions and where its rows keep them.

    Attributes:
      name: for counts and traces; no two sources share one.
      path: .jsonl, .parquet or .array_record.
      weight: of the source in the order, against the other sources', > 0.
      question_field: name of the field with the question; dots lead into nested fields.
      answer_field: name of the field with the reference, kept whole: the verifier reads it.
      id_field: name of the field with the row's own id; none takes the row's number.
    """

    name: str
    path: str | os.PathLike[str]
    weight: float = 1.0
    question_field: str = "question"
    answer_field: str = "answer"
    id_field: str | None = None


def load_rows(path: str | os.PathLike[str], fields: Sequence[str]) -> list[dict[str, str]]:
    """The wanted fields of every row of a file, as text, in file order.

    Args:
      path: .jsonl, .parquet or .array_record.
      fields: what each row must have, see `io.rows.field`; numbers are kept as they are written.

    Returns:
      One dict of `fields` per row; at least one row.

    Raises:
      ValueError: no such file, no rows, or a row that is broken or lacks a field; names the file and the row.
    """
    return [{name: text_field(row, name, where) for name in fields} for where, row in _rows(path, fields)]


class Prompts:
    """The prompts of some sources, tokenized once.

    Position c of the order is a function of (files, weights, seed, c) alone: every host computes the
    same one, and a run resumes from its cursor. The sources take turns by their weights; each pass over
    a source (an epoch) has every row of it once, in an order of its own.

    Args:
      rows: the prompts of each source in file order, at least one each; keys are the sources' names.
      weights: of the sources.
      counts_by_source: see below.
      examples: see below.
      seed: of the order, >= 0; None keeps the files' orders, in every epoch.

    Attributes:
      counts: rows "kept", and those dropped as "too_long", "unencodable", "empty" (question or answer),
        "duplicates" (of a question read before, white space aside) and "held_out" (a question of the evaluation).
      counts_by_source: the same for each source.
      examples: the first row dropped for each of those reasons, for the log.
    """

    def __init__(
        self,
        rows: Mapping[str, Sequence[Prompt]],
        weights: Mapping[str, float],
        counts_by_source: Mapping[str, Mapping[str, int]],
        examples: Mapping[str, str],
        *,
        seed: int | None,
    ):
        self.counts_by_source = {name: dict(counts) for name, counts in counts_by_source.items()}
        self.counts = {kind: sum(counts[kind] for counts in counts_by_source.values()) for kind in REASONS}
        self.examples = dict(examples)
        self._rows = [row for of_source in rows.values() for row in of_source]
        orders = [grain.MapDataset.source(list(of_source)) for of_source in rows.values()]
        if seed is not None:
            # grain orders epoch e by seed + e, so seeds 0 and 1 would share all epochs but one: hash the seed first.
            seeds = np.random.SeedSequence(seed).generate_state(len(orders))
            orders = [order.shuffle(seed=int(own)) for order, own in zip(orders, seeds, strict=True)]
        self._order = grain.MapDataset.mix([order.repeat() for order in orders], [weights[name] for name in rows])

    @classmethod
    def read(
        cls,
        sources: Sequence[Source],
        encode: Callable[[str], np.ndarray],
        *,
        max_tokens: int,
        seed: int,
        shuffle: bool,
        held_out: Sequence[Prompt] = (),
    ) -> "Prompts":
        """Reads, checks and tokenizes.

        Rows that repeat a question (of any source: the first one with an answer stays), lack a question or an answer,
        are too long or cannot be encoded are dropped and counted.

        Args:
          sources: at least one.
          encode: from a question's text to the ids of its whole prompt; ValueError where it cannot.
          max_tokens: longest prompt kept, in tokens.
          seed: of the order, >= 0; unused without shuffle.
          shuffle: False keeps the files' orders.
          held_out: prompts whose questions must not be among these.

        Returns:
          The prompts.

        Raises:
          ValueError: sources that contradict each other, a file or row that cannot be read, an id that
            two rows share, or a source of which nothing is left.
        """
        _check(sources)
        rows: dict[str, list[Prompt]] = {source.name: [] for source in sources}
        counts = {source.name: dict.fromkeys(REASONS, 0) for source in sources}
        examples: dict[str, str] = {}
        first_place: dict[str, str] = {}  # of a question
        forbidden = {collapse(prompt.question) for prompt in held_out}
        for source in sources:
            ids: dict[str, str] = {}
            for where, question, reference, row_id in _questions(source):
                if ids.setdefault(row_id, where) != where:
                    raise ValueError(
                        f"{where}: the {source.id_field!r} {row_id!r} is that of {ids[row_id]} too; name a field that "
                        "tells rows apart, or none for row numbers"
                    )
                key = collapse(question)
                kind, reason, tokens = _prepare(question, reference, first_place.get(key), encode, max_tokens)
                if kind == "kept" and key in forbidden:
                    kind, reason = "held_out", "a question of the evaluation"
                if kind != "empty":  # a later row may have the answer
                    first_place.setdefault(key, where)
                counts[source.name][kind] += 1
                if kind == "kept":
                    label = row_id if len(sources) == 1 else f"{source.name}:{row_id}"
                    rows[source.name].append(Prompt(0, tokens, reference, label, question))
                else:
                    examples.setdefault(kind, f"{where}: {reason}: {question[:60]!r}")
            if not rows[source.name]:
                raise ValueError(
                    f"no prompt of {source.path} is left: {counts[source.name]}; first: {'; '.join(examples.values())}"
                )
        weights = {source.name: source.weight for source in sources}
        return cls(rows, weights, counts, examples, seed=seed if shuffle else None)

    def __len__(self) -> int:
        """Rows kept, of all sources."""
        return len(self._rows)

    @property
    def digest(self) -> str:
        """SHA-256 of all rows kept, in file order: what a cursor counts in, whatever the files are called."""
        content = hashlib.sha256()
        for row in self._rows:
            for part in (row.tokens.tobytes(), row.reference.encode("utf-8", "surrogatepass")):
                content.update(len(part).to_bytes(8) + part)
        return content.hexdigest()

    def take(self, cursor: int, count: int) -> tuple[list[Prompt], int]:
        """Prompts cursor .. cursor + count - 1 of the endless order.

        Args:
          cursor: how many prompts the run has taken before, >= 0.
          count: how many to take, >= 0.

        Returns:
          The prompts, whose ids are their positions in the order, and the next cursor.
        """
        positions = range(cursor, cursor + count)
        # grain's type says "or None", for filtered data sets
        taken = [dataclasses.replace(cast(Prompt, self._order[position]), id=position) for position in positions]
        return taken, cursor + count

    def all(self) -> list[Prompt]:
        """Every row kept, once, source by source in file order, with ids 0 .. len - 1: for held-out sets."""
        return [dataclasses.replace(row, id=index) for index, row in enumerate(self._rows)]


def collapse(question: str) -> str:
    """A question with single spaces for all white space: equal for questions that differ in nothing else."""
    return " ".join(question.split())


def _check(sources: Sequence[Source]) -> None:
    if not sources:
        raise ValueError("no sources of prompts: give at least one")
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise ValueError(f"sources must have names of their own, got {names}")
    for source in sources:
        if not (math.isfinite(source.weight) and source.weight > 0):
            raise ValueError(
                f"the weight of source {source.name!r} must be a positive number, got {source.weight}; leave out a "
                "source that is not wanted"
            )


def _prepare(
    question: str, reference: str, first_place: str | None, encode: Callable[[str], np.ndarray], max_tokens: int
) -> tuple[str, str, np.ndarray]:
    """One of `REASONS`, in words why a row is dropped, and its ids."""
    none = np.empty(0, np.int32)
    if not question.strip() or not reference.strip():
        return "empty", "no question" if not question.strip() else "no answer", none
    if first_place:
        return "duplicates", f"the question of {first_place} again", none
    try:
        tokens = encode(question)
    except ValueError as error:
        return "unencodable", str(error), none
    return "kept" if len(tokens) <= max_tokens else "too_long", f"{len(tokens)} tokens, more than {max_tokens}", tokens


def _questions(source: Source) -> Iterator[tuple[str, str, str, str]]:
    """Place, question, reference and id of every row."""
    for where, row in _rows(source.path, [source.question_field, source.answer_field]):
        question, reference = (_text(row, name, where) for name in (source.question_field, source.answer_field))
        row_id = text_field(row, source.id_field, where) if source.id_field else where.rpartition(":")[2]
        yield where, question, reference, row_id


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    """A text field; one without a value is empty: Parquet has that for what a row lacks."""
    return "" if field(row, name, where) is None else text_field(row, name, where)


def _rows(path: str | os.PathLike[str], fields: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    is_empty = True
    for where, row in read_rows(path):
        is_empty = False
        yield where, row
    if is_empty:
        raise ValueError(f"{path} is empty; want rows with the fields {list(fields)}")
