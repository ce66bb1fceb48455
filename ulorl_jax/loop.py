"""Algorithm 1 of UloRL, with the paper's names. START HERE.

A step: take prompts, decode every sample by at most one segment, judge what is
finished, train on the groups that are complete, hand the new weights to the decoder.
`run` tells it in that order; each line leads to the room where it is done.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

import jax

from ulorl_jax.batches import count_tokens, samples_of
from ulorl_jax.capacity import check_memory, describe_start, describe_update, explaining_exhaustion, memory_limit
from ulorl_jax.clock import Clock, StopRequest
from ulorl_jax.evaluate import evaluate
from ulorl_jax.footprint import GIB, memory_terms
from ulorl_jax.frontier import Frontier, device_state, explain, fingerprint
from ulorl_jax.io.checkpoint_reader import saved_steps
from ulorl_jax.io.checkpoints import Checkpoints, Mismatch
from ulorl_jax.io.files import write_atomically
from ulorl_jax.io.metrics import Metrics
from ulorl_jax.io.progress import Progress
from ulorl_jax.io.recorded_groups import write_groups
from ulorl_jax.io.step_files import remove_after
from ulorl_jax.io.traces import TracedSample, write_lengths, write_trace
from ulorl_jax.judging import Judging
from ulorl_jax.mesh import reshard
from ulorl_jax.parts import Parts, make_engine
from ulorl_jax.processes import is_first
from ulorl_jax.programs import Compilations
from ulorl_jax.rollout.engine import param_shardings
from ulorl_jax.rollout.pools import ExperiencePool, Released
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.rollout.segments import CONTINUOUS, SegmentRollout
from ulorl_jax.summary import write_report
from ulorl_jax.tracing import look, programs, tell_masked
from ulorl_jax.train.state import start_state, state_structs
from ulorl_jax.types import Sample, TrainState
from ulorl_jax.update import update
from ulorl_jax.warm_start import first_params

SHOWN = ("reward/mean", "entropy/mean", "dmmpt/masked_frac", "rollout/len_mean", "groups/informative", "time/step_s")


def run(parts: Parts, began: float | None = None) -> dict[str, Any]:
    """Trains until `settings.steps`, or until SIGTERM or Ctrl-C; goes on where the workdir left off.

    Args:
      parts: from `parts.make_parts`.
      began: `time.monotonic()` when the command was given, from which the first tokens' seconds count; None: now.

    Returns:
      The summary, as written to `summary.json`.

    Raises:
      ValueError: a checkpoint of the workdir cannot be used, too many answers could not be judged, or the run does not
        fit its devices.
      FloatingPointError: too many updates in a row were not finite.
    """
    s, mesh = parts.settings, parts.training.mesh
    if is_first():
        print(describe_start(s, mesh), flush=True)
    limit = memory_limit(jax.local_devices()[0])
    check_memory(memory_terms(s), limit)
    with explaining_exhaustion(s, mesh), Compilations() as compilations:
        if (said := describe_update(s, mesh, limit)) and is_first():
            print(said, flush=True)
        return _run(_Loop(parts, compilations, time.monotonic() if began is None else began))


def _run(loop: _Loop) -> dict[str, Any]:
    parts, s = loop.parts, loop.settings
    identity = fingerprint(s, parts.prompts.digest, parts.tokenizer.eos_ids)
    with (
        StopRequest() as stop,
        loop.at.judging,
        Checkpoints(parts.workdir / "checkpoints", keep=s.checkpoint.keep, fingerprint=identity) as checkpoints,
    ):
        resumed = loop.restore(checkpoints)
        if not resumed and not loop.start(stop):
            return {"stopped": stop.requested}
        began_at = loop.at.step if resumed else -1
        with (
            Metrics(parts.workdir, after_step=began_at, silent=not is_first()) as metrics,
            Progress(
                s.steps, f"UloRL, M = {s.rollout.segments}", start=loop.at.step, silent=not is_first()
            ) as progress,
        ):
            loop.note = progress.note
            # Only now: a start that was refused has not touched the record of the run that is there.
            if is_first():
                remove_after(parts.workdir, began_at)
                write_atomically(parts.workdir / "config.json", json.dumps(dataclasses.asdict(s), indent=2) + "\n")
            if dropped := {why: n for why, n in parts.prompts.counts.items() if n and why != "kept"}:
                progress.note(f"training questions left out: {dropped}, for example {parts.prompts.examples}")
            if not loop.at.start:
                loop.at.start = loop.evaluate()
                metrics.write(0, loop.at.start | loop.compilations.end_step())
                progress.note(_scores(0, loop.at.start))
            loop.clock.end_step()
            while loop.at.step < s.steps and not stop:
                values = loop.step()
                step = loop.at.step
                evaluated = step % s.evaluation.every == 0 or step == s.steps
                if evaluated:
                    values |= loop.evaluate()
                    progress.note(_scores(step, values))
                values |= loop.clock.end_step() | loop.compilations.end_step()
                metrics.write(step, values)
                progress.update(step, {name: values[name] for name in SHOWN if name in values})
                if not values["groups/informative"]:
                    progress.note(f"step {step}: no informative group was released; nothing to update")
                elif values["train/skipped"]:
                    progress.note(f"step {step}: an update was skipped: its loss or gradient is not finite")
                if step % s.checkpoint.every == 0:
                    with loop.clock.phase("checkpoint"):
                        loop.save(checkpoints)
                if evaluated:
                    with loop.clock.phase("report"):
                        loop.report(stop)
        with loop.clock.phase("checkpoint"):
            loop.save(checkpoints)  # does nothing where this step was saved a moment ago
            checkpoints.wait()
        loop.clock.end_step()
        return loop.report(stop)


class _Loop:
    """One run: its device state, its frontier, its clock."""

    def __init__(self, parts: Parts, compilations: Compilations, began: float):
        s = self.settings = parts.settings
        self.parts = parts
        self.segments = s.rollout.segment_settings
        self.at = Frontier(
            SegmentRollout(parts.engine, self.segments),
            Judging(parts.judge, parts.tokenizer, s.verify),
            ExperiencePool(s.rollout.samples_per_prompt),
        )
        self.clock = Clock()
        self.compilations = compilations
        self.began = began
        self.first_tokens_s: float | None = None
        self.note: Callable[[str], None] = print
        self.state: TrainState
        self.policy: Any = None  # the newest weights, in the decoding layout

    def step(self) -> dict[str, float]:
        """Algorithm 1, once."""
        at, clock = self.at, self.clock
        policy_step = int(self.state.step)
        self.add_prompts()
        continuous = self.settings.rollout.refill == CONTINUOUS
        finished, values = at.rollout.run(self.policy, policy_step, self.add_prompts if continuous else None)
        self.has_tokens()
        for phase in ("prefill", "decode"):
            clock.add(phase, values.pop(f"time/{phase}_s"))
        at.ledger.sampled += int(values["rollout/tokens"])
        with clock.phase("verify"):
            judged, verdicts, rewards = at.judging.exchange(finished)
        at.experience.add(judged, verdicts)
        released = at.experience.release()
        with clock.phase("trace"):
            traced = look(self.parts, self.state.params, released)  # before these weights are updated
        updated, masked = self.update(released)
        values |= rewards | updated
        at.ledger.uninformative += count_tokens(samples_of(released.uninformative))
        at.ledger.error += count_tokens(released.errors)
        at.ledger.check(at.tokens_in_pools)
        at.step += 1
        with clock.phase("trace"):
            if is_first():
                self._record(finished, released, [tell_masked(each, masked, self.settings.loss) for each in traced])
        values["trace/compiles"] = float(programs(self.parts))
        return values | at.describe(finished, released) | {"policy/step": float(self.state.step)}

    def _record(self, finished: list[Sample], released: Released, traced: list[TracedSample]) -> None:
        """Lengths, the trace, and the groups where a replay of this step can be wanted."""
        s, workdir, step = self.settings, self.parts.workdir, self.at.step
        write_lengths(workdir, step, finished)
        if traced:
            write_trace(workdir, step, traced, self.parts.tokenizer)
        every = s.checkpoint.every * s.groups_every
        if released.informative and every and step > 1 and (step - 1) % every == 0:
            saved = saved_steps(workdir / "checkpoints")
            write_groups(workdir, step, released.informative, keep=[number + 1 for number in saved])

    def add_prompts(self) -> None:
        """Queues a group of samples for as many prompts as the free slots can take."""
        with self.clock.phase("prompts"):
            pool, size = self.at.rollout.pool, self.settings.rollout.samples_per_prompt
            prompts, self.at.cursor = self.parts.prompts.take(self.at.cursor, -(-pool.missing // size))
            pool.add_prompts(prompts, size)

    def has_tokens(self) -> None:
        """The tokens of a segment have come to the host: how long it took until the first ones did."""
        if self.first_tokens_s is None:
            self.first_tokens_s = time.monotonic() - self.began
            made = self.compilations
            self.note(
                f"first tokens {self.first_tokens_s:.1f} s after the start, {made.seconds:.1f} s of it for "
                f"{made.count} programs, compiled or read from disk"
            )

    def update(self, released: Released) -> tuple[dict[str, float], dict[int, float]]:
        """The update, and the new weights' way to the decoder; metrics, and what DMMPT left out by prompt."""
        if not released.informative:
            return {"train/updates": 0.0}, {}
        updated = update(self.parts, self.state, released.informative, self.clock)
        self.state = updated.state
        self.at.ledger.trained += updated.trained
        self.at.ledger.skipped += updated.skipped
        with self.clock.phase("weights"):
            sent = self._sync_weights()
        return updated.values | {"weights/gib": sent}, updated.masked

    def evaluate(self) -> dict[str, float]:
        """Accuracy on the held-out questions: avg@k of sampled outputs, and of the greedy one."""
        parts, s, e = self.parts, self.settings, self.settings.evaluation
        modes = [("sampled", e.sampling, e.samples)] + [("greedy", Sampling(0.0), 1)] * e.greedy
        values, judge, rollout = {}, self.at.judging.judge, self.at.rollout
        with self.clock.phase("evaluate"):
            if not self.segments.keeps_cache:  # the next step computes it again: it need not lie beside another one
                for leaf in jax.tree.leaves(rollout.state.cache):
                    leaf.delete()
            for name, sampling, samples in modes:
                # Another seed than the rollout's, whose sample ids the held-out prompts would share.
                engine = make_engine(s, parts.tokenizer, parts.decoding, sampling, s.seed + 1_000_003)
                result = evaluate(engine, self.policy, parts.heldout, samples, judge, self.segments, self.has_tokens)
                values[f"heldout/{name}"] = result.pop("accuracy")
                values |= {f"heldout/{name}_{key}": value for key, value in result.items()}
            if not self.segments.keeps_cache:
                rollout.state = rollout.engine.init_decode_state()
        return values

    def start(self, stop: StopRequest) -> bool:
        """Step 0: the first weights. False when asked to stop before they were there."""
        with self.clock.phase("warm_start"):
            params = first_params(self.parts, stop)
            if params is None:
                return False
            self.state = start_state(params, self.settings.model, self.parts.optimizer, self.parts.training)
            self._sync_weights()
        return True

    def restore(self, checkpoints: Checkpoints) -> bool:
        """The latest checkpoint of the workdir; False when there is none."""
        if checkpoints.latest_step() is None:
            return False
        like = state_structs(self.settings.model, self.parts.optimizer, self.parts.training)
        try:
            restored = checkpoints.restore(like, device_state(self.at.rollout))
        except Mismatch as mismatch:
            raise explain(mismatch) from None
        self.state = restored.state
        self.at.load(restored.host, restored.arrays, restored.device)
        self.clock = Clock(self.at.seconds)
        self._sync_weights()
        return True

    def save(self, checkpoints: Checkpoints) -> None:
        """Train state, pools, cursor and ledger, at one frontier."""
        self.at.seconds = self.clock.totals
        host, arrays, device = self.at.encode()
        checkpoints.save(self.at.step, state=self.state, host=host, arrays=arrays, device=device)

    def report(self, stop: StopRequest) -> dict[str, Any]:
        """Process 0 writes summary.json and the picture; returns the summary, which the others do not have."""
        if not is_first():
            return {"stopped": stop.requested}
        return write_report(self.parts, self.at, self.state, self.clock.totals, stop.requested, self.first_tokens_s)

    def _sync_weights(self) -> float:
        """Hands the decoder the newest weights; returns GiB of them on one device, which is what each is sent."""
        # Nothing decodes now. The old ones go first: a device does not hold both.
        jax.tree.map(lambda leaf: leaf.delete(), self.policy)
        shardings, dtype = param_shardings(self.parts.engine.spec), self.settings.model.dtype
        self.policy = jax.block_until_ready(reshard(self.state.params, shardings, dtype))
        return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(self.policy)) / GIB


def _scores(step: int, values: dict[str, float]) -> str:
    scores = [
        f"{values[f'heldout/{mode}']:.3f} {mode}" for mode in ("sampled", "greedy") if f"heldout/{mode}" in values
    ]
    return f"step {step}: held-out {', '.join(scores)}"
