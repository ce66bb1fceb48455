"""The pool on the device: what is written where, who sees what, and that a kernel nobody here wrote reads it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tiny import make_config, make_layout
from ulorl_jax.rollout import kv_cache
from ulorl_jax.rollout.kv_cache import KVCache
from ulorl_jax.rollout.lanes import Chunk, Lanes
from ulorl_jax.rollout.paged_cache import init_cache, insert, make_attend, quantize
from ulorl_jax.rollout.pages import INT8, MODEL, PageSettings
from ulorl_jax.rollout.tpu_attention import make_sequences

CONFIG = make_config()
C, WIDTH, PAGES, SIZE = 3, 30, 20, 4
LAYERS, H, K, D = 2, CONFIG.num_attention_heads, CONFIG.num_key_value_heads, CONFIG.head_dim
NONE = PAGES
LAYER = 1


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module", params=[MODEL, INT8])
def filled(request):
    """Contexts of 14, 9 and 0 tokens in pages taken at random, and the prefix they came from."""
    layout = make_layout("decoding")
    cache = init_cache(CONFIG, C, WIDTH, PageSettings(PAGES, SIZE, request.param), 1)
    prefix = KVCache(((normal(0, LAYERS, 2, 1, K, D, 15),),), ((normal(1, LAYERS, 2, 1, K, 15, D),),), 15)
    for slot, row, pages in ((0, 1, [7, 2, 19, 0]), (1, 0, [5, 11, 3])):
        one = jax.tree.map(lambda x, row=row: x[:, row : row + 1], prefix)
        writes = jnp.asarray(pages + [NONE] * (8 - len(pages)), jnp.int32)
        cache = insert(cache, one, jnp.int32(slot), writes, layout)
    return layout, cache, prefix


def attend(layout, cache, positions, active, seed=2):
    q, k, v = normal(seed, C, 1, H, D), normal(seed + 1, C, 1, K, D), normal(seed + 2, C, 1, K, D)
    attend = make_attend(Lanes(1, C), jnp.asarray(positions, jnp.int32), jnp.asarray(active), None, layout)
    out, cache = attend(q, k, v, cache, jnp.int32(LAYER))
    return q, k, v, out, cache


def test_a_token_sees_its_slots_context_and_itself(filled):
    layout, cache, prefix = filled
    q, k, v, out, _ = attend(layout, cache, [13, 8, 0], [True, True, False])
    for slot, (row, length) in enumerate([(1, 13), (0, 8)]):
        for head in range(H):
            kv = head * K // H
            keys = np.concatenate([prefix.k[0][0][LAYER, row, 0, kv, :, :length].T, k[slot, :, kv]])
            values = np.concatenate([prefix.v[0][0][LAYER, row, 0, kv, :length], v[slot, :, kv]])
            weights = np.exp(keys @ q[slot, 0, head])
            wanted = weights @ values / weights.sum()
            np.testing.assert_allclose(out[slot, 0, head], wanted, atol=1e-5 if cache.scales is None else 0.15)


def test_contexts_of_many_blocks_in_pages_give_what_the_dense_cache_gives_at_once():
    layout, width, size = make_layout("decoding"), 300, 16
    paged = init_cache(CONFIG, C, width, PageSettings(57, size), 1)
    dense = kv_cache.init_cache(CONFIG, C, width, unstacked=False)
    assert dense.k[0][0].shape[2] == 1, "one block"
    for slot, pages in enumerate(np.random.default_rng(9).permutation(57).reshape(C, 19)):
        k, v = normal(10 + slot, LAYERS, 1, 1, K, D, width), normal(20 + slot, LAYERS, 1, 1, K, width, D)
        prefix = KVCache(((k,),), ((v,),), width)
        paged = insert(paged, prefix, jnp.int32(slot), jnp.asarray(pages, jnp.int32), layout)
        dense = kv_cache.insert(dense, prefix, jnp.int32(slot))
    positions, everybody = jnp.array([70, 299, 5]), jnp.ones(C, bool)
    q, k, v, out, _ = attend(layout, paged, positions, everybody)
    wanted, _ = kv_cache.make_attend(Lanes(1, C), positions, everybody, None, None)(q, k, v, dense, LAYER)
    np.testing.assert_allclose(out, wanted, atol=1e-5)


def by_the_kernels_reference(lanes, q, cache, positions, chunk=None):
    """What the TPU kernel says it computes, of the sequences that we tell it."""
    kernel = pytest.importorskip("jax.experimental.pallas.ops.tpu.ragged_paged_attention.kernel")
    if cache.scales is not None:
        pytest.skip("the kernel knows one scale for all keys, not one for each token and head")
    sequences = make_sequences(lanes, jnp.asarray(positions), chunk, cache.table, PAGES, jnp.int32(LAYER))
    pool = cache.pages.reshape(LAYERS * PAGES, SIZE, 2 * K, D)
    return kernel.ref_ragged_paged_attention(jnp.asarray(q[:, 0]), pool, *sequences)


def test_the_tpu_kernels_own_reference_reads_the_pool_as_it_lies(filled):
    layout, cache, _ = filled
    positions = [13, 8, 0]
    q, _, _, out, cache = attend(layout, cache, positions, [True, True, False])
    theirs = by_the_kernels_reference(Lanes(1, C), q, cache, positions)
    np.testing.assert_allclose(out[:2, 0], theirs[:2], atol=1e-5)


@pytest.mark.parametrize("slots", [C, 0])
def test_the_tpu_kernels_own_reference_sees_a_chunk_beside_the_slots_tokens_or_alone_as_we_do(filled, slots):
    layout, cache, _ = filled
    n, positions = 3, [13, 0, 0]  # slot 1 goes on from 8 with a chunk of three, slot 0 decodes
    q, k, v = normal(2, slots + n, 1, H, D), normal(3, slots + n, 1, K, D), normal(4, slots + n, 1, K, D)
    lanes, decoding = Lanes(1, slots, 1, n), jnp.array([True, False, False])
    at = jnp.arange(8, 8 + n)[None]
    chunk = Chunk(jnp.array([1]), at, at >= 0)
    made = make_attend(lanes, jnp.asarray(positions, jnp.int32), decoding, chunk, layout)
    out, cache = made(q, k, v, cache, jnp.int32(LAYER))
    theirs = by_the_kernels_reference(lanes, q, cache, positions, chunk)
    whose = np.r_[[0] * bool(slots), slots : slots + n].astype(int)
    np.testing.assert_allclose(out[whose, 0], theirs[whose], atol=1e-5)


def test_a_slot_that_is_not_active_writes_nothing(filled):
    layout, cache, _ = filled
    *_, after = attend(layout, cache, [13, 8, 0], [False, False, False])
    for one, two in zip(jax.tree.leaves(cache), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(one, two)
    *_, after = attend(layout, cache, [13, 8, 0], [True, False, False])
    changed = np.argwhere(np.any(np.asarray(after.pages) != np.asarray(cache.pages), axis=(0, 4, 5)))
    assert changed.tolist() == [[LAYER, 0, 1]]  # position 13 is the second of its fourth page, which is page 0


def test_what_a_page_holds_beyond_its_slots_position_is_never_seen(filled):
    layout, cache, _ = filled
    *_, out, _ = attend(layout, cache, [9, 4, 0], [True, True, False])
    past = np.asarray(cache.pages).copy()
    past[:, :, [19], 2:], past[:, :, [0, 3]], past[:, :, 11, 1:] = 99, 99, 99
    *_, again, _ = attend(layout, dataclasses.replace(cache, pages=jnp.asarray(past)), [9, 4, 0], [True, True, False])
    np.testing.assert_array_equal(out[:2], again[:2])


def test_int8_values_are_within_half_a_scale_and_nothing_is_not_a_number():
    x = np.concatenate([normal(5, 50, D) * 10.0 ** np.arange(-25, 25)[:, None], np.zeros((1, D))]).astype(np.float32)
    values, scales = quantize(jnp.asarray(x))
    assert values.dtype == jnp.int8 and np.abs(np.asarray(values[:-1]).astype(int)).max(axis=-1).tolist() == [127] * 50
    gap = np.abs(np.asarray(values, np.float32) * np.asarray(scales)[:, None] - x)
    assert (gap <= 0.5001 * np.asarray(scales)[:, None]).all() and gap[-1].max() == 0
