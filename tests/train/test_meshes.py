"""T3 over meshes: three updates on eight devices are those of one, however rows, tokens and weights are split."""

import functools

import jax
import numpy as np
import pytest

from tests.tiny import make_config, make_layout, make_moe_config
from tests.train.test_step import host, make_batch, make_state, step_of
from ulorl_jax.train.step import batch_shardings

CONFIGS = {"dense": make_config(), "experts": make_moe_config(), "untied": make_config(tie_word_embeddings=False)}
UPDATES = 3


def updated(kind, batch, layout):
    """The state after three updates, and the metrics of each."""
    state, step, metrics = make_state(CONFIGS[kind], layout), step_of(CONFIGS[kind], layout), []
    placed = jax.device_put(batch, batch_shardings(layout))
    for _ in range(UPDATES):
        state, found = step(state, placed, None)
        metrics.append(host(found))
    return host(state), metrics


@functools.cache
def on_one(kind):
    return updated(kind, make_batch(times=3), make_layout("training"))


def check(kind, devices, **axes):
    state, metrics = on_one(kind)
    layout = make_layout("training", devices, **axes)
    # Rows of 48 tokens: over four parts in chunks of 6, borders in the middle of samples.
    batch = make_batch(times=3, rows=8, length=48)
    assert batch.num_micro_batches > 1  # whose gradients are added on the mesh
    other_state, other_metrics = updated(kind, batch, layout)
    assert 0.1 < metrics[0]["train/grad_norm"] < 100 and metrics[0]["loss/policy"] != metrics[2]["loss/policy"]
    for one, other in zip(metrics, other_metrics, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_allclose(other[name], one[name], rtol=2e-4, atol=1e-5, err_msg=name)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5), state, other_state)


def test_T3_holds_where_rows_tokens_and_weights_are_all_split(devices):
    check("dense", devices, fsdp=2, context=2, tensor=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "axes",
    [
        {"data": 8, "fsdp": 1},
        {"fsdp": 8},
        {"data": 2, "fsdp": 2, "tensor": 2},
        {"data": 2, "fsdp": 4},
        {"data": 2, "fsdp": 1, "context": 4},
    ],
    ids=str,
)
def test_T3_the_update_does_not_depend_on_the_mesh(devices, axes):
    check("dense", devices, **axes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "axes",
    [
        {"data": 8, "fsdp": 1},
        {"fsdp": 8},
        {"data": 2, "fsdp": 2, "tensor": 2},
        {"data": 2, "fsdp": 4},
        {"fsdp": 2, "context": 4},
        {"context": 2, "tensor": 2},
        {"fsdp": 2, "expert": 4},
        {"context": 2, "expert": 2, "tensor": 2},
    ],
    ids=str,
)
def test_T3_holds_with_experts(devices, axes):
    check("experts", devices, **axes)


@pytest.mark.slow
def test_T3_holds_with_a_head_of_its_own(devices):
    check("untied", devices, fsdp=2, context=2, tensor=2)
