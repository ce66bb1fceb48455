"""Makes a page to look at runs with: python launch/report.py RUN [RUN ...] --out=FILE.html

RUN is the workdir of launch/train.py, also while it goes on. The page is one file with curves, warnings, configs
and every recorded sample, token by token; it opens from disk in any browser of the last years and asks no network.
"""

import pathlib
import sys

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])  # not launch/: its inspect.py is not Python's

from absl import app, flags, logging

from launch.cli import errors_for_people

OUT = flags.DEFINE_string(
    "out", None, "The file. Default: report.html in the run's folder, of several runs in the folder that holds them."
)
MAX_TOKENS = flags.DEFINE_integer(
    "max_tokens",
    10_000_000,
    "Tokens of a run's recorded outputs in the page; of a run with more only every n-th step is in it.",
    lower_bound=0,
)


def main(argv: list[str]) -> None:
    """Reads the runs, writes the page, says where it is."""
    if len(argv) < 2:
        raise app.UsageError("want the folder of at least one run: launch/report.py RUN [RUN ...]")
    logging.set_verbosity(logging.WARNING)
    with errors_for_people():
        from ulorl_jax.report.page import write_report

        path, remarks = write_report(argv[1:], OUT.value, max_tokens=MAX_TOKENS.value)
    for remark in remarks:
        print(f"note: {remark}")
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    app.run(main)
