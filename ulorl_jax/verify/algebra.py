r"""Compares formulas, equations and inequalities by their values at fixed points.

Two formulas that agree to 200 digits at points of every size, positive, negative and whole, are the same; one point
where they plainly differ proves that they are not. Where that proves nothing (equal for whole numbers or for positive
ones only, other letters in the same places) it is not decided.
"""

from __future__ import annotations

import functools
import itertools
import random
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Comparison
from ulorl_jax.verify.expressions import Tree, names_of, operations_of, readings
from ulorl_jax.verify.spelling import split
from ulorl_jax.verify.values import LARGEST, ZERO, NoValue, bits, context, evaluate, exact, number

MOST_NAMES = 6
# Per name and point: a random fraction times one of these.
SIZES = {
    "positive": (1, 1, 3, 3, 20, 10**3, 10**7),
    "negative": (-1, -3, -20, -(10**4)),
    "whole": (40, 40, 40),
}
STEPS = {"floor", "ceil", "binom"}
INTEGERS = set("nkmNKMjrq")  # letters that are integers where there are steps; x may be real
CONSTANT_NAMES = set("abck")  # of a family of functions
MOST_INTEGERS = 80
SMALLEST = 5
BITS_OF_LARGEST = 4 * LARGEST  # more than 10^LARGEST has, or its inverse
RELATION = r"\\le(?![A-Za-z])|\\ge(?![A-Za-z])|\\ne(?![A-Za-z])|[=<>]"
MIRRORED = {">": "<", r"\ge": r"\le"}


def compare_formulas(a: str, b: str) -> Comparison | None:
    """Two evened-out texts as formulas; None where one is none."""
    of_a, of_b = readings(a), readings(b)
    if not of_a or not of_b:
        return None
    found = {_unanimous(x, y) for x, y in itertools.product(of_a, of_b)}
    return found.pop() if len(found) == 1 else Comparison(UNSURE, "can be read in two ways")


def _unanimous(a: Tree, b: Tree) -> Comparison:
    r"""What holds whether \log is the natural or the decimal one."""
    bases = (None, 10) if _has_bare_log(a) or _has_bare_log(b) else (None,)
    found = {_compare_trees(a, b, base) for base in bases}
    return found.pop() if len(found) == 1 else Comparison(UNSURE, "depends on the base of the logarithm")


def _compare_trees(a: Tree, b: Tree, base: int | None) -> Comparison:
    if a == b:
        return Comparison(SAME, "the same formula")
    if isinstance(a, str) and isinstance(b, str):
        return Comparison(UNSURE if a.lower() == b.lower() else DIFFERENT, f"{a} and {b}")
    names = sorted(names_of(a) | names_of(b))
    if not names:
        return _compare_constants(a, b, base)
    if len(names) > MOST_NAMES:
        return Comparison(UNSURE, f"{len(names)} letters")
    agrees = {size: list(_agreements(a, b, names, size, base)) for size in SIZES}
    everywhere = agrees["positive"] + agrees["negative"] + agrees["whole"]
    if len(everywhere) >= 4 and len(agrees["positive"]) >= 2 and all(everywhere):
        if (operations_of(a) | operations_of(b)) & {"floor", "ceil"}:
            return _compare_at_integers(a, b, names, base)
        return Comparison(SAME, "equal as formulas")
    if False in agrees["positive"] and True not in agrees["whole"]:
        if names_of(a) != names_of(b) and _is_renamed(a, b, base):
            # The question says which letters stand for what; but l may be \ell, and a constant any letter.
            spelled = [{name.lower().lstrip("\\")[:1] for name in names_of(tree)} for tree in (a, b)]  # lw, \ell W
            spelled = [{"k" if name in CONSTANT_NAMES else name for name in names} for names in spelled]
            is_other = spelled[0] != spelled[1]
            return Comparison(DIFFERENT if is_other else UNSURE, "equal but for the names of letters")
        if _is_constant_apart(a, b, names, base):
            return Comparison(UNSURE, "differ by a constant, which C may hold")
        return Comparison(DIFFERENT, "different formulas")
    if (operations_of(a) | operations_of(b)) & STEPS:
        return _compare_at_integers(a, b, names, base)
    if "abs" in operations_of(a) and "abs" not in operations_of(b) and False in agrees["negative"]:
        return Comparison(DIFFERENT, "the reference minds the sign")  # |t| is no t; a prediction may mind it too much
    return Comparison(UNSURE, "equal at some points only")


def _compare_at_integers(a: Tree, b: Tree, names: list[str], base: int | None) -> Comparison:
    """Formulas with steps or binomials, whose letters are integers."""
    agreed, differ = 0, 0
    for point in integers(len(names)):
        values = {name: context().mpf(whole) for name, whole in zip(names, point, strict=True)}
        try:
            agrees = _close(evaluate(a, values, base), evaluate(b, values, base))
        except NoValue:
            continue
        agreed += agrees
        if not agrees and min(point) < SMALLEST and not differ:  # there, what counts something may not hold
            return Comparison(UNSURE, "different at small integers only")
        differ += not agrees
    if differ:
        # With steps in one of them, n may be meant to be odd; of two letters one may be the larger.
        both = operations_of(a) & STEPS and operations_of(b) & STEPS
        is_sure = not agreed or (both and (len(names) == 1 or 2 * differ > agreed + differ))
        return Comparison(DIFFERENT if is_sure else UNSURE, "different at integers")
    if agreed < MOST_INTEGERS // 2 or not set(names) <= INTEGERS:
        return Comparison(UNSURE, "equal at integers, which may not be meant")
    return Comparison(SAME, "equal at integers")


@functools.cache
def integers(count: int) -> list[tuple[int, ...]]:
    """Fixed points: the large first, then those around 0 and below it."""
    if count == 1:
        return [(whole,) for whole in (*range(SMALLEST, MOST_INTEGERS), *range(-MOST_INTEGERS // 2, SMALLEST))]
    rng = random.Random(count)
    lowest = [SMALLEST] * MOST_INTEGERS + [-SMALLEST] * (MOST_INTEGERS // 2)
    return [tuple(rng.randint(low, 30) for _ in range(count)) for low in lowest]


def _compare_constants(a: Tree, b: Tree, base: int | None) -> Comparison:
    values = exact(a), exact(b)
    try:
        if None not in values:
            same = values[0] == values[1]
        elif any(value is not None and bits(value) > BITS_OF_LARGEST for value in values):
            # The other one lies within the bounds, or has no value.
            same = evaluate(a if values[0] is None else b, {}, base) is None
        else:
            same = _close(evaluate(a, {}, base), evaluate(b, {}, base))
    except NoValue:
        return Comparison(UNSURE, "has no value, or one too large")
    return Comparison(SAME, "equal as numbers") if same else Comparison(DIFFERENT, "different numbers")


def _close(a: Any, b: Any) -> bool:
    return abs(a - b) < context().mpf(10) ** -ZERO * max(1, abs(a))


def _agreements(a: Tree, b: Tree, names: list[str], size: str, base: int | None) -> Iterator[bool]:
    """Whether they agree, at each point where both are real (or complex because of an i in them)."""
    is_real = "i" not in operations_of(a) | operations_of(b)
    for point in points(len(names), size):
        values = dict(zip(names, point, strict=True))
        try:
            yield _close(evaluate(a, values, base, is_real), evaluate(b, values, base, is_real))
        except NoValue:
            continue


@functools.cache
def points(count: int, size: str) -> list[list[Any]]:
    """Fixed points: for every size, a value per name."""
    rng = random.Random(f"{count} {size}")
    if size == "whole":
        return [list(map(context().mpf, rng.sample(range(17, 17 + most), count))) for most in SIZES[size]]
    return [
        [number(Fraction(rng.getrandbits(60) | 1 << 55, 1 << 60)) * most for _ in range(count)] for most in SIZES[size]
    ]


def _is_renamed(a: Tree, b: Tree, base: int | None) -> bool:
    """Whether other letters for those of one make it the other."""
    of_a, of_b = sorted(names_of(a)), sorted(names_of(b))
    if len(of_a) != len(of_b) or len(of_a) > 3:
        return False
    return any(
        all(list(_agreements(a, _rename(b, dict(zip(order, of_a, strict=True))), of_a, "positive", base)))
        for order in itertools.permutations(of_b)
    )


def _rename(tree: Tree, names: dict[str, str]) -> Tree:
    if isinstance(tree, str):
        return names.get(tree, tree)
    return (tree[0], *(_rename(operand, names) for operand in tree[1:])) if isinstance(tree, tuple) else tree


def _is_constant_apart(a: Tree, b: Tree, names: list[str], base: int | None) -> bool:
    """Antiderivatives: both end in + C."""
    if not names_of(a) & names_of(b) & {"C", "c", "K"}:
        return False
    return len({context().nstr(d, 50) for d in _combined(a, b, names, base, lambda x, y: x - y)}) == 1


def _combined(a: Tree, b: Tree, names: list[str], base: int | None, combine: Any) -> Iterator[Any]:
    for point in points(len(names), "positive"):
        try:
            values = dict(zip(names, point, strict=True))
            yield combine(evaluate(a, values, base), evaluate(b, values, base))
        except (NoValue, ZeroDivisionError):
            continue


def is_constant_renamed(a: str, b: str) -> bool:
    """Whether two texts are formulas with other letters in the places of constants: Ce^x, Ae^x."""
    of_a, of_b = readings(a), readings(b)
    other = [{name.lower() for tree in trees for name in names_of(tree)} for trees in (of_a, of_b)]
    other = [other[0] - other[1], other[1] - other[0]]
    return len(other[0]) == len(other[1]) > 0 and other[0] | other[1] <= CONSTANT_NAMES


def _has_bare_log(tree: Tree) -> bool:
    return isinstance(tree, tuple) and ((tree[0] == "log" and len(tree) == 2) or any(map(_has_bare_log, tree[1:])))


def relation_of(text: str) -> tuple[str, str, str] | None:
    r"""(left, relation, right) of an evened-out text with one relation; ">" is turned around."""
    sides, signs = split(text, RELATION), re.findall(RELATION, text)
    if sides is None or len(sides) != 2 or not all(sides) or len(signs) != 1:
        return None
    sign = signs[0]
    return (sides[1], MIRRORED[sign], sides[0]) if sign in MIRRORED else (sides[0], sign, sides[1])


def compare_relations(a: str, b: str) -> Comparison | None:
    """Two equations or two inequalities; None where one is neither."""
    forms = [_zero_form(text) for text in (a, b)]
    if None in forms:
        return None
    (f, sign), (g, other) = forms  # type: ignore[misc]
    if "=" in (sign, other) and sign != other:
        return Comparison(DIFFERENT, "an equation and an inequality")
    names = sorted(names_of(f) | names_of(g))
    if not names or len(names) > MOST_NAMES or _has_bare_log(f) or _has_bare_log(g):
        return None
    ratios = list(_combined(f, g, names, None, lambda x, y: x / y))
    constant = len(ratios) >= 3 and all(_close(ratio, ratios[0]) for ratio in ratios) and ratios[0] != 0
    if constant and (sign in ("=", r"\ne") or context().re(ratios[0]) > 0):
        same = sign == other
        return Comparison(SAME if same else DIFFERENT, "the same relation" if same else f"{sign} and {other}")
    if names_of(f) != names_of(g):
        return Comparison(UNSURE, "relations in other letters")
    if sign == "=" and (_has_other_solution(f, g, names) or _has_other_solution(g, f, names)):
        return Comparison(DIFFERENT, "a solution of one does not solve the other")
    if sign != "=" and constant:
        return Comparison(DIFFERENT, "turned around")
    if sign != "=" and any(_combined(f, g, names, None, lambda x, y: (x < 0) != (y < 0))):
        return Comparison(DIFFERENT, "a point fulfils one only")
    return Comparison(UNSURE, "relations that may have the same solutions")


def _zero_form(text: str) -> tuple[Tree, str] | None:
    parts = relation_of(text)
    if parts is None:
        return None
    left, sign, right = readings(parts[0]), parts[1], readings(parts[2])
    return (("-", left[0], right[0]), sign) if len(left) == len(right) == 1 else None


def _has_other_solution(f: Tree, g: Tree, names: list[str]) -> bool:
    """Whether f = 0 has a solution where g is far from 0."""
    mp = context()
    starts = points(len(names), "positive")[:3] + points(len(names), "negative")[:2]
    for point, free in itertools.product(starts, names):
        values = dict(zip(names, point, strict=True))

        def at(x: Any, free: str = free, values: dict[str, Any] = values) -> Any:
            return evaluate(f, values | {free: x}, None)

        try:
            with mp.workdps(30):
                root = mp.findroot(at, [values[free], values[free] + 0.1], tol=1e-20, maxsteps=40)
            far = abs(evaluate(g, values | {free: root}, None))
        except (NoValue, ValueError, ZeroDivisionError):  # it does not converge
            continue
        if far > 1e-4 * max(1, abs(root)) and abs(at(root)) < 1e-15:
            return True
    return False
