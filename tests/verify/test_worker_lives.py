"""verify.workers: how workers start and end, whoever waits for them, and that none outlives its program."""

import importlib
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from tests.verify import worker_tasks
from tests.verify.pools import (
    GUARD,
    ROOT,
    alive,
    in_a_thread,
    module,
    new_pool,
    noted,
    on_linux,
    pids,
    still_squares,
    wait_until,
)
from ulorl_jax.verify import worker as program
from ulorl_jax.verify import workers
from ulorl_jax.verify.workers import WorkerPool


@pytest.fixture(scope="module")
def pool():
    with new_pool() as pool:
        yield pool


# Starting.


def test_workers_import_the_functions_module_and_neither_jax_nor_the_program_of_the_parent(pool):
    assert "jax" in sys.modules or importlib.import_module("jax")
    seen = pool.map([("surroundings",)])[0].value
    assert not seen["jax"]
    assert seen["main"] == program.__file__
    assert seen["ours"] == ["tests.verify", "tests.verify.worker_tasks"]


PROGRAM = """
print("top")  # no `if __name__ == "__main__"`: a worker that ran this would print it again, and start a pool
from tests.verify import worker_tasks
from ulorl_jax.verify.workers import WorkerPool
pool = WorkerPool(worker_tasks.act, workers=2, deadline_s=10.0, memory_mb=None)
print([result.value for result in pool.map([("square", 3), ("shout",)])])
print(*{result.value["pid"] for result in pool.map([("surroundings",)] * 6)})
"""


@on_linux
def test_any_program_may_use_a_pool_and_its_workers_end_with_it(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for arguments in (["program.py"], ["-m", "program"], ["-c", PROGRAM], ["-"])
    ]
    for process in running:
        out, _ = process.communicate(PROGRAM, timeout=GUARD)
        top, results, processes = out.splitlines()
        assert (process.returncode, top, results) == (0, "top", "[9, 'quiet']")
        assert not any(alive(int(pid)) for pid in processes.split())


def test_workers_that_cannot_start_are_an_error_that_says_what_they_printed(tmp_path, monkeypatch):
    function = module(tmp_path, monkeypatch, "cannot_start", worker="print('why not'); raise ImportError('no luck')")
    start = re.escape("3 workers in a row did not start: the worker died (exit status 1); it printed: why not")
    with (
        new_pool(function) as pool,
        pytest.raises(RuntimeError, match=f"(?s){start}.*ImportError: no luck$"),
    ):
        pool.map([1])


def test_workers_that_hang_at_their_start_are_an_error(tmp_path, monkeypatch):
    function = module(tmp_path, monkeypatch, "starts_slowly", worker="time.sleep(60)")
    monkeypatch.setattr(workers, "START_DEADLINE_S", 0.2)
    with (
        new_pool(function, workers=3) as pool,
        pytest.raises(RuntimeError, match="it was not ready within 0.2 s"),
    ):
        pool.map([1, 2, 3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"function": lambda x: x}, "a worker cannot import <function .*lambda"),
        ({"function": worker_tasks.Wordless().__str__}, "a worker cannot import <bound method"),
        ({"workers": 0}, "workers is 0; give 1 or more"),
        ({"deadline_s": 0.0}, "deadline_s is 0.0"),
        ({"deadline_s": float("nan")}, "deadline_s is nan"),
        ({"deadline_s": float("inf")}, "deadline_s is inf"),
        ({"memory_mb": 0}, "memory_mb is 0"),
    ],
)
def test_a_pool_that_could_not_work_is_refused(change, message):
    arguments = {"function": worker_tasks.act, "workers": 1, "deadline_s": 1.0, "memory_mb": None} | change
    with pytest.raises(ValueError, match=message):
        WorkerPool(arguments.pop("function"), **arguments)


def test_a_function_of_the_program_itself_is_refused(monkeypatch):
    monkeypatch.setattr(worker_tasks.act, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "act", worker_tasks.act, raising=False)
    with pytest.raises(ValueError, match="a module that is not the program itself"):
        WorkerPool(worker_tasks.act, workers=1, deadline_s=1.0, memory_mb=None)


# Threads, signals and the end.


def test_maps_of_several_threads_each_get_their_own_results(pool):
    found = {}

    def work(first):
        found[first] = [result.value for result in pool.map([("square", first + x) for x in range(50)])]

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GUARD)
    assert found == {first: [(first + x) ** 2 for x in range(50)] for first in range(4)}


def test_workers_outlive_the_thread_that_started_them():
    with new_pool() as pool:
        with in_a_thread(lambda: pids(pool)) as started:
            pass
        assert len(started) == 2 and pids(pool) == set(started)


def test_ctrl_c_reaches_no_worker(pool):
    before = pids(pool)
    for pid in before:
        os.kill(pid, signal.SIGINT)
        assert os.getpgid(pid) != os.getpgid(0)  # nor does a terminal send it there
    assert pids(pool) == before


@on_linux
def test_an_interrupted_map_leaves_nothing_to_the_next(pool, tmp_path):
    pids(pool)  # both are ready
    timer = threading.Timer(0.3, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background a shell has it ignored
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            pool.map([("square_once_told", str(tmp_path), x) for x in range(5)])
    finally:
        signal.signal(signal.SIGINT, usual)
    begun = noted(tmp_path)
    assert len(begun) <= 2 and not any(alive(pid) for pid in begun)
    assert still_squares(pool) and noted(tmp_path) == begun


def test_a_closed_pool_has_no_processes_and_takes_no_items():
    with new_pool() as pool:
        started = pids(pool)
    pool.close()
    assert not any(alive(pid) for pid in started)
    with pytest.raises(RuntimeError, match="the pool is closed; make a new one"):
        pool.map([("square", 1)])


def test_close_ends_the_map_of_another_thread():
    pool = new_pool()

    def work():
        with pytest.raises(RuntimeError, match="the pool is closed") as raised:
            pool.map([("square_after", 50.0, 1)] * 3)
        return [raised.type]

    with in_a_thread(work) as raised:
        wait_until(lambda: any(worker.task for worker in pool._workers), "an item in work")
        pool.close()
    assert raised == [RuntimeError]


ORPHANS = """
import sys
from tests.verify import worker_tasks
from ulorl_jax.verify.workers import WorkerPool
folder = sys.argv[1]
WorkerPool(worker_tasks.act, workers=3, deadline_s=600.0, memory_mb=None).map(
    [("hang", folder, "c"), ("hang", folder, "python"), ("send_self", folder, "SIGSTOP")])
"""


@on_linux
def test_no_worker_outlives_a_killed_parent_not_even_stuck_in_c_code_or_stopped(tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHANS, str(tmp_path)], env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    try:
        wait_until(lambda: len(noted(tmp_path)) == 3, "three stuck workers")
        orphans = noted(tmp_path)
        assert all(alive(pid) for pid in orphans)
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not any(alive(pid) for pid in orphans), "the end of the orphans")
