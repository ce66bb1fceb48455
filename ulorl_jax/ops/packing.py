"""Samples of ragged length -> one Batch of static shape: the only door from host to device.

NumPy only. There are as few micro-batches as first-fit-decreasing needs, and the rows that run side by side in one
weigh alike (`balanced_rows`). Row length and micro-batch count come from short lists, so that a run compiles its train
step a handful of times.
"""

from collections.abc import Sequence

import numpy as np

from ulorl_jax.types import Batch, Sample


def pack(
    samples: Sequence[Sample],
    advantages: np.ndarray,
    rewards: np.ndarray,
    *,
    lengths: Sequence[int],
    rows_per_micro_batch: int,
) -> Batch:
    """Lays samples out in rows; each is whole, in one row, with its prompt before it.

    The row length T is the smallest of `lengths` that holds the longest sample. The
    number of micro-batches A is padded to a power of two; `num_micro_batches` says
    how many are real, and the train step runs no others.

    Args:
      samples: finished samples with at least one token each; at least one sample.
      advantages: `[len(samples)]` f32.
      rewards: `[len(samples)]` f32.
      lengths: the allowed row lengths in tokens.
      rows_per_micro_batch: B.

    Returns:
      A `Batch` of NumPy arrays, `[A, B, T]`.

    Raises:
      ValueError: no samples, a sample longer than every row or without a prompt (its
        first token would have no predictor), lengths that differ, or no rows.

    Example:
      >>> import numpy as np
      >>> from ulorl_jax.types import EOS, Prompt, Sample, Segment
      >>> def sample(n):
      ...     segment = Segment(np.arange(n), np.zeros(n, np.float32), 0, "prefill")
      ...     return Sample(n, Prompt(n, np.array([9]), "")).append(segment, EOS)
      >>> samples, ones = [sample(2), sample(4), sample(1)], np.ones(3)
      >>> batch = pack(samples, ones, ones, lengths=[5, 9], rows_per_micro_batch=2)
      >>> batch.sample_ids.tolist(), float(batch.num_tokens)
      ([[[1, 1, 1, 1, 1], [1, 1, 1, 2, 2]]], 7.0)
      >>> batch.mask[0, 1].tolist()
      [False, True, True, False, True]
    """
    if not samples:
        raise ValueError("nothing to pack: the list of samples is empty")
    if not len(samples) == len(advantages) == len(rewards):
        raise ValueError(
            f"want one advantage and one reward per sample, got {len(samples)} samples, "
            f"{len(advantages)} advantages and {len(rewards)} rewards"
        )
    if rows_per_micro_batch < 1 or not lengths:
        raise ValueError(f"want at least one row and one row length, got {rows_per_micro_batch} rows of {lengths}")
    for sample in samples:
        if not len(sample.prompt.tokens):
            raise ValueError(f"sample {sample.id} has an empty prompt; give it at least one token, such as BOS")
    contexts = [sample.context for sample in samples]
    sizes = np.array([len(context) for context in contexts])
    row_length = _bucket(sizes, samples, lengths)
    rows = balanced_rows(sizes, row_length, rows_per_micro_batch)
    real = -(-len(rows) // rows_per_micro_batch)
    shape = (1 << (real - 1).bit_length(), rows_per_micro_batch, row_length)
    flat = (shape[0] * shape[1], row_length)
    tokens, positions, sample_ids, policy_step = (np.zeros(flat, np.int32) for _ in range(4))
    rollout_logp, advantage, reward = (np.zeros(flat, np.float32) for _ in range(3))
    mask = np.zeros(flat, bool)
    for r, members in enumerate(rows):
        start = 0
        for number, index in enumerate(members, start=1):
            sample, size = samples[index], sizes[index]
            whole = slice(start, start + size)
            response = slice(start + size - sample.num_tokens, start + size)
            tokens[r, whole] = contexts[index]
            positions[r, whole] = np.arange(size)
            sample_ids[r, whole] = number
            mask[r, response] = True
            rollout_logp[r, response] = sample.logp
            policy_step[r, response] = sample.policy_steps
            advantage[r, response] = advantages[index]
            reward[r, response] = rewards[index]
            start += size
    return Batch(
        tokens=tokens.reshape(shape),
        positions=positions.reshape(shape),
        sample_ids=sample_ids.reshape(shape),
        mask=mask.reshape(shape),
        rollout_logp=rollout_logp.reshape(shape),
        policy_step=policy_step.reshape(shape),
        advantage=advantage.reshape(shape),
        reward=reward.reshape(shape),
        num_tokens=np.float32(mask.sum()),
        num_micro_batches=np.int32(real),
    )


def first_fit_decreasing(sizes: np.ndarray, capacity: int) -> list[list[int]]:
    """Bins of indices: longest first, each into the first bin with room.

    At most 11/9 of the optimal number of bins, plus one.

    Args:
      sizes: `[N]` int, each <= capacity.
      capacity: of one bin.

    Returns:
      For each bin the indices it holds, in the order they were placed.

    Example:
      >>> import numpy as np
      >>> first_fit_decreasing(np.array([3, 6, 4, 7]), 10)
      [[3, 0], [1, 2]]
    """
    bins: list[list[int]] = []
    room = np.zeros(len(sizes), np.int64)  # of bin i; beyond len(bins) nothing is open
    for index in np.argsort(-np.asarray(sizes), kind="stable"):
        fits = np.flatnonzero(room[: len(bins)] >= sizes[index])
        if fits.size:
            chosen = int(fits[0])
        else:
            chosen = len(bins)
            bins.append([])
            room[chosen] = capacity
        bins[chosen].append(int(index))
        room[chosen] -= sizes[index]
    return bins


def balanced_rows(sizes: np.ndarray, capacity: int, side_by_side: int) -> list[list[int]]:
    """Rows that take about as long as those beside them.

    A row costs the sum of its samples' squared lengths, what attention costs; all else costs every row the same. A
    micro-batch lasts as long as its heaviest row. Samples are dealt out, longest first, each to the lightest row with
    room: over all rows of all the micro-batches that `first_fit_decreasing` needs, or, where one then finds no room,
    over the rows of each micro-batch by itself. What was no gain is left as it was.

    Args:
      sizes: `[N]` int, each <= capacity.
      capacity: tokens of a row.
      side_by_side: rows of a micro-batch.

    Returns:
      For each row the indices it holds, the heaviest row first; its last micro-batch may have empty ones.

    Example:
      >>> import numpy as np
      >>> sizes = np.array([4, 4, 3, 3, 2, 2])
      >>> balanced_rows(sizes, 10, 2), first_fit_decreasing(sizes, 10)
      ([[0, 2, 4], [1, 3, 5]], [[0, 1, 4], [2, 3, 5]])
    """
    sizes = np.asarray(sizes, np.int64)

    def heaviest_first(rows: list[list[int]]) -> tuple[int, list[list[int]]]:
        costs = np.array([np.sum(sizes[members] ** 2) for members in rows])
        order = np.argsort(-costs, kind="stable")
        return int(costs[order][::side_by_side].sum()), [rows[i] for i in order]

    tight = heaviest_first(first_fit_decreasing(sizes, capacity))
    micro_batches = [tight[1][i : i + side_by_side] for i in range(0, len(tight[1]), side_by_side)]
    whole = _deal(tight[1], len(micro_batches) * side_by_side, sizes, capacity)
    each = [row for rows in micro_batches for row in _deal(rows, side_by_side, sizes, capacity) or rows]
    found = [tight, heaviest_first(each), *([heaviest_first(whole)] if whole else [])]
    return min(found, key=lambda one: one[0])[1]


def _deal(rows, count, sizes, capacity):
    """What the rows hold, over `count` of them: longest first, each to the lightest with room. None: there was none."""
    members = np.sort(np.concatenate([np.asarray(row, np.int64) for row in rows]))
    dealt: list[list[int]] = [[] for _ in range(count)]
    room, cost = np.full(count, capacity), np.zeros(count)
    for index in members[np.argsort(-sizes[members], kind="stable")]:
        chosen = int(np.argmin(np.where(room >= sizes[index], cost, np.inf)))
        if room[chosen] < sizes[index]:
            return None
        dealt[chosen].append(int(index))
        room[chosen] -= sizes[index]
        cost[chosen] += sizes[index] ** 2
    return dealt


def balance(batch: Batch) -> float:
    """Attention's cost of the mean row over that of the heaviest beside it, in (0, 1]; the rest is waiting.

    Args:
      batch: from `pack`.

    Returns:
      Scores of all samples over what they would be if every row were as heavy as its micro-batch's heaviest.

    Example:
      >>> import numpy as np
      >>> from ulorl_jax.types import EOS, Prompt, Sample, Segment
      >>> segment = Segment(np.arange(2), np.zeros(2, np.float32), 0, "prefill")
      >>> sample = Sample(0, Prompt(0, np.array([9]), "")).append(segment, EOS)
      >>> balance(pack([sample], np.ones(1), np.ones(1), lengths=[4], rows_per_micro_batch=2))
      0.5
    """
    real = slice(int(batch.num_micro_batches))
    seen = np.where(np.asarray(batch.sample_ids[real]) > 0, np.asarray(batch.positions[real], np.int64) + 1, 0)
    costs = seen.sum(axis=-1)
    return float(costs.sum() / (costs.max(axis=-1).sum() * costs.shape[1]))


def fill_ratio(batch: Batch) -> float:
    """Share of the real micro-batches' tokens that belong to a sample, in (0, 1].

    Args:
      batch: from `pack`.

    Returns:
      Tokens with a sample over tokens computed; the rest is padding, paid for.

    Example:
      >>> import numpy as np
      >>> from ulorl_jax.types import EOS, Prompt, Sample, Segment
      >>> segment = Segment(np.arange(2), np.zeros(2, np.float32), 0, "prefill")
      >>> sample = Sample(0, Prompt(0, np.array([9]), "")).append(segment, EOS)
      >>> fill_ratio(pack([sample], np.ones(1), np.ones(1), lengths=[4], rows_per_micro_batch=1))
      0.75
    """
    return float(np.mean(np.asarray(batch.sample_ids[: int(batch.num_micro_batches)]) > 0))


def _bucket(sizes, samples, lengths):
    longest = int(np.argmax(sizes))
    for length in sorted(lengths):
        if length >= sizes[longest]:
            return length
    raise ValueError(
        f"sample {samples[longest].id} has {sizes[longest]} tokens with its prompt, more than the longest row of "
        f"{max(lengths)}; add a row length of at least {sizes[longest]}"
    )
