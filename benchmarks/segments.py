"""What M, refill and kv are worth: python benchmarks/segments.py [--lengths=first|heavier] [--quick] [--out=FOLDER]

M = 1, 2, 4, 8 segments; freed slots refilled at the next step (the paper) or at once ("continuous"); caches kept over
steps or prefilled again ("recompute"). A random network, fp32, its weights frozen; lengths are given by a table, the
same for all: log-normal with mean 0.32 L, 80% of them within 0.49 L ("first"), or 0.20 L and 0.30 L ("heavier"). A
decode program computes all slots, so a token step costs nearly the same however many are active.

No cell begins with empty slots: `planning.warm_up` steps are decoded before by a network of one narrow layer, whose
samples then go on in the network that is measured. Its first step prefills them and is not counted, nor is any
compiling. Then the cells take turns, until each has trained (released from the pools, in groups of G) as many tokens as
the table has.

Beside each measured gain over M = 1 with refill "step" stands the simulated one: Algorithm 1 in the long run
(`planning.simulate`), priced with what a token step and a pass of prefill took on average in the cells of this very
run, of the same kv policy and refill. "Fewer token steps" times "cheaper token steps" is the measured gain in decoding.

Prints a table, writes segments.json and segments.png.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import numpy as np

from benchmarks.cells import POLICIES, SEGMENTS, Bench, make_bench, window
from benchmarks.frozen import FrozenLoop, compile_all, make_rollout, small_network, take_turns
from ulorl_jax.costs import Cost
from ulorl_jax.io.panels import BLUE, GREEN, LEGEND, ORANGE, PURPLE, label_panel, make_figure, save_figure
from ulorl_jax.io.tables import print_table
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.models.qwen3_params import init_params
from ulorl_jax.planning import describe, warm_up
from ulorl_jax.rollout.decoding import compiled_programs
from ulorl_jax.rollout.segments import CONTINUOUS, KEEP, REFILLS, STEP

MODEL = Qwen3Config(
    vocab_size=8192,
    hidden_size=832,
    intermediate_size=2496,
    num_hidden_layers=6,
    num_attention_heads=12,
    num_key_value_heads=2,
    head_dim=64,
    tie_word_embeddings=True,
)
LENGTHS = {"first": (0.32, 0.49), "heavier": (0.20, 0.30)}  # mean and p80, shares of L
WANTED, WITHIN, IDLE = 2.06, 0.10, 0.05  # the paper's gain of M = 4; of the simulated gain; of the slots
COLUMNS = {
    "segments": "M",
    "refill": "refill",
    "kv": "kv",
    "step_s": "s / step",
    "decode_s": "decode",  # these three: seconds per 1,000 trained tokens
    "prefill_s": "prefill",
    "whole_s": "whole",
    "idle_slots": "idle",  # share of slots times token steps
    "reprefill_share": "re-prefill",  # share of the seconds
    "iterations": "iterations",  # token steps per sample
    "token_step_ms": "ms each",
    "decode": "decode gain",
    "whole": "whole gain",
}


def measure(bench: Bench, params: Any) -> list[dict[str, float]]:
    """Sums over the counted steps of each cell; see `FrozenLoop.step`; with their number, "steps", and the programs
    that were "compiled" in those of all cells, which should be none."""
    small = dataclasses.replace(bench.spec, model=small_network(bench.spec.model))
    few = init_params(jax.random.key(1), small.model)
    loops, steps, begun = [], [], {}
    for cell in bench.cells:
        counted, _ = window(bench, cell.schedule)
        if cell.schedule not in begun:
            _say(f"warm-up: {cell.name}")
            # Which samples are where does not depend on the cache: both policies go on from the same pools.
            kept = dataclasses.replace(cell, kv=KEEP)
            begun[cell.schedule] = loop = FrozenLoop(make_rollout(small, kept, bench.load), kept, bench.load)
            for _ in range(counted.start - 1):
                loop.step(few)
        rollout = make_rollout(bench.spec, cell, bench.load)
        compile_all(rollout, bench.load, params)
        loops.append(begun[cell.schedule].go_on_with(rollout, cell))
        steps.append(counted.stop - counted.start)
    for loop in loops:
        _say(f"first step: {loop.cell.name}")
        loop.step(params)
    _say(f"{sum(steps)} steps of {len(loops)} cells")
    programs = compiled_programs()
    taken = take_turns(loops, steps, params)
    compiled = float(compiled_programs() - programs)
    return [
        {name: float(sum(row[name] for row in rows)) for name in rows[0]}
        | {"steps": float(len(rows)), "compiled": compiled}
        for rows in taken
    ]


def fit_cost(bench: Bench, sums: list[dict[str, float]], kv: str, refill: str) -> Cost:
    """What a step, a token step and a pass of prefill took on average in the cells of a kv policy and refill; what is
    prefilled beside others' tokens is part of their token step."""
    own = [row for cell, row in zip(bench.cells, sums, strict=True) if (cell.kv, cell.refill) == (kv, refill)]
    total = {name: sum(row[name] for row in own) for name in own[0]}
    return Cost(
        step_s=max(total["seconds"] - total["decode_s"] - total["prefill_s"], 0.0) / total["steps"],
        token_step_s=total["decode_s"] / total["token_steps"],
        slots=bench.spec.slots,
        prefill_pass_s=total["prefill_s"] / max(total["prefill_passes"], 1),
    )


def tabulate(bench: Bench, sums: list[dict[str, float]]) -> list[dict[str, Any]]:
    """A row per cell: see COLUMNS, with what the gains are made of."""
    rows = []
    costs = {key: fit_cost(bench, sums, *key) for key in itertools.product(POLICIES, REFILLS)}
    for cell, row in zip(bench.cells, sums, strict=True):
        schedule, work, cost = cell.schedule, bench.workload(cell.kv), costs[cell.kv, cell.refill]
        simulated = describe(schedule, bench.long_run[schedule], work, cost, warm_up(schedule.segments))
        per_1k = 1e3 / row["trained"]
        rows.append(
            {
                "segments": cell.schedule.segments,
                "refill": cell.refill,
                "kv": cell.kv,
                "step_s": row["seconds"] / row["steps"],
                "decode_s": row["decode_s"] * per_1k,
                "prefill_s": row["prefill_s"] * per_1k,
                "whole_s": row["seconds"] * per_1k,
                "idle_slots": 1 - row["tokens"] / (row["token_steps"] * bench.spec.slots),
                "reprefill_share": row["prefill_s"] * row["carried"] / row["prefill_tokens"] / row["seconds"],
                "iterations": row["token_steps"] / row["finished"],
                "token_step_ms": 1e3 * row["decode_s"] / row["token_steps"],
                "prefill_pass_ms": 1e3 * row["prefill_s"] / max(row["prefill_passes"], 1),
                "token_steps": row["token_steps"] * per_1k,
                "steps": row["steps"],
                "trained": row["trained"],
                "simulated_decode_s": simulated["decode_s_per_1k_trained"],
                "simulated_whole_s": 1e3 / simulated["trained_tokens_per_s"],
            }
        )
    for row in rows:
        [one] = [r for r in rows if (r["segments"], r["refill"], r["kv"]) == (1, STEP, row["kv"])]
        for name in ("decode", "whole"):
            gain = one[f"{name}_s"] / row[f"{name}_s"]
            simulated = one[f"simulated_{name}_s"] / row[f"simulated_{name}_s"]
            off = f"{gain / simulated - 1:+.1%}"
            row |= {f"{name}_gain": gain, f"{name}_simulated": simulated, f"{name}_off": off}
            row[name] = f"{gain:.2f}/{simulated:.2f} {off}"  # for the table
        row["fewer_token_steps"] = one["token_steps"] / row["token_steps"]
        row["cheaper_token_steps"] = one["token_step_ms"] / row["token_step_ms"]
    return rows


def findings(rows: list[dict[str, Any]]) -> list[str]:
    """What was asked of this benchmark, and what came of it: sentences."""
    at = {(row["segments"], row["refill"], row["kv"]): row for row in rows}
    said = []
    for kv, refill in itertools.product(POLICIES, REFILLS):
        four, last = at[4, refill, kv], at[max(SEGMENTS), refill, kv]
        said.append(
            f"M = 4, {refill}, {kv}: a trained token is decoded {four['decode_gain']:.2f} times faster "
            f"({_verdict(four['decode_gain'] >= WANTED)}: {WANTED} wanted, {four['decode_simulated']:.2f} simulated in "
            f"the long run) = {four['fewer_token_steps']:.2f} fewer token steps x {four['cheaper_token_steps']:.2f} "
            f"cheaper ones. The whole step: {four['whole_gain']:.2f}, {four['whole_off']} from the simulated "
            f"{four['whole_simulated']:.2f} ({_verdict(_near(four))}: {WITHIN:.0%} wanted)."
        )
        if refill == CONTINUOUS:
            said.append(
                f"M = {last['segments']}, {refill}, {kv}: {last['idle_slots']:.1%} of the slots idle "
                f"({_verdict(last['idle_slots'] < IDLE)}: less than {IDLE:.0%} wanted)."
            )
    return said


def _verdict(seen: bool) -> str:
    return "seen" if seen else "not seen"


def _near(row: dict[str, Any]) -> bool:
    return abs(row["whole_gain"] / row["whole_simulated"] - 1) <= WITHIN


def draw(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Three panels over M: seconds per trained token and what of it is prefill, gain in decoding, idle slots."""
    lines = list(itertools.product(REFILLS, POLICIES))
    colors = dict(zip(lines, (BLUE, ORANGE, GREEN, PURPLE), strict=True))
    segments = sorted({row["segments"] for row in rows})
    figure = make_figure(13.5, 3.8)
    seconds, gain, idle = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    label_panel(seconds, "Seconds per 1,000 trained tokens", "s; light: prefill; mark: simulated", "M")
    label_panel(gain, "Gain in decoding over M = 1, step", "times; dashed: simulated", "M")
    label_panel(idle, "Idle slots", "share of slots x token steps", "M")
    for index, line in enumerate(lines):
        own = [row for row in rows if (row["refill"], row["kv"]) == line]
        own.sort(key=lambda row: row["segments"])
        color, label = colors[line], ", ".join(line)
        x = np.arange(len(segments)) + 0.2 * (index - 1.5)
        decode, prefill = ([row[name] for row in own] for name in ("decode_s", "prefill_s"))
        seconds.bar(x, decode, 0.18, color=color, label=label)
        seconds.bar(x, prefill, 0.18, decode, color=color, alpha=0.35)
        seconds.scatter(x, [row["simulated_whole_s"] for row in own], 60, color="0.2", marker="_", zorder=3)
        places = range(len(segments))
        gain.plot(places, [row["decode_gain"] for row in own], "o-", color=color, markersize=4, label=label)
        gain.plot(places, [row["decode_simulated"] for row in own], "--", color=color, linewidth=1)
        idle.plot(places, [row["idle_slots"] for row in own], "o-", color=color, markersize=4, label=label)
    for ax in (seconds, gain, idle):
        ax.set_xticks(range(len(segments)), [str(m) for m in segments])
        ax.set_ylim(bottom=0)
    seconds.legend(**LEGEND)
    save_figure(figure, path)


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", choices=LENGTHS, default="first")
    parser.add_argument("--slots", type=int, default=32, help="C; with fewer M = 1 waits less, and M = 4 gains less")
    parser.add_argument("--limit", type=int, default=256, help="L, tokens of the longest output")
    parser.add_argument("--prompt", type=int, default=16, help="tokens of a prompt")
    # In the long run G changes none of the gains; of a short window it makes them noisier.
    parser.add_argument("--group", type=int, default=4, help="G, samples of a prompt")
    parser.add_argument("--samples", type=int, default=192, help="as many as are trained in the counted steps")
    parser.add_argument("--latency", type=int, default=2, help="rollout.refill_latency of continuous")
    parser.add_argument("--quick", action="store_true", help="a small network and few samples: does it run")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."), help="folder")
    given = parser.parse_args()
    names = ("slots", "limit", "prompt", "group", "samples", "latency")
    model, sizes = MODEL, {name: int(getattr(given, name)) for name in names}
    if given.quick:
        model, sizes = small_network(MODEL), sizes | {"slots": 8, "limit": 64, "samples": 32}
    bench = make_bench(model, LENGTHS[given.lengths], segments=SEGMENTS, **sizes)
    params = init_params(jax.random.key(0), model)
    sums = measure(bench, params)
    rows = tabulate(bench, sums)
    weights = sum(leaf.size for leaf in jax.tree.leaves(params))
    keys = list(itertools.product(POLICIES, REFILLS))
    costs = {", ".join(key): dataclasses.asdict(fit_cost(bench, sums, *key)) for key in keys}
    about = (
        f"{weights / 1e6:.1f}M parameters, fp32, {given.lengths} lengths (mean {bench.load.lengths.mean():.1f}), "
        + ", ".join(f"{name} {value}" for name, value in sizes.items())
    )
    trained = [row["trained"] for row in rows]
    print_table(about, rows, COLUMNS)
    print(
        "decode, prefill, whole: seconds per 1,000 trained tokens; iterations: token steps per sample, and ms of each;"
    )
    print("gains over M = 1, step: measured/simulated, and how far off; re-prefill: its share of the seconds.")
    print(f"{min(trained):,.0f} to {max(trained):,.0f} trained tokens counted in each cell; no answer was judged.")
    print(f"Programs compiled in the counted steps: {sums[0]['compiled']:.0f}.")
    for key, cost in costs.items():
        token_step, prefill, rest = (1e3 * cost[f"{name}_s"] for name in ("token_step", "prefill_pass", "step"))
        print(f"{key}: {token_step:.1f} ms per token step, {prefill:.1f} per pass of prefill, {rest:.1f} per step")
    print(*findings(rows), sep="\n")
    given.out.mkdir(parents=True, exist_ok=True)
    result = {"about": about, "sizes": sizes, "model": dataclasses.asdict(model) | {"dtype": "float32"}}
    result |= {"costs": costs, "cells": rows, "sums": sums, "lengths": bench.load.lengths.tolist()}
    (given.out / "segments.json").write_text(json.dumps(result, indent=2, default=str) + "\n")
    draw(rows, given.out / "segments.png")


def _say(what: str) -> None:
    print(what, file=sys.stderr)


if __name__ == "__main__":
    main()
