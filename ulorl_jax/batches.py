"""Released groups as batches of an update: advantages within each group, groups dealt whole, samples packed."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from ulorl_jax.ops.advantages import group_advantages
from ulorl_jax.ops.packing import pack
from ulorl_jax.settings import Settings
from ulorl_jax.types import Batch, Group, Sample

_group_advantages = jax.jit(group_advantages, static_argnames=("ddof", "eps"))


def deal(groups: list[Group], hands: int) -> list[list[Group]]:
    """Whole groups dealt into at most `hands` shares, none empty."""
    return [groups[i::hands] for i in range(min(hands, len(groups)))]


def pack_groups(groups: Sequence[Group], settings: Settings) -> Batch:
    """The samples of groups with their advantages, side by side in rows.

    Args:
      groups: at least one.
      settings: the run's; its rows are those of its devices (`settings.on_devices`).

    Returns:
      A batch on the host.
    """
    return pack(
        samples_of(groups),
        advantages_of(groups, settings),
        np.concatenate([group.rewards for group in groups]),
        lengths=settings.train.row_lengths,
        rows_per_micro_batch=settings.train.rows_per_micro_batch,
    )


def advantages_of(groups: Sequence[Group], settings: Settings) -> np.ndarray:
    """The advantage of every sample of the groups, in their order.

    Args:
      groups: at least one.
      settings: the run's.

    Returns:
      `[samples]` f32.
    """
    rewards = np.concatenate([group.rewards for group in groups])
    ids = np.concatenate([np.full(len(group.samples), index) for index, group in enumerate(groups)])
    # Padded with groups of their own to as many as there are slots, or every new number of samples would compile.
    size = 1 << (max(len(rewards), settings.rollout.slots) - 1).bit_length()
    padding = np.arange(len(rewards), size, dtype=np.int32)
    advantages = _group_advantages(
        np.append(rewards, np.zeros(len(padding), np.float32)),
        np.append(ids, padding).astype(np.int32),
        ddof=settings.loss.advantage_ddof,
        eps=settings.loss.advantage_eps,
    )
    return np.asarray(advantages)[: len(rewards)]


def samples_of(groups: Sequence[Group]) -> list[Sample]:
    """All samples of the groups, in their order."""
    return [sample for group in groups for sample in group.samples]


def count_tokens(samples: Sequence[Sample]) -> int:
    """Tokens that the policy drew."""
    return sum(sample.num_tokens for sample in samples)
