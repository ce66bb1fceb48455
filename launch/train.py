"""Trains a policy with UloRL: python launch/train.py --config=configs/tiny.py --workdir=runs/tiny"""

import json
import os
import pathlib
import sys
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags, logging
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file; any key: --config.rollout.segments=1", lock_config=True
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run. Started again with the same one, a run goes on where it was."
)


def parse_flags(argv: list[str]) -> list[str]:
    """absl's parser; a config key or file that is not there is answered in a line."""
    try:
        rest = app.parse_flags_with_usage(argv)
        CONFIG.value.to_dict()  # raises what reading the file raised
        return rest
    except AttributeError as error:  # holds ml_collections' KeyError with its suggestion
        text = error.args[0].args[0] if isinstance(error.args[0], KeyError) else str(error)
        sys.exit(f"error: no config key {'. '.join(text.splitlines())} (configs/base.py has all keys)")
    except OSError as error:
        sys.exit(f"error: the config file cannot be read: {' '.join(str(error).split())}")


def main(argv: list[str]) -> None:
    """Resolves the config, builds the parts, runs the loop, prints the summary."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}; overrides look like --config.steps=10")
    logging.set_verbosity(logging.WARNING)
    # Heavy imports after the flags are parsed: a typo is answered at once.
    from ulorl_jax.loop import run
    from ulorl_jax.parts import make_parts
    from ulorl_jax.settings import Settings

    try:
        resolved = CONFIG.value.to_dict()
        settings = Settings.from_dict(resolved)
        print(json.dumps(resolved), flush=True)
        summary = run(make_parts(settings, pathlib.Path(WORKDIR.value)))
    except (ValueError, FloatingPointError) as error:
        raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
        if not pathlib.Path(raised_in).is_relative_to(ROOT / "ulorl_jax"):
            raise  # a library's, so a mistake of ours: the traceback is wanted
        sys.exit(f"error: {error}")
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main, flags_parser=parse_flags)
