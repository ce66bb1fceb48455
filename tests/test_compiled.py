"""What is read off a compiled program."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ulorl_jax.compiled import collectives_of, memory_of

TEXT = """HloModule jit_step

%sum (a: f32[], b: f32[]) -> f32[] {
  ROOT %add = f32[] add(%a, %b)
}

%body (p: (s32[], bf16[4,8])) -> (s32[], bf16[4,8]) {
  %gathered = (bf16[4,8]{1,0}, bf16[16,8]{1,0}) all-gather-start(%x), dimensions={0}
  %done = bf16[16,8]{1,0} all-gather-done(%gathered)
  ROOT %t = (s32[], bf16[4,8]) tuple(%i, %y)
}

ENTRY %main (x: bf16[4,8]) -> f32[3] {
  %loop = (s32[], bf16[4,8]) while(%init), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  ROOT %all = f32[3]{0} all-reduce(%v), to_apply=%sum
}
"""


def test_a_collective_in_a_loop_counts_as_often_as_the_loop_runs_and_bytes_are_those_of_its_result():
    assert collectives_of(TEXT) == {
        "all-gather": {"count": 5, "bytes": 5 * 16 * 8 * 2},
        "all-reduce": {"count": 1, "bytes": 12},
    }


def test_where_the_compiler_does_not_say_how_often_a_scan_runs_its_condition_does():
    condition = """%cond (p: (s32[], bf16[4,8])) -> pred[] {
  %limit.1 = s32[]{:T(128)} constant(48), metadata={}
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i, %limit.1), direction=LT
}

ENTRY"""
    unsaid = TEXT.replace("ENTRY", condition).replace(', backend_config={"known_trip_count":{"n":"5"}}', "")
    assert collectives_of(unsaid)["all-gather"] == {"count": 48, "bytes": 48 * 16 * 8 * 2}
    # A loop whose end is not a constant, as of the decoder's token steps, counts once.
    unknown = unsaid.replace("constant(48)", "get-tuple-element(%p)")
    assert collectives_of(unknown)["all-gather"]["count"] == 1


def test_an_all_reduce_of_which_a_fusion_keeps_a_part_counts_as_the_reduce_scatter_it_is():
    fusion = """%all-reduce-scatter.1 (input: bf16[16,8]) -> bf16[4,8] {
  %all = bf16[16,8]{1,0} all-reduce(%input), to_apply=%sum
  ROOT %part = bf16[4,8]{1,0} dynamic-slice(%all, %first, %zero), dynamic_slice_sizes={4,8}
}

ENTRY"""
    call = "%kept = bf16[4,8]{1,0} fusion(%v), kind=kCustom, calls=%all-reduce-scatter.1\n  ROOT"
    head, tail = TEXT.replace("ENTRY", fusion).rsplit("ROOT", 1)
    found = collectives_of(f"{head}{call}{tail}")
    assert found["reduce-scatter"] == {"count": 1, "bytes": 4 * 8 * 2}
    assert found["all-reduce"] == collectives_of(TEXT)["all-reduce"]


def test_a_gather_that_products_hide_counts_when_it_is_started_and_not_again_beside_them_nor_when_it_is_done():
    fused = """%fused_computation.1 (input: bf16[4,8]) -> (bf16[16,8], u32[]) {
  %g.1 = bf16[16,8]{1,0} all-gather(%input), channel_id=7, dimensions={0}
  ROOT %s = (bf16[16,8]{1,0}, u32[]) custom-call(%g.1), custom_call_target="AsyncCollectiveStart"
}

%async_collective_fusion.1 (input: bf16[4,8]) -> (f32[2,2], bf16[16,8], u32[]) {
  %g.2 = bf16[16,8]{1,0} all-gather(%input), channel_id=7, dimensions={0}
  ROOT %p = (f32[2,2]{1,0}, bf16[16,8]{1,0}, u32[]) tuple(%product, %g.2, %n)
}

%fused_computation.2 (input: bf16[4,8]) -> bf16[16,8] {
  %g.3 = bf16[16,8]{1,0} all-gather(%input), channel_id=7, dimensions={0}
  ROOT %d = bf16[16,8]{1,0} custom-call(%g.3), custom_call_target="AsyncCollectiveDone"
}

ENTRY %main (x: bf16[4,8]) -> bf16[16,8] {
  %start = (bf16[16,8]{1,0}, u32[]) fusion(%x), kind=kCustom, calls=%fused_computation.1
  %beside = (f32[2,2]{1,0}, bf16[16,8]{1,0}, u32[]) fusion(%start), kind=kCustom, calls=%async_collective_fusion.1
  ROOT %done = bf16[16,8]{1,0} fusion(%beside), kind=kCustom, calls=%fused_computation.2
}
"""
    assert collectives_of(fused) == {"all-gather": {"count": 1, "bytes": 16 * 8 * 2}}


def test_of_a_real_program_collectives_and_bytes_are_those_that_were_written(devices):
    mesh = Mesh(np.array(devices).reshape(8), "x")
    rows, every = (NamedSharding(mesh, PartitionSpec(axis)) for axis in ("x", None))

    def program(x):
        def step(carry, _):
            whole = jax.lax.all_gather(carry, "x", tiled=True)
            return carry + whole[:2] * 0.5, None

        part = lambda x: jax.lax.psum(jax.lax.scan(step, x, None, length=7)[0], "x")  # noqa: E731
        return jax.shard_map(part, mesh=mesh, in_specs=PartitionSpec("x"), out_specs=PartitionSpec(), check_vma=False)(
            x
        )

    x = jax.ShapeDtypeStruct((16, 32), jnp.float32, sharding=rows)
    compiled = jax.jit(program, out_shardings=every).lower(x).compile()
    found = collectives_of(compiled.as_text())
    assert found["all-gather"] == {"count": 7, "bytes": 7 * 16 * 32 * 4}
    assert found["all-reduce"] == {"count": 1, "bytes": 2 * 32 * 4}
    memory = memory_of(compiled)
    assert (memory.arguments, memory.results, memory.in_place) == (2 * 32 * 4, 2 * 32 * 4, 0)
    assert memory.peak == memory.arguments + memory.results + memory.temporaries
