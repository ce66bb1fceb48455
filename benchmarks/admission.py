"""Slots that share too few pages: python benchmarks/admission.py [--slots=64] [--share=0.3] [--tail=heavy]

The host's own pools and its own room of pages, with a device that draws what it is told: continuous refill, the cache
kept over updates, lengths log-normal and cut at L. Shows what prediction at several `rollout.pages.over_provisioning`
costs and saves beside none (0), beside fewer slots, and what `rollout.finish_groups` does. Columns:

  tokens/step   tokens drawn per decode step
  cheap, dear   the same, when a prefilled token costs 1/8 of one that is decoded with all slots busy, or as much
  evicted       samples that had to leave, per 1,000 that ended
  again         tokens prefilled again per token drawn
  wait          decode steps that the tokens of an ended sample wait for their group to be complete, in L
  error         of the lengths predicted at a step's begin or, later, when the sample was placed; mean, in L
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import numpy as np

from ulorl_jax.lengths import lognormal_lengths
from ulorl_jax.mesh import Layout, make_mesh
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.rollout.engine import EngineSpec
from ulorl_jax.rollout.pages import PageSettings, pages_for
from ulorl_jax.rollout.pools import UnfinishedPool
from ulorl_jax.rollout.room import PREFILL_PAYS, make_room
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.rollout.segments import KEEP, REFILL_CALL
from ulorl_jax.types import Prompt, Sample, Segment

TAILS = {"long": (0.32, 0.49), "heavy": (0.20, 0.30)}  # mean and 80th percentile, in L
FACTORS = (0.0, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5)
NETWORK = Qwen3Config(  # nobody computes it
    vocab_size=8,
    hidden_size=8,
    intermediate_size=8,
    num_hidden_layers=1,
    num_attention_heads=1,
    num_key_value_heads=1,
    head_dim=8,
    rope_theta=1e4,
    tie_word_embeddings=True,
)


@dataclasses.dataclass(frozen=True)
class Setup:
    """What is decoded, and where.

    Attributes:
      tail: of `TAILS`.
      pages: of the pool.
      page_size: tokens per page.
      prompt: tokens of every prompt.
      output_limit: L.
      segments: M.
      samples_per_prompt: G.
      refill_latency: decode steps that a free slot may stay empty.
    """

    tail: str
    pages: int
    page_size: int = 64
    prompt: int = 128
    output_limit: int = 4096
    segments: int = 4
    samples_per_prompt: int = 8
    refill_latency: int = 16


class Rehearsal:
    """A rollout whose device draws nothing but zeros, to a length that each sample has from the beginning.

    Args:
      setup: what is decoded.
      slots: C.
      over_provisioning: see `PageSettings`.
      finish_groups: see `UnfinishedPool`.
      seed: of the lengths.

    Attributes:
      counts: decode `steps`, `tokens` drawn, `prefilled`, and of these `again`; samples `evicted` and `ended`; tokens
        `released`, and the decode steps all of them had to `wait` for their groups.
      errors: of the lengths predicted, the mean of each step.
      tokens_ended: of the samples that ended.
    """

    def __init__(self, setup: Setup, slots: int, over_provisioning: float, finish_groups: bool = False, seed: int = 0):
        self.setup, self.slots = setup, slots
        layout = Layout(make_mesh(devices=jax.devices()[:1]), "decoding")
        pages = PageSettings(setup.pages, setup.page_size, over_provisioning=over_provisioning)
        spec = EngineSpec(NETWORK, slots, setup.prompt + setup.output_limit, Sampling(1.0), (1,), layout, pages)
        self.room, self.pool = make_room(spec, setup.output_limit), UnfinishedPool(slots, finish_groups)
        self.counts: collections.Counter[str] = collections.Counter()
        self.prompts = self.tokens_ended = 0
        self.errors: list[float] = []
        self._lengths = np.maximum(lognormal_lengths(*TAILS[setup.tail], setup.output_limit), 1)
        self._rng, self._length_of = np.random.default_rng(seed), []
        self._incomplete: dict[int, list[tuple[int, int]]] = {}  # prompt -> when each sample ended, and its tokens

    def step(self) -> None:
        """One segment, as `SegmentRollout.run` has it."""
        pool, room, left = self.pool, self.room, self.setup.output_limit // self.setup.segments
        room.begin()
        self._place()
        while left and pool.occupied:
            steps, leave = room.plan(min(REFILL_CALL, left))
            pool.withdraw({slot: sample for slot, sample in pool.occupied if slot in leave})
            to_come = {slot: self._length_of[sample.id] - sample.num_tokens for slot, sample in pool.occupied}
            first, last = min(to_come.values()), max(to_come.values())
            patience = self.setup.refill_latency if pool.waiting or not pool.free else steps
            steps = min(steps, last, first + patience)
            drawn = np.zeros(self.slots, np.int64)
            for slot, sample in pool.occupied:
                drawn[slot] = min(steps, to_come[slot])
                zeros = np.zeros(drawn[slot], np.int32)
                pool.slots[slot] = sample.append(Segment(zeros, zeros, 0, KEEP))
            room.grow(drawn)
            left -= steps
            self.counts.update(steps=steps, tokens=int(drawn.sum()), evicted=len(leave))
            for slot, sample in pool.occupied:
                if drawn[slot] == to_come[slot]:
                    pool.slots[slot] = None
                    room.end(slot)
                    self._end(sample)
            if left:
                self._place()
        if error := room.metrics().get("rollout/len_error"):
            self.errors.append(error)

    def run(self, steps: int, warm_up: int) -> collections.Counter[str]:
        """The counts of so many decode steps, after some that are not counted."""
        while self.counts["steps"] < warm_up:
            self.step()
        before = self.counts.copy()
        while self.counts["steps"] < warm_up + steps:
            self.step()
        return self.counts - before

    def _place(self) -> None:
        """New prompts for free slots, and samples into them."""
        size, new = self.setup.samples_per_prompt, -(-self.pool.missing // self.setup.samples_per_prompt)
        prompt = np.zeros(self.setup.prompt, np.int32)
        self.pool.add_prompts([Prompt(self.prompts + i, prompt, "") for i in range(new)], size)
        self.prompts += new
        self._length_of += self._rng.choice(self._lengths, new * size).tolist()
        placed = [self.pool.slots[slot] for slot in self.pool.place(self.room.admit)]
        again = sum(sample.context_length for sample in placed if sample and sample.segments)
        prompts = {sample.prompt.id for sample in placed if sample and not sample.segments}
        self.counts.update(prefilled=again + len(prompts) * self.setup.prompt, again=again)

    def _end(self, sample: Sample) -> None:
        """Files a sample that has ended, and its group if it is the last."""
        tokens, now = self._length_of[sample.id], self.counts["steps"]
        self.tokens_ended += tokens
        members = self._incomplete.setdefault(sample.prompt.id, [])
        members.append((now, tokens))
        self.counts["ended"] += 1
        if len(members) == self.setup.samples_per_prompt:
            wait = sum((now - ended) * tokens for ended, tokens in self._incomplete.pop(sample.prompt.id))
            self.counts.update(released=sum(tokens for _, tokens in members), wait=wait)


def describe(n: collections.Counter[str], slots: int, output_limit: int) -> dict[str, float]:
    """The columns of the table.

    Args:
      n: by `Rehearsal.run`.
      slots: that a decode step is priced by.
      output_limit: L.
    """
    prefill = n["prefilled"] / slots  # decode steps, were it as dear as decoding
    return {
        "tokens/step": n["tokens"] / n["steps"],
        "cheap": n["tokens"] / (n["steps"] + prefill / PREFILL_PAYS),
        "dear": n["tokens"] / (n["steps"] + prefill),
        "evicted": 1000 * n["evicted"] / n["ended"],
        "again": n["again"] / n["tokens"],
        "wait": n["wait"] / max(n["released"], 1) / output_limit,
    }


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--share", type=float, default=0.3, help="of the pages of all slots' longest contexts")
    parser.add_argument("--tail", choices=TAILS, default="long")
    parser.add_argument("--steps", type=float, default=32, help="decode steps that count, in L")
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    setup = Setup(args.tail, 0)
    everybody = args.slots * pages_for(setup.prompt + setup.output_limit, setup.page_size)
    setup, limit = dataclasses.replace(setup, pages=int(args.share * everybody)), setup.output_limit
    arms = {f"over_provisioning {factor:g}": Rehearsal(setup, args.slots, factor) for factor in FACTORS}
    arms["1, finish_groups"] = Rehearsal(setup, args.slots, 1.0, finish_groups=True)
    fewer = [args.slots * i // 16 for i in range(8, 16)]
    arms |= {f"0, {slots} slots": Rehearsal(setup, slots, 0.0) for slots in fewer}
    print(f"{args.slots} slots, {setup.pages} pages of {everybody}, {args.tail} tail")
    table: dict[str, dict[str, float]] = {}
    for name, arm in arms.items():
        row = describe(arm.run(int(args.steps * limit), 4 * limit), args.slots, limit)
        table[name] = row | {"error": float(np.mean(arm.errors)) / limit}
        if len(table) == 1:
            print(f"{'':24}" + "".join(f"{column:>12}" for column in table[name]))
        print(f"{name:24}" + "".join(f"{value:12.4g}" for value in table[name].values()), flush=True)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        about = dataclasses.asdict(setup) | {"slots": args.slots}
        (args.out / "admission.json").write_text(json.dumps({"setup": about, "table": table}, indent=2) + "\n")


if __name__ == "__main__":
    main()
