"""Weights in Hugging Face's form: safetensors shards with an index, to sharded arrays and back, one tensor at a time.

Neither direction holds more than one tensor of the files beside the arrays themselves,
whatever the model's size: a stacked leaf is allocated on its devices and filled in place.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from ulorl_jax.io.files import write_atomically
from ulorl_jax.io.folders import partial_folder
from ulorl_jax.io.progress import Progress
from ulorl_jax.io.safetensors_files import DTYPES, INDEX, SINGLE, Tensor, find_tensors, some, write_safetensors
from ulorl_jax.processes import is_first

CONFIG = "config.json"
GENERATION = "generation_config.json"
# What else a folder may hold of a model: its tokenizer, and how it is sampled from.
SIDE_FILES = (
    CONFIG,
    GENERATION,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
# Old files keep what is computed from the config; nobody reads it.
_IGNORED = "rotary_emb.inv_freq"
_SECONDS_BETWEEN_UPDATES = 0.2  # of the progress bar
_BLOCK_ROWS = 4096  # rows compared at a time


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a tensor of the files goes in a tree of arrays.

    Attributes:
      path: keys from the root to the leaf.
      index: of the tensor in the leaf's leading dims: (layer,) or (layer, expert); () is the whole leaf.
      transposed: the file holds the transpose.
      copy_of: the tensor may be absent, is never written, and where it is there must equal this one.
    """

    path: tuple[str, ...]
    index: tuple[int, ...] = ()
    transposed: bool = False
    copy_of: str | None = None


def read_hf_weights(folder: pathlib.Path, places: Mapping[str, Place], like: Any) -> Any:
    """Safetensors files to sharded arrays; each device reads its own part of a tensor.

    Args:
      folder: holds `model.safetensors`, or shards and their index.
      places: HF name -> place in the tree; together they fill every leaf.
      like: nested dict of `jax.ShapeDtypeStruct` with shardings; floats are cast to its dtypes on the devices.

    Returns:
      The nested dict of arrays.

    Raises:
      ValueError: a tensor is missing, unknown, of the wrong shape or dtype, or cut off, or a file is
        unreadable; up to five are named.
    """
    found = find_tensors(folder)
    _check(folder, found, places, like)
    names = sorted(
        (name for name in found if name in places and not places[name].copy_of),
        key=lambda name: (found[name].path, found[name].start),
    )
    tree = jax.tree.map(_allocate, like)
    with _ticking("reading weights", len(names)) as tick:
        for name in names:
            place, tensor = places[name], found[name]
            branch = functools.reduce(lambda node, key: node[key], place.path[:-1], tree)
            leaf = branch[place.path[-1]]
            part = jax.make_array_from_callback(tensor.shape, _file_sharding(leaf, place), tensor.read)
            leaf = _putter(leaf.sharding, place.transposed)(leaf, part, _starts(place))
            # One at a time: dispatched ahead, tensors would pile up on the host.
            branch[place.path[-1]] = jax.block_until_ready(leaf)
            tick(tensor.stop - tensor.start)
    return tree


def write_hf_weights(
    folder: pathlib.Path,
    places: Mapping[str, Place],
    params: Any,
    *,
    dtype: str,
    config: dict[str, Any],
    side_files: Sequence[pathlib.Path] = (),
    max_shard_bytes: int = 5_000_000_000,
) -> None:
    """Sharded arrays to a Hugging Face folder, which appears when it is complete.

    Args:
      folder: must not exist, or be empty.
      places: HF name -> place in the tree; written in this order.
      params: nested dict of arrays.
      dtype: of the files: float32, bfloat16 or float16.
      config: what config.json will hold.
      side_files: copied beside it: tokenizer and generation config.
      max_shard_bytes: a file is at most so large, unless a single tensor is larger.

    Raises:
      ValueError: the folder is there already, or cannot be written, or float16 cannot hold a value.
    """
    shapes = {name: _file_shape(_leaf(params, place), place) for name, place in places.items() if place.copy_of is None}
    target = DTYPES["BF16"] if dtype == "bfloat16" else np.dtype(dtype)
    files = _share_out(shapes, target.itemsize, max_shard_bytes)
    with partial_folder(folder) as partial:
        with _ticking("writing weights", len(shapes)) as tick:
            for file, names in files.items():
                arrays = _host_tensors({name: places[name] for name in names}, params, target, tick)
                write_safetensors(partial / file, {name: shapes[name] for name in names}, target, arrays)
        if len(files) > 1:
            size = sum(math.prod(shape) * target.itemsize for shape in shapes.values())
            weight_map = {name: file for file, names in files.items() for name in names}
            index = {"metadata": {"total_size": size}, "weight_map": weight_map}
            write_atomically(partial / INDEX, json.dumps(index, indent=2) + "\n")
        for path in side_files:
            shutil.copyfile(path, partial / path.name)
        write_atomically(partial / CONFIG, json.dumps(config, indent=2) + "\n")


def _check(folder: pathlib.Path, found: Mapping[str, Tensor], places: Mapping[str, Place], like: Any) -> None:
    problems = [f"{name} is missing" for name, place in places.items() if name not in found and not place.copy_of]
    for name, tensor in found.items():
        if name not in places:
            if not name.endswith(_IGNORED):
                problems.append(f"{name} is not a tensor of this model")
            continue
        wanted = _file_shape(_leaf(like, places[name]), places[name])
        if tensor.shape != wanted:
            problems.append(f"{name} has shape {list(tensor.shape)}, want {list(wanted)}")
        elif tensor.dtype not in DTYPES:
            problems.append(f"{name} is of dtype {tensor.dtype}, want one of {', '.join(DTYPES)}")
        elif tensor.truncated:
            problems.append(
                f"{name} is truncated: it ends at byte {tensor.stop}, {tensor.path.name} at {tensor.file_size}"
            )
    for name, place in places.items():
        if place.copy_of and name in found and not problems and not _equal(found[name], found[place.copy_of]):
            problems.append(f"{name} differs from {place.copy_of}, to which it should be tied (tie_word_embeddings)")
    if problems:
        raise ValueError(f"{folder} does not hold the weights of its config.json: {some(problems)}")


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype:
        return False
    starts = range(0, one.shape[0], _BLOCK_ROWS)
    parts = [(slice(first, first + _BLOCK_ROWS), *map(slice, one.shape[1:])) for first in starts]
    return all(one.read(part).tobytes() == other.read(part).tobytes() for part in parts)


def _leaf(tree: Any, place: Place) -> Any:
    return functools.reduce(lambda node, key: node[key], place.path, tree)


def _file_shape(leaf: Any, place: Place) -> tuple[int, ...]:
    shape = tuple(leaf.shape[len(place.index) :])
    return shape[::-1] if place.transposed else shape


def _file_sharding(leaf: Any, place: Place) -> Sharding:
    """The leaf's sharding of the dims that the tensor has, in the file's order."""
    sharding = leaf.sharding
    if not isinstance(sharding, NamedSharding):
        assert len(sharding.device_set) == 1, sharding
        return sharding
    spec = [*sharding.spec, *(None for _ in range(leaf.ndim - len(sharding.spec)))][len(place.index) :]
    return NamedSharding(sharding.mesh, PartitionSpec(*(reversed(spec) if place.transposed else spec)))


def _allocate(leaf: jax.ShapeDtypeStruct) -> jax.Array:
    return jax.jit(functools.partial(jnp.zeros, leaf.shape, leaf.dtype), out_shardings=leaf.sharding)()


def _starts(place: Place) -> jax.Array:
    return jnp.asarray(place.index, jnp.int32).reshape(-1)  # traced: one program for all layers and experts


@functools.lru_cache(maxsize=64)
def _putter(sharding: Sharding, transposed: bool) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    """Writes a tensor of the file into its leaf, in place: each device has the part that it keeps."""

    def put(leaf: jax.Array, tensor: jax.Array, index: jax.Array) -> jax.Array:
        part = (tensor.T if transposed else tensor).astype(leaf.dtype)
        starts = [*index, *(jnp.int32(0) for _ in part.shape)]
        return jax.lax.dynamic_update_slice(leaf, part.reshape((1,) * index.shape[0] + part.shape), starts)

    return jax.jit(put, out_shardings=sharding, donate_argnums=0)


@functools.lru_cache(maxsize=64)
def _taker(sharding: Sharding, transposed: bool, dtype: np.dtype) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Cuts a tensor out of its leaf, as the file wants it."""

    def take(leaf: jax.Array, index: jax.Array) -> jax.Array:
        rest = leaf.shape[index.shape[0] :]
        starts = [*index, *(jnp.int32(0) for _ in rest)]
        part = jax.lax.dynamic_slice(leaf, starts, (1,) * index.shape[0] + rest).reshape(rest)
        return (part.T if transposed else part).astype(dtype)

    return jax.jit(take, out_shardings=sharding)


def _host_tensors(
    places: Mapping[str, Place], params: Any, dtype: np.dtype, tick: Callable[[int], None]
) -> Iterator[np.ndarray]:
    for name, place in places.items():
        leaf = _leaf(params, place)
        take = _taker(_file_sharding(leaf, place), place.transposed, dtype)
        tick(math.prod(_file_shape(leaf, place)) * dtype.itemsize)
        array = np.asarray(take(leaf, _starts(place)))
        if dtype == np.float16 and not np.isfinite(array).all():
            raise ValueError(
                f"{name} has values beyond 65504, which float16 cannot hold, or that are not finite; write bfloat16 or "
                f"float32"
            )
        yield array


def _share_out(shapes: Mapping[str, tuple[int, ...]], itemsize: int, limit: int) -> dict[str, list[str]]:
    """File -> its tensors, in order."""
    shards: list[list[str]] = [[]]
    size = 0
    for name, shape in shapes.items():
        count = math.prod(shape) * itemsize
        if shards[-1] and size + count > limit:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += count
    if len(shards) == 1:
        return {SINGLE: shards[0]}
    total = len(shards)
    return {f"model-{i:05}-of-{total:05}.safetensors": names for i, names in enumerate(shards, start=1)}


@contextlib.contextmanager
def _ticking(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress display; what it yields is called with the bytes of every tensor, of which there may be thousands."""
    done, size, shown = 0, 0, time.monotonic()
    with Progress(total, title, silent=not is_first()) as progress:

        def tick(count: int) -> None:
            nonlocal done, size, shown
            done, size = done + 1, size + count
            if done == total or time.monotonic() - shown > _SECONDS_BETWEEN_UPDATES:
                shown = time.monotonic()
                progress.update(done, {"GB": size / 1e9})

        yield tick
