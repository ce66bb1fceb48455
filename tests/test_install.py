"""`import ulorl_jax.ops` is for other people's code: it works with jax alone, and brings nothing else along."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
NEEDED_FOR_TRAINING_ONLY = {
    "flax",
    "optax",
    "orbax",
    "grain",
    "tensorstore",
    "ml_collections",
    "absl",
    "rich",
    "matplotlib",
}

# Runs in its own process: an import hook that behaves as if the packages were not installed.
IMPORT_WITHOUT = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NotInstalled())
"""

NEW_PACKAGES = """
import sys
import jax, jax.numpy, numpy
before = set(sys.modules)
import ulorl_jax.ops
new = {name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names
print(*sorted(new))
"""

USE = """
import jax.numpy as jnp
from ulorl_jax.ops import advantages
import ulorl_jax.ops.losses
print(advantages.informative_groups(jnp.array([1.0, 0.0]), jnp.array([0, 0])).tolist(), ulorl_jax.__file__)
"""


def bare(**env: str) -> dict[str, str]:
    """This environment without the packages and devices that the tests were given in it."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "XLA_FLAGS")} | env


def run_python(python: pathlib.Path | str, source: str, cwd: pathlib.Path, **env: str) -> str:
    """Standard output of a Python program run in a folder of its own; fails with its error output."""
    done = subprocess.run(
        [str(python), "-c", source], cwd=cwd, env=bare(**env), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_ops_import_where_nothing_but_jax_is_installed(tmp_path):
    source = IMPORT_WITHOUT.format(blocked=NEEDED_FOR_TRAINING_ONLY) + USE
    assert run_python(sys.executable, source, tmp_path, PYTHONPATH=str(ROOT)).startswith("[True, True]")


def test_the_import_hook_does_hide_packages(tmp_path):
    source = IMPORT_WITHOUT.format(blocked={"numpy"}) + USE
    with pytest.raises(AssertionError, match="No module named 'numpy'"):
        run_python(sys.executable, source, tmp_path, PYTHONPATH=str(ROOT))


def test_importing_ops_loads_no_package_besides_jax_and_numpy(tmp_path):
    assert run_python(sys.executable, NEW_PACKAGES, tmp_path, PYTHONPATH=str(ROOT)) == "ulorl_jax"


@pytest.mark.slow
def test_pip_install_in_an_empty_environment_brings_jax_alone_and_gives_ops(tmp_path):
    copy = tmp_path / "project"  # pip builds inside the source tree; this leaves ours clean
    shutil.copytree(ROOT / "ulorl_jax", copy / "ulorl_jax", ignore=shutil.ignore_patterns("__pycache__"))
    for path in [ROOT / "pyproject.toml", ROOT / "LICENSE", *ROOT.glob("requirements*.txt"), *ROOT.glob("README.md")]:
        shutil.copy(path, copy)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=120)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-qq", str(copy)], cwd=tmp_path, check=True, timeout=600)

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    result, file = run_python(python, USE, elsewhere).rsplit(" ", 1)
    assert result == "[True, True]" and pathlib.Path(file).is_relative_to(tmp_path / "venv")
    assert (pathlib.Path(file).parent / "report" / "page.html").is_file()  # package data comes along
    listing = [*pip, "list", "--format=json"]
    listed = subprocess.run(listing, env=bare(), capture_output=True, text=True, check=True, timeout=60)
    names = {row["name"].lower().replace("-", "_") for row in json.loads(listed.stdout)}
    brought_by_jax = {"jaxlib", "ml_dtypes", "numpy", "opt_einsum", "scipy"}
    assert names - {"pip", "setuptools", "wheel"} - brought_by_jax == {"jax", "ulorl_jax"}
