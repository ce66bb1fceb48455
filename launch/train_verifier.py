"""Trains a verifier: launch/train_verifier.py --config=configs/verifier_tiny.py --workdir=runs/verifier_tiny"""

import json
import os
import pathlib
import sys

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])  # not launch/: its inspect.py is not Python's
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags, logging
from ml_collections import config_flags

from launch.cli import errors_for_people, keep_compiled_programs, make_parser, refuse_arguments

CONFIG = config_flags.DEFINE_config_file("config", None, "Config file; any key: --config.steps=100", lock_config=True)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the verifier. Started again with the same one, a training goes on where it was."
)


def main(argv: list[str]) -> None:
    """Resolves the config, trains, prints the summary."""
    refuse_arguments(argv, "overrides look like --config.steps=100")
    logging.set_verbosity(logging.WARNING)
    resolved = CONFIG.value.to_dict()
    # Heavy imports after the flags are parsed: a typo is answered at once.
    with errors_for_people():
        from ulorl_jax.verifier_settings import VerifierSettings
        from ulorl_jax.verifier_training import run_training

        settings = VerifierSettings.from_dict(resolved)
        keep_compiled_programs()
        print(json.dumps(resolved), flush=True)
        summary = run_training(settings, pathlib.Path(WORKDIR.value))
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main, flags_parser=make_parser(CONFIG, "configs/verifier_base.py"))
