r"""Matrices and columns: whatever the brackets, a factor before them counts as one of every entry."""

from __future__ import annotations

import re

from ulorl_jax.verify.asking import Ask
from ulorl_jax.verify.collections import COORDINATES, Parts, by_label, in_order, parts_of
from ulorl_jax.verify.comparison import DIFFERENT, Comparison
from ulorl_jax.verify.expressions import readings
from ulorl_jax.verify.spelling import split

MATRIX = re.compile(
    r"\\begin\{(?P<kind>[pbB]?matrix|array)\}(?:\{[lcr| ]*\})?(?P<rows>.*)\\end\{(?P=kind)\}", re.DOTALL
)
SCALED = re.compile(
    r"(?P<sign>-?)\s*(?P<scalar>(?:[^&-][^&]*?)??)\s*\*?\s*"
    r"(?P<matrix>[(\[]?\s*\\begin\{.*\\end\{[a-zA-Z]+\}\s*[)\]]?)",
    re.DOTALL,
)


TRANSPOSED = re.compile(r"(?P<inner>.+?)\s*\^\s*\{?\s*(?:\\text\{)?(?:T|\\top|\\intercal)\}?\s*\}?", re.DOTALL)
TERM = re.compile(r"(?P<factor>.*?)\s*\*?\s*(?P<axis>[ijk])")


def compare_matrices(a: str, b: str, ask: Ask) -> Comparison | None:
    """Matrices entry by entry; a column is a tuple."""
    of_a, of_b = _rows(a), _rows(b)
    if of_a is None and of_b is None:
        one, two = along_axes(a), along_axes(b)
        row, other = (one, parts_of(b)) if one else (two, parts_of(a))
        if row is None or other is None or other.kind not in ("tuple", "brackets"):
            return None
        return in_order(row, [*other.members, "0"][: max(len(other.members), len(row))], ask)
    if of_a is None or of_b is None:
        rows, other = (of_a, _row_of(b)) if of_a else (of_b, _row_of(a))
        if not rows or other is None or other.kind == "set" or max(map(len, rows)) > 1:
            return None
        if other.kind == "list":
            named = by_label(other.members)
            if named is None or sorted(named) not in COORDINATES:
                return None
            other = Parts("tuple", [named[name] for name in sorted(named)])
        return in_order([row[0] for row in rows], other.members, ask)
    if list(map(len, of_a)) != list(map(len, of_b)):
        return Comparison(DIFFERENT, "matrices of other shapes")
    return in_order(sum(of_a, []), sum(of_b, []), ask)


def is_matrix(text: str) -> bool:
    """Whether it is one matrix with all its entries."""
    return _rows(text) is not None


def along_axes(text: str) -> list[str] | None:
    """(2, -3) of 2i - 3j, with a third entry where there is a k; None where it is no sum along two axes or more."""
    terms = split(re.sub(r"(?<=[\w)}])\s*-", " + -", text), r"\+")
    found = [TERM.fullmatch(term) for term in terms or []]
    axes = {term["axis"]: term["factor"].strip() for term in found if term}
    if len(found) < 2 or None in found or len(axes) != len(found) or not set(axes) & {"j", "k"}:
        return None
    factors = {axis: {"": "1", "-": "-1"}.get(factor, factor) for axis, factor in axes.items()}
    return [factors.get(axis, "0") for axis in ("ijk" if "k" in axes else "ij")]


def _row_of(text: str) -> Parts | None:
    """The entries of a tuple, or of a sum along the axes."""
    row = along_axes(text)
    return parts_of(text) if row is None else Parts("tuple", row)


def _rows(text: str) -> list[list[str]] | None:
    """The entries by rows; a factor before the matrix is one of every entry."""
    bare = text.strip()
    if turned := TRANSPOSED.fullmatch(bare):
        row = parts_of(turned["inner"])
        if row is not None and row.kind in ("tuple", "brackets") and not row.members[0].startswith("["):
            return [[entry] for entry in row.members]
        rows = _rows(turned["inner"])
        return [list(column) for column in zip(*rows, strict=True)] if rows and len(set(map(len, rows))) == 1 else None
    scaled = SCALED.fullmatch(bare)
    if scaled and (scaled["sign"] or scaled["scalar"]):
        entries = _rows(scaled["matrix"])
        if not entries or (scaled["scalar"] and not readings(scaled["scalar"])):
            return None
        factor = scaled["sign"] + (f"({scaled['scalar']})*" if scaled["scalar"] else "")
        return [[f"{factor}({cell})" for cell in row] for row in entries]
    if bare.startswith(("(", "[")) and bare.endswith((")", "]")) and MATRIX.fullmatch(bare[1:-1].strip()):
        bare = bare[1:-1].strip()
    if bare.startswith("[[") and (nested := parts_of(bare)) and nested.kind == "brackets":
        rows = [parts_of(row) or Parts("brackets", [row[1:-1]]) for row in nested.members]
        return [row.members for row in rows] if all(row.kind == "brackets" for row in rows) else None
    found = MATRIX.fullmatch(bare)
    if not found or r"\begin" in found["rows"]:
        return None
    rows = [[cell.strip() for cell in row.split("&")] for row in re.split(r"\\\\(?:\[[^\]]*\])?|\\cr", found["rows"])]
    rows = [row for row in rows if row != [""]]
    return rows if rows and all(all(row) for row in rows) else None
