"""What cleaning reads and what it says: rows, and one decision on each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

KEEP = "kept"  # the row goes on as it is
CHANGE = "changed"  # the row goes on with another question or reference
DROP = "dropped"  # the row is no good for training, for a stated reason
ASIDE = "aside"  # nothing here could judge the row
UNSURE = "unsure"  # a rule leaves it to a language model; without one it becomes ASIDE


@dataclasses.dataclass(frozen=True)
class Row:
    """One question with its reference.

    Attributes:
      id: the row's own id in its data set, else its number.
      place: file and number, for messages.
      source: name of the data set.
      question: as it will be asked.
      answer: the reference, as it will be compared with.
      original_question: what `question` was when read; "" while unchanged.
      original_answer: what `answer` was when read; "" while unchanged.
      extra: fields that are carried along.
    """

    id: str
    place: str
    source: str
    question: str
    answer: str
    original_question: str = ""
    original_answer: str = ""
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def with_text(self, *, question: str | None = None, answer: str | None = None) -> Row:
        """The row with another question or reference, remembering the first ones."""
        new = dataclasses.replace(
            self,
            question=self.question if question is None else question,
            answer=self.answer if answer is None else answer,
        )
        if new.question != self.question and not self.original_question:
            new = dataclasses.replace(new, original_question=self.question)
        if new.answer != self.answer and not self.original_answer:
            new = dataclasses.replace(new, original_answer=self.answer)
        return new


@dataclasses.dataclass(frozen=True)
class Decision:
    """What a step says of one row.

    Attributes:
      action: KEEP, CHANGE, DROP, ASIDE or, from a rule alone, UNSURE.
      row: as it goes on; where it does not, as it was.
      reason: the name of the rule that spoke; "" where none did.
    """

    action: str
    row: Row
    reason: str = ""


Rule = Callable[[Row], Decision]
