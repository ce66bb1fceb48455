"""The optimizer's schedule, clipping and decay, and where the state lies."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.tiny import make_config, make_layout, make_moe_config, make_optimizer_settings, make_params
from ulorl_jax.train.state import (
    init_state,
    make_optimizer,
    start_state,
    state_shardings,
    state_structs,
)

CONFIG = make_config()


def rates(steps, **changes):
    """The learning rate of each update: under a constant gradient Adam moves a parameter by just that."""
    optimizer = make_optimizer(make_optimizer_settings(**changes))
    params = jnp.zeros(())
    state = optimizer.init(params)
    moved = []
    for _ in range(steps):
        update, state = optimizer.update(jnp.ones(()), state, params)
        moved.append(-float(update))
    return moved


def first_update(gradient, params=None, **changes):
    optimizer = make_optimizer(make_optimizer_settings(**changes))
    params = jax.tree.map(jnp.zeros_like, gradient) if params is None else params
    return optimizer.update(gradient, optimizer.init(params), params)


def test_the_rate_is_constant_from_the_first_update():
    assert rates(4) == pytest.approx([1e-2] * 4, rel=1e-4)


def test_the_warm_up_rises_in_equal_steps_of_which_the_first_is_not_zero():
    assert rates(7, warmup_steps=5) == pytest.approx([2e-3, 4e-3, 6e-3, 8e-3, 1e-2, 1e-2, 1e-2], rel=1e-4)
    assert rates(2, warmup_steps=1) == pytest.approx([1e-2, 1e-2], rel=1e-4)


def test_the_cosine_ends_at_a_twentieth_of_the_peak_and_stays_there():
    got = rates(24, warmup_steps=4, decay_steps=20)
    assert got[:5] == pytest.approx([0, 2.5e-3, 5e-3, 7.5e-3, 1e-2], rel=1e-4, abs=1e-9)
    assert got[20:] == pytest.approx([5e-4] * 4, rel=1e-3)
    assert got[12] == pytest.approx((1e-2 + 5e-4) / 2, rel=1e-3)  # half way between
    assert (np.diff(got[4:21]) < 0).all()


def test_a_gradient_longer_than_the_clip_norm_is_scaled_down_and_a_shorter_one_is_not():
    def first_moment(gradient):
        _, state = first_update(gradient, clip_norm=1.0)
        return optax.tree_utils.tree_get(state, "mu")

    long = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}  # norm 5, over the whole tree
    assert jax.tree.map(lambda m: round(float(m[0]), 5), first_moment(long)) == {"a": 0.06, "b": 0.08}
    short = {"a": jnp.array([0.3]), "b": jnp.array([0.4])}
    assert jax.tree.map(lambda m: round(float(m[0]), 5), first_moment(short)) == {"a": 0.03, "b": 0.04}
    _, unclipped = first_update(long, clip_norm=0.0)
    assert float(optax.tree_utils.tree_get(unclipped, "mu")["a"][0]) == pytest.approx(0.3)


def test_weight_decay_shrinks_a_parameter_by_rate_times_decay_per_update():
    params = jnp.array([2.0])
    update, _ = first_update(jnp.zeros(1), params, weight_decay=0.1)
    assert float(update[0]) == pytest.approx(-1e-2 * 0.1 * 2.0)
    assert float(first_update(jnp.zeros(1), params)[0][0]) == 0


def network_gradient():
    params = make_params(CONFIG)
    rng = np.random.default_rng(1)
    return params, jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), params)


def test_muon_gives_every_direction_of_a_layers_matrix_a_step_of_about_the_same_length():
    params, gradient = network_gradient()
    update, _ = first_update(gradient, params, kind="muon", eps=1e-8)
    for name in ("q", "k", "o", "gate", "down"):
        for layer, given in zip(update["layers"][name], gradient["layers"][name], strict=True):
            # Muon's polynomial brings singular values near 1, not to it, and the very smallest not even near.
            spread = [np.divide(*np.quantile(np.linalg.svd(x, compute_uv=False), [1.0, 0.1])) for x in (layer, given)]
            assert spread[0] < 2 < spread[1]
            assert float(jnp.sqrt(jnp.mean(layer**2))) == pytest.approx(0.2 * 1e-2, rel=0.25)


def test_muon_moves_the_embedding_and_the_norms_as_adamw_with_nesterovs_momentum_does():
    params, gradient = network_gradient()
    muon, _ = first_update(gradient, params, kind="muon", eps=1e-8)
    plain = optax.nadamw(1e-2, b1=0.9, b2=0.99, eps=1e-8, weight_decay=0.0)
    adamw, _ = plain.update(gradient, plain.init(params), params)
    for path in (("embed",), ("final_norm",), ("layers", "attention_norm"), ("layers", "q_norm")):
        got, wanted = muon, adamw
        for name in path:
            got, wanted = got[name], wanted[name]
        np.testing.assert_allclose(got, wanted, rtol=1e-5)
    assert not np.allclose(muon["layers"]["q"], adamw["layers"]["q"], rtol=0.1)


def test_muons_momentum_lies_where_its_matrix_lies_and_adamws_moments_are_of_the_rest(devices):
    layout = make_layout("training", devices, data=2, fsdp=2, tensor=2)
    optimizer = make_optimizer(make_optimizer_settings(kind="muon"))
    state = init_state(jax.random.key(0), CONFIG, optimizer, layout)
    shardings = state_shardings(CONFIG, optimizer, layout)
    assert jax.tree.leaves(jax.tree.map(lambda x: x.sharding, state)) == jax.tree.leaves(shardings)
    inner = state.opt_state.inner_states
    momentum = optax.tree_utils.tree_get(inner["muon"], "mu")["layers"]["q"]
    assert momentum.addressable_shards[0].data.size * 4 == momentum.size  # fsdp 2 x tensor 2
    sizes = sum(x.size for x in jax.tree.leaves(optax.tree_utils.tree_get(inner["adam"], "nu")))
    others = {name: x for name, x in state.params["layers"].items() if name.endswith("norm")}
    assert sizes == sum(x.size for x in jax.tree.leaves((state.params["embed"], state.params["final_norm"], others)))


@pytest.mark.parametrize("config", [CONFIG, make_moe_config(tie_word_embeddings=False)], ids=["dense", "experts"])
def test_moments_lie_where_their_parameters_lie(devices, config):
    layout = make_layout("training", devices, data=2, fsdp=2, tensor=2)
    optimizer = make_optimizer(make_optimizer_settings(clip_norm=1.0))
    shardings = state_shardings(config, optimizer, layout)
    for moment in ("mu", "nu"):
        assert optax.tree_utils.tree_get(shardings.opt_state, moment) == shardings.params
    state = init_state(jax.random.key(0), config, optimizer, layout)
    assert jax.tree.leaves(jax.tree.map(lambda x: x.sharding, state)) == jax.tree.leaves(shardings)
    q = optax.tree_utils.tree_get(state.opt_state, "mu")["layers"]["q"]
    assert q.addressable_shards[0].data.size * 4 == q.size  # fsdp 2 x tensor 2
    assert (int(state.step), int(state.skipped), int(state.skipped_in_a_row)) == (0, 0, 0)


def test_the_structs_a_checkpoint_is_restored_into_are_those_of_a_state(devices):
    layout = make_layout("training", devices, fsdp=8)
    optimizer = make_optimizer(make_optimizer_settings())
    state = init_state(jax.random.key(0), CONFIG, optimizer, layout)
    structs = state_structs(CONFIG, optimizer, layout)
    assert jax.tree.structure(structs) == jax.tree.structure(state)
    for struct, leaf in zip(jax.tree.leaves(structs), jax.tree.leaves(state), strict=True):
        assert (struct.shape, struct.dtype, struct.sharding) == (leaf.shape, leaf.dtype, leaf.sharding)


def test_the_first_weights_do_not_depend_on_the_mesh(devices):
    optimizer = make_optimizer(make_optimizer_settings())
    one = init_state(jax.random.key(0), CONFIG, optimizer, make_layout("training"))
    eight = init_state(jax.random.key(0), CONFIG, optimizer, make_layout("training", devices, data=2, fsdp=4))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), one, eight)


def test_a_state_of_given_weights_starts_at_step_0_without_moments():
    params = make_params(CONFIG)
    state = start_state(params, CONFIG, make_optimizer(make_optimizer_settings()), make_layout("training"))
    assert state.params is params and int(state.step) == 0
    assert all(not np.asarray(leaf).any() for leaf in jax.tree.leaves(state.opt_state))
