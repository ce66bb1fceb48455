"""Work for the pool of test_workers.py, in a module that workers can import: good, slow, hostile."""

import ctypes
import os
import pathlib
import signal
import subprocess
import sys
import time

hoard = []


def act(item):
    """One function for one pool: ("square", 3) is square(3)."""
    name, *arguments = item
    return globals()[name](*arguments)


def square(x):
    return x * x


def square_after(seconds, x):
    time.sleep(seconds)
    return x * x


def note(folder, name):
    """An empty file for each try of an item, with its process id."""
    pathlib.Path(folder, f"{name}-{os.getpid()}").touch()


def square_once_told(folder, x):
    note(folder, x)
    while not pathlib.Path(folder, "go").exists():
        time.sleep(0.005)
    return x * x


def meet(folder, count):
    """The process id, once so many processes are here."""
    note(folder, "meet")
    while len(os.listdir(folder)) < count:
        time.sleep(0.005)
    return os.getpid()


def surroundings():
    return {
        "pid": os.getpid(),
        "main": getattr(sys.modules["__main__"], "__file__", ""),
        "jax": "jax" in sys.modules,
        "ours": sorted(name for name in sys.modules if name.startswith(("ulorl_jax", "tests."))),
        "group": os.getpgid(0),
        "stdin": sys.stdin.read(),
        "output": os.fstat(1).st_rdev,
    }


def hang(folder, how):
    """`python`: in the interpreter. `c`: in C code that holds the interpreter's lock."""
    note(folder, how)
    while how == "python":
        pass
    ctypes.PyDLL(None).sleep(1000)


def send_self(folder, name):
    note(folder, name)
    os.kill(os.getpid(), getattr(signal, str(name), name))
    time.sleep(60)


def leave(folder, code):
    note(folder, code)
    os._exit(code)


class Wordless(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def fail(kind):
    if kind == "recursion":
        return fail(kind)
    errors = {
        "value": ValueError("a bad value"),
        "exit": SystemExit(3),
        "interrupt": KeyboardInterrupt("so"),
        "base": BaseException("at the root"),
        "wordless": Wordless(),
        "long": ValueError("x" * 10_000),
        "memory": MemoryError(),
    }
    raise errors[kind]


def take(megabytes, keep=False):
    memory = bytearray(megabytes << 20)
    if keep:
        hoard.append(memory)
    return len(memory)


def echo(value):
    return value


def local_function():
    return lambda: None


def restored_badly():
    raise ValueError("not here")


class Unreadable:
    """Can be pickled, cannot be restored."""

    def __reduce__(self):
        return restored_badly, ()


def unreadable():
    return Unreadable()


def shout():
    print("from print", flush=True)
    print("from stderr", file=sys.stderr, flush=True)
    os.write(1, b"from write")
    subprocess.run(["echo", "from a child"], check=True)
    return "quiet"
