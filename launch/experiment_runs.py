"""An experiment's cells and seeds as runs of launch/train.py, each resolved and checked as that script will."""

from __future__ import annotations

import dataclasses
import pathlib
import sys

from absl import flags
from ml_collections import config_flags

from ulorl_jax.experiment import ExperimentSettings
from ulorl_jax.grid import GridRun
from ulorl_jax.settings import Settings


def make_runs(
    experiment: ExperimentSettings, workdir: pathlib.Path, root: pathlib.Path
) -> dict[tuple[str, int], GridRun]:
    """The runs of an experiment, seed after seed, so that a part of them says something.

    Args:
      experiment: its cells, seeds and warm start.
      workdir: where they go: cells/CELL/seed_N and warm_starts/seed_N.
      root: the project's folder, that configs are named from.

    Returns:
      By cell and seed.

    Raises:
      ValueError: a cell's overrides cannot be used; the message names the cell.
    """
    config = root / experiment.config
    runs = {}
    for seed in experiment.seeds:
        of_all = (*experiment.overrides, f"seed={seed}")
        warm = None
        if experiment.warm_start:
            folder = workdir / "warm_starts" / f"seed_{seed}"
            warm = _make_run(f"warm start/seed_{seed}", folder, root, config, (*experiment.warm_start, f"seed={seed}"))
        for cell, own in experiment.cells.items():
            folder = workdir / "cells" / cell / f"seed_{seed}"
            run = _make_run(f"{cell}/seed_{seed}", folder, root, config, (*of_all, *own))
            if warm is not None:
                shared = ("warm_start.steps=0", f"warm_start.checkpoint={warm.folder / 'warm_start'}")
                command = (*run.command, *(f"--config.{override}" for override in shared))
                # Not where the warm start lies: the workdir may be moved.
                run = dataclasses.replace(run, command=command, asked=run.asked | {"shared": warm.asked}, after=warm)
            runs[cell, seed] = run
    return runs


def resolve(config: pathlib.Path, overrides: tuple[str, ...]) -> dict:
    """What launch/train.py makes of a config file and overrides: the same parser, on flags of its own.

    Args:
      config: the file.
      overrides: such as "loss.sigma=0.0".

    Returns:
      The resolved config.

    Raises:
      ValueError: the file or an override cannot be used.
    """
    argv = ["train.py", f"--config={config}", *(f"--config.{override}" for override in overrides)]
    values = flags.FlagValues()
    holder = config_flags.DEFINE_config_file(
        "config", None, "Of a cell.", flag_values=values, lock_config=True, sys_argv=argv
    )
    try:
        values(argv)
        return holder.value.to_dict()
    except AttributeError as error:
        text = ". ".join(str(error).splitlines())
        raise ValueError(f"no config key {text} (configs/base.py has all keys)") from error
    except (flags.Error, OSError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def _make_run(
    name: str, folder: pathlib.Path, root: pathlib.Path, config: pathlib.Path, overrides: tuple[str, ...]
) -> GridRun:
    try:
        settings = Settings.from_dict(resolve(config, overrides))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    line = (sys.executable, str(root / "launch" / "train.py"), f"--config={config}", f"--workdir={folder}")
    command = (*line, *(f"--config.{override}" for override in overrides))
    return GridRun(name, folder, command, dataclasses.asdict(settings), settings.steps)
