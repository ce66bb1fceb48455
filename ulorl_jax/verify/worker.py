"""One worker of `verify.workers`: a program that runs a function on items until its channel closes.

It is started by file name, so it imports nothing of this project but the function's module; both sides import it
for what they say to each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import pickle
import resource
import signal
import socket
import struct
import sys

HEAD = struct.Struct("!Q")  # before each message to the parent: its length
REASON_CHARACTERS = 300


def serve(lifeline: int) -> None:
    """The worker's side of the channel, until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent(lifeline)
    stream = socket.socket(fileno=os.dup(0)).makefile("rwb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    sys.path[:], module, name, memory_mb = pickle.load(stream)
    if not sys.platform.startswith("linux"):
        memory_mb = None
    if memory_mb:
        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    function = getattr(importlib.import_module(module), name)
    enough = (_address_space() + (memory_mb << 20)) / 2 if memory_mb else 0
    for number, output in ((1, sys.stdout), (2, sys.stderr)):
        output.flush()
        os.dup2(nothing, number)
    message = b""  # ready
    while True:
        stream.write(HEAD.pack(len(message)) + message)
        stream.flush()
        value, error = None, ""
        try:
            message = pickle.load(stream)
        except EOFError:
            os._exit(0)  # the pool is closed; threads and exit handlers have no say
        try:
            value = function(pickle.loads(message))
        except MemoryError:
            error = f"used more than {memory_mb} MB" if memory_mb else "ran out of memory"
        except BaseException as failure:  # one item's outcome, also of sys.exit
            error = reason("raised ", failure)
        spent = bool(enough) and _address_space() > enough
        try:
            message = pickle.dumps((value, error, spent))
        except Exception as failure:  # whatever its __reduce__ raises
            message = pickle.dumps((None, reason("the result cannot be pickled: ", failure), spent))


def reason(what: str, error: BaseException) -> str:
    """What was raised, for people.

    Args:
      what: is said before it.
      error: any.

    Returns:
      At most `REASON_CHARACTERS`.
    """
    try:
        return f"{what}{type(error).__name__}: {error}"[:REASON_CHARACTERS]
    except BaseException:  # its own __str__ may raise anything
        return f"{what}{type(error).__name__}"


def _die_with_parent(lifeline: int) -> None:
    """Has the kernel send SIGKILL when the lifeline closes: that needs no interpreter, so C code cannot stop it.

    PR_SET_PDEATHSIG would fire when the thread ends that started this process, which need not be the main one.
    """
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):  # raised where it is open
            os.read(lifeline, 1)
            os._exit(0)


def _address_space() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
