"""Experts: the route against NumPy, sorting and ragged products against one token at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tiny import make_layout, make_moe_config
from ulorl_jax.models.moe import moe_mlp, route
from ulorl_jax.models.qwen3_params import parameter_table

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


@pytest.mark.parametrize("axes", [{"fsdp": 3, "tensor": 2}, {"data": 3, "fsdp": 2}, {"fsdp": 6}], ids=str)
def test_experts_that_are_split_over_the_mesh_say_of_everybodys_tokens_what_they_say_on_one_device(
    weights, devices, axes
):
    layout, x = make_layout("decoding", devices[:6], **axes), tokens(4, 12, 1)
    options = {"top_k": K, "renormalise": True}
    split = jax.jit(functools.partial(moe_mlp, **options, layout=layout))(x, **weights)
    np.testing.assert_allclose(split, every_expert(x, **weights, **options), atol=1e-5)


def test_a_device_whose_experts_nobody_visits_adds_nothing(weights, devices):
    layout = make_layout("decoding", devices[:6], fsdp=6)
    x = jnp.abs(tokens(5, 6, 1))
    weights["router"] = jnp.zeros((D, E)).at[:, :K].set(5.0)  # all go to the first two
    options = {"top_k": K, "renormalise": True}
    split = jax.jit(functools.partial(moe_mlp, **options, layout=layout))(x, **weights)
    np.testing.assert_allclose(split, every_expert(x, **weights, **options), atol=1e-5)


def test_experts_that_are_visited_by_all_take_as_many_blocks_as_that_needs(weights, devices):
    layout = make_layout("decoding", devices[:6], fsdp=6)
    x = jnp.abs(tokens(6, 18, 5))  # 90 tokens: 180 visits, of two experts, in blocks of 32
    weights["router"] = jnp.zeros((D, E)).at[:, 2:4].set(jnp.array([5.0, 4.0]))
    options = {"top_k": K, "renormalise": True}
    split = jax.jit(functools.partial(moe_mlp, **options, layout=layout))(x, **weights)
    np.testing.assert_allclose(split, every_expert(x, **weights, **options), atol=1e-5)


def test_of_visits_to_split_experts_no_more_exist_at_one_time_than_a_block_holds(weights, devices):
    layout = make_layout("decoding", devices[:6], fsdp=6)
    program = jax.jit(functools.partial(moe_mlp, top_k=K, renormalise=True, layout=layout))
    text = program.lower(tokens(6, 18, 5), **weights).compile().as_text() or ""
    assert "[32,16]" in text and "[180,16]" not in text and "[90,2,16]" not in text  # 180 / 6, to a power of two


OWNERS = [{"fsdp": 2, "context": 2, "expert": 2}, {"data": 2, "fsdp": 1, "expert": 2, "tensor": 2}]
TO_ONE_OWNER = np.zeros((D, E), np.float32)
TO_ONE_OWNER[:, [3, 5]] = 0.5, 0.4  # where tokens are positive; an owner of three has both


def learned(mlp, x, weights):
    """What tokens and weights learn from a loss of what the experts say."""
    said = functools.partial(mlp, top_k=K, renormalise=True)
    return jax.jit(jax.grad(lambda x, w: jnp.sum(jnp.sin(said(x, **w))), (0, 1)))(x, weights)


@pytest.mark.parametrize("axes", OWNERS, ids=str)
@pytest.mark.parametrize("router", [None, TO_ONE_OWNER], ids=["spread", "to_one_owner"])
def test_T3_experts_that_own_their_weights_say_and_learn_what_they_do_on_one_device(weights, devices, axes, router):
    # An expert that all tokens of a group visit has two blocks: 64 tokens (128 with data) are 128 visits, and a block
    # holds 128 / 6, to a power of two.
    layout, x = make_layout("training", devices, **axes), tokens(7, 4, 64)
    if router is not None:
        x, weights["router"] = jnp.abs(x), jnp.asarray(router)
    chosen = set(np.ravel(route(x.reshape(-1, D), weights["router"], K, True)[1]).tolist())
    assert chosen == (set(range(E)) if router is None else {3, 5})
    split = functools.partial(moe_mlp, layout=layout)
    options = {"top_k": K, "renormalise": True}
    said = jax.jit(functools.partial(split, **options))(x, **weights)
    np.testing.assert_allclose(said, every_expert(x, **weights, **options), atol=1e-5)
    ours, wanted = learned(split, x, weights), learned(every_expert, x, weights)
    assert all(float(jnp.abs(leaf).max()) > 1e-3 for leaf in jax.tree.leaves(wanted))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5), ours, wanted)


@pytest.mark.parametrize(("axes", "gathered"), [({"expert": 2}, 3), ({"context": 2}, 6)], ids=str)
def test_the_weights_of_another_owners_experts_come_to_no_device(weights, devices, axes, gathered):
    layout, table = make_layout("training", devices, fsdp=4, **axes), parameter_table(make_moe_config())["layers"]
    given = {
        name: jax.ShapeDtypeStruct(w.shape, w.dtype, sharding=layout.sharding(*table[name].axes[1:]))
        for name, w in weights.items()
    }
    mlp = functools.partial(moe_mlp, top_k=K, renormalise=True, layout=layout)
    program = jax.jit(jax.grad(lambda w, x: jnp.sum(jnp.sin(mlp(x, **w)))))
    text = program.lower(given, tokens(8, 4, 64)).compile().as_text() or ""
    assert f"[{gathered},{D},{F}]" in text and f"[{9 - gathered},{D},{F}]" not in text
