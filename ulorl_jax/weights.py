"""Weights wherever they lie: a Hugging Face folder, a converted or warm-start folder, a run.

`open_weights` looks, reads the description and no array; `load` puts the arrays on devices.
The other direction is `convert`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from ulorl_jax.io.checkpoint_reader import SavedCheckpoint, open_checkpoint, saved_steps
from ulorl_jax.io.files import write_atomically
from ulorl_jax.io.hf_weights import CONFIG, SIDE_FILES, read_hf_weights
from ulorl_jax.io.safetensors_files import INDEX, SINGLE, find_tensors
from ulorl_jax.models.hf_qwen3 import config_from_hf, hf_tensors
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.models.qwen3_params import map_table
from ulorl_jax.models.rope import RopeScaling
from ulorl_jax.types import PyTree

HF = "hf"  # the folder beside checkpoints that keeps what a Hugging Face folder holds besides weights
_NOT_SHAPE = ("dtype", "remat")  # how the network is computed, not what it is
_LOOKED_AT = 4096  # bytes of every tensor that go into the identity of a Hugging Face folder


class Weights(Protocol):
    """A folder of weights, described and not yet read.

    Attributes:
      config: the network's shape; its dtype is the one recorded with the weights, float32 where none is.
      path: the Hugging Face folder, or the checkpoint of one step.
      step: of the checkpoint; None of a Hugging Face folder.
      files: folder with config.json, generation_config.json and tokenizer files; None where there is none.
    """

    @property
    def config(self) -> Qwen3Config: ...

    @property
    def path(self) -> Path: ...

    @property
    def step(self) -> int | None: ...

    @property
    def files(self) -> Path | None: ...

    def load(self, shardings: PyTree, dtype: Any = jnp.float32) -> PyTree:
        """The parameters.

        Args:
          shardings: a parameter-shaped tree of shardings.
          dtype: of the arrays.

        Returns:
          The parameter pytree.

        Raises:
          ValueError: something is missing, of another shape, or damaged; named.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Kind, path, step and identity, for records: a hash that other weights do not have."""
        ...


def open_weights(path: str | os.PathLike[str], step: int | None = None) -> Weights:
    """Looks what lies in a folder; reads no array, changes nothing.

    Args:
      path: a Hugging Face folder, a folder written by launch/convert.py, the warm_start folder of a run, a
        run's folder, or its checkpoints folder.
      step: of the checkpoint; the newest by default. A Hugging Face folder has none.

    Returns:
      The weights.

    Raises:
      ValueError: nothing of the kind is there, or it is of a network that this project does not have.
    """
    folder = Path(path).absolute()
    if any((folder / name).is_file() for name in (INDEX, SINGLE)):
        if step is not None:
            raise ValueError(f"{folder} is a Hugging Face folder and has no step {step}; leave the step out")
        values = read_json(folder / CONFIG)
        try:
            return _HFFolder(folder, config_from_hf(values))
        except ValueError as error:
            raise ValueError(f"{folder / CONFIG}: {error}") from error
    steps = folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    if not saved_steps(steps):
        raise ValueError(
            f"{folder} holds no weights; give a Hugging Face folder ({CONFIG} and {SINGLE}, or shards with {INDEX}), "
            f"a run's folder with a checkpoint, or a folder of launch/convert.py or a warm start"
        )
    # A run keeps the files once, beside its folders of checkpoints; a converted folder holds its own.
    of_run = steps.name in ("checkpoints", "warm_start")
    files = steps.parent / HF if of_run else steps / HF
    saved = open_checkpoint(steps, step)
    return _Checkpoint(saved, _config_of(saved), files if files.is_dir() else None)


@dataclasses.dataclass(frozen=True, eq=False)
class _HFFolder:
    path: Path
    config: Qwen3Config
    step: None = None

    @property
    def files(self) -> Path:
        return self.path

    def load(self, shardings: PyTree, dtype: Any = jnp.float32) -> PyTree:
        return read_hf_weights(self.path, hf_tensors(self.config), _like(self.config, shardings, dtype))

    def describe(self) -> dict[str, Any]:
        digest = hashlib.sha256((self.path / CONFIG).read_bytes())
        for name, tensor in sorted(find_tensors(self.path).items()):
            digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
            with open(tensor.path, "rb") as file:
                file.seek(tensor.start)
                digest.update(file.read(min(_LOOKED_AT, tensor.stop - tensor.start)))
        return {"kind": "hf", "path": str(self.path), "step": None, "identity": digest.hexdigest()}


@dataclasses.dataclass(frozen=True, eq=False)
class _Checkpoint:
    saved: SavedCheckpoint
    config: Qwen3Config
    files: Path | None

    @property
    def path(self) -> Path:
        return Path(self.saved.folder)

    @property
    def step(self) -> int:
        return self.saved.step

    def load(self, shardings: PyTree, dtype: Any = jnp.float32) -> PyTree:
        of_run = any(name.startswith(".params[") for name in self.saved.layout)
        return self.saved.read(_like(self.config, shardings, dtype), "params" if of_run else "")

    def describe(self) -> dict[str, Any]:
        return {"kind": "orbax", "path": str(self.path), "step": self.step, "identity": self.saved.identity}


def side_files(folder: Path | None) -> list[Path]:
    """The files of a folder that belong to a model besides its weights: config, generation config, tokenizer."""
    return [folder / name for name in SIDE_FILES if (folder / name).is_file()] if folder else []


def copy_side_files(weights: Weights, to: Path) -> None:
    """Copies config, generation config and tokenizer of some weights; nothing where they have none.

    Args:
      weights: whose files.
      to: the folder; made where there is something to copy.
    """
    copy_files(side_files(weights.files), to)


def copy_files(paths: Sequence[Path], to: Path) -> None:
    """Copies files into a folder, each whole or not at all; the folder is made where there is something to copy."""
    for path in paths:
        write_atomically(to / path.name, path.read_bytes())


def fingerprint(config: Qwen3Config) -> dict[str, Any]:
    """What makes weights fit a run: the shape of the network, not how it is computed.

    Args:
      config: the network.

    Returns:
      A JSON dict; YaRN is in it where it is on.
    """
    shape = {key: value for key, value in dataclasses.asdict(config).items() if key not in _NOT_SHAPE}
    if config.rope_scaling.factor == 1:
        del shape["rope_scaling"]  # so that a checkpoint older than YaRN has the same
    return shape


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a file.

    Raises:
      ValueError: there is no such file, or it holds something else.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON ({type(error).__name__}: {error})") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds no JSON object")
    return values


def _config_of(saved: SavedCheckpoint) -> Qwen3Config:
    """The network whose shape the checkpoint's fingerprint tells, among other things of its run."""
    names = {field.name for field in dataclasses.fields(Qwen3Config)} - set(_NOT_SHAPE)
    shape = {name: value for name, value in saved.fingerprint.items() if name in names}
    if lacking := sorted(names - set(shape) - {"rope_scaling"}):
        raise ValueError(f"checkpoint {saved.folder} does not tell the shape of its network: {lacking} are missing")
    scaling = RopeScaling(**shape.pop("rope_scaling", {}))
    return Qwen3Config(**shape, rope_scaling=scaling)


def _like(config: Qwen3Config, shardings: PyTree, dtype: Any) -> PyTree:
    shapes = map_table(lambda row: jax.ShapeDtypeStruct(row.shape, dtype), config)
    return jax.tree.map(
        lambda shape, sharding: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding), shapes, shardings
    )
