"""The gradients of a network that computes in bfloat16 are added in float32, micro-batch by micro-batch."""

import dataclasses

import jax
import numpy as np
import optax

from tests.tiny import make_config, make_layout, make_params
from tests.train.test_step import host, make_batch, objective
from ulorl_jax.models.qwen3 import forward_packed, output_head
from ulorl_jax.ops.logprobs import token_logprobs
from ulorl_jax.train.state import start_state
from ulorl_jax.train.step import PER_TOKEN, StepSettings, make_train_step

CONFIG = make_config(dtype="bfloat16")
KEEPS_GRADIENTS = optax.trace(decay=0.0)  # whose state is the gradient that it was given last


def turned(batch, by):
    """The batch, its micro-batches so many places further on."""
    return dataclasses.replace(batch, **{name: np.roll(getattr(batch, name), -by, axis=0) for name in PER_TOKEN})


def plain_gradient(params, batch):
    """Of one micro-batch, as jax.grad gives it."""
    layout = make_layout("training")

    def loss(params, micro):
        hidden = forward_packed(params, CONFIG, micro.tokens, micro.positions, micro.sample_ids, layout)
        logp, entropy = token_logprobs(hidden, output_head(params), micro.tokens, temperature=0.85, chunk_size=20)
        return objective(logp, entropy, micro, None)[0]

    micro = dataclasses.replace(batch, **{name: getattr(batch, name)[0] for name in PER_TOKEN})
    return host(jax.jit(jax.grad(loss))(params, micro))


def test_gradients_in_bfloat16_are_added_in_float32():
    settings, layout = StepSettings(temperature=0.85, logprob_chunk=20), make_layout("training")
    step = make_train_step(CONFIG, objective, KEEPS_GRADIENTS, layout, settings)

    def gradient(batch):
        state = start_state(make_params(CONFIG), CONFIG, KEEPS_GRADIENTS, layout)
        return host(step(state, batch, None)[0].opt_state.trace)

    batch = make_batch(times=3, rows=1)
    count = int(batch.num_micro_batches)
    assert count >= 6
    alone = dataclasses.replace(batch, num_micro_batches=np.int32(1))
    each = [gradient(turned(alone, number)) for number in range(count)]
    added = jax.tree.map(lambda *grads: np.sum(np.stack(grads), axis=0), *each)
    found = gradient(batch)
    # Added in bfloat16, 8 bits, the sums would be off by some 1e-3.
    for path, sums in jax.tree_util.tree_leaves_with_path(found):
        want = dict(jax.tree_util.tree_leaves_with_path(added))[path]
        assert sums.dtype == np.float32 and np.abs(want).max() > 1e-5
        np.testing.assert_allclose(sums, want, rtol=1e-5, atol=1e-5 * np.abs(want).max(), err_msg=str(path))
    plain = plain_gradient(make_params(CONFIG), batch)
    gap = jax.tree.map(np.subtract, each[0], plain)
    assert optax.global_norm(gap) < 0.02 * optax.global_norm(plain)
