"""How pytest treats this folder: notebooks run under `--nbmake`, scripts are never imported."""

import os

import pytest

collect_ignore_glob = ["*.py"]  # a notebook's script is the notebook: collecting doctests would run it


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Takes the tests' eight virtual devices out of the kernel's environment while a notebook runs."""
    flags = os.environ.pop("XLA_FLAGS", None)
    try:
        return (yield)
    finally:
        if flags is not None:
            os.environ["XLA_FLAGS"] = flags
