"""Intervals, written with brackets and as inequalities."""

from __future__ import annotations

import random

from ulorl_jax.data.answer_pairs.kinds import NOTHING_DRAWN, Form, Kind
from ulorl_jax.data.answer_pairs.slips import near_integer

LARGEST = 99  # so that "(1,234)" can be no number with a separator

# (low, high, low is in, high is in), None for infinity; a value is one, or two: a union.
Span = tuple[int | None, int | None, bool, bool]
Spans = tuple[Span, ...]


def _draw(rng: random.Random) -> Spans:
    low = rng.randint(-20, 20)
    high = low + rng.randint(1, 15)
    first, second = rng.random() < 0.5, rng.random() < 0.5
    shape = rng.random()
    if shape < 0.6:
        return ((low, high, first, second),)
    if shape < 0.72:
        return ((None, high, False, second),)
    if shape < 0.84:
        return ((low, None, first, False),)
    return ((None, low, False, first), (high, None, second, False))


def _near(spans: Spans, rng: random.Random) -> Spans | None:
    place = rng.randrange(len(spans))
    low, high, low_in, high_in = spans[place]
    slip = rng.choice(("kind", "kind", "kind", "bound", "bound", "mirror", "turned"))
    at_low = high is None or (low is not None and rng.random() < 0.5)
    if slip == "kind":
        low_in, high_in = (not low_in, high_in) if at_low else (low_in, not high_in)
    elif slip == "mirror":
        low, high = None if high is None else -high, None if low is None else -low
        low_in, high_in = high_in, low_in
    elif slip == "turned" and (low is None or high is None):
        low, high, low_in, high_in = high, low, high_in, low_in
    elif at_low and low is not None:
        low = near_integer(low, rng)
    elif high is not None:
        high = near_integer(high, rng)
    return _sound((*spans[:place], (low, high, low_in, high_in), *spans[place + 1 :]))


def _sound(spans: Spans) -> Spans | None:
    """The spans, where each has a length and one ends before the next begins."""
    bounds = [bound for low, high, _, _ in spans for bound in (low, high)]
    inner = [bound for bound in bounds if bound is not None]
    if None in bounds[1:-1] or inner != sorted(set(inner)) or max(map(abs, inner)) > LARGEST:
        return None
    return spans


def _brackets(infinity: str, union: str = " \\cup ", comma: str = ",", turned: bool = False) -> Form:
    opening, closing = ("][", "[]") if turned else ("([", ")]")

    def write(spans: Spans, rng: random.Random) -> str | None:
        if turned and any(bound is None for low, high, _, _ in spans for bound in (low, high)):
            return None
        texts = []
        for low, high, low_in, high_in in spans:
            left = "-" + infinity if low is None else low
            right = infinity if high is None else high
            texts.append(f"{opening[low_in]}{left}{comma}{right}{closing[high_in]}")
        return union.join(texts)

    return write


def _inequality(signs: tuple[str, str, str, str], link: str) -> Form:
    """With signs for less, at most, more and at least."""
    less, more = signs[:2], signs[2:]

    def write(spans: Spans, rng: random.Random) -> str:
        texts = []
        for low, high, low_in, high_in in spans:
            if low is None:
                texts.append(f"x{less[high_in]}{high}")
            elif high is None:
                texts.append(f"x{more[low_in]}{low}")
            else:
                texts.append(f"{low}{less[low_in]}x{less[high_in]}{high}")
        return link.join(texts)

    return write


def _mirrored(spans: Spans, rng: random.Random) -> str | None:
    """As "3 > x"."""
    (low, high, low_in, high_in), *others = spans
    if others:
        return None
    if low is None:
        return f"{high} {'>=' if high_in else '>'} x"
    if high is None:
        return f"{low} {'<=' if low_in else '<'} x"
    return f"{high} {'>=' if high_in else '>'} x {'>=' if low_in else '>'} {low}"


def _show(spans: Spans) -> str:
    return _brackets("inf", " U ", ", ")(spans, NOTHING_DRAWN) or ""


def _note(v: Spans, w: Spans) -> str:
    """Which part of a union is wrong."""
    if len(v) == len(w) == 1:
        return ""
    return next(f"{_show((a,))} is not {_show((b,))}" for a, b in zip(v, w, strict=True) if a != b)


SPACED = (" < ", " <= ", " > ", " >= ")
TEX = (" < ", " \\le ", " > ", " \\ge ")
INTERVALS = Kind(
    draw=_draw,
    near=_near,
    key=_show,
    short=lambda spans: _show(spans).replace(" ", "").replace("inf", "i"),
    forms={
        "brackets": _brackets("\\infty"),
        "spaced": _brackets("\\infty", comma=", "),
        "oo": _brackets("oo", " U "),
        "inf": _brackets("inf", " U ", ", "),
        "sign": _brackets("∞", " ∪ ", ", "),
        "sign_tight": _brackets("∞", "∪"),
        "turned": _brackets("", turned=True),
        "turned_spaced": _brackets("", comma=", ", turned=True),
        "less": _inequality(SPACED, " or "),
        "tight": _inequality(("<", "<=", ">", ">="), " or "),
        "tex": _inequality(TEX, " \\text{ or } "),
        "leq": _inequality(("<", "\\leq ", ">", "\\geq "), " \\text{ or } "),
        "unicode": _inequality((" < ", " ≤ ", " > ", " ≥ "), " or "),
        "unicode_tight": _inequality(("<", "≤", ">", "≥"), " or "),
        "mirrored": _mirrored,
    },
    train=(
        "<brackets>",
        "<spaced>",
        "$<brackets>$",
        "<less>",
        "<tight>",
        "$<tex>$",
        "x \\in <brackets>",
        "<turned>",
        "<oo>",
        "<mirrored>",
        "$<leq>$",
        "<inf>",
        "<sign>",
        "<unicode>",
    ),
    held_out=(
        "x \\in <spaced>",
        "<inf>.",
        "<tex>",
        "$<spaced>$",
        "<leq>",
        "$<turned>$",
        "<turned_spaced>",
        "<less>.",
        "x \\in <oo>",
        "<sign_tight>",
        "<unicode_tight>",
    ),
    questions=("Solve for x.", "Find the domain.", "For which x does it hold?", "Where is f positive?"),
    held_out_questions=("Solve the inequality.", "Find the range.", "Give all x."),
    plain=frozenset({"oo", "inf", "less", "tight", "mirrored"}),
    note=_note,
)
