"""Seconds per step by phase of a finished run: python benchmarks/phases.py runs/tiny

Steps in which a program was compiled are left out (the first ones, and any with a new
batch shape), as is the time of held-out evaluation, which is no part of Algorithm 1.
Prints one table and writes phases.json into the run's folder.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from ulorl_jax.io.metrics import read_metrics

NOT_A_PHASE = ("step", "evaluate", "warm_start", "report")


def phases(rows: list[dict]) -> dict[str, float]:
    """Mean seconds per step by phase, longest first, over the steps that compiled nothing."""
    # A step without an update has no train/compiles: it is not counted, nor is the one after it.
    others = [row.get("rollout/compiles", 0.0) + row.get("trace/compiles", 0.0) for row in rows]
    compiles = [row.get("train/compiles", float("nan")) + other for row, other in zip(rows, others, strict=True)]
    steady = [row for before, now, row in zip(compiles, compiles[1:], rows[1:], strict=False) if before == now]
    if not steady:
        sys.exit("error: every step of this run compiled something; give a longer run")
    names = {name[5:-2] for row in steady for name in row if name.startswith("time/")} - set(NOT_A_PHASE)
    means = {name: sum(row.get(f"time/{name}_s", 0.0) for row in steady) / len(steady) for name in names}
    return dict(sorted(means.items(), key=lambda item: -item[1])) | {"steps counted": len(steady)}


def main(workdir: pathlib.Path) -> None:
    """Prints the table of one run."""
    means = phases(read_metrics(workdir / "metrics.jsonl"))
    count = int(means.pop("steps counted"))
    whole = sum(means.values())
    print(f"{'phase':<12}{'s / step':>10}{'share':>8}   (mean of {count} steps)")
    for name, seconds in means.items():
        print(f"{name:<12}{seconds:>10.4f}{seconds / whole:>8.1%}")
    rest = 1 - (means.get("decode", 0.0) + means.get("update", 0.0)) / whole
    print(f"{'step':<12}{whole:>10.4f}   neither decode nor update: {rest:.1%}")
    (workdir / "phases.json").write_text(json.dumps(means | {"step": whole, "neither": rest}, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/phases.py RUN_FOLDER")
    main(pathlib.Path(sys.argv[1]))
