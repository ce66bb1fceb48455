"""Drawing tokens where ids are split over the mesh: against one device, and what travels."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.rollout.test_sampling import KEY, draw, head, hiddens
from tests.tiny import make_layout
from ulorl_jax.rollout.sampling import BLOCK, Sampling
from ulorl_jax.rollout.split_sampling import draw_tokens

SLOTS, VOCAB = 48, 1200
MESHES = [{"fsdp": 2, "context": 2, "tensor": 2}, {"fsdp": 1, "context": 8}, {"fsdp": 1, "tensor": 2, "data": 4}]


@functools.cache
def program(layout, sampling):
    return jax.jit(functools.partial(draw_tokens, sampling=sampling, layout=layout))


def given(layout, vocab=VOCAB, seed=7):
    """Hidden states and head where they lie, and whose token is drawn."""
    slots = jax.device_put(hiddens(SLOTS, seed), layout.sharding("slots", None))
    ids, positions = jnp.arange(SLOTS) * 7 + 3, jnp.arange(SLOTS) % 5 + 100
    return slots, jax.device_put(head(vocab), layout.sharding(None, "vocab")), KEY, ids, positions


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(0.85), Sampling(0.0), Sampling(0.85, top_k=7), Sampling(0.85, top_k=1), Sampling(1.0, top_k=700),
        Sampling(0.85, top_p=0.5), Sampling(0.85, top_p=1e-6), Sampling(0.85, top_p=0.9, top_k=20),
        Sampling(0.7, top_p=0.95, top_k=5000),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("axes", MESHES, ids=str)
def test_tokens_and_log_probs_are_those_of_one_device(devices, axes, sampling):
    layout = make_layout("decoding", devices, **axes)
    hidden, table, *whose = given(layout)
    tokens, logp = program(layout, sampling)(hidden, table, *whose)
    wanted, wanted_logp = draw(jnp.asarray(np.asarray(hidden)), head(VOCAB), *whose, sampling)
    np.testing.assert_array_equal(tokens, wanted)
    np.testing.assert_allclose(logp, wanted_logp, atol=2e-5)
    assert tokens.dtype == jnp.int32 and tokens.sharding.is_equivalent_to(layout.sharding("slots"), 1)
    if sampling == Sampling(0.85):
        part = np.asarray(tokens) * layout.ways("vocab") // VOCAB
        assert len(np.unique(part)) == layout.ways("vocab")  # every part drew something


def test_of_equal_logits_greedy_takes_the_lowest_id_in_whatever_part_it_is(devices):
    layout = make_layout("decoding", devices, fsdp=1, context=8)
    hidden, _, *whose = given(layout)
    table = np.zeros((8, 96), np.float32)
    table[:, 29], table[:, 30:60] = 1, 1
    tokens, _ = program(layout, Sampling(0.0))(jnp.abs(hidden), jnp.asarray(table), *whose)
    assert set(np.asarray(tokens).tolist()) == {29}


def test_ties_with_the_last_token_kept_are_kept_in_every_part(devices):
    layout = make_layout("decoding", devices, fsdp=1, context=8)
    _, _, *whose = given(layout)
    table = np.full((8, 96), -30, np.float32)
    table[:, 5], table[:, [20, 50, 90]] = np.log(0.4), np.log(0.2)
    hidden = jnp.zeros((SLOTS, 8)).at[:, 0].set(1)
    for sampling in (Sampling(1.0, top_k=2), Sampling(1.0, top_p=0.5)):
        tokens, logp = program(layout, sampling)(hidden, jnp.asarray(table), *whose)
        assert set(np.asarray(tokens).tolist()) == {5, 20, 50, 90}
        np.testing.assert_allclose(logp, np.where(np.asarray(tokens) == 5, np.log(0.4), np.log(0.2)), atol=1e-5)


@pytest.mark.parametrize("sampling", [Sampling(0.85), Sampling(0.0), Sampling(0.85, 0.9), Sampling(0.85, 0.9, 20)])
def test_no_device_sees_the_logits_or_the_head_of_all_ids(devices, sampling):
    layout = make_layout("decoding", devices, fsdp=2, context=2, tensor=2)
    text = program(layout, sampling).lower(*given(layout, 4 * BLOCK)).compile().as_text() or ""
    sizes = {int(n) for dims in re.findall(r"\b[a-z]+\d+\[([\d,]+)\]", text) for n in dims.split(",")}
    assert max(sizes) == BLOCK
