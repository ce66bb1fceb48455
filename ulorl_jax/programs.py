"""The programs that jax compiles for a run: kept on disk for the next one, and counted."""

from __future__ import annotations

import hashlib
import os
import pathlib
import platform
import tempfile
from types import TracebackType

import jax

COMPILED = "/jax/core/compile/backend_compile_duration"


def keep_programs() -> str:
    """Lets jax keep what it compiles on disk: a program that was compiled before is then read instead.

    The folder is `$JAX_COMPILATION_CACHE_DIR` where it is set (to nothing: none), else `ulorl_jax/compiled` in
    `$XDG_CACHE_HOME` or `~/.cache`. It must come after `jax.distributed` and before the first program. Nobody else may
    be able to write there: what lies there is run.

    Returns:
      "", or why nothing will be kept: the folder cannot be written. A run does not need it.
    """
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        # All of them: a start meets some dozens, and at jax's own limit of a second most are compiled every time.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:  # which jax reads itself
        return ""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not os.path.isabs(home):  # "~" without a home, or a relative path, would be in whatever folder this is
        return f"compiled programs are not kept: the cache folder must be absolute, got {home} (set XDG_CACHE_HOME)"
    folder = pathlib.Path(home) / "ulorl_jax" / "compiled" / _machine()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        about = folder.stat()
    except OSError as error:
        return f"compiled programs are not kept: {folder} cannot be written ({error.strerror})"
    if about.st_uid != os.getuid() or about.st_mode & 0o022:
        return f"compiled programs are not kept: others can write in {folder} (chmod 700, or delete it)"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    return ""


def _machine() -> str:
    """A name for what compiled programs run on, as far as jax's own key of a program does not tell.

    A program for a CPU has that very CPU's instructions. On another one, which may share the home folder, it would end
    the run with SIGILL, or XLA says at every start that it might.
    """
    if jax.default_backend() != "cpu":
        return jax.default_backend()
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = [platform.processor()]
    kinds = sorted({line for line in lines if line.partition("\t")[0] in ("model name", "model", "flags", "Features")})
    return f"cpu-{platform.machine()}-{hashlib.sha256(repr(kinds or lines).encode()).hexdigest()[:16]}"


class Compilations:
    """Counts programs that are new to this process, compiled or read from disk, while the block lasts.

    Attributes:
      count: so far.
      seconds: that it took to compile or read them; tracing is not in it.
    """

    def __init__(self):
        self.count, self.seconds = 0, 0.0
        self._before = 0, 0.0

    def end_step(self) -> dict[str, float]:
        """Those since the last call: `compile/programs` and `compile/seconds`."""
        (count, seconds), self._before = self._before, (self.count, self.seconds)
        return {"compile/programs": float(self.count - count), "compile/seconds": self.seconds - seconds}

    def __enter__(self) -> Compilations:
        jax.monitoring.register_event_duration_secs_listener(self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        jax.monitoring.unregister_event_duration_listener(self._hear)

    def _hear(self, event: str, duration_secs: float, **about: object) -> None:
        if event == COMPILED:
            self.count += 1
            self.seconds += duration_secs
