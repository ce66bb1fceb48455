"""Held-out evaluation: the rollout's own machinery, run until every sample is finished."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ulorl_jax.rollout.engine import PolicyEngine
from ulorl_jax.rollout.segments import KEEP, SegmentRollout, SegmentSettings
from ulorl_jax.types import LIMIT, Prompt, Sample, Verdict


def evaluate(
    engine: PolicyEngine,
    params: Any,
    prompts: Sequence[Prompt],
    judge: Callable[[Sample], Verdict],
    settings: SegmentSettings,
) -> dict[str, float]:
    """One output per prompt; slots are refilled after every segment.

    The draws depend on the engine's seed and the prompt alone, so two evaluations of
    one policy agree, and two of different policies share their random numbers.

    Args:
      engine: the decoder, at the evaluation's sampling settings.
      params: the policy, in the decoding layout.
      prompts: the held-out questions.
      judge: gives the verdict of a finished sample.
      settings: segment length and limits; the weights do not change, so the cache is kept.

    Returns:
      `accuracy` (an answer that could not be judged is counted in `errors` and left out),
      `errors`, `truncated` (share of outputs), `len_mean` (tokens).
    """
    rollout = SegmentRollout(engine, dataclasses.replace(settings, kv=KEEP))
    rollout.pool.add_prompts(prompts, 1)
    finished: list[Sample] = []
    while len(finished) < len(prompts):
        finished += rollout.run(params, 0)[0]
    rewards = [judge(sample).reward for sample in finished]
    judged = [reward for reward in rewards if reward is not None]
    return {
        "accuracy": float(np.mean(judged)) if judged else float("nan"),
        "errors": float(len(rewards) - len(judged)),
        "truncated": float(np.mean([sample.finished == LIMIT for sample in finished])),
        "len_mean": float(np.mean([sample.num_tokens for sample in finished])),
    }
