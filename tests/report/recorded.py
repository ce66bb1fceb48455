"""Run folders as runs of today and older ones write them, from samples and numbers that tests choose."""

import base64
import dataclasses
import gzip
import json
import pathlib
import re
from typing import Any

import numpy as np

from tests import runs
from ulorl_jax.io.files import write_atomically
from ulorl_jax.io.metrics import Metrics, write_summary
from ulorl_jax.io.tokenizer import ByteTokenizer
from ulorl_jax.io.traces import write_lengths
from ulorl_jax.types import EOS, LIMIT, Prompt, Sample, Segment, Verdict

GROUP = 4  # samples of a prompt
TOKENIZER = ByteTokenizer(256, (10,))
# What a model may write to get out of a page.
HOSTILE = "</script><img src=x onerror=document.title='taken'><!--<script>{{script}}&lt; 'ü→日本 \U0001f600"


def record(
    folder: pathlib.Path,
    *,
    steps: int = 6,
    newer: bool = True,
    copies: int = 1,
    output: str = "a11,b32,#{answer}",
    config: dict[str, Any] | None = None,
    metrics: dict[int, dict[str, float]] | None = None,
) -> pathlib.Path:
    """Writes a run of 1 + steps rows of metrics, and two groups of samples per step.

    Args:
      folder: where to.
      steps: of the run.
      newer: traces with group, use, entropy and mastered tokens; False: as older runs wrote them.
      copies: of every sample, under other numbers.
      output: text of the outputs; "{answer}" is 1 in right ones, else 2.
      config: keys that differ from a small run's, by dotted name.
      metrics: by step, values that differ.

    Returns:
      The folder.
    """
    settings = runs.settings({"model.vocab_size": 256} | (config or {}))
    write_atomically(folder / "config.json", json.dumps(dataclasses.asdict(settings), indent=2))
    with Metrics(folder, after_step=-1) as out:
        for step in range(steps + 1):
            out.write(step, _row(step) | (metrics or {}).get(step, {}))
    for step in range(1, steps + 1):
        samples = [_sample(step, i, output) for i in range(2 * GROUP)]
        verdicts = [_verdict(i) for i in range(len(samples))]
        write_lengths(folder, step, samples)
        rows = [_older(sample, verdict) for sample, verdict in zip(samples, verdicts, strict=True)]
        rows = [_newer(row) if newer else row for row in rows]
        rows = [row | {"sample": row["sample"] + 10_000 * copy} for copy in range(copies) for row in rows]
        write_atomically(folder / "rollouts" / f"step_{step:06}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_summary(folder, {"steps": steps, "stopped": "", "environment": {"jax": "0.10.2", "devices": 1}})
    return folder


def traces(folder: pathlib.Path) -> list[dict[str, Any]]:
    """All recorded samples, in order."""
    return [json.loads(line) for path in sorted((folder / "rollouts").iterdir()) for line in path.open()]


def unpack(page: str) -> dict[str, Any]:
    """The data blocks of a page, by id."""
    blocks = re.findall(r'<script type="text/plain" id="([\w-]+)">([\w+/=]*)</script>', page)
    return {name: json.loads(gzip.decompress(base64.b64decode(text))) for name, text in blocks}


def _row(step: int) -> dict[str, float]:
    if step == 0:
        return {"heldout/sampled": 0.25}
    row = {"reward/mean": step / 10, "entropy/mean": 0.2, "groups/informative": 1.0, "reward/errors": 0.0}
    row |= {"train/skipped": 0.0, "mismatch/kl": 1e-9, "rollout/slot_use": 0.75, "ledger/trained": 100.0 * step}
    row |= {"time/decode_s": 0.5 + step / 100, "time/update_s": 1 / 3, "time/step_s": 1.0, "rollout/evicted": 0.0}
    return row | ({"heldout/sampled": 0.5 + step / 100} if step % 2 == 0 else {})


def _sample(step: int, i: int, output: str) -> Sample:
    group = 2 * (step - 1) + i // GROUP
    prompt = Prompt(group, _ids("a1b2="), "#1", f"row-{group}", "a1b2")
    text = _ids(output.replace("{answer}", "12"[i % 2])).tolist()
    cut = max(1, len(text) // 2)
    sample = Sample(GROUP * group + i % GROUP, prompt).append(_segment(text[:cut], step - 1, "prefill"))
    ended = i != GROUP - 1
    return sample.append(_segment([*text[cut:], *[10] * ended], step, "recompute"), EOS if ended else LIMIT)


def _segment(ids: list[int], policy_step: int, kv: str) -> Segment:
    logp = [-((17 * i + 7 * value) % 40) / 10 for i, value in enumerate(ids)]
    return Segment(np.array(ids, np.int32), np.array(logp, np.float32), policy_step, kv)


def _verdict(i: int) -> Verdict:
    if i == 2 * GROUP - 1:
        return Verdict(None, "the verifier did not answer <b>in time</b>")
    return Verdict(float(i % 2 == 0), f"'{i % 2 + 1}': compared with '1'")


def _older(sample: Sample, verdict: Verdict) -> dict[str, Any]:
    """A row of a trace, as it was before groups and entropies were recorded."""
    return {
        "sample": sample.id,
        "prompt_id": sample.prompt.id,
        "source": sample.prompt.source,
        "question": sample.prompt.question,
        "prompt": TOKENIZER.decode(sample.prompt.tokens),
        "output": TOKENIZER.decode_output(sample.output),
        "reference": sample.prompt.reference,
        "reward": verdict.reward,
        "reason": verdict.reason,
        "finished": sample.finished,
        "segments": [
            {
                "policy_step": segment.policy_step,
                "kv": segment.kv,
                "num_tokens": len(segment.tokens),
                "text": TOKENIZER.decode_output(segment.tokens),
            }
            for segment in sample.segments
        ],
        "prompt_tokens": sample.prompt.tokens.tolist(),
        "tokens": sample.output.tolist(),
        "logp": [round(value, 4) for value in sample.logp.tolist()],
    }


def _newer(row: dict[str, Any]) -> dict[str, Any]:
    """The row with what traces have now: the first group of a step is trained, the second holds an error."""
    trained = row["prompt_id"] % 2 == 0
    use = "trained" if trained else "error"
    policy = [round(value * 0.9, 4) for value in row["logp"]] if trained else None
    right = trained and row["reward"] == 1
    return row | {
        "group": row["prompt_id"] + 500,
        "use": use,
        "advantage": (0.866 if right else -0.866) if trained else None,
        "policy_logp": policy,
        "entropy": [round(-value / 3, 4) for value in row["logp"]] if trained else None,
        "mastered": [i for i, value in enumerate(policy or []) if right and value > -0.01],
        "masked": right and row["sample"] % GROUP == 0,
    }


def _ids(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8).astype(np.int32)
