"""What the scripts of launch/ share: flags whose mistakes are answered in a line, and errors for people."""

import contextlib
import os
import pathlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator

from absl import app, flags

flags.disclaim_key_flags()  # those below are of the script that asks for them, and in its --help
ROOT = pathlib.Path(__file__).resolve().parents[1]

# Virtual CPU devices share one pool of threads. With a second program queued behind the first, a device can hold
# the thread that another needs to join the first one's all-reduce, and both wait forever.
if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
    os.environ.setdefault("JAX_CPU_ENABLE_ASYNC_DISPATCH", "false")


def make_parser(config: flags.FlagHolder, keys: str) -> Callable[[list[str]], list[str]]:
    """absl's parser; a config key or file that is not there is answered in a line.

    Args:
      config: the script's flag from `config_flags.DEFINE_config_file`.
      keys: the file that has all its keys, named in the answer.

    Returns:
      A `flags_parser` for `app.run`.
    """

    def parse(argv: list[str]) -> list[str]:
        try:
            rest = app.parse_flags_with_usage(argv)
            if config.value is not None:
                config.value.to_dict()  # raises what reading the file raised
            return rest
        except AttributeError as error:  # holds ml_collections' KeyError with its suggestion
            text = error.args[0].args[0] if isinstance(error.args[0], KeyError) else str(error)
            sys.exit(f"error: no config key {'. '.join(text.splitlines())} ({keys} has all keys)")
        except OSError as error:
            sys.exit(f"error: the config file cannot be read: {' '.join(str(error).split())}")

    return parse


def define_process_flags() -> Callable[[], tuple[str, int | None, str | None]]:
    """The flags of a script that several processes run together.

    Returns:
      What gives their values, the arguments of `joining.joined`; to be called once flags are parsed.
    """
    processes = flags.DEFINE_string(
        "processes", "1", "Processes of the run, usually one per host: a number, or auto on a TPU slice or under Slurm."
    )
    process_id = flags.DEFINE_integer("process_id", None, "Which of several processes this is, from 0.")
    coordinator = flags.DEFINE_string("coordinator", None, "host:port of process 0, where any port is free.")
    return lambda: (processes.value, process_id.value, coordinator.value)


@contextlib.contextmanager
def errors_for_people() -> Iterator[None]:
    """Ends the script with one `error:` line where we refuse something; a library's error keeps its traceback.

    A library's is a mistake of ours, so the traceback is wanted. XLA's errors seem to come from our line; they begin
    with a status such as `UNKNOWN: `.
    """
    try:
        yield
    except (ValueError, FloatingPointError) as error:
        raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
        ours = any(pathlib.Path(raised_in).is_relative_to(ROOT / folder) for folder in ("ulorl_jax", "launch"))
        if not ours or re.match("[A-Z_]+: ", str(error)):
            raise
        sys.exit(f"error: {error}")


def keep_compiled_programs() -> None:
    """Lets jax keep what it compiles for the next run, see `ulorl_jax.programs`; comes before the first program."""
    from ulorl_jax.programs import keep_programs  # here: importing jax takes a second, and flags come first

    if problem := keep_programs():
        print(problem, file=sys.stderr)


def refuse_arguments(argv: list[str], example: str) -> None:
    """Everything is a flag: what is left over was mistyped."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}; {example}")
