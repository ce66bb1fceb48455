"""Sets, whose order does not matter, and tuples, whose order does."""

from __future__ import annotations

import random
from fractions import Fraction

from ulorl_jax.data.answer_pairs.kinds import LONGEST, Form, Kind
from ulorl_jax.data.answer_pairs.slips import near_fraction, near_integer
from ulorl_jax.data.answer_pairs.written import tex_fraction

LARGEST = 99  # so that "1,234" can be no number with a separator
P_FRACTION = 0.15  # that one of the numbers is not whole

Numbers = tuple[Fraction, ...]


def _draw(rng: random.Random) -> Numbers:
    numbers = range(-30, 60) if rng.random() < 0.7 else range(-9, 10)
    drawn = [Fraction(number) for number in rng.sample(numbers, rng.choice((2, 2, 2, 3, 3, 4)))]
    if rng.random() < P_FRACTION:
        drawn[rng.randrange(len(drawn))] += Fraction(rng.choice((1, -1)), rng.randint(2, 9))
    return tuple(drawn)


def _near(numbers: Numbers, rng: random.Random) -> Numbers | None:
    slip = rng.choice(("element", "element", "element", "dropped", "signs"))
    place = rng.randrange(len(numbers))
    if slip == "dropped":
        return numbers[:place] + numbers[place + 1 :] if len(numbers) > 1 else None
    if slip == "signs":
        return tuple(-number for number in numbers)
    number = numbers[place]
    whole = number.denominator == 1
    other = Fraction(near_integer(number.numerator, rng)) if whole else near_fraction(number, rng)
    if other is None or other in numbers or max(abs(other.numerator), other.denominator) > LARGEST:
        return None
    return (*numbers[:place], other, *numbers[place + 1 :])


def _near_tuple(numbers: Numbers, rng: random.Random) -> Numbers | None:
    if len(numbers) < 2 or rng.random() < 0.5:
        other = _near(numbers, rng)
        return other if other and len(other) > 1 else None
    first, second = rng.sample(range(len(numbers)), 2)
    swapped = list(numbers)
    swapped[first], swapped[second] = swapped[second], swapped[first]
    return tuple(swapped)


def _texts(numbers: Numbers, tex: bool) -> list[str]:
    return [tex_fraction(number) if tex and number.denominator > 1 else str(number) for number in numbers]


def _set(link: str, before: str = "", after: str = "", last: str | None = None) -> Form:
    """In any order."""
    tex = "\\" in before

    def write(numbers: Numbers, rng: random.Random) -> str:
        texts = _texts(tuple(rng.sample(numbers, len(numbers))), tex)
        if last is not None and len(texts) > 1:
            return before + link.join(texts[:-1]) + last + texts[-1] + after
        return before + link.join(texts) + after

    return write


def _listed(numbers: Numbers) -> str:
    return ", ".join(map(str, numbers))


def _show_set(numbers: Numbers) -> str:
    return "{" + _listed(tuple(sorted(numbers))) + "}"


def _note_set(v: Numbers, w: Numbers) -> str:
    """A number that only one of them has, where both together are too long."""
    if len(f"{_show_set(v)} is not {_show_set(w)}") <= LONGEST:
        return ""
    return f"only one has {min(set(v) ^ set(w))}"


SETS = Kind(
    draw=_draw,
    near=_near,
    key=_show_set,
    short=lambda numbers: ",".join(map(str, sorted(numbers))),
    forms={
        "braces": _set(", ", "{", "}"),
        "tight": _set(",", "{", "}"),
        "tex": _set(", ", "\\{", "\\}"),
        "tex_tight": _set(",", "\\{", "\\}"),
        "left": _set(", ", "\\left\\{", "\\right\\}"),
        "list": _set(", "),
        "list_tight": _set(","),
        "and": _set(", ", last=" and "),
        "or": _set(" or x=", "x="),
        "or_spaced": _set(" or x = ", "x = "),
        "or_list": _set(" or "),
        "equations": _set(", x=", "x="),
        "semicolons": _set("; "),
    },
    train=(
        "<braces>",
        "$<tex>$",
        "<list>",
        "<and>",
        "<or>",
        "<tight>",
        "x = <list_tight>",
        "x \\in <tex>",
        "<semicolons>",
        "<left>",
        "x = <or_list>",
        "$<left>$",
    ),
    held_out=(
        "<tex>",
        "<equations>",
        "$<list>$",
        "<or_spaced>",
        "<tex_tight>",
        "x = <and>",
        "<list_tight>",
        "x \\in <left>",
        "<or_list>",
    ),
    questions=("Find all x.", "Which x solve it?", "List all solutions.", "What are the roots?"),
    held_out_questions=("Give all solutions.", "Find the roots.", "Which numbers work?"),
    plain=frozenset({"braces", "list", "and", "or_list"}),
    note=_note_set,
)


def _tuple(link: str, before: str, after: str) -> Form:
    tex = "\\" in before
    return lambda numbers, rng: before + link.join(_texts(numbers, tex)) + after


def _coordinates(equals: str) -> Form:
    def write(numbers: Numbers, rng: random.Random) -> str | None:
        if len(numbers) > 3:
            return None
        return ", ".join(f"{letter}{equals}{number}" for letter, number in zip("xyz", numbers, strict=False))

    return write


def _equation(numbers: Numbers, rng: random.Random) -> str | None:
    return f"({','.join('xyz'[: len(numbers)])}) = ({_listed(numbers)})" if len(numbers) < 4 else None


def _matrix(name: str, gap: str) -> Form:
    return _tuple(f"{gap}\\\\{gap}", f"\\begin{{{name}}}", f"\\end{{{name}}}")


TUPLES = Kind(
    draw=_draw,
    near=_near_tuple,
    key=lambda numbers: f"({_listed(numbers)})",
    short=lambda numbers: ",".join(map(str, numbers)),
    forms={
        "round": _tuple(", ", "(", ")"),
        "tight": _tuple(",", "(", ")"),
        "left": _tuple(",", "\\left(", "\\right)"),
        "left_spaced": _tuple(", ", "\\left(", "\\right)"),
        "angle": _tuple(", ", "\\langle ", " \\rangle"),
        "angle_tight": _tuple(",", "\\langle ", "\\rangle"),
        "coordinates": _coordinates("="),
        "coordinates_spaced": _coordinates(" = "),
        "equation": _equation,
        "semicolons": _tuple("; ", "(", ")"),
        "pmatrix": _matrix("pmatrix", " "),
        "pmatrix_tight": _matrix("pmatrix", ""),
        "bmatrix": _matrix("bmatrix", ""),
    },
    train=(
        "<round>",
        "<tight>",
        "<left>",
        "$<round>$",
        "<angle>",
        "<coordinates>",
        "<equation>",
        "<round>.",
        "<semicolons>",
        "The answer is <tight>",
        "<pmatrix>",
        "$<bmatrix>$",
    ),
    held_out=(
        "$<tight>$",
        "<left_spaced>",
        "<coordinates_spaced>",
        "$<left>$",
        "<angle_tight>",
        "$<equation>$",
        "<tight>.",
        "<pmatrix_tight>",
        "<bmatrix>",
    ),
    questions=("Find the point.", "Find (x, y).", "What is the vertex?", "Give the vector.", "Where do they meet?"),
    held_out_questions=("Find the vector.", "Where is the vertex?", "Give the point."),
    plain=frozenset({"round", "tight"}),
    note=lambda v, w: "order matters" if sorted(v) == sorted(w) else "",
)
