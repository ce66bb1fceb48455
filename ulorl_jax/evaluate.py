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

    Raises:
      ValueError: no answer could be judged.
    """
    rollout = SegmentRollout(engine, dataclasses.replace(settings, kv=KEEP))
    rollout.pool.add_prompts(prompts, 1)
    finished: list[Sample] = []
    while len(finished) < len(prompts):
        finished += rollout.run(params, 0)[0]
    verdicts = [judge(sample) for sample in finished]
    judged = [verdict.reward for verdict in verdicts if verdict.reward is not None]
    if not judged:
        raise ValueError(
            f"none of the {len(verdicts)} held-out answers could be judged, the first because of: "
            f"{verdicts[0].reason}; check data.answer_field and the verify section"
        )
    return {
        "accuracy": float(np.mean(judged)),
        "errors": float(len(verdicts) - len(judged)),
        "truncated": float(np.mean([sample.finished == LIMIT for sample in finished])),
        "len_mean": float(np.mean([sample.num_tokens for sample in finished])),
    }
