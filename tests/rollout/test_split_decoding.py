"""Decoding where slots, experts, heads and ids are split over the mesh: the tokens of one device, nothing gathered."""

import functools
import re

import numpy as np
import pytest

from tests.rollout.test_engine import LIMIT, NEVER, WIDTH, put, rows_of
from tests.tiny import SEED, make_config, make_layout, make_moe_config, make_params, make_prompts
from ulorl_jax.mesh import reshard
from ulorl_jax.models.qwen3_params import unstack_layers
from ulorl_jax.rollout import decoding, placing
from ulorl_jax.rollout.decode_state import EngineSpec
from ulorl_jax.rollout.engine import PolicyEngine, param_shardings
from ulorl_jax.rollout.pages import PageSettings
from ulorl_jax.rollout.sampling import BLOCK, Sampling

SLOTS, VOCAB = 8, 4 * BLOCK  # a size that nothing else has
CONFIGS = {
    "tied": make_config(vocab_size=VOCAB),
    "experts": make_moe_config(vocab_size=VOCAB, tie_word_embeddings=False),
}
ALL = {"fsdp": 2, "context": 2, "tensor": 2}


@functools.cache
def params_of(kind):
    return make_params(CONFIGS[kind])


def decoded(kind, layout, sampling, pages=PageSettings()):  # noqa: B008 (frozen)
    """Tokens and log-probs of eight slots whose contexts are computed beside one another's tokens."""
    engine = PolicyEngine(EngineSpec(CONFIGS[kind], SLOTS, WIDTH, sampling, NEVER, layout, pages), SEED)
    params = reshard(params_of(kind), param_shardings(engine.spec))
    contexts = [prompt.tokens for prompt in make_prompts(SLOTS)]
    state = put(engine, contexts, range(SLOTS), range(SLOTS), engine.init_decode_state(), leader=SLOTS)
    if pages.count:
        table = np.arange(SLOTS * pages.holding(WIDTH)).reshape(SLOTS, -1) % (pages.count // engine.spec.parts)
        state = engine.assign_pages(state, table.astype(np.int32))
    state, drawn = engine.generate_segment(params, state, WIDTH, rows=1, chunk=20)
    return rows_of(drawn), [row[:LIMIT] for row in np.asarray(drawn.logp)]


@functools.cache
def on_one(kind, sampling):
    return decoded(kind, make_layout("decoding"), sampling)


@pytest.mark.parametrize(
    ("kind", "axes", "sampling"),
    [
        ("tied", ALL, Sampling(0.85)),
        ("tied", {"fsdp": 1, "context": 8}, Sampling(0.0)),
        ("experts", {"data": 2, "fsdp": 1, "context": 4}, Sampling(0.85)),
        ("experts", {"fsdp": 1, "expert": 4, "tensor": 2}, Sampling(0.85)),
    ],
    ids=str,
)
def test_T1_where_ids_are_split_the_tokens_of_one_device_are_drawn(devices, kind, axes, sampling):
    rows, logp = decoded(kind, make_layout("decoding", devices, **axes), sampling)
    wanted, wanted_logp = on_one(kind, sampling)
    assert rows == wanted and all(len(row) == LIMIT for row in rows)
    np.testing.assert_allclose(logp, wanted_logp, atol=1e-4)


def test_T1_where_ids_and_pages_are_split_the_tokens_of_one_device_are_drawn(devices):
    layout = make_layout("decoding", devices, **ALL)
    rows, logp = decoded("experts", layout, Sampling(0.85), PageSettings(4 * 20, 4))
    wanted, wanted_logp = on_one("experts", Sampling(0.85))
    assert rows == wanted
    np.testing.assert_allclose(logp, wanted_logp, atol=1e-4)


@pytest.mark.parametrize("kind", CONFIGS)
def test_no_device_sees_the_embedding_the_head_or_the_logits_of_all_ids(devices, kind):
    layout = make_layout("decoding", devices, **ALL)
    spec = EngineSpec(CONFIGS[kind], SLOTS, WIDTH, Sampling(0.85), NEVER, layout)
    params = unstack_layers(reshard(params_of(kind), param_shardings(spec)))
    lowered = decoding.generate_segment.lower(spec, params, placing.state_structs(spec), 16, 0, 1, 16, 16)
    text = lowered.compile().as_text() or ""
    sizes = {int(n) for dims in re.findall(r"\b[a-z]+\d+\[([\d,]+)\]", text) for n in dims.split(",")}
    assert BLOCK in sizes and max(sizes) < VOCAB


def test_ids_the_mesh_cannot_split_are_refused_before_anything_compiles(devices):
    layout = make_layout("decoding", devices, fsdp=1, context=8)
    spec = EngineSpec(make_config(vocab_size=100), SLOTS, WIDTH, Sampling(0.85), NEVER, layout)
    with pytest.raises(ValueError, match="axis 'vocab' of size 100 cannot be split 8 ways .*multiple of 8"):
        PolicyEngine(spec, SEED)
