"""Weights in and out: against transformers, bit for bit there and back, out of every kind of folder."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import hf_folders
from tests.tiny import make_layout
from ulorl_jax.models.qwen3 import forward_packed, map_table, output_head
from ulorl_jax.weights import open_weights

KINDS = pytest.mark.parametrize("kind", hf_folders.KINDS)


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory):
    """kind -> a folder written by transformers, once."""
    return functools.cache(lambda kind: hf_folders.write(tmp_path_factory.mktemp("hf") / "model", kind, shard="40KB"))


def load(weights, layout=None, dtype=jnp.float32):
    layout = layout or make_layout("training")
    shardings = map_table(lambda row: layout.sharding(*row.axes, shape=row.shape), weights.config)
    return weights.load(shardings, dtype)


@functools.partial(jax.jit, static_argnums=1)
def logits(params, config, tokens):
    hidden = forward_packed(params, config, tokens[None], jnp.arange(len(tokens))[None], jnp.ones_like(tokens)[None])
    return hidden[0] @ output_head(params)


@KINDS
def test_logits_over_512_tokens_are_those_of_transformers(folder_of, kind):
    folder = folder_of(kind)
    weights = open_weights(folder)
    tokens = np.random.default_rng(0).integers(0, 96, 512)
    wanted = hf_folders.logits(hf_folders.load(folder), tokens)
    ours = np.asarray(logits(load(weights), weights.config, tokens))
    print(kind, np.abs(ours - wanted).max(), np.abs(wanted).max())
    assert np.abs(wanted).max() > 1
    assert np.abs(ours - wanted).max() <= 2e-4
