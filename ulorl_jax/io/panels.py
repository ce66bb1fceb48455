"""What every picture is made of: figure, panels with one look, lines over the steps of a run."""

import io
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from ulorl_jax.io.files import write_atomically

Rows = Sequence[Mapping[str, Any]]

BLUE, ORANGE, GREEN, RED, PURPLE, TEAL, GREY = (
    "#3b6fb6", "#e08a1e", "#3a9b6a", "#c8443c", "#8660a9", "#45a5b8", "#b4b4b4",
)  # fmt: skip
LEGEND: dict[str, Any] = {"fontsize": 8, "frameon": False}


def make_figure(width: float, height: float) -> Figure:
    """An empty figure, which needs no display.

    Args:
      width, height: in inches.
    """
    figure = Figure(figsize=(width, height), dpi=110, layout=ConstrainedLayoutEngine(hspace=0.06, wspace=0.03))
    FigureCanvasAgg(figure)  # not pyplot: no global state, no display
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure, atomically.

    Args:
      figure: by `make_figure`.
      path: ends in .png or .svg.

    Raises:
      ValueError: another ending.
    """
    path = pathlib.Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg"):
        raise ValueError(f"a picture's name must end in .png or .svg, got {path.name!r}")
    picture = io.BytesIO()
    figure.savefig(picture, format=kind)
    write_atomically(path, picture.getvalue())


def label_panel(ax: Axes, title: str, unit: str, across: str = "step") -> Axes:
    """The same axes with a title, what they measure and the house's grid."""
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold", color="0.15")
    ax.set_xlabel(across, fontsize=9, color="0.3")
    ax.set_ylabel(unit, fontsize=9, color="0.3")
    ax.grid(True, color="0.92")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("0.7")
    ax.tick_params(labelsize=8, color="0.7", labelcolor="0.35", labelbottom=True)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    return ax


def finish_panel(ax: Axes, *others: Axes) -> None:
    """A legend, where matplotlib finds room, over all of one panel's axes; or a word where nothing is drawn."""
    handles = [handle for one in (ax, *others) for handle in one.get_legend_handles_labels()[0]]
    if handles:
        (ax, *others)[-1].legend(handles=handles, **LEGEND)
    else:
        ax.text(0.5, 0.5, "nothing measured", transform=ax.transAxes, ha="center", va="center", color="0.6", fontsize=9)


def draw_line(ax: Axes, rows: Rows, name: str, label: str, color: str, **style: Any) -> None:
    """Draws one column of the rows over their steps; a dot where there is one value, nothing where there is none."""
    steps, values = series_of(rows, name)
    if len(values) == 1:
        style = {"marker": "o", "markersize": 4} | style
    if len(values):
        ax.plot(steps, values, color=color, label=label, linewidth=1.6, **style)


def series_of(rows: Rows, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values `[N]` of the rows that have a finite value under this name."""
    points = [(row["step"], row[name]) for row in rows if name in row and math.isfinite(row[name])]
    return np.array([step for step, _ in points]), np.array([value for _, value in points], float)
