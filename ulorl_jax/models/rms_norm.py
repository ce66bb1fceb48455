"""The norm of the network."""

import jax
import jax.numpy as jnp


def rms_norm(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    """x / rms(x) * scale over the last axis, normalised in fp32.

    Args:
      x: `[..., D]`.
      scale: `[D]`.
      eps: added to the mean square.

    Returns:
      `[..., D]` in x's dtype.
    """
    wide = x.astype(jnp.float32)
    normed = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + eps)
    return normed.astype(x.dtype) * scale.astype(x.dtype)
