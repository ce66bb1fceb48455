"""What was sampled at each step, with rewards and policy steps, for people, checks and plans."""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ulorl_jax.io.files import write_atomically
from ulorl_jax.io.rows import read_rows
from ulorl_jax.io.step_files import LENGTHS, TRACES
from ulorl_jax.io.tokenizer import Tokenizer
from ulorl_jax.types import Sample, Verdict

TRAINED, UNINFORMATIVE, ERROR = "trained", "uninformative", "error"
# What a row of an older run lacks; such runs traced the first samples judged in a step, not whole groups.
OLDER = {"group": None, "use": None, "advantage": None, "policy_logp": None, "entropy": None}
OLDER |= {"mastered": [], "masked": False}


@dataclasses.dataclass(frozen=True, eq=False)
class TracedSample:
    """A sample to show, with what its step made of it.

    Attributes:
      sample: with its prompt.
      verdict: None where it has not been judged.
      group: the same for the samples of one prompt, unique in a run.
      use: what became of it: `TRAINED`, `UNINFORMATIVE` or `ERROR`.
      advantage: None where it was not trained.
      policy_logp: `[num_tokens]` f32, nats, of its tokens under the weights that the step's first update starts from,
        at the sampling temperature; None where nobody computed them.
      entropy: `[num_tokens]` f32, nats, of the distributions they were drawn from, under the same weights.
      mastered: indices of the output's tokens that are well-mastered positive tokens.
      masked: DMMPT's gate left those out of the loss.
    """

    sample: Sample
    verdict: Verdict | None = None
    group: int = 0
    use: str = UNINFORMATIVE
    advantage: float | None = None
    policy_logp: np.ndarray | None = None
    entropy: np.ndarray | None = None
    mastered: np.ndarray | Sequence[int] = ()
    masked: bool = False


def write_trace(
    workdir: str | os.PathLike[str], step: int, traced: Sequence[TracedSample], tokenizer: Tokenizer
) -> pathlib.Path:
    """Writes one JSON object per sample to `workdir/rollouts/step_000012.jsonl`, atomically.

    Args:
      workdir: the run's folder.
      step: names the file; a file of the same step is replaced.
      traced: those worth keeping; the choice is the caller's.
      tokenizer: ids to text: all of a prompt, an output up to its end token.

    Returns:
      The file's path.
    """
    path = TRACES.path(workdir, step)
    write_atomically(path, "".join(json.dumps(_record(each, tokenizer)) + "\n" for each in traced))
    return path


def read_trace(workdir: str | os.PathLike[str], step: int) -> list[dict[str, Any]]:
    """The rows of a step's trace.

    Args:
      workdir: the run's folder.
      step: one of `TRACES.steps`.

    Returns:
      What `write_trace` wrote; what rows of an older run lack is None, empty or False.

    Raises:
      ValueError: the run has no trace of the step, or the file is damaged.
    """
    steps = TRACES.steps(workdir)
    if step not in steps:
        there = f"there are traces of the steps {ranges(steps)}" if steps else "it has none: traces_per_step was 0, or"
        there += "" if steps else " no group has been released yet"
        raise ValueError(f"{workdir} has no trace of step {step}; {there}")
    return [OLDER | row for _, row in read_rows(TRACES.path(workdir, step))]


def write_lengths(workdir: str | os.PathLike[str], step: int, samples: Sequence[Sample]) -> pathlib.Path:
    """Writes the tokens of every output and of its prompt to `workdir/lengths/step_000012.json`, atomically.

    Args:
      workdir: the run's folder.
      step: names the file; a file of the same step is replaced.
      samples: all that finished.

    Returns:
      The file's path.
    """
    path = LENGTHS.path(workdir, step)
    sizes = [[sample.num_tokens, len(sample.prompt.tokens)] for sample in samples]
    write_atomically(path, json.dumps(sizes) + "\n")
    return path


def _record(traced: TracedSample, tokenizer: Tokenizer) -> dict[str, Any]:
    sample, verdict = traced.sample, traced.verdict
    return {
        "sample": sample.id,
        "prompt_id": sample.prompt.id,
        "group": traced.group,
        "source": sample.prompt.source,
        "question": sample.prompt.question,
        "prompt": tokenizer.decode(sample.prompt.tokens),
        "output": tokenizer.decode_output(sample.output),
        "reference": sample.prompt.reference,
        "reward": verdict.reward if verdict else None,
        "reason": verdict.reason if verdict else "",
        "use": traced.use,
        "advantage": traced.advantage,
        "finished": sample.finished,
        "segments": [
            {
                "policy_step": segment.policy_step,
                "kv": segment.kv,
                "num_tokens": len(segment.tokens),
                "text": tokenizer.decode_output(segment.tokens),
            }
            for segment in sample.segments
        ],
        "prompt_tokens": sample.prompt.tokens.tolist(),
        "tokens": sample.output.tolist(),
        "logp": _rounded(sample.logp),
        "policy_logp": None if traced.policy_logp is None else _rounded(traced.policy_logp),
        "entropy": None if traced.entropy is None else _rounded(traced.entropy),
        "mastered": [int(index) for index in traced.mastered],
        "masked": traced.masked,
    }


def _rounded(nats: np.ndarray) -> list[float | None]:
    """For JSON, which has no NaN; four decimals of a nat are plenty for reading."""
    return [round(x, 4) if math.isfinite(x) else None for x in nats.tolist()]


def ranges(numbers: Sequence[int]) -> str:
    """1-3, 7: ascending numbers, those without a gap together."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ", ".join("-".join(map(str, part)) for part in parts)
