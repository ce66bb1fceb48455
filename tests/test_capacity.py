"""What is said of the devices at the start, what is refused, and what is said when memory runs out."""

import ast
import dataclasses
import traceback

import jax
import pytest

from configs import qwen3_30b
from launch.cli import errors_for_people
from tests import runs
from ulorl_jax.capacity import (
    PLACES,
    TERM_CHANGES,
    check_memory,
    describe_start,
    describe_update,
    explain_exhaustion,
    memory_limit,
    program_at,
)
from ulorl_jax.compiled import Memory, is_out_of_memory
from ulorl_jax.footprint import GIB, PHASES, describe, memory_terms
from ulorl_jax.joining import may_be_of_another
from ulorl_jax.loop import run
from ulorl_jax.mesh import make_mesh
from ulorl_jax.parts import make_parts
from ulorl_jax.roofline import CHIPS, KINDS
from ulorl_jax.settings import Settings, on_devices

PAGED = on_devices(Settings.from_dict(qwen3_30b.get_config().to_dict()), 256)
_ROLLOUT = dataclasses.replace(PAGED.rollout, pages=dataclasses.replace(PAGED.rollout.pages, count=0))
ON_256 = dataclasses.replace(PAGED, rollout=_ROLLOUT)


def test_the_start_says_devices_mesh_and_what_each_axis_splits_and_of_a_cpu_no_memory_and_no_seconds(devices):
    mesh = make_mesh(data=2, fsdp=-1, context=2, tensor=1)
    text = describe_start(runs.settings({"mesh.data": 2, "mesh.fsdp": 2, "mesh.context": 2}), mesh)
    lines = text.splitlines()
    assert lines[0] == "devices      8 x cpu, 1 process"
    assert lines[1] == "mesh         data 2 x fsdp 2 x context 2"
    assert lines[2] == "  data       splits in training rows; in decoding slots, rows"
    assert lines[3] == "  fsdp       splits in training embed, rows; in decoding experts, slots, rows"
    assert lines[4] == "  context    splits in training embed, tokens; in decoding vocab, heads, experts, slots, rows"
    assert "tensor" not in text and "?" not in text
    assert "at least" not in text.replace("float32, at least two exist", "")
    assert memory_limit(devices[0]) is None


def test_of_a_known_chip_the_start_says_its_memory_and_the_seconds_of_a_step_at_least_and_to_expect(
    devices, monkeypatch
):
    monkeypatch.setitem(KINDS, "cpu", CHIPS["v5p"])
    lines = describe_start(runs.settings(), make_mesh(fsdp=8)).splitlines()
    assert lines[-4].startswith("of 95.74 GiB on each device at least: the update ")
    assert lines[-3].startswith("by hand count, with ") and " PFLOP" in lines[-3]
    assert lines[-2].startswith("a step takes at least ") and lines[-1].startswith("expect ")


def test_the_table_of_a_dry_run_and_of_the_start_is_one(devices):
    settings = runs.settings()
    table = describe(settings).partition("memory by hand count")[2]
    assert table and table in describe_start(settings, make_mesh(fsdp=8))


def test_every_term_has_its_advice_and_lies_somewhere():
    kept = dataclasses.replace(PAGED, rollout=dataclasses.replace(PAGED.rollout, kv="keep"))
    names = {term.name for s in (ON_256, PAGED, kept) for term in memory_terms(s)}
    names |= {"verifier's weights", "verifier's KV cache"}  # tests/test_footprint.py
    assert names == set(TERM_CHANGES) == {name for phase in PHASES.values() for name in phase.held}


def test_a_run_that_fills_its_devices_starts_and_one_byte_less_refuses_it_with_the_largest_term():
    terms = memory_terms(ON_256)
    sizes = {term.name: term.per_device for term in terms}
    state = sum(sizes[name] for name in ("parameters", "optimizer", "decoder's weights", "KV cache"))
    update = sum(sizes[name] for name in ("gradients", "residual stream", "attention", "logits of a chunk"))
    most = state + update
    check_memory(terms, most + 1)
    check_memory(terms, None)
    with pytest.raises(ValueError) as caught:
        check_memory(terms, most - 1)
    error = str(caught.value)
    assert f"{most / GIB:.2f} GiB" in error and "the largest term is KV cache: fewer rollout.pages.count" in error
    assert "launch/plan.py compile" in error


def test_what_the_compiled_update_takes_is_said_and_what_to_change_where_it_is_more_than_there_is(devices):
    mesh = make_mesh(data=2, fsdp=4)
    settings = on_devices(runs.settings({"mesh.data": 2, "mesh.fsdp": -1}), 8)
    assert describe_update(settings, mesh, None) == ""
    fits = describe_update(settings, mesh, 2.0 * GIB)
    assert fits.startswith("the compiled update takes 0.") and fits.endswith("GiB of 2.00 GiB on each device")
    terms = {term.name: term.per_device for term in memory_terms(settings)}
    lies_there = sum(terms[name] for name in ("parameters", "optimizer", "decoder's weights", "KV cache"))
    said = describe_update(settings, mesh, lies_there)  # which leaves nothing for what the program itself needs
    assert "each device, and will not fit; the largest is decoder's weights: a larger mesh.tensor" in said


def test_a_v5e_is_refused_30b_without_pages_and_is_told_the_size_of_the_cache():
    with pytest.raises(ValueError, match="which has 15.75 GiB, by hand count of KV cache 48.38"):
        check_memory(memory_terms(ON_256), CHIPS["v5e"].memory)  # 1,024 x 132,096 x 96 KiB / 256


@pytest.mark.parametrize(
    ("temporaries", "largest", "change"),
    [(2 * GIB, "KV cache", "rollout.pages.dtype=int8"), (90 * GIB, "the program's temporaries", "shorter train.row")],
)
def test_the_largest_of_terms_and_temporaries_is_named_with_what_to_change(temporaries, largest, change):
    text = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes.\nallocator statistics"
    memory = Memory(arguments=int(50 * GIB), in_place=0, results=0, temporaries=temporaries, peak=0)
    said = explain_exhaustion(text, "train", memory_terms(ON_256), memory, 95 * GIB)
    assert said.startswith("the devices of 95.00 GiB each ran out of memory during the update (RESOURCE_EXHAUSTED: Out")
    assert "statistics" not in said and f"{temporaries / GIB:.2f} of temporaries" in said
    assert f"The largest is {largest}: " in said and change in said and "checkpoint is untouched" in said


def test_what_the_compiler_itself_refuses_is_known_by_its_text_and_other_errors_are_not():
    hbm = "XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 20.1G of 15.75G hbm."
    assert is_out_of_memory(RuntimeError(f"RESOURCE_EXHAUSTED: {hbm}")) and is_out_of_memory(RuntimeError(hbm))
    assert not is_out_of_memory(RuntimeError("INTERNAL: a collective timed out"))
    assert not may_be_of_another(ValueError(f"RESOURCE_EXHAUSTED: {hbm}"))
    assert not may_be_of_another(
        ValueError("INTERNAL: Error dispatching computation: Out of memory allocating 9 bytes")
    )
    assert may_be_of_another(ValueError("INTERNAL: a collective timed out"))


def test_the_places_where_memory_can_run_out_are_functions_of_ours_and_the_innermost_counts():
    root = runs.ROOT / "ulorl_jax"
    for stem, function in PLACES:
        (path,) = [path for path in root.rglob(f"{stem}.py")]
        assert function in {n.name for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)}

    def frames(*names):
        return [traceback.FrameSummary(f"/x/{stem}.py", 1, name) for stem, name in names]

    outer = [("train", "main"), ("loop", "run"), ("segments", "run")]
    assert program_at(frames(*outer)) == "decode"
    assert program_at(frames(*outer, ("engine", "prefill_slots"), ("pjit", "call"))) == "prefill"
    assert program_at(frames(("loop", "run"), ("loop", "update"), ("loop", "_sync_weights"))) == "reshard"
    assert (
        program_at(frames(("loop", "start"), ("warm_start", "first_params"), ("supervised", "update"))) == "warm_start"
    )
    assert program_at(frames(("train", "main"), ("loop", "run"))) is None


@pytest.mark.slow
def test_a_run_whose_devices_run_out_of_memory_ends_with_one_error_and_its_largest_term(tmp_path, capsys):
    """A cache of half a million GiB a device, which no machine can give: the error is XLA's own."""
    huge = {"rollout.output_limit": 2**20, "rollout.segments": 2**16, "rollout.slots": 2**16, "model.head_dim": 4096}
    huge |= {"train.row_lengths": (2**20 + 64,), "warm_start.steps": 0}
    parts = make_parts(runs.settings(runs.task(tmp_path / "task") | huge), tmp_path / "run")
    with pytest.raises(SystemExit) as caught, errors_for_people():
        run(parts)
    error = str(caught.value)
    assert error.startswith("error: the devices ran out of memory during decoding (") and "\n" not in error
    assert "Out of memory allocating" in error
    # 2 x 65,536 slots x 2 heads x 1,048,584 tokens x 4,096, float32, on eight devices
    cache = 2 * 2**16 * 2 * (2**20 + 8) * 4096 * 4 / 8
    assert f"by hand count each holds KV cache {cache / GIB:,.2f}" in error and "GiB of arguments" in error
    assert "The largest is KV cache: fewer rollout.pages.count (or rollout.slots" in error
    assert isinstance(caught.value.__context__.__cause__, jax.errors.JaxRuntimeError)
    assert not runs.checkpoint_steps(tmp_path / "run")
