"""Pairs of answers with their verdicts, from files and from the generator, and as samples to learn from."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ulorl_jax.data.answer_pairs import AnswerPair, generate_pairs
from ulorl_jax.io.rows import field, read_rows, text_field
from ulorl_jax.io.tokenizer import Tokenizer
from ulorl_jax.ops.packing import first_fit_decreasing
from ulorl_jax.supervised import worked_sample
from ulorl_jax.types import Sample
from ulorl_jax.verify.comparison import DIFFERENT, SAME, Pair
from ulorl_jax.verify.verifier_prompt import VerifierPrompt

VERDICTS = {"same": True, "different": False, "true": True, "false": False, "1": True, "0": False, "1.0": True} | {
    "0.0": False,
    "yes": True,
    "no": False,
}


@dataclasses.dataclass(frozen=True)
class PairFileSettings:
    """A file of judged pairs, and the names of its fields; "" where it has none."""

    path: str
    question_field: str
    reference_field: str
    predicted_field: str
    same_field: str
    category_field: str
    why_field: str


@dataclasses.dataclass(frozen=True)
class PairDataSettings:
    """What is learned from, and what is measured on."""

    generate: int
    test_generate: int
    why: str
    train: dict[str, PairFileSettings]
    test: dict[str, PairFileSettings]


def read_pairs(settings: PairDataSettings, split: str, seed: int) -> list[AnswerPair]:
    """All pairs of a split: the generated ones, then those of the files.

    Args:
      settings: how many, and which files.
      split: "train" or "test"; generated pairs of the two share neither values nor phrasings.
      seed: of the generated pairs.

    Returns:
      The pairs; a file's row without a category has the file's name.

    Raises:
      ValueError: there is no pair, or a row is broken; names the file and the row.
    """
    count, files = (settings.generate, settings.train) if split == "train" else (settings.test_generate, settings.test)
    pairs = generate_pairs(count, seed=seed, split=split, why=settings.why) if count else []
    for name, file in files.items():
        pairs += [_pair(row, file, name, where) for where, row in read_rows(file.path)]
    if not pairs:
        key = "data.generate" if split == "train" else "data.test_generate"
        raise ValueError(f"there are no pairs to {split} on; set {key} to a number, or name files in data.{split}")
    return pairs


def encode_pairs(
    pairs: Sequence[AnswerPair], tokenizer: Tokenizer, prompt: VerifierPrompt, reasoned: np.ndarray, row_length: int
) -> tuple[list[Sample], dict[str, int]]:
    """Pairs as worked samples.

    Args:
      pairs: what to learn.
      tokenizer: of the verifier.
      prompt: what it is asked.
      reasoned: `[len(pairs)]` bool, which of them are learned with a justification; one without a why is not.
      row_length: tokens; longer samples are left out.

    Returns:
      The samples, and how many pairs were left out, by reason.
    """
    samples, left_out = [], {}
    for index, (pair, justified) in enumerate(zip(pairs, reasoned, strict=True)):
        justified = bool(justified and pair.why)
        try:
            question = prompt.encode(tokenizer, to_pair(pair), justified)
            answer = tokenizer.encode_output(prompt.target(pair.same, pair.why, justified))
        except ValueError as error:
            why = type(error).__name__
        else:
            if len(question) + len(answer) <= row_length:
                samples.append(worked_sample(index, question, answer))
                continue
            why = "longer than a row"
        left_out[why] = left_out.get(why, 0) + 1
    return samples, left_out


class PairStream:
    """Updates of full rows from passes over the pairs, each pass in an order of its own.

    Args:
      pairs: what to learn.
      tokenizer: of the verifier.
      prompt: what it is asked.
      reasoned: probability of a justification where a pair has one.
      rows: of an update.
      row_length: tokens; longer samples are left out.
      seed: of orders and justifications.

    Attributes:
      seen, left_out: pairs taken or left out so far, and those left out by reason; set at the start, the stream goes on
        where another one was.
    """

    def __init__(
        self,
        pairs: Sequence[AnswerPair],
        tokenizer: Tokenizer,
        prompt: VerifierPrompt,
        *,
        reasoned: float,
        rows: int,
        row_length: int,
        seed: int,
    ):
        self._pairs, self._tokenizer, self._prompt = pairs, tokenizer, prompt
        self._reasoned, self._rows, self._row_length, self._seed = reasoned, rows, row_length, seed
        self._passes: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._ahead: list[tuple[Sample, int]] = []  # not taken yet, and where the stream stands after each
        self.seen = 0
        self.left_out: dict[str, int] = {}
        self._skipped: list[tuple[int, str]] = []  # beyond `seen`: where, and why

    def next_update(self) -> list[Sample]:
        """As many of the next pairs, in their order, as fill the rows.

        Returns:
          Samples that `ops.packing.pack` puts into `rows` rows at most.

        Raises:
          ValueError: no pair fits a row.
        """
        ahead = self._ahead
        at = ahead[-1][1] if ahead else self.seen
        while sum(sample.context_length for sample, _ in ahead) <= self._rows * self._row_length:
            if not ahead and at - self.seen >= len(self._pairs):
                raise ValueError(
                    f"no pair can be learned from, left out are {dict(Counter(why for _, why in self._skipped))}; "
                    "set updates.row_length or prompt.max_answer to more"
                )
            sample = self._sample(at)
            at += 1
            if sample is not None:
                ahead.append((sample, at))
        sizes = np.array([sample.context_length for sample, _ in ahead])
        count = len(ahead) - 1
        while len(first_fit_decreasing(sizes[:count], self._row_length)) > self._rows:
            count -= 1
        taken, self._ahead = ahead[:count], ahead[count:]
        self.seen = taken[-1][1]
        for why in (why for at, why in self._skipped if at < self.seen):
            self.left_out[why] = self.left_out.get(why, 0) + 1
        self._skipped = [(at, why) for at, why in self._skipped if at >= self.seen]
        return [sample for sample, _ in taken]

    def _sample(self, at: int) -> Sample | None:
        number, place = divmod(at, len(self._pairs))
        order, justified = self._pass(number)
        chosen = [self._pairs[order[place]]]
        samples, left_out = encode_pairs(
            chosen, self._tokenizer, self._prompt, justified[place : place + 1], self._row_length
        )
        self._skipped += [(at, why) for why in left_out]
        return samples[0] if samples else None

    def _pass(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The order of a pass, and which of its pairs are justified."""
        if number not in self._passes:
            rng = np.random.default_rng([self._seed, number])
            drawn = rng.permutation(len(self._pairs)), rng.random(len(self._pairs)) < self._reasoned
            self._passes = {number: drawn} | {k: v for k, v in self._passes.items() if k == number - 1}
        return self._passes[number]


def to_pair(pair: AnswerPair) -> Pair:
    """What a comparer is given of a judged pair."""
    return Pair(pair.question, pair.reference, pair.predicted)


def _pair(row: Mapping[str, Any], file: PairFileSettings, name: str, where: str) -> AnswerPair:
    def text(key: str, default: str = "") -> str:
        return text_field(row, key, where) if key else default

    given = field(row, file.same_field, where)
    verdict = VERDICTS.get(str(given).strip().lower())
    if verdict is None:
        raise ValueError(
            f"{where}: the field {file.same_field!r} must be a verdict, one of true and false, {SAME!r} and "
            f"{DIFFERENT!r}, yes and no, 1 and 0; got {given!r}"
        )
    return AnswerPair(
        question=text(file.question_field),
        reference=text(file.reference_field),
        predicted=text(file.predicted_field),
        same=verdict,
        category=text(file.category_field, name),
        why=text(file.why_field),
    )
