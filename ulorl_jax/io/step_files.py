"""The files that a run writes of single steps: their names, the steps that have one, and those of a life given up."""

import dataclasses
import os
import pathlib


@dataclasses.dataclass(frozen=True)
class StepFiles:
    """Files `WORKDIR/FOLDER/step_000012.SUFFIX`.

    Attributes:
      folder: of the run's.
      suffix: of every file, with its dot.
    """

    folder: str
    suffix: str

    def path(self, workdir: str | os.PathLike[str], step: int) -> pathlib.Path:
        """Where the file of a step is, or would be."""
        return pathlib.Path(workdir) / self.folder / f"step_{step:06}{self.suffix}"

    def steps(self, workdir: str | os.PathLike[str]) -> list[int]:
        """The steps that have a file, ascending; none where there is no folder."""
        paths = set((pathlib.Path(workdir) / self.folder).glob(f"step_*{self.suffix}"))
        numbers = {int(number) for path in paths if (number := path.stem.removeprefix("step_")).isdecimal()}
        return sorted(step for step in numbers if self.path(workdir, step) in paths)  # others are a person's copies


TRACES = StepFiles("rollouts", ".jsonl")
LENGTHS = StepFiles("lengths", ".json")
GROUPS = StepFiles("groups", ".npz")


def remove_after(workdir: str | os.PathLike[str], step: int) -> None:
    """Removes the files of later steps: the run takes them anew, and may write none where there was one.

    Args:
      workdir: the run's folder.
      step: that of the checkpoint resumed from, or -1 for a run from its start.
    """
    for files in (TRACES, LENGTHS, GROUPS):
        for later in files.steps(workdir):
            if later > step:
                files.path(workdir, later).unlink()
