"""When outputs are judged, and when a run with too many that cannot be judged stops."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal

import numpy as np
import pytest

from configs import tiny
from tests import runs
from tests.processes import children
from ulorl_jax.io.tokenizer import ByteTokenizer
from ulorl_jax.judging import Judging
from ulorl_jax.loop import run
from ulorl_jax.parts import make_parts
from ulorl_jax.rewards import Judge
from ulorl_jax.sections import RewardSettings
from ulorl_jax.typed import build
from ulorl_jax.types import EOS, LIMIT, Attempt, Prompt, Sample, Segment
from ulorl_jax.verify.final_answer import FinalAnswer

UNKNOWN = "unknown"  # a reference that is no number: an error of every answer


def settings(**changes) -> RewardSettings:
    config = tiny.get_config().verify
    config.update({"error_window": 4, "max_error_rate": 0.5} | changes)
    return build(RewardSettings, config.to_dict())


def sample(number: int, output: str, reference: str = "7", finished: str = EOS) -> Sample:
    tokens = np.frombuffer((output + "\n").encode(), np.uint8).astype(np.int32)
    segment = Segment(tokens, np.zeros(len(tokens), np.float32), 0, "prefill")
    return Sample(number, Prompt(number, tokens[:1], reference)).append(segment, finished)


class Telling(Judge):
    """The exact rule, which notes the batches it was given, and fails when it is told to."""

    def __init__(self):
        super().__init__(FinalAnswer(), "#")
        self.batches: list[list[str]] = []
        self.failure: Exception | None = None

    def __call__(self, attempts):
        if self.failure is not None:
            raise self.failure
        self.batches.append([attempt.output for attempt in attempts])
        return super().__call__(attempts)


def judging(judge: Judge | None = None, **changes) -> Judging:
    return Judging(judge or Telling(), ByteTokenizer(128, (10,)), settings(**changes))


def exchanged(of: Judging, *samples: Sample) -> tuple[list[int], list[float | None]]:
    """Ids and rewards that an exchange gives."""
    given, verdicts, _ = of.exchange(samples)
    return [sample.id for sample in given], [verdict.reward for verdict in verdicts]


def test_without_overlap_a_step_gets_the_verdicts_of_its_own_samples():
    with judging() as at_once:
        assert exchanged(at_once, sample(1, "#7"), sample(2, "#8")) == ([1, 2], [1.0, 0.0])
        assert at_once.samples == [] and at_once.num_tokens == 0
        assert exchanged(at_once) == ([], [])
        assert exchanged(at_once, sample(3, "#7", finished=LIMIT)) == ([3], [0.0])


def test_with_overlap_a_step_gets_those_of_the_step_before_and_the_rest_is_counted():
    with judging(overlap=True) as later:
        assert exchanged(later, sample(1, "#7"), sample(2, "12,#8")) == ([], [])
        assert [s.id for s in later.samples] == [1, 2] and later.num_tokens == 3 + 6
        assert exchanged(later) == ([1, 2], [1.0, 0.0])
        assert later.num_tokens == 0
        assert exchanged(later, sample(3, "#7")) == ([], [])


def test_a_run_that_overlapped_before_and_does_not_any_more_gets_both():
    with judging() as resumed:
        resumed.submit([sample(1, "#7")])
        assert exchanged(resumed, sample(2, "#8")) == ([1, 2], [1.0, 0.0])


def test_the_evaluation_is_judged_by_the_same_thread_and_leaves_what_is_being_judged():
    judge = Telling()
    with judging(judge, overlap=True) as later:
        later.exchange([sample(1, "#7")])
        assert [verdict.reward for verdict in later.judge([sample(2, "#8"), sample(3, "#7")])] == [0.0, 1.0]
        assert exchanged(later) == ([1], [1.0])
        assert judge.batches[:2] == [["#7"], ["#8", "#7"]]
        assert list(later.recent) == [""]  # the evaluation is no part of the window


@pytest.mark.parametrize("overlap", [False, True])
def test_what_the_judge_raises_comes_out_where_its_verdicts_would(overlap):
    judge = Telling()
    with judging(judge, overlap=overlap) as broken:
        judge.failure = RuntimeError("3 workers in a row could not be started")
        if overlap:
            broken.exchange([sample(1, "#7")])
        with pytest.raises(RuntimeError, match="could not be started"):
            broken.exchange([sample(2, "#7")])


def test_the_error_rate_is_that_of_the_last_verdicts_on_answers():
    with judging(max_error_rate=1.0) as at_once:
        _, verdicts, values = at_once.exchange([sample(1, "#1", UNKNOWN), sample(2, "#7"), sample(3, "x")])
        assert values == {
            "reward/errors": 1.0,
            "reward/error_rate": 0.5,
            "reward/cache_hits": 0.0,
            "reward/mean": 0.5,
        }
        assert [verdict.reward for verdict in verdicts] == [None, 1.0, 0.0]
        # An output without an answer, or cut off, tells nothing of the judge.
        _, _, values = at_once.exchange([sample(4, "#7", UNKNOWN, LIMIT), sample(5, "")])
        assert values["reward/error_rate"] == 0.5 and values["reward/errors"] == 0.0
        for number in range(3):  # the window holds four: the error is out of it after the third
            _, _, values = at_once.exchange([sample(number, "#7")])
        assert values["reward/error_rate"] == 0.0


def test_more_errors_than_allowed_in_a_full_window_stop_the_run_with_reasons_and_an_example():
    with judging() as at_once:
        at_once.exchange([sample(1, "#1", UNKNOWN), sample(2, "#2", UNKNOWN), sample(3, "#3", UNKNOWN)])  # not full yet
        at_once.exchange([])
        with pytest.raises(ValueError) as stopped:
            at_once.exchange([sample(4, "#7")])
    message = str(stopped.value)
    assert message.startswith(
        "3 of the last 4 answers could not be judged, more than verify.max_error_rate=0.5 allows: "
        "the reference is not a number (3 times); for example reference 'unknown', answer '3': the reference is"
    )
    assert "rules_then_verifier" in message and "goes on from its last checkpoint" in message and "\n" not in message


def test_as_many_errors_as_allowed_do_not():
    with judging() as at_once:
        for number in range(8):
            at_once.exchange([sample(number, "#7", UNKNOWN if number % 2 else "7")])
        assert list(at_once.recent).count("") == 2


def test_reasons_that_differ_in_what_they_quote_are_counted_as_one():
    class Quoting(Judge):
        def __call__(self, attempts):
            reasons = [f"verifier: no verdict at the end of {a.output!r}, P = 0.{len(a.output)}" for a in attempts]
            errors = super().__call__(attempts)
            return [type(e)(None, reason, "x") for e, reason in zip(errors, reasons, strict=True)]

    with (
        judging(Quoting(FinalAnswer(), "#")) as at_once,
        pytest.raises(ValueError, match=r"of \.\., P = \.\. \(4 times"),
    ):
        at_once.exchange([sample(number, "x" * number) for number in range(1, 5)])


# Real runs in this process


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Overrides: a task, and the weights of a warm start on it."""
    folder = tmp_path_factory.mktemp("judging")
    task = runs.task(folder / "task")
    few = {"data.heldout_rows": 8, "evaluation.every": 100, "evaluation.greedy": False, "steps": 1}
    run(make_parts(runs.settings(task | few), folder / "run"))
    weights = {"warm_start.steps": 0, "warm_start.checkpoint": str(folder / "run" / "warm_start")}
    return task | few | weights | {"steps": 6, "traces_per_step": 1000, "checkpoint.every": 3}


OVERLAP = {"verify.overlap": True, "verify.kind": "rules"}


def untimed(workdir) -> list[dict]:
    return [runs.untimed(row) for row in runs.rows(workdir)]


def traces(workdir) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (workdir / "rollouts").iterdir()}


def assert_equal(workdir, other):
    """Weights, pools, books, metrics and traces."""
    one, two = runs.last_checkpoint(workdir), runs.last_checkpoint(other)
    assert one.step == two.step and one.host == two.host and one.arrays.keys() == two.arrays.keys()
    assert all(array.tobytes() == two.arrays[name].tobytes() for name, array in one.arrays.items())
    assert untimed(workdir) == untimed(other) and traces(workdir) == traces(other)


@pytest.fixture(scope="module")
def overlapped(start, tmp_path_factory):
    """A run of six steps, judged by rules while it decodes, which nothing interrupted."""
    workdir = tmp_path_factory.mktemp("overlapped") / "run"
    run(make_parts(runs.settings(start | OVERLAP), workdir))
    return workdir


@pytest.mark.slow
def test_overlapped_rewards_train_every_sample_one_step_later_and_leave_the_last_in_the_checkpoint(overlapped):
    rows, saved = untimed(overlapped)[1:], runs.last_checkpoint(overlapped)
    assert [row["pool/judging"] for row in rows] == [row["rollout/finished"] for row in rows]
    assert rows[0].get("train/updates") == 0 and "reward/mean" not in rows[0]
    assert sum(row["train/updates"] for row in rows) > 0 and rows[-1]["ledger/trained"] > 0
    # What the step before finished is filed, and the groups that it completes are released, and traced.
    size = runs.SMALL["rollout.samples_per_prompt"]
    released = [size * int(row["groups/informative"] + row["groups/uninformative"]) for row in rows]
    for before, row, gone in zip(rows, rows[1:], released[1:], strict=False):
        assert row["pool/experience"] == before["pool/experience"] + before["rollout/finished"] - gone
    shown = {name: data.count(b"\n") for name, data in traces(overlapped).items()}
    assert shown == {f"step_{step:06}.jsonl": count for step, count in enumerate(released, start=1) if count}
    assert saved.host["judging"] == rows[-1]["rollout/finished"] > 0
    tokens = runs.summary(overlapped)["tokens"]
    assert tokens["sampled"] == sum(count for place, count in tokens.items() if place != "sampled")


@pytest.mark.slow
def test_the_rules_judge_a_run_as_the_exact_rule_does_where_answers_are_numbers(overlapped):
    judged = [json.loads(line) for data in traces(overlapped).values() for line in data.splitlines()]
    attempts = [Attempt("", row["reference"], row["output"], row["finished"] == LIMIT) for row in judged]
    assert [row["reward"] for row in judged] == [verdict.reward for verdict in Judge(FinalAnswer(), "#")(attempts)]
    assert {row["reward"] for row in judged} == {0.0, 1.0}


@pytest.mark.slow
def test_killed_while_samples_are_being_judged_an_overlapped_run_ends_as_if_nothing_had_been(
    start, overlapped, tmp_path
):
    workdir = shutil.copytree(overlapped, tmp_path / "run")
    shutil.rmtree(workdir / "checkpoints" / "6")  # as after a kill in the sixth step
    assert runs.last_checkpoint(workdir).host["judging"] > 0
    run(make_parts(runs.settings(start | OVERLAP), workdir))
    assert_equal(workdir, overlapped)


@pytest.mark.slow
def test_told_to_stop_while_samples_are_being_judged_it_saves_them_and_goes_on(start, overlapped, tmp_path):
    parts = make_parts(runs.settings(start | OVERLAP), tmp_path / "run")

    class Stopping(Judge):
        def __call__(self, attempts):
            if runs.num_rows(tmp_path / "run") >= 2 and not told:
                told.append(True)
                os.kill(os.getpid(), signal.SIGTERM)
            return parts.judge(attempts)

    told = []
    summary = run(dataclasses.replace(parts, judge=Stopping(FinalAnswer(), "#")))
    parts.judge.close()
    assert summary["stopped"] == "SIGTERM" and summary["steps"] < 6
    assert runs.last_checkpoint(tmp_path / "run").host["judging"] > 0
    run(make_parts(runs.settings(start | OVERLAP), tmp_path / "run"))
    assert_equal(tmp_path / "run", overlapped)


@pytest.mark.slow
def test_too_many_errors_stop_a_run_that_then_goes_on_from_its_last_checkpoint(start, tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text(pathlib.Path(start["data.train.main.path"]).read_text().replace('"#1"', f'"{UNKNOWN}"'))
    hopeless = start | {"data.train.main.path": str(path), "checkpoint.every": 1, "verify.error_window": 32}
    hopeless |= {"steps": 4}
    with pytest.raises(ValueError, match=r"32 of the last 32 answers could not .* is not a number \(32 times\)"):
        run(make_parts(runs.settings(hopeless), tmp_path / "run"))
    rows = untimed(tmp_path / "run")
    assert runs.checkpoint_steps(tmp_path / "run")[-1:] == ([rows[-1]["step"]] if rows[-1]["step"] else [])
    assert {row.get("reward/mean", 0.0) for row in rows[1:]} <= {0.0} and rows[-1].get("ledger/trained", 0) == 0
    summary = run(make_parts(runs.settings(hopeless | {"verify.max_error_rate": 1.0}), tmp_path / "run"))
    assert summary["steps"] == 4 and summary["tokens"]["error"] > 0 == summary["tokens"]["trained"]
    assert runs.rows(tmp_path / "run")[-1]["reward/error_rate"] == 1.0


@pytest.mark.slow
def test_workers_that_are_killed_or_stopped_during_a_run_cost_no_verdict(start, tmp_path):
    path, formula = tmp_path / "train.jsonl", r"\frac{\sqrt{2}}{\sqrt{2}}"  # is 1, which takes a worker to see
    rows = [json.loads(line) for line in pathlib.Path(start["data.train.main.path"]).read_text().splitlines()]
    path.write_text("".join(json.dumps(row | {"answer": f"#{formula}"}) + "\n" for row in rows))
    rules = {"verify.kind": "rules", "verify.deadline_s": 2.0, "verify.cache": 0}
    overrides = start | rules | {"data.train.main.path": str(path), "steps": 4}
    parts, before, disturbed = make_parts(runs.settings(overrides), tmp_path / "run"), children(), []

    class Disturbing(Judge):
        def __call__(self, attempts):
            for worker, how in zip(sorted(children() - before), (signal.SIGKILL, signal.SIGSTOP), strict=False):
                os.kill(worker, how)
                disturbed.append(how)
            return parts.judge(attempts)

    try:
        run(dataclasses.replace(parts, judge=Disturbing(FinalAnswer(), "#")))
    finally:
        parts.judge.close()
    assert {signal.SIGKILL, signal.SIGSTOP} <= set(disturbed)
    judged = [json.loads(line) for data in traces(tmp_path / "run").values() for line in data.splitlines()]
    attempts = [Attempt("", "1", row["output"], row["finished"] == LIMIT) for row in judged]
    assert [row["reward"] for row in judged] == [verdict.reward for verdict in Judge(FinalAnswer(), "#")(attempts)]
    assert {row["reward"] for row in judged} == {0.0, 1.0} and not children() - before


def test_a_verifier_on_several_devices_does_not_overlap(tmp_path):
    overrides = {"verify.overlap": True, "verify.kind": "rules_then_verifier", "mesh.data": 2, "mesh.fsdp": 4}
    with pytest.raises(ValueError, match=r"from two threads.*got '8 devices': set verify\.overlap=False"):
        make_parts(runs.settings(overrides), tmp_path / "run")
