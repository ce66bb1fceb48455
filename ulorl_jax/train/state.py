"""The train state: how it starts, how it is laid out, what updates it."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from optax.contrib import MuonDimensionNumbers

from ulorl_jax.mesh import Layout
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.models.qwen3_params import init_params, map_table
from ulorl_jax.processes import put
from ulorl_jax.types import TrainState

ADAMW, MUON = KINDS = "adamw", "muon"
MUON_RMS = 0.2  # of an update's entries, per unit of learning rate


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
    """AdamW, or Muon for the layers' matrices and AdamW with Nesterov's momentum for the rest.

    Attributes:
      kind: a name of `KINDS`.
      learning_rate: constant after the warm-up (paper: 1e-6), or its peak with decay_steps.
      warmup_steps: updates of linear rise from 0; 0 for none.
      decay_steps: updates until a cosine has brought it to a twentieth; 0 keeps it constant.
      b1, b2, eps: Adam's; Muon's momentum is b1.
      weight_decay: decoupled, per update and unit of learning rate.
      clip_norm: global norm the gradient is scaled down to; 0 for no clipping.
    """

    kind: str
    learning_rate: float
    warmup_steps: int
    decay_steps: int
    b1: float
    b2: float
    eps: float
    weight_decay: float
    clip_norm: float


def make_optimizer(settings: OptimizerSettings) -> optax.GradientTransformation:
    """AdamW or Muon behind global-norm clipping.

    Muon orthogonalises the momentum of each matrix (Jordan et al., 2024); scaled to AdamW's usual
    size of an update (Liu et al., arXiv 2502.16982), it takes AdamW's learning rates.

    Args:
      settings: see `OptimizerSettings`.

    Returns:
      An optax transformation.
    """
    s = settings
    if s.decay_steps:
        rate = optax.warmup_cosine_decay_schedule(
            0.0, s.learning_rate, s.warmup_steps, s.decay_steps, 0.05 * s.learning_rate
        )
    else:
        # One warm-up update would otherwise have rate 0: the rise starts at its first step up.
        rate = optax.linear_schedule(
            s.learning_rate / max(s.warmup_steps, 1), s.learning_rate, max(s.warmup_steps - 1, 0)
        )
    if s.kind == ADAMW:
        update = optax.adamw(rate, b1=s.b1, b2=s.b2, eps=s.eps, weight_decay=s.weight_decay)
    else:
        update = optax.contrib.muon(
            rate,
            beta=s.b1,
            adam_b1=s.b1,
            adam_b2=s.b2,
            eps=s.eps,
            weight_decay=s.weight_decay,
            adam_weight_decay=s.weight_decay,
            consistent_rms=MUON_RMS,
            muon_weight_dimension_numbers=_matrices,
        )
    return optax.chain(optax.clip_by_global_norm(s.clip_norm), update) if s.clip_norm else update


def _matrices(params: Any) -> Any:
    """What Muon orthogonalises: the last two axes of every stacked matrix of the layers."""

    def axes(path: tuple[Any, ...], x: Any) -> MuonDimensionNumbers | None:
        stacked = path[0].key == "layers" and x.ndim > 2
        return MuonDimensionNumbers((x.ndim - 2,), (x.ndim - 1,)) if stacked else None

    return jax.tree_util.tree_map_with_path(axes, params)


def state_shardings(config: Qwen3Config, optimizer: optax.GradientTransformation, layout: Layout) -> TrainState:
    """The training layout of the whole state: moments lie where their parameters lie.

    Args:
      config: the network's shape.
      optimizer: whose state is laid out.
      layout: the training layout.

    Returns:
      A `TrainState` of shardings.
    """
    params = map_table(lambda row: layout.sharding(*row.axes, shape=row.shape), config)
    shapes = map_table(lambda row: jax.ShapeDtypeStruct(row.shape, jnp.float32), config)
    replicated = layout.sharding()
    opt_state = optax.tree_map_params(
        optimizer,
        lambda moment, sharding: moment if isinstance(moment, optax.MaskedNode) else sharding,
        jax.eval_shape(optimizer.init, shapes),
        params,
        transform_non_params=lambda _: replicated,
        is_leaf=lambda node: isinstance(node, optax.MaskedNode),  # Muon has no moments for what AdamW updates
    )
    return TrainState(replicated, params, opt_state, replicated, replicated)


def state_structs(config: Qwen3Config, optimizer: optax.GradientTransformation, layout: Layout) -> TrainState:
    """Shape, dtype and sharding of every array of the state: what a checkpoint is restored into.

    Args:
      config: the network's shape.
      optimizer: from `make_optimizer`.
      layout: the training layout.

    Returns:
      A `TrainState` of `jax.ShapeDtypeStruct`.
    """
    params = map_table(lambda row: jax.ShapeDtypeStruct(row.shape, jnp.float32), config)
    count = jax.ShapeDtypeStruct((), jnp.int32)
    shapes = TrainState(count, params, jax.eval_shape(optimizer.init, params), count, count)
    return jax.tree.map(
        lambda shape, sharding: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding),
        shapes,
        state_shardings(config, optimizer, layout),
    )


def init_state(
    key: jax.Array, config: Qwen3Config, optimizer: optax.GradientTransformation, layout: Layout
) -> TrainState:
    """A new state, every array born in its place on the mesh.

    Args:
      key: seeds the parameters.
      config: the network's shape.
      optimizer: from `make_optimizer`.
      layout: the training layout.

    Returns:
      The state at step 0.
    """
    shardings = state_shardings(config, optimizer, layout)
    params = jax.jit(init_params, static_argnums=1, out_shardings=shardings.params)(key, config)
    return start_state(params, config, optimizer, layout)


def refuse_endless_skips(state: TrainState, limit: int, section: str) -> None:
    """Stops a run whose updates have stopped being numbers.

    Args:
      state: after an update.
      limit: skipped updates in a row that are too many.
      section: of the config, whose optimizer it is.

    Raises:
      FloatingPointError: the limit is reached; the state still holds the last good weights.
    """
    in_a_row = int(state.skipped_in_a_row)
    if in_a_row >= limit:
        raise FloatingPointError(
            f"{in_a_row} updates in a row had a non-finite loss, gradient or weight (train.max_skipped_in_a_row="
            f"{limit}), the last good one was number {int(state.step)}; start again with a smaller "
            f"{section}.learning_rate or {section}.clip_norm: a run goes on from its last good checkpoint"
        )


def start_state(
    params: Any, config: Qwen3Config, optimizer: optax.GradientTransformation, layout: Layout
) -> TrainState:
    """The state at step 0 of given parameters.

    Args:
      params: in the training layout; the state takes them over.
      config: the network's shape.
      optimizer: from `make_optimizer`.
      layout: the training layout.

    Returns:
      The state.
    """
    shardings = state_shardings(config, optimizer, layout)
    opt_state = jax.jit(optimizer.init, out_shardings=shardings.opt_state)(params)
    zeros = put([jnp.zeros((), jnp.int32) for _ in range(3)], [layout.sharding()] * 3)
    return TrainState(zeros[0], params, opt_state, zeros[1], zeros[2])
