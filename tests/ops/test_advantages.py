"""Equation (4) against a plain loop over groups and against an independent implementation."""

import json
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulorl_jax.ops.advantages import group_advantages, informative_groups

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "advantages_and_loss.json").read_text())["cases"]
N = 12


def by_loops(reward, group_id, ddof, eps):
    out = np.zeros(len(reward))
    for g in set(group_id.tolist()):
        members = np.flatnonzero(group_id == g)
        if len(members) > 1:
            values = reward[members].astype(np.float64)
            out[members] = (values - values.mean()) / (values.std(ddof=ddof) + eps)
    return out


@pytest.mark.parametrize("name", GOLDEN)
def test_advantages_agree_with_verl(name):
    case = GOLDEN[name]
    got = group_advantages(jnp.array(case["reward"]), jnp.array(case["group_id"]))
    np.testing.assert_allclose(got, case["advantage"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("ddof", [0, 1])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from([0.0, 1.0]), min_size=N, max_size=N),
    st.lists(st.sampled_from([-7, 0, 3, 1000, 2**31 - 1]), min_size=N, max_size=N),
)
def test_advantages_equal_a_loop_over_groups_whatever_their_ids_order_and_sizes(ddof, rewards, ids):
    reward, group_id = np.array(rewards, np.float32), np.array(ids, np.int32)
    got = np.asarray(group_advantages(reward, group_id, ddof=ddof, eps=1e-6))
    np.testing.assert_allclose(got, by_loops(reward, group_id, ddof, 1e-6), atol=1e-5)
    for g in set(ids):
        members = group_id == g
        assert abs(got[members].sum()) < 1e-5
        if len(set(reward[members].tolist())) == 1:  # also every group of one
            assert not np.any(got[members])


def test_real_valued_rewards_and_another_eps():
    rng = np.random.default_rng(0)
    reward, group_id = rng.normal(size=N).astype(np.float32), rng.integers(0, 3, N).astype(np.int32)
    for eps in (1e-6, 0.5):
        got = group_advantages(reward, group_id, eps=eps)
        np.testing.assert_allclose(got, by_loops(reward, group_id, 1, eps), atol=1e-5)


def test_by_hand_with_both_divisors():
    reward, one_group = jnp.array([1.0, 1.0, 1.0, 0.0]), jnp.zeros(4, int)
    # mean 3/4; sum of squares 3/4, so std is sqrt(1/4) with n - 1 = 3 and sqrt(3/16) with n = 4
    np.testing.assert_allclose(group_advantages(reward, one_group, eps=0.0), [0.5, 0.5, 0.5, -1.5], rtol=1e-6)
    want = np.array([0.25, 0.25, 0.25, -0.75]) / np.sqrt(3 / 16)
    np.testing.assert_allclose(group_advantages(reward, one_group, ddof=0, eps=0.0), want, rtol=1e-6)


@pytest.mark.parametrize("function", [group_advantages, informative_groups])
def test_the_same_under_jit_and_in_any_order_of_the_samples(function):
    rng = np.random.default_rng(1)
    reward, group_id = rng.integers(0, 2, N).astype(np.float32), rng.integers(-3, 3, N).astype(np.int32)
    want = function(reward, group_id)
    np.testing.assert_allclose(jax.jit(function)(reward, group_id), want, rtol=1e-6)
    order = rng.permutation(N)
    np.testing.assert_allclose(function(reward[order], group_id[order]), want[order], rtol=1e-6)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from([0.0, 1.0]), min_size=N, max_size=N),
    st.lists(st.integers(-2, 4), min_size=N, max_size=N),
)
def test_a_group_is_informative_when_some_but_not_all_of_it_is_right(rewards, ids):
    reward, group_id = np.array(rewards, np.float32), np.array(ids, np.int32)
    want = [0 < reward[group_id == g].sum() < (group_id == g).sum() for g in ids]
    np.testing.assert_array_equal(informative_groups(reward, group_id), want)
    # What the filter drops has no gradient to give.
    assert not np.any(np.asarray(group_advantages(reward, group_id))[~np.array(want)])


@pytest.mark.parametrize("function", [group_advantages, informative_groups])
def test_no_samples_give_no_advantages(function):
    assert function(jnp.zeros(0), jnp.zeros(0, int)).shape == (0,)


@pytest.mark.parametrize("function", [group_advantages, informative_groups])
@pytest.mark.parametrize("reward, group_id", [((4,), (3,)), ((2, 2), (2, 2)), ((), ())])
def test_arrays_that_do_not_fit_are_refused_with_their_shapes(function, reward, group_id):
    message = re.escape(f"want reward [N] and group_id [N], got {reward} and {group_id}")
    with pytest.raises(ValueError, match=message):
        function(jnp.zeros(reward), jnp.zeros(group_id, int))
