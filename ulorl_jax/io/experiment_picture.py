"""The picture of an experiment: curves over the steps with a band over seeds, or a bar for each cell."""

import os
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes

from ulorl_jax.io.panels import (
    BLUE,
    GREEN,
    GREY,
    LEGEND,
    ORANGE,
    PURPLE,
    RED,
    TEAL,
    finish_panel,
    label_panel,
    make_figure,
    save_figure,
)

PER_ROW = 3
COLORS = (BLUE, ORANGE, GREEN, RED, PURPLE, TEAL, GREY)
_DASHES = ("-", "--", ":")


class Panel(Protocol):
    """What is drawn, see `configs/experiments/base.py`."""

    @property
    def title(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def curve(self) -> str: ...
    @property
    def bars(self) -> tuple[str, ...]: ...
    @property
    def marks(self) -> str: ...
    @property
    def lines(self) -> tuple[float, ...]: ...


def plot_experiment(cells: Mapping[str, Any], panels: Mapping[str, Panel], path: str | os.PathLike[str]) -> None:
    """Draws the panels of an experiment, atomically.

    Args:
      cells: those of `aggregation.aggregate`.
      panels: what is drawn.
      path: ends in .png or .svg.

    Raises:
      ValueError: another ending.
    """
    across = min(PER_ROW, max(len(panels), 1))
    down = max(-(-len(panels) // PER_ROW), 1)
    figure = make_figure(4.6 * across, 3.6 * down)
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for ax, panel in zip(axes, panels.values(), strict=False):
        if panel.curve:
            _curves(label_panel(ax, panel.title, panel.unit), cells, panel)
        else:
            _bars(label_panel(ax, panel.title, panel.unit, ""), cells, panel)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    save_figure(figure, path)


def _curves(ax: Axes, cells: Mapping[str, Any], panel: Panel) -> None:
    for index, (cell, of) in enumerate(cells.items()):
        curve, color = of["curves"][panel.curve], COLORS[index % len(COLORS)]
        if not curve["steps"]:
            continue
        style = {"marker": "o", "markersize": 3} if len(curve["steps"]) < 20 else {}
        dashes = _DASHES[index // len(COLORS) % len(_DASHES)]
        ax.plot(curve["steps"], curve["mean"], dashes, color=color, linewidth=1.4, label=cell, **style)
        ax.fill_between(curve["steps"], curve["low"], curve["high"], color=color, alpha=0.18, linewidth=0)
    _levels(ax, panel)
    finish_panel(ax)


def _bars(ax: Axes, cells: Mapping[str, Any], panel: Panel) -> None:
    shown = [cell for cell, of in cells.items() if all(of["metrics"][name]["mean"] is not None for name in panel.bars)]
    if not shown:
        return finish_panel(ax)
    base = np.zeros(len(shown))
    for index, name in enumerate(panel.bars):
        heights = np.array([cells[cell]["metrics"][name]["mean"] for cell in shown])
        ax.bar(range(len(shown)), heights, 0.6, bottom=base, color=COLORS[index % len(COLORS)], label=name)
        base += heights
    for place, cell in enumerate(shown):
        values = [cells[cell]["metrics"][name]["values"] for name in panel.bars]
        whole = [sum(value[seed] for value in values) for seed in values[0] if None not in [v[seed] for v in values]]
        ax.scatter([place] * len(whole), whole, 12, color="0.25", zorder=3)
    if panel.marks:
        marks = [(place, cells[cell]["metrics"][panel.marks]["mean"]) for place, cell in enumerate(shown)]
        at = [(place, mark) for place, mark in marks if mark is not None]
        if at:
            ax.scatter(*zip(*at, strict=True), s=260, color="0.1", marker="_", zorder=4, label=panel.marks)
    _levels(ax, panel)
    ax.set_xticks(range(len(shown)), shown, rotation=20 if len(shown) > 4 else 0)
    if len(panel.bars) > 1:  # beside the bars, which leave no room, and in their order
        ax.legend(handles=ax.get_legend_handles_labels()[0][::-1], loc="upper left", bbox_to_anchor=(1, 1), **LEGEND)


def _levels(ax: Axes, panel: Panel) -> None:
    for level in panel.lines:
        ax.axhline(level, color="0.35", linestyle="--", linewidth=1.0)
        ax.annotate(f"{level:g}", (1, level), xycoords=("axes fraction", "data"), fontsize=7, color="0.35", va="bottom")
