"""Rotary position embedding, the half-rotation form of Qwen3."""

import jax
import jax.numpy as jnp


def rope_angles(positions: jax.Array, head_dim: int, theta: float) -> tuple[jax.Array, jax.Array]:
    """Cosine and sine of the rotation at each position, computed once for all layers.

    Args:
      positions: `[B, T]` i32, position inside the sample.
      head_dim: d, even.
      theta: base of the frequencies.

    Returns:
      cos, sin: `[B, T, 1, d/2]` f32.
    """
    half = head_dim // 2
    frequency = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle = positions.astype(jnp.float32)[..., None, None] * frequency
    return jnp.cos(angle), jnp.sin(angle)


def apply_rope(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Rotates the pairs (x[i], x[i + d/2]) of every head.

    Args:
      x: `[B, T, heads, d]`.
      cos, sin: from `rope_angles`.

    Returns:
      `[B, T, heads, d]`, in x's dtype, rotated in fp32.
    """
    a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x.dtype)
