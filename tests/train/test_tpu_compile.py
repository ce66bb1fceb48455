"""The update compiles for a TPU, its attention by splash kernels that run once each way: without a TPU, by libtpu."""

import importlib.util
import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

from ulorl_jax.footprint import parameter_count
from ulorl_jax.mesh import AXES, Layout
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.ops.losses import supervised_loss
from ulorl_jax.train.state import OptimizerSettings, make_optimizer, state_structs
from ulorl_jax.train.step import StepSettings, batch_structs, make_train_step

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("libtpu"), reason="needs libtpu, which compiles for a TPU"),
]
MODEL = Qwen3Config(8192, 512, 1024, 4, 4, 2, 128, dtype="bfloat16", remat="attention")
EXPERTS = Qwen3Config(
    8192, 512, 0, 4, 4, 2, 128, num_experts=8, num_experts_per_tok=2, moe_intermediate_size=256,
    dtype="bfloat16", remat="attention",
)  # fmt: skip
ADAM = OptimizerSettings("adamw", 1e-6, 0, 0, 0.9, 0.999, 1e-8, 0.0, 1.0)
LENGTH = 8192


def lower_step(model: Qwen3Config, sizes: dict[str, int], rows: int, length: int, topology: str, chunk: int = 1024):
    """The train step for `topology`, lowered: nothing is allocated."""
    from jax.experimental import topologies

    devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    mesh = jax.sharding.Mesh(np.array(devices).reshape([sizes.get(axis, 1) for axis in AXES]), AXES)
    layout, optimizer = Layout(mesh, "training"), make_optimizer(ADAM)

    def objective(logp, entropy, micro, first):
        del entropy, first
        return supervised_loss(logp, micro.mask, num_tokens=micro.num_tokens)

    step = make_train_step(model, objective, optimizer, layout, StepSettings(1.0, chunk))
    batch = batch_structs(layout, (2, rows, length))
    return step.lower(state_structs(model, optimizer, layout), batch, None)


def compile_step(kind: str, **sizes: int) -> None:
    """Prints how often each kernel is called, and bytes of one device: temporaries, updated in place, a layer's scores.

    Every device has the same share of the scores, whichever axis it is of.
    """
    model, rows = {"dense": MODEL, "experts": EXPERTS}[kind], sizes.get("data", 1) * sizes.get("fsdp", 1)
    compiled = lower_step(model, sizes, rows, LENGTH, "v5e:2x2").compile()
    memory, text = compiled.memory_analysis(), compiled.as_text()
    # A layer scan's body counts once. What a kernel computes for nothing the compiler has taken out by now.
    calls = [len(re.findall(rf"%splash_mha_{name}\S* = .*custom-call", text)) for name in ("fwd", "dq", "dkv")]
    scores = rows * model.num_attention_heads * LENGTH**2 * 4 // 4
    print("FOUND", *calls, memory.temp_size_in_bytes, memory.alias_size_in_bytes, scores)


@pytest.mark.parametrize(
    ("kind", "sizes"), [("experts", {"fsdp": 2, "context": 2}), ("dense", {"context": 2, "tensor": 2})], ids=str
)
def test_an_update_compiles_for_a_tpu_and_its_attention_runs_once_each_way_without_scores(kind, sizes):
    command = f"from tests.train.test_tpu_compile import compile_step; compile_step({kind!r}, **{sizes})"
    # In a process of its own: what fails in libtpu takes the process with it.
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "XLA_FLAGS": ""}
    environment |= {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}  # another test file may be compiling beside it
    done = subprocess.run([sys.executable, "-c", command], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    (found,) = (line for line in done.stdout.splitlines() if line.startswith("FOUND"))
    *calls, temporary, in_place, scores = map(int, found.split()[1:])
    assert calls == [1, 1, 1]  # under remat the forward kernel does not run again for the backward pass
    model = {"dense": MODEL, "experts": EXPERTS}[kind]
    assert in_place > 0.95 * 12 * parameter_count(model)[0] / 4  # parameters and Adam's moments, a quarter on each
    assert temporary < scores
