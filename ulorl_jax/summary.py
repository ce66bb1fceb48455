"""What a run says of itself: summary.json and the picture."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
from typing import Any

import jax

from ulorl_jax import __version__
from ulorl_jax.frontier import Frontier
from ulorl_jax.io.metrics import read_metrics, write_summary
from ulorl_jax.io.plots import plot_run
from ulorl_jax.parts import Parts
from ulorl_jax.types import TrainState


def write_report(
    parts: Parts,
    at: Frontier,
    state: TrainState,
    seconds: dict[str, float],
    stopped: str,
    first_tokens_s: float | None,
) -> dict:
    """Writes summary.json and run.png, in process 0.

    Args:
      parts: the run's.
      at: where it stands.
      state: the newest.
      seconds: wall time by phase, of all parts of the run.
      stopped: the signal that ended it, or "".
      first_tokens_s: seconds from the command to the first decoded tokens, of its newest part; None: it decoded none.

    Returns:
      The summary.
    """
    start, greedy = at.start, parts.settings.evaluation.greedy
    rows = read_metrics(parts.workdir / "metrics.jsonl")
    # The first is in the checkpoint too, should someone have moved the metrics away.
    scores = [{"step": 0} | start, *(row for row in rows if "heldout/sampled" in row)]
    names = ("heldout/sampled", "heldout/greedy") if greedy else ("heldout/sampled",)
    summary: dict[str, Any] = {name: scores[-1][name] for name in names}
    summary |= {f"{name}_start": start[name] for name in names}
    summary |= {
        "evaluated_at_step": scores[-1]["step"],
        "steps": at.step,
        "updates": int(state.step),
        "skipped_updates": int(state.skipped),
        "tokens": dataclasses.asdict(at.ledger) | {"in_pools": at.tokens_in_pools},
        "first_tokens_s": None if first_tokens_s is None else round(first_tokens_s, 2),
        "wall_s": round(sum(seconds.values()), 2),
        "seconds": {name: round(value, 2) for name, value in sorted(seconds.items())},
        "prompts": parts.prompts.counts,
        "stopped": stopped,
        "environment": environment(),
    }
    write_summary(parts.workdir, summary)
    sigma = parts.settings.loss.sigma
    plot_run(rows, parts.workdir / "run.png", sigma=sigma if 0 < sigma < float("inf") else None)
    return summary


def environment() -> dict[str, Any]:
    """What the run runs on: versions, devices and the host's processors; no name of a host, no folder."""
    return {
        "python": platform.python_version(),
        "ulorl_jax": __version__,
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "host_cpus": os.cpu_count(),
    }
