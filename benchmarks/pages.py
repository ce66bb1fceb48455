"""Slots that share too few pages, with a network that decodes: python benchmarks/pages.py [--share=0.3] [--out=FOLDER]

benchmarks/admission.py counts decode steps, here seconds are measured: a random network, its weights frozen, fp32,
lengths given, continuous refill, the cache kept. All slots, with eviction and with prediction or without, beside fewer
slots that share the same pages; the first of these are so few that pages never run out. The arms take turns segment by
segment, and after every one the ledger demands that each token is in one place. Columns:

  tokens/s      tokens drawn per second of the whole step: prefill and the host's work are in it
  tokens/step   per decode step
  ms            of a decode step
  prefilled     tokens prefilled per token drawn
  evicted       times that a sample had to leave, per 1,000 that ended

Prints a table, writes pages.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import numpy as np

from benchmarks.admission import TAILS, Setup
from benchmarks.cells import Cell, Load
from benchmarks.frozen import FrozenLoop, compile_all, make_rollout, take_turns
from ulorl_jax.io.tables import print_table
from ulorl_jax.lengths import lognormal_lengths
from ulorl_jax.mesh import Layout, make_mesh
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.models.qwen3_params import init_params
from ulorl_jax.planning import Schedule
from ulorl_jax.rollout.decode_state import EngineSpec
from ulorl_jax.rollout.decoding import compiled_programs
from ulorl_jax.rollout.pages import PageSettings, pages_for
from ulorl_jax.rollout.room import make_room
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.rollout.segments import KEEP
from ulorl_jax.typed import demand

MODEL = Qwen3Config(
    vocab_size=1024,
    hidden_size=512,
    intermediate_size=6144,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=64,
    tie_word_embeddings=True,
)
SETUP = Setup("long", 0, page_size=16, prompt=16, output_limit=256, samples_per_prompt=4, refill_latency=4)
WARM_UP = 4  # segments that are not counted
PREFILL = {"prefill_rows": 2, "prefill_chunk": 8}  # small: on a CPU a chunk soon takes longer than reading the weights
WITHIN = 0.15  # of the best number of slots


def make_arms(setup: Setup, slots: int) -> dict[str, tuple[int, float]]:
    """Slots and `over_provisioning` of every arm: all slots first, then fewer without prediction."""
    never_short = setup.pages // pages_for(setup.prompt + setup.output_limit, setup.page_size)
    demand(
        0 < never_short < slots, "the pages must hold one longest context, not all slots'", never_short, "--share=0.3"
    )
    fewer = sorted({never_short, *(max(slots * eighths // 8, 1) for eighths in (4, 6, 7))})
    arms = {f"{slots} slots, predicted": (slots, 1.0), f"{slots} slots": (slots, 0.0)}
    return arms | {f"{count} slots": (count, 0.0) for count in fewer}


def measure(
    setup: Setup, model: Qwen3Config, arms: dict[str, tuple[int, float]], steps: int, warm_up: int = WARM_UP
) -> list[dict[str, float | str]]:
    """A row per arm: see the module's docstring.

    Args:
      setup: what is decoded.
      model: the network.
      arms: by `make_arms`.
      steps: segments that count.
      warm_up: segments before them.

    Raises:
      ValueError: a token was lost (`Ledger.check`).
    """
    s, layout = setup, Layout(make_mesh(devices=jax.devices()[:1]), "decoding")
    lengths = np.random.default_rng(0).permutation(lognormal_lengths(*TAILS[s.tail], s.output_limit, 512))
    load, params = Load(lengths, s.output_limit, s.prompt, s.samples_per_prompt), init_params(jax.random.key(0), model)
    loops = []
    for slots, over_provisioning in arms.values():
        pages = PageSettings(s.pages, s.page_size, over_provisioning=over_provisioning)
        nothing_ends = (model.vocab_size,)
        spec = EngineSpec(model, slots, s.prompt + s.output_limit, Sampling(0.85), nothing_ends, layout, pages)
        cell = Cell(Schedule(s.segments, slots, s.refill_latency), KEEP)
        rollout = make_rollout(spec, cell, load)
        rollout.settings = dataclasses.replace(rollout.settings, **PREFILL)
        compile_all(rollout, load, params)
        rollout.room = make_room(spec, s.output_limit)  # one that has not learned the lengths it was compiled with
        loops.append(FrozenLoop(rollout, cell, load))
    take_turns(loops, [warm_up] * len(loops), params)
    programs, rows = compiled_programs(), []
    for name, taken in zip(arms, take_turns(loops, [steps] * len(loops), params), strict=True):
        n = {key: sum(row[key] for row in taken) for key in taken[0]}
        rows.append(
            {
                "arm": name,
                "tokens/s": n["tokens"] / n["seconds"],
                "tokens/step": n["tokens"] / n["token_steps"],
                "ms": 1e3 * n["decode_s"] / n["token_steps"],
                "prefilled": n["prefill_tokens"] / n["tokens"],
                "evicted": 1e3 * n["evicted"] / max(n["finished"], 1),
                "finished": n["finished"],
            }
        )
    print(f"Programs compiled in the steps that count: {compiled_programs() - programs}.")
    return rows


def findings(rows: list[dict]) -> list[str]:
    """What was asked, and what came of it: sentences."""
    own, *others = rows
    said = []
    for name in ("tokens/s", "tokens/step"):
        best = max(others, key=lambda row: row[name])
        off = own[name] / best[name] - 1
        seen = "seen" if off >= -WITHIN else "not seen"
        said.append(f"{name} of {own['arm']}: {off:+.1%} of the best, {best['arm']} ({seen}: -{WITHIN:.0%} wanted).")
    return said


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=8, help="many more, and a step takes longer for each")
    parser.add_argument("--share", type=float, default=0.3, help="of the pages of all slots' longest contexts")
    parser.add_argument("--tail", choices=TAILS, default=SETUP.tail)
    parser.add_argument("--steps", type=int, default=14, help="segments that count")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."), help="folder")
    args = parser.parse_args()
    everybody = args.slots * pages_for(SETUP.prompt + SETUP.output_limit, SETUP.page_size)
    setup = dataclasses.replace(SETUP, tail=args.tail, pages=int(args.share * everybody))
    rows = measure(setup, MODEL, make_arms(setup, args.slots), args.steps)
    print_table(f"{setup.pages} pages of {everybody}, {args.tail} tail", rows, {name: name for name in rows[0]})
    said = findings(rows)
    print(*said, sep="\n")
    args.out.mkdir(parents=True, exist_ok=True)
    about = {"setup": dataclasses.asdict(setup), "slots": args.slots, "segments_counted": args.steps}
    about |= {"model": dataclasses.asdict(MODEL) | {"dtype": "float32"}, "rows": rows, "findings": said}
    (args.out / "pages.json").write_text(json.dumps(about, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()
