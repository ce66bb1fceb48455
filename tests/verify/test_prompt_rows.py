"""Prompts in rows: each once, whole, and in no longer a row than it needs."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ulorl_jax.verify.prompt_rows import RowShapes, pack_prompts

SHAPES = [RowShapes((48, 96), 4, 3), RowShapes((96, 16, 32), 1, 2), RowShapes((100,), 3, 30)]


@given(st.lists(st.integers(1, 96) | st.sampled_from([16, 32, 48]), max_size=40), st.sampled_from(SHAPES))
def test_every_prompt_stands_once_in_the_shortest_row_that_holds_it(sizes, shapes):
    prompts = {key: np.full(size, key + 1, np.int32) for key, size in enumerate(sizes)}
    seen = []
    for members, (tokens, positions, sample_ids, ends) in pack_prompts(prompts, shapes):
        assert tokens.shape[0] == shapes.rows and ends.shape == (shapes.rows, shapes.prompts_per_row)
        assert len(members) == np.sum(ends >= 0) and set(sample_ids[tokens == 0].tolist()) <= {0}
        for (row, place), key in members.items():
            size = sizes[key]
            whole = slice(ends[row, place] + 1 - size, ends[row, place] + 1)
            assert tokens.shape[1] == min(length for length in shapes.lengths if length >= size)
            assert (tokens[row] == key + 1).sum() == (tokens[row, whole] == key + 1).sum() == size
            assert positions[row, whole].tolist() == list(range(size))
            assert set(sample_ids[row, whole].tolist()) == {place + 1}
            seen.append(key)
    assert sorted(seen) == list(range(len(sizes)))


def test_short_prompts_share_a_row_longest_first_and_the_calls_are_as_few_as_the_rows():
    prompts = {7: np.array([1, 2]), 3: np.array([3, 4, 5]), 5: np.array([6]), 9: np.array([8] * 5)}
    (call,) = pack_prompts(prompts, RowShapes((6,), 2, 2))
    members, (tokens, positions, sample_ids, ends) = call
    assert members == {(0, 0): 9, (0, 1): 5, (1, 0): 3, (1, 1): 7}
    assert tokens.tolist() == [[8, 8, 8, 8, 8, 6], [3, 4, 5, 1, 2, 0]]
    assert positions.tolist() == [[0, 1, 2, 3, 4, 0], [0, 1, 2, 0, 1, 0]]
    assert sample_ids.tolist() == [[1, 1, 1, 1, 1, 2], [1, 1, 1, 2, 2, 0]]
    assert ends.tolist() == [[4, 5], [2, 4]]
