"""Cleaning as a row of steps: every row ends as kept, dropped or aside, and every decision is known.

The paper's six steps (3.4), in the order in which they run here: what is certain by the
text alone comes first, what needs evaluation records last, for a record speaks of the
question exactly as it was asked.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

from ulorl_jax.data.decisions import ASIDE, CHANGE, KEEP, UNSURE, Decision, Row, Rule
from ulorl_jax.data.judge import QUESTION_FORM, SHORT_ANSWERS, SUB_QUESTIONS, Judge
from ulorl_jax.io.rows import field, read_rows, text_field

# Prompts to replies of the same order; None where there is no reply.
Ask = Callable[[Sequence[str]], list[str | None]]
Watch = Callable[[str, int, int], None]

READING = "reading"  # the step before all: rows without a question or a reference, or with endless ones
SUB, SHORT, FORM, LONG, EASY, WRONG = ORDER = (
    "sub_questions",
    "short_answers",
    "question_form",
    "long_references",
    "too_easy",
    "wrong_references",
)
JUDGES = {SUB: SUB_QUESTIONS, SHORT: SHORT_ANSWERS, FORM: QUESTION_FORM}
LONGEST_TEXT = 10_000  # characters of a question or reference; rules take time with the square of it
HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")
ASKED_AT_ONCE = 256  # prompts given to a language model in one call


@dataclasses.dataclass(frozen=True)
class Unread:
    """A row without a question or a reference, or with one that is endless.

    Attributes:
      place: file and number.
      reason: what is missing.
      row: as it was read.
    """

    place: str
    reason: str
    row: dict[str, Any]


@dataclasses.dataclass
class Cleaned:
    """What became of the rows.

    Attributes:
      kept: rows that went through all steps, in the order of the data.
      unread: rows that no step could look at.
      decisions: by step, in the order of the steps: pairs of a row as it came and the decision on it.
    """

    kept: list[Row]
    unread: list[Unread]
    decisions: dict[str, list[tuple[Row, Decision]]]

    def ended(self, action: str) -> list[tuple[str, Decision]]:
        """The decisions DROP or ASIDE, each with its step."""
        return [(step, d) for step, made in self.decisions.items() for _, d in made if d.action == action]


def read_questions(
    path: str, *, source: str, question_field: str, answer_field: str, id_field: str, extra_fields: Sequence[str]
) -> tuple[list[Row], list[Unread]]:
    """The rows of a file, and those that lack a question, a reference or another field.

    Args:
      path: .jsonl, .parquet or .array_record.
      source: name of the data set.
      question_field, answer_field: where rows keep them; dots lead into nested fields.
      id_field: the row's own id; "" takes its number.
      extra_fields: fields that are carried along, under the last part of their names.

    Returns:
      Rows, and unread ones.

    Raises:
      ValueError: no such file, a broken row, or no row that can be used.
    """
    rows: list[Row] = []
    unread: list[Unread] = []
    for place, raw in read_rows(path):
        try:
            question = text_field(raw, question_field, place)
            answer = text_field(raw, answer_field, place)
            name = text_field(raw, id_field, place) if id_field else place.rpartition(":")[2]
            if not (question.strip() and answer.strip()):
                raise ValueError(f"{place}: the question or the reference is empty")
            if max(len(question), len(answer)) > LONGEST_TEXT:
                raise ValueError(f"{place}: the question or the reference has more than {LONGEST_TEXT} characters")
            if HALF_A_CHARACTER.search(question + name + answer):  # no file but JSON could be written
                raise ValueError(f"{place}: the question, the reference or the id holds half a character (a surrogate)")
            extra = {extra.rpartition(".")[2]: field(raw, extra, place) for extra in extra_fields}
        except ValueError as error:
            unread.append(Unread(place, str(error).removeprefix(f"{place}: "), raw))
            continue
        rows.append(Row(name, place, source, question, answer, extra=extra))
    if not rows:
        first = f"the first: {unread[0].place}: {unread[0].reason}" if unread else "it is empty"
        raise ValueError(f"no row of {path} can be used, {first}; set the names of the fields to the file's own")
    return rows, unread


def clean(
    rows: Sequence[Row],
    rules: dict[str, Rule],
    ask: Ask | None,
    watch: Watch = lambda step, done, total: None,
    unread: Sequence[Unread] = (),
) -> Cleaned:
    """Sends rows through the steps that are switched on.

    Args:
      rows: of one data set.
      rules: by the name of their step; they run in `ORDER`.
      ask: a language model for what rules are unsure of; None puts such rows aside.
      watch: is told step, rows done and rows in the step.
      unread: rows of the same data set that could not be read.

    Returns:
      Every row, decided on.
    """
    assert set(rules) <= set(ORDER), rules
    decisions: dict[str, list[tuple[Row, Decision]]] = {}
    rows = list(rows)
    for step in (name for name in ORDER if name in rules):
        made = [rules[step](row) for row in rows]
        unsure = [index for index, decision in enumerate(made) if decision.action == UNSURE]
        for start in range(0, len(unsure), ASKED_AT_ONCE):
            watch(step, len(rows) - len(unsure) + start, len(rows))
            some = unsure[start : start + ASKED_AT_ONCE]
            for index, decision in zip(some, _judge([made[i] for i in some], JUDGES[step], ask), strict=True):
                made[index] = decision
        watch(step, len(rows), len(rows))
        decisions[step] = list(zip(rows, made, strict=True))
        rows = [decision.row for decision in made if decision.action in (KEEP, CHANGE)]
    return Cleaned(rows, list(unread), decisions)


def _judge(unsure: Sequence[Decision], judge: Judge, ask: Ask | None) -> list[Decision]:
    if ask is None:
        return [Decision(ASIDE, decision.row, decision.reason) for decision in unsure]
    replies = ask([judge.prompt(decision.row) for decision in unsure])
    return [judge.decide(d.row, d.reason, reply) for d, reply in zip(unsure, replies, strict=True)]
