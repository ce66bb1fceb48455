"""How far a run is: a live table on a terminal, plain lines everywhere else."""

import time
from collections.abc import Mapping
from types import TracebackType

from rich import progress as bars
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """A context manager that shows steps done, time passed, time left, and a few numbers.

    The time left is reckoned from the second update on, for the first step compiles.

    Args:
      total: steps of the whole run.
      title: what is being done.
      plain: True prints lines, False draws the live display; None draws it where
        standard output is a terminal.
      start: steps done before, by an earlier part of the run.
      silent: nothing is shown: another process does that.

    Example:
      with Progress(80, "UloRL") as progress:
          progress.update(1, {"reward/mean": 0.5})
    """

    def __init__(self, total: int, title: str, *, plain: bool | None = None, start: int = 0, silent: bool = False):
        self._total = total
        self._title = title
        self._console = Console(highlight=False)
        self._plain = silent or (not self._console.is_terminal if plain is None else plain)
        self._silent = silent
        self._began = time.monotonic()
        self._first: tuple[int, float] | None = None  # step and moment of the first update
        self._last_line = float("-inf")
        self._bar = bars.Progress(
            bars.TextColumn("[bold]{task.description}"),
            bars.BarColumn(bar_width=40),
            bars.MofNCompleteColumn(),
            bars.TimeElapsedColumn(),
            bars.TextColumn("{task.fields[left]}"),
            console=self._console,
        )
        self._task = self._bar.add_task(title, total=total, completed=start, left="")
        self._live = Live(self._bar, console=self._console, refresh_per_second=2)

    def __enter__(self) -> "Progress":
        if not self._plain:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._plain:
            self._live.stop()

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Shows a step's numbers; plain, at most one line in a few seconds, and the first and the last.

        Args:
          step: steps done so far, of the total.
          values: names to numbers, in the order in which they are shown.
        """
        now = time.monotonic()
        left = self._time_left(step, now)
        if not self._plain:
            self._bar.update(self._task, completed=step, left=left)
            self._live.update(Group(self._bar, _table(values)), refresh=True)
        elif now - self._last_line >= SECONDS_BETWEEN_LINES or step >= self._total:
            self._last_line = now
            times = ", ".join(filter(None, [f"{_clock(now - self._began)} passed", left]))
            numbers = "  ".join(f"{name} {format_number(value)}" for name, value in values.items())
            self._print(f"{self._title}: {step}/{self._total} ({times})  {numbers}".rstrip())

    def note(self, message: str) -> None:
        """Prints a line, above the display where there is one.

        Args:
          message: printed as it is.
        """
        self._print(message)

    def _time_left(self, step: int, now: float) -> str:
        if self._first is None:
            self._first = (step, now)
        first_step, moment = self._first
        if step <= first_step:
            return ""
        return f"{_clock((now - moment) / (step - first_step) * (self._total - step))} left"

    def _print(self, line: str) -> None:
        if self._silent:
            return
        if self._plain:
            print(line, flush=True)  # one line whatever the width, for logs
        else:
            self._console.print(Text(line))


def format_number(value: float) -> str:
    """Three significant digits: 0.203, 12.3, 4,560, 1.23e-05.

    Args:
      value: any float.

    Returns:
      Text.
    """
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if 1e3 <= abs(rounded) < 1e7 else f"{rounded:.3g}"


def _table(values: Mapping[str, float]) -> Table:
    table = Table(box=None, padding=(0, 2), pad_edge=False)
    for name in values:
        table.add_column(name, justify="right", header_style="dim")
    table.add_row(*(format_number(value) for value in values.values()))
    return table


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
