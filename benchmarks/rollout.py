"""Tokens per second of decoders: python benchmarks/rollout.py [--arms=dense,generate] [--rounds=3] [--out=FOLDER]

Ours (dense cache; pages) against transformers (`generate`; continuous batching) and the sampler of tunix, where they
are installed: the same random weights, loaded by each from one Hugging Face folder, in fp32 on the CPU. Workloads:

  fixed      as many outputs as slots, all of L tokens
  long tail  more outputs than slots; lengths are log-normal with mean 0.32 L, 80% of them within 0.49 L
  heavy tail the same with mean 0.20 L, 80% within 0.30 L

The fewer outputs, the more of the time of a tail is its end, when nothing is left to fill free slots with.

Prompts and lengths are the same for all, nothing ends before its length, and only tokens within the lengths count.
The arms take turns, so that a busy moment hits all of them; the first round compiles and is not counted. Prints a
table with medians, how many greedy tokens are those of transformers, and the floor: the matrix products of a token
step alone, with all slots busy. Writes rollout.json and rollout.png.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import pathlib
import statistics
import sys
import tempfile
import time
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.decoders import ARMS, SHORT, Decoder, Size
from ulorl_jax.io.hf_weights import write_hf_weights
from ulorl_jax.io.panels import BLUE, GREY, ORANGE, label_panel, make_figure, save_figure
from ulorl_jax.lengths import lognormal_lengths
from ulorl_jax.models.hf_qwen3 import config_to_hf, hf_tensors
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.models.qwen3_params import init_params

MODEL = Qwen3Config(
    vocab_size=8192,
    hidden_size=384,
    intermediate_size=1152,
    num_hidden_layers=6,
    num_attention_heads=6,
    num_key_value_heads=2,
    head_dim=64,
)
TEMPERATURE = 0.85
TAILS = {"long tail": (0.32, 0.49), "heavy tail": (0.2, 0.3)}  # mean and p80 of the lengths, shares of L
GREEDY = (4, 32)  # prompts and tokens that are compared
YARDSTICK = "transformers, generate"


@dataclasses.dataclass(frozen=True, eq=False)
class Workload:
    """What is decoded.

    Attributes:
      prompts: `[N, P]` i32.
      lengths: `[N]`, tokens of each output.
    """

    prompts: np.ndarray
    lengths: np.ndarray


def make_workloads(size: Size, samples: int, seed: int = 0) -> dict[str, Workload]:
    """The workloads by name.

    Args:
      size: of the decoders.
      samples: N of the long tails.
      seed: of the prompts, and of the order in which the lengths come.
    """
    rng = np.random.default_rng(seed)
    prompts = rng.integers(1, MODEL.vocab_size, (max(samples, size.slots), size.prompt)).astype(np.int32)
    made = {"fixed": Workload(prompts[: size.slots], np.full(size.slots, size.limit))}
    for name, (mean, p80) in TAILS.items():
        lengths = rng.permutation(lognormal_lengths(mean, p80, size.limit, samples))
        made[name] = Workload(prompts[:samples], lengths)
    return made


def batch_steps(lengths: np.ndarray, slots: int) -> int:
    """Token steps of batches that are decoded one after the other, each until its longest output is complete."""
    return sum(int(lengths[start : start + slots].max()) for start in range(0, len(lengths), slots))


def make_decoders(folder: pathlib.Path, size: Size, names: list[str]) -> tuple[dict[str, Decoder], dict[str, str]]:
    """The decoders by name, and why others are left out."""
    made: dict[str, Decoder] = {}
    left_out: dict[str, str] = {}
    for name in names:
        try:
            made[name] = ARMS[name](folder, size)
        except ImportError as error:
            left_out[name] = f"not installed ({error})"
    return made, left_out


def measure(decoders: dict[str, Decoder], workloads: dict[str, Workload], rounds: int) -> dict[str, dict[str, list]]:
    """Tokens per second of every counted round, by workload and decoder."""
    speeds: dict[str, dict[str, list]] = {name: {arm: [] for arm in decoders} for name in workloads}
    for index in range(rounds + 1):
        for name, work in workloads.items():
            for arm, decoder in decoders.items():
                gc.collect()
                began = time.perf_counter()
                outputs = decoder.decode(work.prompts, work.lengths, TEMPERATURE)
                speed = work.lengths.sum() / (time.perf_counter() - began)
                wrong = sum(len(out) != length for out, length in zip(outputs, work.lengths, strict=True))
                assert not wrong, f"{arm}: {wrong} of {len(outputs)} outputs of {name} have another length than asked"
                print(f"{'warm-up' if not index else f'round {index}'}: {name}, {arm}: {speed:.0f}", file=sys.stderr)
                if index:
                    speeds[name][arm].append(float(speed))
    return speeds


def greedy_agreement(decoders: dict[str, Decoder], prompts: np.ndarray) -> dict[str, int]:
    """How many greedy tokens of each decoder are transformers'; nothing where that is left out."""
    count, tokens = GREEDY
    lengths = np.full(count, tokens)
    if YARDSTICK not in decoders:
        return {}
    drawn = {arm: np.array(decoder.decode(prompts[:count], lengths, 0.0)) for arm, decoder in decoders.items()}
    return {arm: int((out == drawn[YARDSTICK]).sum()) for arm, out in drawn.items()}


def products_s(params: Any, slots: int, repeats: int = 64) -> float:
    """Seconds of the matrix products of a token step: every weight is read once, and nothing else is done."""
    layers = params["layers"]

    def layer(x, w):
        heads = jnp.concatenate([x @ w["q"], x @ w["k"], x @ w["v"]], axis=-1)
        x = heads[:, : w["o"].shape[0]] @ w["o"]
        return (x @ w["gate"] + x @ w["up"]) @ w["down"], None

    @jax.jit
    def products(x):
        def step(_, x):
            x, _ = jax.lax.scan(layer, x, layers)
            return x + (x @ params["head"])[:, : x.shape[1]]

        return jax.lax.fori_loop(0, repeats, step, x)

    x = jnp.zeros((slots, MODEL.hidden_size))
    products(x).block_until_ready()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        products(x).block_until_ready()
        times.append(time.perf_counter() - began)
    return min(times) / repeats


def summarise(speeds: dict[str, dict[str, list]]) -> dict[str, dict[str, dict[str, float]]]:
    """By workload and decoder: median, least and most tokens per second, and the median over that of the best peer."""
    table = {}
    for name, arms in speeds.items():
        median = {arm: statistics.median(found) for arm, found in arms.items()}
        peer = max((speed for arm, speed in median.items() if not arm.startswith("ours")), default=float("nan"))
        table[name] = {
            arm: {
                "tokens_per_s": median[arm],
                "least": min(found),
                "most": max(found),
                "of_best_peer": median[arm] / peer,
            }
            for arm, found in arms.items()
        }
    return table


def draw(table: dict[str, dict[str, dict[str, float]]], path: pathlib.Path) -> None:
    """Bars: tokens per second by workload."""
    figure = make_figure(3.6 * len(table), 3.2)
    for index, (ax, (name, arms)) in enumerate(
        zip(figure.subplots(1, len(table), sharey=True, squeeze=False)[0], table.items(), strict=True)
    ):
        label_panel(ax, name, "", "tokens per second")
        for row, (arm, found) in enumerate(reversed(arms.items())):
            ours = arm.startswith("ours")
            ax.barh(row, found["tokens_per_s"], 0.7, color=BLUE if ours else ORANGE if "tunix" in arm else GREY)
            note = f"{found['tokens_per_s']:,.0f}" + (f"  ({found['of_best_peer']:.2f}x)" if ours else "")
            ax.annotate(note, (found["tokens_per_s"], row), (4, 0), textcoords="offset points", va="center", fontsize=8)
        ax.set_xlim(right=1.45 * max(found["tokens_per_s"] for found in arms.values()))
        ax.set_yticks(range(len(arms)), list(reversed(arms)) if not index else [""] * len(arms))
    save_figure(figure, path)


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", default=",".join(SHORT), help="some of " + ",".join(SHORT))
    parser.add_argument("--workloads", default="", help="some of fixed,long tail,heavy tail; all by default")
    parser.add_argument("--rounds", type=int, default=3, help="counted, beside the first")
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--prompt", type=int, default=64, help="tokens of a prompt")
    parser.add_argument("--limit", type=int, default=256, help="L, tokens of the longest output")
    parser.add_argument("--samples", type=int, default=192, help="outputs of the workloads with tails")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."), help="folder")
    given = parser.parse_args()
    if unknown := sorted(set(given.arms.split(",")) - set(SHORT)):
        parser.error(f"--arms: there is no {unknown}; want some of {','.join(SHORT)}")
    size = Size(given.slots, given.prompt, given.limit)
    workloads = make_workloads(size, given.samples)
    if given.workloads:
        workloads = {name: workloads[name] for name in given.workloads.split(",")}
    params = init_params(jax.random.key(0), MODEL)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / "weights"
        config = config_to_hf(MODEL, "float32") | {"max_position_embeddings": size.prompt + size.limit}
        write_hf_weights(folder, hf_tensors(MODEL), params, dtype="float32", config=config)
        decoders, left_out = make_decoders(folder, size, [SHORT[name] for name in given.arms.split(",")])
        agreement = greedy_agreement(decoders, workloads[next(iter(workloads))].prompts)
        table = summarise(measure(decoders, workloads, given.rounds))
        for decoder in decoders.values():
            getattr(decoder, "close", lambda: None)()
    step_s = products_s(params, size.slots)
    weights = sum(leaf.size for leaf in jax.tree.leaves(params))
    about = f"{weights / 1e6:.1f}M parameters, {size.slots} slots, prompts of {size.prompt} tokens, L = {size.limit}"
    print(f"{about}, temperature {TEMPERATURE}; tokens/s, median of {given.rounds} rounds")
    for name, arms in table.items():
        lengths = workloads[name].lengths
        wanted, batches = lengths.sum() / size.slots, batch_steps(lengths, size.slots)
        steps = f"{batches} token steps in batches, {wanted:.0f} with full slots"
        print(f"\n{name}: {len(lengths)} outputs of {lengths.mean():.0f} tokens; {steps}")
        print(f"{'':<36}{'tokens/s':>10}{'least':>8}{'most':>8}{'of best peer':>14}")
        for arm, row in arms.items():
            print(
                f"{arm:<36}{row['tokens_per_s']:>10.0f}{row['least']:>8.0f}{row['most']:>8.0f}{row['of_best_peer']:>14.2f}"
            )
    for arm, why in left_out.items():
        print(f"left out: {arm}: {why}")
    for arm, same in agreement.items():
        print(f"greedy tokens as by {YARDSTICK}: {same} of {GREEDY[0] * GREEDY[1]}: {arm}")
    print(f"floor: {1e3 * step_s:.1f} ms per token step in matrix products alone, {size.slots / step_s:.0f} tokens/s")
    given.out.mkdir(parents=True, exist_ok=True)
    result = {
        "about": about,
        "tokens_per_second": table,
        "lengths": {name: work.lengths.tolist() for name, work in workloads.items()},
        "left_out": left_out,
        "greedy_tokens_as_by_transformers": agreement,
        "floor_tokens_per_second": size.slots / step_s,
    }
    (given.out / "rollout.json").write_text(json.dumps(result, indent=2) + "\n")
    draw(table, given.out / "rollout.png")


if __name__ == "__main__":
    main()
