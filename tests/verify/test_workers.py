"""verify.workers: results in order whatever the items do, and no worker that outgrows or outwaits."""

import ctypes
import os
import pathlib
import random
import signal
import time

import pytest

from tests.verify import worker_tasks
from tests.verify.pools import (
    DEADLINE,
    LATE,
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
from ulorl_jax.verify.workers import Result


@pytest.fixture(scope="module")
def pool():
    with new_pool() as pool:
        yield pool


@pytest.fixture(scope="module")
def hasty_pool():
    with new_pool(deadline_s=DEADLINE) as pool:
        yield pool


@pytest.fixture
def hasty(hasty_pool):
    """Both workers are ready, so that a test of lateness waits for no start."""
    wait_until(
        lambda: still_squares(hasty_pool) and [w.ready for w in hasty_pool._workers] == [True] * 2, "two workers"
    )
    return hasty_pool


# Order, and what is on whose clock.


def test_results_come_in_the_order_of_the_items_whoever_is_done_first(pool):
    items = [("square_after", 0.04 * (x % 3), x) for x in range(12)]
    assert pool.map(items) == [Result(x * x) for x in range(12)]


def test_no_items_no_results_and_no_processes():
    with new_pool() as pool:
        assert pool.map([]) == []
        assert pool._workers == []


def test_processes_start_when_items_need_them_and_no_more_than_workers():
    with new_pool() as pool:
        assert pool._workers == []
        assert pool.map([("square", 3)]) == [Result(9)]
        assert len(pool._workers) == 1
        assert len(pids(pool)) == 2


def test_each_item_of_a_shuffled_crowd_gets_its_own_outcome(hasty, tmp_path):
    kinds = [
        (("square", 7), Result(49)),
        (("fail", "value"), Result(None, "raised ValueError: a bad value")),
        (("hang", str(tmp_path), "python"), LATE),
        (("leave", str(tmp_path), 3), Result(None, "the worker died (exit status 3)")),
        (("local_function",), None),
    ]
    crowd = random.Random(0).choices(kinds, weights=[40, 10, 1, 1, 5], k=80)
    results = hasty.map([item for item, _ in crowd])
    for (item, expected), result in zip(crowd, results, strict=True):
        assert result == expected if expected else result.error.startswith("the result cannot be pickled: "), item


def test_waiting_for_a_worker_is_not_on_an_items_clock(hasty):
    items = [("square_after", 0.1, x) for x in range(14)]  # 0.7 s for two workers
    assert hasty.map(items) == [Result(x * x) for x in range(14)]


def test_the_imports_of_a_worker_are_not_on_an_items_clock(tmp_path, monkeypatch):
    function = module(tmp_path, monkeypatch, "slow_to_import", worker="time.sleep(1.4 * 0.5)")
    with new_pool(function, deadline_s=DEADLINE) as pool:
        assert pool.map([1, 2]) == [Result(1), Result(2)]


def test_a_result_that_came_in_time_counts_though_the_parent_reads_it_late(hasty, tmp_path):
    with in_a_thread(lambda: hasty.map([("square_once_told", str(tmp_path), x) for x in range(2)])) as results:
        wait_until(lambda: len(noted(tmp_path)) == 2, "two items in work")
        (tmp_path / "go").touch()
        ctypes.PyDLL(None).usleep(900_000)  # no other thread gets the interpreter, for longer than the deadline
    assert results == [Result(0), Result(1)]


def test_waiting_takes_no_processor_time(pool):
    still_squares(pool)
    before = time.thread_time()
    pool.map([("square_after", 0.25, 1)] * 2)
    assert time.thread_time() - before < 0.1


def test_an_item_is_pickled_only_when_a_worker_is_free_for_it(pool):
    still_squares(pool)
    pickled = []

    class Item:
        def __reduce__(self):
            pickled.append(time.monotonic())
            return tuple, (["square_after", 0.05, 1],)

    assert pool.map([Item() for _ in range(6)]) == [Result(1)] * 6
    for earlier, later in zip(pickled, pickled[2:], strict=False):
        assert later - earlier >= 0.05


# Stuck and dead workers.


@pytest.mark.parametrize("how", ["python", "c"])
def test_an_item_that_hangs_costs_one_deadline_and_harms_no_other(hasty, tmp_path, how):
    items = [("square", 1), ("hang", str(tmp_path), how), *[("square_after", 0.02, x) for x in range(10)]]
    assert hasty.map(items) == [Result(1), LATE, *[Result(x * x) for x in range(10)]]
    (stuck,) = noted(tmp_path)  # tried once
    assert not alive(stuck)
    assert still_squares(hasty)


def test_one_worker_killed_and_one_stopped_in_the_middle_leave_every_result_right(hasty, tmp_path):
    with in_a_thread(lambda: hasty.map([("square_once_told", str(tmp_path), x) for x in range(4)])) as results:
        wait_until(lambda: len(noted(tmp_path)) == 2, "two items in work")
        killed, stopped = noted(tmp_path)
        os.kill(killed, signal.SIGKILL)
        os.kill(stopped, signal.SIGSTOP)
        (tmp_path / "go").touch()
    assert results == [Result(x * x) for x in range(4)]
    assert len(noted(tmp_path)) == 6, "four items, and two of them once more"
    assert not alive(stopped)


def test_workers_stopped_between_maps_cost_no_result(hasty):
    for worker in hasty._workers:
        worker.process.send_signal(signal.SIGSTOP)
    assert still_squares(hasty)


@on_linux
def test_a_worker_that_died_between_maps_costs_no_item_its_second_try(pool, tmp_path):
    for pid in pids(pool):
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not alive(pid), "its death")
    assert pool.map([("send_self", str(tmp_path), "SIGKILL")]) == [Result(None, "the worker died (SIGKILL)")]
    assert len(noted(tmp_path)) == 2


@on_linux
def test_replaced_workers_leave_no_open_files_and_no_processes(pool):
    def held():
        children = pathlib.Path("/proc/self/task").glob("*/children")
        return len(os.listdir("/proc/self/fd")), sum(len(path.read_text().split()) for path in children)

    old = pids(pool)
    before = held()
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    assert len(pids(pool) - old) == 2
    assert held() == before


@pytest.mark.parametrize(
    ("item", "error"),
    [
        (("send_self", "SIGKILL"), "the worker died (SIGKILL)"),
        (("send_self", "SIGSEGV"), "the worker died (SIGSEGV)"),
        (("send_self", "SIGSTOP"), "the worker was stopped for 0.5 s"),
        pytest.param(("send_self", 40), "the worker died (signal 40)", marks=on_linux),
        (("leave", 0), "the worker died (exit status 0)"),
        (("leave", 77), "the worker died (exit status 77)"),
    ],
)
def test_an_item_whose_worker_dies_or_stops_is_tried_twice_and_then_an_error(pool, hasty, tmp_path, item, error):
    name, what = item
    assert (hasty if what == "SIGSTOP" else pool).map([("square", 2), (name, str(tmp_path), what), ("square", 3)]) == [
        Result(4),
        Result(None, error),
        Result(9),
    ]
    assert len(noted(tmp_path)) == 2


# What a function may do.


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("value", "raised ValueError: a bad value"),
        ("exit", "raised SystemExit: 3"),
        ("interrupt", "raised KeyboardInterrupt: so"),
        ("base", "raised BaseException: at the root"),
        ("wordless", "raised Wordless"),
        ("long", "raised ValueError: " + "x" * 281),
        ("memory", "ran out of memory"),
        ("recursion", "raised RecursionError: maximum recursion depth exceeded"),
    ],
)
def test_whatever_is_raised_is_the_error_of_its_item_and_the_worker_goes_on(pool, kind, error):
    before = pids(pool)
    result, after = pool.map([("fail", kind), ("square", 3)])
    assert result.value is None and result.error.startswith(error) and len(result.error) <= 300
    assert after == Result(9)
    assert pids(pool) == before


def test_what_cannot_be_pickled_or_restored_is_the_error_of_its_item(pool):
    items = [("local_function",), ("unreadable",), ("echo", lambda: 0), ("echo", worker_tasks.Unreadable())]
    errors = [result.error for result in pool.map([*items, ("square", 3)])]
    assert errors[0].startswith("the result cannot be pickled: ") and "lambda" in errors[0]
    assert errors[1] == "the result cannot be pickled: ValueError: not here"
    assert errors[2].startswith("the item cannot be pickled: ") and "lambda" in errors[2]
    assert errors[3] == "raised ValueError: not here"
    assert errors[4] == ""


def test_ten_megabytes_go_there_and_back_unchanged(pool):
    texts = [char * 10_000_000 for char in "ab\u00e9"]
    assert [result.value for result in pool.map([("echo", text) for text in texts])] == texts


def test_the_function_reads_and_writes_nothing_of_the_parents(pool, capfd):
    assert pool.map([("shout",)] * 2) == [Result("quiet")] * 2
    seen = pool.map([("surroundings",)])[0].value
    assert seen["stdin"] == "" and seen["output"] == os.stat(os.devnull).st_rdev  # a file would fill the disk
    assert capfd.readouterr() == ("", "")


@on_linux
def test_an_item_that_takes_too_much_memory_is_an_error_and_what_it_leaves_starves_no_other():
    with new_pool(workers=1, memory_mb=400) as pool:
        first = pids(pool, 1)
        assert pool.map([("take", 600), ("take", 250)]) == [Result(None, "used more than 400 MB"), Result(250 << 20)]
        assert pids(pool, 1) == first  # it gave the memory back
        assert pool.map([("take", 250, True), ("take", 250)]) == [Result(250 << 20)] * 2
        assert pids(pool, 1) != first  # it had kept 250 of its 400 MB
