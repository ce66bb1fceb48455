"""How the processes of one run find each other, and what becomes of the others when one ends."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import NoReturn

import jax
from jax._src import distributed  # the coordinator's address has no public door

from ulorl_jax.processes import KEYS, coordination_service, gather

SILENCE_S = 30.0  # a process that gave no sign of life for so long is dead
_PERIOD_S = 1.0  # between two signs of life
_FAREWELL_S = 3.0  # process 0, without whom nobody can speak, outlives the others by so much
_ADVICE = "a run needs all of its processes: start them again with the same command, and it goes on from its last "
_ADVICE += "checkpoint"

# Runs in a process of its own, so that it can still speak when jax ends the run's: that cannot be prevented from
# Python, and says nothing of what to do.
_LAST_WORDS = """
import socket, sys
host, port, why, end = sys.argv[1:]
if sys.stdin.read() != "done":
    try:
        socket.create_connection((host, int(port)), 5).close()
        why = ""
    except OSError:
        pass
    print(f"error: {why}{end}", file=sys.stderr)
"""


@contextlib.contextmanager
def joined(processes: str, process_id: int | None, coordinator: str | None) -> Iterator[None]:
    """Makes this process one of a run. Must come before anything asks jax for a device.

    When one of them ends or falls silent, the others end too, with its name. Leaving the block by an exception never
    returns: the process tells the others and ends with status 1.

    Args:
      processes: how many; "1" leaves jax alone, "auto" lets it find out where it can (TPU slices, Slurm, Open MPI,
        Kubernetes).
      process_id: which of them this is, from 0.
      coordinator: address of process 0 and a free port there, "host:port".

    Raises:
      ValueError: what is given does not say who is who.
    """
    if processes == "1":
        yield
        return
    given = {"--process_id": process_id, "--coordinator": coordinator}
    absent = [name for name, value in given.items() if value is None]
    if processes != "auto" and (not processes.isdigit() or processes == "0" or absent):
        raise ValueError(
            f"--processes={processes} must be auto, or a number with --process_id (from 0) and --coordinator "
            f"(host:port of process 0); {', '.join(absent) or 'the number'} is missing"
        )
    # Its handler of SIGTERM would take the place of ours, which all processes agree on.
    jax.config.update("jax_enable_preemption_service", False)
    number = None if processes == "auto" else int(processes)
    # Should our own watch be held up, jax's ends the process: later, and with fewer words. It hears of a process in
    # every half of its deadline only, so it may strike when half of it is over.
    if processes != "auto":
        # jax itself says nothing while it looks, and ends with an abort.
        print(
            f"process {process_id} of {processes} looks for process 0 at {coordinator}, for 5 minutes at most",
            file=sys.stderr,
            flush=True,
        )
    silence = int(2 * (SILENCE_S + 4 * _FAREWELL_S))
    try:
        jax.distributed.initialize(coordinator, number, process_id, heartbeat_timeout_seconds=silence)
    except ValueError as error:
        raise ValueError(
            f"--processes={processes}: jax does not know who is who ({error}); give a number of --processes, "
            f"--process_id (from 0) and --coordinator (host:port of process 0)"
        ) from error
    watch = _Watch()
    try:
        yield
        gather("end", None)
    except BaseException as error:  # nothing may keep this process from telling the others
        watch.fail(error)
    watch.close()
    jax.distributed.shutdown()


class _Watch:
    """A thread that shows the others that this process lives, and ends it when one of them does not."""

    def __init__(self):
        self._index, self._done, self._ending = jax.process_index(), threading.Event(), threading.Lock()
        self._names = gather("names", f"{socket.gethostname()}, pid {os.getpid()}")
        self._last_words = self._start_last_words()
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def close(self) -> None:
        """The run has ended well."""
        self._done.set()
        self._say_last("done")

    def fail(self, error: BaseException) -> NoReturn:
        """Ends this process, which cannot go on; the others hear why."""
        if isinstance(error, SystemExit) and isinstance(error.code, str):
            why = error.code.removeprefix("error: ")
        else:
            why = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            traceback.print_exception(error)
        if may_be_of_another(error):
            time.sleep(SILENCE_S + 2 * _PERIOD_S)  # then the watch says whose
        with contextlib.suppress(Exception):  # of jaxlib, of no one kind: without process 0 there is nobody to tell
            coordination_service().key_value_set(f"{KEYS}-failed/{self._index}", why)
        self._end(f"error: {why}")

    def _run(self) -> None:
        seen: dict[int, tuple[str, float]] = {}
        number, began = 0, time.monotonic()
        while not self._done.wait(_PERIOD_S):
            number += 1
            failed, alive = self._exchange(number)
            now = time.monotonic()
            for index, why in failed.items():
                self._stop(index, f"has stopped: {why}")
            for index in range(len(self._names)):
                if index in alive and seen.get(index, ("", 0.0))[0] != alive[index]:
                    seen[index] = alive[index], now
                elif index != self._index and now - seen.get(index, ("", began))[1] > SILENCE_S:
                    self._stop(index, f"has given no sign of life for {SILENCE_S:.0f} s")

    def _exchange(self, number: int) -> tuple[dict[int, str], dict[int, str]]:
        """What the others say: why they stopped, and their newest sign of life."""
        service = coordination_service()
        try:
            service.key_value_set(f"{KEYS}-alive/{self._index}", str(number), True)
            said = [dict(service.key_value_dir_get(f"{KEYS}-{what}")) for what in ("failed", "alive")]
        except Exception:  # of jaxlib, of no one kind: process 0 does not answer, and that counts as silence
            return {}, {}
        failed, alive = ({int(key.rpartition("/")[2]): text for key, text in of.items()} for of in said)
        return failed, alive

    def _stop(self, index: int, what: str) -> None:
        self._end(f"error: process {index} of {len(self._names)} ({self._names[index]}) {what}; {_ADVICE}")

    def _end(self, text: str) -> NoReturn:
        """Ends this process, once: the thread that comes second is not heard."""
        if not self._ending.acquire(blocking=False):
            threading.Event().wait()
        self._done.set()
        print(text, file=sys.stderr, flush=True)
        sys.stdout.flush()
        self._say_last("done")
        if self._index == 0:
            time.sleep(_FAREWELL_S)
        # Not sys.exit: the main thread may wait in a collective forever, and jax at exit for the other processes.
        os._exit(1)

    def _start_last_words(self) -> subprocess.Popen[str]:
        me, count, names = self._index, len(self._names), self._names
        # Of process 0 there is nothing more to find out.
        why = f"process 0 of {count} ({names[0]}), which all others need, cannot be reached any more, so " if me else ""
        end = f"process {me} of {count} ({names[me]}) ended in the middle of its work; {_ADVICE}"
        host, _, port = str(distributed.global_state.coordinator_address).rpartition(":")
        line = [sys.executable, "-ISc", _LAST_WORDS, host.strip("[]"), port, why, end]
        # A session of its own: Ctrl-C is not meant for it.
        return subprocess.Popen(line, stdin=subprocess.PIPE, text=True, start_new_session=True)

    def _say_last(self, word: str) -> None:
        with contextlib.suppress(OSError):
            self._last_words.communicate(word)


def may_be_of_another(error: BaseException) -> bool:
    """Whether an error, or what it came from, is a device's: another process's end comes to light in a collective."""
    came_from = error.__cause__ or error.__context__
    # XLA's errors are of several types, ValueError among them; all begin with a status such as "UNKNOWN: ". Memory that
    # has run out is this process's own.
    return bool(re.match("(?!RESOURCE_EXHAUSTED)[A-Z_]+: (?!.*[Oo]ut of memory)", str(error))) or (
        came_from is not None and may_be_of_another(came_from)
    )
