"""Which policy stands in the ratio's denominator: TOIS, SAIS and POIS (paper, 3.1.2).

Each returns old_logp; the ratio of the loss is exp(logp - old_logp). The three
take the same arguments, so one of them can be handed to the train step as it is.
"""

import jax


def on_policy(logp: jax.Array, rollout_logp: jax.Array, first_logp: jax.Array | None = None) -> jax.Array:
    """TOIS: the log-prob recorded when the whole output was sampled by one policy (M = 1).

    Args:
      logp: `[B, T]` f32, nats, under the weights being trained (unused).
      rollout_logp: `[B, T]` f32, nats, recorded by the sampler.
      first_logp: unused.

    Returns:
      `[B, T]` f32, without gradient.

    Example:
      >>> import jax.numpy as jnp
      >>> on_policy(jnp.array([-1.0]), jnp.array([-1.5])).tolist()
      [-1.5]

    Reference: paper, 3.1.2; the yardstick of Figure 2.
    """
    del logp, first_logp
    return jax.lax.stop_gradient(rollout_logp)


def segment_aware(logp: jax.Array, rollout_logp: jax.Array, first_logp: jax.Array | None = None) -> jax.Array:
    """SAIS: each segment's own sampling policy, log pi_f(i)(token) as recorded.

    The value is that of `on_policy`; the meaning differs: with M > 1 early segments
    were drawn by older policies, so their ratios stray from 1 and get clipped.

    Args:
      logp: `[B, T]` f32, nats, under the weights being trained (unused).
      rollout_logp: `[B, T]` f32, nats, recorded segment by segment.
      first_logp: unused.

    Returns:
      `[B, T]` f32, without gradient.

    Example:
      >>> import jax.numpy as jnp
      >>> segment_aware(jnp.array([-1.0]), jnp.array([-1.5])).tolist()
      [-1.5]

    Reference: paper, equation (8).
    """
    return on_policy(logp, rollout_logp, first_logp)


def pseudo_on_policy(logp: jax.Array, rollout_logp: jax.Array, first_logp: jax.Array | None = None) -> jax.Array:
    """POIS: the newest policy for every token, as if it had sampled the whole output.

    With one update per rollout step this is stop_gradient(logp): the ratio is 1
    everywhere, nothing is clipped and no extra forward pass is needed. With several
    updates, `first_logp` holds the log-probs under the step's first weights.

    Args:
      logp: `[B, T]` f32, nats, under the weights being trained.
      rollout_logp: unused: how the token was sampled plays no part.
      first_logp: `[B, T]` f32, nats, recomputed once at the start of the step; None
        where the step makes one update.

    Returns:
      `[B, T]` f32, without gradient.

    Example:
      >>> import jax.numpy as jnp
      >>> pseudo_on_policy(jnp.array([-1.0]), jnp.array([-1.5])).tolist()
      [-1.0]

    Reference: paper, 3.1.2, Pseudo On-Policy Importance Sampling.
    """
    del rollout_logp
    return jax.lax.stop_gradient(logp if first_logp is None else first_logp)
