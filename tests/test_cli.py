import importlib

import pytest

from launch import cli


@pytest.mark.parametrize(
    ("flags", "set_by_hand", "wanted"),
    [
        ("--xla_force_host_platform_device_count=2", None, "false"),
        ("--xla_force_host_platform_device_count=2", "true", "true"),
        ("", None, None),
    ],
)
def test_programs_of_virtual_devices_do_not_queue_up_behind_each_other(monkeypatch, flags, set_by_hand, wanted):
    name = "JAX_CPU_ENABLE_ASYNC_DISPATCH"
    environment = {"XLA_FLAGS": flags} | ({name: set_by_hand} if set_by_hand else {})
    monkeypatch.setattr(cli.os, "environ", environment)
    importlib.reload(cli)
    assert environment.get(name) == wanted
