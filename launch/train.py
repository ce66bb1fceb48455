"""Trains a policy with UloRL: python launch/train.py --config=configs/tiny.py --workdir=runs/tiny"""

import time

BEGAN = time.monotonic()  # before the imports, which take seconds

import json
import os
import pathlib
import sys

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])  # not launch/: its inspect.py is not Python's
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags, logging
from ml_collections import config_flags

from launch.cli import define_process_flags, errors_for_people, keep_compiled_programs, make_parser, refuse_arguments

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file; any key: --config.rollout.segments=1", lock_config=True
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run. Started again with the same one, a run goes on where it was."
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Prints the resolved config, parameters, tokens per step and memory by hand count, and stops."
)
PROCESSES = define_process_flags()


def main(argv: list[str]) -> None:
    """Resolves the config, builds the parts, runs the loop, prints the summary."""
    refuse_arguments(argv, "overrides look like --config.steps=10")
    logging.set_verbosity(logging.WARNING)
    resolved = CONFIG.value.to_dict()
    # Heavy imports after the flags are parsed: a typo is answered at once.
    with errors_for_people():
        from ulorl_jax.joining import joined
        from ulorl_jax.processes import is_first
        from ulorl_jax.settings import Settings

        settings = Settings.from_dict(resolved)
        if DRY_RUN.value:
            from ulorl_jax.footprint import describe

            print(json.dumps(resolved, indent=2), flush=True)
            print(describe(settings))
            return
        if WORKDIR.value is None:
            sys.exit("error: --workdir is the folder of the run and must be given (only --dry_run does without)")
    # Inside: what is refused there ends the other processes, too.
    with errors_for_people(), joined(*PROCESSES()), errors_for_people():
        from ulorl_jax.loop import run
        from ulorl_jax.parts import make_parts
        from ulorl_jax.replay import replay

        keep_compiled_programs()
        if is_first():
            print(json.dumps(resolved), flush=True)
        workdir = pathlib.Path(WORKDIR.value)
        summary = replay(settings, workdir) if settings.replay else run(make_parts(settings, workdir), began=BEGAN)
        if is_first():
            print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    flags.mark_flags_as_required(["config"])
    app.run(main, flags_parser=make_parser(CONFIG, "configs/base.py"))
