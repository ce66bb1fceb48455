"""The benchmark of segments: its cells decode what the simulation says, and its figures are what they are called."""

import dataclasses
import itertools
import json
import pathlib

import jax
import numpy as np
import pytest

from benchmarks.cells import POLICIES, PREFILL_CHUNK, PREFILL_ROWS, Bench, Cell, Load, make_bench, window
from benchmarks.frozen import FrozenLoop, compile_all, make_rollout, small_network, take_turns
from benchmarks.segments import MODEL, findings, fit_cost, measure, tabulate
from tests.tiny import make_config
from ulorl_jax.costs import Cost
from ulorl_jax.lengths import lognormal_lengths
from ulorl_jax.models.qwen3_params import init_params
from ulorl_jax.planning import Schedule, describe
from ulorl_jax.rollout.decoding import compiled_programs
from ulorl_jax.rollout.segments import KEEP, RECOMPUTE, REFILLS, STEP

SHAPE = (0.32, 0.49)
ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def bench() -> Bench:
    config = small_network(make_config())
    return make_bench(config, SHAPE, slots=4, limit=24, prompt=5, group=2, samples=24, segments=(1, 4), orders=3)


@pytest.fixture(scope="module")
def sums(bench: Bench) -> list[dict[str, float]]:
    return measure(bench, init_params(jax.random.key(0), bench.spec.model))


def slow_token_steps(lengths, slots: int, size: int, steps: int, continuous: bool) -> list[int]:
    """Token steps of each step, token by token; a slot is refilled at once or when the next step begins."""
    samples, left, taken = itertools.cycle(lengths), [0] * slots, []
    for _ in range(steps):
        taken.append(0)
        for token in range(size):
            if continuous or not token:
                left = [rest or next(samples) for rest in left]
            taken[-1] += any(left)
            left = [max(rest - 1, 0) for rest in left]
    return taken


def test_every_cell_counts_what_the_simulation_counts(bench: Bench, sums: list[dict[str, float]]):
    assert len({(cell.schedule, cell.kv) for cell in bench.cells}) == len(sums) == 8
    for cell, row in zip(bench.cells, sums, strict=True):
        steps, counts = window(bench, cell.schedule)
        carried = counts.carried[steps].sum() if cell.kv == RECOMPUTE else 0
        assert row["steps"] == steps.stop - steps.start, cell.name
        assert row["token_steps"] == counts.token_steps[steps].sum(), cell.name
        assert row["tokens"] == counts.tokens[steps].sum(), cell.name
        assert row["trained"] == counts.released[steps].sum() >= bench.load.lengths.sum(), cell.name
        assert row["finished"] == counts.finished[steps].sum(), cell.name
        assert row["carried"] == carried, cell.name
        assert row["prefill_tokens"] == counts.new[steps].sum() + carried, cell.name
        again = counts.passes_again[steps].sum() if cell.kv == RECOMPUTE else 0
        assert row["prefill_passes"] == counts.passes[steps].sum() + again, cell.name


@pytest.mark.parametrize(("segments", "latency"), [(1, None), (4, None), (4, 0)])
def test_a_loop_takes_the_token_steps_of_a_slow_reference(bench: Bench, segments: int, latency: int | None):
    lengths = bench.load.lengths
    cell = Cell(Schedule(segments, 4, latency), KEEP)
    loop = FrozenLoop(make_rollout(bench.spec, cell, bench.load), cell, bench.load)
    params = init_params(jax.random.key(0), bench.spec.model)
    taken = [loop.step(params)["token_steps"] for _ in range(10)]
    assert taken == slow_token_steps(lengths, 4, 24 // segments, 10, latency is not None)
    # Everything that was drawn is trained or in a pool.
    in_pools = loop.rollout.pool.num_tokens + loop.experience.num_tokens
    assert loop.ledger.sampled == loop.ledger.trained + in_pools and loop.ledger.trained > 0


def test_nothing_is_compiled_in_the_counted_steps(sums: list[dict[str, float]]):
    assert {row["compiled"] for row in sums} == {0}


def test_compiling_leaves_the_slots_empty_and_the_lengths_as_they_were(bench: Bench):
    rollout = make_rollout(bench.spec, bench.cells[1], bench.load)
    params = init_params(jax.random.key(0), bench.spec.model)
    compile_all(rollout, bench.load, params)
    programs = compiled_programs()
    assert not rollout.pool.occupied and not rollout.pool.waiting and rollout.lengths is bench.load.lengths
    compile_all(rollout, bench.load, params)
    assert compiled_programs() == programs


def test_the_lengths_are_in_the_order_whose_gains_are_most_like_those_of_the_long_run(bench: Bench):
    sizes = {"slots": 8, "limit": 64, "prompt": 5, "group": 2, "samples": 32, "segments": (1, 4)}
    off = []
    for orders in (1, 16):
        made = make_bench(bench.spec.model, SHAPE, orders=orders, **sizes)
        assert np.sort(made.load.lengths).tolist() == lognormal_lengths(*SHAPE, 64, 32).tolist()
        cost = {}  # token steps per trained token, of the counted steps over that of the long run
        for schedule, far in made.long_run.items():
            steps, own = window(made, schedule)
            first = steps.start
            cost[schedule] = own.token_steps[steps].sum() / own.released[steps].sum()
            cost[schedule] /= far.token_steps[first:].sum() / far.released[first:].sum()
        one, *others = cost.values()
        off.append(max(abs(np.log(other / one)) for other in others))
    assert off[0] > off[1]


def test_loops_take_turns_in_step_with_each_other():
    order = []

    class Counted(FrozenLoop):
        def __init__(self, name):
            self.name = name

        def step(self, params):
            order.append(self.name)
            return {}

    taken = take_turns([Counted("a"), Counted("b")], [2, 6], None)
    assert [len(rows) for rows in taken] == [2, 6] and order == ["b", "a", "b", "b", "b", "a", "b", "b"]


def made_up(cell: Cell, slow: float) -> dict[str, float]:
    """A cell in which a token step takes `slow` tenths of a second and a pass of prefill, 20 tokens, a fifth."""
    steps, token_steps = 10.0, 100.0 / cell.schedule.segments
    prefilled = 40.0 if cell.kv == KEEP else 240.0
    return {
        "steps": steps, "token_steps": token_steps, "tokens": 200.0, "trained": 200.0, "finished": 20.0,
        "decode_s": 0.1 * slow * token_steps, "prefill_s": 0.01 * prefilled, "prefill_tokens": prefilled,
        "prefill_passes": prefilled / 20, "carried": prefilled - 40.0,
        "seconds": 0.1 * slow * token_steps + 0.01 * prefilled + 0.2 * steps,
    }  # fmt: skip


def test_gains_are_split_into_fewer_and_cheaper_token_steps(bench: Bench):
    sums = [made_up(cell, slow=2.0 if cell.schedule.segments == 4 else 1.0) for cell in bench.cells]
    cost = fit_cost(bench, sums, RECOMPUTE, STEP)
    assert cost.step_s == pytest.approx(0.2) and cost.prefill_pass_s == pytest.approx(0.2)
    assert cost.token_step_s == pytest.approx(0.1 * (100 + 2 * 25) / 125)
    rows = tabulate(bench, sums)
    one, four = (
        next(r for r in rows if (r["segments"], r["refill"], r["kv"]) == (m, "step", RECOMPUTE)) for m in (1, 4)
    )
    assert (one["decode_gain"], one["whole_gain"], one["decode_off"]) == (1, 1, "+0.0%")
    assert four["fewer_token_steps"] == pytest.approx(4) and four["cheaper_token_steps"] == pytest.approx(0.5)
    assert four["decode_gain"] == pytest.approx(2)
    assert four["decode_s"] == pytest.approx(5 / 0.2) and four["prefill_s"] == pytest.approx(2.4 / 0.2)
    assert four["whole_gain"] == pytest.approx((10 + 2.4 + 2) / (5 + 2.4 + 2))
    assert four["reprefill_share"] == pytest.approx(2.0 / (5 + 2.4 + 2))
    assert four["iterations"] == pytest.approx(25 / 20) and four["idle_slots"] == pytest.approx(1 - 200 / (25 * 4))


@pytest.mark.parametrize("kv", POLICIES)
def test_the_recorded_seconds_of_more_segments_are_told_from_those_of_one_within_15_percent(bench: Bench, kv: str):
    recorded = json.loads((ROOT / "results" / "segments.json").read_text())
    sizes, keys = recorded["sizes"], [(cell["segments"], cell["refill"], cell["kv"]) for cell in recorded["cells"]]
    sums = dict(zip(keys, recorded["sums"], strict=True))
    load = Load(np.array(recorded["lengths"]), sizes["limit"], sizes["prompt"], sizes["group"])
    bench, one = dataclasses.replace(bench, load=load), sums[1, STEP, kv]
    cost = Cost(
        step_s=(one["seconds"] - one["decode_s"] - one["prefill_s"]) / one["steps"],
        token_step_s=one["decode_s"] / one["token_steps"],
        slots=sizes["slots"],
        prefill_pass_s=one["prefill_s"] / one["steps"],  # eight prompts of 16 tokens: one pass
    )
    for segments in (1, 2, 4, 8):
        schedule = Schedule(segments, sizes["slots"], None, PREFILL_CHUNK, PREFILL_ROWS)
        steps, counts = window(bench, schedule)
        names = [field.name for field in dataclasses.fields(counts) if field.name != "order"]
        counted = dataclasses.replace(counts, **{name: getattr(counts, name)[steps] for name in names})
        told = describe(schedule, counted, bench.workload(kv), cost, 0)
        measured = sums[segments, STEP, kv]
        assert told["token_steps"] == pytest.approx(measured["token_steps"] / measured["steps"]), segments
        assert told["step_s"] == pytest.approx(measured["seconds"] / measured["steps"], rel=0.15), segments


def test_the_findings_say_what_was_not_seen():
    row = {"decode_simulated": 2.2, "fewer_token_steps": 2.2, "cheaper_token_steps": 0.9, "whole_off": "-9.0%"}
    row |= {"whole_gain": 1.82, "whole_simulated": 2.0}
    rows = [
        row | {"segments": m, "refill": refill, "kv": kv, "decode_gain": 2.0 if kv == KEEP else 2.1, "idle_slots": 0.06}
        for m, refill, kv in itertools.product((4, 8), REFILLS, POLICIES)
    ]
    said = findings(rows)
    assert len(said) == 6
    assert "decoded 2.00 times faster (not seen: 2.06 wanted" in said[0] and "(seen: 10% wanted)" in said[0]
    assert "6.0% of the slots idle (not seen: less than 5% wanted)" in said[2]
    assert "decoded 2.10 times faster (seen: 2.06 wanted" in said[3]


def test_the_network_has_fifty_million_parameters_or_more():
    shapes = jax.eval_shape(lambda: init_params(jax.random.key(0), MODEL))
    assert 50e6 <= sum(leaf.size for leaf in jax.tree.leaves(shapes)) < 60e6


def test_prompts_are_the_same_for_all_and_differ_from_each_other():
    load = Load(np.array([1]), 8, 6, 2)
    first, again, other = (load.make_prompt(number, 90) for number in (3, 3, 4))
    assert first.id == 3 and len(first.tokens) == 6 and first.tokens.tolist() == again.tokens.tolist()
    assert first.tokens.tolist() != other.tokens.tolist()
