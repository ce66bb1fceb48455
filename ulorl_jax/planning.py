"""Which M and how many slots: Algorithm 1 simulated token step by token step, without a model, and priced.

`simulate` counts what `rollout.segments` would do with outputs of given lengths; `describe` turns the counts into
seconds. So one simulation serves every cost. Assumed: lengths are independent of each other and of M, slots and
policy; there is always a next prompt; nothing runs out of memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ulorl_jax.costs import Cost
from ulorl_jax.rollout.lanes import MANY_WAIT, count_passes
from ulorl_jax.rollout.pages import Tokens

Draw = Callable[[int], tuple[np.ndarray, np.ndarray]]  # so many samples: tokens of their outputs, of their prompts


@dataclasses.dataclass(frozen=True)
class Schedule:
    """One way to run Algorithm 1.

    Attributes:
      segments: M; a step decodes at most S = ceil(L / M) tokens of a sample.
      slots: C.
      refill_latency: decode steps that a slot freed within a segment may stay empty; None refills at the next step.
      prefill_chunk: tokens of a context that one pass computes, before a segment or, when a slot is refilled within it,
        beside the others' tokens of a decode step; 0: contexts take no passes.
      prefill_rows: contexts of which it does so before a segment, and beside where many slots wait.
    """

    segments: int
    slots: int
    refill_latency: int | None = None
    prefill_chunk: int = 0
    prefill_rows: int = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Workload:
    """What is decoded, whatever the schedule.

    Attributes:
      lengths: `[n]`, tokens of outputs; a sample is one of them, drawn evenly.
      prompts: `[n]`, tokens of their prompts.
      output_limit: L.
      samples_per_prompt: G.
      recompute: prefill unfinished samples again at every step (`rollout.kv`), or at every so many (`recompute_every`).
    """

    lengths: np.ndarray
    prompts: np.ndarray
    output_limit: int
    samples_per_prompt: int
    recompute: bool
    recompute_every: int = 1

    def draw(self, seed: int) -> Draw:
        """What `simulate` takes its samples from."""
        rng = np.random.default_rng(seed)

        def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
            which = rng.integers(len(self.lengths), size=count)
            return self.lengths[which], self.prompts[which]

        return draw


@dataclasses.dataclass(frozen=True, eq=False)
class Counts:
    """What happened at each of N simulated steps; all arrays but the last are `[N]`, whole numbers.

    Attributes:
      token_steps: decode steps run.
      tokens: drawn.
      new: tokens of new prompts prefilled, all but the last of each; samples of a group that are placed together when
        the step begins share them.
      carried: the same of the samples that go on from the step before, prompts and outputs: the `recompute` prefill.
      passes: that compute contexts while nobody decodes, were those that go on from the step before kept.
      passes_again: by how many there are more when these are computed too.
      finished: samples.
      released: tokens of the groups that became complete.
      age: of these tokens, steps between being drawn and being released, added up.
      order: `[n]`, ids of the finished samples, in the order of their ends.
    """

    token_steps: np.ndarray
    tokens: np.ndarray
    new: np.ndarray
    carried: np.ndarray
    passes: np.ndarray
    passes_again: np.ndarray
    finished: np.ndarray
    released: np.ndarray
    age: np.ndarray
    order: np.ndarray


def simulate(schedule: Schedule, draw: Draw, output_limit: int, samples_per_prompt: int, steps: int) -> Counts:
    """Algorithm 1 from its first step on, as `SegmentRollout` runs it.

    Args:
      schedule: M, slots, refill.
      draw: the next samples, in their order.
      output_limit: L; longer ones are cut.
      samples_per_prompt: G.
      steps: N.

    Returns:
      The counts.
    """
    s, size = schedule, -(-output_limit // schedule.segments)
    # Of the sample in each slot: its id, its prompt's tokens, tokens to come, drawn, and the steps of these added up;
    # chunks of its context to come, and since when it waits for them.
    ids, prompts, left, done, drawn_at, chunks, turns = (np.zeros(s.slots, np.int64) for _ in range(7))
    token_steps, tokens, new, carried, passes, again = (np.zeros(steps, np.int64) for _ in range(6))
    ended: list[np.ndarray] = []  # [4, k]: id, step, tokens, the sum
    queue: list[tuple[int, int]] = []  # length and prompt of samples that were drawn and wait for a slot
    started = 0
    for step in range(steps):
        at = busy = 0
        outworn = np.where(left > 0, _chunks(prompts + done, s), 0)
        carried[step] = (prompts + done - 1)[left > 0].sum()
        while True:
            free = np.flatnonzero(left == 0)
            queue += zip(*draw(max(len(free) - len(queue), 0)), strict=True)
            # Contexts are computed together, before anybody decodes, or beside the others' tokens if these are enough.
            together = not at or 2 * len(free) >= s.slots
            needed = [0 if together else _chunks(prompt, s) for _, prompt in queue[: len(free)]]
            computed = (at if together else max(busy, at)) + np.cumsum(needed, dtype=np.int64)
            placed = free[: np.count_nonzero(computed < size)]  # the others would draw nothing in this segment
            taken, queue = queue[: len(placed)], queue[len(placed) :]
            ids[placed] = numbers = np.arange(started, started + len(placed))
            started += len(placed)
            lengths, prompts[placed] = np.array(taken, np.int64).reshape(-1, 2).T
            left[placed], done[placed], drawn_at[placed] = np.minimum(lengths, output_limit), 0, 0
            if together:
                first_of_group = placed[np.unique(numbers // samples_per_prompt, return_index=True)[1]]
                new[step] += (prompts[first_of_group] - 1).sum()
                turns[slice(None) if not at else placed] = at
                chunks[first_of_group] = _chunks(prompts[first_of_group], s)
                more = count_passes(chunks[np.argsort(turns, kind="stable")], s.prefill_rows)
                passes[step] += more
                if not at:
                    again[step] = count_passes(chunks + outworn, s.prefill_rows) - more
                chunks[:], busy = 0, at
            else:
                busy = int(computed[len(placed) - 1]) if len(placed) else busy
                chunks[placed], turns[placed] = needed[: len(placed)], at
                new[step] += (prompts[placed] - 1).sum()
            held, stop = left > 0, size
            if not held.any():
                break
            while at < stop and (left > 0).any():
                filling = np.flatnonzero(chunks)
                ready = (left > 0) & (chunks == 0)
                # A call returns a while after the first slot has become free: samples that end together share it.
                if s.refill_latency is not None and ready.any():
                    stop = min(stop, at + int(left[ready].min()) + s.refill_latency)
                if len(filling):
                    rows = s.prefill_rows if len(filling) * MANY_WAIT > s.slots else 1
                    chunks[filling[np.argsort(turns[filling], kind="stable")[:rows]]] -= 1
                piece = np.minimum(left * ready, 1 if len(filling) else stop - at)
                left -= piece
                done += piece
                drawn_at += piece * step
                tokens[step] += piece.sum()
                at += 1 if len(filling) else int(piece.max())
            gone = held & (left == 0)
            ended.append(np.stack([ids[gone], np.full(gone.sum(), step), done[gone], drawn_at[gone]]))
            if s.refill_latency is None or at >= size:
                break
        token_steps[step] = at
    id, when, length, moment = np.concatenate(ended, axis=1)
    group = id // samples_per_prompt
    last = np.zeros(group.max(initial=-1) + 1, np.int64)
    np.maximum.at(last, group, when)
    complete = np.bincount(group)[group] == samples_per_prompt
    release = last[group]

    def by_step(at, values=None):
        return np.bincount(at, values, minlength=steps).astype(np.int64)

    released = by_step(release[complete], length[complete])
    age = by_step(release[complete], (release * length - moment)[complete])
    return Counts(token_steps, tokens, new, carried, passes, again, by_step(when), released, age, id)


def _chunks(contexts: Tokens, schedule: Schedule) -> Tokens:
    """Chunks of contexts; the last token of each is a decode step's own."""
    return -(-(contexts - 1) // schedule.prefill_chunk) if schedule.prefill_chunk else 0 * contexts


def describe(schedule: Schedule, counts: Counts, workload: Workload, cost: Cost, warm_up: int) -> dict[str, Any]:
    """One schedule in figures: means over the steps after the first `warm_up`.

    Args:
      schedule: what was simulated.
      counts: by `simulate`.
      workload: what was decoded.
      cost: seconds.
      warm_up: steps left out.

    Returns:
      The schedule; per step `step_s` and its parts, token steps, tokens drawn, prefilled (and in how many passes while
      nobody decodes) and trained ("trained" is released: with a group that carries no advantage too), samples finished;
      `idle_slots`, a share of slots times token steps; `reprefill_share` of the seconds; `reprefill_per_token` drawn;
      `age_steps`: steps between a trained token's drawing and its training.
    """
    mean = {
        field.name: float(getattr(counts, field.name)[warm_up:].mean())
        for field in dataclasses.fields(counts)
        if field.name != "order"
    }
    share = 1 / workload.recompute_every if workload.recompute else 0.0
    again, passes_again = share * mean["carried"], share * mean["passes_again"]
    seconds = {
        "decode_s": cost.decode_s(schedule.slots, mean["token_steps"], mean["tokens"]),
        "prefill_s": cost.prefill_pass_s * (mean["passes"] + passes_again),
        "released_s": cost.released_token_s * mean["released"],
        "rest_s": cost.step_s,
    }
    step_s = sum(seconds.values())
    released = max(mean["released"], 1e-9)
    return {
        "segments": schedule.segments,
        "slots": schedule.slots,
        "refill": "step" if schedule.refill_latency is None else "continuous",
        "step_s": step_s,
        "trained_tokens_per_s": mean["released"] / step_s if step_s else 0.0,
        "decode_s_per_1k_trained": 1e3 * seconds["decode_s"] / released,
        "idle_slots": 1 - mean["tokens"] / (mean["token_steps"] * schedule.slots),
        "reprefill_share": cost.prefill_pass_s * passes_again / step_s if step_s else 0.0,
        "reprefill_per_token": again / mean["tokens"],
        "age_steps": mean["age"] / released,
        "token_steps": mean["token_steps"],
        "tokens": mean["tokens"],
        "prefill_tokens": mean["new"] + again,
        "prefill_passes": mean["passes"] + passes_again,
        "finished": mean["finished"],
        "trained_tokens": mean["released"],
    } | seconds


def plan(
    workload: Workload, cost: Cost, schedules: list[Schedule], *, steps: int, seed: int = 0
) -> list[dict[str, Any]]:
    """Every schedule simulated to its steady state and priced.

    Args:
      workload: what is decoded.
      cost: seconds.
      schedules: what is tried.
      steps: counted, after `warm_up(M)` others.
      seed: of the lengths; the same for all.

    Returns:
      `describe`'s rows, in the schedules' order.
    """
    rows = []
    for schedule in schedules:
        first = warm_up(schedule.segments)
        draw, size = workload.draw(seed), workload.samples_per_prompt
        counts = simulate(schedule, draw, workload.output_limit, size, first + steps)
        rows.append(describe(schedule, counts, workload, cost, first))
    return rows


def warm_up(segments: int) -> int:
    """Steps until nothing is seen of all slots having begun together: eight times the longest sample's."""
    return 8 * segments
