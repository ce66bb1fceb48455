"""Turns multiple-choice, true/false and proof questions into questions with a short answer."""

from __future__ import annotations

import re

from ulorl_jax.data.choices import multiple_choice
from ulorl_jax.data.decisions import CHANGE, DROP, KEEP, UNSURE, Decision, Row
from ulorl_jax.data.sub_questions import asks, own_words

YES = re.compile(r"\W*(?:\\text\s*\{)?\s*(?:yes|true|correct|right|it is|possible)\b(?!\s*\w)", re.IGNORECASE)
NO = re.compile(r"\W*(?:\\text\s*\{)?\s*(?:no|false|incorrect|wrong|impossible)\b(?!\s*\w)", re.IGNORECASE)
TRUE_OR_FALSE = re.compile(r"\btrue (?:or|/) false\b|\bT/F\b|\banswer (?:with )?\W?(?:yes|true)\W? or\b", re.IGNORECASE)
ANY_DIGIT = re.compile(r"\d")
WITH_PROOF = re.compile(
    r",?\s?\bwith (?:a )?(?:full |complete )?proof\b,?"
    r"|,?\s{0,2}(?:and |don't forget to |be sure to |please )*"
    r"\b(?:prove|justify) (?:that )?your (?:answer|result|claim)(?: is correct)?\b(?=\s*[.,]|\s*\Z)[.,]?"
    r"|,?\s?\band prove (?:it|that it is so)\b(?=\s*[.,]|\s*\Z)",
    re.IGNORECASE,
)
PROOF = re.compile(r"\b(?:prove|show|verify|demonstrate)\b(?: that\b|:|\s*\$|\s*\\)|\bprove\b", re.IGNORECASE)
PROOF_COMMAND = re.compile(r"\b(?:prove|show|verify|demonstrate|justify)\b", re.IGNORECASE)


def question_form(row: Row) -> Decision:
    """Turns a question into short-answer form where a rule can, and finds those that need a reader.

    Args:
      row: question and reference are read.

    Returns:
      KEEP, CHANGE, DROP, ASIDE or UNSURE.
    """
    if decision := multiple_choice(row):
        return decision
    text = own_words(row.question)
    if NO.match(row.answer):  # what would be right is written nowhere
        return Decision(DROP, row, "true/false, and the answer is no")
    if YES.match(row.answer) or (TRUE_OR_FALSE.search(text) and not ANY_DIGIT.search(row.answer)):
        return Decision(UNSURE, row, "true/false")
    without = WITH_PROOF.sub("", row.question)
    if PROOF.search(text) and not asks(PROOF_COMMAND.sub("", text)):
        return Decision(UNSURE, row, "nothing but a proof is asked")
    if without != row.question:
        return Decision(CHANGE, row.with_text(question=without.strip()), "the demand for a proof taken away")
    return Decision(KEEP, row)
