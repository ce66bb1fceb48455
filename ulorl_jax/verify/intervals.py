r"""Sets of real numbers in pieces: (0,1], ]0,1[, 0 < x <= 1, x > 3, unions of them, \mathbb{R} without points.

A pair "(0,1)" is a point as well; where both answers are such pairs they are left to the tuples.
"""

from __future__ import annotations

import functools
import re

from ulorl_jax.verify.algebra import RELATION
from ulorl_jax.verify.asking import Ask
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Comparison
from ulorl_jax.verify.conditions import NAME, condition_of
from ulorl_jax.verify.expressions import names_of, readings
from ulorl_jax.verify.nothing import REALS
from ulorl_jax.verify.numbers import rational
from ulorl_jax.verify.pieces import INFINITE, Piece, Pieces, intersection, merged, opened, tightened
from ulorl_jax.verify.spelling import LIST, compact, plain, split

MEMBER = re.compile(rf"(?P<name>{NAME})\s*\\in(?![A-Za-z])\s*(?P<set>.+)")
BRACKETED = re.compile(r"(?P<open>[(\[\]])(?P<inner>.+)(?P<close>[)\[\]])")
SET_BUILDER = re.compile(rf"(?:\\?\{{)?\s*(?:{NAME})\s*(?:\\in\s*\\mathbb\{{R\}}\s*)?[|:](?P<condition>.+?)(?:\\?\}})?")
WITHOUT = re.compile(
    rf"(?:\\mathbb\{{R\}}\s*(?:\\setminus|\\backslash|-|\\)\s*\\?\{{(?=.*\}}\Z)|(?P<name>{NAME})\s*\\ne(?![A-Za-z])"
    r"|(?:all )?(?:real numbers|reals) except(?: for)?)\s*(?P<points>.+?)(?:\\?\})?",
    re.DOTALL,
)
POINT = re.compile(rf"(?:(?P<name>{NAME})\s*=\s*|\\\{{)(?P<points>(?:(?<=\{{).+(?=\\\}})|(?<!\{{)[^{{}}=]+))(?:\\\}})?")
# Brackets of which one stands the other way round, as in ]0,1[.
TURNED = re.compile(
    r"(?P<open>[\[\](])(?P<inner>[^\[\]]*?[,;][^\[\]]*?)(?P<close>[\[\])])(?=\s*(?:\Z|\\cup|\bor\b|\\text\{))"
)
CUT = r"\\(?:setminus|backslash)(?![A-Za-z])|\bexcept(?: for)?\b|\bwithout\b"
POINTS = r"\A(?:[A-Za-z]\s*=\s*|\\?\{)"
MOST = 6  # conditions
WHOLE = set("nmkpN")  # letters of integers


@functools.lru_cache(maxsize=1024)
def pieces_of(text: str) -> Pieces | None:
    """The intervals that an evened-out text writes; None where it writes something else."""
    if (said := condition_of(text)) is not None:
        inner = pieces_of(said.text)
        return inner and inner._replace(name=said.name, domain=said.domain, is_vague=said.is_vague, is_pair=False)
    if member := MEMBER.fullmatch(text):
        inner = pieces_of(member["set"].strip())
        return inner and inner._replace(name=member["name"], is_pair=False)
    if built := SET_BUILDER.fullmatch(text):
        return _related(built["condition"].strip())
    if REALS.fullmatch(text):
        return Pieces((Piece(r"-\infty", False, r"\infty", False),))
    if (without := WITHOUT.fullmatch(plain(text))) and (pieces := _all_but(without["points"], without["name"] or "")):
        return pieces
    if (turned := _turned(text)) != text:
        pieces = pieces_of(turned)
        return pieces and pieces._replace(is_pair=False)
    if (cut := split(plain(text), CUT)) is not None and len(cut) == 2:  # (0,36) without 9
        whole, points = pieces_of(cut[0].strip(", ")), _all_but(re.sub(POINTS, "", cut[1]).rstrip("}\\"), "")
        return intersection(whole._replace(is_pair=False), points) if whole and points else None
    parts = split(_upright(text), r"\\cup(?![A-Za-z])|\bor\b")
    if parts is not None and len(parts) > 1:
        return _union(parts)
    return _bracketed(text) or _related(text)


def compare_intervals(a: str, b: str, ask: Ask) -> Comparison | None:
    """Two sets of intervals; or one, and a number or a set of numbers."""
    of_a, of_b = pieces_of(a), pieces_of(b)
    if of_a is None or of_b is None:
        known, other = (of_a, b) if of_a else (of_b, a)
        if known is None or known.is_pair:
            return None
        if rational(other) is not None or (other.startswith(r"\{") and r"\mid" not in other and "|" not in other):
            return Comparison(DIFFERENT, "an interval and a number or a finite set")
        return None
    if of_a.is_pair and of_b.is_pair:
        return None
    if of_a.name and of_b.name and of_a.name != of_b.name:
        return Comparison(UNSURE, f"intervals of {of_a.name} and of {of_b.name}")
    found = _compare_vague(of_a, of_b, ask) if of_a.is_vague or of_b.is_vague else _compare_pieces(of_a, of_b, ask)
    if found.outcome == UNSURE or not (of_a.domain or of_b.domain or {of_a.name, of_b.name} & WHOLE):
        return found
    # What is said of integers: n > 2 is n >= 3.
    domains = {of_a.domain, of_b.domain} - {""}
    letters = {"p"} if "prime" in domains else WHOLE
    certain = len(domains) == 1 and all(pieces.domain or pieces.name in letters for pieces in (of_a, of_b))
    if found.outcome == SAME:
        return found if certain or not domains else Comparison(UNSURE, "said of integers on one side only")
    ends = {end for sides in (of_a, of_b) for piece in sides.pieces for end in (piece.low, piece.high)} - {*INFINITE}
    is_whole = bool(domains) or all((value := rational(end)) and value.denominator == 1 for end in ends)
    one, two = (sides._replace(pieces=tuple(map(tightened, sides.pieces))) for sides in (of_a, of_b))
    if not is_whole or _compare_pieces(one, two, ask).outcome != SAME:
        return found
    return Comparison(SAME if certain else UNSURE, "the same intervals of integers")


def _compare_vague(of_a: Pieces, of_b: Pieces, ask: Ask) -> Comparison:
    """Between 0 and 1: the same as (0,1); it may be [0,1] too."""
    one, two = (sides._replace(pieces=tuple(map(opened, sides.pieces))) for sides in (of_a, of_b))
    found = _compare_pieces(one, two, ask)
    is_open = all(side.is_vague or side.pieces == bare.pieces for side, bare in ((of_a, one), (of_b, two)))
    return found if found.outcome != SAME or is_open else Comparison(UNSURE, "ends of which nothing is said")


def _compare_pieces(of_a: Pieces, of_b: Pieces, ask: Ask) -> Comparison:
    one, two = merged(of_a.pieces), merged(of_b.pieces)
    if one is None or two is None:  # ends that are no fractions keep the order in which they are written
        one, two = of_a.pieces, of_b.pieces
        if len(one) != len(two):
            return Comparison(UNSURE, "intervals that may join")
    elif len(one) != len(two):
        return Comparison(DIFFERENT, "other intervals")
    ends = [_compare_ends(x, y, ask) for x, y in zip(one, two, strict=True)]
    if ends and _worst(ends) == SAME:
        return Comparison(SAME, "the same intervals")
    if UNSURE in ends or (len(one) > 1 and None in (merged(of_a.pieces), merged(of_b.pieces))):
        return Comparison(UNSURE, "intervals in another order, or with unknown ends")
    return Comparison(DIFFERENT, "other intervals")


def _compare_ends(a: Piece, b: Piece, ask: Ask) -> str:
    if (a.low_closed, a.high_closed) != (b.low_closed, b.high_closed):
        return DIFFERENT
    return _worst([_compare_end(a.low, b.low, ask), _compare_end(a.high, b.high, ask)])


def _compare_end(a: str, b: str, ask: Ask) -> str:
    if a in INFINITE or b in INFINITE:
        return SAME if INFINITE.get(a) == INFINITE.get(b) else DIFFERENT
    return ask(a, b).outcome


def _worst(outcomes: list[str]) -> str:
    return DIFFERENT if DIFFERENT in outcomes else UNSURE if UNSURE in outcomes else SAME


def _upright(text: str) -> str:
    return re.sub(r"\\text\{(and|or)\}", r" \1 ", text)


def _is_end(text: str) -> bool:
    """Whether it is a number, written or as a formula without letters."""
    return text in INFINITE or any(not names_of(tree) for tree in readings(text))


def _bracketed(text: str) -> Pieces | None:
    found = BRACKETED.fullmatch(text)
    parts = split(found["inner"], "[,;]") if found else None
    if not found or not parts or len(parts) != 2 or not all(_is_end(part.strip()) or readings(part) for part in parts):
        return None
    low, high = (compact(part) for part in parts)
    values = rational(low), rational(high)
    if None not in values and values[0] > values[1]:  # type: ignore[operator]
        return None
    open_low, open_high = found["open"] in "(]", found["close"] in ")["
    if (low in INFINITE and not open_low) or (high in INFINITE and not open_high):
        return None
    is_pair = found["open"] == "(" and found["close"] == ")" and not {low, high} & set(INFINITE)
    piece = Piece(low, not open_low, high, not open_high)
    return Pieces((piece,), is_pair=is_pair)


def _related(text: str) -> Pieces | None:
    r"""0 < x <= 1, 3 < x, x \ne 2, x > 0 and x < 1."""
    conditions = split(_upright(text), r"\b(?:and|but|where|with)\b|,")
    conditions = conditions and [condition for condition in conditions if condition]
    if conditions and 2 <= len(conditions) <= MOST:
        found = [pieces_of(condition) for condition in conditions]
        if None in found or any(pieces.name != found[0].name or not pieces.name for pieces in found):  # type: ignore[union-attr]
            return None
        return functools.reduce(lambda one, two: one and two and intersection(one, two), found)
    sides = split(text, RELATION)
    if sides is None or len(sides) not in (2, 3) or not all(sides):
        return None
    signs = re.findall(RELATION, text)
    named = [index for index, side in enumerate(sides) if re.fullmatch(NAME, side) and not _is_end(side)]
    if len(signs) != len(sides) - 1 or len(named) != 1:
        return None
    at = named[0]
    if not all(_is_end(side) for index, side in enumerate(sides) if index != at):
        return None
    name = sides[at]
    if len(sides) == 2:
        sign, end = signs[0], compact(sides[1 - at])
        if sign in (r"\ne", "="):
            return None
        above = (sign in (">", r"\ge")) == (at == 0)
        closed = sign in (r"\ge", r"\le") and end not in INFINITE
        piece = Piece(end, closed, r"\infty", False) if above else Piece(r"-\infty", False, end, closed)
        return Pieces((piece,), name)
    if at != 1:
        return None
    if set(signs) <= {">", r"\ge"}:
        sides, signs = sides[::-1], [{">": "<", r"\ge": r"\le"}[sign] for sign in signs[::-1]]
    if not set(signs) <= {"<", r"\le"}:
        return None
    low, high = compact(sides[0]), compact(sides[2])
    closed = [sign == r"\le" and end not in INFINITE for sign, end in zip(signs, (low, high), strict=True)]
    return Pieces((Piece(low, closed[0], high, closed[1]),), name)


def _union(parts: list[str]) -> Pieces | None:
    """Of intervals and single points, at least one of them an interval."""
    pieces: list[Piece] = []
    names: set[str] = set()
    intervals = 0
    for part in parts:
        if point := POINT.fullmatch(part):
            points = split(point["points"], ",")
            if not points or not all(map(_is_end, points)):
                return None
            pieces += [Piece(end, True, end, True) for end in map(compact, points)]
            names |= {point["name"]} - {None}
        elif found := pieces_of(part):
            pieces += found.pieces
            names |= {found.name} - {""}
            intervals += 1
        else:
            return None
    return Pieces(tuple(pieces), "".join(names)) if intervals and len(names) < 2 else None


def _all_but(text: str, name: str) -> Pieces | None:
    r"""The real numbers without those in a list, in which \pm stands for two."""
    listed = split(text, LIST)
    points = [
        compact(re.sub(r"\\pm ?", sign, point)) for point in listed or [] for sign in ("", "-")[: 1 + (r"\pm" in point)]
    ]
    if not points or not all(map(_is_end, points)):
        return None
    ends = [r"-\infty", *sorted(map(compact, points), key=lambda end: rational(end) or 0), r"\infty"]
    return Pieces(tuple(Piece(low, False, high, False) for low, high in zip(ends, ends[1:], strict=False)), name)


def _turned(text: str) -> str:
    """]0,1[ as (0,1): the brackets of other countries turned to match."""
    return TURNED.sub(
        lambda found: ("[" if found["open"] == "[" else "(") + found["inner"] + ("]" if found["close"] == "]" else ")"),
        text,
    )
