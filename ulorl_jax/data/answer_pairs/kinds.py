"""A category of answers as a table, and how one draws from it two values, each written twice.

The four texts keep the pairs honest. With values v and w, the references r(v), r(w) and the
predictions p(v), p(w) give two pairs that agree and two that do not, and each text is in one
of either: neither one side alone nor a way of writing says anything about the verdict.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import random
import re
import zlib
from collections.abc import Callable
from typing import Any

RESERVED = 5  # one value of this many is kept for the test split
LONGEST = 40  # characters of an answer, and of a justification
LONGEST_SIDE = 20  # characters of an answer inside a justification
P_ALIKE = 0.08  # that both sides have one phrasing: half of these pairs agree letter for letter
P_HELD_OUT_QUESTION = 0.5  # in the test split, which always has a held-out phrasing
VALUE_TRIES, NEAR_TRIES, PHRASING_TRIES = 2000, 40, 12

ENDED = "_"  # in no text of a value

Value = Any  # each category has a type of its own
Form = Callable[[Any, random.Random], str | None]  # None: this value cannot be written so

NOTHING_DRAWN = random.Random(0)  # for forms that draw nothing

NAMES = ("Ann", "Ben", "Carla", "Dev", "Ella", "Finn", "Gita", "Hugo", "Ines", "Jack", "Kira", "Leo")
HELD_OUT_NAMES = ("Mona", "Nils", "Olga", "Pavel", "Rosa")


@dataclasses.dataclass(frozen=True)
class Kind:
    """One category.

    Attributes:
      draw: a value.
      near: a value easily mistaken for the given one; None, or one equal to it: none was found.
      key: a value's canonical text: equal values have equal ones, and only they.
      forms: ways to write a value, by name.
      train, held_out: phrasings: text around one form's name, as in "x = <plain>". In the
        test split every pair has a held-out one.
      questions, held_out_questions: what may be asked; "<name>" stands for a person.
      show: a value as a justification in words writes it; its key where None.
      short: the shortest text that no other value has, for a comparison letter by letter; what is shown,
        without spaces, where None.
      condense: what counts in a value written in one of the forms: then the comparison is in the reference's own
        form, and only the prediction may have to be converted; None compares as `short` writes.
      roundabout: forms that are no easier to write a value in: beside these, too, both are as `short` writes.
      plain: forms that a justification may quote as they are.
      note: why two values differ, where this says more than the two of them; "" else.
      fits: whether two forms may stand beside each other for these two values.
      tiny: whether a value is of so few that combinations of two values and two phrasings are
        divided between the splits, and not the values.
      ask: the question for a reference, from its template.
    """

    draw: Callable[[random.Random], Value]
    near: Callable[[Value, random.Random], Value | None]
    key: Callable[[Value], str]
    forms: dict[str, Form]
    train: tuple[str, ...]
    held_out: tuple[str, ...]
    questions: tuple[str, ...]
    held_out_questions: tuple[str, ...]
    show: Callable[[Value], str] | None = None
    short: Callable[[Value], str] | None = None
    condense: Callable[[str], str] | None = None
    roundabout: frozenset[str] = frozenset()
    plain: frozenset[str] = frozenset()
    note: Callable[[Value, Value], str] = lambda v, w: ""
    fits: Callable[[str, str, Value, Value], bool] = lambda first, second, v, w: True
    tiny: Callable[[Value], bool] = lambda v: False
    ask: Callable[[str, Value, random.Random], str] = lambda template, v, rng: template


@dataclasses.dataclass(frozen=True)
class Side:
    """Two values in one phrasing.

    Attributes:
      phrasing: the phrasing.
      form: the form in it.
      cores: the values in that form.
      texts: the same with what stands around them.
    """

    phrasing: str
    form: str
    cores: tuple[str, str]
    texts: tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Drawing:
    """Two values, each written as a reference and as a prediction.

    Attributes:
      kind: the category.
      values: the two; index 0 and 1 mean them below, too.
      questions: of the pairs whose reference is the one or the other.
      reference, predicted: the texts.
    """

    kind: Kind
    values: tuple[Value, Value]
    questions: tuple[str, str]
    reference: Side
    predicted: Side

    def why(self, reference: int, predicted: int) -> str:
        """A justification of the verdict on one of the four pairs, without the words of the verdict.

        Args:
          reference, predicted: which value each has.

        Returns:
          At most `LONGEST` characters.
        """
        first, second = self._quoted(self.reference, reference), self._quoted(self.predicted, predicted)
        shown = self._shown(reference), self._shown(predicted)
        if reference == predicted:
            texts = [f"both are {first}" if first == second else f"{first} = {second}", f"both are {shown[0]}"]
            otherwise = "the values agree"
        else:
            note = self.kind.note(self.values[reference], self.values[predicted])
            texts = [note] if note else [f"{first} is not {second}", f"{shown[0]} is not {shown[1]}"]
            otherwise = "the values are not equal"
        return next((text for text in texts if len(text) <= LONGEST), otherwise)

    def compared(self, reference: int, predicted: int) -> str:
        """The two values letter by letter, up to the first that differs, as in "11=99=26!".

        Args:
          reference, predicted: which value each has.

        Returns:
          For every letter of the prediction, written as the reference is, that of the reference, and "=" or "!";
          "_" stands where a text has ended.
        """
        if self.kind.condense and self.reference.form not in self.kind.roundabout:
            written = [self.kind.condense(self.reference.cores[index]) for index in (predicted, reference)]
        else:
            written = [self._short(predicted), self._short(reference)]
        parts = []
        for a, b in itertools.zip_longest(*written, fillvalue=ENDED):
            parts.append(f"{a}{b}=" if a == b else f"{a}{b}!")
            if a != b:
                break
        return "".join(parts)

    def _short(self, index: int) -> str:
        return self.kind.short(self.values[index]) if self.kind.short else self._shown(index).replace(" ", "")

    def _quoted(self, side: Side, index: int) -> str:
        core = side.cores[index]
        return core if side.form in self.kind.plain and len(core) <= LONGEST_SIDE else self._shown(index)

    def _shown(self, index: int) -> str:
        return (self.kind.show or self.kind.key)(self.values[index])


def is_reserved(key: str) -> bool:
    """Whether a value belongs to the test split.

    Args:
      key: its canonical text.

    Returns:
      True for one value of `RESERVED`, the same everywhere and always.
    """
    return zlib.crc32(key.encode()) % RESERVED == 0


def draw(kind: Kind, rng: random.Random, *, test: bool) -> Drawing:
    """Draws values, phrasings and a question of one category.

    Args:
      kind: the category.
      rng: of everything drawn.
      test: of which split.

    Returns:
      The four texts with what is known of them.
    """
    for _ in range(VALUE_TRIES):
        value = kind.draw(rng)
        near = _near(kind, value, rng, test) if _belongs(kind, value, test) else None
        if near is None:
            continue
        for _ in range(PHRASING_TRIES):
            drawing = _write(kind, (value, near), rng, test)
            if drawing is not None:
                return drawing
    raise AssertionError(f"no pair in {VALUE_TRIES} tries; phrasings {kind.train[:3]}... leave too little room")


def _belongs(kind: Kind, value: Value, test: bool) -> bool:
    return kind.tiny(value) or is_reserved(kind.key(value)) == test


def _near(kind: Kind, value: Value, rng: random.Random, test: bool) -> Value | None:
    for _ in range(NEAR_TRIES):
        other = kind.near(value, rng)
        if other is not None and _belongs(kind, other, test) and kind.key(other) != kind.key(value):
            return other
    return None


def _write(kind: Kind, values: tuple[Value, Value], rng: random.Random, test: bool) -> Drawing | None:
    """None where the phrasings drawn do not suit the values; the verdict has no part in that."""
    alike = rng.random() < P_ALIKE
    first = rng.choice(kind.held_out if test else kind.train)
    second = first if alike else rng.choice(kind.train + kind.held_out if test else kind.train)
    if (first == second) != alike:
        return None
    # A held-out phrasing is in no training pair, so neither is any combination with one.
    phrasings = (first, second) if not test or rng.random() < 0.5 else (second, first)
    sides = [_side(kind, phrasing, values, rng) for phrasing in phrasings]
    if None in sides:
        return None
    reference, predicted = (side for side in sides if side is not None)
    if not kind.fits(reference.form, predicted.form, *values):
        return None
    if not alike and any(a == b for a, b in zip(reference.texts, predicted.texts, strict=True)):
        return None
    if test and _looks_trained(kind, values, reference if reference.phrasing == first else predicted, rng):
        return None
    held_out = test and rng.random() < P_HELD_OUT_QUESTION
    question = rng.choice(kind.held_out_questions if held_out else kind.questions)
    question = question.replace("<name>", rng.choice(HELD_OUT_NAMES if held_out else NAMES))
    asked = kind.ask(question, values[0], rng), kind.ask(question, values[1], rng)
    return Drawing(kind, values, asked, reference, predicted)


def _side(kind: Kind, phrasing: str, values: tuple[Value, Value], rng: random.Random) -> Side | None:
    before, form, after = _parts(phrasing)
    # Chance orders and extends both alike, so what differs are the values.
    seed = rng.getrandbits(32)
    first, second = (kind.forms[form](value, random.Random(seed)) for value in values)
    if first is None or second is None:
        return None
    texts = before + first + after, before + second + after
    if max(len(texts[0]), len(texts[1])) > LONGEST:
        return None
    return Side(phrasing, form, (first, second), texts)


def _looks_trained(kind: Kind, values: tuple[Value, Value], side: Side, rng: random.Random) -> bool:
    """Whether a text of a held-out phrasing is that of a trained one: "x = 5" has no separator to be told by."""
    trained = [_parts(phrasing) for phrasing in kind.train]
    for value, text in zip(values, side.texts, strict=True):
        for before, form, after in trained:
            fitting = text.startswith(before) and text.endswith(after)
            if fitting and text == before + (kind.forms[form](value, rng) or "") + after:
                return True
    return False


@functools.cache
def _parts(phrasing: str) -> tuple[str, str, str]:
    found = re.fullmatch(r"(.*)<(\w+)>(.*)", phrasing)
    assert found, f"a phrasing names one form as <form>; got {phrasing!r}"
    return found[1], found[2], found[3]
