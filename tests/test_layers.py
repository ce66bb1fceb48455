"""The house rules that a program can check: import floors, file lengths, names, doctests of ops/.

Sources are parsed, never imported, so an import inside a function counts like one at the top.
"""

import ast
import pathlib
import sys
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

# A room imports lower floors and itself. Rooms of one floor do not know each other.
FLOORS = {
    "types": 0,
    "processes": 0,
    "joining": 1,
    "ops": 1,
    "mesh": 1,
    "io": 1,
    "typed": 1,
    "models": 2,
    "report": 2,
    "rollout": 3,
    "verify": 3,
    "train": 3,
    "data": 3,
    # The run itself: floor 4 and up, the stairs that loop.py stands on.
    "clock": 4,
    "evaluate": 4,
    "experiment": 4,
    "lengths": 4,
    "planning": 4,
    "rewards": 4,
    "scoring": 4,
    "supervised": 4,
    "verifier_report": 4,
    "sections": 4,
    "weights": 4,
    "convert": 5,
    "replies": 5,
    "grid": 5,
    "judging": 5,
    "plan_inputs": 5,
    "settings": 5,
    "verifier_data": 5,
    "compiled": 1,
    "costs": 3,
    "programs": 1,
    "aggregation": 6,
    "batches": 6,
    "footprint": 6,
    "verifier_settings": 6,
    "evaluation_settings": 5,
    "frontier": 6,
    "inputs": 6,
    "trainer": 6,
    "ask": 7,
    "parts": 7,
    "update": 7,
    "roofline": 7,
    "experiment_report": 7,
    "slices": 8,
    "ahead": 8,
    "evaluation": 8,
    "inspection": 8,
    "preparation": 8,
    "verifier_training": 8,
    "summary": 8,
    "tracing": 8,
    "warm_start": 8,
    "capacity": 9,
    "loop": 10,
    "replay": 10,
}
ABOVE_THE_HOUSE = {"launch", "configs", "tests", "benchmarks", "notebooks"}
# Libraries behind one door each, so that replacing one touches one room.
DOORS = {"jetstream": "rollout"} | dict.fromkeys(
    ("orbax", "tensorstore", "grain", "pyarrow", "array_record", "tokenizers", "jinja2", "urllib"), "io"
)
DOORS |= dict.fromkeys(("tensorboardX", "matplotlib", "rich"), "io")
# `import ulorl_jax.ops` works with jax alone: what it and the nouns it takes may import.
JAX_ALONE = sys.stdlib_module_names | {"jax", "numpy", "ulorl_jax"}
MAX_LINES = 400
NAMELESS = {"utils", "util", "common", "helpers", "helper", "misc"}


def check_floors(root: pathlib.Path) -> Iterator[str]:
    """Imports between the rooms of ulorl_jax point down."""
    for path, room in _rooms(root):
        where = path.relative_to(root)
        if room not in FLOORS:
            yield f"{where}: the room {room!r} has no floor; add it to FLOORS in tests/test_layers.py"
            continue
        for line, module in _imports(root, path):
            package, _, rest = module.partition(".")
            target = rest.partition(".")[0]
            if package in ABOVE_THE_HOUSE:
                yield f"{where}:{line}: imports {module}; take what it has as an argument instead"
            elif package == "ulorl_jax" and target == "":
                yield f"{where}:{line}: imports ulorl_jax as a whole; import the module that is meant"
            elif package == "ulorl_jax" and target in FLOORS and target != room and FLOORS[target] >= FLOORS[room]:
                yield (
                    f"{where}:{line}: {room} (floor {FLOORS[room]}) imports {module} (floor {FLOORS[target]}); "
                    "imports point down: pass it in from above, or move the shared part to a lower floor"
                )


def check_doors(root: pathlib.Path) -> Iterator[str]:
    """Each library of DOORS is imported by one room, and ops/ and types.py need jax and numpy alone."""
    for path, room in _rooms(root):
        for line, module in _imports(root, path):
            library = module.partition(".")[0]
            where = f"{path.relative_to(root)}:{line}"
            if DOORS.get(library, room) != room:
                yield f"{where}: imports {library}; only ulorl_jax/{DOORS[library]}/ does: call that room from above"
            elif room in ("ops", "types") and library not in JAX_ALONE:
                yield f"{where}: {room} imports {library}; it may import jax, numpy and the standard library only"


def check_lengths(root: pathlib.Path) -> Iterator[str]:
    """No file of the house is longer than a reader holds in mind."""
    for path in _python_files(root, "ulorl_jax", "configs", "launch"):
        lines = len(path.read_text().splitlines())
        if lines > MAX_LINES:
            yield f"{path.relative_to(root)}: {lines} lines, at most {MAX_LINES}; split it along what it does"


def check_names(root: pathlib.Path) -> Iterator[str]:
    """Every file, folder and class says what is in it."""
    for path in _python_files(root, "ulorl_jax", "configs", "launch", "tests", "benchmarks"):
        where = path.relative_to(root)
        for part in where.with_suffix("").parts:
            if NAMELESS & set(part.split("_")):
                yield f"{where}: {part!r} does not say what is in it; name it after its contents"
        for node in ast.walk(_parse(path)):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Manager"):
                yield f"{where}:{node.lineno}: class {node.name}; name it after what it holds or does"


def check_doctests(root: pathlib.Path) -> Iterator[str]:
    """Every public function and class of ops/ shows its use in a doctest."""
    for path in _python_files(root, "ulorl_jax/ops"):
        for node in _parse(path).body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            if ">>>" not in (ast.get_docstring(node) or ""):
                yield f"{path.relative_to(root)}:{node.lineno}: {node.name} has no doctest; add an Example with >>>"


CHECKS = [check_floors, check_doors, check_lengths, check_names, check_doctests]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_house_keeps_its_rules(check):
    broken = list(check(ROOT))
    assert not broken, "\n" + "\n".join(broken)


def test_the_checks_see_the_house():
    rooms = {room for _, room in _rooms(ROOT)}
    assert {"types", "ops", "mesh", "io", "models"} <= rooms
    ops = {module for path, room in _rooms(ROOT) if room == "ops" for _, module in _imports(ROOT, path)}
    assert "ulorl_jax.types.Sample" in ops


@pytest.mark.parametrize(
    ("check", "file", "source", "message"),
    [
        (check_floors, "ops/a.py", "from ulorl_jax.models import qwen3", "ops (floor 1) imports ulorl_jax.models"),
        (check_floors, "ops/a.py", "from ulorl_jax import mesh", "ops (floor 1) imports ulorl_jax.mesh"),
        (check_floors, "train/a.py", "import ulorl_jax.rollout.pools", "train (floor 3) imports ulorl_jax.rollout"),
        (check_floors, "models/a.py", "def f():\n  from ..train import step", "a.py:2: models (floor 2) imports"),
        (check_floors, "mesh.py", "from . import io", "mesh (floor 1) imports ulorl_jax.io"),
        (check_floors, "types.py", "from .ops.masked import masked_mean", "types (floor 0) imports ulorl_jax.ops"),
        (check_floors, "evaluate.py", "from ulorl_jax.loop import run", "evaluate (floor 4) imports ulorl_jax.loop"),
        (check_floors, "loop.py", "import ulorl_jax as u", "imports ulorl_jax as a whole"),
        (check_floors, "loop.py", "from configs import base", "imports configs"),
        (check_floors, "io/a.py", "import launch.train", "imports launch.train"),
        (check_floors, "io/a.py", "import importlib\nimportlib.import_module('launch.train')", "imports launch.train"),
        (check_floors, "reports/a.py", "", "the room 'reports' has no floor"),
        (check_doors, "train/a.py", "def f():\n  import jetstream.engine", "only ulorl_jax/rollout/ does"),
        (check_doors, "loop.py", "import orbax.checkpoint as ocp", "only ulorl_jax/io/ does"),
        (check_doors, "ops/a.py", "import optax", "ops imports optax"),
        (check_doors, "types.py", "from flax import struct", "types imports flax"),
        (check_lengths, "train/a.py", "x = 1\n" * 401, "401 lines, at most 400"),
        (check_names, "io/path_utils.py", "", "'path_utils' does not say"),
        (check_names, "common/a.py", "", "'common' does not say"),
        (check_names, "io/a.py", "class PoolManager: pass", "class PoolManager"),
        (check_doctests, "ops/a.py", "def f():\n  '''Doubles.'''", "f has no doctest"),
    ],
)
def test_a_broken_rule_is_found_and_named(tmp_path, check, file, source, message):
    broken = list(check(_house(tmp_path, file, source)))
    assert len(broken) == 1 and f"ulorl_jax/{file}" in broken[0] and message in broken[0], broken


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (
            "ops/a.py",
            "import dataclasses, jax.numpy\nfrom ulorl_jax.types import Batch\nfrom ulorl_jax.ops import masked",
        ),
        ("ops/__init__.py", "from . import masked"),
        ("ops/a.py", "def _f(): pass\ndef f():\n  '''\n  >>> f()\n  '''"),
        ("rollout/a.py", "from jetstream.engine import engine_api\nfrom ..models import qwen3"),
        ("io/a.py", "import orbax.checkpoint, grain\nfrom .files import write_text"),
        ("loop.py", "from ulorl_jax.train import step\nfrom ulorl_jax.rollout import pools"),
        ("train/a.py", "x = 1\n" * 400),
        ("__init__.py", "__version__ = '0'"),
    ],
)
def test_what_the_rules_allow_passes(tmp_path, file, source):
    house = _house(tmp_path, file, source)
    assert [message for check in CHECKS for message in check(house)] == []


def _house(root: pathlib.Path, file: str, source: str) -> pathlib.Path:
    path = root / "ulorl_jax" / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    return root


def _python_files(root: pathlib.Path, *folders: str) -> list[pathlib.Path]:
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


def _rooms(root: pathlib.Path) -> Iterator[tuple[pathlib.Path, str]]:
    """Every file of ulorl_jax but its own __init__.py, with the room it stands in."""
    for path in _python_files(root, "ulorl_jax"):
        room = path.relative_to(root / "ulorl_jax").with_suffix("").parts[0]
        if room != "__init__":
            yield path, room


def _parse(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def _imports(root: pathlib.Path, path: pathlib.Path) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything a file imports, at any depth, by name or by string."""
    package = path.relative_to(root).parts[:-1]
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{stem}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value
