"""A pool of processes that run one pure function on items, each item under a deadline.

For code that may hang, eat memory or crash, as sympy does: its worker is killed and replaced. `signal.alarm`
could not do this: it needs the main thread, and waits while C code runs.

A worker is `worker.py`, run as a program by a new interpreter. `multiprocessing` with "spawn" would import the
parent's `__main__` into every worker: all that a launch script imports (jax, too), a script without its
`if __name__ == "__main__"` once more, and one from stdin not at all. Here a worker imports the function's module.
"""

from __future__ import annotations

import collections
import math
import os
import pickle
import selectors
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from ulorl_jax.verify.worker import reason
from ulorl_jax.verify.worker_process import Result, Task, WorkerProcess

START_DEADLINE_S = 120.0  # from the start of a process until its imports are done
FAILED_STARTS = 3  # so many in a row are no accident


class WorkerPool:
    """Runs a function on items in processes of their own. A context manager.

    An item is pickled and handed over when a worker is free for it: no queue grows, and waiting is not on its
    clock. It gets one more try where its worker died or was found stopped (SIGSTOP) at the deadline: that may
    have come from outside. What merely took too long gets none, or a hang would cost its deadline twice.

    Workers start when a `map` first needs them, and ignore SIGINT. What the function prints is dropped. When
    this process ends (and what it forked), the kernel kills them on Linux; elsewhere they end after their item.

    Args:
      function: of one item, with a name at the top of a module that is not the program itself.
      workers: processes, at most.
      deadline_s: seconds from the moment a free worker has an item until its result.
      memory_mb: address space of a worker in MiB, its imports included; None for no limit. Linux alone keeps
        it. A worker that has used up half of what its imports left is replaced after its item, so that what
        one item leaves behind starves no other.

    Raises:
      ValueError: an argument is not as said above.
    """

    def __init__(self, function: Callable[[Any], Any], *, workers: int, deadline_s: float, memory_mb: int | None):
        if workers < 1:
            raise ValueError(f"workers is {workers}; give 1 or more processes")
        if not 0 < deadline_s < math.inf:
            raise ValueError(f"deadline_s is {deadline_s}; give the seconds that one item may take, more than 0")
        if memory_mb is not None and memory_mb < 1:
            raise ValueError(f"memory_mb is {memory_mb}; give MiB for one worker, or None for no limit")
        path = [os.path.abspath(entry) for entry in sys.path]  # "" is the folder of this moment
        self._setup = pickle.dumps((path, *_name(function), memory_mb))
        self._most, self._deadline_s, self._failed_starts = workers, deadline_s, 0
        self._workers: list[WorkerProcess] = []
        self._waiting: collections.deque[Task] = collections.deque()
        self._lock = threading.RLock()
        self._kill_all = weakref.finalize(self, _kill_all, self._workers)  # at exit, too

    def map(self, items: Sequence[Any]) -> list[Result]:
        """Runs the function on every item. Any thread may call it; one call runs at a time.

        Returns:
          One result per item, in their order. An error is "took longer than 5.0 s", "used more than 1024 MB"
          ("ran out of memory" without a limit), "raised ValueError: ...", "the worker died (SIGKILL)" or
          "(exit status 3)", "the worker was stopped for 5.0 s", "the item cannot be pickled: ...", or "the
          result cannot be pickled: ...".

        Raises:
          RuntimeError: the pool is closed; or no worker could be started, with what the last one printed.
        """
        with self._lock:
            tasks = [Task(item) for item in items]
            self._waiting.extend(tasks)
            self._failed_starts = 0
            wait = 0.0  # look first: a worker that died since the last call gets no item
            try:
                while True:
                    self._attend(wait)
                    self._hand_out()
                    if not self._waiting and not any(worker.task for worker in self._workers):
                        return [task.result for task in tasks]
                    wait = max(0.0, min(map(self._limit, self._workers)) - time.monotonic())
            finally:  # after an exception (Ctrl-C), too: nothing is left for the next call
                self._waiting.clear()
                for worker in [worker for worker in self._workers if worker.task]:
                    self._end(worker)

    def close(self) -> None:
        """Ends the workers; a `map` in another thread raises. May be called again."""
        self._kill_all()
        with self._lock:
            for worker in list(self._workers):
                self._end(worker)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _attend(self, wait: float) -> None:
        """Waits for news of the workers; deals with what came, and with those that are late."""
        # Asked after the last start, before the wait: a worker that `close` came too early to kill is not awaited.
        if not self._kill_all.alive:
            raise RuntimeError("the pool is closed; make a new one")
        looked = time.monotonic()
        with selectors.PollSelector() as selector:
            for worker in self._workers:
                writing = selectors.EVENT_WRITE if worker.outbox else 0
                selector.register(worker.channel, selectors.EVENT_READ | writing, worker)
            heard = [key.data for key, _ in selector.select(wait)]
        for worker in heard:
            try:
                message = worker.exchange()
            except EOFError:
                self._lose(worker)
            else:
                if message is not None:
                    self._note(worker, message)
        # Late is who said nothing although this process looked after the limit: one that was itself held up (a
        # compilation, a stop) first reads what has arrived.
        for worker in [worker for worker in self._workers if worker not in heard and self._limit(worker) <= looked]:
            if not worker.ready:
                self._lose(worker, f"it was not ready within {START_DEADLINE_S} s")
            elif worker.is_stopped():
                self._lose(worker, f"the worker was stopped for {self._deadline_s} s")
            else:
                worker.finish(Result(None, f"took longer than {self._deadline_s} s"))
                self._end(worker)

    def _hand_out(self) -> None:
        """Gives items to the free workers, and starts workers for the others."""
        for worker in self._workers:
            while self._waiting and worker.ready and not worker.task:
                task = self._waiting.popleft()
                try:
                    message = pickle.dumps(task.item)
                except Exception as error:  # whatever its __reduce__ raises
                    task.result = Result(None, reason("the item cannot be pickled: ", error))
                else:
                    worker.task = task
                    worker.post(pickle.dumps(message))
        starting = sum(not worker.ready for worker in self._workers)
        for _ in range(min(len(self._waiting) - starting, self._most - len(self._workers))):
            self._workers.append(WorkerProcess(self._setup))

    def _note(self, worker: WorkerProcess, message: bytes) -> None:
        """A whole message has come: a worker is ready, or has done its item."""
        if not worker.ready:
            worker.ready, self._failed_starts = True, 0
            return
        try:
            value, error, spent = pickle.loads(message)
        except Exception as failure:  # whatever the value's own unpickling raises
            value, error, spent = None, reason("the result cannot be pickled: ", failure), False
        worker.finish(Result(value, error))
        if spent:
            self._end(worker)

    def _lose(self, worker: WorkerProcess, reason: str = "") -> None:
        """A worker is gone, perhaps by no fault of its item."""
        printed = worker.printed()
        death = self._end(worker)
        reason = reason or death
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts == FAILED_STARTS:
                raise RuntimeError(f"{FAILED_STARTS} workers in a row did not start: {reason}; it printed: {printed}")
        elif worker.task and worker.task.retried:
            worker.finish(Result(None, reason))
        elif worker.task:
            worker.task.retried = True
            self._waiting.appendleft(worker.task)

    def _end(self, worker: WorkerProcess) -> str:
        self._workers.remove(worker)
        return worker.end()

    def _limit(self, worker: WorkerProcess) -> float:
        """When a worker that has said nothing is late."""
        if worker.ready and not worker.task:
            return math.inf
        return worker.since + (self._deadline_s if worker.ready else START_DEADLINE_S)


def _kill_all(workers: list[WorkerProcess]) -> None:
    for worker in list(workers):
        worker.process.kill()


def _name(function: Callable[[Any], Any]) -> tuple[str, str]:
    """The module and the name under which a worker finds the function."""
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    if module == "__main__" or getattr(sys.modules.get(module), name, None) is not function:
        raise ValueError(
            f"a worker cannot import {function!r}; give a function with a name at the top of a module that is not "
            "the program itself (no lambda, no method, nothing out of a notebook's cells)"
        )
    return module, name
