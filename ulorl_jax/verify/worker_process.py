"""One process of a pool and what it is at, as the parent sees them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

from ulorl_jax.verify import worker as program
from ulorl_jax.verify.worker import HEAD

END_S = 5.0  # a process that is killed is gone by then


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of one item: the function's value; or None and, for people, why there is none."""

    value: Any
    error: str = ""


@dataclasses.dataclass(eq=False)
class Task:
    """One item on its way: what became of it, and whether it has had its second try."""

    item: Any
    result: Result = Result(None, "was not run")
    retried: bool = False


class WorkerProcess:
    """The parent's side of one process: it is starting, or ready and free, or ready with a task.

    Args:
      setup: the first message: what the worker needs before it is ready.

    Attributes:
      ready: its imports are done.
      task: what it is at; None where it is free.
      since: when something last went to it or came from it, by `time.monotonic`.
      outbox: what it has not taken yet.
      channel: what a selector may wait for.
    """

    def __init__(self, setup: bytes):
        self.ready, self._inbox = False, bytearray()
        self.task: Task | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (`end` closes it)
        self.channel, theirs = socket.socketpair()
        lifeline, self._life = os.pipe()  # nothing is written: it closes when this process ends
        with theirs:
            self.process = subprocess.Popen(
                # -P: the modules beside this file do not stand before the standard library's.
                [sys.executable, "-P", program.__file__, str(lifeline)],
                stdin=theirs.fileno(),
                stdout=self._log,
                stderr=self._log,
                pass_fds=[lifeline],
                process_group=0,  # a terminal's Ctrl-C is not for it
                env=os.environ | {"OMP_NUM_THREADS": "1"},  # one core each; BLAS threads would take memory_mb
            )
        os.close(lifeline)
        self.channel.setblocking(False)
        self.post(setup)

    def post(self, message: bytes) -> None:
        """Sends what the channel takes now; `exchange` sends the rest."""
        self.outbox = memoryview(message)
        self.since = time.monotonic()
        self._send()

    def exchange(self) -> bytes | None:
        """Sends and receives what it can without waiting; a message once it is whole. EOFError: it is gone."""
        self._send()
        try:
            chunk = self.channel.recv(1 << 16)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            with contextlib.suppress(subprocess.TimeoutExpired):  # its files close before it has its exit status
                self.process.wait(1.0)
            raise EOFError
        self.since = time.monotonic()
        self._inbox += chunk
        if len(self._inbox) < HEAD.size or len(self._inbox) < HEAD.size + HEAD.unpack_from(self._inbox)[0]:
            return None
        message, self._inbox = bytes(self._inbox[HEAD.size :]), bytearray()
        return message

    def _send(self) -> None:
        try:
            while self.outbox:
                self.outbox = self.outbox[self.channel.send(self.outbox) :]
                self.since = time.monotonic()  # the clock starts when all is sent
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self.outbox = memoryview(b"")  # the next receive tells

    def finish(self, result: Result) -> None:
        """Notes what became of the task; the worker is free."""
        assert self.task
        self.task.result, self.task = result, None

    def is_stopped(self) -> bool:
        """Whether somebody stopped it; False where the system cannot tell."""
        with contextlib.suppress(AttributeError, ChildProcessError):  # no waitid; died in between
            return os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOHANG) is not None
        return False

    def printed(self) -> str:
        """The end of what it printed before it was ready."""
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 2000))
        return self._log.read().decode("utf-8", "replace").strip() or "nothing"

    def end(self) -> str:
        """Kills it, where it has not died of something else already; of what it died."""
        self.process.kill()
        self.channel.close()
        self._log.close()
        os.close(self._life)
        with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in the kernel: it is reaped later
            self.process.wait(END_S)
        code = self.process.returncode or 0
        cause = f"exit status {code}" if code >= 0 else f"signal {-code}"
        with contextlib.suppress(ValueError):  # not a signal, or one without a name
            cause = signal.Signals(-code).name
        return f"the worker died ({cause})"
