"""ops.packing: ragged samples into rows of static shape, and nothing lost on the way."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulorl_jax.ops.packing import balance, balanced_rows, fill_ratio, first_fit_decreasing, pack
from ulorl_jax.types import EOS, LIMIT, Prompt, Sample, Segment

LENGTHS = (48, 16, 32)  # not in order, on purpose
PER_TOKEN = ("tokens", "positions", "sample_ids", "mask", "rollout_logp", "policy_step", "advantage", "reward")


def make_sample(number, prompt_length, segment_lengths, rng):
    """A sample of several segments, each drawn by a later policy."""
    sample = Sample(number, Prompt(number, rng.integers(1, 1000, prompt_length).astype(np.int32), ""))
    for i, n in enumerate(segment_lengths):
        tokens, logp = rng.integers(1, 1000, n).astype(np.int32), -rng.random(n).astype(np.float32)
        finished = (EOS, LIMIT)[number % 2] if i == len(segment_lengths) - 1 else ""
        sample = sample.append(Segment(tokens, logp, 4 * number + i, "prefill"), finished)
    return sample


def unpack(batch):
    """What each row holds, sample by sample: prompt + output, and the arrays of the output."""
    found = []
    rows = {name: np.asarray(getattr(batch, name)).reshape(-1, batch.tokens.shape[-1]) for name in PER_TOKEN}
    for r in range(len(rows["tokens"])):
        for number in range(1, rows["sample_ids"][r].max() + 1):
            where = np.flatnonzero(rows["sample_ids"][r] == number)
            assert np.array_equal(where, np.arange(where[0], where[-1] + 1)), "a sample is in one piece"
            found.append({name: rows[name][r, where] for name in PER_TOKEN})
    return found


shapes = st.lists(
    st.tuples(st.integers(1, 8), st.lists(st.integers(1, 8), min_size=1, max_size=4)), min_size=1, max_size=25
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(shapes, st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_unpacking_the_rows_gives_every_sample_back_whole(sample_shapes, rows_per_micro_batch, seed):
    rng = np.random.default_rng(seed)
    samples = [make_sample(i, p, segments, rng) for i, (p, segments) in enumerate(sample_shapes)]
    advantages, rewards = rng.normal(size=len(samples)).astype(np.float32), rng.random(len(samples)).astype(np.float32)
    batch = pack(samples, advantages, rewards, lengths=LENGTHS, rows_per_micro_batch=rows_per_micro_batch)

    unpacked = unpack(batch)
    assert len(unpacked) == len(samples)
    by_first_step = {int(row["policy_step"][row["mask"]][0]) // 4: row for row in unpacked}
    for i, sample in enumerate(samples):
        row, output = by_first_step[i], slice(len(sample.prompt.tokens), None)
        np.testing.assert_array_equal(row["tokens"], sample.context)
        np.testing.assert_array_equal(row["positions"], np.arange(len(sample.context)))
        np.testing.assert_array_equal(row["mask"], np.arange(len(sample.context)) >= output.start)
        np.testing.assert_array_equal(row["rollout_logp"][output], sample.logp)
        np.testing.assert_array_equal(row["policy_step"][output], sample.policy_steps)
        np.testing.assert_array_equal(row["advantage"][output], np.full(sample.num_tokens, advantages[i]))
        np.testing.assert_array_equal(row["reward"][output], np.full(sample.num_tokens, rewards[i]))

    # Nothing but the samples: every token once, the rest padding.
    assert np.count_nonzero(batch.sample_ids) == sum(len(sample.context) for sample in samples)
    assert not np.any(batch.tokens[batch.sample_ids == 0]) and not np.any(batch.mask[batch.sample_ids == 0])
    assert not np.any(batch.mask[..., 0])
    assert batch.num_tokens == batch.mask.sum() == sum(sample.num_tokens for sample in samples)
    assert batch.num_tokens.dtype == np.float32 and batch.num_micro_batches.dtype == np.int32

    # Static shapes: a power of two of micro-batches, the real ones first, the smallest row that fits.
    a, b, t = batch.tokens.shape
    real = int(batch.num_micro_batches)
    assert b == rows_per_micro_batch and a == 1 << (real - 1).bit_length()
    assert t == min(length for length in LENGTHS if length >= max(len(sample.context) for sample in samples))
    used = np.any(batch.sample_ids > 0, axis=(1, 2))
    np.testing.assert_array_equal(used, np.arange(a) < real)
    assert math.isclose(fill_ratio(batch), np.count_nonzero(batch.sample_ids) / (real * b * t))
    assert {getattr(batch, name).shape for name in PER_TOKEN} == {(a, b, t)}
    dtypes = {name: getattr(batch, name).dtype for name in PER_TOKEN}
    floats = {"rollout_logp", "advantage", "reward"}
    assert dtypes == {n: np.float32 if n in floats else bool if n == "mask" else np.int32 for n in PER_TOKEN}


@pytest.mark.parametrize("longest, row_length", [(15, 16), (16, 16), (17, 32), (33, 48), (48, 48)])
def test_the_row_length_is_the_smallest_that_holds_the_longest_sample(longest, row_length):
    rng = np.random.default_rng(0)
    samples = [make_sample(0, 2, [3], rng), make_sample(1, 5, [longest - 5], rng)]
    batch = pack(samples, np.ones(2), np.ones(2), lengths=LENGTHS, rows_per_micro_batch=1)
    assert batch.tokens.shape[-1] == row_length


@pytest.mark.parametrize("samples, real, padded", [(1, 1, 1), (2, 1, 1), (3, 2, 2), (5, 3, 4), (9, 5, 8), (16, 8, 8)])
def test_micro_batches_are_padded_to_a_power_of_two_and_the_real_ones_counted(samples, real, padded):
    rng = np.random.default_rng(0)
    full_rows = [make_sample(i, 1, [15], rng) for i in range(samples)]
    batch = pack(full_rows, np.ones(samples), np.ones(samples), lengths=[16], rows_per_micro_batch=2)
    assert (batch.tokens.shape, int(batch.num_micro_batches)) == ((padded, 2, 16), real)


def fewest_bins(sizes, capacity):
    """The optimum, by trying everything: for a handful of sizes."""

    def place(rest, bins):
        if not rest:
            return len(bins)
        options = [place(rest[1:], sorted([*bins, rest[0]]))]
        for i in range(len(bins)):
            if bins[i] + rest[0] <= capacity:
                options.append(place(rest[1:], sorted([*bins[:i], bins[i] + rest[0], *bins[i + 1 :]])))
        return min(options)

    return place(sorted(sizes, reverse=True), [])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.data())
def test_no_bin_overflows_no_index_is_lost_and_no_later_bin_was_needed_too_early(capacity, data):
    sizes = np.array(data.draw(st.lists(st.integers(1, capacity), min_size=1, max_size=40)))
    bins = first_fit_decreasing(sizes, capacity)
    assert sorted(index for members in bins for index in members) == list(range(len(sizes)))
    loads = np.array([sizes[members].sum() for members in bins])
    assert loads.max() <= capacity
    # First fit: whatever lies in a bin fits into no bin before it. So any two bins together are more than full,
    # which bounds their number by twice the volume, whatever the sizes.
    for later, members in enumerate(bins):
        assert all(sizes[members].min() > capacity - loads[earlier] for earlier in range(later))
    assert len(bins) >= -(-sizes.sum() // capacity)
    assert len(bins) == 1 or len(bins) * capacity < 2 * sizes.sum()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=7))
def test_bins_are_at_most_eleven_ninths_of_the_optimum_plus_one(sizes):
    assert len(first_fit_decreasing(np.array(sizes), 20)) <= 11 / 9 * fewest_bins(sizes, 20) + 1


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60))
def test_sizes_that_divide_one_another_waste_no_bin(exponents):
    # For such sizes first-fit-decreasing is known to be optimal, and the optimum is the volume.
    sizes = 2 ** np.array(exponents)
    assert len(first_fit_decreasing(sizes, 32)) == -(-sizes.sum() // 32)


def duration(rows, sizes, side_by_side):
    """Of attention: micro-batches one after the other, each as long as its heaviest row."""
    costs = [int((sizes[members] ** 2).sum()) for members in rows]
    return sum(max(costs[i : i + side_by_side]) for i in range(0, len(costs), side_by_side))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.integers(1, 6), st.data())
def test_balanced_rows_lose_nothing_and_never_take_longer_than_unbalanced_ones(capacity, side_by_side, data):
    sizes = np.array(data.draw(st.lists(st.integers(1, capacity), min_size=1, max_size=40)))
    rows, tight = balanced_rows(sizes, capacity, side_by_side), first_fit_decreasing(sizes, capacity)
    assert sorted(index for members in rows for index in members) == list(range(len(sizes)))
    assert max(sizes[members].sum() for members in rows) <= capacity
    assert -(-len(rows) // side_by_side) == -(-len(tight) // side_by_side)
    assert duration(rows, sizes, side_by_side) <= duration(tight, sizes, side_by_side)
    costs = [int((sizes[members] ** 2).sum()) for members in rows]
    assert costs == sorted(costs, reverse=True)


def test_of_outputs_with_a_long_tail_less_is_waited_for_the_heaviest_row():
    before = after = 0
    for seed in range(5):  # 128 outputs with a mean of 41k, cut off at 128k; 16 rows side by side
        sizes = np.minimum(np.random.default_rng(seed).lognormal(10.3, 0.9, 128), 131_072).astype(int) + 1
        assert 32_000 < sizes.mean() < 48_000
        before += duration(first_fit_decreasing(sizes, 147_456), sizes, 16)
        after += duration(balanced_rows(sizes, 147_456, 16), sizes, 16)
    assert after < 0.95 * before


def test_balance_is_the_mean_row_over_the_heaviest():
    rng = np.random.default_rng(0)
    samples = [make_sample(0, 2, [6], rng), make_sample(1, 1, [3], rng)]
    batch = pack(samples, np.ones(2), np.ones(2), lengths=[8], rows_per_micro_batch=2)
    # 8 tokens look at 8 * 9 / 2 = 36, 4 tokens at 10: a mean of 23.
    assert math.isclose(balance(batch), 23 / 36)


def test_the_same_samples_are_packed_the_same_way_every_time():
    sizes = np.array([5, 9, 5, 5, 9, 2])
    assert first_fit_decreasing(sizes, 10) == [[1], [4], [0, 2], [3, 5]]  # equal sizes in the order given


def test_the_batch_does_not_share_memory_with_its_samples():
    sample = make_sample(0, 2, [3], np.random.default_rng(0))
    batch = pack([sample], np.ones(1), np.ones(1), lengths=[16], rows_per_micro_batch=1)
    batch.tokens[...] = -1
    batch.rollout_logp[...] = 1.0
    assert np.all(sample.context > 0) and np.all(sample.logp <= 0.0)


def test_a_sample_too_long_for_every_row_is_named_with_its_length_and_the_row_it_needs():
    rng = np.random.default_rng(0)
    samples = [make_sample(0, 2, [3], rng), make_sample(41, 9, [20, 21], rng)]
    message = (
        "sample 41 has 50 tokens with its prompt, more than the longest row of 48; add a row length of at least 50"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        pack(samples, np.ones(2), np.ones(2), lengths=LENGTHS, rows_per_micro_batch=1)


def test_an_empty_list_of_samples_is_refused():
    with pytest.raises(ValueError, match="nothing to pack: the list of samples is empty"):
        pack([], np.ones(0), np.ones(0), lengths=LENGTHS, rows_per_micro_batch=1)


@pytest.mark.parametrize("advantages, rewards", [(1, 2), (2, 3)])
def test_one_advantage_and_one_reward_per_sample_are_wanted(advantages, rewards):
    samples = [make_sample(i, 2, [3], np.random.default_rng(0)) for i in range(2)]
    message = f"got 2 samples, {advantages} advantages and {rewards} rewards"
    with pytest.raises(ValueError, match=message):
        pack(samples, np.ones(advantages), np.ones(rewards), lengths=LENGTHS, rows_per_micro_batch=1)
