"""Checksums of a directory's files, kept in the directory: damage is found before anything is read.

The formats inside cannot be asked: a flipped bit in a compressed block of floats is
another float to them, and a missing file raises something else in every layer.
"""

import functools
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import jax
from etils import epath

FILE = "checksums.txt"
_BLOCK = 1 << 22  # bytes read at a time
_READERS = (
    32  # files at a time: 30B parameters and their moments are 20,000, of which a bucket gives each after a while
)


def write_checksums(directory: epath.Path) -> None:
    """Writes `checksums.txt` beside the files it speaks of; call it when they are complete.

    Args:
      directory: every file in it and below is listed.
    """
    names = sorted(path.relative_to(directory).as_posix() for path in _files(directory))
    with ThreadPoolExecutor(_READERS) as pool:
        lines = list(pool.map(functools.partial(_checksum, directory), names))
    (directory / FILE).write_text("\n".join([*lines, "end"]))


def find_damage(directory: epath.Path, is_read: Callable[[str], bool] = lambda name: True) -> str | None:
    """Compares the files of a directory with its `checksums.txt`.

    Processes share the files out, so that each is read once; a process that finds
    damage raises, and takes the others down with it.

    Args:
      directory: from `write_checksums`. Files that came later do not matter.
      is_read: of a file's path in the directory; the others are not looked at.

    Returns:
      The first thing wrong, for people; None if all is as it was written.
    """
    try:
        lines = (directory / FILE).read_bytes().decode(errors="replace").split("\n")
    except OSError:
        return f"{directory.name}/{FILE} is missing"
    if lines.pop() != "end":
        return f"{directory.name}/{FILE} is cut off"
    lines = [line for line in lines if is_read(line.split(" ", 2)[-1])]
    with ThreadPoolExecutor(_READERS) as pool:
        found = pool.map(functools.partial(_damage, directory), lines[jax.process_index() :: jax.process_count()])
        return next(filter(None, found), None)


def _damage(directory: epath.Path, line: str) -> str | None:
    name = line.split(" ", 2)[-1]
    try:
        now = _checksum(directory, name)
    except (OSError, ValueError):  # ValueError: a null byte in a damaged name
        return f"{directory.name}/{name} is missing"
    return None if now == line else f"{directory.name}/{name} is not as it was written"


def _files(directory: epath.Path) -> Iterator[epath.Path]:
    for path in directory.iterdir():  # epath has no rglob
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def _checksum(directory: epath.Path, name: str) -> str:
    crc = size = 0
    with (directory / name).open("rb") as file:
        while block := file.read(_BLOCK):
            crc, size = zlib.crc32(block, crc), size + len(block)
    return f"{crc:08x} {size} {name}"
