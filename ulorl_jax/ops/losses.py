"""The losses: clipped surrogate, UloRL's equation (10), supervised.

Every loss divides by `num_tokens`, the response tokens of the GLOBAL batch, and
so do its metrics: losses, gradients and metrics of micro-batches add up to those
of the whole batch, however it was packed, split or sharded.
"""

import jax
import jax.numpy as jnp

from ulorl_jax.ops.masked import masked_sum
from ulorl_jax.ops.mastered import Gate, dynamic_mask, mastered_positive_mask

Metrics = dict[str, jax.Array]


def clipped_surrogate_loss(
    logp: jax.Array,
    old_logp: jax.Array,
    advantage: jax.Array,
    mask: jax.Array,
    *,
    num_tokens: float | jax.Array,
    clip_low: float,
    clip_high: float,
) -> tuple[jax.Array, Metrics]:
    """The token-level clipped policy-gradient loss, negated for a minimiser.

        loss = -1/num_tokens * sum_mask min(r A, clip(r, 1 - clip_low, 1 + clip_high) A),  r = exp(logp - old_logp)

    NaN or infinity outside the mask is inert, in the value and in the gradient.

    Args:
      logp: `[B, T]` f32, nats, under the weights being trained: carries the gradient.
      old_logp: `[B, T]` f32, nats, the ratio's denominator (see `ops.importance`).
      advantage: `[B, T]` f32.
      mask: `[B, T]` bool, the tokens to train.
      num_tokens: response tokens in the global batch, > 0.
      clip_low: how far the ratio may fall below 1, >= 0.
      clip_high: how far it may rise above 1, >= 0.

    Returns:
      loss `[]` f32, and metrics that sum over micro-batches, each a fraction of
      num_tokens: `loss/policy`, `ratio/mean`, `ratio/clip_frac` (tokens whose
      gradient the clip removed), `ratio/outside_frac` (tokens outside the range).

    Example:
      >>> import jax.numpy as jnp
      >>> logp = jnp.log(jnp.array([[0.6, 0.2]])); old = jnp.log(jnp.array([[0.4, 0.2]]))
      >>> loss, metrics = clipped_surrogate_loss(
      ...     logp, old, jnp.array([[1.0, -1.0]]), jnp.full((1, 2), True), num_tokens=2, clip_low=0.2, clip_high=0.2)
      >>> round(loss.item(), 4), metrics["ratio/clip_frac"].item()  # -(1.2 - 1.0) / 2, not -(1.5 - 1.0) / 2
      (-0.1, 0.5)

    Reference: paper, equations (3) and (7).
    """
    return _surrogate(logp, old_logp, advantage, mask, mask, num_tokens, clip_low, clip_high)


def ulorl_loss(
    logp: jax.Array,
    old_logp: jax.Array,
    entropy: jax.Array,
    advantage: jax.Array,
    reward: jax.Array,
    mask: jax.Array,
    sample_ids: jax.Array,
    *,
    num_tokens: float | jax.Array,
    clip_low: float,
    clip_high: float,
    tau: float,
    sigma: float | jax.Array,
    gate: Gate = "sample",
    batch_entropy: jax.Array | None = None,
) -> tuple[jax.Array, Metrics]:
    """UloRL's objective, equation (10) whole: the clipped surrogate with DMMPT.

        loss = -1/num_tokens * sum_mask (1 - Imask) min(r A, clip(r) A)

    Masked tokens stay in the denominator. With POIS as old_logp the ratio is 1.

    Args:
      logp: `[B, T]` f32, nats, under the weights being trained: carries the gradient.
      old_logp: `[B, T]` f32, nats (see `ops.importance`).
      entropy: `[B, T]` f32, nats, full vocabulary, at the sampling temperature.
      advantage: `[B, T]` f32.
      reward: `[B, T]` f32, of each token's sample.
      mask: `[B, T]` bool, response tokens.
      sample_ids: `[B, T]` i32, tells the samples of a packed row apart.
      num_tokens: response tokens in the global batch, masked MPTs included.
      clip_low, clip_high: the clip range, [1 - clip_low, 1 + clip_high].
      tau, sigma, gate, batch_entropy: see `mastered.dynamic_mask`. sigma=0 turns
        DMMPT off; sigma=inf leaves mastered positive tokens out always.

    Returns:
      loss `[]` f32, and metrics that sum over micro-batches: those of
      `clipped_surrogate_loss` (ratios of all response tokens, clip_frac of those left
      in), `entropy/mean`, `dmmpt/mpt_frac`, `dmmpt/masked_frac`, each over num_tokens.

    Example:
      >>> import jax.numpy as jnp
      >>> one = jnp.ones((1, 2)); logp = jnp.log(jnp.array([[0.995, 0.5]]))
      >>> loss, metrics = ulorl_loss(
      ...     logp, logp, 0.1 * one, one, one, one > 0, one.astype(int), num_tokens=2,
      ...     clip_low=0.2, clip_high=0.2, tau=0.99, sigma=0.2)
      >>> loss.item(), metrics["dmmpt/masked_frac"].item()
      (-0.5, 0.5)

    Reference: paper, equation (10).
    """
    left_out = dynamic_mask(
        logp, entropy, reward, mask, sample_ids, tau=tau, sigma=sigma, gate=gate, batch_entropy=batch_entropy
    )
    mastered = mastered_positive_mask(logp, reward, mask, tau=tau)
    trained = mask & ~left_out
    loss, metrics = _surrogate(logp, old_logp, advantage, mask, trained, num_tokens, clip_low, clip_high)
    metrics |= {
        "entropy/mean": jax.lax.stop_gradient(masked_sum(entropy, mask)) / num_tokens,
        "dmmpt/mpt_frac": jnp.sum(mastered, dtype=jnp.float32) / num_tokens,
        "dmmpt/masked_frac": jnp.sum(left_out, dtype=jnp.float32) / num_tokens,
    }
    return loss, metrics


def supervised_loss(logp: jax.Array, mask: jax.Array, *, num_tokens: float | jax.Array) -> tuple[jax.Array, Metrics]:
    """Next-token cross entropy over the tokens of the mask.

        loss = -1/num_tokens * sum_mask logp

    Args:
      logp: `[B, T]` f32, nats.
      mask: `[B, T]` bool, the tokens to learn.
      num_tokens: such tokens in the global batch, > 0.

    Returns:
      loss `[]` f32 in nats per token, and the metric `loss/supervised`.

    Example:
      >>> import jax.numpy as jnp
      >>> supervised_loss(jnp.array([[0.0, -1.0, -3.0]]), jnp.array([[False, True, True]]), num_tokens=2)[0].item()
      2.0
    """
    loss = -masked_sum(logp, mask) / num_tokens
    return loss, {"loss/supervised": jax.lax.stop_gradient(loss)}


def _surrogate(logp, old_logp, advantage, mask, trained, num_tokens, clip_low, clip_high):
    """The loss over `trained`, a part of `mask`; the ratios' metrics over `mask`."""
    # Both sides of the subtraction are cleaned: a NaN behind jnp.where still poisons a gradient.
    log_ratio = jnp.where(mask, logp, 0.0) - jnp.where(mask, jax.lax.stop_gradient(old_logp), 0.0)
    # Differs from eq. 7: exp overflows past 88, and a ratio of e^20 says no more than that trust is lost.
    ratio = jnp.exp(jnp.clip(log_ratio, -20.0, 20.0))
    unclipped = ratio * advantage
    clipped = jnp.clip(ratio, 1.0 - clip_low, 1.0 + clip_high) * advantage
    # Not jnp.minimum: at a tie (a ratio on the edge of the range) it would halve the gradient.
    removed = clipped < unclipped
    loss = -masked_sum(jnp.where(removed, jax.lax.stop_gradient(clipped), unclipped), trained) / num_tokens
    outside = (ratio < 1.0 - clip_low) | (ratio > 1.0 + clip_high)
    metrics = {
        "loss/policy": loss,
        "ratio/mean": masked_sum(ratio, mask) / num_tokens,
        "ratio/clip_frac": masked_sum(removed.astype(jnp.float32), trained) / num_tokens,
        "ratio/outside_frac": masked_sum(outside.astype(jnp.float32), mask) / num_tokens,
    }
    return loss, jax.lax.stop_gradient(metrics)
