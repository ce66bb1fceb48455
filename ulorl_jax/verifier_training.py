"""Trains the generative verifier on judged pairs, and measures it beside the rules on pairs it has not seen.

A run goes on where its workdir left off: which pairs an update learns from is a function of
(data, settings, update) alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import jax

from ulorl_jax.clock import StopRequest
from ulorl_jax.inputs import make_tokenizer, verifier_of
from ulorl_jax.io.checkpoints import Checkpoints
from ulorl_jax.io.files import write_atomically
from ulorl_jax.io.metrics import Metrics, write_summary
from ulorl_jax.io.plots import plot_verifier
from ulorl_jax.io.progress import Progress
from ulorl_jax.mesh import Layout, make_mesh, reshard
from ulorl_jax.models.qwen3_params import map_table
from ulorl_jax.parts import make_workdir
from ulorl_jax.sections.checks import check_experts
from ulorl_jax.supervised import RowSettings, Supervised
from ulorl_jax.train.state import init_state, start_state, state_shardings, state_structs
from ulorl_jax.types import TrainState
from ulorl_jax.verifier_data import PairStream, read_pairs, to_pair
from ulorl_jax.verifier_report import calibration, confusion, markdown, tabulate
from ulorl_jax.verifier_settings import VerifierSettings
from ulorl_jax.verify.comparison import UNSURE
from ulorl_jax.verify.rules import Rules
from ulorl_jax.verify.verifier import VERDICT, GenerativeVerifier
from ulorl_jax.weights import HF, Weights, copy_side_files, fingerprint, open_weights

LOG_EVERY = 20  # updates between two rows of metrics


def run_training(settings: VerifierSettings, workdir: Path) -> dict[str, Any]:
    """Trains, or goes on where the workdir left off; SIGTERM and Ctrl-C save and end it.

    Args:
      settings: checked settings.
      workdir: gets checkpoints/, verifier.json, report.json, report.md, calibration.png, summary.json.

    Returns:
      The summary as written; where it was stopped, how far it came.

    Raises:
      ValueError: data, weights or workdir cannot be used.
      FloatingPointError: too many updates in a row were not finite.
    """
    make_workdir(workdir)
    training = _Training(settings, workdir)
    with (
        StopRequest() as stop,
        Checkpoints(
            workdir / "checkpoints", keep=settings.checkpoint.keep, fingerprint=fingerprint(training.model)
        ) as checkpoints,
    ):
        training.start(checkpoints)
        # Only now: a training that was refused has not touched the folder of the one that is there.
        write_atomically(workdir / "config.json", json.dumps(dataclasses.asdict(settings), indent=2) + "\n")
        settings.prompt.save(workdir)
        training.run(checkpoints, stop)
        if training.done < settings.steps:
            return {"stopped": stop.requested, "updates": training.done}
    return training.report()


class _Training:
    """The pairs, the network, and how far it is."""

    def __init__(self, settings: VerifierSettings, workdir: Path):
        s = self.settings = settings
        self.workdir = workdir
        self.weights: Weights | None = open_weights(s.weights) if s.weights else None
        computed = {"dtype": s.model.dtype, "remat": s.model.remat}
        self.model = dataclasses.replace(self.weights.config, **computed) if self.weights else s.model
        folder = Path(s.tokenizer.path) if s.tokenizer.path else self.weights.files if self.weights else None
        self.tokenizer = make_tokenizer(s.tokenizer, self.model.vocab_size, folder)
        check_experts(s.mesh.expert, self.model.num_experts)
        mesh = make_mesh(**dataclasses.asdict(s.mesh))
        self.layout, self.decoding = Layout(mesh, "training"), Layout(mesh, "decoding")
        u = s.updates
        rows = RowSettings(u.rows, u.row_length, u.logprob_chunk, u.max_skipped_in_a_row)
        self.supervised = Supervised(self.model, s.optimizer, self.layout, rows, "optimizer")
        self.test = read_pairs(s.data, "test", s.seed)
        self.pairs = read_pairs(s.data, "train", s.seed)
        self.stream = PairStream(
            self.pairs,
            self.tokenizer,
            s.prompt,
            reasoned=u.reasoned,
            rows=u.rows * u.micro_batches,
            row_length=u.row_length,
            seed=s.seed,
        )
        self.done, self.seconds = 0, 0.0
        self.state: TrainState

    def start(self, checkpoints: Checkpoints) -> None:
        """The newest state of the workdir, or the first one."""
        optimizer = self.supervised.optimizer
        if checkpoints.latest_step() is not None:
            restored = checkpoints.restore(state_structs(self.model, optimizer, self.layout))
            self.state, self.done, self.seconds = restored.state, restored.step, restored.host["seconds"]
            if "seen" not in restored.host:
                raise ValueError(
                    f"the checkpoint in {self.workdir} does not say which pairs its training has seen: it is of an "
                    "older version and cannot go on; take another workdir"
                )
            self.stream.seen, self.stream.left_out = restored.host["seen"], restored.host["left_out"]
        elif self.weights is None:
            self.state = init_state(jax.random.key(self.settings.seed), self.model, optimizer, self.layout)
        else:
            params = self.weights.load(state_shardings(self.model, optimizer, self.layout).params)
            self.state = start_state(params, self.model, optimizer, self.layout)
            copy_side_files(self.weights, self.workdir / HF)

    def run(self, checkpoints: Checkpoints, stop: StopRequest) -> None:
        """Updates until `steps`, or until asked to stop."""
        s, began = self.settings, time.perf_counter() - self.seconds
        with (
            Metrics(self.workdir, after_step=self.done if self.done else -1) as metrics,
            Progress(s.steps, "verifier", start=self.done) as progress,
        ):
            while self.done < s.steps and not stop:
                self.state, values = self.supervised.update(self.state, self.stream.next_update())
                self.done += 1
                last = self.done == s.steps
                row: dict[str, float] = {}
                if self.done % LOG_EVERY == 0 or last:
                    row |= self.supervised.row(self.state, values)
                if self.done % s.evaluation.every == 0 and not last:
                    row |= self.measure()
                    progress.note(f"update {self.done}: {100 * row['test/accuracy']:.1f}% of the test pairs are right")
                if row:
                    self.seconds = time.perf_counter() - began
                    metrics.write(self.done, row | {"time/total_s": self.seconds})
                    progress.update(self.done, row)
                if self.done % s.checkpoint.every == 0:
                    self.save(checkpoints)
            if self.stream.left_out:
                progress.note(f"pairs left out of updates: {self.stream.left_out}")
            self.seconds = time.perf_counter() - began
            self.save(checkpoints)

    def verifier(self) -> GenerativeVerifier:
        """The newest weights as a comparer."""
        s, decoding = self.settings, self.decoding
        shardings = map_table(lambda row: decoding.sharding(*row.axes, shape=row.shape), self.model)
        params = reshard(self.state.params, shardings, self.model.dtype)
        known = f"update {self.done}"
        return verifier_of(s.evaluation, self.model, params, decoding, self.tokenizer, s.prompt, known, "evaluation")

    def save(self, checkpoints: Checkpoints) -> None:
        """State, the seconds it took and the pairs it saw; does nothing where this update was saved a moment ago."""
        host = {"seconds": self.seconds, "seen": self.stream.seen, "left_out": self.stream.left_out}
        checkpoints.save(self.done, state=self.state, host=host, arrays={})

    def measure(self) -> dict[str, float]:
        """Accuracy on part of the test pairs."""
        part = self.test[: self.settings.evaluation.pairs]
        said = self.verifier().compare([to_pair(pair) for pair in part])
        table = tabulate([p.category for p in part], [p.same for p in part], {"v": [c.outcome for c in said]})
        return {f"test/{name}": table["all"]["v"][name] for name in ("accuracy", "false_positives", "unsure")}

    def report(self) -> dict[str, Any]:
        """Verifier, rules, and rules then verifier on all test pairs; writes tables, picture and summary."""
        e, pairs = self.settings.evaluation, [to_pair(pair) for pair in self.test]
        truths, categories = [pair.same for pair in self.test], [pair.category for pair in self.test]
        began, verifier = time.perf_counter(), self.verifier()
        said = [comparison.outcome for comparison in verifier.compare(pairs)]
        seconds = {"verifier": time.perf_counter() - began}
        # A justified verdict is a word and no probability.
        scored = verifier.scores(pairs) if e.mode == VERDICT else [None] * len(pairs)
        began = time.perf_counter()
        with contextlib.closing(Rules(workers=e.workers, deadline_s=e.deadline_s)) as rules:
            ruled = [comparison.outcome for comparison in rules.compare(pairs)]
        seconds["rules"] = time.perf_counter() - began
        both = [v if r == UNSURE else r for r, v in zip(ruled, said, strict=True)]
        outcomes = {"rules": ruled, "verifier": said, "rules, then verifier": both}
        table = tabulate(categories, truths, outcomes)
        calibrated = calibration(scored, truths)
        report = {
            "table": table,
            "calibration": calibrated,
            "confusion": confusion(truths, ruled, said),
            "pairs_per_second": {name: round(len(pairs) / value, 1) for name, value in seconds.items()},
        }
        write_atomically(self.workdir / "report.json", json.dumps(report, indent=2) + "\n")
        write_atomically(self.workdir / "report.md", markdown(table) + "\n")
        plot_verifier(table, calibrated["bins"], self.workdir / "report.png")
        summary = {
            "accuracy": {name: table["all"][name]["accuracy"] for name in outcomes},
            "false_positives": {name: table["all"][name]["false_positives"] for name in outcomes},
            "ece": calibrated["ece"],
            "test_pairs": len(pairs),
            "train_pairs": len(self.pairs),
            "left_out": self.stream.left_out,
            "updates": self.done,
            "pairs_seen": self.stream.seen,
            "train_s": round(self.seconds, 1),
            "pairs_per_second": report["pairs_per_second"],
        }
        write_summary(self.workdir, summary)
        return summary
