"""Checkpoints of another run, read only: nothing is created, tried out or cleaned up in their folder.

Orbax would read a stacked array as a whole and copy it to its device: two of them beside
the result. Here the zarr files that it wrote are read block by block into place.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import tensorstore
from etils import epath
from jax.sharding import SingleDeviceSharding

from ulorl_jax.io.checksums import FILE, find_damage
from ulorl_jax.types import PyTree

_REMEDY = "take another step, copy it again, or move it away where it can be made anew"


@dataclasses.dataclass(frozen=True, eq=False)
class SavedCheckpoint:
    """One step of a folder that `Checkpoints` wrote; no array of it is read yet.

    Attributes:
      folder: of the step.
      step: its number.
      fingerprint: what makes its model different from others.
      host: the dict that was saved with it.
      layout: name of every array of its state -> dtype and shape.
    """

    folder: epath.Path
    step: int
    fingerprint: dict[str, Any]
    host: dict[str, Any]
    layout: dict[str, str]

    @property
    def identity(self) -> str:
        """SHA-256, in hex, of the checksums of all files of the state: it tells its arrays from those of any other."""
        return hashlib.sha256((self.folder / "state" / FILE).read_bytes()).hexdigest()

    def read(self, like: PyTree, part: str = "") -> PyTree:
        """Arrays of the state, bit for bit, or cast to the dtype asked for.

        Block by block, of 16 MB in the files that `Checkpoints` writes: the host holds few beside the result.

        Args:
          like: pytree of jax.ShapeDtypeStruct with shardings.
          part: the field of the state that looks like this, such as "params"; "" for the state as a whole.
            What is not asked for is not read, where the checkpoint keeps arrays in files of their own.

        Returns:
          The pytree of arrays.

        Raises:
          ValueError: an array is absent or of another shape, or a file that is read is damaged.
        """
        leaves, structure = jax.tree_util.tree_flatten_with_path(like)
        prefix = f".{part}" if part else ""
        self._compare({prefix + jax.tree_util.keystr(path): leaf for path, leaf in leaves})
        others = set(re.findall(r"^\.(\w+)", "\n".join(self.layout), re.MULTILINE)) - {part} if part else set()
        if damage := find_damage(self.folder / "state", lambda name: re.split(r"[./]", name)[0] not in others):
            raise ValueError(f"checkpoint {self.folder} is damaged: {damage}; {_REMEDY}")
        arrays = []
        for path, leaf in leaves:
            keys = [part] * bool(part) + [jax.tree_util.keystr((key,), simple=True) for key in path]
            arrays.append(self._read_array(".".join(keys), leaf))  # orbax's name of it
        return jax.tree.unflatten(structure, arrays)

    def _read_array(self, name: str, like: jax.ShapeDtypeStruct) -> jax.Array:
        """Every device's part, block by block into place."""
        store = self._open_array(name)
        parts: dict[tuple, list[Any]] = {}  # devices that hold the same part share its blocks
        places: Any = like.sharding.addressable_devices_indices_map(like.shape)
        for device, index in places.items():
            bounds = tuple(part.indices(size)[:2] for part, size in zip(index, like.shape, strict=True))
            parts.setdefault(bounds, []).append(device)
        arrays = []
        for bounds, devices in parts.items():
            shape = [stop - start for start, stop in bounds]
            shards = [_zeros(shape, like.dtype, device) for device in devices]
            chunk: Any = store.chunk_layout.read_chunk.shape or ()  # None of a scalar
            blocks = list(_blocks(bounds, chunk))
            pending = [store[block].read() for block in blocks[:1]]
            for number, block in enumerate(blocks):
                data = pending.pop().result()
                pending = [store[after].read() for after in blocks[number + 1 : number + 2]]  # while this one is copied
                starts = [part.start - start for part, (start, _) in zip(block, bounds, strict=True)]
                shards = [
                    _put(shard, jax.device_put(data, device), starts)
                    for shard, device in zip(shards, devices, strict=True)
                ]
                jax.block_until_ready(shards)
            arrays += shards
        return jax.make_array_from_single_device_arrays(like.shape, like.sharding, arrays)

    def _open_array(self, name: str) -> tensorstore.TensorStore:
        def place(path: epath.Path) -> Any:
            text = f"{path}/"
            return text if "://" in text else {"driver": "file", "path": text}

        state = self.folder / "state"
        if (state / name).is_dir():
            kvstore = place(state / name)
        else:  # all arrays share files
            kvstore = {"driver": "ocdbt", "base": place(state), "path": f"{name}/"}
        return tensorstore.open({"driver": "zarr", "kvstore": kvstore}, open=True, read=True).result()

    def _compare(self, wanted: dict[str, Any]) -> None:
        problems = []
        for name, leaf in wanted.items():
            got = self.layout.get(name, "absent")
            if got[got.find("[") :] != str(list(leaf.shape)):
                problems.append(f"{name} is {got}, want {leaf.dtype}{list(leaf.shape)}")
        if problems:
            raise ValueError(f"checkpoint {self.folder} holds other arrays: {', '.join(problems[:5])}")


def saved_steps(folder: epath.PathLike) -> list[int]:
    """Steps of the complete checkpoints of a folder, ascending; a step's folder appears when it is complete."""
    path = epath.Path(folder)
    names = [child.name for child in path.iterdir()] if path.is_dir() else []
    return sorted(int(name) for name in names if name.isdigit() and (path / name / "host").is_dir())


def open_checkpoint(folder: epath.PathLike, step: int | None = None) -> SavedCheckpoint:
    """A checkpoint of a folder, without its arrays.

    Args:
      folder: holds step folders.
      step: the newest by default.

    Returns:
      The checkpoint.

    Raises:
      ValueError: there is no such step, or what describes it is damaged.
    """
    steps = saved_steps(folder)
    if not steps or step not in (None, *steps):
        which = "" if step is None else f" of step {step}"
        raise ValueError(f"no checkpoint{which} in {folder}; it holds the steps {steps}")
    step = steps[-1] if step is None else step
    path = epath.Path(folder).resolve() / str(step)
    if damage := find_damage(path / "host"):
        raise ValueError(f"checkpoint {path} is damaged: {damage}; {_REMEDY}")
    about = json.loads((path / "host" / "about.json").read_text())
    return SavedCheckpoint(path, step, about["fingerprint"], about["host"], about["state"])


def _blocks(bounds: tuple[tuple[int, int], ...], chunk: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """The parts of a range that lie in one chunk of the file each."""
    dims = [
        [slice(max(start, at), min(stop, at + size)) for at in range(start // size * size, stop, size)]
        for (start, stop), size in zip(bounds, chunk, strict=True)
    ]
    return itertools.product(*dims)


def _zeros(shape: list[int], dtype: Any, device: Any) -> jax.Array:
    # Born where it stays: jnp.zeros(..., device=...) makes it and copies it.
    return jax.jit(functools.partial(jnp.zeros, shape, dtype), out_shardings=SingleDeviceSharding(device))()


@functools.partial(jax.jit, donate_argnums=0)
def _put(array: jax.Array, block: jax.Array, starts: list[int]) -> jax.Array:
    return jax.lax.dynamic_update_slice(array, block.astype(array.dtype), starts)
