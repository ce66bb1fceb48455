"""Shows what a run sampled: python launch/inspect.py RUN [--step=12] [--sample=104]

Without a step it lists those that have a trace, with one the samples of the step, and with a sample too the whole of
it: prompt, output, reference, verdict and its group's rewards; each segment in a colour, unlikely tokens marked.
"""

import os
import pathlib
import sys

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])  # not launch/: its inspect.py is not Python's
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags

from launch.cli import errors_for_people

STEP = flags.DEFINE_integer("step", None, "Of the run; its samples are shown.")
SAMPLE = flags.DEFINE_integer("sample", None, "Of the step, as the table of the step names it; shown as a whole.")


def main(argv: list[str]) -> None:
    """Prints the steps, the samples of a step, or a sample."""
    if len(argv) != 2:
        raise app.UsageError("want one argument: RUN, the folder of a run")
    with errors_for_people():
        from ulorl_jax.inspection import show

        show(pathlib.Path(argv[1]), STEP.value, SAMPLE.value)


if __name__ == "__main__":
    app.run(main)
