"""What was sampled at each step, with rewards and policy steps, for people, checks and plans."""

import json
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from ulorl_jax.io.files import write_atomically
from ulorl_jax.io.tokenizer import Tokenizer
from ulorl_jax.types import Sample, Verdict


def write_trace(
    workdir: str | os.PathLike[str],
    step: int,
    samples: Sequence[Sample],
    verdicts: Sequence[Verdict | None],
    tokenizer: Tokenizer,
) -> pathlib.Path:
    """Writes one JSON object per sample to `workdir/rollouts/step_000012.jsonl`, atomically.

    Args:
      workdir: the run's folder.
      step: names the file; a file of the same step is replaced.
      samples: those worth keeping; the choice is the caller's.
      verdicts: one per sample, None where it has not been judged.
      tokenizer: ids to text: all of a prompt, an output up to its end token.

    Returns:
      The file's path.

    Raises:
      ValueError: not one verdict per sample.
    """
    if len(samples) != len(verdicts):
        raise ValueError(f"want one verdict per sample, got {len(samples)} samples and {len(verdicts)} verdicts")
    records = [_record(sample, verdict, tokenizer) for sample, verdict in zip(samples, verdicts, strict=True)]
    path = pathlib.Path(workdir) / "rollouts" / f"step_{step:06}.jsonl"
    write_atomically(path, "".join(json.dumps(record) + "\n" for record in records))
    return path


def write_lengths(workdir: str | os.PathLike[str], step: int, samples: Sequence[Sample]) -> pathlib.Path:
    """Writes the tokens of every output and of its prompt to `workdir/lengths/step_000012.json`, atomically.

    Args:
      workdir: the run's folder.
      step: names the file; a file of the same step is replaced.
      samples: all that finished.

    Returns:
      The file's path.
    """
    path = pathlib.Path(workdir) / "lengths" / f"step_{step:06}.json"
    sizes = [[sample.num_tokens, len(sample.prompt.tokens)] for sample in samples]
    write_atomically(path, json.dumps(sizes) + "\n")
    return path


def _record(sample: Sample, verdict: Verdict | None, tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "sample": sample.id,
        "prompt_id": sample.prompt.id,
        "source": sample.prompt.source,
        "question": sample.prompt.question,
        "prompt": tokenizer.decode(sample.prompt.tokens),
        "output": tokenizer.decode_output(sample.output),
        "reference": sample.prompt.reference,
        "reward": verdict.reward if verdict else None,
        "reason": verdict.reason if verdict else "",
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
        # JSON has no NaN; four decimals of a nat are plenty for reading.
        "logp": [round(x, 4) if math.isfinite(x) else None for x in sample.logp.tolist()],
    }
