"""The update of a step: for the groups that the loop has just released, or those that another run recorded."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from ulorl_jax.batches import count_tokens, deal, pack_groups, samples_of
from ulorl_jax.clock import Clock
from ulorl_jax.ops.packing import balance, fill_ratio
from ulorl_jax.processes import put
from ulorl_jax.train.state import refuse_endless_skips
from ulorl_jax.train.step import batch_shardings
from ulorl_jax.trainer import Trainer
from ulorl_jax.types import Group, TrainState


@dataclasses.dataclass(frozen=True, eq=False)
class Updated:
    """What an update leaves behind.

    Attributes:
      state: the new one.
      values: metrics of the step; means over its updates by their tokens.
      masked: by prompt id, the share of its update's tokens that DMMPT left out of the loss.
      trained: tokens of the updates that were applied.
      skipped: tokens of those that were not finite.
    """

    state: TrainState
    values: dict[str, float]
    masked: dict[int, float]
    trained: int
    skipped: int


def update(trainer: Trainer, state: TrainState, groups: list[Group], clock: Clock) -> Updated:
    """Advantages, packing, and one update, or `updates_per_step` of them.

    Args:
      trainer: from `trainer.make_trainer`.
      state: is given away.
      groups: at least one, informative.
      clock: counts the phases "pack" and "update".

    Returns:
      The new state and what there is to tell.

    Raises:
      FloatingPointError: too many updates in a row were not finite.
    """
    s, values, updates = trainer.settings, {"train/updates": 0.0}, []
    with clock.phase("pack"):
        shares = deal(groups, s.train.updates_per_step)
        batches = [pack_groups(share, s) for share in shares]
        for name, measure in (("pack/fill", fill_ratio), ("pack/balance", balance)):
            values[name] = float(np.mean([measure(batch) for batch in batches]))
        batches = [put(batch, batch_shardings(trainer.training)) for batch in batches]
    with clock.phase("update"):
        scores = [trainer.score(state.params, batch) if trainer.score else None for batch in batches]
        tokens = [count_tokens(samples_of(share)) for share in shares]
        trained = skipped = 0
        for batch, first, count in zip(batches, scores, tokens, strict=True):
            state, metrics = trainer.train_step(state, batch, first)
            updates.append({name: float(value) for name, value in jax.device_get(metrics).items()})
            if updates[-1]["train/skipped"]:
                skipped += count
                refuse_endless_skips(state, s.train.max_skipped_in_a_row, "optimizer")
            else:
                trained += count
                values["train/updates"] += 1
        values |= {name: float(np.average([u[name] for u in updates], weights=tokens)) for name in updates[0]}
        # Only the first update meets the very weights that sampled: there the gap is the sampler's.
        values |= {name: updates[0][name] for name in ("mismatch/kl", "mismatch/max")}
        values["train/skipped"] = sum(update["train/skipped"] for update in updates)
    values["train/compiles"] = float(trainer.train_step._cache_size())  # pyright: ignore[reportFunctionMemberAccess]
    masked = {
        group.prompt_id: update["dmmpt/masked_frac"]
        for share, update in zip(shares, updates, strict=True)
        for group in share
        if "dmmpt/masked_frac" in update  # an objective of one's own need not have it
    }
    return Updated(state, values, masked, trained, skipped)
