"""What every test stands on: eight virtual CPU devices, a compilation cache, the shared data."""

import importlib.metadata
import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))  # bare `pytest` does not

# jax reads these once, when it is imported, so this must run before any test does that. Processes the
# tests start inherit them: one that wants a single device takes XLA_FLAGS out of its environment.
DEVICES = 8
device_flag = "--xla_force_host_platform_device_count"
flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if not flag.startswith(device_flag)]
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of the tests' time is XLA compiling programs that then run for milliseconds: these two together make that two
# to three times quicker. tests/runs.py takes them away from whole runs, which are longer than their compilation.
if os.environ["JAX_PLATFORMS"] == "cpu":
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    if importlib.metadata.version("jaxlib").startswith("0.10."):  # later ones end at a flag that they do not know
        flags.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([*flags, f"{device_flag}={DEVICES}"])
os.environ.setdefault("JAX_CPU_ENABLE_ASYNC_DISPATCH", "false")  # see launch/cli.py
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")  # the tests' runs share their programs
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's own log lines, errors excepted
# Each of pytest-xdist's processes, and what it starts, on cores of its own: XLA's threads wait for one another busily.
if "PYTEST_XDIST_WORKER" in os.environ and hasattr(os, "sched_setaffinity"):
    worker, workers = int(os.environ["PYTEST_XDIST_WORKER"][2:]), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    cores = sorted(os.sched_getaffinity(0))[worker::workers]
    if cores:  # with more processes than cores they share them
        os.sched_setaffinity(0, cores)


def pytest_ignore_collect(collection_path: pathlib.Path) -> bool | None:
    """Keeps doctest collection from importing scripts beside the tests, such as those that write golden numbers."""
    if collection_path.suffix == ".py" and ROOT / "tests" in collection_path.parents:
        return None if collection_path.name.startswith("test_") else True
    return None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--first-cases", action="store_true", help="run parametrized tests with their first case only")


def pytest_configure(config: pytest.Config) -> None:
    """Lets `--dist loadfile` deal files in the order of collection, not those of many tests first."""
    if hasattr(config.option, "loadscopereorder"):  # of pytest-xdist, where it is installed
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that no process is alone with one at the end."""
    if config.getoption("--first-cases"):
        first = {item.nodeid.partition("[")[0]: item for item in reversed(items)}
        items[:] = [item for item in items if first[item.nodeid.partition("[")[0]] is item]
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """Drops the compiled programs after a file, once there are many: Linux gives a process 65,530 memory maps.

    A program for a CPU takes several for each of its devices. Where they run out, XLA ends the process.
    """
    yield
    maps = pathlib.Path("/proc/self/maps")
    if "jax" in sys.modules and maps.exists() and maps.read_bytes().count(b"\n") > 15_000:
        sys.modules["jax"].clear_caches()


@pytest.fixture(scope="session")
def data_dir() -> pathlib.Path:
    """The folder of shared data sets (gsm8k and others); the test is skipped where there is none."""
    path = pathlib.Path(os.environ.get("ULORL_DATA") or ROOT.parent / "shared" / "data")
    if not path.is_dir():
        pytest.skip(f"no shared data at {path}: set ULORL_DATA to the folder that holds gsm8k/")
    return path


@pytest.fixture(scope="session")
def devices():
    """The eight virtual CPU devices; a test of one device takes `devices[:1]`."""
    import jax

    found = jax.devices()
    if os.environ["JAX_PLATFORMS"] == "cpu":
        assert len(found) == DEVICES, (
            f"want {DEVICES} CPU devices, got {found}: was jax imported before conftest.py ran?"
        )
    return found
