"""The groups that a step trained on, bit for bit: what a replay of the step reads."""

import io
import json
import os
import pathlib
import zipfile
from collections.abc import Container, Sequence

import numpy as np

from ulorl_jax.io.files import write_atomically
from ulorl_jax.io.samples import decode_samples, encode_samples
from ulorl_jax.io.step_files import GROUPS
from ulorl_jax.types import Group


def write_groups(
    workdir: str | os.PathLike[str], step: int, groups: Sequence[Group], keep: Container[int] = ()
) -> pathlib.Path:
    """Writes `workdir/groups/step_000012.npz`, atomically: 8 bytes for each token, and the prompts.

    Args:
      workdir: the run's folder.
      step: names the file; a file of the same step is replaced.
      groups: in the order in which they are trained on.
      keep: steps whose files stay; others than these and `step` are removed.

    Returns:
      The file's path.
    """
    path = GROUPS.path(workdir, step)
    rows, arrays = encode_samples([sample for group in groups for sample in group.samples])
    about = {"samples": rows, "groups": [[int(group.prompt_id), len(group.samples)] for group in groups]}
    rewards = np.concatenate([np.empty(0, np.float32), *(group.rewards for group in groups)])
    content = io.BytesIO()
    named = arrays | {"about": np.frombuffer(json.dumps(about).encode(), np.uint8), "rewards": rewards}
    np.savez(content, **named)  # type: ignore[arg-type]
    write_atomically(path, content.getvalue())
    for other in GROUPS.steps(workdir):
        if other != step and other not in keep:
            GROUPS.path(workdir, other).unlink()
    return path


def read_groups(workdir: str | os.PathLike[str], step: int) -> list[Group]:
    """The groups of a step.

    Args:
      workdir: the run's folder.
      step: one of `GROUPS.steps`.

    Returns:
      The groups in their order, as they were.

    Raises:
      ValueError: the file is not what `write_groups` wrote.
    """
    path = GROUPS.path(workdir, step)
    try:
        with np.load(path) as file:
            arrays = dict(file)
        about, rewards = json.loads(arrays.pop("about").tobytes()), arrays.pop("rewards")
        samples = iter(decode_samples(about["samples"], arrays))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} holds no groups of a step ({type(error).__name__}: {error}); take another step or copy it again"
        ) from error
    groups, start = [], 0
    for prompt_id, size in about["groups"]:
        members = tuple(sample for _, sample in zip(range(size), samples, strict=False))
        groups.append(Group(prompt_id, members, rewards[start : start + size]))
        start += size
    return groups
