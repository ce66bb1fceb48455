"""Processes that are one run agree, and none outlives another: real ones, with jax.distributed, without a model."""

import sys

import pytest

from tests import runs, several
from ulorl_jax.joining import joined, may_be_of_another
from ulorl_jax.processes import gather, put, to_host

pytestmark = pytest.mark.slow

AGREE = """
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ulorl_jax.clock import StopRequest
print(processes.gather("a", {"from": index}), processes.gather("a", index * "x"))
with processes.first_before_others("made"):
    if index == 0:
        time.sleep(1)
    made = time.time()
first, *others = processes.gather("made when", made)
print("first" if first < min(others) else "too late")
split = NamedSharding(Mesh(np.array(jax.devices()), ("x",)), PartitionSpec("x"))
array = processes.put({"a": np.arange(6.0)}, {"a": split})["a"]
try:
    processes.demand_same("settings", {"seed": index, "steps": 3})
except ValueError as error:
    print(error)
from ulorl_jax.io.folders import demand_shared
for folder in (f"{sys.argv[4]}_all", f"{sys.argv[4]}{index}"):
    os.makedirs(folder, exist_ok=True)
    try:
        demand_shared(folder)
        print("shared", os.path.exists(f"{folder}/.shared"))
    except ValueError as error:
        print(error)
print(array.addressable_shards[0].data, processes.to_host([array * 2, array.sum()]))
steps = 0
with StopRequest() as stop:
    while not stop:
        steps += 1
        time.sleep(0.01)
        if index == 1 and steps == 5:
            os.kill(os.getpid(), 15)
print(steps, stop.requested)
"""
REFUSES = """
processes.gather("begun", None)
if index == 1:
    sys.exit("error: the questions cannot be read")
processes.gather("never", None)
"""
WAITS = """
processes.gather("begun", None)
print("begun")
processes.gather("never", None) if index else time.sleep(1000)
"""


def test_processes_say_and_see_the_same_and_stop_at_the_same_step_whoever_is_told_to(tmp_path):
    both = several.start_program(tmp_path / "agree", AGREE, 2)
    assert both.codes() == [0, 0], both.said(0) + both.said(1)
    one, two = both.said(0, "out").splitlines(), both.said(1, "out").splitlines()
    assert one[0] == two[0] == "[{'from': 0}, {'from': 1}] ['', 'x']"
    assert one[1] == two[1] == "first"
    whole = "[array([ 0.,  2.,  4.,  6.,  8., 10.], dtype=float32), array(15., dtype=float32)]"
    refused = "process 1 has other settings than process 0: seed (1, not 0); start all with the same command"
    assert one[2] == two[2] == refused + ", --process_id aside"
    assert one[3] == "shared False" and two[3].startswith("shared")
    assert [said.partition(";")[0] for said in (one[4], two[4])] == [
        f"{tmp_path}/agree{index} is not one folder for all: process 1 does not see what process 0 writes there"
        for index in range(2)
    ]
    assert one[5] == f"[0. 1. 2.] {whole}" and two[5] == f"[3. 4. 5.] {whole}"
    assert one[6] == two[6] and int(one[6].split()[0]) in (5, 6) and one[6].endswith("SIGTERM")


def test_when_one_process_refuses_the_others_end_with_its_reason(tmp_path):
    both = several.start_program(tmp_path / "refuses", REFUSES, 2)
    assert both.codes() == [1, 1]
    assert both.said(1).endswith("error: the questions cannot be read\n")
    told = f"error: {both.name(1)} has stopped: the questions cannot be read; a run needs all of its processes: start"
    assert told in both.said(0)


def test_when_process_0_dies_the_others_end_at_once_with_its_name(tmp_path):
    both = several.start_program(tmp_path / "waits", WAITS, 2)
    runs.wait_for(lambda: both.said(1, "out") == "begun\n", both.processes[1], "both had begun")
    both.kill(0)
    assert both.codes()[1] not in (0, None)
    runs.wait_for_text(lambda: both.said(1), f"error: {both.name(0)}, which all others need, cannot be reached")
    assert "start them again with the same command, and it goes on from its last checkpoint" in both.said(1)


def test_who_is_who_must_be_said_whole():
    for given in (("2", 0, None), ("2", None, "localhost:1"), ("two", 0, "localhost:1"), ("0", 0, "localhost:1")):
        with pytest.raises(ValueError, match="must be auto, or a number with --process_id"), joined(*given):
            raise AssertionError("it joined")


def test_an_error_that_came_from_a_device_is_told_from_one_of_ours():
    of_gloo = ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer")
    ours = ValueError("the checkpoint of step 2 could not be written")
    assert may_be_of_another(of_gloo) and not may_be_of_another(ours)
    try:
        try:
            raise ours from of_gloo
        except ValueError as error:
            sys.exit(f"error: {error}")
    except SystemExit as error:
        assert may_be_of_another(error)


def test_a_single_process_has_nobody_to_ask():
    with joined("1", None, None):
        assert gather("a", 5) == [5]
        assert to_host(put([1.0], None)) == [1.0]
