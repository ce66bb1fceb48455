"""Well-mastered positive tokens (MPT) and when to leave them out (DMMPT; paper, 3.2)."""

from typing import Literal

import jax
import jax.numpy as jnp

from ulorl_jax.ops.masked import masked_mean, sample_mean

Gate = Literal["sample", "batch"]


def mastered_positive_mask(logp: jax.Array, reward: jax.Array, mask: jax.Array, *, tau: float) -> jax.Array:
    """True at the tokens of right answers that the policy is already sure of.

        MPT[i,t] = (p[i,t] >= tau) and (R_i = 1)

    Args:
      logp: `[B, T]` f32, nats, under the current policy.
      reward: `[B, T]` f32, the reward of each token's sample.
      mask: `[B, T]` bool, response tokens.
      tau: probability from which a token counts as mastered, in (0, 1]; the paper's is 0.99.

    Returns:
      `[B, T]` bool.

    Example:
      >>> import jax.numpy as jnp
      >>> logp = jnp.log(jnp.array([[0.999, 0.5, 0.999]]))
      >>> mastered_positive_mask(logp, jnp.array([[1.0, 1.0, 0.0]]), jnp.full((1, 3), True), tau=0.99).tolist()
      [[True, False, False]]

    Reference: paper, equation (9).
    """
    return (logp >= jnp.log(tau)) & (reward > 0) & mask


def dynamic_mask(
    logp: jax.Array,
    entropy: jax.Array,
    reward: jax.Array,
    mask: jax.Array,
    sample_ids: jax.Array,
    *,
    tau: float,
    sigma: float | jax.Array,
    gate: Gate = "sample",
    batch_entropy: jax.Array | None = None,
) -> jax.Array:
    """DMMPT: True at the tokens left out of the loss.

        Imask[i,t] = (H_i < sigma) and MPT[i,t],   H_i = mean over the response of -sum_v p_v log p_v

    Differs from eq. 10 as printed: the paper drops the minus sign of the entropy,
    with which the test would always hold.

    Args:
      logp: `[B, T]` f32, nats, under the current policy.
      entropy: `[B, T]` f32, nats, of the distribution each token was drawn from.
      reward: `[B, T]` f32, the reward of each token's sample.
      mask: `[B, T]` bool, response tokens.
      sample_ids: `[B, T]` i32, tells the samples of a packed row apart.
      tau: probability from which a token is mastered; the paper's is 0.99.
      sigma: entropy in nats under which mastered tokens are left out; 0 never masks,
        infinity always does; the paper's is 0.2.
      gate: "sample" compares H_i of each sample, as equation (10) is written;
        "batch" compares the token mean of the whole batch, as the text speaks of it.
      batch_entropy: `[]` f32, that token mean over the GLOBAL batch. With
        gate="batch" and None it is taken over the arrays given here, which is right
        only when they are the whole batch (one micro-batch).

    Returns:
      `[B, T]` bool, without gradient.

    Raises:
      ValueError: gate is neither of the two.

    Example:
      >>> import jax.numpy as jnp
      >>> ones = jnp.ones((1, 4)); ids = jnp.array([[1, 1, 2, 2]])
      >>> logp = jnp.log(jnp.array([[0.999, 0.7, 0.999, 0.7]])); entropy = jnp.array([[0.01, 0.1, 0.3, 0.4]])
      >>> dynamic_mask(logp, entropy, ones, ones > 0, ids, tau=0.99, sigma=0.2).tolist()
      [[True, False, False, False]]

    Reference: paper, equation (10).
    """
    logp, entropy = jax.lax.stop_gradient((logp, entropy))
    if gate == "sample":
        measured = sample_mean(entropy, mask, sample_ids)
    elif gate == "batch":
        if batch_entropy is None:
            batch_entropy = masked_mean(entropy, mask)
        measured = jax.lax.stop_gradient(batch_entropy)
    else:
        raise ValueError(f'gate must be "sample" or "batch", got {gate!r}')
    return mastered_positive_mask(logp, reward, mask, tau=tau) & (measured < sigma)
