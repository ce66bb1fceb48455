"""Pools of workers for tests, and what their processes do."""

import contextlib
import importlib
import pathlib
import sys
import tempfile
import threading
import time

import pytest

from tests.verify import worker_tasks
from ulorl_jax.verify.workers import Result, WorkerPool

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEADLINE = 0.5  # of a hasty pool: what a test of lateness costs
LATE = Result(None, "took longer than 0.5 s")
GUARD = 30.0  # seconds until a test that hangs fails
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc, and the kernel's help")


def new_pool(function=worker_tasks.act, workers=2, deadline_s=GUARD, memory_mb=None) -> WorkerPool:
    return WorkerPool(function, workers=workers, deadline_s=deadline_s, memory_mb=memory_mb)


def still_squares(pool: WorkerPool) -> bool:
    return pool.map([("square", x) for x in range(10)]) == [Result(x * x) for x in range(10)]


def pids(pool: WorkerPool, count: int = 2) -> set[int]:
    """The processes of so many workers, which must all be there at a time."""
    with tempfile.TemporaryDirectory() as folder:
        return {result.value for result in pool.map([("meet", folder, count)] * count)}


def alive(pid: int) -> bool:
    """Not gone, and not a zombie that its parent has yet to reap."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(happened, what: str):
    until = time.monotonic() + GUARD
    while not happened():
        assert time.monotonic() < until, f"{what}: not within {GUARD} s"
        time.sleep(0.01)


@contextlib.contextmanager
def in_a_thread(work):
    """The list that the work returns, whole when the block is left."""
    results = []
    thread = threading.Thread(target=lambda: results.extend(work()))
    thread.start()
    yield results
    thread.join(GUARD)


def noted(folder: pathlib.Path, name="*") -> list[int]:
    """The processes that noted themselves in a folder."""
    return [int(path.name.rpartition("-")[2]) for path in folder.glob(f"{name}-*")]


# Order, and what is on whose clock.


def module(folder: pathlib.Path, monkeypatch, name: str, worker: str):
    """A function in a new module that does something more where a worker imports it."""
    main = "getattr(sys.modules['__main__'], '__file__', None) or ''"
    source = f"import sys, time\nif ({main}).endswith('worker.py'):\n  {worker}\n"
    (folder / f"{name}.py").write_text(source + "def echo(x):\n  return x\n")
    monkeypatch.syspath_prepend(str(folder))
    return importlib.import_module(name).echo
