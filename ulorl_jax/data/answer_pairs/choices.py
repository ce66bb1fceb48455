"""Options of multiple choice, with and without what they stand for."""

from __future__ import annotations

import random

from ulorl_jax.data.answer_pairs.kinds import Form, Kind

LETTERS = "ABCDE"
PHRASES = ("red", "none", "x + 1", "pi", "all", "9 cm", "two", "yes", "2 sqrt(3)", "(1, 2)", "x > 3", "a circle")

Option = tuple[str, str]  # the letter, and what it stands for


def _content(rng: random.Random) -> str:
    shape = rng.random()
    if shape < 0.3:
        return rng.choice(PHRASES)
    number = rng.randint(-9, 99)
    if shape < 0.7:
        return str(number)
    return f"{number}/{rng.randint(2, 9)}" if shape < 0.85 else f"{number}.{rng.randint(1, 9)}"


def _near(option: Option, rng: random.Random) -> Option | None:
    """Another letter with another text: what a right letter with a wrong text is worth is no clear case."""
    letter, content = rng.choice(LETTERS), _content(rng)
    return (letter, content) if letter != option[0] and content != option[1] else None


def _option(style: str) -> Form:
    return lambda option, rng: style.format(letter=option[0], content=option[1])


OPTIONS = Kind(
    draw=lambda rng: (rng.choice(LETTERS), _content(rng)),
    near=_near,
    key=lambda option: option[0],
    forms={
        "letter": _option("{letter}"),
        "round": _option("({letter})"),
        "bracket": _option("{letter}) {content}"),
        "dot": _option("{letter}. {content}"),
        "round_content": _option("({letter}) {content}"),
        "colon": _option("{letter}: {content}"),
    },
    train=(
        "<letter>",
        "<round>",
        "\\text{<letter>}",
        "<bracket>",
        "<dot>",
        "<letter>.",
        "The answer is <letter>",
        "$<round>$",
        "option <letter>",
        "\\text{<round>}",
        "<round_content>",
        "answer: <letter>",
        "\\textbf{<dot>}",
    ),
    held_out=(
        "\\textbf{<round>}",
        "<letter>)",
        "The answer is <round>.",
        "\\text{<dot>}",
        "option <round>",
        "\\textbf{<letter>}",
        "<colon>",
        "answer: <round>",
        "The answer is <bracket>",
    ),
    questions=("Which is right?", "Choose one.", "Which option holds?", "Which one does <name> pick?"),
    held_out_questions=("Pick one.", "Which is true?", "Which option is right?"),
    tiny=lambda option: True,
)
