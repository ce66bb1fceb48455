"""What a plan is made from: lengths and costs given by hand, or a run's own; and the whole plan."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ulorl_jax.costs import Cost
from ulorl_jax.io.run_record import RunRecord
from ulorl_jax.lengths import lognormal_lengths
from ulorl_jax.planning import Schedule, Workload, plan, warm_up
from ulorl_jax.rollout.segments import CONTINUOUS, KEEP, RECOMPUTE, REFILLS, STEP
from ulorl_jax.typed import build, demand, demand_least

_NO_PART = ("step", "evaluate", "warm_start", "report")  # of Algorithm 1's seconds
_RELEASED = ("verify", "pack", "update")  # phases that grow with the tokens released
SIMULATED = 200  # steps
_SETTLED = ("trained", "uninformative", "error", "skipped")  # of the ledger: tokens that left the pools


@dataclasses.dataclass(frozen=True)
class GivenSettings:
    """What a run would tell; see `configs/plan_base.py`."""

    output_limit: int
    samples_per_prompt: int
    slots: int
    kv: str
    prefill_rows: int
    prefill_chunk: int
    prompt_tokens: int
    length_mean: float
    length_p80: float
    step_s: float
    token_step_s: float
    prefill_pass_s: float
    released_token_s: float


@dataclasses.dataclass(frozen=True)
class PlanSettings:
    """A plan; see `configs/plan_base.py` for what every field means."""

    segments: tuple[int, ...]
    slots: tuple[int, ...]
    refill: tuple[str, ...]
    refill_latency: int
    steps: int
    seed: int
    slots_share: float
    active_share: float
    given: GivenSettings

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PlanSettings:
        """Settings from a plain nested dict.

        Raises:
          ValueError: an unknown, missing or wrongly typed key, or a value that cannot be; the message names it.
        """
        s = build(cls, values)
        g = s.given
        for name, least, value in (
            ("segments", 1, min(s.segments, default=0)),
            ("slots", 1, min(s.slots, default=1)),
            ("refill_latency", 0, s.refill_latency),
            ("steps", 1, s.steps),
            ("given.output_limit", 1, g.output_limit),
            ("given.samples_per_prompt", 1, g.samples_per_prompt),
            ("given.slots", 1, g.slots),
            ("given.prefill_rows", 1, g.prefill_rows),
            ("given.prefill_chunk", 1, g.prefill_chunk),
            ("given.prompt_tokens", 0, g.prompt_tokens),
        ):
            demand_least(name, least, value)
        known = bool(s.refill) and set(s.refill) <= set(REFILLS)
        demand(known, f"refill must name one or both of {REFILLS}", s.refill, f"the paper's: {(STEP,)}")
        demand(g.kv in (KEEP, RECOMPUTE), f"given.kv must be {KEEP!r} or {RECOMPUTE!r}", g.kv, RECOMPUTE)
        return s

    def schedules(self, own: Schedule) -> list[Schedule]:
        """Every combination to be tried; a run's `own` slots where the settings name none, and its prefill."""
        latency = {STEP: None, CONTINUOUS: self.refill_latency}
        tried = itertools.product(self.refill, self.slots or (own.slots,), self.segments)
        return [
            dataclasses.replace(own, segments=m, slots=count, refill_latency=latency[refill])
            for refill, count, m in tried
        ]


def make_plan(settings: PlanSettings, record: RunRecord | None) -> dict[str, Any]:
    """Simulates and prices every schedule.

    Args:
      settings: what is tried.
      record: of a run whose lengths and seconds take the place of `settings.given`, or None.

    Returns:
      As JSON: "assumptions", sentences; "rows", one per schedule; "best", of each refill the row with the most
      trained tokens per second, the best of all first; and of a run "measured" and "predicted", its own schedule.

    Raises:
      ValueError: there are no such lengths, or the run is too short.
    """
    s, told, notes = settings, {}, []
    if record is None:
        g = s.given
        lengths = lognormal_lengths(g.length_mean, g.length_p80, g.output_limit)
        prompts = np.full(len(lengths), g.prompt_tokens)
        workload = Workload(lengths, prompts, g.output_limit, g.samples_per_prompt, g.kv == RECOMPUTE)
        shares = s.slots_share, s.active_share
        cost = Cost(g.step_s, g.token_step_s, g.slots, *shares, g.prefill_pass_s, g.released_token_s)
        own = Schedule(1, g.slots, None, g.prefill_chunk, g.prefill_rows)
        source = f"log-normal with mean {g.length_mean:g} L and p80 {g.length_p80:g} L, cut at L"
    else:
        workload, own, cost, measured = from_run(record, s.slots_share, s.active_share)
        means = f"mean {workload.lengths.mean():.1f} tokens; of all that finished {measured['length_mean']:.1f}"
        source = f"those of {len(workload.lengths):,} outputs of the run, after its first steps ({means})"
        [predicted] = plan(workload, cost, [own], steps=s.steps, seed=s.seed)
        told = {"measured": measured, "predicted": predicted}
        notes = _of_the_run(record.rollout, measured)
    rows = plan(workload, cost, s.schedules(own), steps=s.steps, seed=s.seed)
    fastest = sorted(rows, key=lambda row: -row["trained_tokens_per_s"])
    refills = dict.fromkeys(row["refill"] for row in fastest)
    best = [next(row for row in fastest if row["refill"] == refill) for refill in refills]
    return {"assumptions": _assumptions(s, workload, own, cost, source) + notes, "rows": rows, "best": best} | told


def from_run(
    record: RunRecord, slots_share: float = 0.0, active_share: float = 0.0
) -> tuple[Workload, Schedule, Cost, dict[str, float]]:
    """A run's lengths and costs, from the steps after its first M in which nothing was compiled.

    Args:
      record: by `io.run_record.read_run`.
      slots_share, active_share: see `planning.Cost`; one run cannot tell them.

    Returns:
      Workload, schedule, cost; and what was measured per step, by the names of `planning.describe`, with the number of
      these "steps", the mean length of all outputs that finished in them, "length_mean", the samples "evicted" for lack
      of pages and the share of the pages in use at most, "pages_peak" (0 without pages). An older run has no
      "prefill_passes".

    Raises:
      ValueError: there are no such steps.
    """
    r = record.rollout
    schedule = schedule_of(r)
    steady = _steady(record.rows, schedule.segments)
    demand(bool(steady), f"steps after the first {schedule.segments} that compile nothing tell costs", 0, "run longer")
    late: np.ndarray = record.steps > schedule.segments  # before, only short ones had the time to end
    demand(bool(late.any()), f"outputs that ended after step {schedule.segments} tell lengths", 0, "run longer")
    workload = Workload(
        record.lengths[late],
        record.prompts[late],
        r["output_limit"],
        r["samples_per_prompt"],
        r["kv"] == RECOMPUTE,
        r.get("recompute_every", 1),
    )
    mean = {name: float(np.mean([row.get(name, 0.0) for row in steady])) for name in set().union(*steady)}
    phases = {name[5:-2]: mean[name] for name in mean if name.startswith("time/")}
    parts = {name: seconds for name, seconds in phases.items() if name not in _NO_PART}
    released, token_steps = mean["released"], mean["rollout/decode_steps"]
    of_released = sum(parts.get(name, 0.0) for name in _RELEASED) if released else 0.0
    idle = 1 - mean["rollout/tokens"] / (token_steps * r["slots"])
    # Priced by the simulation's own passes, not the run's: of what it does not know (groups share full pages only, a
    # pass has rows of every part of a mesh, recompute_every) the price then makes up.
    [simulated] = plan(workload, Cost(0.0, 0.0, r["slots"]), [schedule], steps=SIMULATED)
    passes = simulated["prefill_passes"]
    measured = {
        "steps": float(len(steady)),
        "step_s": sum(parts.values()),
        "trained_tokens_per_s": released / sum(parts.values()),
        "decode_s": parts["decode"],
        "prefill_s": parts["prefill"],
        "released_s": of_released,
        "rest_s": sum(parts.values()) - parts["decode"] - parts["prefill"] - of_released,
        "idle_slots": idle,
        "token_steps": token_steps,
        "tokens": mean["rollout/tokens"],
        "prefill_tokens": mean["rollout/prefill_tokens"],
        "finished": mean["rollout/finished"],
        "trained_tokens": released,
        "length_mean": mean["lengths"] / max(mean["rollout/finished"], 1e-9),
        "evicted": mean.get("rollout/evicted", 0.0),
        "pages_peak": max(row.get("rollout/pages_peak", 0.0) for row in steady),
    }
    if all("rollout/prefill_passes" in row for row in steady):  # older runs do not say
        measured["prefill_passes"] = mean["rollout/prefill_passes"]
    cost = Cost(
        step_s=measured["rest_s"] + (0.0 if passes else parts["prefill"]),
        # Of a step whose slots are all active: the run's own, with the idle ones it has, must cost what it cost.
        token_step_s=parts["decode"] / token_steps / (1 - active_share * idle),
        slots=r["slots"],
        slots_share=slots_share,
        active_share=active_share,
        prefill_pass_s=parts["prefill"] / passes if passes else 0.0,
        released_token_s=of_released / released if released else 0.0,
    )
    return workload, schedule, cost, measured


def schedule_of(rollout: dict[str, Any]) -> Schedule:
    """How a run ran Algorithm 1.

    Args:
      rollout: the section of its config.json; older runs have not all of its keys.
    """
    latency = rollout["refill_latency"] if rollout.get("refill", STEP) == CONTINUOUS else None
    whole = rollout["output_limit"] if latency is None else 0  # older runs stopped for the contexts of refilled slots
    shape = rollout.get("prefill_chunk", whole), rollout.get("prefill_rows", 1)
    return Schedule(rollout["segments"], rollout["slots"], latency, *shape)


def _steady(rows: Sequence[dict[str, Any]], segments: int) -> list[dict[str, float]]:
    """Rows of steps after the first M in which nothing was compiled, with the tokens "released" and the sum of
    "lengths" of what finished."""
    steps = [row for row in rows if "rollout/finished" in row]
    updates, programs, steady = 0.0, [], []
    for row in steps:
        updates = row.get("train/compiles", updates)  # a step without an update does not say
        programs.append(updates + row["rollout/compiles"] + row.get("trace/compiles", 0.0))  # older runs have none
    for (before, row), (known, compiled) in zip(itertools.pairwise(steps), itertools.pairwise(programs), strict=True):
        released = sum(row[f"ledger/{name}"] - before[f"ledger/{name}"] for name in _SETTLED)
        lengths = row["rollout/finished"] * row.get("rollout/len_mean", 0.0)
        if known == compiled and row["step"] > segments:
            steady.append(row | {"released": released, "lengths": lengths})
    return steady


def _assumptions(s: PlanSettings, workload: Workload, own: Schedule, cost: Cost, source: str) -> list[str]:
    w, limit = workload, workload.output_limit
    mean, p80 = w.lengths.mean() / limit, np.percentile(w.lengths, 80) / limit
    constant = 1 - cost.slots_share - cost.active_share
    return [
        f"L = {limit:,} tokens, G = {w.samples_per_prompt}, prompts of {w.prompts.mean():.0f} tokens, "
        f"kv = {RECOMPUTE if w.recompute else KEEP}.",
        f"Lengths: {source}. Mean {mean:.3f} L, 80% within {p80:.3f} L, {np.mean(w.lengths >= limit):.1%} reach L. "
        f"They depend neither on each other nor on M, slots and policy.",
        f"A token step takes {1e3 * cost.token_step_s:.3g} ms with {cost.slots:,} slots, all active: {constant:.0%} "
        f"constant, {cost.slots_share:.0%} with the slots, {cost.active_share:.0%} with the active ones.",
        f"Beside it: {1e3 * cost.prefill_pass_s:.3g} ms per pass of prefill ({own.prefill_rows} contexts, "
        f"{own.prefill_chunk} tokens of each), {1e6 * cost.released_token_s:.3g} us per token released, "
        f"{cost.step_s:.3g} s per step.",
        f"Each row is the mean of {s.steps} simulated steps after {warm_up(1)} M others; there is always a next "
        f"prompt, and memory for every slot.",
    ]


def _of_the_run(rollout: dict[str, Any], measured: dict[str, float]) -> list[str]:
    """What is to be known of a run whose figures a plan is made from."""
    notes, pages = [], rollout.get("pages", {})  # older runs have no such key
    if pages.get("count"):
        notes.append(
            f"The run's slots shared {pages['count']:,} pages of {pages['size']} tokens, of which up to "
            f"{measured['pages_peak']:.0%} were in use; {measured['evicted']:.3g} samples per step had to leave. The "
            f"simulation knows no pages: it stands for a pool that is large enough for the slots it is asked about."
        )
    if rollout["kv"] == KEEP or (rollout["segments"] == 1 and rollout.get("refill", STEP) == STEP):
        notes.append(
            "The run prefilled prompts only: passes that begin a context tell less of what later ones cost, and the "
            "seconds of prefilling samples again may be too high."
        )
    return notes
