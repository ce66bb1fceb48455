"""Experts: the route against NumPy, sorting and ragged products against one token at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from ulorl_jax.mesh import AXES, Layout
from ulorl_jax.models.moe import moe_mlp, route

E, D, F, K = 6, 16, 12, 2


@pytest.fixture
def weights():
    rng = np.random.default_rng(0)
    shapes = {"router": (D, E), "gate": (E, D, F), "up": (E, D, F), "down": (E, F, D)}
    return {name: jnp.asarray(rng.normal(size=shape), jnp.float32) / 4 for name, shape in shapes.items()}


def tokens(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(*shape, D)), jnp.float32)


def every_expert(x, router, gate, up, down, *, top_k, renormalise):
    """The same by computing all experts for all tokens: no sorting, no ragged product."""
    probs = jax.nn.softmax(x @ router, axis=-1)
    kth = jnp.sort(probs, axis=-1)[..., -top_k, None]
    probs = jnp.where(probs >= kth, probs, 0.0)
    if renormalise:
        probs = probs / probs.sum(-1, keepdims=True)
    out = jnp.einsum(
        "bte,efd,btef->btd",
        probs,
        down,
        jax.nn.silu(jnp.einsum("btd,edf->btef", x, gate)) * jnp.einsum("btd,edf->btef", x, up),
    )
    return out


@pytest.mark.parametrize("renormalise", [True, False])
def test_the_route_is_the_top_of_a_softmax_over_all_experts(weights, renormalise):
    x = tokens(1, 20)
    chosen_weights, experts = route(x, weights["router"], K, renormalise)
    logits = np.asarray(x, np.float64) @ np.asarray(weights["router"], np.float64)
    probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    wanted = np.argsort(-probs, axis=-1)[:, :K]
    np.testing.assert_array_equal(experts, wanted)
    top = np.take_along_axis(probs, wanted, -1)
    np.testing.assert_allclose(chosen_weights, top / top.sum(-1, keepdims=True) if renormalise else top, atol=1e-6)
    assert renormalise == np.allclose(chosen_weights.sum(-1), 1)


def test_the_route_is_taken_in_float32(weights):
    assert (
        route(tokens(1, 4).astype(jnp.bfloat16), weights["router"].astype(jnp.bfloat16), K, True)[0].dtype
        == jnp.float32
    )


@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize("top_k", [1, 2, E])
def test_sorted_ragged_products_equal_computing_every_expert_for_every_token(weights, top_k, renormalise):
    x, options = tokens(2, 2, 7), {"top_k": top_k, "renormalise": renormalise}
    np.testing.assert_allclose(moe_mlp(x, **weights, **options), every_expert(x, **weights, **options), atol=1e-5)


def test_gradients_equal_those_of_computing_every_expert(weights):
    x, options = tokens(3, 2, 7), {"top_k": K, "renormalise": True}

    def total(mlp):
        return jax.jit(jax.grad(lambda x, w: jnp.sum(jnp.sin(mlp(x, **w, **options))), (0, 1)))(x, weights)

    ours, wanted = total(moe_mlp), total(every_expert)
    assert all(float(jnp.abs(leaf).max()) > 1e-3 for leaf in jax.tree.leaves(wanted))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ours, wanted)


def test_no_token_is_dropped_when_all_choose_the_same_experts(weights):
    x = jnp.tile(tokens(4, 1, 1), (1, 50, 1))
    out = np.asarray(moe_mlp(x, **weights, top_k=K, renormalise=True))
    assert np.abs(out).max() > 1e-3
    np.testing.assert_array_equal(out, np.broadcast_to(out[:, :1], out.shape))


def test_the_order_of_tokens_does_not_matter(weights):
    x, order = tokens(5, 1, 30), np.random.default_rng(5).permutation(30)
    out = moe_mlp(x, **weights, top_k=K, renormalise=True)
    np.testing.assert_allclose(moe_mlp(x[:, order], **weights, top_k=K, renormalise=True), out[:, order], atol=1e-6)


@pytest.mark.parametrize("sizes", [(1, 3, 2), (3, 2, 1), (1, 6, 1)], ids=str)
def test_experts_that_are_split_over_the_mesh_say_of_everybodys_tokens_what_they_say_on_one_device(
    weights, devices, sizes
):
    mesh = Mesh(np.array(devices[:6]).reshape(sizes[0], sizes[1], 1, sizes[2]), AXES)
    layout, x = Layout(mesh, "decoding"), tokens(4, 12, 1)
    options = {"top_k": K, "renormalise": True}
    split = jax.jit(functools.partial(moe_mlp, **options, layout=layout))(x, **weights)
    np.testing.assert_allclose(split, every_expert(x, **weights, **options), atol=1e-5)


def test_a_device_whose_experts_nobody_visits_adds_nothing(weights, devices):
    layout = Layout(Mesh(np.array(devices[:6]).reshape(1, 6, 1, 1), AXES), "decoding")
    x = jnp.abs(tokens(5, 6, 1))
    weights["router"] = jnp.zeros((D, E)).at[:, :K].set(5.0)  # all go to the first two
    options = {"top_k": K, "renormalise": True}
    split = jax.jit(functools.partial(moe_mlp, **options, layout=layout))(x, **weights)
    np.testing.assert_allclose(split, every_expert(x, **weights, **options), atol=1e-5)


def test_experts_that_are_visited_by_all_take_as_many_blocks_as_that_needs(weights, devices):
    layout = Layout(Mesh(np.array(devices[:6]).reshape(1, 6, 1, 1), AXES), "decoding")
    x = jnp.abs(tokens(6, 18, 5))  # 90 tokens: 180 visits, of two experts, in blocks of 32
    weights["router"] = jnp.zeros((D, E)).at[:, 2:4].set(jnp.array([5.0, 4.0]))
    options = {"top_k": K, "renormalise": True}
    split = jax.jit(functools.partial(moe_mlp, **options, layout=layout))(x, **weights)
    np.testing.assert_allclose(split, every_expert(x, **weights, **options), atol=1e-5)


def test_of_visits_to_split_experts_no_more_exist_at_one_time_than_a_block_holds(weights, devices):
    layout = Layout(Mesh(np.array(devices[:6]).reshape(1, 6, 1, 1), AXES), "decoding")
    program = jax.jit(functools.partial(moe_mlp, top_k=K, renormalise=True, layout=layout))
    text = program.lower(tokens(6, 18, 5), **weights).compile().as_text() or ""
    assert "[32,16]" in text and "[180,16]" not in text and "[90,2,16]" not in text  # 180 / 6, to a power of two
