"""What benchmarks/segments.py measures: every way to run Algorithm 1, the samples, and which steps are counted."""

from __future__ import annotations

import dataclasses
import itertools

import jax
import numpy as np

from ulorl_jax.lengths import lognormal_lengths
from ulorl_jax.mesh import Layout, make_mesh
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.planning import Counts, Draw, Schedule, Workload, simulate, warm_up
from ulorl_jax.rollout.decode_state import EngineSpec
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.rollout.segments import CONTINUOUS, KEEP, RECOMPUTE, STEP
from ulorl_jax.types import Prompt

SEGMENTS = (1, 2, 4, 8)
POLICIES = (KEEP, RECOMPUTE)
PREFILL_ROWS, PREFILL_CHUNK = 8, 32  # contexts, and tokens of each, that are computed side by side
LONG_RUN = 300  # steps times M that are simulated for the gain in the long run


@dataclasses.dataclass(frozen=True)
class Cell:
    """One way to run Algorithm 1.

    Attributes:
      schedule: M, slots, refill.
      kv: `KEEP` or `RECOMPUTE`.
    """

    schedule: Schedule
    kv: str

    @property
    def refill(self) -> str:
        """As in `rollout.refill`."""
        return STEP if self.schedule.refill_latency is None else CONTINUOUS

    @property
    def name(self) -> str:
        """For people."""
        return f"M = {self.schedule.segments}, {self.refill}, {self.kv}"


@dataclasses.dataclass(frozen=True, eq=False)
class Load:
    """What every cell decodes.

    Attributes:
      lengths: `[N]`, tokens of the outputs of samples 0 to N - 1; after these over again.
      output_limit: L.
      prompt: P, tokens of every prompt.
      samples_per_prompt: G.
    """

    lengths: np.ndarray
    output_limit: int
    prompt: int
    samples_per_prompt: int

    def make_prompt(self, number: int, vocabulary: int) -> Prompt:
        """The prompt of a number: random tokens, always the same."""
        tokens = np.random.default_rng(number).integers(1, vocabulary, self.prompt)
        return Prompt(number, tokens.astype(np.int32), "")


@dataclasses.dataclass(frozen=True, eq=False)
class Bench:
    """What is measured.

    Attributes:
      spec: of the engine.
      cells: every combination.
      load: what they decode.
      long_run: what every schedule does with lengths that are independent of each other.
    """

    spec: EngineSpec
    cells: list[Cell]
    load: Load
    long_run: dict[Schedule, Counts] = dataclasses.field(default_factory=dict)

    def in_order(self) -> Draw:
        """The samples as every cell takes them, for `simulate`."""
        lengths = itertools.cycle(self.load.lengths)
        return lambda count: (
            np.array([next(lengths) for _ in range(count)], np.int64),
            np.full(count, self.load.prompt),
        )

    def workload(self, kv: str) -> Workload:
        """The samples in no order, for `plan`."""
        load, prompts = self.load, np.full(len(self.load.lengths), self.load.prompt)
        return Workload(load.lengths, prompts, load.output_limit, load.samples_per_prompt, kv == RECOMPUTE)

    def simulate(self, schedule: Schedule, draw: Draw, steps: int) -> Counts:
        """Algorithm 1 for so many steps after the warm-up."""
        load = self.load
        total = warm_up(schedule.segments) + steps
        return simulate(schedule, draw, load.output_limit, load.samples_per_prompt, total)


def make_bench(
    model: Qwen3Config,
    shape: tuple[float, float],
    *,
    slots: int = 32,
    limit: int = 256,
    prompt: int = 16,
    group: int = 4,
    samples: int = 192,
    latency: int = 2,
    segments: tuple[int, ...] = SEGMENTS,
    orders: int = 64,
) -> Bench:
    """Cells and lengths.

    Args:
      model: what decodes.
      shape: mean and p80 of the lengths, shares of L.
      slots: C.
      limit: L.
      prompt: P.
      group: G.
      samples: N, as many as there are lengths.
      latency: refill_latency of "continuous".
      segments: every M.
      orders: in which the lengths may come; the one taken is that whose counted steps are most like the long run.
    """
    layout = Layout(make_mesh(devices=jax.devices()[:1]), "decoding")
    nothing_ends = (model.vocab_size,)
    spec = EngineSpec(model, slots, prompt + limit, Sampling(0.85), nothing_ends, layout)
    schedules = [
        Schedule(m, slots, refill, PREFILL_CHUNK, PREFILL_ROWS) for refill in (None, latency) for m in segments
    ]
    cells = [Cell(schedule, kv) for kv in POLICIES for schedule in schedules]
    table = lognormal_lengths(*shape, limit, samples)
    tried = [np.random.default_rng(seed).permutation(table) for seed in range(orders)]
    empty = [Bench(spec, cells, Load(lengths, limit, prompt, group)) for lengths in tried]
    draws = {schedule: empty[0].workload(KEEP).draw(0) for schedule in schedules}
    long_run = {s: empty[0].simulate(s, draw, LONG_RUN * s.segments) for s, draw in draws.items()}
    return min((dataclasses.replace(bench, long_run=long_run) for bench in empty), key=_distance)


def window(bench: Bench, schedule: Schedule) -> tuple[slice, Counts]:
    """The steps that are counted: so many that they train as many tokens as the table has, after the warm-up and one
    more; and the simulated counts of these and those before."""
    first, wanted = warm_up(schedule.segments) + 1, bench.load.lengths.sum()
    steps = 2 * schedule.segments * (1 + len(bench.load.lengths) // schedule.slots)
    while True:
        counts = bench.simulate(schedule, bench.in_order(), steps)
        trained = np.cumsum(counts.released[first:])
        if trained[-1] >= wanted:
            return slice(first, first + 1 + int(np.searchsorted(trained, wanted))), counts
        steps *= 2


def _distance(bench: Bench) -> float:
    """How far the gains of the counted steps are from those of the long run, the farthest of them."""

    def cost(counts: Counts, steps: slice) -> float:
        return np.log(counts.token_steps[steps].sum() / counts.released[steps].sum())

    off = []
    for schedule, counts in bench.long_run.items():
        steps, own = window(bench, schedule)
        off.append(cost(own, steps) - cost(counts, slice(steps.start, None)))
    return float(np.abs(np.array(off) - off[0]).max())
