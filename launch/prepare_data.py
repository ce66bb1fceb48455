"""Cleans a file of questions: python launch/prepare_data.py --config=configs/prepare_deepscaler.py --workdir=FOLDER

FOLDER must be new; it appears when all is done, with train.parquet for data.train, what was
dropped, what could not be judged, and report.md. --show=50 --show_step=sub_questions prints
random decisions of a step to be read, and writes nothing.
"""

import json
import os
import pathlib
import sys

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])  # not launch/: its inspect.py is not Python's
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags, logging
from ml_collections import config_flags

from launch.cli import errors_for_people, make_parser, refuse_arguments

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file; any key: --config.steps.too_easy=True", lock_config=True
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder to make; refused where it holds something.")
SHOW = flags.DEFINE_integer("show", 0, "Prints so many random decisions of --show_step and stops.", lower_bound=0)
SHOW_STEP = flags.DEFINE_string("show_step", "sub_questions", "The step whose decisions are shown.")
SHOW_KEPT = flags.DEFINE_bool("show_kept", False, "Shows rows that the step kept, and not those it acted on.")


def main(argv: list[str]) -> None:
    """Resolves the config, cleans, prints the counts."""
    refuse_arguments(argv, "overrides look like --config.data.path=FILE")
    logging.set_verbosity(logging.WARNING)
    resolved = CONFIG.value.to_dict()
    # Heavy imports after the flags are parsed: a typo is answered at once.
    with errors_for_people():
        from ulorl_jax.preparation import PreparationSettings, run_cleaning, run_preparation

        settings = PreparationSettings.from_dict(resolved)
        if SHOW.value:
            from ulorl_jax.data.cleaning_report import decision_to_text, draw_decisions

            cleaned, _ = run_cleaning(settings)
            for before, decision in draw_decisions(
                cleaned, SHOW_STEP.value, SHOW.value, settings.seed, SHOW_KEPT.value
            ):
                print(decision_to_text(before, decision), end="\n\n")
            return
        if WORKDIR.value is None:
            sys.exit("error: --workdir is the folder to make and must be given (only --show does without)")
        print(json.dumps(resolved), flush=True)
        report = run_preparation(settings, pathlib.Path(WORKDIR.value))
    steps = {step: {k: v for k, v in made.items() if k != "reasons"} for step, made in report["steps"].items()}
    print(json.dumps(report | {"steps": steps}, indent=2))


if __name__ == "__main__":
    flags.mark_flags_as_required(["config"])
    app.run(main, flags_parser=make_parser(CONFIG, "configs/prepare_base.py"))
