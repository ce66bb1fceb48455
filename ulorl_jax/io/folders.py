"""Folders that are there as a whole or not at all, like the files of `io.files`; and one that all processes share."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator

from ulorl_jax.processes import first_before_others, gather, is_first


@contextlib.contextmanager
def partial_folder(folder: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """A hidden folder to write into, renamed to `folder` at the end; an exception removes it.

    Args:
      folder: must not exist, or be empty.

    Yields:
      The folder to fill, `.NAME.partial` beside it; what a killed process left there is removed first.

    Raises:
      ValueError: the folder is there already, or cannot be written.
    """
    path = pathlib.Path(folder).absolute()
    refuse_occupied(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}; make room or give another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_occupied(folder: str | os.PathLike[str]) -> None:
    """Refuses a destination that holds something.

    Raises:
      ValueError: it is a file, or a folder that is not empty.
    """
    path = pathlib.Path(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} is there already and not an empty folder; give another destination")


def demand_shared(folder: str | os.PathLike[str]) -> None:
    """Refuses a folder that is another one for each process of the run, on disks of their own.

    Args:
      folder: is there for every process.

    Raises:
      ValueError: a process does not see what process 0 writes; raised in all.
    """
    mark = pathlib.Path(folder) / ".shared"
    with first_before_others("folder"):
        if is_first():
            mark.touch()
        there = mark.is_file()
    seen = gather("folder seen", there)
    if is_first():
        mark.unlink()
    if not all(seen):
        raise ValueError(
            f"{folder} is not one folder for all: process {seen.index(False)} does not see what process 0 writes "
            f"there; give a folder on a file system that all hosts share"
        )
