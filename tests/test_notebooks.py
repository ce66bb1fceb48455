"""The notebooks: pairs in sync, without outputs, and kind to Colab's jax. `.ci/run` executes them with nbmake."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

jupytext = pytest.importorskip("jupytext", reason="./setup.sh notebooks installs it")
nbformat = pytest.importorskip("nbformat", reason="./setup.sh notebooks installs it")

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "notebooks"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.name != "conftest.py")
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

# Stands before the set-up cell: a Colab in which the packages of HAVE are installed and pip only takes notes.
COLAB = """
import importlib.metadata, json, pathlib, subprocess, sys, types
sys.modules["google.colab"] = types.ModuleType("google.colab")
Distribution = types.SimpleNamespace
importlib.metadata.distributions = lambda: [Distribution(name=name, version="0.1") for name in {have!r}]
calls = []
subprocess.run = lambda command, check: calls.append(list(map(str, command)))
"""
REPORT = """
print(json.dumps({"calls": calls, "constraint": constraint.read_text().split(), "path": sys.path[0]}))
"""


def cells(notebook) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source.strip()) for cell in notebook.cells]


def setup_cell(notebook: pathlib.Path) -> str:
    return next(cell.source for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code")


def run_setup_cell(cwd: pathlib.Path, before: str = "", after: str = ""):
    source = before + setup_cell(NOTEBOOKS[0]) + after
    return subprocess.run([sys.executable, "-c", source], cwd=cwd, capture_output=True, text=True, timeout=60)


def test_every_notebook_has_its_script_and_every_script_its_notebook():
    assert NOTEBOOKS and [path.stem for path in NOTEBOOKS] == [path.stem for path in SCRIPTS]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_pair_has_the_same_cells(script):
    paired = script.with_suffix(".ipynb")
    assert cells(jupytext.read(script)) == cells(nbformat.read(paired, 4)), (
        f"{script.name} and {paired.name} differ; run: jupytext --sync notebooks/{script.name}"
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_pair_declares_that_it_is_one(script):
    formats = {
        path: jupytext.read(path).metadata["jupytext"]["formats"] for path in (script, script.with_suffix(".ipynb"))
    }
    assert set(formats.values()) == {"ipynb,py:percent"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    ran = [
        cell.source for cell in notebook.cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)
    ]
    assert not ran, f"{len(ran)} cells have outputs; run: jupyter nbconvert --clear-output --inplace {path.name}"


def test_all_notebooks_have_one_set_up_cell():
    assert len({setup_cell(path) for path in NOTEBOOKS}) == 1


@pytest.mark.parametrize("have", [["jax", "jaxlib", "numpy", "ml_collections"], []], ids=["with_jax", "with_nothing"])
def test_colab_gets_what_it_lacks_and_keeps_its_jax(have):
    done = run_setup_cell(FOLDER, COLAB.format(have=have), REPORT)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    plain, jetstream = report["calls"]
    asked = [argument for call in report["calls"] for argument in call[call.index("install") + 1 :]]
    names = {argument.partition(">")[0].partition("=")[0] for argument in asked if not argument.startswith("-")}
    assert {"optax", "orbax-checkpoint", "grain", "google-jetstream"} <= names
    assert not names & {"jax", "jaxlib", *(name.replace("_", "-") for name in have)}
    assert "--upgrade" not in asked and not any(a.startswith(("-r", "-U", "--requirement")) for a in asked)
    assert "--no-deps" in jetstream and "--no-deps" not in plain
    assert report["constraint"] == [f"{name}==0.1" for name in have if name.startswith("jax")]
    assert any(argument.startswith("--constraint=") for argument in plain)


def test_outside_colab_the_set_up_installs_nothing_and_finds_the_project():
    watch = "import subprocess\nsubprocess.run = None\n"
    done = run_setup_cell(FOLDER, watch, "\nimport ulorl_jax; print(ulorl_jax.__file__)")
    assert done.returncode == 0, done.stderr
    assert pathlib.Path(done.stdout.splitlines()[-1]).parent == FOLDER.parent / "ulorl_jax"


def test_the_project_is_found_in_a_folder_right_below_as_after_git_clone(tmp_path):
    os.symlink(FOLDER.parent, tmp_path / "clone")
    done = run_setup_cell(tmp_path, after="\nprint(root.resolve())")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(FOLDER.parent)


def test_without_the_project_nearby_the_set_up_says_where_it_looked(tmp_path):
    done = run_setup_cell(tmp_path)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("FileNotFoundError: no folder with ulorl_jax/loop.py") and str(tmp_path) in last
