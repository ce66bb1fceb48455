"""Qwen3's parameters: every one is declared once, with its shape, logical axes and initialiser."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ulorl_jax.models.qwen3 import Qwen3Config

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Param:
    """One row of the parameter table.

    Attributes:
      shape: of the array.
      axes: the logical axis of each dim (None: never sharded).
      std: standard deviation of its normal initialiser; None starts at one (a norm's scale).
    """

    shape: tuple[int, ...]
    axes: tuple[str | None, ...]
    std: float | None


def parameter_table(config: Qwen3Config) -> dict[str, Any]:
    """Every parameter of the network: shape, logical axes, initialiser.

    Args:
      config: the network's shape.

    Returns:
      A nested dict of `Param`, the structure of the parameter pytree.
    """
    c = config
    n, width, head = c.num_hidden_layers, c.hidden_size, c.head_dim
    q, kv = c.num_attention_heads * head, c.num_key_value_heads * head
    fan_in = width**-0.5
    # Projections back into the residual stream: 2n of them add up, so each starts 1/sqrt(2n) smaller.
    residual = (2 * n) ** -0.5
    layer = {
        "attention_norm": Param((n, width), (None, None), None),
        "q": Param((n, width, q), (None, "embed", "heads"), fan_in),
        "k": Param((n, width, kv), (None, "embed", "kv_heads"), fan_in),
        "v": Param((n, width, kv), (None, "embed", "kv_heads"), fan_in),
        "q_norm": Param((n, head), (None, None), None),
        "k_norm": Param((n, head), (None, None), None),
        "o": Param((n, q, width), (None, "heads", "embed"), q**-0.5 * residual),
        "mlp_norm": Param((n, width), (None, None), None),
    }
    if c.num_experts:
        e, f = c.num_experts, c.moe_intermediate_size
        layer |= {
            "router": Param((n, width, e), (None, "embed", None), fan_in),
            "gate": Param((n, e, width, f), (None, "experts", "embed", "mlp"), fan_in),
            "up": Param((n, e, width, f), (None, "experts", "embed", "mlp"), fan_in),
            "down": Param((n, e, f, width), (None, "experts", "mlp", "embed"), f**-0.5 * residual),
        }
    else:
        f = c.intermediate_size
        layer |= {
            "gate": Param((n, width, f), (None, "embed", "mlp"), fan_in),
            "up": Param((n, width, f), (None, "embed", "mlp"), fan_in),
            "down": Param((n, f, width), (None, "mlp", "embed"), f**-0.5 * residual),
        }
    table = {
        "embed": Param((c.vocab_size, width), ("vocab", "embed"), fan_in),
        "layers": layer,
        "final_norm": Param((width,), (None,), None),
    }
    if not c.tie_word_embeddings:
        table["head"] = Param((width, c.vocab_size), ("embed", "vocab"), fan_in)
    return table


def map_table(function: Callable[[Param], Any], config: Qwen3Config) -> PyTree:
    """A parameter-shaped tree of `function(row)` for every row of the table.

    Args:
      function: what to make of a row, for example its sharding.
      config: the network's shape.

    Returns:
      The tree.
    """
    return jax.tree.map(function, parameter_table(config), is_leaf=lambda row: isinstance(row, Param))


def init_params(key: jax.Array, config: Qwen3Config, dtype: Any = jnp.float32) -> PyTree:
    """Random parameters.

    Args:
      key: a PRNG key.
      config: the network's shape.
      dtype: of the parameters.

    Returns:
      The parameter pytree.
    """
    rows, structure = jax.tree.flatten(map_table(lambda row: row, config))
    keys = jax.random.split(key, len(rows))
    return jax.tree.unflatten(
        structure,
        [
            jnp.ones(row.shape, dtype) if row.std is None else row.std * jax.random.normal(k, row.shape, dtype)
            for row, k in zip(rows, keys, strict=True)
        ],
    )


@jax.jit
def unstack_layers(params: PyTree) -> PyTree:
    """Every layer's weights in arrays of their own, for `forward_cached`, which then needs no scan.

    XLA's CPU backend copies a layer's weights out of the stacked array before it multiplies by them, in every step of
    a scan: where few tokens are computed at a time that is a good third of the time.
    """
    weights, structure = jax.tree.flatten(params["layers"])
    layers = zip(*(list(stacked) for stacked in weights), strict=True)
    return params | {"layers": tuple(jax.tree.unflatten(structure, layer) for layer in layers)}
