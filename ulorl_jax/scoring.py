"""From the record of an evaluation to its scores: nothing else is needed, no weights and no device."""

from __future__ import annotations

from typing import Any

import numpy as np

from ulorl_jax.io.record_reader import Record
from ulorl_jax.ops.scores import avg_at_k, bootstrap_interval, maj_at_k, pass_at_k
from ulorl_jax.types import LIMIT


def score_record(record: Record) -> dict[str, Any]:
    """avg@k, pass@k and maj@k with 95% bootstrap intervals over the problems, and what stands beside them.

    Outputs that could not be judged are errors: they are counted and leave their problem.
    So a problem may have fewer than k judged outputs; pass@k is over those that have
    enough, and every score says over how many problems it is. A truncated output is wrong
    and votes for nothing.

    Args:
      record: from `io.record_reader.read_record`.

    Returns:
      JSON: "avg@K", "maj@K" and "pass@k" for each k of the header, as {"score", "low", "high",
      "problems"} ("score" is None where no problem has k judged outputs); "avg_bounds": avg@K over all
      problems had all errors been wrong, and had they been right; "problems" and of these
      "unjudged_problems"; "outputs", of these "errors", and how many are "missing", where the record is not
      finished; "without_answer" and "truncated" (shares of the outputs), "tokens", "length" (mean and
      percentiles, tokens).

    Raises:
      ValueError: no output could be judged, or the header does not say how to score.
    """
    header, outputs = record.header, record.outputs
    if lacking := [name for name in ("samples", "seed", "scoring") if name not in header]:
        raise ValueError(f"the record's header lacks {lacking}; give a record of launch/evaluate.py")
    judged: dict[str, list[dict[str, Any]]] = {problem: [] for problem in record.problems}
    for output in outputs:
        if output["reward"] is not None:
            judged[output["problem"]].append(output)
    kept = [rows for rows in judged.values() if rows]
    if not kept:
        first = f", the first because of: {outputs[0]['reason']}" if outputs else ""
        raise ValueError(
            f"none of the record's {len(outputs)} outputs could be judged{first}; check data.answer_field and the "
            "verify section"
        )
    rewards = [[row["reward"] for row in rows] for rows in kept]
    answers = [[row["answer"] for row in rows] for rows in kept]
    k, scoring, seed = header["samples"], header["scoring"], header["seed"]

    def summarise(scores: np.ndarray) -> dict[str, Any]:
        if not len(scores):
            return {"score": None, "low": None, "high": None, "problems": 0}
        low, high = bootstrap_interval(scores, draws=scoring["bootstrap"], seed=seed)
        return {"score": float(np.mean(scores)), "low": low, "high": high, "problems": len(scores)}

    scores = {f"avg@{k}": summarise(avg_at_k(rewards))}
    for tries in scoring["pass_at"]:
        scores[f"pass@{tries}"] = summarise(pass_at_k([row for row in rewards if len(row) >= tries], tries))
    scores[f"maj@{k}"] = summarise(maj_at_k(answers, rewards))
    lengths = [output["num_tokens"] for output in outputs]
    return scores | {
        "avg_bounds": [_mean_with_errors_as(reward, outputs) for reward in (0.0, 1.0)],
        "problems": len(record.problems),
        "unjudged_problems": len(record.problems) - len(kept),
        "outputs": len(outputs),
        "errors": len(outputs) - sum(map(len, kept)),
        "missing": k * len(record.problems) - len(outputs),
        "without_answer": _share(output["answer"] is None for output in outputs),
        "truncated": _share(output["finished"] == LIMIT for output in outputs),
        "tokens": int(np.sum(lengths)),
        "length": {
            "mean": float(np.mean(lengths)),
            "p50": float(np.percentile(lengths, 50)),
            "p99": float(np.percentile(lengths, 99)),
            "max": int(np.max(lengths)),
        },
    }


def _mean_with_errors_as(reward: float, outputs: list[dict[str, Any]]) -> float:
    """avg@k over all problems, had every output that could not be judged this reward."""
    rewards: dict[str, list[float]] = {}
    for output in outputs:
        got = output["reward"]
        rewards.setdefault(output["problem"], []).append(reward if got is None else got)
    return float(np.mean([np.mean(of_problem) for of_problem in rewards.values()]))


def _share(flags: Any) -> float:
    return float(np.mean(list(flags)))
