"""Evaluates weights: launch/evaluate.py --config=configs/evaluation/math500.py --config.weights=FOLDER --workdir=FOLDER

With --rescore=RECORD it computes the scores of a record again, without weights or devices.
"""

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
    "config", None, "Config file; any key: --config.decoding.samples=4", lock_config=True
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the evaluation. Started again with the same one, it goes on where it was."
)
PROCESSES = define_process_flags()
RESCORE = flags.DEFINE_string("rescore", None, "A record.jsonl, or its folder: prints its scores, decodes nothing.")


def main(argv: list[str]) -> None:
    """Evaluates or rescores, and prints the summary."""
    refuse_arguments(argv, "overrides look like --config.decoding.samples=4")
    logging.set_verbosity(logging.WARNING)
    if RESCORE.value is not None:
        if CONFIG.value is not None or WORKDIR.value is not None:
            sys.exit("error: --rescore reads everything from the record; leave --config and --workdir out")
        with errors_for_people():
            from ulorl_jax.io.record_reader import read_record
            from ulorl_jax.scoring import score_record

            print(json.dumps(score_record(read_record(RESCORE.value)), indent=2))
        return
    if CONFIG.value is None or WORKDIR.value is None:
        sys.exit("error: --config and --workdir must be given (or --rescore alone)")
    resolved = CONFIG.value.to_dict()
    # Heavy imports after the flags are parsed: a typo is answered at once.
    with errors_for_people():
        from ulorl_jax.evaluation_settings import EvaluationSettings
        from ulorl_jax.joining import joined
        from ulorl_jax.processes import is_first

        settings = EvaluationSettings.from_dict(resolved)
    # Inside: what is refused there ends the other processes, too.
    with errors_for_people(), joined(*PROCESSES()), errors_for_people():
        from ulorl_jax.evaluation import run_evaluation

        keep_compiled_programs()
        if is_first():
            print(json.dumps(resolved), flush=True)
        summary = run_evaluation(settings, pathlib.Path(WORKDIR.value))
        if is_first():
            print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    app.run(main, flags_parser=make_parser(CONFIG, "configs/evaluation/base.py"))
