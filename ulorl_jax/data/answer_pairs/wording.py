"""Answers in words: people, things, colours and shapes, yes and no, no solution."""

from __future__ import annotations

import difflib
import functools
import random
from collections.abc import Callable

from ulorl_jax.data.answer_pairs.kinds import Form, Kind
from ulorl_jax.data.answer_pairs.word_lists import (
    COLOURS,
    FIELDS,
    NOTHING,
    SHAPES,
    SOMETHING,
    SPOKEN_NOTHING,
    TINY,
    WRITTEN_NOTHING,
)

WORDS = {field: tuple(dict.fromkeys(text.split())) for field, text in FIELDS.items()}
FIELD_OF = {word: field for field in ("places", "mathematics", "things", "surnames", "names") for word in WORDS[field]}
TINY_OF = {word: group for group in TINY for word in group}
PAIRED = {"person": (WORDS["names"], WORDS["surnames"]), "thing": (COLOURS, SHAPES)}
NEIGHBOURS = 25  # of a word in its field, of which the nearest are drawn most

# A value is a tuple of one word or two; what is in TINY_OF or is about solutions is tiny.
Words = tuple[str, ...]


def _draw(rng: random.Random) -> Words:
    shape = rng.random()
    if shape < 0.08:
        return (NOTHING,)
    if shape < 0.2:
        return (rng.choice(rng.choice(TINY)),)
    if shape < 0.5:
        return tuple(rng.choice(words) for words in PAIRED[rng.choice(("person", "thing"))])
    return (rng.choice(WORDS[rng.choice(tuple(WORDS))]),)


def _near(value: Words, rng: random.Random) -> Words | None:
    if value == (NOTHING,):
        return (rng.choice(SOMETHING),)
    if value[0] in TINY_OF and len(value) == 1:
        return (rng.choice(TINY_OF[value[0]]),)
    place = rng.randrange(len(value))
    other = list(value)
    other[place] = _neighbour(value[place], rng)
    return tuple(other)


def _neighbour(word: str, rng: random.Random) -> str:
    near = _neighbours(word)
    return near[int(len(near) * rng.random() ** 2)]


@functools.cache
def _neighbours(word: str) -> tuple[str, ...]:
    """Other words of its field, those with the most letters in common first."""
    field = COLOURS if word in COLOURS else SHAPES if word in SHAPES else WORDS[FIELD_OF[word]]
    others = [other for other in field if other.casefold() != word.casefold()]

    def likeness(other: str) -> float:
        return difflib.SequenceMatcher(None, word.casefold(), other.casefold(), autojunk=False).ratio()

    return tuple(sorted(others, key=likeness, reverse=True)[:NEIGHBOURS])


def _is_tiny(value: Words) -> bool:
    return len(value) == 1 and (value[0] in TINY_OF or value[0] == NOTHING or value[0] in SOMETHING)


def _capitalized(text: str) -> str:
    return text[0].upper() + text[1:]


def _word(change: Callable[[str], str], nothing: tuple[str, ...] = SPOKEN_NOTHING) -> Form:
    """No solution is written in several ways, those in symbols only where they can stand alone."""
    return lambda value, rng: change(rng.choice(nothing) if value == (NOTHING,) else " ".join(value))


TEXT = Kind(
    draw=_draw,
    near=_near,
    key=lambda value: " ".join(value).casefold(),
    short=lambda value: " ".join(value).casefold(),
    forms={
        "any": _word(str, WRITTEN_NOTHING),
        "word": _word(str),
        "lower": _word(str.lower),
        "upper": _word(str.upper),
        "capital": _word(_capitalized),
    },
    train=(
        "<any>",
        "<lower>",
        "<upper>",
        "<capital>",
        "\\text{<word>}",
        "<word>.",
        "The answer is <word>",
        '"<word>"',
        "$<any>$",
        "\\textbf{<lower>}",
        "answer: <word>",
    ),
    held_out=(
        "\\text{<capital>}",
        "<upper>.",
        "\\textbf{<capital>}",
        "\\textbf{<upper>}",
        "The answer is <capital>.",
        '"<capital>"',
        "\\text{<upper>}",
        "answer: <lower>",
        "\\text{<lower>}",
    ),
    questions=("Who is it?", "Which one is it?", "What is it?", "Which word fits?", "Is it so?"),
    held_out_questions=("Who won?", "What do we call it?", "Which word is meant?"),
    tiny=_is_tiny,
)
