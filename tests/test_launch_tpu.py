"""The scripts of launch/tpu, as far as they can be looked at without a slice, a cluster or Slurm."""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SCRIPTS = [ROOT / "setup.sh", ROOT / ".ci/run", *sorted((ROOT / "launch/tpu").glob("*.sh"))]
COMPILE = """
from jax.experimental import topologies
import jax, jax.numpy as jnp
mesh = topologies.make_mesh(topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2"), (4,), ("x",))
rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
jax.jit(lambda x: x @ x.T).lower(jax.ShapeDtypeStruct((256, 256), jnp.bfloat16, sharding=rows)).compile()
"""


def test_shellcheck_finds_nothing_in_any_script():
    program = pathlib.Path(sys.executable).with_name("shellcheck")
    found = str(program) if program.is_file() else shutil.which("shellcheck")
    assert found, "shellcheck is missing: ./setup.sh test installs it"
    done = subprocess.run([found, "-x", *map(str, SCRIPTS)], capture_output=True, text=True, cwd=ROOT)
    assert not done.stdout and not done.returncode, done.stdout


@pytest.mark.parametrize("name", ["slice.sh", "gke.sh", "slurm.sh"])
def test_a_script_without_arguments_says_what_it_wants_and_starts_nothing(name):
    environment = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": "1"}
    done = subprocess.run(["bash", ROOT / "launch/tpu" / name], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{name}: ") and "missing" in done.stderr.splitlines()[0]


def sourced(**given):
    command = ["bash", "-c", ". launch/tpu/environment.sh && env"]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nowhere"} | given
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    return done, dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def test_what_is_set_already_is_left_as_it_is():
    given = {"LIBTPU_INIT_ARGS": "--mine", "JAX_COMPILATION_CACHE_DIR": "/mine"}
    _, set_to = sourced(**given)
    assert given.items() <= set_to.items()
    _, set_to = sourced(ULORL_ACCELERATOR="cuda", XLA_FLAGS="--mine")
    assert set_to["XLA_FLAGS"] == "--mine" and "LIBTPU_INIT_ARGS" not in set_to


def test_an_unknown_accelerator_is_refused_by_name():
    done, _ = sourced(ULORL_ACCELERATOR="abacus")
    assert done.returncode == 1 and "ULORL_ACCELERATOR=abacus is neither tpu nor cuda" in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_libtpu_knows_every_flag():
    flags = sourced()[1]["LIBTPU_INIT_ARGS"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "XLA_FLAGS": ""}
    environment["LIBTPU_INIT_ARGS"] = flags
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    environment["LIBTPU_INIT_ARGS"] += " --xla_no_such_flag=true"
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert done.returncode != 0 and "xla_no_such_flag" in done.stderr
