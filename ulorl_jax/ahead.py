"""A run's device programs compiled ahead of time, for a slice that need not exist: by libtpu, for its topology.

The programs are the run's own, lowered for shapes instead of arrays. What does not fit is refused by the compiler.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ulorl_jax.compiled import collectives_of, memory_of
from ulorl_jax.mesh import Layout, make_mesh, reshard_program
from ulorl_jax.models.packed_attention import row_tile
from ulorl_jax.parts import engine_spec
from ulorl_jax.rollout import decoding, placing
from ulorl_jax.rollout.decoding import param_shardings
from ulorl_jax.rollout.segments import CONTINUOUS, REFILL_CALL
from ulorl_jax.settings import Settings, check_mesh, on_devices
from ulorl_jax.train.state import make_optimizer, state_structs
from ulorl_jax.train.step import batch_structs, make_train_step
from ulorl_jax.trainer import make_objective, step_settings

PROGRAMS = "train", "decode", "prefill", "reshard"
_ANSWER = "ANSWER "


def topology_devices(topology: str) -> list[Any]:
    """The chips of a slice that is only described.

    Args:
      topology: as libtpu names it, such as "v5p:4x4x4".

    Raises:
      ValueError: libtpu is not installed, or does not know it.
    """
    from jax.experimental import topologies

    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices)
    except Exception as error:  # of jaxlib, of no one kind
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"--topology={topology} cannot be compiled for: {reason}. It takes libtpu (pip install libtpu, Linux on "
            f"x86), which needs no TPU, and a name such as v5p:4x4x4, v6e:16x16 or v5e:16x16"
        ) from error


def programs(settings: Settings, devices: list[Any]) -> dict[str, Callable[[], Any]]:
    """The programs of a run by name, each as a function that lowers it.

    Args:
      settings: the run's.
      devices: of a topology.

    Raises:
      ValueError: the mesh does not fit the devices, or cannot split what it should.
    """
    s = on_devices(settings, len(devices))
    mesh = make_mesh(**dataclasses.asdict(s.mesh), devices=devices)
    training, layout = Layout(mesh, "training"), Layout(mesh, "decoding")
    tile = row_tile(training.platform, s.model.head_dim)
    check_mesh(s, training.ways("rows"), layout.ways("slots"), training.ways("tokens"), tile)
    spec = engine_spec(s, (0,), layout, s.rollout.sampling)
    optimizer = make_optimizer(s.optimizer)
    state = state_structs(s.model, optimizer, training)
    shardings = param_shardings(spec)
    weights = jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, s.model.dtype, sharding=sharding), state.params, shardings
    )
    slots = placing.state_structs(spec)
    number = jax.ShapeDtypeStruct((), jnp.int32, sharding=layout.sharding())
    contexts = spec.rows_per_part(s.rollout.prefill_rows), min(s.rollout.prefill_chunk, spec.width)

    def train():
        program = make_train_step(s.model, make_objective(s), optimizer, training, step_settings(s))
        rows, length = s.train.rows_per_micro_batch, max(s.train.row_lengths)
        # Half full, all slots are trained on together.
        count = math.ceil(s.rollout.slots * s.context_limit / 2 / (rows * length))
        return program.lower(state, batch_structs(training, (1 << (count - 1).bit_length(), rows, length)), None)

    # ragged_paged_attention asks the default device, when it is traced, what it will run on.
    def decode():
        length, chunk = s.rollout.segment_length, (0, 1)
        if s.rollout.refill == CONTINUOUS:  # a call returns for free slots, and contexts are computed beside
            length, chunk = min(length, REFILL_CALL), contexts
        with jax.set_mesh(mesh):
            return decoding.generate_segment.lower(spec, weights, slots, length, *chunk, number, number)

    def prefill():
        with jax.set_mesh(mesh):
            return decoding.prefill_slots.lower(spec, weights, slots, *contexts)

    def reshard():
        return reshard_program(shardings, s.model.dtype).lower(state.params)

    return dict(zip(PROGRAMS, (train, decode, prefill, reshard), strict=True))


def compile_program(settings: Settings, topology: str, name: str) -> dict[str, Any]:
    """Compiles one program, which takes minutes, and says what came of it.

    Args:
      settings: the run's.
      topology: see `topology_devices`.
      name: a key of `programs`.

    Returns:
      As JSON: "bytes" of a device by `compiled.Memory`'s names, "collectives" and "seconds", in which it was traced,
      lowered and compiled; or "refused" with the compiler's reason, where it does not fit.
    """
    lower = programs(settings, topology_devices(topology))[name]
    began = time.perf_counter()
    try:
        compiled = lower().compile()
    except jax.errors.JaxRuntimeError as error:
        text = str(error)
        if "RESOURCE_EXHAUSTED" not in text and "Ran out of memory" not in text and "CompileTimeHbmOom" not in text:
            raise
        return {"refused": text.splitlines()[0], "seconds": time.perf_counter() - began}
    seconds = time.perf_counter() - began
    sent = collectives_of(compiled.as_text())
    return {"bytes": dataclasses.asdict(memory_of(compiled)), "collectives": sent, "seconds": seconds}


def compile_apart(resolved: dict[str, Any], topology: str, name: str) -> dict[str, Any]:
    """`compile_program` in a process of its own: what fails in libtpu takes its process with it.

    Args:
      resolved: the run's settings as a plain dict.
      topology: see `topology_devices`.
      name: a key of `PROGRAMS`.

    Raises:
      ValueError: it could not be compiled, for another reason than memory.
    """
    # No TPU is asked for, and none of the machine that runs this must be looked for.
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
    # -P: not the folder one stands in; in launch/ there is an inspect.py.
    line = [sys.executable, "-P", "-c", "from ulorl_jax.ahead import answer; answer()"]
    root = pathlib.Path(__file__).resolve().parents[1]
    asked = json.dumps([resolved, topology, name])
    environment |= {"PYTHONPATH": os.pathsep.join([str(root), *filter(None, [environment.get("PYTHONPATH")])])}
    done = subprocess.run(line, input=asked, env=environment, capture_output=True, text=True)
    answers = [line.removeprefix(_ANSWER) for line in done.stdout.splitlines() if line.startswith(_ANSWER)]
    if done.returncode or not answers:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        reason = next(
            (line for line in reversed(said) if re.match(r"\w*Error|.*(Check failed|FATAL|F\d{4})", line)), ""
        )
        raise ValueError(
            f"{name} could not be compiled for {topology} (status {done.returncode}): {reason or said[-1:]}"
        )
    result = json.loads(answers[-1])
    if "error" in result:
        raise ValueError(result["error"])
    return result


def answer() -> None:
    """The other side of `compile_apart`: reads what is asked on standard input, prints the answer in a line."""
    resolved, topology, name = json.load(sys.stdin)
    try:
        result = compile_program(Settings.from_dict(resolved), topology, name)
    except ValueError as error:
        result = {"error": str(error)}
    print(_ANSWER + json.dumps(result))
