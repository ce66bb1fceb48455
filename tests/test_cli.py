import importlib

import pytest

from launch import cli

DEVICES = "--xla_force_host_platform_device_count=2"
EIGEN = "--xla_cpu_multi_thread_eigen"


def environment_after_import(monkeypatch, given):
    environment = dict(given)
    monkeypatch.setattr(cli.os, "environ", environment)
    importlib.reload(cli)
    return environment


@pytest.mark.parametrize(
    ("set_by_hand", "wanted"), [({}, "false"), ({"JAX_CPU_ENABLE_ASYNC_DISPATCH": "true"}, "true")]
)
def test_programs_of_virtual_devices_do_not_queue_up_behind_each_other(monkeypatch, set_by_hand, wanted):
    environment = environment_after_import(monkeypatch, {"XLA_FLAGS": DEVICES} | set_by_hand)
    assert environment["JAX_CPU_ENABLE_ASYNC_DISPATCH"] == wanted


@pytest.mark.parametrize(
    ("given", "wanted"), [(DEVICES, f"{DEVICES} {EIGEN}=false"), (f"{EIGEN}=true {DEVICES}", f"{EIGEN}=true {DEVICES}")]
)
def test_each_virtual_device_computes_on_one_thread_unless_it_is_told_otherwise(monkeypatch, given, wanted):
    assert environment_after_import(monkeypatch, {"XLA_FLAGS": given})["XLA_FLAGS"] == wanted


@pytest.mark.parametrize("given", [{}, {"XLA_FLAGS": "--xla_dump_to=x"}])
def test_without_virtual_devices_nothing_is_set(monkeypatch, given):
    assert environment_after_import(monkeypatch, given) == given
