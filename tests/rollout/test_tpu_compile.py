"""The decoder's programs compile for a TPU, with its kernel, and copy nothing of the pool: without a TPU, by libtpu."""

import importlib.util
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ulorl_jax.mesh import AXES, Layout
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.models.qwen3_params import init_params
from ulorl_jax.rollout import decoding, placing
from ulorl_jax.rollout.engine import EngineSpec, param_shardings
from ulorl_jax.rollout.pages import PageSettings
from ulorl_jax.rollout.sampling import Sampling

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("libtpu"), reason="needs libtpu, which compiles for a TPU"),
]
DENSE = Qwen3Config(8192, 512, 1024, 4, 8, 4, 128, dtype="bfloat16")
EXPERTS = Qwen3Config(
    8192, 512, 0, 4, 8, 4, 128, num_experts=8, num_experts_per_tok=2, moe_intermediate_size=256, dtype="bfloat16"
)
PAGES, SLOTS, WIDTH = PageSettings(32 * 20, 64), 32, 1280
POOL = 2 * PAGES.count * PAGES.size * 2 * 4 * 128 * 4  # bytes: bfloat16, keys and values, heads, d, layers


def compile_programs(kind: str, axis: str, ways: int) -> None:
    """Prints of each program: how often it calls the kernel, bytes updated in place and bytes of temporaries."""
    from jax.experimental import topologies

    devices = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2").devices[:ways]
    shape = [ways if name == axis else 1 for name in AXES]
    mesh = jax.sharding.Mesh(np.array(devices).reshape(shape), AXES)
    layout, model = Layout(mesh, "decoding"), {"dense": DENSE, "experts": EXPERTS}[kind]
    spec = EngineSpec(model, SLOTS, WIDTH, Sampling(0.85), (8192,), layout, PAGES)

    params = jax.eval_shape(lambda: init_params(jax.random.key(0), model, jnp.bfloat16))
    params = jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), params, param_shardings(spec)
    )
    state = placing.state_structs(spec)
    number = jax.ShapeDtypeStruct((), jnp.int32, sharding=layout.sharding())
    with jax.set_mesh(mesh):
        for lowered in (
            decoding.generate_segment.lower(spec, params, state, 64, 1, 128, number, number),
            decoding.prefill_slots.lower(spec, params, state, 4, 256),
        ):
            memory = lowered.compile().memory_analysis()
            calls = lowered.as_text().count("tpu_custom_call")
            print("FOUND", calls, memory.alias_size_in_bytes, memory.temp_size_in_bytes)


@pytest.mark.parametrize(
    ("kind", "axis", "ways"),
    [("dense", "fsdp", 1), ("dense", "fsdp", 4), ("dense", "tensor", 4), ("experts", "expert", 2)],
)
def test_decoding_and_prefill_compile_for_a_tpu_with_its_kernel_and_update_the_pool_in_place(kind, axis, ways):
    command = (
        f"from tests.rollout.test_tpu_compile import compile_programs; compile_programs({kind!r}, {axis!r}, {ways})"
    )
    # In a process of its own: what fails in libtpu takes the process with it.
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "XLA_FLAGS": ""}
    environment |= {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}  # another test file may be compiling beside it
    done = subprocess.run([sys.executable, "-c", command], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [[int(x) for x in line.split()[1:]] for line in done.stdout.splitlines() if line.startswith("FOUND")]
    (segment_calls, *segment), (prefill_calls, *prefill) = found
    # With a chunk beside, without one, and of few slots alone; the body of a scan over the layers counts once.
    assert (segment_calls, prefill_calls) == (3, 1)
    for in_place, temporary in (segment, prefill):
        assert in_place >= POOL / ways and temporary < POOL / ways / 8
