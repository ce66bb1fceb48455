"""Sees whether a claim holds: runs an experiment's grid, then makes one table, one JSON and one picture of it.

python launch/ablate.py --config=configs/experiments/f4_mastered_tokens.py --workdir=DIR [--cells=plain] [--jobs=2]

Every cell and seed is a run of launch/train.py of its own, DIR/cells/CELL/seed_N. The same command goes on where it
was: what is finished is not run again. A run that fails, or that another process holds, does not hold up the others,
but the exit status is then 1.
Writes DIR/NAME.json, NAME.md and NAME.png of all that is finished; --aggregate_only does no more than that.
"""

import ast
import os
import pathlib
import sys

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])  # not launch/: its inspect.py is not Python's
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags, logging
from ml_collections import config_flags

from launch.cli import ROOT, errors_for_people, make_parser, refuse_arguments

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "An experiment, of configs/experiments; any key: --config.seeds=0,1", lock_config=True
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs and results. Experiments may share one.")
CELLS = flags.DEFINE_list("cells", None, "Names of the cells to run now; all by default.")
SEEDS = flags.DEFINE_list("seeds", None, "The experiment's seeds to run now; all by default.")
JOBS = flags.DEFINE_integer(
    "jobs", 1, "Runs at a time, each on its share of the cores. Seconds mean something with 1 only.", lower_bound=1
)
AGGREGATE_ONLY = flags.DEFINE_bool("aggregate_only", False, "Runs nothing.")


def main(argv: list[str]) -> None:
    """Resolves the experiment and its cells, runs what is missing, aggregates what is there."""
    refuse_arguments(argv, "overrides look like --config.seeds=0,1")
    logging.set_verbosity(logging.WARNING)
    file = pathlib.Path(config_flags.get_config_filename(flags.FLAGS["config"]))
    # Heavy imports after the flags are parsed: a typo is answered at once.
    with errors_for_people():
        from launch.experiment_runs import make_runs
        from ulorl_jax.aggregation import aggregate
        from ulorl_jax.clock import StopRequest
        from ulorl_jax.experiment import ExperimentSettings
        from ulorl_jax.experiment_report import print_report, write_report
        from ulorl_jax.grid import refuse_changed, run_grid

        experiment = ExperimentSettings.from_dict(CONFIG.value.to_dict())
        workdir = pathlib.Path(str(WORKDIR.value))
        cells = _some("cells", CELLS.value, list(experiment.cells))
        seeds = _some("seeds", SEEDS.value, [str(seed) for seed in experiment.seeds])
        runs = make_runs(experiment, workdir, ROOT)
        refuse_changed(list(runs.values()))
        failed: dict[str, str] = {}
        with StopRequest() as stop:
            if not AGGREGATE_ONLY.value:
                chosen = [run for (cell, seed), run in runs.items() if cell in cells and str(seed) in seeds]
                needed = list(dict.fromkeys(run.after for run in chosen if run.after is not None))
                failed = run_grid(needed + chosen, JOBS.value, file.stem, stop)
        finished = {
            cell: {seed: runs[cell, seed].folder for seed in experiment.seeds if runs[cell, seed].finished}
            for cell in experiment.cells
        }
        result = aggregate(experiment, finished)
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        write_report(experiment, result, workdir, file.stem, text)
    print_report(experiment, result)
    print(f"Written: {workdir / file.stem}.json, .md and .png")
    for run, why in failed.items():
        print(f"not finished: {run}: {why}", file=sys.stderr)
    if failed:
        sys.exit(1)
    if stop.requested:
        sys.exit(f"stopped by {stop.requested}; the same command goes on")


def _some(flag: str, given: list[str] | None, there: list[str]) -> list[str]:
    from ulorl_jax.typed import choose

    return [choose(dict(zip(there, there, strict=True)), name, f"--{flag}") for name in given or there]


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main, flags_parser=make_parser(CONFIG, "configs/experiments/base.py"))
