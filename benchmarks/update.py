"""Tokens per second and memory of trainers: python benchmarks/update.py [--arms=ours,transformers] [--rounds=3]

One policy-gradient update (forward, loss, backward, AdamW) on the finished samples of a long-tailed batch, in fp32 on
the CPU: ours, packed; a network of transformers under torch, in micro-batches of four, padded to the longest sample of
all (as trl pads) or trimmed to their own longest; the trainer of tunix, all samples at once, padded to the limit; each
where it is installed (benchmarks/trainers.py). All begin with the same weights, make the same updates on the same
samples, and must find the same norm of the first gradient to a thousandth.

Each trainer runs in a process of its own. They take turns, so that a busy moment hits all of them; the first update
compiles and is not counted. Prints a table, writes update.json and update.png:

  tokens/s   of prompts and outputs, without padding; median of the rounds
  at rest    GiB that the process holds before its first update: interpreter, libraries, weights, optimizer (VmRSS)
  peak       GiB that it ever held, compilation and all of the above among it (VmHWM)
  floor      the seconds of 6 operations per weight and token, and of attention's products (ulorl_jax/roofline.py), at
             the speed at which this machine multiplies two large matrices, measured at every turn
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import trainers
from benchmarks.rollout import MODEL
from benchmarks.trainers import ARMS, Work, run_settings
from ulorl_jax.footprint import parameter_count
from ulorl_jax.io.hf_weights import write_hf_weights
from ulorl_jax.io.panels import BLUE, GREY, ORANGE, label_panel, make_figure, save_figure
from ulorl_jax.io.tables import print_table
from ulorl_jax.lengths import lognormal_lengths
from ulorl_jax.models.hf_qwen3 import config_to_hf, hf_tensors
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.models.qwen3_params import init_params
from ulorl_jax.roofline import update_flops

TAIL = (0.262, 0.42)  # mean and p80 of the lengths, shares of L: at L = 1024 a mean of 268
SIDE, REPEATS = 1024, 10  # of the product that stands for this machine's speed
TOLERANCE = 1e-3  # within which all find the same norm
GIB = 2**30


def make_work(samples: int, prompt: int, limit: int, vocab_size: int, seed: int = 0) -> Work:
    """Random samples, half of them right, their lengths log-normal.

    Args:
      samples: N, even.
      prompt: P, tokens of every prompt.
      limit: L.
      vocab_size: V.
      seed: of the ids, the rewards and the order in which lengths come.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.permutation(lognormal_lengths(*TAIL, limit, samples))
    prompts = rng.integers(1, vocab_size, (samples, prompt)).astype(np.int32)
    outputs = [rng.integers(1, vocab_size, length).astype(np.int32) for length in lengths]
    return Work(prompts, outputs, rng.permutation(np.arange(samples) % 2).astype(np.float32), limit)


def write_folder(folder: pathlib.Path, model: Qwen3Config, work: Work) -> None:
    """Writes random weights, as Hugging Face keeps them, and the samples beside them."""
    config = config_to_hf(model, "float32") | {"max_position_embeddings": work.prompts.shape[1] + work.limit}
    write_hf_weights(folder, hf_tensors(model), init_params(jax.random.key(0), model), dtype="float32", config=config)
    work.write(folder)


class Process:
    """A trainer in a process of its own.

    Args:
      arm: its name.
      folder: of the weights and the samples.

    Attributes:
      started: `at_rest`, bytes; or `left_out`, why there is no trainer.
    """

    def __init__(self, arm: str, folder: pathlib.Path):
        line = [sys.executable, trainers.__file__, arm, str(folder)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(line, env=os.environ | {"JAX_PLATFORMS": "cpu"}, **pipes)
        self.started = self._answer()

    def update(self) -> dict[str, float]:
        """One update: `seconds`, `grad_norm`, and `peak`, bytes."""
        print(file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """Ends it."""
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()  # pyright: ignore[reportOptionalMemberAccess] (a pipe)
        if not line:
            code = self._process.wait()
            raise ChildProcessError(
                f"ended with code {code}" + (", as who takes too much memory" if code == -9 else "")
            )
        return json.loads(line)


def product_speed() -> float:
    """Operations per second of one large product of matrices."""
    matrix = jnp.ones((SIDE, SIDE))
    multiply = jax.jit(jnp.matmul)
    multiply(matrix, matrix).block_until_ready()
    began = time.perf_counter()
    for _ in range(REPEATS):
        multiply(matrix, matrix).block_until_ready()
    return 2 * SIDE**3 * REPEATS / (time.perf_counter() - began)


def measure(
    processes: dict[str, Process], rounds: int, left_out: dict[str, str]
) -> tuple[dict[str, list[dict[str, float]]], list[float]]:
    """What each said of all its updates, the first among them; and the machine's speed at every turn.

    A process that ends by itself goes into `left_out`, with the reason.
    """
    said: dict[str, list[dict[str, float]]] = {arm: [] for arm in processes}
    speeds = []
    for index in range(rounds + 1):
        for arm, process in processes.items():
            if arm in left_out:
                continue
            speeds.append(product_speed())
            try:
                said[arm].append(found := process.update())
            except ChildProcessError as error:
                left_out[arm] = str(error)
                del said[arm]
                continue
            turn = f"round {index}" if index else "warm-up"
            print(f"{turn}: {arm}: {found['seconds']:.1f} s, gradient norm {found['grad_norm']:.6f}", file=sys.stderr)
    return said, speeds


def summarise(said: dict[str, list[dict[str, float]]], tokens: int, floor_s: float) -> dict[str, dict[str, float]]:
    """By arm: tokens per second (median, least, most), seconds, its share of ours, memory, distance to the floor.

    Args:
      said: see `measure`.
      tokens: of the samples.
      floor_s: seconds that no trainer can beat.

    Raises:
      ValueError: the trainers did not make the same update.
    """
    norms = {arm: found[0]["grad_norm"] for arm, found in said.items()}
    if max(norms.values()) > (1 + TOLERANCE) * min(norms.values()):
        raise ValueError(f"the norms of the first gradient differ by more than {TOLERANCE:g}: {norms}")
    seconds = {arm: [one["seconds"] for one in found[1:]] for arm, found in said.items()}
    median = {arm: statistics.median(found) for arm, found in seconds.items()}
    return {
        arm: {
            "tokens_per_s": tokens / median[arm],
            "least": tokens / max(found),
            "most": tokens / min(found),
            "seconds": median[arm],
            "ours_is_faster": median[arm] / median["ours"] if "ours" in median else float("nan"),
            "of_floor": median[arm] / floor_s,
            "peak_gib": said[arm][-1]["peak"] / GIB,
            "first_grad_norm": norms[arm],
            "last_grad_norm": said[arm][-1]["grad_norm"],
        }
        for arm, found in seconds.items()
    }


def draw(table: dict[str, dict[str, float]], path: pathlib.Path) -> None:
    """Bars: tokens per second, and memory."""
    figure = make_figure(7.6, 2.2)
    left, right = figure.subplots(1, 2, sharey=True)
    for ax, title, unit, key in (
        (left, "one update", "tokens per second", "tokens_per_s"),
        (right, "peak memory", "GiB", "peak_gib"),
    ):
        label_panel(ax, title, "", unit)
        for row, (arm, found) in enumerate(reversed(table.items())):
            ax.barh(row, found[key], 0.7, color={"ours": BLUE, "tunix": ORANGE}.get(arm, GREY))
            note = f"{found[key]:,.0f}" if key == "tokens_per_s" else f"{found[key]:.2f}"
            ax.annotate(note, (found[key], row), (4, 0), textcoords="offset points", va="center", fontsize=8)
        ax.set_xlim(right=1.25 * max(found[key] for found in table.values()))
    left.set_yticks(range(len(table)), list(reversed(table)))
    save_figure(figure, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", default=",".join(ARMS), help="some of " + ",".join(ARMS))
    parser.add_argument("--rounds", type=int, default=3, help="counted, beside the first")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--prompt", type=int, default=64, help="tokens of a prompt")
    parser.add_argument("--limit", type=int, default=1024, help="L, tokens of the longest output")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."), help="folder")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.arms.split(",")) - set(ARMS)):
        parser.error(f"--arms: there is no {unknown}; want some of {','.join(ARMS)}")
    work = make_work(given.samples, given.prompt, given.limit, MODEL.vocab_size)
    processes: dict[str, Process] = {}
    at_rest: dict[str, float] = {}
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as ends:
        folder = pathlib.Path(temporary) / "weights"
        write_folder(folder, MODEL, work)
        settings = run_settings(folder, work)
        for arm in given.arms.split(","):
            process = Process(arm, folder)
            ends.callback(process.close)
            if "left_out" in process.started:
                left_out[arm] = process.started["left_out"]
            else:
                processes[arm], at_rest[arm] = process, process.started["at_rest"] / GIB
        said, speeds = measure(processes, given.rounds, left_out)
    speed, sizes = statistics.median(speeds), [given.prompt + len(output) for output in work.outputs]
    flops = sum(update_flops(settings, size, size) for size in sizes)
    floor_s = flops / speed
    table = summarise(said, work.tokens, floor_s)
    outputs = np.array([len(output) for output in work.outputs])
    about = (
        f"{parameter_count(MODEL)[0] / 1e6:.1f}M parameters, {given.samples} samples, prompts of {given.prompt}, "
        f"outputs of {outputs.mean():.0f} tokens ({outputs.max()} at most): {work.tokens} in all; {given.rounds} rounds"
    )
    rows = [{"arm": arm, "at_rest": at_rest[arm]} | found for arm, found in table.items()]
    columns = {
        "arm": "",
        "tokens_per_s": "tokens/s",
        "least": "least",
        "most": "most",
        "seconds": "s",
        "ours_is_faster": "ours is faster",
        "of_floor": "of the floor",
        "at_rest": "GiB at rest",
        "peak_gib": "peak",
    }
    print_table(about, rows, columns, best=[max(rows, key=lambda row: row["tokens_per_s"])])
    for which in ("first", "last"):
        norms = [found[f"{which}_grad_norm"] for found in table.values()]
        apart = max(norms) / min(norms) - 1
        print(f"{which} gradient norm: {norms[0]:.5f}, of all within {apart:.0e}")
    for arm, why in left_out.items():
        print(f"left out: {arm}: {why}")
    floor = f"floor: {flops / 1e9:.0f} GFLOP at {speed / 1e9:.0f} GFLOP/s: {floor_s:.2f} s"
    print(f"{floor}, {work.tokens / floor_s:.0f} tokens/s")
    given.out.mkdir(parents=True, exist_ok=True)
    result = {
        "about": about,
        "arms": {row.pop("arm"): row for row in rows},
        "lengths": outputs.tolist(),
        "left_out": left_out,
        "floor": {"flop": flops, "flop_per_second": speed, "seconds": floor_s},
    }
    (given.out / "update.json").write_text(json.dumps(result, indent=2) + "\n")
    draw(table, given.out / "update.png")


if __name__ == "__main__":
    main()
