"""Runs of launch/train.py, each a process of its own: started, watched, gone on with, counted when they fail."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ulorl_jax.clock import StopRequest
from ulorl_jax.io.files import write_atomically
from ulorl_jax.io.metrics import last_step
from ulorl_jax.io.progress import Progress

POLL_S = 0.5
STOP_S = 300.0  # that a run has to finish its step and save
_LAST = 2000  # characters of a log in which its error is looked for


@dataclasses.dataclass(frozen=True, eq=False)
class GridRun:
    """A run of the grid.

    Attributes:
      name: for people, such as "pois/seed_0".
      folder: its workdir. Beside it lie `FOLDER.log`, what it printed, and `FOLDER.json`, what was asked for.
      command: what a user would type.
      asked: the resolved settings, JSON values; a run that was begun with others is refused.
      steps: after which it is finished.
      after: a run that must be finished before, or None.
    """

    name: str
    folder: Path
    command: tuple[str, ...]
    asked: dict[str, Any]
    steps: int
    after: GridRun | None = None

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def finished(self) -> bool:
        """Whether its summary is that of its last step."""
        path = self.folder / "summary.json"
        return path.is_file() and json.loads(path.read_text())["steps"] >= self.steps

    @property
    def step(self) -> int:
        """The last step that it recorded."""
        path = self.folder / "metrics.jsonl"
        return last_step(path) if path.is_file() else 0


def refuse_changed(runs: Sequence[GridRun]) -> None:
    """Refuses runs that were begun with other settings than they have now.

    Raises:
      ValueError: which run, and which keys, with both values.
    """
    for run in runs:
        path = _asked_path(run)
        if not path.is_file():
            continue
        began = json.loads(path.read_text())
        if differ := _differences(began, json.loads(json.dumps(run.asked))):
            raise ValueError(
                f"{run.name} was begun with other settings than the experiment has now: {'; '.join(differ)}; take the "
                f"change back, give another --workdir, or move {run.folder} and {path.name} away to run it anew"
            )


def run_grid(runs: Sequence[GridRun], jobs: int, title: str, stop: StopRequest) -> dict[str, str]:
    """Runs what is not finished, in the order given, several at a time; one that fails does not hold up the others.

    A run that was killed goes on where it was, for launch/train.py does. One that goes on in another process is left
    to it. Asked to stop, all that go on are, and save.

    Args:
      runs: each after the one it needs.
      jobs: processes at a time.
      title: for the progress.
      stop: SIGTERM or Ctrl-C.

    Returns:
      Why, by name, of every run that failed, could not begin or is held by another process.

    Raises:
      ValueError: a run was begun with other settings.
    """
    refuse_changed(runs)
    waiting = [run for run in runs if not run.finished]
    going: dict[GridRun, subprocess.Popen[bytes]] = {}
    free, taken = _shares_of_cores(jobs), {}
    failed: dict[str, str] = {}
    done = shown = sum(run.steps for run in runs if run.finished)
    total = sum(run.steps for run in runs)
    with Progress(total, title, start=done) as progress, _ending(going):
        progress.note(f"{len(waiting)} of {len(runs)} runs to do")
        while (waiting or going) and not stop:
            for run in [run for run in waiting if run.after is not None and run.after.name in failed]:
                waiting.remove(run)
                failed[run.name] = f"not begun: it needs {run.after.name if run.after else ''}"
            for run in [run for run in waiting if run.after is None or run.after.finished][: jobs - len(going)]:
                waiting.remove(run)
                process = _start(run)
                if process is not None:
                    going[run], taken[run] = process, free.pop()
                    if taken[run]:
                        os.sched_setaffinity(process.pid, taken[run])
                    continue
                failed[run.name] = (
                    f"held by another process, which has {run.log} open; once that has ended the same command goes on"
                )
                progress.note(f"{run.name}: {failed[run.name]}")
            time.sleep(POLL_S)
            for run, process in list(going.items()):
                if process.poll() is None:
                    continue
                del going[run]
                free.append(taken.pop(run))
                if process.returncode == 0 and run.finished:
                    done += run.steps
                    progress.note(f"{run.name}: done")
                elif not stop:  # a Ctrl-C reaches the runs too
                    failed[run.name] = _reason(run, process.returncode)
                    progress.note(f"{run.name}: failed: {failed[run.name]}")
            at = {run.name: run.step for run in going}
            if done + sum(at.values()) != shown:
                shown = done + sum(at.values())
                progress.update(shown, {f"{name} step": float(step) for name, step in at.items()})
    return failed


def _shares_of_cores(jobs: int) -> list[set[int]]:
    """For each of several jobs cores of its own; nothing where there are not enough, or the system knows no such thing.

    Small networks that share cores are slower: the threads of each wait for the others'.
    """
    if jobs == 1 or not hasattr(os, "sched_getaffinity"):
        return [set()] * jobs
    cores = sorted(os.sched_getaffinity(0))
    return [set(cores[job::jobs]) if jobs <= len(cores) else set() for job in range(jobs)]


def _start(run: GridRun) -> subprocess.Popen[bytes] | None:
    """Its process; None where another one holds it."""
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    with open(run.log, "ab") as log:
        # The run has the log open, and so the lock, as long as it lives: also when this process is killed.
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        write_atomically(_asked_path(run), json.dumps(run.asked, indent=2) + "\n")
        log.write(f"$ {' '.join(run.command)}\n".encode())
        log.flush()
        return subprocess.Popen(run.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


@contextlib.contextmanager
def _ending(going: dict[GridRun, subprocess.Popen[bytes]]) -> Iterator[None]:
    """At the end of the block, whatever ended it, what still goes on saves and ends."""
    try:
        yield
    finally:
        for process in going.values():
            process.terminate()
        for run, process in going.items():
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                print(f"{run.name} did not stop within {STOP_S:.0f} s of SIGTERM and is killed", flush=True)
                process.kill()
                process.wait()


def _reason(run: GridRun, code: int) -> str:
    """Exit status and the last line that it printed."""
    lines = run.log.read_text(encoding="utf-8", errors="replace")[-_LAST:].split("\n")
    said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing printed")
    ended = f"killed by signal {-code}" if code < 0 else f"exit status {code}" if code else "ended before its last step"
    return f"{ended}: {said} (all of it: {run.log})"


def _asked_path(run: GridRun) -> Path:
    return run.folder.with_name(f"{run.folder.name}.json")


def _differences(began: Any, now: Any, key: str = "") -> list[str]:
    if isinstance(began, dict) and isinstance(now, dict):
        names = sorted(set(began) | set(now))
        return [
            line for name in names for line in _differences(began.get(name), now.get(name), f"{key}.{name}".lstrip("."))
        ]
    return [] if began == now else [f"{key} was {began!r} and is {now!r}"]
