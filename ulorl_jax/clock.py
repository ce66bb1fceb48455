"""Seconds by phase, and the wish to stop: what a run knows of the world outside."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from ulorl_jax.processes import gather


class Clock:
    """Adds up wall seconds by named phase, for the step at hand and for the whole run.

    Args:
      totals: seconds of earlier parts of this run, from its checkpoint.
    """

    def __init__(self, totals: dict[str, float] | None = None):
        self.totals = dict(totals or {})
        self.step: dict[str, float] = {}
        self._began = time.perf_counter()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts the block's seconds under a name."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - began)

    def add(self, name: str, seconds: float) -> None:
        """Counts seconds measured elsewhere."""
        self.step[name] = self.step.get(name, 0.0) + seconds

    def end_step(self) -> dict[str, float]:
        """Closes the step: `time/<phase>_s`, with `time/other_s` and `time/step_s`, in seconds."""
        now = time.perf_counter()
        whole, self._began = now - self._began, now
        self.step["other"] = max(whole - sum(self.step.values()), 0.0)
        for name, seconds in self.step.items():
            self.totals[name] = self.totals.get(name, 0.0) + seconds
        out = {f"time/{name}_s": seconds for name, seconds in self.step.items()} | {"time/step_s": whole}
        self.step = {}
        return out


class StopRequest:
    """True once SIGTERM or Ctrl-C has come, to any process of the run: it then finishes its step, saves and exits.

    All processes ask at the same moments, and get the same answer.

    A second Ctrl-C interrupts at once. Outside the main thread (a notebook's) signals
    keep their meaning.
    """

    def __init__(self):
        self.requested = ""

    def __bool__(self) -> bool:
        asked = next(filter(None, gather("stop", self.requested)), "")
        self.requested = self.requested or asked
        return bool(asked)

    def __enter__(self) -> StopRequest:
        self._previous = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = signal.Signals(number).name
