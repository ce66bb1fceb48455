"""Evaluation's decoding: the rollout's own machinery with weights that stay, until every sample is finished."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ulorl_jax.rollout.engine import PolicyEngine
from ulorl_jax.rollout.segments import KEEP, SegmentRollout, SegmentSettings
from ulorl_jax.types import LIMIT, Prompt, Sample, Verdict


def evaluate(
    engine: PolicyEngine,
    params: Any,
    prompts: Sequence[Prompt],
    samples: int,
    judge: Callable[[Sequence[Sample]], list[Verdict]],
    settings: SegmentSettings,
    decoded: Callable[[], None] | None = None,
) -> dict[str, float]:
    """avg@k on held-out questions, within a training run; slots are refilled after every segment.

    The draws depend on the engine's seed, the prompt and the sample's number alone, so two evaluations
    of one policy agree, and two of different policies share their random numbers.

    Args:
      engine: the decoder, at the evaluation's sampling settings.
      params: the policy, in the decoding layout.
      prompts: the held-out questions.
      samples: k, outputs per prompt.
      judge: gives the verdicts of finished samples.
      settings: segment length and limits; the weights do not change, so the cache is kept.
      decoded: called after every segment, when its tokens have come to the host.

    Returns:
      `accuracy` (avg@k: every question counts the same; an output that could not be judged is counted
      in `errors` and left out), `errors`, `truncated` (share of outputs), `len_mean` (tokens).

    Raises:
      ValueError: no output could be judged.
    """
    rollout = SegmentRollout(engine, dataclasses.replace(settings, kv=KEEP))
    rollout.pool.add_prompts(prompts, samples)
    finished: list[Sample] = []
    for done, _ in decode_all(rollout, params):
        finished += done
        if decoded:
            decoded()
    verdicts = judge(finished)
    judged: dict[int, list[float]] = {}
    for sample, verdict in zip(finished, verdicts, strict=True):
        if verdict.reward is not None:
            judged.setdefault(sample.prompt.id, []).append(verdict.reward)
    if not judged:
        raise ValueError(
            f"none of the {len(verdicts)} held-out answers could be judged, the first because of: "
            f"{verdicts[0].reason}; check data.heldout.answer_field and the verify section"
        )
    return {
        "accuracy": float(np.mean([np.mean(rewards) for rewards in judged.values()])),
        "errors": float(sum(verdict.reward is None for verdict in verdicts)),
        "truncated": float(np.mean([sample.finished == LIMIT for sample in finished])),
        "len_mean": float(np.mean([sample.num_tokens for sample in finished])),
    }


def decode_all(rollout: SegmentRollout, params: Any) -> Iterator[tuple[list[Sample], dict[str, float]]]:
    """Decodes segment after segment until no sample is left; freed slots are filled between two segments.

    So a freed slot waits for at most one segment, and no slot for the longest output as long as
    samples are waiting. Between two segments the caller may rearrange the pool.

    Args:
      rollout: its pool holds the samples to decode.
      params: the policy, in the decoding layout.

    Yields:
      What `SegmentRollout.run` returns: the samples that finished in the segment, and its metrics.
    """
    while rollout.pool.occupied or rollout.pool.waiting:
        yield rollout.run(params, 0)
