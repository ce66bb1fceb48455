"""io.recorded_groups: what a replay reads is what was trained on, bit for bit."""

import numpy as np
import pytest

from tests.io.test_samples import facts, make_samples
from ulorl_jax.io.recorded_groups import read_groups, write_groups
from ulorl_jax.io.step_files import GROUPS
from ulorl_jax.types import Group


def make_groups(sizes, seed=0):
    rng = np.random.default_rng(seed)
    samples = make_samples(rng, len(sizes), max(sizes))
    members = [samples[max(sizes) * i :][:size] for i, size in enumerate(sizes)]
    return [Group(each[0].prompt.id, tuple(each), rng.integers(0, 2, len(each)).astype(np.float32)) for each in members]


def test_groups_come_back_in_their_order_bit_for_bit_with_their_rewards(tmp_path):
    groups = make_groups([4, 3, 4])[::-1]  # of one group a sample could not be judged
    assert write_groups(tmp_path, 12, groups) == tmp_path / "groups" / "step_000012.npz"
    read = read_groups(tmp_path, 12)
    assert [group.prompt_id for group in read] == [1002, 1001, 1000]
    for one, two in zip(read, groups, strict=True):
        assert [facts(sample) for sample in one.samples] == [facts(sample) for sample in two.samples]
        assert one.rewards.tobytes() == two.rewards.tobytes() and one.rewards.dtype == np.float32
    before = (tmp_path / "groups" / "step_000012.npz").read_bytes()
    assert write_groups(tmp_path, 12, read).read_bytes() == before


def test_only_the_steps_that_are_kept_stay_beside_the_one_written(tmp_path):
    for step in (3, 5, 7):
        write_groups(tmp_path, step, make_groups([2]), keep=[3, 5, 7, 9])
    assert GROUPS.steps(tmp_path) == [3, 5, 7]
    write_groups(tmp_path, 9, make_groups([2]), keep=[5, 6])
    assert GROUPS.steps(tmp_path) == [5, 9] and GROUPS.steps(tmp_path / "another") == []


def test_a_damaged_file_is_refused_by_its_name(tmp_path):
    path = write_groups(tmp_path, 3, make_groups([2]))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="step_000003.npz holds no groups of a step .*; take another step or copy it"):
        read_groups(tmp_path, 3)
