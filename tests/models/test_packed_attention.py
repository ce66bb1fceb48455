"""Attention over long packed rows, block by block and by splash kernels, against the plain one that sees all scores."""

import functools
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tiny import make_config, make_layout, make_params
from ulorl_jax.models import packed_attention
from ulorl_jax.models.attention import packed_attention as plain_attention
from ulorl_jax.models.block_attention import block_attention, visible_blocks
from ulorl_jax.models.packed_attention import attend_packed
from ulorl_jax.models.qwen3 import REMAT, forward_packed
from ulorl_jax.models.splash_attention import splash_attention

H, K = 4, 2
SPLASH = functools.partial(splash_attention, interpret=True)


def make_rows(length, head_dim, samples, rows=2, seed=0):
    """Queries, keys, values, weights of a loss, and the ids of `samples` of random lengths, padding at the end."""
    rng = np.random.default_rng(seed)
    q, k, v, weights = (
        jnp.asarray(rng.normal(size=(rows, length, heads, head_dim)).astype(np.float32)) for heads in (H, K, K, H)
    )
    cuts = np.sort([rng.choice(np.arange(1, length), samples, replace=False) for _ in range(rows)])
    ids = np.stack([np.searchsorted(row, np.arange(length), side="right") + 1 for row in cuts])
    return q * head_dim**-0.5, k, v, weights, jnp.asarray(np.where(ids > samples, 0, ids).astype(np.int32))


def value_and_gradients(attention, q, k, v, weights):
    def loss(q, k, v):
        out = attention(q, k, v)
        return jnp.sum(weights * out), out

    (_, out), gradients = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(q, k, v)
    return out, *gradients


def assert_like_plain(attention, q, k, v, weights, ids, order=None):
    """Of the queries that `order` names, all by default: outputs and gradients are those of the plain attention."""
    order = np.arange(ids.shape[1]) if order is None else order
    wanted = value_and_gradients(lambda q, k, v: plain_attention(q, k, v, ids)[:, order], q, k, v, weights[:, order])
    index = jnp.asarray(order, jnp.int32)
    got = value_and_gradients(lambda q, k, v: attention(q[:, order], k, v, index, ids), q, k, v, weights[:, order])
    for name, a, b in zip(("out", "dq", "dk", "dv"), got, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(("length", "block"), [(23, 5), (9, 512)])
def test_block_by_block_output_and_gradients_are_those_of_plain_attention(length, block):
    assert_like_plain(functools.partial(block_attention, block=block), *make_rows(length, 8, 3))


def test_ids_in_any_order_are_told_apart():
    q, k, v, weights, _ = make_rows(24, 8, 3)
    ids = jnp.asarray(np.random.default_rng(1).integers(0, 3, (2, 24)))  # samples in pieces, mixed
    assert_like_plain(functools.partial(block_attention, block=5), q, k, v, weights, ids)


def test_block_by_block_some_of_the_queries_in_another_order_get_what_is_theirs():
    order = np.concatenate([np.arange(6, 12), np.arange(18, 24)])
    assert_like_plain(functools.partial(block_attention, block=4), *make_rows(24, 8, 3), order)


def test_on_a_gpu_long_rows_go_in_larger_blocks_that_lower_for_it_and_give_what_plain_attention_gives():
    # What it asks of a layout, with a GPU that is not there.
    gpu = types.SimpleNamespace(platform="gpu", mesh=types.SimpleNamespace(size=1), ways=lambda axis: 1)
    rows = make_rows(1152, 8, 3, rows=1)
    assert_like_plain(lambda q, k, v, index, ids: attend_packed(q, k, v, ids, gpu), *rows)

    def loss(q, k, v):
        return jnp.sum(attend_packed(q, k, v, rows[-1], gpu) ** 2)

    text = jax.jit(jax.grad(loss, (0, 1, 2))).trace(*rows[:3]).lower(lowering_platforms=("cuda",)).as_text()
    assert f"tensor<{K}x{H // K * 1024}x1024xf32>" in text  # scores of a pair of blocks, and no larger ones
    assert "1152x1152x" not in text


def test_splash_output_and_gradients_are_those_of_plain_attention():
    assert_like_plain(SPLASH, *make_rows(384, 128, 5))


def test_splash_queries_of_an_early_and_a_late_chunk_get_what_is_theirs():
    order = np.concatenate([np.arange(128, 256), np.arange(768, 896)])  # the second of four parts
    assert_like_plain(SPLASH, *make_rows(1024, 128, 7, rows=1), order)


@pytest.mark.parametrize("attention", [functools.partial(block_attention, block=128), SPLASH], ids=["block", "splash"])
def test_keys_of_another_sample_in_blocks_of_their_own_are_never_read(attention):
    q, k, v, _, _ = make_rows(384, 128, 2, rows=1)
    ids = jnp.repeat(jnp.array([[1, 2, 3]]), 128, axis=1)
    wanted = plain_attention(q, k, v, ids)
    # NaN times a weight of 0 would be NaN: what is right all the same was not computed.
    k, v = (x.at[:, :128].set(jnp.nan) for x in (k, v))
    out = jax.jit(attention)(q, k, v, jnp.arange(384), ids)
    np.testing.assert_allclose(out[:, 128:], wanted[:, 128:], atol=1e-5)
    assert bool(jnp.isnan(out[:, :128]).any())


def count_blocks(lengths, block, order=None):
    ids = np.repeat(np.arange(len(lengths)) + 1, lengths)
    index = np.arange(len(ids)) if order is None else order
    live, full = visible_blocks(jnp.asarray(index), jnp.asarray(ids[index]), jnp.asarray(ids), block, block)
    return int(live.sum()), int(full.sum())


def test_a_row_of_16_samples_computes_a_thirteenth_of_the_blocks_of_one_sample():
    # 64 blocks: 64 * 65 / 2 pairs on and below the diagonal, or for each of 16 samples 4 * 5 / 2.
    one, many = count_blocks([64 * 8], 8), count_blocks([32] * 16, 8)
    print(f"{many[0]:,} blocks of a row of 16 samples, {one[0]:,} of 1 sample: {one[0] / many[0]:.0f} times fewer")
    assert one == (2080, 2080 - 64) and many == (160, 96)
    assert one[0] / many[0] == 13


def test_a_block_with_a_border_in_it_is_computed_for_both_samples():
    # Blocks of 4, samples of 14 and 18: the fourth block holds two tokens of each. Blocks of queries 0 to 3 look at
    # 1, 2, 3 and 4 blocks of keys; 4 to 7 look at those from the fourth on: 2, 3, 4, 5.
    assert count_blocks([14, 18], 4) == (1 + 2 + 3 + 4 + 2 + 3 + 4 + 5, 24 - 8)


def test_split_over_the_mesh_every_part_of_a_row_computes_as_many_blocks(devices):
    order = make_layout("training", devices, fsdp=2, context=4).token_order(64).reshape(4, 16)
    counts = [count_blocks([64], 4, part)[0] for part in order]
    assert counts == [34, 34, 34, 34]  # of 16 * 17 / 2 = 136


@pytest.mark.parametrize(
    "axes",
    [{"fsdp": 2, "context": 2, "tensor": 2}, {"data": 2, "fsdp": 4}, {"fsdp": 2, "context": 2, "expert": 2}],
    ids=str,
)
def test_on_a_mesh_attention_over_long_rows_is_that_of_one_device(devices, axes, monkeypatch):
    monkeypatch.setattr(packed_attention, "PLAIN", 8)
    layout = make_layout("training", devices, **axes)
    q, k, v, weights, ids = make_rows(24, 8, 3, rows=8)
    order = layout.token_order(24)
    wanted = value_and_gradients(lambda q, k, v: plain_attention(q, k, v, ids), q, k, v, weights)
    q, k, v, weights = (x[:, order] for x in (q, k, v, weights))
    got = value_and_gradients(lambda q, k, v: attend_packed(q, k, v, ids, layout), q, k, v, weights)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b[:, order], atol=1e-5)


def test_what_keys_learn_is_scattered_along_a_first_dim_of_devices_which_a_tpu_does_without_reducing_the_whole(devices):
    layout = make_layout("training", devices, fsdp=2, context=2, expert=2)
    q, k, v, _, ids = make_rows(32, 8, 3, rows=2)

    def loss(q, k, v):
        return jnp.sum(attend_packed(q, k, v, ids, layout))

    text = jax.jit(jax.grad(loss, (0, 1, 2))).lower(q, k, v).as_text()
    assert re.findall(r"reduce_scatter.*?scatter_dimension = (\d)", text) == ["0"]
    assert f"tensor<4x2x8x{K}x8xf32>) -> tensor<1x2x8x{K}x8xf32>" in text  # of four devices, one row, keys and values


def test_the_network_over_long_rows_is_that_over_short_ones_and_keeps_its_attention(monkeypatch):
    rng = np.random.default_rng(0)
    ids = make_rows(24, 8, 3)[-1]
    tokens, positions = (jnp.asarray(rng.integers(0, 24, ids.shape)) for _ in range(2))

    def gradients(remat):
        def loss(params):
            return jnp.sum(forward_packed(params, make_config(remat=remat), tokens, positions, ids) ** 2)

        return jax.jit(jax.value_and_grad(loss))(make_params(make_config()))

    short = gradients("none")
    monkeypatch.setattr(packed_attention, "PLAIN", 8)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), gradients("attention"), short)


@pytest.mark.parametrize("attention", [block_attention, SPLASH], ids=["block", "splash"])
def test_remat_attention_keeps_the_output_and_the_logarithm_of_the_sum_and_nothing_else(attention, capsys):
    q, k, v, _, ids = make_rows(128, 128, 2)
    layer = jax.checkpoint(
        lambda q, k, v: jnp.sin(attention(jnp.sin(q), jnp.sin(k), v, jnp.arange(128), ids)), policy=REMAT["attention"]
    )
    jax.ad_checkpoint.print_saved_residuals(layer, q, k, v)
    lines = capsys.readouterr().out.splitlines()
    kept = [re.sub(r"\D*(\d+)\[([\d,]*)\].*", r"\2", line) for line in lines if "argument" not in line]
    sizes = sorted(int(np.prod([int(n) for n in shape.split(",")])) for shape in kept)
    constants = [int(ids.size)]  # sample ids, which the function closes over
    assert sum(sizes) == q.size + q.size // 128 + sum(constants)


def test_memory_grows_with_the_length_of_a_row_not_with_its_square():
    def temporaries(length):
        q, k = (jax.ShapeDtypeStruct((1, length, heads, 16), jnp.float32) for heads in (H, K))
        number = jax.ShapeDtypeStruct((1, length), jnp.int32)

        def loss(q, k, v, ids):
            return jnp.sum(attend_packed(q, k, v, ids) ** 2)

        compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(q, k, k, number).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    short, long = temporaries(8192), temporaries(32768)
    assert long < 4.2 * short < H * 8192**2  # scores alone, of eight thousand tokens, would take four times the latter
