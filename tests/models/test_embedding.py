"""Embeddings that are split over the mesh are found as where they are whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tiny import make_layout
from ulorl_jax.models.embedding import look_up

TABLE = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
TOKENS = np.random.default_rng(1).integers(0, 40, (16, 3)).astype(np.int32)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(
    "axes", [{"fsdp": 2, "context": 2, "tensor": 2}, {"fsdp": 1, "context": 8}, {"fsdp": 4, "tensor": 2}], ids=str
)
def test_ids_that_are_split_are_found_where_they_lie_and_no_device_sees_the_whole_table(devices, axes, dtype):
    layout = make_layout("decoding", devices, **axes)
    table = jax.device_put(TABLE.astype(dtype), layout.sharding("vocab", None))
    tokens = jax.device_put(TOKENS, layout.sharding("rows", None))
    program = jax.jit(functools.partial(look_up, layout=layout), out_shardings=layout.sharding("rows", None, None))
    program = program.lower(table, tokens).compile()
    found = program(table, tokens)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, TABLE.astype(dtype)[TOKENS])
    assert "[40,6]" not in (program.as_text() or "")


def test_in_training_no_device_sees_the_whole_table_and_what_a_token_learns_is_added_up_where_its_columns_lie(devices):
    layout = make_layout("training", devices, fsdp=2, context=2, tensor=2)
    table = np.concatenate([TABLE, TABLE[:, :2]], axis=1)  # 8 columns: 2 for each of four devices
    tokens = np.concatenate([TOKENS, TOKENS[:, :1]], axis=1)
    weights = np.random.default_rng(2).normal(size=(*tokens.shape, 8)).astype(np.float32)

    def loss(table, tokens, weights):
        found = look_up(table, tokens, layout)
        return jnp.sum(found * weights), found

    given = (
        layout.sharding("vocab", "embed"),
        layout.sharding("rows", "tokens"),
        layout.sharding("rows", "tokens", None),
    )
    made = layout.sharding("vocab", "embed"), given[2]
    step = jax.jit(jax.grad(loss, has_aux=True), in_shardings=given, out_shardings=made)
    program = step.lower(table, tokens, weights).compile()
    gradient, found = program(*jax.device_put((table, tokens, weights), given))
    np.testing.assert_array_equal(found, table[tokens])
    expected = np.zeros_like(table)
    np.add.at(expected, tokens, weights)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5)
    assert "[40,8]" not in (program.as_text() or "") and "[20,8]" not in (program.as_text() or "")


def test_on_one_device_rows_are_looked_up_in_place():
    np.testing.assert_array_equal(jax.jit(functools.partial(look_up, layout=None))(TABLE, TOKENS), TABLE[TOKENS])
