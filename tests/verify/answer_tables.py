"""Tables of pairs of answers, one pair a line, "reference ~ predicted", and who judges them wrongly."""

from ulorl_jax.verify.comparison import Comparison
from ulorl_jax.verify.rules import compare, decide_quickly


def pairs_of(table: str) -> list[tuple[str, str]]:
    """The pairs of a table, each in both directions."""
    rows = [tuple(line.split(" ~ ")) for line in table.strip().splitlines()]
    assert all(len(row) == 2 for row in rows)
    return [pair for a, b in rows for pair in ((a, b), (b, a))]


def misjudged(table: str, outcome: str) -> list[tuple[str, str, Comparison]]:
    """The pairs whose outcome is another; and those where what is decided quickly is not what is decided."""
    wrong = []
    for a, b in pairs_of(table):
        found, quick = compare(a, b), decide_quickly(a, b)
        if found.outcome != outcome or quick not in (None, found):
            wrong.append((a, b, found))
    return wrong
