"""How far the policies that drew a batch's tokens lie from the one that is trained."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ulorl_jax.ops.masked import masked_sum
from ulorl_jax.ops.quantiles import count, quantile
from ulorl_jax.types import Batch

RATIO_QUANTILES = {"p01": 0.01, "p10": 0.1, "p50": 0.5, "p90": 0.9, "p99": 0.99}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Drift:
    """The gaps log pi_new - log pi_drawn of a micro-batch's response tokens.

    Sums of one type cross the mesh together with the gradients. A largest of all rows would cross it alone, at no
    fixed time: virtual CPU devices, which share their threads, can then wait for each other forever. So what is not
    a plain sum stays apart for every row until all micro-batches are through.

    Attributes:
      sums: `[]` f32 each: kl, fresh_kl, fresh (tokens that the newest policy drew) and age.
      counts: `[B, quantiles.BINS]` f32, histograms of the gaps.
      largest: `[B]` f32, the largest gap of a fresh token.
    """

    sums: dict[str, jax.Array]
    counts: jax.Array
    largest: jax.Array

    def __add__(self, other: Drift) -> Drift:
        return Drift(
            jax.tree.map(jnp.add, self.sums, other.sums),
            self.counts + other.counts,
            jnp.maximum(self.largest, other.largest),
        )


def drift(logp: jax.Array, micro: Batch, step: jax.Array) -> Drift:
    """Of one micro-batch.

    Args:
      logp: `[B, T]` f32, nats, recomputed by the trainer.
      micro: per-token arrays `[B, T]`.
      step: `[]` i32, the newest policy's.

    Returns:
      A `Drift`, without gradient.
    """
    gap = jax.lax.stop_gradient(jnp.where(micro.mask, logp - micro.rollout_logp, 0.0))
    kl = jnp.expm1(gap) - gap  # an unbiased, never negative estimate of KL(rollout || current)
    fresh = micro.mask & (micro.policy_step == step)
    sums = {
        "kl": jnp.sum(kl),
        "fresh_kl": masked_sum(kl, fresh),
        "fresh": jnp.sum(fresh, dtype=jnp.float32),
        "age": masked_sum((step - micro.policy_step).astype(jnp.float32), micro.mask),
    }
    return Drift(sums, count(gap, micro.mask), jnp.max(jnp.where(fresh, jnp.abs(gap), 0.0), axis=-1))


def drift_metrics(total: Drift, num_tokens: jax.Array) -> dict[str, jax.Array]:
    """Of the whole batch.

    Args:
      total: its micro-batches' added up.
      num_tokens: `[]` f32, response tokens of the global batch.

    Returns:
      `mismatch/kl` and `mismatch/max` (recorded against recomputed log-probs of tokens the newest policy drew: 0 but
      for rounding, unless the cache was kept), `staleness/kl` (the same over all tokens), `staleness/steps` (mean age
      of a token's policy) and `staleness/ratio_p01` .. `ratio_p99` (quantiles over all tokens of the ratio to the
      policy that drew one: the ratio that SAIS and TOIS train with, and POIS does not).
    """
    counts = jnp.sum(total.counts, axis=0)
    fresh = jnp.maximum(total.sums["fresh"], 1)
    return {
        "mismatch/kl": total.sums["fresh_kl"] / fresh,
        "mismatch/max": jnp.max(total.largest),
        "staleness/kl": total.sums["kl"] / num_tokens,
        "staleness/steps": total.sums["age"] / num_tokens,
        **{f"staleness/ratio_{name}": jnp.exp(quantile(counts, share)) for name, share in RATIO_QUANTILES.items()},
    }
