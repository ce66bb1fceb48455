r"""Whether two answers are the same, by rules: guards and exact readers in front, math-verify behind.

The rules are asked in the order of `RULES`; each decides or passes on, and the reason of a comparison names the one
that decided. "Different" is said only where both answers were understood in full; else nothing is decided.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ulorl_jax.verify import (
    algebra,
    collections,
    conversions,
    families,
    intervals,
    labels,
    matrices,
    nothing,
    numbers,
    numerals,
    quantities,
    sentences,
    texts,
    times,
)
from ulorl_jax.verify.asking import Ask, NotQuick
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Comparison, Pair
from ulorl_jax.verify.expressions import names_in, names_of, readings
from ulorl_jax.verify.numbers import rational
from ulorl_jax.verify.spelling import MAX_CHARACTERS, compact, depth_of, even_out, is_hidden, plain
from ulorl_jax.verify.workers import WorkerPool

MEMORY_MB = 2048  # of a worker: sympy takes 150
DIGITS = 100  # of a sum or an integral without a closed form
MOST_DIGITS = 1000  # of a number in a normal form
FOR_MATH_VERIFY = re.compile(r"\\(?:int|sum|prod|lim|max|min|gcd|det)(?![A-Za-z])")
# What math-verify reads otherwise than people do: words, decimals (as floats), bases, percent, 2(3), capitals.
# And what may take it forever: powers of powers, long numbers, factorials.
NOT_FOR_MATH_VERIFY = re.compile(r"[A-Za-z]{3,}|\.|\d\s*_|%|°|\d\s*\(|[A-Z]|\^[^+=-]*\^|\d{4}|!")
NAME_OF_SEGMENT = re.compile("[A-Z]{2,3}")
COMMANDS = re.compile(r"\\[A-Za-z]+")


def compare(reference: str, predicted: str) -> Comparison:
    """Compares two answers. Pure; may take long or much memory, so it is for a worker with a deadline.

    Args:
      reference: the true answer, as the data writes it.
      predicted: the answer that was read out of an output.

    Returns:
      `SAME` or `DIFFERENT` where a rule is sure, else `UNSURE`; the reason begins with the rule's name.
    """
    return _decide_whole(reference, predicted, is_quick=False)


def decide_quickly(reference: str, predicted: str) -> Comparison | None:
    """What `compare` says, where that is cheap; None where it is for a worker.

    Cheap and bounded whatever the texts are: no sympy, no loop over them that is not of a few hundred characters.
    """
    try:
        return _decide_whole(reference, predicted, is_quick=True)
    except NotQuick:
        return None


def compare_pair(pair: tuple[str, str]) -> Comparison:
    """`compare` of (reference, predicted): the workers' function."""
    return compare(*pair)


def normal_form(answer: str) -> str:
    r"""One spelling for equal answers where that is cheap, for majority votes: "7/2" of "3.50" and "\dfrac{7}{2}".

    Args:
      answer: as it was read; beyond `MAX_CHARACTERS` it is cut off.

    Returns:
      A reduced fraction or an integer; the text in one spelling where it is no number; "" where nothing is left.
    """
    text = even_out(answer[:MAX_CHARACTERS])
    bare = re.sub(r"^([-+]?)\$", r"\1", text).removesuffix("°")  # units that a single answer is at times written with
    value = rational(bare.strip())
    if value is not None and max(value.numerator.bit_length(), value.denominator.bit_length()) < 3 * MOST_DIGITS:
        return str(value)
    return compact(plain(text) if not re.search(r"\d", text) else text)


class Rules:
    """A `Comparer` by rules: the quick ones in this process, the others in a pool of workers.

    Args:
      workers: processes at most.
      deadline_s: seconds that one comparison may take in a worker.
    """

    version = "rules-4"

    def __init__(self, *, workers: int, deadline_s: float):
        self._pool = WorkerPool(compare_pair, workers=workers, deadline_s=deadline_s, memory_mb=MEMORY_MB)

    def compare(self, pairs: Sequence[Pair]) -> list[Comparison]:
        """One comparison per pair, in their order; equal pairs are compared once. What fails is `UNSURE`."""
        asked = [(pair.reference, pair.predicted) for pair in pairs]
        found: dict[tuple[str, str], Comparison] = {}
        slow: list[tuple[str, str]] = []
        for answers in dict.fromkeys(asked):
            decided = decide_quickly(*answers)
            if decided is None:
                slow.append(answers)
            else:
                found[answers] = decided
        if slow:
            for answers, result in zip(slow, self._pool.map(slow), strict=True):
                found[answers] = Comparison(UNSURE, f"rules: {result.error}") if result.error else result.value
        return [found[answers] for answers in asked]

    def close(self) -> None:
        """Ends the workers."""
        self._pool.close()

    def __enter__(self) -> Rules:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _decide_whole(reference: str, predicted: str, is_quick: bool) -> Comparison:
    """The guards before anything is read, then the rules."""
    if not reference.strip():
        return Comparison(UNSURE, "empty: the reference holds no answer")
    if reference == predicted:
        return Comparison(SAME, "text: equal")
    if not predicted.strip():
        return Comparison(DIFFERENT, "empty: no answer")
    if max(len(reference), len(predicted)) > MAX_CHARACTERS:
        return Comparison(UNSURE, f"length: more than {MAX_CHARACTERS} characters")
    if is_hidden(reference) or is_hidden(predicted):
        return Comparison(UNSURE, "text: holds characters that are not seen")
    return _decide(even_out(reference), even_out(predicted), Ask(_decide, is_quick))


def _decide(a: str, b: str, ask: Ask) -> Comparison:
    for name, rule in RULES:
        found = rule(a, b, ask)
        if found is not None:
            return Comparison(found.outcome, found.reason if ask.depth else f"{name}: {found.reason}")
    return Comparison(UNSURE, "" if ask.depth else "no rule applies")


def _equal_spelling(a: str, b: str, ask: Ask) -> Comparison | None:
    if not a or not b:
        return Comparison(UNSURE, "nothing but signs")
    return Comparison(SAME, "equal but for spelling") if compact(a) == compact(b) else None


def _formulas(a: str, b: str, ask: Ask) -> Comparison | None:
    if not readings(a) or not readings(b):
        return None
    if any(NAME_OF_SEGMENT.fullmatch(x) and rational(y) is not None for x, y in ((a, b), (b, a))):
        return Comparison(UNSURE, "letters that may stand for a number: AB, IV")
    ask.needs_worker()
    for text, other in ((a, b), (b, a)):
        if "[" in text and r"\sqrt[" not in text and r"\lfloor" in other and r"\lfloor" not in text:
            whole = text.replace("[", r"\lfloor ").replace("]", r"\rfloor ")  # Gauss's brackets
            return algebra.compare_formulas(whole, other)
    return algebra.compare_formulas(a, b)


def _relations(a: str, b: str, ask: Ask) -> Comparison | None:
    if algebra.relation_of(a) is None or algebra.relation_of(b) is None:
        return None
    ask.needs_worker()
    return algebra.compare_relations(a, b)


def _math_verify(a: str, b: str, ask: Ask) -> Comparison | None:
    r"""math-verify's "same" of what no reader here knows: integrals, sums, limits. Its "different" proves nothing."""
    if not FOR_MATH_VERIFY.search(a + b) or depth_of(a) is None or depth_of(b) is None:
        return None
    if any(NOT_FOR_MATH_VERIFY.search(COMMANDS.sub(" ", text)) or r"\text" in text for text in (a, b)):
        return None
    if not (readings(a) or readings(b)):
        return None
    ask.needs_worker()
    from latex2sympy2_extended import NormalizationConfig, latex2sympy
    from math_verify import verify

    # Its own way from a text to a formula drops what it cannot read; its parser raises.
    as_it_is = NormalizationConfig(False, False, False, False, "none", False)
    parsed: list[Any]
    try:
        parsed = [latex2sympy(text, normalization_config=as_it_is) for text in (a, b)]
    except Exception:  # the grammar's errors are bare Exceptions, sympy's are of all kinds
        return None
    # No alarm: the pool's deadline serves.
    both = all(verify(*order, numeric_precision=DIGITS, timeout_seconds=None) for order in (parsed, parsed[::-1]))
    return Comparison(SAME if both else UNSURE, "equal" if both else "not seen to be equal")


def _kinds(a: str, b: str, ask: Ask) -> Comparison | None:
    """Answers of two kinds, both understood in full: a matrix and a number, a word and an interval."""
    kinds = _kind_of(a), _kind_of(b)
    if None in kinds or kinds[0] == kinds[1] or set(kinds) in ({"matrix", "formula"}, {"equation", "formula"}):
        return None
    return Comparison(DIFFERENT, f"{kinds[0]} and {kinds[1]}")


def _kind_of(text: str) -> str | None:
    if texts.is_ordinary_word(text):
        return "word"
    if matrices.is_matrix(text):
        return "matrix"
    if (pieces := intervals.pieces_of(text)) is not None:
        return "tuple" if pieces.is_pair else "interval"
    if (parts := collections.parts_of(text)) is not None:
        return "tuple" if parts.kind == "tuple" and all(map(readings, parts.members)) else None
    if (relation := algebra.relation_of(text)) is not None and labels.label_of(text) is None:
        names = names_in(relation[0]) | names_in(relation[2])
        return "equation" if len(names) > 1 else None  # 2x = 10 may stand for 5
    if (parts := numbers.ratio(text)) is not None and len(parts) > 2:
        return "ratio"
    counted = quantities.quantity(text)
    value = counted.value if counted is not None and counted.is_sure else text
    trees = readings(value)
    if rational(value) is not None or numbers.is_based(value) or (trees and not any(map(names_of, trees))):
        return "number"
    return "formula" if trees and re.search(r"[\d+*/^-]", value) else None


RULES: tuple[tuple[str, Callable[[str, str, Ask], Comparison | None]], ...] = (
    ("spelling", _equal_spelling),
    ("approximations", sentences.compare_approximate),
    ("times", times.compare_times),
    ("dates", times.compare_dates),
    ("numbers", numbers.compare_rationals),
    ("numerals", numerals.compare_numerals),
    ("nothing", nothing.compare_nothing),
    ("truths", texts.compare_truths),
    ("options", texts.compare_options),
    ("ordinals", numbers.compare_ordinals),
    ("bases", numbers.compare_bases),
    ("residues", numbers.compare_residues),
    ("sentences", sentences.compare_sentences),
    ("families", families.compare_families),
    ("quantities", quantities.compare_like_units),
    ("units", conversions.compare_units),
    ("ratios", collections.compare_ratios),
    ("matrices", matrices.compare_matrices),
    ("intervals", intervals.compare_intervals),
    ("parts", collections.compare_parts),
    ("labels", labels.compare_labelled),
    ("counted", sentences.compare_counted),
    ("results", sentences.compare_results),
    ("words", texts.compare_words),
    ("divisibility", sentences.compare_divisibility),
    ("hedges", texts.compare_hedges),
    ("relations", _relations),
    ("formulas", _formulas),
    ("kinds", _kinds),
    ("math-verify", _math_verify),
)
