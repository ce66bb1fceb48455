"""Real runs of launch/train.py as subprocesses, small enough that one is over in seconds."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable

import jax
import numpy as np
import orbax.checkpoint as ocp

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEADLINE = 300.0  # seconds for anything a test waits for

# configs/tiny.py made smaller: several segments per sample, every phase, a few seconds.
SMALL = {
    "steps": 10,
    "model.hidden_size": 32,
    "model.intermediate_size": 64,
    "model.num_hidden_layers": 1,
    "data.heldout_rows": 16,
    "data.max_prompt_tokens": 24,
    "rollout.output_limit": 40,
    "rollout.segments": 4,
    "rollout.samples_per_prompt": 8,
    "rollout.slots": 24,
    "rollout.prefill_rows": 8,
    "rollout.prefill_lengths": (64,),
    "train.row_lengths": (64,),
    "train.rows_per_micro_batch": 8,
    "train.logprob_chunk": 64,
    "optimizer.learning_rate": 3e-3,
    "optimizer.warmup_steps": 0,
    "warm_start.steps": 60,
    "warm_start.rows": 8,
    "warm_start.row_length": 64,
    "warm_start.optimizer.warmup_steps": 5,
    "warm_start.optimizer.decay_steps": 60,
    "evaluation.every": 4,
    "checkpoint.every": 2,
}


def command(workdir: pathlib.Path, overrides: dict | None = None, config: str = "configs/tiny.py") -> list[str]:
    """The line a user would type."""
    flags = [f"--config.{key}={value}" for key, value in (overrides or {}).items()]
    return [sys.executable, "launch/train.py", f"--config={config}", f"--workdir={workdir}", *flags]


def environment(devices: int = 1) -> dict[str, str]:
    """This process's, with its own number of virtual CPU devices."""
    env = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    if devices > 1:
        env["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    return env


def start(workdir: pathlib.Path, overrides: dict | None = None, devices: int = 1) -> subprocess.Popen:
    """Starts a small run in the background; its output goes to files beside the workdir."""
    workdir.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{workdir}.out", "ab") as out, open(f"{workdir}.err", "ab") as err:
        line = command(workdir, SMALL | (overrides or {}))
        return subprocess.Popen(line, cwd=ROOT, env=environment(devices), stdout=out, stderr=err)


def finish(process: subprocess.Popen) -> int:
    """Waits for the end of a run; its exit code."""
    try:
        return process.wait(DEADLINE)
    finally:
        process.kill()


def run(workdir: pathlib.Path, overrides: dict | None = None, devices: int = 1) -> dict:
    """A small run to its end; the summary."""
    code = finish(start(workdir, overrides, devices))
    assert code == 0, f"exit code {code}: {pathlib.Path(f'{workdir}.err').read_text()[-2000:]}"
    return summary(workdir)


def wait_for(happened: Callable[[], bool], process: subprocess.Popen, what: str, pause: float = 0.01) -> None:
    """Waits until something can be seen of a run that goes on."""
    until = time.monotonic() + DEADLINE
    while not happened():
        assert process.poll() is None, f"the run ended (exit code {process.returncode}) before {what}"
        assert time.monotonic() < until, f"{what}: not within {DEADLINE} s"
        time.sleep(pause)


def summary(workdir: pathlib.Path) -> dict:
    """summary.json."""
    return json.loads((workdir / "summary.json").read_text())


def checkpoint_steps(workdir: pathlib.Path) -> list[int]:
    """Of the complete checkpoints."""
    folder = workdir / "checkpoints"
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []


def half_written(workdir: pathlib.Path) -> list[str]:
    """Names of checkpoints that are being written, or were when the run was killed."""
    folder = workdir / "checkpoints"
    return [name for name in (os.listdir(folder) if folder.is_dir() else []) if "checkpoint-tmp" in name]


def untimed(values: dict) -> dict:
    """A row of metrics or a summary without what a clock or a compilation cache decides."""
    out = {key: value for key, value in values.items() if not key.startswith("time/")}
    for key in ("wall_s", "seconds", "train/compiles"):
        out.pop(key, None)
    return out


def rows(workdir: pathlib.Path) -> list[dict]:
    """metrics.jsonl, as it is written (no NaN becomes unequal to itself)."""
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def num_rows(workdir: pathlib.Path) -> int:
    """Of metrics.jsonl, while it is written."""
    path = workdir / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@dataclasses.dataclass
class Saved:
    """A checkpoint, as NumPy arrays by name and the host's JSON without its clock."""

    step: int
    arrays: dict[str, np.ndarray]
    host: dict


def last_checkpoint(workdir: pathlib.Path) -> Saved:
    """Reads the newest checkpoint of a run, without knowing the run's settings."""
    step = checkpoint_steps(workdir)[-1]
    folder = workdir / "checkpoints" / str(step)
    arrays = {}
    for item in ("state", "device"):
        if (folder / item).exists():
            tree = ocp.StandardCheckpointer().restore(folder / item)
            arrays |= {
                item + jax.tree_util.keystr(path): np.asarray(leaf)
                for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
            }
    with np.load(folder / "host" / "arrays.npz") as host_arrays:
        arrays |= dict(host_arrays)
    host = json.loads((folder / "host" / "about.json").read_text())["host"]
    return Saved(step, arrays, {key: value for key, value in host.items() if key != "seconds"})
