"""What evaluation records say of questions: too easy ones, and references that several models contradict."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from ulorl_jax.data.decisions import DROP, KEEP, Decision, Row, Rule
from ulorl_jax.data.references import same_answer
from ulorl_jax.io.record_reader import Record

NO_RECORD = "no record of it"


@dataclasses.dataclass
class Tries:
    """What one model answered to one question.

    Attributes:
      reference: what its answers were judged by.
      rewards: 1.0 right, 0.0 wrong, None an error, per output.
      answers: as they were read, None where there was none, per output.
    """

    reference: str
    rewards: list[float | None] = dataclasses.field(default_factory=list)
    answers: list[str | None] = dataclasses.field(default_factory=list)


class Evaluated:
    """One model's record by question: ids differ between files, the question's text does not.

    Args:
      record: of an evaluation.
    """

    def __init__(self, record: Record):
        weights = record.header.get("weights") or {}
        self.weights = {name: value for name, value in weights.items() if name != "path"}  # a copy is the same model
        self._tries: dict[str, Tries] = {}
        by_id = {}
        for name, problem in record.problems.items():
            by_id[name] = self._tries.setdefault(_squeezed(problem["question"]), Tries(problem["reference"]))
        for output in record.outputs:
            tries = by_id[output["problem"]]
            tries.rewards.append(output["reward"])
            tries.answers.append(output["answer"])

    def tries(self, row: Row) -> Tries | None:
        """The tries at a row's question, judged by its reference; None where there are none."""
        found = self._tries.get(_squeezed(row.question))
        references = {_squeezed(row.answer), _squeezed(row.original_answer)}
        return found if found and found.rewards and _squeezed(found.reference) in references else None


def make_too_easy(start_policy: Evaluated, tries: int) -> Rule:
    """The rule that drops what the start policy gets right in every try (paper 3.4: 8 of 8).

    Args:
      start_policy: its record.
      tries: how many are needed to say so.

    Returns:
      A rule: KEEP or DROP.
    """

    def too_easy(row: Row) -> Decision:
        found = start_policy.tries(row)
        if found is None:
            return Decision(KEEP, row, NO_RECORD)
        if len(found.rewards) < tries:
            return Decision(KEEP, row, f"fewer than {tries} tries in the record")
        if all(reward == 1.0 for reward in found.rewards):
            return Decision(DROP, row, "right in every try")
        return Decision(KEEP, row)

    return too_easy


def make_wrong_references(models: Sequence[Evaluated], agree: int) -> Rule:
    """The rule that drops a reference which several models contradict, all with the same answer.

    A model's answer is that of more than half of its outputs. One model whose answer is
    judged right is enough to keep the reference.

    Args:
      models: records of different models.
      agree: how many models must give the same answer.

    Returns:
      A rule: KEEP or DROP.

    Raises:
      ValueError: fewer records than that, or two of the same weights.
    """
    if not 2 <= agree <= len(models):
        raise ValueError(
            f"wrong_references.agree must be from 2 to the number of records, {len(models)}; got {agree}: "
            "give more records or set it to less"
        )
    if any(model.weights == other.weights for i, model in enumerate(models) for other in models[:i]):
        raise ValueError("two of wrong_references.records are of the same weights; give records of different models")

    def wrong_references(row: Row) -> Decision:
        found = [tries for model in models if (tries := model.tries(row))]
        if len(found) < agree:
            return Decision(KEEP, row, NO_RECORD if not found else f"fewer than {agree} records of it")
        majorities = [majority for tries in found if (majority := _majority(tries))]
        if any(right for _, right in majorities):
            return Decision(KEEP, row)
        for answer, _ in majorities:
            if sum(same_answer(answer, other) for other, _ in majorities) >= agree:
                return Decision(DROP, row, "several models agree on another answer")
        return Decision(KEEP, row)

    return wrong_references


def _majority(tries: Tries) -> tuple[str, bool] | None:
    """The answer of more than half of the outputs that were judged, and whether it was judged right."""
    judged = [
        (answer, reward) for answer, reward in zip(tries.answers, tries.rewards, strict=True) if reward is not None
    ]
    for answer, _ in judged:
        if answer is None:
            continue
        same = [reward for other, reward in judged if other is not None and same_answer(answer, other)]
        if 2 * len(same) > len(judged):
            return answer, 1.0 in same
    return None


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
