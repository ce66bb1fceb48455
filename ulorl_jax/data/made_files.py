"""The files of a task that is made and not found: written once, found again while nothing of the task changes."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

from ulorl_jax.io.files import write_atomically

SPLITS = ("heldout", "train", "supervised")


def write_made(
    directory: str | pathlib.Path,
    task: str,
    wanted: dict[str, Any],
    make: Callable[[], dict[str, list[dict[str, str]]]],
) -> dict[str, pathlib.Path]:
    """Writes a file of rows for each split, and a manifest; does nothing where they are there already.

    Args:
      directory: where to; made where missing.
      task: its name, the manifest's too.
      wanted: all that decides what the rows are, as JSON.
      make: rows by split; each gets an "id".

    Returns:
      The files' paths by split.
    """
    directory = pathlib.Path(directory)
    paths = {split: directory / f"{split}.jsonl" for split in SPLITS}
    manifest = directory / f"{task}.json"
    if all(path.exists() for path in (manifest, *paths.values())) and json.loads(manifest.read_text()) == wanted:
        return paths
    manifest.unlink(missing_ok=True)  # from here until it is written again, the files belong to nobody
    rows = make()
    for split, path in paths.items():
        numbered = (row | {"id": f"{split}-{index}"} for index, row in enumerate(rows[split]))
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in numbered))
    write_atomically(manifest, json.dumps(wanted) + "\n")
    return paths
