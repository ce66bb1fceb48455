"""Devices in a mesh, and where every logical axis lives on it: in training and in decoding.

The two tables below are the only place where a logical axis meets a mesh axis.
The rest of the project names logical axes; what is not in a table is replicated.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.layout import Layout as ArrayLayout
from jax.experimental.layout import with_layout_constraint
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXES = ("data", "fsdp", "context", "expert", "tensor")

# Parameters, gradients and optimizer state are split over context, expert and fsdp (and gathered layer by layer under
# the scan); packed rows are split over the axes that hold whole layers, their tokens over context and expert (see
# `token_order`). So expert is a second context for all but the experts, which it owns: their weights are gathered over
# the other axes alone, and tokens go to them (`models/visited_experts.py`).
TRAINING = {
    "embed": ("context", "expert", "fsdp"),
    "vocab": ("tensor",),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    "mlp": ("tensor",),
    "experts": ("expert",),
    "rows": ("data", "fsdp"),
    "tokens": ("context", "expert"),
}

# A decode step reads every weight for one token per slot: weights stay where they
# are used (no gather per token), slots are split over the other axes, and so are the
# packed rows of a model that only reads them. Where experts, ids or heads are split over axes
# that slots are split over too, the slots' hidden states go to the weights. Tensor comes first
# of heads: what the parts of context have together is then what one part of tensor attends with. Expert is a second
# context.
DECODING = {
    "vocab": ("context", "expert", "tensor"),
    "heads": ("tensor", "context", "expert"),
    "kv_heads": ("tensor",),
    "mlp": ("tensor",),
    "experts": ("fsdp", "context", "expert"),
    "slots": ("data", "fsdp", "context", "expert"),
    "rows": ("data", "fsdp", "context", "expert"),
}


def make_mesh(
    *,
    data: int = 1,
    fsdp: int = -1,
    context: int = 1,
    expert: int = 1,
    tensor: int = 1,
    devices: Sequence[Any] | None = None,
) -> Mesh:
    """A mesh of all devices with the axes data, fsdp, context, expert and tensor.

    Args:
      data: replicas of the sharded parameters.
      fsdp: shards of parameters and optimizer state.
      context: shards of a row's tokens; parameters and optimizer state are split over them too.
      expert: owners of the experts of every layer; for all else more of context.
      tensor: shards of heads, MLP and vocabulary.
      devices: defaults to all.
      At most one of the five may be -1: it takes the devices left over.

    Returns:
      The mesh.

    Raises:
      ValueError: the sizes do not multiply to the number of devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = mesh_sizes(len(devices), data=data, fsdp=fsdp, context=context, expert=expert, tensor=tensor)
    return Mesh(np.asarray(devices).reshape(list(sizes.values())), AXES)


def mesh_sizes(count: int, *, data: int, fsdp: int, context: int, expert: int, tensor: int) -> dict[str, int]:
    """The sizes of a mesh's axes, by name, where one of them may be what the others leave.

    Args:
      count: devices.
      data, fsdp, context, expert, tensor: see `make_mesh`.

    Raises:
      ValueError: the sizes do not multiply to the number of devices.
    """
    sizes = [data, fsdp, context, expert, tensor]
    if sizes.count(-1) > 1 or any(size == 0 or size < -1 for size in sizes):
        raise ValueError(f"mesh sizes must be positive, with at most one -1; got {dict(zip(AXES, sizes, strict=True))}")
    if -1 in sizes:
        sizes[sizes.index(-1)] = count // math.prod(size for size in sizes if size != -1)
    if math.prod(sizes) != count:
        raise ValueError(
            f"mesh {dict(zip(AXES, sizes, strict=True))} needs {math.prod(sizes)} devices, there are {count}; "
            f"make the sizes multiply to {count} (mesh.fsdp=-1 takes what the others leave)"
        )
    return dict(zip(AXES, sizes, strict=True))


@dataclasses.dataclass(frozen=True)
class Layout:
    """A mesh with one of the two tables: turns logical axes into shardings. Hashable.

    Attributes:
      mesh: the devices.
      phase: "training" or "decoding", which picks the table.
    """

    mesh: Mesh
    phase: str

    @property
    def table(self) -> dict[str, tuple[str, ...]]:
        """Logical axis -> mesh axes."""
        return {"training": TRAINING, "decoding": DECODING}[self.phase]

    def sharding(self, *axes: str | None, shape: tuple[int, ...] | None = None) -> NamedSharding:
        """The sharding of an array whose dims carry these logical axes (None: replicated).

        A mesh axis that two dims ask for goes to the first of them.

        Raises:
          ValueError: with `shape` given, a dim that its mesh axes do not divide.
        """
        spec: list[tuple[str, ...]] = []
        for axis in axes:
            taken = [name for names in spec for name in names]
            spec.append(tuple(name for name in self.names(axis) if name not in taken))
        for dim, (axis, names) in enumerate(zip(axes, spec, strict=True)):
            ways = math.prod(self.mesh.shape[name] for name in names)
            if shape is not None and shape[dim] % ways:
                raise ValueError(
                    f"axis {axis!r} of size {shape[dim]} cannot be split {ways} ways over mesh axes {names}; "
                    f"make the size a multiple of {ways} or these mesh axes smaller"
                )
        return NamedSharding(self.mesh, PartitionSpec(*(names or None for names in spec)))

    @property
    def platform(self) -> str:
        """What the devices are: "cpu", "gpu" or "tpu"."""
        return self.mesh.devices.flat[0].platform

    def names(self, axis: str | None) -> tuple[str, ...]:
        """The mesh axes over which a dim with this logical axis is split."""
        return self.table.get(axis, ()) if axis else ()

    def shared(self, axis: str) -> tuple[str, ...]:
        """The mesh axes over which a dim with this logical axis is split, and rows too."""
        return tuple(name for name in self.names(axis) if name in self.names("rows") and self.mesh.shape[name] > 1)

    def ways(self, axis: str) -> int:
        """Into how many parts a dim with this logical axis is split."""
        return math.prod(self.mesh.shape[name] for name in self.names(axis))

    def token_order(self, length: int) -> np.ndarray:
        """Which token of a row lies at each place when the row's tokens are split over the mesh.

        Of a row in 2n chunks part i holds the chunks i and 2n - 1 - i: a late token looks at many, an early one at
        few, and so every part has as much to do. One part has them as they come.

        Args:
          length: T, tokens of a row.

        Returns:
          `[T]` i32, a permutation.

        Raises:
          ValueError: the row cannot be cut into 2n equal chunks.
        """
        ways = self.ways("tokens")
        if ways == 1:
            return np.arange(length, dtype=np.int32)
        if length % (2 * ways):
            raise ValueError(
                f"a row of {length} tokens cannot be split over {ways} parts of the mesh (mesh.context x mesh.expert): "
                f"each holds two chunks of it; make the row length a multiple of {2 * ways}, such as "
                f"{-(-length // (2 * ways)) * 2 * ways}"
            )
        chunks = np.arange(length, dtype=np.int32).reshape(2 * ways, -1)
        return np.stack([chunks[:ways], chunks[: ways - 1 : -1]], axis=1).reshape(-1)

    def constrain(self, x: jax.Array, *axes: str | None) -> jax.Array:
        """Inside jit: pins the sharding of an intermediate value."""
        return jax.lax.with_sharding_constraint(x, self.sharding(*axes))


def gather(x: jax.Array, names: Sequence[str], axis: int) -> jax.Array:
    """Inside shard_map: a dim that is split over these mesh axes, whole. Its gradient is `sum_scattered`.

    One mesh axis after the other: a collective over a whole slice at one time is what XLA writes as an all-reduce on
    TPUs, which sends twice the bytes, and the reduction holds its whole result on every chip.

    Args:
      x: this device's part.
      names: mesh axes, the major one first. The last ones to be gathered, and to be reduced first, carry most bytes.
      axis: the dim.
    """
    return _gather(x, tuple(names), axis)


def _gathered(x: jax.Array, names: tuple[str, ...], axis: int) -> jax.Array:
    for name in reversed(_split(names)):
        x = jax.lax.all_gather(x, name, axis=axis, tiled=True)
    return x


def sum_scattered(x: jax.Array, names: Sequence[str], axis: int) -> jax.Array:
    """Inside shard_map: the sum over the devices of these mesh axes, each of which keeps its part of a dim.

    Args:
      x: what this device adds.
      names, axis: see `gather`.
    """
    if not (split := _split(names)):
        return x
    # What is scattered where it is the minor dim in memory XLA:TPU writes as an all-reduce, too.
    minor = 0 < axis == x.ndim - 1
    x = jnp.swapaxes(x, -1, -2) if minor else x
    x = with_layout_constraint(x, ArrayLayout(tuple(range(x.ndim))))
    for name in split:
        x = jax.lax.psum_scatter(x, name, scatter_dimension=axis - minor, tiled=True)
    return jnp.swapaxes(x, -1, -2) if minor else x


_gather = jax.custom_vjp(_gathered, nondiff_argnums=(1, 2))
_gather.defvjp(
    lambda x, names, axis: (_gathered(x, names, axis), None),
    lambda names, axis, _, g: (sum_scattered(g, names, axis),),
)


def _split(names: Sequence[str]) -> list[str]:
    """Those of more than one device: XLA leaves a collective of a device with itself in the program."""
    return [name for name in names if jax.lax.axis_size(name) > 1]


def reshard(tree: Any, shardings: Any, dtype: Any = None) -> Any:
    """Copies a tree of arrays to other shardings in one jitted call: the weight sync.

    Args:
      tree: arrays, for example `TrainState.params`; not donated, training goes on with them.
      shardings: a tree of the same structure.
      dtype: cast floating-point leaves to this on the way (bf16 for decoding).

    Returns:
      The tree under the new shardings; it shares no buffer with the old one.
    """
    return reshard_program(shardings, dtype)(tree)


def reshard_program(shardings: Any, dtype: Any = None) -> Any:
    """The jitted function behind `reshard`; the same shardings give the same one."""
    leaves, structure = jax.tree.flatten(shardings)
    return _copier(tuple(leaves), structure, None if dtype is None else jnp.dtype(dtype))


@functools.lru_cache(maxsize=8)
def _copier(leaves: tuple[NamedSharding, ...], structure: Any, dtype: Any):
    def copy(x: jax.Array) -> jax.Array:
        if dtype is not None and jnp.issubdtype(x.dtype, jnp.floating) and x.dtype != dtype:
            return x.astype(dtype)
        return jnp.copy(x)  # never the same buffer: the train step donates the source

    return jax.jit(lambda tree: jax.tree.map(copy, tree), out_shardings=jax.tree.unflatten(structure, leaves))
