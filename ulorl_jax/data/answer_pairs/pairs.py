"""Pairs of answers with their verdicts: what the generative verifier learns from, and is tested on.

A pair is one of the four of a `kinds.Drawing`. The test split has values and phrasings that the
train split never shows.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable

from ulorl_jax.data.answer_pairs import kinds
from ulorl_jax.data.answer_pairs.categories import CATEGORIES

SPLITS = ("train", "test")
WORDS, LETTERS = "words", "letters"
JUSTIFICATIONS = (WORDS, LETTERS)


@dataclasses.dataclass(frozen=True)
class AnswerPair:
    """Two answers to one question, and whether they are the same.

    Attributes:
      question: the problem's text, short; "" where it is not known.
      reference: the true answer.
      predicted: the answer to be judged.
      same: whether a teacher would accept the one for the other.
      category: a name of `CATEGORIES`, or of a file's own.
      why: a justification, true, without the words of the verdict; "" where there is none.
    """

    question: str
    reference: str
    predicted: str
    same: bool
    category: str
    why: str


def generate_pairs(count: int, *, seed: int, split: str, why: str = WORDS) -> list[AnswerPair]:
    """Draws pairs, as many of each category and verdict as can be, in random order.

    Args:
      count: pairs, >= 0. Fewer are the first of more.
      seed: of everything drawn, >= 0.
      split: "train", or "test": values and phrasings that "train" never shows.
      why: what justifies the verdicts: "words", as in "3/4 is not 4/3", or "letters", both values side by side up
        to where they differ, as in "34!", the prediction's letter first; the pairs are the same.

    Returns:
      The pairs; the same for the same arguments.

    Raises:
      ValueError: an argument is none of these.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}; got {split!r}")
    if why not in JUSTIFICATIONS:
        raise ValueError(f"why must be one of {JUSTIFICATIONS}; got {why!r}")
    if count < 0 or seed < 0:
        raise ValueError(f"count and seed must not be negative; got count={count}, seed={seed}")
    rng = random.Random(f"{seed}/{split}")
    wanted = [(category, same) for category in CATEGORIES for same in (True, False)]
    pairs: list[AnswerPair] = []
    while len(pairs) < count:  # every round has each category once with either verdict
        rng.shuffle(wanted)
        pairs += [_pair(category, same, rng, split == "test", why) for category, same in wanted]
    return pairs[:count]


def to_rows(pairs: Iterable[AnswerPair]) -> list[dict[str, str | bool]]:
    """The pairs as rows of a JSONL file.

    Args:
      pairs: any.

    Returns:
      One dict per pair: "question", "reference", "predicted", "same", "category", "why".
    """
    return [dataclasses.asdict(pair) for pair in pairs]


def _pair(category: str, same: bool, rng: random.Random, test: bool, why: str) -> AnswerPair:
    drawing = kinds.draw(CATEGORIES[category], rng, test=test)
    reference = rng.randrange(2)
    predicted = reference if same else 1 - reference  # only now: the verdict had no part in what was drawn
    return AnswerPair(
        question=drawing.questions[reference],
        reference=drawing.reference.texts[reference],
        predicted=drawing.predicted.texts[predicted],
        same=same,
        category=category,
        why=(drawing.why if why == WORDS else drawing.compared)(reference, predicted),
    )
