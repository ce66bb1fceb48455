"""Several processes of one run on this machine."""

import dataclasses
import pathlib
import signal
import socket
import subprocess
import sys

from tests import runs


@dataclasses.dataclass
class Several:
    """Processes that were started together; what process i writes goes to FOLDER.out.i and FOLDER.err.i."""

    folder: pathlib.Path
    processes: list[subprocess.Popen]

    def kill(self, index: int) -> None:
        """SIGKILL, as when memory runs out or a machine goes down."""
        self.processes[index].send_signal(signal.SIGKILL)

    def codes(self) -> list[int]:
        """Waits for the end of all."""
        try:
            return [process.wait(runs.DEADLINE) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()

    def said(self, index: int, stream: str = "err") -> str:
        """What a process has written, without gloo's own line on stdout."""
        lines = pathlib.Path(f"{self.folder}.{stream}.{index}").read_text().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("[Gloo]"))

    def name(self, index: int) -> str:
        """How the others call it."""
        return f"process {index} of {len(self.processes)} ({socket.gethostname()}, pid {self.processes[index].pid})"


def start(folder: pathlib.Path, lines: list[list[str]]) -> Several:
    """Starts a program per line, one virtual CPU device each."""
    processes = []
    for index, line in enumerate(lines):
        with open(f"{folder}.out.{index}", "w") as out, open(f"{folder}.err.{index}", "w") as err:
            env = runs.environment() | {"PYTHONPATH": str(runs.ROOT)}
            processes.append(subprocess.Popen(line, cwd=runs.ROOT, env=env, stdout=out, stderr=err))
    return Several(folder, processes)


def start_run(workdir: pathlib.Path, overrides: dict, count: int) -> Several:
    """The small run of `tests.runs` in so many processes."""
    where = [f"--processes={count}", f"--coordinator=localhost:{free_port()}"]
    line = runs.command(workdir, runs.SMALL | overrides) + where
    return start(workdir, [[*line, f"--process_id={index}"] for index in range(count)])


def start_program(folder: pathlib.Path, program: str, count: int) -> Several:
    """A few lines of Python in so many processes that have joined; `index` is which of them one is,
    and `sys.argv[4]` the folder's path."""
    lines = [
        "import os, sys, time, jax, numpy as np",
        "from ulorl_jax import joining, processes",
        "index = int(sys.argv[1])",
    ]
    lines += ["with joining.joined(sys.argv[2], index, sys.argv[3]):"]
    lines += ["    " + line for line in program.strip().splitlines()]
    where = [str(count), f"localhost:{free_port()}", str(folder)]
    return start(folder, [[sys.executable, "-uc", "\n".join(lines), str(i), *where] for i in range(count)])


def free_port() -> int:
    """Of this machine, a moment ago."""
    with socket.socket() as held:
        held.bind(("", 0))
        return held.getsockname()[1]
