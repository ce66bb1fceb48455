"""Files that are either the old one or the new one, never half of one."""

import os
import pathlib


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Writes a temporary file beside `path` and renames it over `path`.

    A kill at any moment leaves the old file whole (and perhaps a hidden `.tmp`).

    Args:
      path: where to; missing folders are made.
      content: of the whole file; text is written as UTF-8 with its line ends as they are.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())  # or a power cut could keep the rename and lose the content
    os.replace(temporary, path)
