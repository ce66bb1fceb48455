"""Real runs of launch/train.py as subprocesses, small enough that one is over in seconds."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding

from configs import tiny
from ulorl_jax.settings import Settings

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEADLINE = 300.0  # seconds for anything a test waits for

# configs/tiny.py made smaller: several segments per sample, an update at every step, all in seconds.
SMALL = {
    "steps": 10,
    "model.hidden_size": 32,
    "model.intermediate_size": 64,
    "model.num_hidden_layers": 1,
    "data.heldout_rows": 16,
    "data.max_prompt_tokens": 8,
    "rollout.output_limit": 40,
    "rollout.segments": 4,
    "rollout.samples_per_prompt": 8,
    "rollout.slots": 24,
    "rollout.prefill_rows": 8,
    "rollout.prefill_chunk": 16,
    "train.row_lengths": (48,),
    "train.rows_per_micro_batch": 8,
    "train.logprob_chunk": 48,
    "optimizer.learning_rate": 1e-3,
    "optimizer.warmup_steps": 0,
    "warm_start.steps": 60,
    "warm_start.rows": 8,
    "warm_start.row_length": 48,
    "warm_start.optimizer.warmup_steps": 5,
    "warm_start.optimizer.decay_steps": 60,
    "evaluation.every": 4,
    "checkpoint.every": 2,
}


def task(folder: pathlib.Path) -> dict:
    """Writes a task that a minute-old policy gets right half the time: some x, a mark, and a 1 rather than a 2.

    Args:
      folder: where to.

    Returns:
      Overrides that train on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    lengths = np.exp(rng.uniform(0, np.log(30), 128)).astype(int)
    answers = ["x" * length + f"#{digit}" for length, digit in zip(lengths, rng.integers(1, 3, 128), strict=True)]
    rows = {
        "train": [(f"{i:02}=", "#1") for i in range(80)],
        "heldout": [(f"{i:02}=", "#1") for i in range(80, 96)],
        "supervised": [(f"{i:02}=", answer) for i, answer in zip(rng.integers(0, 80, 128), answers, strict=True)],
    }
    overrides = {"data.generate": ""}
    for name, pairs in rows.items():
        section = "data.train.main" if name == "train" else f"data.{name}"
        overrides |= {f"{section}.path": str(folder / f"{name}.jsonl"), f"{section}.id_field": "question"}
        lines = [json.dumps({"question": question, "answer": answer}) + "\n" for question, answer in pairs]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    return overrides


def command(workdir: pathlib.Path, overrides: dict | None = None, config: str = "configs/tiny.py") -> list[str]:
    """The line a user would type."""
    flags = [f"--config.{key}={value}" for key, value in (overrides or {}).items()]
    return [sys.executable, "launch/train.py", f"--config={config}", f"--workdir={workdir}", *flags]


def settings(overrides: dict | None = None) -> Settings:
    """What launch/train.py makes of such flags, for a run in this process on its eight devices."""
    config = tiny.get_config()
    config.update_from_flattened_dict(SMALL | {"mesh.data": 1, "mesh.fsdp": 8} | (overrides or {}))
    return Settings.from_dict(config.to_dict())


def environment(devices: int = 1) -> dict[str, str]:
    """This process's, with its own number of virtual CPU devices."""
    # For this process alone, see conftest.py: its eight devices, and programs that compile quickly but run slowly.
    ours = ("XLA_FLAGS", "JAX_CPU_ENABLE_ASYNC_DISPATCH", "JAX_DISABLE_MOST_OPTIMIZATIONS")
    env = {key: value for key, value in os.environ.items() if key not in ours}
    if devices > 1:
        env["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    return env


def start(workdir: pathlib.Path, overrides: dict | None = None, devices: int = 1) -> subprocess.Popen:
    """Starts a small run in the background."""
    return start_command(workdir, command(workdir, SMALL | (overrides or {})), devices)


def start_command(workdir: pathlib.Path, line: list[str], devices: int = 1) -> subprocess.Popen:
    """Starts any run in the background; its output goes to files beside the workdir."""
    workdir.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{workdir}.out", "ab") as out, open(f"{workdir}.err", "ab") as err:
        return subprocess.Popen(line, cwd=ROOT, env=environment(devices), stdout=out, stderr=err)


def finish(process: subprocess.Popen) -> int:
    """Waits for the end of a run; its exit code."""
    try:
        return process.wait(DEADLINE)
    finally:
        process.kill()


def run(workdir: pathlib.Path, overrides: dict | None = None, devices: int = 1) -> dict:
    """A small run to its end; the summary."""
    return summary_of(start(workdir, overrides, devices), workdir)


def summary_of(process: subprocess.Popen, workdir: pathlib.Path) -> dict:
    """The summary of a run that has been started, once it has ended well."""
    code = finish(process)
    assert code == 0, f"exit code {code}: {pathlib.Path(f'{workdir}.err').read_text()[-2000:]}"
    return summary(workdir)


def wait_for(happened: Callable[[], bool], process: subprocess.Popen, what: str, pause: float = 0.01) -> None:
    """Waits until something can be seen of a run that goes on."""
    until = time.monotonic() + DEADLINE
    while not happened():
        assert process.poll() is None, f"the run ended (exit code {process.returncode}) before {what}"
        assert time.monotonic() < until, f"{what}: not within {DEADLINE} s"
        time.sleep(pause)


def wait_for_text(read: Callable[[], str], text: str) -> None:
    """Waits until a text stands in what is read; what ended programs leave to others to print comes a moment later."""
    until = time.monotonic() + DEADLINE
    while text not in read():
        assert time.monotonic() < until, f"{text!r} does not stand in {read()[-2000:]!r}"
        time.sleep(0.05)


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
    """A row of metrics or a summary without what a clock, a compilation cache or a memory of verdicts decides."""
    out = {key: value for key, value in values.items() if not key.startswith(("time/", "compile/"))}
    compiles = ("train/compiles", "rollout/compiles", "trace/compiles")
    for key in ("first_tokens_s", "wall_s", "seconds", *compiles, "reward/cache_hits"):
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

    def params(self) -> dict[str, bytes]:
        """The weights, bit for bit; a warm start has nothing else."""
        of_state = any(name.startswith("state['params']") for name in self.arrays)
        prefix = "state['params']" if of_state else "state"
        return {name.removeprefix(prefix): x.tobytes() for name, x in self.arrays.items() if name.startswith(prefix)}


def last_checkpoint(workdir: pathlib.Path) -> Saved:
    """The newest checkpoint of a run."""
    return read_checkpoint(workdir / "checkpoints")


def read_checkpoint(folder: str | pathlib.Path, step: int | None = None) -> Saved:
    """A checkpoint of a folder, by default the newest, read without knowing the settings of its run."""
    if step is None:
        step = max(int(path.name) for path in pathlib.Path(folder).iterdir() if path.name.isdigit())
    folder = pathlib.Path(folder) / str(step)
    arrays = {}
    for item in ("state", "device"):
        if (folder / item).exists():
            reader = ocp.StandardCheckpointer()
            # Onto one device: those it was saved from may be of other processes.
            like = jax.tree.map(_on_one_device, reader.metadata(folder / item).item_metadata.tree)
            tree = reader.restore(folder / item, like)
            arrays |= {
                item + jax.tree_util.keystr(path): np.asarray(leaf)
                for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
            }
    with np.load(folder / "host" / "arrays.npz") as host_arrays:
        arrays |= dict(host_arrays)
    host = json.loads((folder / "host" / "about.json").read_text())["host"]
    return Saved(step, arrays, {key: value for key, value in host.items() if key != "seconds"})


def _on_one_device(saved: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(saved.shape, saved.dtype, sharding=SingleDeviceSharding(jax.devices()[0]))
