"""Several processes that are one run: how they agree. How they find each other: `joining`.

Each host of a TPU slice or a cluster runs the same program. Devices belong to one process each; the mesh spans them
all, and every process must start the same programs in the same order. So all of them hold the same host state and take
the same decisions; what only one of them knows (a signal, a clock, a share of the verification) is told to the others
through jax's coordination service, which lives in process 0 and needs no device. With one process nothing here does
anything.
"""

from __future__ import annotations

import collections
import contextlib
import pickle
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax._src import distributed  # the coordination service's key-value store has no public door
from jax.experimental import multihost_utils

_AGREE_S = 3600.0  # nobody waits longer for the others to say something
KEYS = "ulorl"  # what all keys of the coordination service begin with
_rounds: collections.Counter[str] = collections.Counter()


def is_first() -> bool:
    """Whether this is process 0, which writes what people read."""
    return jax.process_index() == 0


def gather(name: str, value: Any) -> list[Any]:
    """What every process says of a matter; waits for all of them.

    Args:
      name: of the matter. All processes call with the same names, for each name equally often.
      value: this process's; it can be pickled.

    Returns:
      The values in the order of the processes, the same in each.
    """
    if jax.process_count() == 1:
        return [value]
    service = coordination_service()
    _rounds[name] += 1
    place, before = (f"{KEYS}/{name}/{number}" for number in (_rounds[name], _rounds[name] - 1))
    service.key_value_set_bytes(f"{place}/{jax.process_index()}", pickle.dumps(value))
    service.wait_at_barrier(place, int(_AGREE_S * 1000))
    said = {int(key.rpartition("/")[2]): pickle.loads(text) for key, text in service.key_value_dir_get_bytes(place)}
    # Whoever is here has read what was said the time before.
    service.key_value_delete(f"{before}/{jax.process_index()}")
    return [said[index] for index in range(jax.process_count())]


def demand_same(
    name: str, values: dict[str, Any], remedy: str = "start all with the same command, --process_id aside"
) -> None:
    """Refuses processes that were started as parts of different runs.

    Args:
      name: of the values, for messages; see `gather`.
      values: this process's.
      remedy: what to do about it.

    Raises:
      ValueError: another process has others; raised in all.
    """
    first, *others = gather(name, values)
    for index, other in enumerate(others, start=1):
        differ = [key for key in first | other if first.get(key) != other.get(key)]
        if differ:
            shown = ", ".join(f"{key} ({other.get(key)!r}, not {first.get(key)!r})" for key in differ[:3])
            raise ValueError(f"process {index} has other {name} than process 0: {shown}; {remedy}")


@contextlib.contextmanager
def first_before_others(name: str) -> Iterator[None]:
    """Process 0 goes through the block, then the others, who find what it made.

    Args:
      name: of what is made; see `gather`.
    """
    if not is_first():
        gather(name, None)
    yield
    if is_first():
        gather(name, None)


def put(tree: Any, shardings: Any) -> Any:
    """`jax.device_put` of host arrays that are the same in every process, for shardings that may span them.

    Args:
      tree: of arrays.
      shardings: a tree of the same structure.
    """
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)

    def place(x: Any, sharding: jax.sharding.Sharding) -> jax.Array:
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

    return jax.tree.map(place, tree, shardings)


def to_host(tree: Any) -> Any:
    """`jax.device_get` of arrays that may span processes: each gets the whole. All of them call it."""
    if jax.process_count() == 1:
        return jax.device_get(tree)

    def whole(x: Any) -> Any:
        spans = isinstance(x, jax.Array) and not (x.is_fully_addressable or x.is_fully_replicated)
        return multihost_utils.process_allgather(x, tiled=True) if spans else np.asarray(x)

    return jax.tree.map(whole, tree)


def coordination_service() -> Any:
    """jax's client of the key-value store that all processes share.

    Raises:
      ValueError: there is none, for the processes were not started as those of one run.
    """
    service = distributed.global_state.client
    if service is None:  # a TPU slice tells jax of its other hosts, but jax.distributed has to be asked for
        count = jax.process_count()
        raise ValueError(f"the devices belong to {count} processes; start each of them with --processes=auto")
    return service
