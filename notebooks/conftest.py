"""How pytest treats this folder: notebooks run under `--nbmake`, scripts are never imported."""

import os

import pytest

collect_ignore_glob = ["*.py"]  # a notebook's script is the notebook: collecting doctests would run it


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Takes the tests' eight virtual devices out of the kernel's environment while a notebook runs.

    The other flags stay: with them most programs compile two to three times quicker (see the root's conftest.py).
    """
    flags = os.environ["XLA_FLAGS"]
    os.environ["XLA_FLAGS"] = " ".join(flag for flag in flags.split() if "host_platform_device_count" not in flag)
    try:
        return (yield)
    finally:
        os.environ["XLA_FLAGS"] = flags
