"""A step's update once more, without decoding: on the groups that a run recorded, from its checkpoint before them.

With an unchanged config it gives the very numbers that the run wrote down; with another loss, what that would have
done there. For debugging a loss.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax

from ulorl_jax.batches import count_tokens, samples_of
from ulorl_jax.capacity import explaining_exhaustion
from ulorl_jax.clock import Clock
from ulorl_jax.io.checkpoint_reader import SavedCheckpoint, open_checkpoint, saved_steps
from ulorl_jax.io.files import write_atomically
from ulorl_jax.io.folders import demand_shared
from ulorl_jax.io.metrics import Metrics, read_metrics, write_summary
from ulorl_jax.io.recorded_groups import read_groups
from ulorl_jax.io.records import sha256
from ulorl_jax.io.step_files import GROUPS
from ulorl_jax.io.tables import print_table
from ulorl_jax.parts import make_layouts, make_workdir
from ulorl_jax.processes import demand_same, is_first
from ulorl_jax.settings import Settings
from ulorl_jax.train.state import state_structs
from ulorl_jax.trainer import make_trainer
from ulorl_jax.types import Group
from ulorl_jax.update import update
from ulorl_jax.weights import fingerprint, read_json

# Of a config, what the update sees.
_SEEN = ("model", "mesh", "loss", "train", "optimizer")


def replay(settings: Settings, workdir: Path) -> dict[str, Any]:
    """Trains on a recorded step's groups, prints its metrics beside the run's, and writes them down.

    Args:
      settings: with `replay`, "RUN/12"; their network must be the run's, their loss need not.
      workdir: of the replay, not a run's: gets config.json, metrics.jsonl and summary.json.

    Returns:
      The summary, as written.

    Raises:
      ValueError: the step cannot be replayed, or not with these settings.
    """
    demand_same("settings", dataclasses.asdict(settings) | {"--workdir": str(workdir)})
    run, step = parse(settings.replay)
    _refuse_run(workdir)
    groups, saved, clock = *open_step(run, step), Clock()
    # Each process reads for itself, perhaps from a disk of its own.
    read = {"groups": sha256(GROUPS.path(run, step)), "checkpoint": saved.identity}
    demand_same(f"files of {settings.replay}", read, f"give all processes the same copy of {run}")
    s, layout, _ = make_layouts(settings)
    trainer = make_trainer(s, layout)
    like = state_structs(s.model, trainer.optimizer, layout)
    _refuse_other_state(saved, s, like)
    make_workdir(workdir)
    demand_shared(workdir)
    with explaining_exhaustion(s, layout.mesh):
        with clock.phase("restore"):
            state = jax.block_until_ready(saved.read(like))
        updated = update(trainer, state, groups, clock)
    values = updated.values | {"policy/step": float(updated.state.step)} | clock.end_step()
    rows = read_metrics(run / "metrics.jsonl") if (run / "metrics.jsonl").is_file() else []
    recorded = next((row for row in rows if row["step"] == step), {})
    changed = _changes(read_json(run / "config.json"), json.loads(json.dumps(dataclasses.asdict(s))))
    shown = [name for name in updated.values if name != "train/compiles"]
    differ = [name for name in shown if name in recorded and repr(recorded[name]) != repr(values[name])]
    summary = {
        "replay": f"{run}/{step}",
        "groups": len(groups),
        "tokens": count_tokens(samples_of(groups)),
        "config changed": changed,
        "metrics that differ": differ,
        "seconds": {name: round(value, 2) for name, value in clock.totals.items()},
    }
    if is_first():
        write_atomically(workdir / "config.json", json.dumps(dataclasses.asdict(s), indent=2) + "\n")
        with Metrics(workdir, after_step=-1) as metrics:
            metrics.write(step, values)
        write_summary(workdir, summary)
        _print(summary, recorded, values, shown)
    return summary


def parse(text: str) -> tuple[Path, int]:
    """The run's folder and the step of `replay`, "RUN/12".

    Raises:
      ValueError: it is not of this form.
    """
    folder, _, step = text.rstrip("/").rpartition("/")
    if not folder or not step.isdigit():
        raise ValueError(f"replay is the folder of a run and a step, such as runs/tiny/81; got {text!r}")
    return Path(folder), int(step)


def open_step(run: Path, step: int) -> tuple[list[Group], SavedCheckpoint]:
    """The groups that a step trained on, and the checkpoint that it started from.

    Args:
      run: the run's folder.
      step: which step.

    Returns:
      Both; no array of the checkpoint is read yet.

    Raises:
      ValueError: the run has not both; says which steps can be replayed.
    """
    if not (run / "config.json").is_file():
        raise ValueError(f"replay={run}/{step}: {run} is not the folder of a run of launch/train.py")
    recorded, saved = GROUPS.steps(run), saved_steps(run / "checkpoints")
    if step in recorded and step - 1 in saved:
        return read_groups(run, step), open_checkpoint(run / "checkpoints", step - 1)
    possible = [number for number in recorded if number - 1 in saved]
    lacks = "the groups of that step" if step not in recorded else f"a checkpoint of step {step - 1} any more"
    there = f"it can replay {', '.join(map(str, possible))}" if possible else "it can replay no step"
    raise ValueError(
        f"replay={run}/{step}: this run does not have {lacks}; {there}. A run with groups_every=1 records the step "
        f"after every checkpoint (checkpoint.every), if it updates the weights, and keeps it as long as the checkpoint "
        f"(checkpoint.keep)"
    )


def _refuse_run(workdir: Path) -> None:
    """A run's own record must not be cut back to one step."""
    config = workdir / "config.json"
    if (workdir / "checkpoints").is_dir() or (config.is_file() and not read_json(config).get("replay")):
        raise ValueError(f"--workdir={workdir} is the folder of a run; a replay wants one of its own")


def _refuse_other_state(saved: SavedCheckpoint, settings: Settings, like: Any) -> None:
    """Weights and moments must fit: they are the run's."""
    want = json.loads(json.dumps(fingerprint(settings.model)))
    known = [*want, *({"rope_scaling"} & (set(saved.fingerprint) - set(want)))]  # which is there where it is on
    if names := [name for name in known if want.get(name) != saved.fingerprint.get(name)]:
        rows = ", ".join(f"model.{name} is {saved.fingerprint.get(name)}, got {want.get(name)}" for name in names)
        raise ValueError(f"{saved.folder} is of another network: {rows}; replay with the model.* of the run's config")
    leaves, _ = jax.tree_util.tree_flatten_with_path(like)
    arrays = {jax.tree_util.keystr(path) for path, _ in leaves}
    if arrays != set(saved.layout):
        odd = sorted(arrays ^ set(saved.layout))[:3]
        raise ValueError(
            f"{saved.folder} is of another optimizer than optimizer.kind={settings.optimizer.kind} with these settings "
            f"({', '.join(odd)} are not in both); replay with the optimizer.* of the run's config"
        )


def _changes(run: dict[str, Any], ours: dict[str, Any]) -> dict[str, list[Any]]:
    """What the update sees differently: key -> the run's value and ours; None where one does not know the key."""
    kept = [{"rollout.temperature": config["rollout"]["temperature"]} for config in (run, ours)]
    flat = [
        one | {f"{name}.{key}": v for name in _SEEN for key, v in config[name].items()}
        for one, config in zip(kept, (run, ours), strict=True)
    ]
    names = sorted(flat[0] | flat[1])
    return {name: [one.get(name) for one in flat] for name in names if flat[0].get(name) != flat[1].get(name)}


def _print(summary: dict[str, Any], recorded: dict[str, Any], values: dict[str, float], shown: list[str]) -> None:
    rows = [
        {
            "metric": name,
            "recorded": repr(recorded[name]) if name in recorded else "-",
            "replayed": repr(values[name]),
            "": "" if name not in recorded else "differs" if name in summary["metrics that differ"] else "equal",
        }
        for name in shown
    ]
    print_table(
        f"{summary['replay']}: {summary['groups']} groups, {summary['tokens']:,} tokens",
        rows,
        {name: name for name in rows[0]},
    )
    if not recorded:
        print("the run's metrics.jsonl has no row of this step")
    for name, (theirs, ours) in summary["config changed"].items():
        print(f"changed: {name} was {theirs}, is {ours}")
    if summary["metrics that differ"] and not summary["config changed"]:
        print("nothing in the config explains the difference: other devices, another jax, or other code than the run's")
