"""Tables for people: on standard output, and as markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ulorl_jax.io.progress import format_number

WIDTH = 160  # where standard output is no terminal: wide enough that nothing is cut off in a log


def print_table(
    title: str, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], best: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Prints rows of numbers and words.

    Args:
      title: above the table.
      rows: dicts; floats are shown with three digits.
      columns: keys of a row, in order, and their headings.
      best: the rows to mark.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    table = Table(title=title, title_justify="left")
    for heading in columns.values():
        table.add_column(heading, justify="right")
    for row in rows:
        # As text: in a string rich reads "[b]" as markup, and what a model wrote may stand here.
        cells = [Text(format_number(row[key]) if isinstance(row[key], float) else str(row[key])) for key in columns]
        table.add_row(*cells, style="bold green" if row in best else None)
    console.print(table)


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of words as a table of markdown.

    Args:
      rows: dicts with the same keys, one at least; a `|` in them is written so that it stays one.

    Returns:
      Lines without an end of line after the last.
    """
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *([row[head] for head in heads] for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
