"""Quantiles over all tokens of a batch, of counts that add up over micro-batches, rows and devices.

A quantile does not add up, a histogram does. Its bins are equally wide in asinh(x / SCALE): 1e-5 about 0, and a
tenth of the value away from it.
"""

import math

import jax
import jax.numpy as jnp

BINS = 256
SCALE = 1e-4
LARGEST = 20.0  # larger values are counted as this one
_WIDTH = 2 * math.asinh(LARGEST / SCALE) / BINS


def count(values: jax.Array, mask: jax.Array) -> jax.Array:
    """How many of a row's values lie in each bin.

    Args:
      values: `[B, T]` f32; NaN is not allowed where the mask is True.
      mask: `[B, T]` bool, the tokens that count.

    Returns:
      `[B, BINS]` f32; counts of several calls may be added.

    Example:
      >>> import jax.numpy as jnp
      >>> count(jnp.array([[0.1, -0.1, jnp.nan]]), jnp.array([[True, True, False]])).sum().item()
      2.0
    """
    place = jnp.arcsinh(jnp.clip(values, -LARGEST, LARGEST) / SCALE) / _WIDTH + BINS / 2
    index = jnp.clip(jnp.where(mask, place, 0.0).astype(jnp.int32), 0, BINS - 1)
    return jax.vmap(lambda i, m: jnp.zeros(BINS, jnp.float32).at[i].add(m))(index, mask.astype(jnp.float32))


def quantile(counts: jax.Array, share: float) -> jax.Array:
    """The value that `share` of the counted values do not exceed; off by at most 1e-5 and a tenth of itself.

    Args:
      counts: `[BINS]` f32, sums of what `count` returns.
      share: in (0, 1).

    Returns:
      `[]` f32; 0 where nothing was counted.

    Example:
      >>> import jax.numpy as jnp
      >>> counts = count(jnp.array([[0.01, 0.02, 0.03, 0.04]]), jnp.full((1, 4), True))[0]
      >>> 0.018 < quantile(counts, 0.5).item() < 0.022
      True
    """
    before = jnp.cumsum(counts)
    wanted = share * before[-1]
    index = jnp.argmax(before >= wanted)
    here = counts[index]
    within = (wanted - before[index] + here) / jnp.maximum(here, 1.0)
    value = SCALE * jnp.sinh((index + within - BINS / 2) * _WIDTH)
    return jnp.where(before[-1] > 0, value, 0.0)
