"""Sums and means over the tokens a mask selects; what it hides is never touched."""

import jax
import jax.numpy as jnp


def masked_sum(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Sum of `values` where `mask` is True.

    Values outside the mask may be NaN or infinite: they add neither to the sum
    nor, through `jnp.where`, to its gradient.

    Args:
      values: any shape, f32.
      mask: bool, same shape.

    Returns:
      `[]` f32.

    Example:
      >>> import jax.numpy as jnp
      >>> masked_sum(jnp.array([1.0, jnp.nan, 2.0]), jnp.array([True, False, True])).item()
      3.0
    """
    return jnp.sum(jnp.where(mask, values, 0.0))


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of `values` where `mask` is True; 0 where the mask selects nothing.

    Args:
      values: any shape, f32.
      mask: bool, same shape.

    Returns:
      `[]` f32.

    Example:
      >>> import jax.numpy as jnp
      >>> masked_mean(jnp.array([1.0, jnp.inf, 2.0]), jnp.array([True, False, True])).item()
      1.5
    """
    return masked_sum(values, mask) / jnp.maximum(jnp.sum(mask), 1)


def sample_mean(values: jax.Array, mask: jax.Array, sample_ids: jax.Array) -> jax.Array:
    """For every token, the masked mean of `values` over the sample it belongs to.

    Packed samples are told apart by their ids, which must be contiguous in a row
    (as `ops.packing` lays them out); memory is linear in T.

    Args:
      values: `[B, T]` f32.
      mask: `[B, T]` bool, the tokens that count.
      sample_ids: `[B, T]` i32; equal neighbours are one sample.

    Returns:
      `[B, T]` f32; 0 throughout a sample in which the mask selects nothing.

    Example:
      >>> import jax.numpy as jnp
      >>> values = jnp.array([[9.0, 1.0, 3.0, 9.0, 5.0]])
      >>> mask = jnp.array([[False, True, True, False, True]])
      >>> sample_mean(values, mask, jnp.array([[1, 1, 1, 2, 2]])).tolist()
      [[2.0, 2.0, 2.0, 5.0, 5.0]]
    """
    length = sample_ids.shape[1]
    starts = sample_ids[:, 1:] != sample_ids[:, :-1]
    run = jnp.pad(jnp.cumsum(starts, axis=1), ((0, 0), (1, 0)))  # 0, 1, .. per row

    def mean_of_row(row_values, row_mask, row_run):
        sums = jax.ops.segment_sum(jnp.where(row_mask, row_values, 0.0), row_run, num_segments=length)
        counts = jax.ops.segment_sum(row_mask.astype(jnp.float32), row_run, num_segments=length)
        return (sums / jnp.maximum(counts, 1.0))[row_run]

    return jax.vmap(mean_of_row)(values, mask, run)
