"""Equivalent and nearly equivalent answers, generated with their verdicts."""

from ulorl_jax.data.answer_pairs.categories import CATEGORIES
from ulorl_jax.data.answer_pairs.pairs import JUSTIFICATIONS, AnswerPair, generate_pairs, to_rows

__all__ = ["CATEGORIES", "JUSTIFICATIONS", "AnswerPair", "generate_pairs", "to_rows"]
