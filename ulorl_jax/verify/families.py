r"""Solutions that an integer numbers: "x = \frac{\pi}{4} + k\pi, k \in \mathbb{Z}"."""

from __future__ import annotations

import re

from ulorl_jax.verify.asking import Ask
from ulorl_jax.verify.comparison import SAME, UNSURE, Comparison
from ulorl_jax.verify.spelling import plain

FAMILY = re.compile(
    r"(?P<value>.+?)[,;]?\s*\(?\s*(?:(?:where|with|for)\s+)?(?:(?:all|any|some|every|each)\s+)?(?:integers?\s+)?"
    r"(?P<letter>[a-z])\s*(?:\\in\s*\\mathbb\{Z\}|\\in\s*Z\b|(?:is\s+)?(?:an|any)\s+integer"
    r"|(?<=integer .)|(?<=integers .))\s*\)?"
)
SHIFTED = ("k", "(k+1)", "(k-1)", "(-k)", "(1-k)", "(-1-k)")  # the same numbers, counted otherwise


def compare_families(a: str, b: str, ask: Ask) -> Comparison | None:
    """Two families whose formulas are the same when counted otherwise; whether others overlap is not decided."""
    families = FAMILY.fullmatch(plain(a)), FAMILY.fullmatch(plain(b))
    if families[0] is None and families[1] is None:
        return None
    letter = next(family["letter"] for family in families if family)
    values = [
        _numbered(family["value"] if family else plain(text), family["letter"] if family else letter)
        for family, text in zip(families, (a, b), strict=True)
    ]
    if None in values:
        return None
    for shifted in SHIFTED:
        if ask(values[0].replace("@", "k"), values[1].replace("@", shifted)).outcome == SAME:  # type: ignore[union-attr]
            return Comparison(SAME, "the same family")
    return Comparison(UNSURE, "families that may overlap")


def _numbered(value: str, letter: str) -> str | None:
    """The formula with "@" for its letter; None where it does not hold the letter, or holds another k."""
    found = re.sub(rf"(?<![A-Za-z\\]){letter}(?![A-Za-z])", "@", value)
    return found if "@" in found and not re.search(r"(?<![A-Za-z\\])k(?![A-Za-z])", found) else None
