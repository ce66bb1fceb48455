"""Data cleaning as a whole: a file of questions in, a folder with what became of every row out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ulorl_jax.ask import AskSettings, make_ask
from ulorl_jax.data.cleaning import EASY, FORM, LONG, ORDER, SHORT, SUB, WRONG, Cleaned, clean, read_questions
from ulorl_jax.data.cleaning_report import make_report, report_to_markdown
from ulorl_jax.data.decisions import ASIDE, DROP, Row, Rule
from ulorl_jax.data.evaluated import Evaluated, make_too_easy, make_wrong_references
from ulorl_jax.data.question_form import question_form
from ulorl_jax.data.references import make_long_references, short_answers
from ulorl_jax.data.sub_questions import sub_questions
from ulorl_jax.io.files import write_atomically
from ulorl_jax.io.folders import partial_folder, refuse_occupied
from ulorl_jax.io.progress import Progress
from ulorl_jax.io.record_reader import read_record
from ulorl_jax.io.records import sha256
from ulorl_jax.io.rows import write_rows
from ulorl_jax.typed import build, choose, demand, demand_least

COLUMNS = ("question", "answer", "id", "source", "original_question", "original_answer")
FORMATS = {name: f".{name}" for name in ("parquet", "array_record", "jsonl")}


@dataclasses.dataclass(frozen=True)
class QuestionFileSettings:
    """The file that is cleaned and the names of its fields."""

    path: str
    source: str
    question_field: str
    answer_field: str
    id_field: str
    extra_fields: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class StepSettings:
    """The six steps' switches."""

    sub_questions: bool
    short_answers: bool
    question_form: bool
    long_references: bool
    too_easy: bool
    wrong_references: bool


@dataclasses.dataclass(frozen=True)
class LongReferencesSettings:
    """When a reference is too long."""

    max_characters: int


@dataclasses.dataclass(frozen=True)
class TooEasySettings:
    """What the start policy did."""

    record: str
    tries: int


@dataclasses.dataclass(frozen=True)
class WrongReferencesSettings:
    """What several models did."""

    records: tuple[str, ...]
    agree: int


@dataclasses.dataclass(frozen=True)
class OutputSettings:
    """What is written."""

    format: str
    examples: int


@dataclasses.dataclass(frozen=True)
class PreparationSettings:
    """A whole cleaning; see `configs/prepare_base.py` for what every field means."""

    seed: int
    data: QuestionFileSettings
    steps: StepSettings
    long_references: LongReferencesSettings
    too_easy: TooEasySettings
    wrong_references: WrongReferencesSettings
    ask: AskSettings
    output: OutputSettings

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PreparationSettings:
        """Settings from a plain nested dict, such as `ConfigDict.to_dict()`.

        Raises:
          ValueError: an unknown, missing or wrongly typed key, or a value that cannot be; named.
        """
        settings = build(cls, values)
        s = settings
        names = [name.rpartition(".")[2] for name in s.data.extra_fields]
        demand(bool(s.data.path), "data.path is the file of the questions", s.data.path, "set --config.data.path")
        demand(
            not set(names) & set(COLUMNS) and len(set(names)) == len(names),
            f"data.extra_fields end in names of their own, other than {list(COLUMNS)}",
            s.data.extra_fields,
            "leave out those that are there anyhow",
        )
        for name, least, value in (
            ("seed", 0, s.seed),
            ("long_references.max_characters", 1, s.long_references.max_characters),
            ("too_easy.tries", 1, s.too_easy.tries),
            ("output.examples", 0, s.output.examples),
        ):
            demand_least(name, least, value)
        demand(
            not s.steps.too_easy or bool(s.too_easy.record),
            "steps.too_easy reads the record of the start policy's evaluation, too_easy.record",
            s.too_easy.record,
            "set it to the folder of a run of launch/evaluate.py, or steps.too_easy=False",
        )
        choose(FORMATS, s.output.format, "output.format")
        return settings


def make_rules(settings: PreparationSettings) -> dict[str, Rule]:
    """The rules of the steps that are switched on, in order.

    Raises:
      ValueError: a record that a step needs cannot be read or used.
    """
    s = settings

    def evaluated(path: str) -> Evaluated:
        return Evaluated(read_record(path))

    makers = {
        SUB: lambda: sub_questions,
        SHORT: lambda: short_answers,
        FORM: lambda: question_form,
        LONG: lambda: make_long_references(s.long_references.max_characters),
        EASY: lambda: make_too_easy(evaluated(s.too_easy.record), s.too_easy.tries),
        WRONG: lambda: make_wrong_references(
            [evaluated(path) for path in s.wrong_references.records], s.wrong_references.agree
        ),
    }
    return {step: makers[step]() for step in ORDER if getattr(s.steps, step)}


def run_cleaning(settings: PreparationSettings) -> tuple[Cleaned, dict[str, int]]:
    """Reads the file and sends every row through the steps; writes nothing.

    Args:
      settings: checked settings.

    Returns:
      What became of the rows, and why the language model left prompts without a reply, with counts.

    Raises:
      ValueError: the file, a record or the language model cannot be used.
    """
    d = settings.data
    rules = make_rules(settings)
    ask = make_ask(settings.ask)
    rows, unread = read_questions(
        d.path,
        source=d.source or Path(d.path).stem,
        question_field=d.question_field,
        answer_field=d.answer_field,
        id_field=d.id_field,
        extra_fields=d.extra_fields,
    )
    with Progress(len(rows) * len(rules), "cleaning") as progress:

        def watch(step: str, done: int, of: int) -> None:
            # Rows that are gone count as done in the steps they do not reach.
            progress.update(list(rules).index(step) * len(rows) + len(rows) - of + done, {step: done})

        cleaned = clean(rows, rules, ask, watch, unread)
    return cleaned, dict(getattr(ask, "failures", {}))


def run_preparation(settings: PreparationSettings, workdir: Path) -> dict[str, Any]:
    """Cleans a file into a folder, which appears as a whole at the end.

    Args:
      settings: checked settings.
      workdir: must not be there yet, or be empty. Gets train.parquet (or .array_record, .jsonl), dropped and
        aside files, report.json, report.md and config.json.

    Returns:
      The report.

    Raises:
      ValueError: the folder holds something, or the file, a record or the language model cannot be used.
    """
    refuse_occupied(workdir)
    cleaned, failures = run_cleaning(settings)
    report = make_report(cleaned, settings.output.examples)
    report |= {"data": {"path": Path(settings.data.path).name, "sha256": sha256(settings.data.path)}}
    report |= {"model_failures": failures}
    with partial_folder(workdir) as folder:
        # A file without rows could not be read as a source, and parquet could not even have columns.
        files = {"train": _training_rows(cleaned), "dropped": _ended_rows(cleaned, DROP)}
        for name, rows in files.items():
            if rows:
                write_rows(folder / f"{name}{FORMATS[settings.output.format]}", rows)
        write_rows(folder / "aside.jsonl", [*_unread_rows(cleaned), *_ended_rows(cleaned, ASIDE)])
        write_atomically(folder / "config.json", json.dumps(dataclasses.asdict(settings), indent=2) + "\n")
        write_atomically(folder / "report.json", json.dumps(report, indent=2) + "\n")
        title = f"Cleaning of {Path(settings.data.path).name}"
        write_atomically(folder / "report.md", report_to_markdown(report, title))
    return report


def _training_rows(cleaned: Cleaned) -> list[dict[str, Any]]:
    return [_columns(row) for row in cleaned.kept]


def _ended_rows(cleaned: Cleaned, action: str) -> list[dict[str, Any]]:
    ended = cleaned.ended(action)
    return [_columns(d.row) | {"step": step, "reason": d.reason, "place": d.row.place} for step, d in ended]


def _unread_rows(cleaned: Cleaned) -> Iterator[dict[str, Any]]:
    for unread in cleaned.unread:
        row = json.loads(json.dumps(unread.row, default=str), parse_constant=str)  # parquet knows more than JSON
        yield {"step": "reading", "reason": unread.reason, "place": unread.place, "row": row}


def _columns(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in COLUMNS} | dict(row.extra)
