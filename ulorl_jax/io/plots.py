"""Pictures: of a run, from its metrics; of an evaluation, from its record; of a verifier; of a plan of segments."""

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ulorl_jax.io.panels import (
    BLUE,
    GREEN,
    GREY,
    LEGEND,
    ORANGE,
    PURPLE,
    RED,
    TEAL,
    Rows,
    draw_line,
    finish_panel,
    label_panel,
    make_figure,
    save_figure,
    series_of,
)
from ulorl_jax.types import LIMIT

PHASES_SHOWN = 6  # the longest; the others are summed up
NOT_OF_A_STEP = ("time/step_s", "time/warm_start_s")  # the sum, and what comes before the first step
OFF_SCALE = 4.0  # medians; a step that takes longer (it compiled) is cut off, not everything else flattened


def plot_run(rows: Rows, path: str | os.PathLike[str], *, sigma: float | None) -> None:
    """Draws reward, entropy, masked tokens, lengths, ratios and seconds over the steps, atomically.

    What the rows do not have, and what is not finite, is not drawn.

    Args:
      rows: from `metrics.read_metrics`.
      path: ends in .png or .svg.
      sigma: DMMPT's entropy threshold in nats, drawn into the entropy panel; None draws none.

    Raises:
      ValueError: another ending.
    """
    figure = make_figure(12.5, 6.6)
    panels = iter(figure.subplots(2, 3, sharex=True).flat)
    _reward(rows, label_panel(next(panels), "Reward", "share correct"))
    _entropy(rows, label_panel(next(panels), "Entropy", "nats per token"), sigma)
    _masked(rows, label_panel(next(panels), "Mastered tokens of right answers", "share of response tokens"))
    _lengths(rows, label_panel(next(panels), "Output length of finished samples", "tokens"))
    _ratio(rows, label_panel(next(panels), "Off-policy", "share of tokens"))
    _seconds(rows, label_panel(next(panels), "Time by phase", "seconds per step"))
    steps = [row["step"] for row in rows] or [0]
    figure.axes[0].set_xlim(min(steps) - 0.6, max(steps) + 0.6)  # shared by all
    save_figure(figure, path)


def plot_scores(outputs: Rows, path: str | os.PathLike[str]) -> None:
    """Draws the lengths of an evaluation's outputs by verdict, and how often each problem was solved, atomically.

    Args:
      outputs: of a record: "problem", "reward" (None is an error), "num_tokens", "finished".
      path: ends in .png or .svg.

    Raises:
      ValueError: another ending.
    """
    figure = make_figure(10.5, 3.6)
    left, right = figure.subplots(1, 2)
    label_panel(left, "Length by verdict", "outputs", "tokens")
    kinds = {
        "right": (GREEN, lambda row: row["reward"] == 1),
        "wrong": (BLUE, lambda row: row["reward"] == 0 and row["finished"] != LIMIT),
        "truncated": (ORANGE, lambda row: row["reward"] == 0 and row["finished"] == LIMIT),
        "error": (RED, lambda row: row["reward"] is None),
    }
    lengths = {kind: [row["num_tokens"] for row in outputs if of_kind(row)] for kind, (_, of_kind) in kinds.items()}
    shown = [kind for kind in kinds if lengths[kind]]
    if shown:
        longest = max(max(lengths[kind]) for kind in shown)
        width = -(-longest // 40)  # whole tokens, or some bars would hold more lengths than others
        edges = np.arange(0, longest + 2 * width, width)
        labels = [f"{kind} ({len(lengths[kind]):,})" for kind in shown]
        colors = [kinds[kind][0] for kind in shown]
        left.hist([lengths[kind] for kind in shown], edges, stacked=True, color=colors, label=labels)
    finish_panel(left)
    label_panel(right, "Problems by share of right outputs", "share of judged outputs", "problems, hardest first")
    judged: dict[str, list[float]] = {}
    for row in outputs:
        if row["reward"] is not None:
            judged.setdefault(row["problem"], []).append(row["reward"])
    shares = np.sort([np.mean(rewards) for rewards in judged.values()])
    if len(shares):
        right.step(np.arange(len(shares)) + 1, shares, where="mid", color=BLUE, linewidth=1.6)
        right.axhline(shares.mean(), color=ORANGE, linestyle="--", linewidth=1.2, label=f"mean {shares.mean():.3f}")
    right.set_ylim(0, 1.02)
    finish_panel(right)
    save_figure(figure, path)


def plot_verifier(
    table: Mapping[str, Mapping[str, Mapping[str, float | None]]],
    bins: Rows,
    path: str | os.PathLike[str],
) -> None:
    """Draws a verifier's accuracy by category, beside the rules and both together, and its calibration, atomically.

    Args:
      table: by category, by verifier, of the scores at least "accuracy".
      bins: of the calibration: "score" (mean of the bin), "same" (share), "pairs".
      path: ends in .png or .svg.

    Raises:
      ValueError: another ending.
    """
    figure = make_figure(12.5, 4.2)
    left, right = figure.subplots(1, 2, width_ratios=(2.4, 1))
    label_panel(left, "Right verdicts by category", "share of pairs", "")
    categories = list(table)
    for index, name in enumerate(next(iter(table.values()), {})):
        at = np.arange(len(categories)) + 0.27 * (index - 1)
        accuracy = [table[category][name]["accuracy"] or 0.0 for category in categories]
        left.bar(at, accuracy, 0.25, color=(BLUE, ORANGE, GREEN)[index % 3], label=name)
    left.set_xticks(range(len(categories)), categories, rotation=40, ha="right")
    left.set_ylim(0, 1.18)  # room for the legend
    finish_panel(left)
    label_panel(right, "Calibration", "share that is the same", "P(same), as the verifier says")
    right.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2)
    right.xaxis.set_major_locator(MaxNLocator(5))
    if bins:
        sizes = [12 + 150 * row["pairs"] / max(row["pairs"] for row in bins) for row in bins]
        right.scatter([row["score"] for row in bins], [row["same"] for row in bins], sizes, BLUE, label="tenth")
    finish_panel(right)
    save_figure(figure, path)


def plot_plan(rows: Rows, best: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Draws trained tokens per second over M, and what the seconds of a step go to, atomically.

    Args:
      rows: of `planning.plan`.
      best: one of them: it is marked, and the seconds are those of its slots and refill.
      path: ends in .png or .svg.

    Raises:
      ValueError: another ending.
    """
    figure = make_figure(10.5, 3.6)
    left, right = figure.subplots(1, 2)
    kinds = list(dict.fromkeys(_kind(row) for row in rows))
    segments = sorted({row["segments"] for row in rows})
    label_panel(left, "Speed", "trained tokens per second", "segments (M)")
    for index, kind in enumerate(kinds):
        line = sorted((row["segments"], row["trained_tokens_per_s"]) for row in rows if _kind(row) == kind)
        x, y = [segments.index(m) for m, _ in line], [speed for _, speed in line]
        color = (BLUE, ORANGE, GREEN, PURPLE, TEAL, RED)[index % 6]
        left.plot(x, y, color=color, marker="o", markersize=4, label=f"{kind[0]:,} slots, refill {kind[1]}")
    left.plot(segments.index(best["segments"]), best["trained_tokens_per_s"], "o", ms=11, mfc="none", mec=RED)
    label_panel(right, f"A step of {best['slots']:,} slots, refill {best['refill']}", "seconds", "segments (M)")
    shown = [row for row in rows if _kind(row) == _kind(best)]
    at, base = [segments.index(row["segments"]) for row in shown], np.zeros(len(shown))
    for part, color in (("decode", BLUE), ("prefill", ORANGE), ("released", GREEN), ("rest", GREY)):
        seconds = np.array([row[f"{part}_s"] for row in shown])
        if seconds.any():
            right.bar(at, seconds, 0.6, bottom=base, color=color, label=part)
        base += seconds
    for ax in (left, right):
        ax.set_xticks(range(len(segments)), [str(m) for m in segments])
        ax.set_ylim(0, 1.08 * ax.get_ylim()[1])
        finish_panel(ax)
    save_figure(figure, path)


def _kind(row: Mapping[str, Any]) -> tuple[int, str]:
    return row["slots"], row["refill"]


def _reward(rows: Rows, ax: Axes) -> None:
    steps, values = series_of(rows, "reward/mean")
    window = len(values) // 10 | 1  # odd, so that a mean is centred on its step
    if window >= 3:
        ax.plot(steps, values, color=BLUE, alpha=0.3, linewidth=1)
        ax.plot(steps, _running_mean(values, window), color=BLUE, label=f"training, mean of {window} steps")
    else:
        draw_line(ax, rows, "reward/mean", "training", BLUE)
    draw_line(ax, rows, "heldout/sampled", "held out, sampled", ORANGE, marker="o", markersize=4)
    draw_line(ax, rows, "heldout/greedy", "held out, greedy", GREEN, marker="s", markersize=4)
    ax.set_ylim(0, 1.02)
    finish_panel(ax)


def _entropy(rows: Rows, ax: Axes, sigma: float | None) -> None:
    draw_line(ax, rows, "entropy/mean", "policy", BLUE)
    if sigma is not None and math.isfinite(sigma):
        ax.axhline(sigma, color=RED, linestyle="--", linewidth=1.2, label=f"sigma = {sigma:g}")
    ax.set_ylim(bottom=0)
    finish_panel(ax)


def _masked(rows: Rows, ax: Axes) -> None:
    draw_line(ax, rows, "dmmpt/mpt_frac", "mastered (MPT)", TEAL)
    draw_line(ax, rows, "dmmpt/masked_frac", "of these left out (DMMPT)", RED)
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    finish_panel(ax)


def _lengths(rows: Rows, ax: Axes) -> None:
    for name, label, color in (("p99", "99th percentile", PURPLE), ("mean", "mean", BLUE), ("p50", "median", TEAL)):
        draw_line(ax, rows, f"rollout/len_{name}", label, color)
    ax.set_ylim(bottom=0)
    finish_panel(ax)


def _seconds(rows: Rows, ax: Axes) -> None:
    names = {name for row in rows for name in row if name.startswith("time/")} - set(NOT_OF_A_STEP)
    rows = [row for row in rows if any(name in row for name in names)]
    spent = {name: np.array([_finite(row.get(name, 0.0)) for row in rows]) for name in sorted(names)}
    longest = sorted(
        spent, key=lambda name: (name == "time/other_s", -spent[name].sum())
    )  # other: always with the rest
    shown, rest = longest[:PHASES_SHOWN], longest[PHASES_SHOWN:]
    if not shown:
        return finish_panel(ax)
    layers = [(name.removeprefix("time/").removesuffix("_s"), spent[name]) for name in shown]
    if rest:
        layers.append(("the rest", np.sum([spent[name] for name in rest], axis=0)))
    # Half a step further at both ends, so that one step alone is a bar.
    steps = np.array([row["step"] for row in rows], float)
    x = np.concatenate([[steps[0] - 0.5], steps, [steps[-1] + 0.5]])
    base = np.zeros(len(x))
    for (name, seconds), color in zip(layers, (BLUE, ORANGE, GREEN, PURPLE, TEAL, RED, GREY), strict=False):
        top = base + np.pad(seconds, 1, mode="edge")
        ax.fill_between(x, base, top, step="mid", color=color, alpha=0.85, linewidth=0, label=name)
        base = top
    median, most = float(np.median(base)), float(base.max())
    if most > OFF_SCALE * median > 0:
        ax.set_title(f"a step took up to {most:.3g} s", loc="right", fontsize=8, color="0.4")
        most = float(base[base <= OFF_SCALE * median].max())
    ax.set_ylim(0, most * 1.05 or 1.0)
    # Beside the stack, which leaves no room, and in its order.
    handles = ax.get_legend_handles_labels()[0]
    ax.legend(handles=handles[::-1], loc="upper left", bbox_to_anchor=(1, 1), **LEGEND)


def _ratio(rows: Rows, ax: Axes) -> None:
    draw_line(ax, rows, "ratio/clip_frac", "clipped", BLUE)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    ax.set_ylim(0, max(1.1 * series_of(rows, "ratio/clip_frac")[1].max(initial=0.0), 0.01))
    right = ax.twinx()
    right.spines[["top", "left", "bottom"]].set_visible(False)
    right.spines["right"].set_color("0.7")
    right.tick_params(labelsize=8, color="0.7", labelcolor="0.35")
    right.set_ylabel("KL, nats per token", fontsize=9, color="0.3")
    draw_line(right, rows, "mismatch/kl", "sampler to trainer (right)", ORANGE)
    right.set_ylim(bottom=0)
    right.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4))
    right.yaxis.get_offset_text().set(fontsize=8, color="0.35")
    finish_panel(ax, right)


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Centred; near the ends over the part of the window that there is."""
    weights = np.ones(window)
    return np.convolve(values, weights, "same") / np.convolve(np.ones(len(values)), weights, "same")
