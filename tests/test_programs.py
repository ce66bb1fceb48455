"""Compiled programs: kept on disk by default, read again by the next process, and counted."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import pytest

from tests import runs
from ulorl_jax.programs import Compilations, keep_programs

# Two virtual devices, a donated argument, a loop: what the programs of a run have, in small.
PROGRAM = """
import json, warnings
warnings.simplefilter("ignore")
from ulorl_jax.programs import keep_programs
problem = keep_programs()
import jax, jax.numpy as jnp
counts = {"hits": 0, "misses": 0}
def hear(event, **about):
    for name in counts:
        counts[name] += event == f"/jax/compilation_cache/cache_{name}"
jax.monitoring.register_event_listener(hear)
mesh = jax.sharding.Mesh(jax.devices(), ("fsdp",))
split = jax.NamedSharding(mesh, jax.P("fsdp"))
def step(state, x):
    state = jax.lax.fori_loop(0, 3, lambda i, s: s + x @ x.T, state)
    return state, jnp.sum(state)
step = jax.jit(step, donate_argnums=0, out_shardings=(split, jax.NamedSharding(mesh, jax.P())))
x = jax.device_put(jnp.arange(64.0).reshape(8, 8), split)
state, total = step(jax.device_put(jnp.ones((8, 8)), split), x)
state, again = step(state, x)
print(json.dumps(counts | {"totals": [float(total), float(again)], "problem": problem}))
"""


def start(cache, **environment):
    """The program in a process of its own that has not been told where to keep what it compiles."""
    ours = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")
    env = {name: value for name, value in runs.environment(2).items() if name not in ours}
    env |= {"PYTHONPATH": str(runs.ROOT), "XDG_CACHE_HOME": str(cache), "JAX_PLATFORMS": "cpu"} | environment
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=runs.ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(process):
    """What it printed."""
    out, err = process.communicate(timeout=runs.DEADLINE)
    assert process.returncode == 0, err
    return json.loads(out)


@pytest.mark.slow
def test_a_second_process_reads_what_two_at_once_have_compiled_even_where_a_file_is_damaged(tmp_path):
    first, beside = (answer(process) for process in [start(tmp_path), start(tmp_path)])
    # Whichever is quicker: the other may find all that it wants.
    assert first["totals"] == beside["totals"] and first["misses"] + beside["misses"] > 0 and not first["problem"]
    (folder,) = (tmp_path / "ulorl_jax" / "compiled").iterdir()
    assert folder.name.startswith("cpu-") and folder.stat().st_mode & 0o077 == 0
    second = answer(start(tmp_path))
    assert second["misses"] == 0 and second["hits"] == first["hits"] + first["misses"]
    assert second["totals"] == first["totals"]
    (kept,) = folder.glob("jit_step-*-cache")
    kept.write_bytes(kept.read_bytes()[:100])  # a kill in the middle of writing
    third = answer(start(tmp_path))
    assert third["misses"] == 1 and third["totals"] == first["totals"]


@pytest.mark.slow
def test_a_folder_named_in_the_environment_is_taken_and_an_empty_name_keeps_nothing(tmp_path):
    named = start(tmp_path / "cache", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "named"))
    nothing = start(tmp_path / "cache", JAX_COMPILATION_CACHE_DIR="")
    assert answer(named)["misses"] > 0 and answer(nothing)["misses"] == 0
    assert list((tmp_path / "named").iterdir()) and not (tmp_path / "cache").exists()


def test_a_folder_that_cannot_be_written_is_said_and_ends_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
    before = jax.config.values["jax_compilation_cache_dir"]
    said = keep_programs()
    assert said.startswith("compiled programs are not kept: ") and str(tmp_path / "file") in said
    assert "Not a directory" in said and jax.config.values["jax_compilation_cache_dir"] == before


def test_a_folder_that_depends_on_where_one_stands_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
    monkeypatch.chdir(tmp_path)
    assert "must be absolute, got caches" in keep_programs() and not list(tmp_path.iterdir())


def test_a_folder_that_others_can_write_in_is_not_run_from(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
    before = jax.config.values["jax_compilation_cache_dir"]
    try:
        assert keep_programs() == ""
        (folder,) = (tmp_path / "ulorl_jax/compiled").iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        jax.config.update("jax_compilation_cache_dir", before)
        folder.chmod(0o777)
        assert "others can write in" in keep_programs()
        assert jax.config.values["jax_compilation_cache_dir"] == before
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_the_tests_keep_their_programs_in_the_checkout():
    home = pathlib.Path.home() / ".cache" / "ulorl_jax"
    for env in (os.environ, runs.environment()):
        assert not pathlib.Path(env["JAX_COMPILATION_CACHE_DIR"]).is_relative_to(home)


def test_a_program_counts_once_for_every_shape_and_only_inside_the_block():
    double = jax.jit(lambda x: x * 2)
    arrays = [jax.device_put([0.0] * size) for size in (3, 5)]
    inputs = [jax.numpy.asarray(array) for array in arrays]
    with Compilations() as compilations:
        double(inputs[0])
        double(inputs[0])
        first = compilations.end_step()
        assert first["compile/programs"] == 1 and first["compile/seconds"] > 0
        assert compilations.end_step() == {"compile/programs": 0, "compile/seconds": 0}
        double(inputs[1])
        assert compilations.end_step()["compile/programs"] == 1
    double(jax.numpy.asarray([1]))
    assert compilations.count == 2
