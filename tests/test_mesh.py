"""Meshes and the two tables; the weight sync between them, on eight virtual devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from tests.tiny import make_config, make_layout, make_moe_config, make_params
from ulorl_jax.mesh import AXES, DECODING, TRAINING, Layout, make_mesh, reshard
from ulorl_jax.models.qwen3_params import map_table, parameter_table

MESHES = [
    {"data": 2, "fsdp": 4},
    {"data": 2, "fsdp": 2, "tensor": 2},
    {"fsdp": 4, "tensor": 2},
    {"data": 2, "fsdp": 2, "expert": 2},
]


def param_shardings(config, layout):
    return map_table(lambda row: layout.sharding(*row.axes, shape=row.shape), config)


def test_minus_one_takes_the_devices_that_are_left(devices):
    assert make_mesh(devices=devices).shape == {"data": 1, "fsdp": 8, "context": 1, "expert": 1, "tensor": 1}
    sizes = {"data": 2, "fsdp": 2, "context": 1, "expert": 1, "tensor": 2}
    assert make_mesh(data=-1, fsdp=2, tensor=2, devices=devices).shape == sizes
    mesh = make_mesh(data=2, fsdp=2, context=2, devices=devices)
    assert mesh.axis_names == AXES and mesh.devices.ravel().tolist() == devices


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"data": 3}, "there are 8"),
        ({"data": 16}, "there are 8"),
        ({"fsdp": 4}, "needs 4 devices, there are 8; make the sizes multiply to 8"),
        ({"data": -1, "fsdp": -1}, "at most one -1; got .*'data': -1, 'fsdp': -1"),
        ({"tensor": 0}, "must be positive.*'tensor': 0"),
        ({"tensor": -2}, "must be positive.*'tensor': -2"),
    ],
)
def test_sizes_that_do_not_fit_the_devices_are_refused(devices, sizes, message):
    with pytest.raises(ValueError, match=message):
        make_mesh(**sizes, devices=devices)


def test_a_logical_axis_lies_where_its_phase_says(devices):
    mesh = make_mesh(data=2, context=2, tensor=2, devices=devices)
    training, decoding = Layout(mesh, "training"), Layout(mesh, "decoding")
    assert training.sharding(None, "embed", "heads").spec == P(None, ("context", "expert", "fsdp"), ("tensor",))
    assert decoding.sharding(None, "embed", "heads").spec == P(None, None, ("tensor", "context", "expert"))
    # Rows have context already, so what is left of heads and of ids is split over tensor.
    assert decoding.sharding("rows", "heads").spec == P(("data", "fsdp", "context", "expert"), ("tensor",))
    assert decoding.sharding("rows", "vocab").spec == P(("data", "fsdp", "context", "expert"), ("tensor",))
    assert decoding.shared("heads") == decoding.shared("vocab") == ("context",)
    assert decoding.shared("kv_heads") == training.shared("heads") == ()
    assert training.sharding("rows", "tokens").spec == P(("data", "fsdp"), ("context", "expert"))
    assert training.sharding("experts", "embed", "mlp").spec == P(("expert",), ("context", "fsdp"), ("tensor",))
    assert (training.ways("rows"), training.ways("tokens"), training.ways("slots")) == (2, 2, 1)
    assert decoding.ways("slots") == decoding.ways("rows") == 4 and decoding.ways("tokens") == 1
    assert training == Layout(mesh, "training") and hash(training) == hash(Layout(mesh, "training")) != hash(decoding)


def test_expert_is_more_of_context_for_all_but_the_experts_it_owns(devices):
    config = make_moe_config(tie_word_embeddings=False)
    for phase in ("training", "decoding"):
        owners, more = (make_layout(phase, devices, data=2, fsdp=1, **axes) for axes in ({"expert": 4}, {"context": 4}))
        for axis in ("rows", "tokens", "embed", "vocab", "heads", "slots"):
            assert owners.ways(axis) == more.ways(axis)
    owners, more = (make_layout("training", devices, fsdp=2, **axes) for axes in ({"expert": 4}, {"context": 4}))
    held, gathered = (
        map_table(lambda row: layout.sharding(*row.axes).shard_shape(row.shape), config)  # noqa: B023 (called at once)
        for layout in (owners, more)
    )
    # Of four experts, 32 x 24: one of them, split over fsdp; a slice of each.
    assert held["layers"].pop("gate") == held["layers"].pop("up") == (2, 1, 16, 24)
    assert gathered["layers"].pop("gate") == gathered["layers"].pop("up") == (2, 4, 4, 24)
    assert held["layers"].pop("down") == (2, 1, 24, 16) and gathered["layers"].pop("down") == (2, 4, 24, 4)
    assert held == gathered and held["layers"]["q"] == (2, 4, 64)


def test_a_dim_its_mesh_axes_do_not_divide_is_refused_and_the_multiple_named(devices):
    layout = make_layout("decoding", devices, data=2, fsdp=4)
    with pytest.raises(ValueError, match="axis 'slots' of size 12 .* 8 ways .*multiple of 8"):
        layout.sharding("slots", shape=(12,))
    assert layout.sharding("slots", shape=(16,)).shard_shape((16,)) == (2,)


def test_split_tokens_lie_in_pairs_of_an_early_and_a_late_chunk(devices):
    four = make_layout("training", devices, fsdp=2, context=4)
    assert four.token_order(16).reshape(4, 4).tolist() == [
        [0, 1, 14, 15],
        [2, 3, 12, 13],
        [4, 5, 10, 11],
        [6, 7, 8, 9],
    ]
    # A token looks at those before it and itself: 136 in all, and every part at as many.
    assert (four.token_order(16) + 1).reshape(4, 4).sum(axis=1).tolist() == [34, 34, 34, 34]
    assert make_layout("training", devices, fsdp=8).token_order(5).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="row of 20 tokens cannot be split over 4 parts .* multiple of 8, such as 24"):
        four.token_order(20)


def test_every_logical_axis_of_the_parameters_is_in_the_training_table():
    for config in (make_config(tie_word_embeddings=False), make_moe_config()):
        table = parameter_table(config)
        named = {axis for row in (table | table["layers"]).values() if not isinstance(row, dict) for axis in row.axes}
        assert named - {None} <= set(TRAINING) and "embed" not in DECODING


def test_training_keeps_one_part_in_eight_of_every_matrix_on_a_device(devices):
    config = make_config()
    layout = make_layout("training", devices, fsdp=4, tensor=2)
    params = jax.device_put(make_params(config), param_shardings(config, layout))
    for name in ("q", "o", "gate", "down"):
        leaf = params["layers"][name]
        assert leaf.addressable_shards[0].data.size * 8 == leaf.size, name


@pytest.mark.parametrize("axes", MESHES, ids=str)
def test_the_weight_sync_keeps_every_value_under_other_shardings(devices, axes):
    config = make_moe_config(tie_word_embeddings=False)
    mesh = make_mesh(**axes, devices=devices)
    here, there = (param_shardings(config, Layout(mesh, phase)) for phase in ("training", "decoding"))
    params = make_params(config)
    synced = reshard(jax.device_put(params, here), there)
    jax.tree.map(lambda x, sharding: x.sharding.is_equivalent_to(sharding, x.ndim) or pytest.fail(), synced, there)
    jax.tree.map(np.testing.assert_array_equal, synced, params)


@pytest.mark.parametrize("count", [1, 8])
def test_synced_weights_outlive_the_donation_of_their_source(devices, count):
    layout = make_layout("training", devices[:count], fsdp=count)
    tree = {"moved": jax.device_put(jnp.arange(8.0), layout.sharding("embed")), "kept": jnp.ones(3)}
    tree["kept"] = jax.device_put(tree["kept"], layout.sharding())
    # "kept" stays where it is: that is where a copy could be a second name of the same buffer.
    synced = reshard(tree, {"moved": layout.sharding(), "kept": layout.sharding()})
    jax.jit(lambda t: jax.tree.map(lambda x: x * 0, t), donate_argnums=0)(tree)
    assert tree["kept"].is_deleted()
    np.testing.assert_array_equal(synced["moved"], np.arange(8))
    np.testing.assert_array_equal(synced["kept"], np.ones(3))


def test_the_weight_sync_casts_floating_point_values(devices):
    layout = make_layout("decoding", devices)
    x = jnp.array([1.0, 1 / 3, 3e38])
    synced = reshard(
        {"x": x, "half": x.astype(jnp.bfloat16)}, dict.fromkeys(("x", "half"), layout.sharding()), "bfloat16"
    )
    assert synced["x"].dtype == synced["half"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(synced["x"], x.astype(jnp.bfloat16))
    assert reshard({"x": x}, {"x": layout.sharding()})["x"].dtype == jnp.float32
