"""One update: (state, batch) -> (state, metrics), pure, jitted, the state donated.

Gradients of micro-batches are added in fp32 and every loss divides by the global
number of tokens, so the update does not depend on how the batch was split (theorem
T3). The loop over micro-batches has a traced trip count: padding to a power of two
costs no computation, and only the shape [A, B, T] can make the step compile again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ulorl_jax.mesh import Layout, gather
from ulorl_jax.models.qwen3 import Qwen3Config, forward_packed, output_head
from ulorl_jax.ops.logprobs import target_logprobs, token_logprobs
from ulorl_jax.ops.masked import masked_sum
from ulorl_jax.train.drift import drift, drift_metrics
from ulorl_jax.train.state import state_shardings
from ulorl_jax.types import Array, Batch, TrainState

_FLOATS = ("rollout_logp", "advantage", "reward", "num_tokens")
PER_TOKEN = ("tokens", "positions", "sample_ids", "mask", "rollout_logp", "policy_step", "advantage", "reward")
Metrics = dict[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """The batch as the rollout step's first weights see it; needed by some objectives.

    Attributes:
      logp: `[A, B, T]` f32, nats.
      entropy: `[]` f32, nats, mean over the response tokens of the global batch.
    """

    logp: Array
    entropy: Array


# The loss of a micro-batch: (logp [B,T], entropy [B,T], micro-batch, first) -> (loss [], metrics), log-probs and
# entropies in nats; logp carries the gradient. The micro-batch is a `types.Batch` whose per-token arrays are [B,T].
# `first` is None where a step makes one update and nothing needs scores. Loss and metrics are sums over the tokens of
# the micro-batch's mask, divided by its num_tokens, which are the whole batch's: those of micro-batches are added up.
Objective = Callable[[jax.Array, jax.Array, Batch, Scores | None], tuple[jax.Array, Metrics]]


@dataclasses.dataclass(frozen=True)
class StepSettings:
    """What the train step is compiled for besides the shapes.

    Attributes:
      temperature: the sampler's; log-probs and entropies are of logits / temperature.
      logprob_chunk: tokens per row whose logits exist at one time.
    """

    temperature: float
    logprob_chunk: int


def batch_shardings(layout: Layout) -> Batch:
    """Where a batch's arrays live: rows split, the rest replicated.

    Args:
      layout: the training layout.

    Returns:
      A `Batch` of shardings, for `jax.device_put`.
    """
    rows = layout.sharding(None, "rows", "tokens")
    scalar = layout.sharding()
    return Batch(**dict.fromkeys(PER_TOKEN, rows), num_tokens=scalar, num_micro_batches=scalar)


def batch_structs(layout: Layout, shape: tuple[int, int, int]) -> Batch:
    """Shape, dtype and sharding of every array of a batch: what a step is lowered with where there is none.

    Args:
      layout: the training layout.
      shape: [A, B, T].

    Returns:
      A `Batch` of `jax.ShapeDtypeStruct`.
    """

    def struct(name, sharding):
        dtype = jnp.float32 if name in _FLOATS else jnp.bool_ if name == "mask" else jnp.int32
        return jax.ShapeDtypeStruct(shape if name in PER_TOKEN else (), dtype, sharding=sharding)

    return Batch(**{name: struct(name, sharding) for name, sharding in vars(batch_shardings(layout)).items()})


def make_train_step(
    config: Qwen3Config,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    layout: Layout,
    settings: StepSettings,
) -> Callable[[TrainState, Batch, Scores | None], tuple[TrainState, Metrics]]:
    """Compiles the update.

    A non-finite loss or gradient leaves parameters and optimizer as they were and is
    counted in the state.

    Args:
      config: the network's shape.
      objective: the loss of a micro-batch, see `Objective`.
      optimizer: from `state.make_optimizer`.
      layout: the training layout.
      settings: temperature and chunking.

    Returns:
      A jitted function of (state, donated; batch; scores or None) to (state, metrics).
      Metrics are those of the objective, `train/grad_norm`, `train/skipped` and those of `drift.drift_metrics`.
    """
    logprobs = _make_logprobs(config, layout, settings)
    shardings = state_shardings(config, optimizer, layout)

    def loss_of(params, micro: Batch, first: Scores | None, step):
        logp, entropy = logprobs(params, micro)
        loss, metrics = objective(logp, entropy, micro, first)
        return loss, ((metrics, loss), drift(logp, micro, step))

    def train_step(state: TrainState, batch: Batch, first: Scores | None):
        def evaluate(i):
            """The loss of a micro-batch, a function that adds its gradient to what it is given, and what is known."""
            scores = None if first is None else Scores(first.logp[i], first.entropy)
            micro = _micro_batch(batch, i, layout)

            def loss(params):
                # Copied as the layers' are (models/qwen3.py).
                apart = {name: p if name == "layers" else jnp.copy(p) for name, p in params.items()}
                return loss_of(apart, micro, scores, state.step)

            return jax.vjp(loss, state.params, has_aux=True)

        def accumulate(i, total):
            grads, before, drifted = total
            loss, pull, (sums, apart) = evaluate(i)
            # Every layer's gradient is added in its place as the backward pass comes by: those of all layers of one
            # micro-batch never stand beside the sums.
            refs = jax.tree.map(jax.new_ref, grads)
            pull.with_refs(refs)(jnp.ones_like(loss))
            return jax.tree.map(jax.freeze, refs), jax.tree.map(jnp.add, before, sums), drifted + apart

        def zeros(shapes):
            return jax.tree.map(lambda s: jnp.zeros(s.shape, jnp.float32), shapes)

        start = zeros(state.params), *zeros(jax.eval_shape(lambda: evaluate(0)[2]))
        grads, (metrics, loss), drifted = jax.lax.fori_loop(0, batch.num_micro_batches, accumulate, start)
        grads = jax.lax.with_sharding_constraint(grads, shardings.params)
        norm = optax.global_norm(grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        # A norm is finite when every number in the tree is.
        finite = jnp.isfinite(norm) & jnp.isfinite(loss) & jnp.isfinite(optax.global_norm(params))
        params, opt_state = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old), (params, opt_state), (state.params, state.opt_state)
        )
        bad = 1 - finite.astype(jnp.int32)
        state = TrainState(
            state.step + 1 - bad, params, opt_state, state.skipped + bad, (state.skipped_in_a_row + bad) * bad
        )
        of_update = {"train/grad_norm": norm, "train/skipped": bad}
        return state, metrics | of_update | drift_metrics(drifted, batch.num_tokens)

    return jax.jit(train_step, donate_argnums=0, out_shardings=(shardings, layout.sharding()))


def make_score(config: Qwen3Config, layout: Layout, settings: StepSettings) -> Callable[[Any, Batch], Scores]:
    """Compiles a forward pass over the batch: POIS's old log-probs when a step makes several updates,
    and the batch entropy of DMMPT's gate="batch".

    Args:
      config: the network's shape.
      layout: the training layout.
      settings: temperature and chunking.

    Returns:
      A jitted function of (params, batch) to `Scores`.
    """
    logprobs = _make_logprobs(config, layout, settings)

    def score(params, batch: Batch) -> Scores:
        def add(i, carry):
            all_logp, total = carry
            micro = _micro_batch(batch, i, layout)
            logp, entropy = logprobs(params, micro)
            return all_logp.at[i].set(logp), total + masked_sum(entropy, micro.mask)

        start = jnp.zeros(batch.tokens.shape, jnp.float32), jnp.float32(0)
        logp, total = jax.lax.fori_loop(0, batch.num_micro_batches, add, start)
        return Scores(logp, total / batch.num_tokens)

    return jax.jit(score, out_shardings=Scores(layout.sharding(None, "rows", None), layout.sharding()))


def make_token_scores(
    config: Qwen3Config, layout: Layout, settings: StepSettings
) -> Callable[[Any, Batch], tuple[jax.Array, jax.Array]]:
    """Compiles a forward pass over one micro-batch: what given weights make of every token, for people to read.

    Args:
      config: the network's shape.
      layout: the training layout.
      settings: temperature and chunking.

    Returns:
      A jitted function of (params, batch of `[1, B, T]` arrays) to log-probs and entropies, `[B, T]` f32 each, nats,
      whole on every device.
    """
    logprobs = _make_logprobs(config, layout, settings)
    everywhere = layout.sharding()
    return jax.jit(
        lambda params, batch: logprobs(params, _micro_batch(batch, 0, layout)), out_shardings=(everywhere, everywhere)
    )


def _make_logprobs(config, layout, settings):
    """(params, micro-batch) -> log-probs and entropies, [B, T] each, tokens in their rows' order."""
    chosen = {"temperature": settings.temperature, "chunk_size": settings.logprob_chunk}

    def logprobs(params, micro: Batch):
        hidden = forward_packed(params, config, micro.tokens, micro.positions, micro.sample_ids, layout)
        if layout.mesh.size == 1:
            return token_logprobs(hidden, output_head(params), micro.tokens, **chosen)
        return _split_logprobs(hidden, output_head(params), micro.tokens, layout, chosen)

    return logprobs


def _split_logprobs(hidden, head, tokens, layout, chosen):
    """`token_logprobs` of hidden states in the layout's order; every device computes those of its own tokens.

    Those that would hold the same ones, with different parts of the vocabulary, share them out instead. The head is
    gathered once, and what it learns is added up once: not for each chunk.
    """
    batch, length = tokens.shape
    order, vocab, embed = layout.token_order(length), layout.names("vocab"), layout.names("embed")
    spec = layout.sharding("rows", "tokens").spec
    spread = jax.sharding.PartitionSpec(spec[0], (*layout.names("tokens"), *vocab))
    more = -length % (layout.ways("tokens") * layout.ways("vocab"))
    # The shift comes before the order: a token's predictor may lie on another device. The last predicts nothing.
    targets = jnp.pad(tokens[:, 1:], ((0, 0), (0, 1)))[:, order]

    def part(hidden, head, targets):
        # In the backward pass, the layers' begins when what the head learns has been added up: it is as large as the
        # head in float32, on every device.
        hidden, head = jax.lax.optimization_barrier((hidden, head.astype(hidden.dtype)))
        # XLA:TPU reduces an odd number of tiles of 128 as an all-reduce: Qwen3's 151,936 ids are 1,187.
        ids = head.shape[1]
        head = gather(jnp.pad(head, ((0, 0), (0, -ids % 256))), embed, 0)[:, :ids]
        return target_logprobs(hidden, gather(head, vocab, 1), targets, **chosen)

    given = (spread, layout.sharding("embed", "vocab").spec, spread)
    logp, entropy = jax.shard_map(part, mesh=layout.mesh, in_specs=given, out_specs=(spread, spread), check_vma=False)(
        jnp.pad(hidden, ((0, 0), (0, more), (0, 0))), head, jnp.pad(targets, ((0, 0), (0, more)))
    )
    inverse = np.argsort(order)
    both = jnp.stack([logp, jax.lax.stop_gradient(entropy)])
    logp, entropy = jnp.pad(layout.constrain(both, None, "rows", None)[..., inverse[:-1]], ((0, 0), (0, 0), (1, 0)))
    return logp, entropy


def _micro_batch(batch: Batch, i, layout: Layout) -> Batch:
    """One of them, the tokens of a row together again: what is read of a token is little."""
    rows = {name: layout.constrain(getattr(batch, name)[i], "rows", None) for name in PER_TOKEN}
    return dataclasses.replace(batch, **rows)
