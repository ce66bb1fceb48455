"""A whole evaluation: every question k times, judged, in a record from which the score can be computed again.

Killed at any moment and started again, it makes the same record. At every commit the
samples in flight leave their slots, and go on in fresh ones after a prefill of all their
tokens: in the run that was not killed as in the one that comes back, so both make the
same calls on the same numbers. What was decoded after the last commit is decoded and judged
again: a pair that takes about verify.deadline_s may then be an error once and not the other time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ulorl_jax import __version__
from ulorl_jax.clock import Clock, StopRequest
from ulorl_jax.evaluate import decode_all
from ulorl_jax.evaluation_settings import EvaluationSettings
from ulorl_jax.inputs import make_encode, make_judge, make_source, make_tokenizer
from ulorl_jax.io.files import write_atomically
from ulorl_jax.io.folders import demand_shared
from ulorl_jax.io.metrics import write_summary
from ulorl_jax.io.plots import plot_scores
from ulorl_jax.io.progress import Progress
from ulorl_jax.io.prompts import Prompts
from ulorl_jax.io.record_reader import read_record
from ulorl_jax.io.records import RecordInProgress, sha256
from ulorl_jax.io.samples import decode_samples, encode_samples
from ulorl_jax.io.tokenizer import Tokenizer
from ulorl_jax.mesh import Layout, make_mesh
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.parts import make_workdir
from ulorl_jax.processes import demand_same, first_before_others, is_first
from ulorl_jax.rewards import to_attempts
from ulorl_jax.rollout.engine import EngineSpec, PolicyEngine, param_shardings
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.rollout.segments import KEEP, SegmentRollout, SegmentSettings
from ulorl_jax.scoring import score_record
from ulorl_jax.typed import demand
from ulorl_jax.types import Attempt, Prompt, Sample, Verdict
from ulorl_jax.weights import Weights, open_weights


def run_evaluation(settings: EvaluationSettings, workdir: Path) -> dict[str, Any]:
    """Evaluates, or goes on where the workdir left off; SIGTERM and Ctrl-C end it after the segment.

    Of several processes each decodes with its devices and holds the same samples; process 0 writes.

    Args:
      settings: checked settings.
      workdir: gets record.jsonl, summary.json, scores.png and config.json.

    Returns:
      The summary as written, which only process 0 has; where it was stopped, how far it came.

    Raises:
      ValueError: weights, tokenizer, data or workdir cannot be used, or nothing could be judged.
    """
    demand_same("settings", dataclasses.asdict(settings) | {"--workdir": str(workdir)})
    _refuse_run(workdir)
    make_workdir(workdir)
    demand_shared(workdir)
    evaluation = _Evaluation(settings)
    header = evaluation.header()
    demand_same("weights, questions or versions", header, "give all the same files and the same installation")
    with contextlib.closing(evaluation.judge), contextlib.ExitStack() as held:
        with first_before_others("record"):
            record = RecordInProgress(
                workdir, header, evaluation.problems(), free=("versions",), follows=not is_first()
            )
            held.enter_context(contextlib.closing(record))
            scored = record.finished and (workdir / "summary.json").is_file()
        begun = (record.about or {}).get("begun", 0)
        read = {"finished": record.finished, "scored": scored, "outputs": len(record.outputs), "begun": begun}
        demand_same("record", read, "all must see at once what process 0 writes")  # from here on it changes
        if scored:
            return json.loads((workdir / "summary.json").read_text()) if is_first() else {}
        if is_first():  # only now: an evaluation that was refused has not touched the folder of the one that is there
            write_atomically(workdir / "config.json", json.dumps(dataclasses.asdict(settings), indent=2) + "\n")
        if record.header["versions"] != header["versions"]:
            evaluation.notes.append(f"begun with {record.header['versions']}, goes on with {header['versions']}")
        seconds: dict[str, float] = {}
        if not record.finished:
            with StopRequest() as stop:
                left, seconds = evaluation.decode(record, stop)
            if left:
                return {"stopped": stop.requested, "outputs_left": left}
            record.finish()
    if not is_first():
        return {}
    made = read_record(workdir)
    summary = score_record(made) | {"dropped": evaluation.dropped}
    summary["seconds"] = {name: round(value, 2) for name, value in sorted(seconds.items())}
    plot_scores(made.outputs, workdir / "scores.png")
    write_summary(workdir, summary)
    return summary


def _refuse_run(workdir: Path) -> None:
    """Refuses the folder of a training run, whose config and summary would be lost."""
    demand(
        not any((workdir / name).exists() for name in ("checkpoints", "metrics.jsonl")),
        "an evaluation wants a folder of its own, and --workdir is that of a run",
        str(workdir),
        f"--workdir={workdir}_evaluation",
    )


class _Evaluation:
    """What an evaluation works with; reads the questions, not yet the weights."""

    def __init__(self, settings: EvaluationSettings):
        s = self.settings = settings
        self.weights: Weights = open_weights(s.weights)
        scaling = s.rope_scaling if s.rope_scaling.factor > 1 else self.weights.config.rope_scaling
        self.model: Qwen3Config = dataclasses.replace(self.weights.config, dtype=s.dtype, rope_scaling=scaling)
        folder = Path(s.tokenizer.path) if s.tokenizer.path else self.weights.files
        self.tokenizer: Tokenizer = make_tokenizer(s.tokenizer, self.model.vocab_size, folder)
        self.layout = Layout(make_mesh(**dataclasses.asdict(s.mesh)), "decoding")
        self.judge = make_judge(s.verify, self.layout)
        encode, limit = make_encode(s.prompt, self.tokenizer), s.decoding.max_prompt_tokens
        questions = Prompts.read([make_source("questions", s.data)], encode, max_tokens=limit, seed=0, shuffle=False)
        self.dropped = {why: n for why, n in questions.counts.items() if n and why != "kept"}
        self.notes = [f"questions left out: {self.dropped}, for example {questions.examples}"] if self.dropped else []
        # A reference without an answer would make an error of every output: better said now than after days.
        kept = [p for p in questions.all() if self.judge.reads(p.reference)]
        if unread := len(questions.all()) - len(kept):
            self.dropped["unread_reference"] = unread
            self.notes.append(f"questions left out: {unread}, whose reference holds no answer")
            demand(bool(kept), "no reference holds an answer", s.data.answer_field, "check data.answer_field")
        self.prompts: list[Prompt] = [dataclasses.replace(p, id=index) for index, p in enumerate(kept)]

    def header(self) -> dict[str, Any]:
        """All that decides the outputs and the scores; slots, segments and mesh are not among it."""
        s, d = self.settings, self.settings.decoding
        weights, model = self.weights.describe(), dataclasses.asdict(self.model)
        del model["remat"]
        of_file = {"path": Path(s.data.path).name, "sha256": sha256(s.data.path), "rows": len(self.prompts)}
        return {
            "weights": weights | {"path": Path(weights["path"]).name},
            "model": model,
            "tokenizer": self.tokenizer.describe(),
            "prompt": dataclasses.asdict(s.prompt),
            "data": dataclasses.asdict(s.data) | of_file | {"dropped": self.dropped},
            "sampler": {"temperature": d.temperature, "top_p": d.top_p, "top_k": d.top_k},
            "limits": {"prompt_tokens": d.max_prompt_tokens, "output_tokens": d.output_limit},
            "samples": d.samples,
            "seed": s.seed,
            "verifier": {"kind": s.verify.kind, "marker": s.verify.marker, "version": self.judge.version},
            "scoring": {"pass_at": list(s.scoring.pass_at), "bootstrap": s.scoring.bootstrap},
            "versions": {"ulorl_jax": __version__, "jax": jax.__version__, "device": jax.devices()[0].device_kind},
        }

    def problems(self) -> list[dict[str, Any]]:
        """The record's problems, in the order of the data."""
        decode = self.tokenizer.decode
        return [
            {"id": p.source, "question": p.question, "prompt": decode(p.tokens), "reference": p.reference}
            for p in self.prompts
        ]

    def decode(self, record: RecordInProgress, stop: StopRequest) -> tuple[int, dict[str, float]]:
        """Decodes and judges what the record lacks.

        Returns:
          How many samples are still to be decoded: none, or those not finished at the last commit. And
          seconds by phase.
        """
        s, d = self.settings, self.settings.decoding
        sampling = Sampling(d.temperature, d.top_p, d.top_k)
        spec = EngineSpec(self.model, d.slots, d.context_limit, sampling, self.tokenizer.eos_ids, self.layout)
        engine = PolicyEngine(spec, s.seed)
        segments = SegmentSettings(
            d.segment_length, d.output_limit, KEEP, d.prefill_rows, d.prefill_chunk, refill_latency=0
        )
        about = record.about or {"seconds": {}, "begun": 0, "samples": []}
        fresh = [Sample(p.id * d.samples + i, p) for p in self.prompts for i in range(d.samples)]
        waiting = decode_samples(about["samples"], record.arrays) + fresh[about["begun"] :]
        clock = Clock(about["seconds"])
        with clock.phase("weights"):
            params = self.weights.load(param_shardings(spec), self.model.dtype)
        rewards = [output["reward"] for output in record.outputs]
        with Progress(len(fresh), "evaluation", start=len(rewards), silent=not is_first()) as progress:
            for note in self.notes:
                progress.note(note)
            while waiting:
                rollout = SegmentRollout(engine, segments)
                rollout.pool.waiting.extend(waiting)
                for finished, values in itertools.islice(decode_all(rollout, params), d.commit_every):
                    with clock.phase("verify"):
                        attempts = to_attempts(finished, self.tokenizer)
                        verdicts = self.judge(attempts)
                    record.append(list(map(self.output, finished, attempts, verdicts)))
                    rewards += [verdict.reward for verdict in verdicts]
                    for phase in ("prefill", "decode"):
                        clock.add(phase, values[f"time/{phase}_s"])
                    speed = values["rollout/tokens"] / clock.end_step()["time/step_s"]
                    progress.update(len(rewards), {"correct": _mean_of_judged(rewards), "tokens/s": speed})
                    if stop and len(rewards) < len(fresh):
                        return len(waiting), clock.totals
                waiting = [sample for _, sample in rollout.pool.occupied] + list(rollout.pool.waiting)
                del rollout  # its cache, before the next one's is made
                begun = [sample for sample in waiting if sample.segments]
                meta, arrays = encode_samples(begun)
                num_begun = len(fresh) - len(waiting) + len(begun)
                record.commit({"seconds": clock.totals, "begun": num_begun, "samples": meta}, arrays)
        return 0, clock.totals

    def output(self, sample: Sample, attempt: Attempt, verdict: Verdict) -> dict[str, Any]:
        """A judged sample as the record keeps it."""
        return {
            "problem": sample.prompt.source,
            "sample": sample.id % self.settings.decoding.samples,
            "output": attempt.output,
            "num_tokens": sample.num_tokens,
            "finished": sample.finished,
        } | dataclasses.asdict(verdict)


def _mean_of_judged(rewards: Sequence[float | None]) -> float:
    judged = [reward for reward in rewards if reward is not None]
    return float(np.mean(judged)) if judged else math.nan
