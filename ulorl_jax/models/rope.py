"""Rotary position embedding, the half-rotation form of Qwen3, and YaRN for contexts longer than it was trained on."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """YaRN (Peng et al., 2023, arXiv 2309.00071): positions beyond the trained length by slower rotation. Hashable.

    Names are those of `rope_scaling` in a Hugging Face config.json.

    Attributes:
      factor: s, by how much the context is made longer; 1 is off.
      original_max_position_embeddings: tokens of context the frequencies were trained on.
      attention_factor: cos and sin are multiplied by it, so scores by its square; 0 takes
        the paper's 0.1 ln(s) + 1.
      beta_fast: a pair that turns at least so often over the trained context keeps its frequency.
      beta_slow: one that turns at most so often is slowed down s times; between the two is a ramp.

    Raises:
      ValueError: a value that YaRN is not defined for.
    """

    factor: float = 1.0
    original_max_position_embeddings: int = 0
    attention_factor: float = 0.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0

    def __post_init__(self):
        if not 1 <= self.factor < math.inf:
            raise ValueError(f"rope_scaling.factor must be at least 1 (1 is off), got {self.factor}")
        if not 0 <= self.attention_factor < math.inf:
            raise ValueError(
                f"rope_scaling.attention_factor must be at least 0, got {self.attention_factor}; "
                "0 takes 0.1 ln(factor) + 1"
            )
        if self.factor == 1 and self.attention_factor not in (0, 1):
            raise ValueError(
                f"rope_scaling.factor=1 is off, attention_factor={self.attention_factor} would be without effect; "
                "set it to 0, or the factor above 1"
            )
        if self.factor > 1 and self.original_max_position_embeddings < 1:
            raise ValueError(
                f"rope_scaling.factor={self.factor} needs original_max_position_embeddings, the context the model was "
                f"trained on; got {self.original_max_position_embeddings}"
            )
        if not 0 < self.beta_slow < self.beta_fast < math.inf:
            raise ValueError(
                "rope_scaling wants 0 < beta_slow < beta_fast, got "
                f"{self.beta_slow} and {self.beta_fast}; the paper's are 1 and 32"
            )

    @property
    def magnitude(self) -> float:
        """What cos and sin are multiplied by: attention_factor, or the paper's formula where that is 0."""
        return self.attention_factor or 0.1 * math.log(self.factor) + 1

    @property
    def effect(self) -> tuple[float, ...]:
        """What two settings that rotate alike have in common, however they are spelled."""
        if self.factor == 1:
            return ()
        return (self.factor, self.original_max_position_embeddings, self.magnitude, self.beta_fast, self.beta_slow)


OFF = RopeScaling()


def rope_angles(
    positions: jax.Array, head_dim: int, theta: float, scaling: RopeScaling = OFF
) -> tuple[jax.Array, jax.Array]:
    """Cosine and sine of the rotation at each position, computed once for all layers.

    Args:
      positions: `[B, T]` i32, position inside the sample.
      head_dim: d, even.
      theta: base of the frequencies.
      scaling: YaRN; off by default.

    Returns:
      cos, sin: `[B, T, 1, d/2]` f32, multiplied by YaRN's attention factor.
    """
    half = head_dim // 2
    frequency = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle = positions.astype(jnp.float32)[..., None, None]
    if scaling.factor == 1:
        angle = angle * frequency
        return jnp.cos(angle), jnp.sin(angle)
    angle = angle * (frequency * _slow_down(half, theta, scaling))
    return jnp.cos(angle) * scaling.magnitude, jnp.sin(angle) * scaling.magnitude


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


def _slow_down(half: int, theta: float, scaling: RopeScaling) -> np.ndarray:
    """`[d/2]` f32: each pair's frequency is multiplied by this, between 1 / factor and 1."""

    def pair(turns: float) -> float:  # the pair that turns so often over the trained context
        return half * math.log(scaling.original_max_position_embeddings / (turns * 2 * math.pi)) / math.log(theta)

    # Differs from the paper's gamma(r): the ramp is linear in the pair's index, not in its turns, and begins and
    # ends at whole pairs, as in the authors' code and in every checkpoint made with it.
    first = max(math.floor(pair(scaling.beta_fast)), 0)
    last = min(math.ceil(pair(scaling.beta_slow)), 2 * half - 1)
    ramp = np.clip((np.arange(half) - first) / (last - first or 1e-3), 0, 1)
    return (1 - ramp + ramp / scaling.factor).astype(np.float32)
