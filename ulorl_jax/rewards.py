"""From outputs to rewards: the answer is read, compared, and becomes 1, 0, or an error that is neither.

A judge asks one comparer. Comparers are stacked: rules first and a verifier where they are
unsure (`FirstThen`), and a memory of what has been said before in front of both (`Cached`). Rules
share their work among the processes of a run (`Dealt`).
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Sequence

import jax

from ulorl_jax.io.tokenizer import Tokenizer
from ulorl_jax.processes import gather
from ulorl_jax.types import LIMIT, Attempt, Sample, Verdict
from ulorl_jax.verify.answers import predicted_answer, reference_answer
from ulorl_jax.verify.comparison import SAME, UNSURE, Comparer, Comparison, Pair
from ulorl_jax.verify.rules import normal_form

TRUNCATED = Verdict(0.0, "truncated at the output limit")  # paper, 3.5
_SHOWN = 40  # characters of an answer in a reason


class Judge:
    """Attempts to verdicts.

    Args:
      comparer: is asked about every answer that was read.
      marker: stands before an answer, "####" in GSM8K; see `verify.answers`.
      held: what the comparer lives on, such as processes; closed with the judge.

    Attributes:
      version: of everything that decides a verdict, for records.
    """

    def __init__(self, comparer: Comparer, marker: str, held: contextlib.ExitStack | None = None):
        self._comparer = comparer
        self._marker = marker
        self._held = held or contextlib.ExitStack()
        self.version = comparer.version

    @property
    def hits(self) -> int:
        """Answers so far that were judged from memory."""
        return self._comparer.hits if isinstance(self._comparer, Cached) else 0

    def __call__(self, attempts: Sequence[Attempt]) -> list[Verdict]:
        """Judges outputs together, so that a comparer sees all their answers at once.

        Args:
          attempts: any number.

        Returns:
          One verdict per attempt, in their order: 0.0 where the output was truncated, holds no answer, or
          one that differs; 1.0 where the answers are the same; None, an error with its reason, where the
          reference is empty or the comparer is unsure.
        """
        verdicts: dict[int, Verdict] = {}
        pairs: dict[int, Pair] = {}
        for place, attempt in enumerate(attempts):
            if attempt.truncated:
                verdicts[place] = TRUNCATED
                continue
            reference = reference_answer(attempt.reference, self._marker)
            found = predicted_answer(attempt.output, self._marker)
            if reference is None:
                verdicts[place] = Verdict(None, "the reference holds no answer")
            elif found.answer is None:
                verdicts[place] = Verdict(0.0, f"no answer: {found.how}")
            else:
                pairs[place] = Pair(attempt.question, reference, found.answer)
        comparisons = self._comparer.compare(list(pairs.values()))
        for (place, pair), comparison in zip(pairs.items(), comparisons, strict=True):
            verdicts[place] = _verdict(pair, comparison)
        return [verdicts[place] for place in range(len(attempts))]

    def reads(self, reference: str) -> bool:
        """Whether a reference holds an answer at all."""
        return reference_answer(reference, self._marker) is not None

    def close(self) -> None:
        """Ends what the comparer lives on."""
        self._held.close()


class Cached:
    """A comparer with a memory, the longest unused forgotten first.

    Only `SAME` and `DIFFERENT` are kept: what was unsure may have been a deadline that passed, and is asked again.

    Args:
      comparer: who is asked what is not remembered, each pair once.
      size: comparisons kept; 0 for none.
      by_question: the comparer reads the question too, so answers are the same pair only under one question.

    Attributes:
      hits: pairs so far that nobody had to be asked about.
    """

    def __init__(self, comparer: Comparer, size: int, *, by_question: bool):
        self._comparer = comparer
        self._size = size
        self._by_question = by_question
        self._kept: OrderedDict[tuple[str, ...], Comparison] = OrderedDict()
        self.version = comparer.version
        self.hits = 0

    def compare(self, pairs: Sequence[Pair]) -> list[Comparison]:
        """One comparison per pair; equal pairs of one call are asked about once."""
        keys = [self._key(pair) for pair in pairs]
        asked = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in self._kept}
        self.hits += len(pairs) - len(asked)
        known = {key: self._kept[key] for key in keys if key in self._kept}
        known |= zip(asked, self._comparer.compare(list(asked.values())), strict=True)
        for key in keys:
            if known[key].outcome != UNSURE:
                self._kept[key] = known[key]
                self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return [known[key] for key in keys]

    def _key(self, pair: Pair) -> tuple[str, ...]:
        answers = (pair.reference, pair.predicted)
        return (pair.question, *answers) if self._by_question else answers


class FirstThen:
    """Two comparers: the second is asked only about what the first is unsure of.

    Args:
      first: the cheaper one, never wrong when it is sure.
      second: the other.
    """

    def __init__(self, first: Comparer, second: Comparer):
        self._first, self._second = first, second
        self.version = f"{first.version} then {second.version}"

    def compare(self, pairs: Sequence[Pair]) -> list[Comparison]:
        """One comparison per pair; where both are unsure, the reasons of both."""
        comparisons = self._first.compare(pairs)
        unsure = [place for place, comparison in enumerate(comparisons) if comparison.outcome == UNSURE]
        for place, second in zip(unsure, self._second.compare([pairs[place] for place in unsure]), strict=True):
            if second.outcome == UNSURE:
                second = Comparison(UNSURE, f"{comparisons[place].reason}; {second.reason}")
            comparisons[place] = second
        return comparisons


class Dealt:
    """A comparer whose work the processes of a run share: each asks its own about its share, all get all comparisons.

    Args:
      comparer: needs no device, and says of a pair the same whatever it is asked beside.
    """

    def __init__(self, comparer: Comparer):
        self._comparer = comparer
        self.version = comparer.version

    def compare(self, pairs: Sequence[Pair]) -> list[Comparison]:
        """One comparison per pair; every process gives the same pairs."""
        count = jax.process_count()
        shares = gather("comparisons", self._comparer.compare(pairs[jax.process_index() :: count]))
        return [shares[place % count][place // count] for place in range(len(pairs))]


def to_attempts(samples: Sequence[Sample], tokenizer: Tokenizer) -> list[Attempt]:
    """Finished samples as text, as the judge reads them."""
    return [
        Attempt(s.prompt.question, s.prompt.reference, tokenizer.decode_output(s.output), s.finished == LIMIT)
        for s in samples
    ]


def _verdict(pair: Pair, comparison: Comparison) -> Verdict:
    answer = normal_form(pair.predicted)
    if comparison.outcome == UNSURE:
        return Verdict(None, comparison.reason, answer)
    if comparison.outcome == SAME:
        return Verdict(1.0, f"{_short(pair.predicted)}: {comparison.reason}", answer)
    return Verdict(0.0, f"{_short(pair.predicted)}, not {_short(pair.reference)}: {comparison.reason}", answer)


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
