"""A pass's tokens: how they lie, and whose contexts are computed next."""

import jax.numpy as jnp
import numpy as np
import pytest

from ulorl_jax.rollout.lanes import Lanes, count_passes, next_chunk


@pytest.mark.parametrize("lanes", [Lanes(1, 4), Lanes(1, 4, 2, 3), Lanes(2, 3, 1, 5), Lanes(2, 0, 2, 3)])
def test_what_is_joined_is_split_again(lanes):
    decoded = jnp.arange(lanes.parts * lanes.slots * 2.0).reshape(-1, 2)
    chunk = -jnp.arange(lanes.parts * lanes.rows * lanes.size * 2.0).reshape(-1, lanes.size, 2)
    one, two = lanes.split(lanes.join(decoded, chunk))
    np.testing.assert_array_equal(one, decoded)
    np.testing.assert_array_equal(two, chunk)


def test_each_part_of_the_mesh_has_its_own_slots_and_its_own_chunk_beside_each_other():
    lanes = Lanes(2, 2, 1, 3)
    both = lanes.join(jnp.array([1, 2, 3, 4]), jnp.array([[10, 11, 12], [20, 21, 22]]))
    assert both.tolist() == [1, 2, 10, 11, 12, 3, 4, 20, 21, 22]


def test_the_next_chunk_is_of_those_who_have_waited_longest_lowest_slot_first():
    turns, lengths = jnp.array([4, 5, 4, 4, 1, 9, 8, 8]), jnp.array([0, 3, 0, 2, 0, 0, 6, 0])
    contexts = jnp.array([2, 9, 9, 9, 9, 9, 9, 9])
    filling = jnp.array([True, True, True, True, False, True, True, False])
    nobody = jnp.full(8, 8)
    chunk = next_chunk(Lanes(2, 4, 2, 4), turns, nobody, lengths, contexts, filling)
    # Of the first four slots three have turn 4; of the others slot 6 comes before 5, and 4 and 7 have all they need.
    assert chunk.slots.tolist() == [0, 2, 6, 5]
    assert chunk.positions.tolist() == [[0, 1, 0, 0], [0, 1, 2, 3], [6, 7, 8, 0], [0, 1, 2, 3]]
    assert chunk.valid.tolist() == [[True, True, False, False], [True] * 4, [True] * 3 + [False], [True] * 4]
    # Slot 0 waits for 1, whose context is not complete; 6 waits for 4, whose is; 5 waits for 6.
    leaders = nobody.at[jnp.array([0, 6, 5])].set(jnp.array([1, 4, 6]))
    chunk = next_chunk(Lanes(2, 4, 2, 4), turns, leaders, lengths, contexts, filling)
    assert chunk.slots[:3].tolist() == [2, 3, 6] and chunk.valid[:, 0].tolist() == [True, True, True, False]


@pytest.mark.parametrize("rows", [1, 2, 3, 8])
def test_the_passes_counted_are_those_that_taking_the_next_chunk_again_and_again_needs(rows):
    rng = np.random.default_rng(rows)
    turns, contexts, size = rng.integers(0, 3, 8), rng.integers(0, 20, 8), 4
    lengths, passes = np.zeros(8, np.int32), 0
    while (lengths < contexts).any():
        state = (jnp.asarray(x) for x in (turns, np.full(8, 8), lengths, contexts, lengths < contexts))
        chunk = next_chunk(Lanes(1, 8, rows, size), *state)
        np.add.at(lengths, np.asarray(chunk.slots), np.asarray(chunk.valid).sum(axis=1))
        passes += 1
    order = np.argsort(turns, kind="stable")
    assert count_passes(-(-contexts[order] // size), rows) == passes


def test_the_longest_context_of_all_that_comes_last_is_waited_for_by_hand():
    assert count_passes([1, 1, 1, 1, 4], rows=4) == 1 + 4  # eight chunks would fit two passes
    assert count_passes([4, 1, 1, 1, 1], rows=4) == 4
    assert count_passes([], rows=4) == 0
