"""Lengths of outputs where none were measured: log-normal, cut at L."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from ulorl_jax.typed import demand

_NORMAL = NormalDist()


def lognormal_lengths(mean: float, p80: float, output_limit: int, count: int = 1 << 14) -> np.ndarray:
    """Lengths of outputs, log-normal and cut at L, evenly spaced in probability.

    Args:
      mean: of the cut lengths, as a share of L.
      p80: the share of L within which 80% of them lie.
      output_limit: L.
      count: of lengths.

    Returns:
      `[count]` i64, whole tokens, ascending.

    Raises:
      ValueError: no log-normal cut at L has both.
    """
    mu, sigma = fit_lognormal(mean, p80)
    z = np.array([_NORMAL.inv_cdf((i + 0.5) / count) for i in range(count)])
    return np.ceil(output_limit * np.minimum(np.exp(mu + sigma * z), 1.0)).astype(np.int64)


def fit_lognormal(mean: float, p80: float) -> tuple[float, float]:
    """mu and sigma of the log-normal that, cut at 1, has this mean and 80th percentile.

    Where two have them, the one with the smaller sigma. (No log-normal that is not cut has 0.32 and 0.49: its p80 is
    at most 1.43 times its mean.)

    Raises:
      ValueError: none has.
    """
    demand(0 < p80 < 1, "length_p80 is a share of L, between 0 and 1", p80, "0.49")
    sigmas = np.linspace(0.01, 3.0, 600)
    means = np.array([_cut_mean(p80, float(sigma)) for sigma in sigmas])
    below = np.flatnonzero(means <= mean)
    demand(
        mean < means[0] and len(below) > 0,
        f"a log-normal cut at L with length_p80 = {p80:g} has a length_mean from {means.min():.3f} to {means[0]:.3f}",
        mean,
        f"{(means.min() + means[0]) / 2:.2f}, or another length_p80",
    )
    low, high = float(sigmas[below[0] - 1]), float(sigmas[below[0]])
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _cut_mean(p80, middle) > mean else (low, middle)
    return _mu(p80, low), low


def _mu(p80: float, sigma: float) -> float:
    return math.log(p80) - sigma * _NORMAL.inv_cdf(0.8)


def _cut_mean(p80: float, sigma: float) -> float:
    """E[min(X, 1)] of a log-normal X."""
    mu = _mu(p80, sigma)
    return math.exp(mu + sigma**2 / 2) * _NORMAL.cdf(-(mu + sigma**2) / sigma) + _NORMAL.cdf(mu / sigma)
