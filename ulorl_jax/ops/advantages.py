"""Group-relative advantages and the filter of dynamic sampling (paper, equation (4))."""

import jax
import jax.numpy as jnp


def group_advantages(reward: jax.Array, group_id: jax.Array, *, ddof: int = 1, eps: float = 1e-6) -> jax.Array:
    """How much better each sample did than the others of its prompt.

        A_i = (R_i - mean(R)) / (std(R) + eps),   over the samples of i's group

    Args:
      reward: `[N]` f32.
      group_id: `[N]` i32, any ids, in any order; equal ids are one group.
      ddof: 1 divides the variance by n - 1 (the sample standard deviation, as in
        the framework the paper's authors built on), 0 by n.
      eps: added to the standard deviation.

    Returns:
      `[N]` f32. 0 in a group of one sample or of equal rewards.

    Raises:
      ValueError: the two are not one-dimensional and of one length.

    Example:
      >>> import jax.numpy as jnp
      >>> advantage = group_advantages(jnp.array([1.0, 0.0, 1.0, 1.0]), jnp.array([7, 3, 3, 7]))
      >>> [round(x, 3) for x in advantage.tolist()]
      [0.0, -0.707, 0.707, 0.0]

    Reference: paper, equation (4).
    """
    group, size = _group_index(reward, group_id)
    count = jax.ops.segment_sum(jnp.ones_like(reward), group, num_segments=size)
    mean = jax.ops.segment_sum(reward, group, num_segments=size) / jnp.maximum(count, 1)
    centered = reward - mean[group]
    variance = jax.ops.segment_sum(centered**2, group, num_segments=size) / jnp.maximum(count - ddof, 1)
    advantage = centered / (jnp.sqrt(variance)[group] + eps)
    # Rounding of the mean of equal rewards, divided by eps, would come out as an advantage.
    return jnp.where(informative_groups(reward, group_id), advantage, 0.0)


def informative_groups(reward: jax.Array, group_id: jax.Array) -> jax.Array:
    """True for the samples of groups with 0 < number correct < G.

    The others have advantage 0 throughout and are dropped before packing, so that
    the token mean is taken over tokens that carry a gradient (dynamic sampling).

    Args:
      reward: `[N]` f32.
      group_id: `[N]` i32.

    Returns:
      `[N]` bool.

    Example:
      >>> import jax.numpy as jnp
      >>> informative_groups(jnp.array([1.0, 0.0, 1.0, 1.0]), jnp.array([7, 3, 3, 7])).tolist()
      [False, True, True, False]

    Reference: paper; the constraint 0 < number correct < G of dynamic sampling.
    """
    group, size = _group_index(reward, group_id)
    low = jax.ops.segment_min(reward, group, num_segments=size)
    high = jax.ops.segment_max(reward, group, num_segments=size)
    return (low < high)[group]


def _group_index(reward, group_id):
    if reward.ndim != 1 or reward.shape != group_id.shape:
        raise ValueError(f"want reward [N] and group_id [N], got {reward.shape} and {group_id.shape}")
    size = reward.shape[0]
    return jnp.unique(group_id, return_inverse=True, size=size)[1].reshape(size), size
