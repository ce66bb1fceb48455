"""What a step has to show: whole groups that it released, and what its weights made of their tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ulorl_jax.batches import advantages_of, samples_of
from ulorl_jax.io.traces import ERROR, TRAINED, UNINFORMATIVE, TracedSample
from ulorl_jax.ops.packing import pack
from ulorl_jax.parts import Parts
from ulorl_jax.processes import put, to_host
from ulorl_jax.rollout.pools import Released
from ulorl_jax.sections import LossSettings
from ulorl_jax.settings import Settings
from ulorl_jax.train.step import PER_TOKEN, batch_shardings


def look(parts: Parts, params: Any, released: Released) -> list[TracedSample]:
    """The samples to show, with the log-probs and entropies of their tokens. All processes call it.

    Args:
      parts: the run's.
      params: the weights that the step's first update starts from.
      released: the step's groups.

    Returns:
      The samples of the first groups released, whole groups, at least `traces_per_step` of them where there are so
      many. Nothing where the run writes no traces.
    """
    s, score = parts.settings, parts.score_tokens
    if score is None:
        return []
    chosen = choose(released, s)
    places = [place for place, traced in enumerate(chosen) if traced.use != ERROR]
    if not places:
        return chosen
    samples = [chosen[place].sample for place in places]
    batch = pack(
        samples,
        np.arange(len(samples)),  # as advantages: each token then says whose it is
        np.zeros(len(samples)),
        lengths=s.train.row_lengths,
        rows_per_micro_batch=s.train.rows_per_micro_batch,
    )
    shardings = batch_shardings(parts.training)
    for index in range(int(batch.num_micro_batches)):  # one by one, so that only the length of rows can compile anew
        rows = {name: getattr(batch, name)[index : index + 1] for name in PER_TOKEN}
        logp, entropy = to_host(score(params, put(dataclasses.replace(batch, **rows), shardings)))
        whose = np.where(rows["mask"][0], rows["advantage"][0], -1)
        for number in np.unique(whose[whose >= 0]).astype(int):
            own, place = whose == number, places[number]
            chosen[place] = dataclasses.replace(chosen[place], policy_logp=logp[own], entropy=entropy[own])
    return [_with_mastered(traced, s.loss.tau) for traced in chosen]


def choose(released: Released, settings: Settings) -> list[TracedSample]:
    """The first groups, lowest prompt id first, until there are `traces_per_step` samples."""
    trained = released.informative
    worth = advantages_of(trained, settings) if trained else []
    advantages = {sample.id: float(value) for sample, value in zip(samples_of(trained), worth, strict=True)}
    kinds = (
        (TRAINED, samples_of(trained)),
        (UNINFORMATIVE, samples_of(released.uninformative)),
        (ERROR, released.errors),
    )
    use = {sample: kind for kind, samples in kinds for sample in samples}
    chosen: list[TracedSample] = []
    for sample in sorted(use, key=lambda sample: sample.id):  # an id is its group's times G, and more
        group = sample.prompt.id
        if len(chosen) >= settings.traces_per_step and group != chosen[-1].group:
            break
        verdict = released.verdicts[sample.id]
        chosen.append(TracedSample(sample, verdict, group, use[sample], advantages.get(sample.id)))
    return chosen


def tell_masked(traced: TracedSample, masked: Mapping[int, float], loss: LossSettings) -> TracedSample:
    """A sample with what DMMPT's gate did to it.

    Args:
      traced: from `look`.
      masked: of the step's update, see `update.Updated`.
      loss: the run's. With several updates per step and gate="sample", a later one may see other entropies than `look`.
    """
    if not len(traced.mastered) or traced.entropy is None or not masked.get(traced.group):
        return traced
    low = loss.gate == "batch" or float(np.mean(traced.entropy)) < loss.sigma
    return dataclasses.replace(traced, masked=low)


def programs(parts: Parts) -> int:
    """Compiled for `look` so far."""
    score: Any = parts.score_tokens
    return score._cache_size() if score else 0


def _with_mastered(traced: TracedSample, tau: float) -> TracedSample:
    if traced.use != TRAINED or not traced.verdict or not traced.verdict.reward:
        return traced
    assert traced.policy_logp is not None
    return dataclasses.replace(traced, mastered=np.flatnonzero(traced.policy_logp >= np.log(np.float32(tau))))
