"""loop.run in this process, on eight virtual devices: what a step does when something is not as it should be."""

import dataclasses
import gc
import json
import math
import os
import signal
import threading
from collections import defaultdict

import jax
import pytest

from tests import runs
from ulorl_jax import loop, mesh
from ulorl_jax.footprint import memory_terms
from ulorl_jax.loop import run
from ulorl_jax.parts import make_parts
from ulorl_jax.rewards import Judge
from ulorl_jax.verify.final_answer import FinalAnswer


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Overrides: a task, and the weights of a warm start on it."""
    folder = tmp_path_factory.mktemp("loop")
    task = runs.task(folder / "task")
    run(make_parts(runs.settings(task | {"steps": 1}), folder / "run"))
    return task | {"warm_start.steps": 0, "warm_start.checkpoint": str(folder / "run" / "warm_start")}


def with_answers(start, folder, split, answer_of):
    """The task with other references: `answer_of(index, old)`."""
    key = "data.train.main.path" if split == "train" else f"data.{split}.path"
    with open(start[key]) as file:
        rows = [json.loads(line) for line in file]
    rows = [row | {"answer": answer_of(index, row["answer"])} for index, row in enumerate(rows)]
    path = folder / f"{split}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return start | {key: str(path)}


def finished_groups(workdir):
    """(reward, tokens) of every finished sample, by prompt; only groups that are complete."""
    groups = defaultdict(list)
    for path in sorted((workdir / "rollouts").iterdir()):
        for line in path.read_text().splitlines():
            sample = json.loads(line)
            groups[sample["prompt_id"]].append((sample["reward"], len(sample["tokens"])))
    return [group for group in groups.values() if len(group) == runs.SMALL["rollout.samples_per_prompt"]]


def trained_tokens(groups):
    """Tokens of the groups with right and wrong answers."""
    return sum(size for group in groups if len({reward for reward, _ in group}) == 2 for _, size in group)


def test_the_decoders_old_weights_are_gone_before_the_new_ones_are_made(tmp_path, start, monkeypatch):
    made = []

    def watched(tree, shardings, dtype):
        assert all(leaf.is_deleted() for old in made for leaf in jax.tree.leaves(old))
        made.append(mesh.reshard(tree, shardings, dtype))
        return made[-1]

    monkeypatch.setattr(loop, "reshard", watched)
    settings = runs.settings(start | {"steps": 2, "evaluation.every": 1})  # held-out questions meet the newest weights
    run(make_parts(settings, tmp_path / "run"))
    rows = runs.rows(tmp_path / "run")
    sent = [row["weights/gib"] for row in rows if "weights/gib" in row]
    assert len(made) == 1 + len(sent) >= 2
    held = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(made[-1]))
    assert sent == [pytest.approx(held / 2**30)] * len(sent)


@pytest.mark.slow
def test_updates_that_are_not_finite_are_skipped_and_counted_and_then_stop_the_run(tmp_path, start, capsys):
    settings = runs.settings(start | {"checkpoint.every": 1, "train.max_skipped_in_a_row": 3})
    broken = dataclasses.replace(settings, loss=dataclasses.replace(settings.loss, advantage_eps=math.nan))
    with pytest.raises(FloatingPointError) as caught:
        run(make_parts(broken, tmp_path / "run"))
    error = str(caught.value)
    assert error.startswith("3 updates in a row had a non-finite loss, gradient or weight") and "\n" not in error
    assert "optimizer.learning_rate" in error and "goes on from its last good checkpoint" in error
    assert "an update was skipped: its loss or gradient is not finite" in capsys.readouterr().out

    *_, row = rows = runs.rows(tmp_path / "run")
    saved = runs.last_checkpoint(tmp_path / "run")
    assert saved.step == row["step"] and row["ledger/trained"] == 0 < row["ledger/skipped"]
    assert row["policy/step"] == 0 and {row.get("train/grad_norm", "nan") for row in rows} == {"nan"}
    assert sum(row.get("train/skipped", 0) for row in rows) == 2
    assert saved.params() == runs.read_checkpoint(start["warm_start.checkpoint"]).params()
    assert int(saved.arrays["state['skipped']"]) == 2

    summary = run(make_parts(settings, tmp_path / "run"))
    assert summary["steps"] == 10 and summary["skipped_updates"] == 2 and summary["updates"] > 0


def test_a_step_without_an_informative_group_says_so_and_updates_nothing(tmp_path, start, capsys):
    hopeless = with_answers(start, tmp_path, "train", lambda index, old: "#3")
    summary = run(make_parts(runs.settings(hopeless | {"steps": 6}), tmp_path / "run"))
    output = capsys.readouterr().out
    assert all(f"step {n}: no informative group was released; nothing to update" in output for n in range(1, 7))
    rows = runs.rows(tmp_path / "run")[1:]
    assert {(row["policy/step"], row["train/updates"], row["groups/informative"]) for row in rows} == {(0, 0, 0)}
    assert sum(row["groups/uninformative"] for row in rows) > 0 and rows[-1]["ledger/uninformative"] > 0
    assert summary["updates"] == summary["tokens"]["trained"] == 0
    first = runs.read_checkpoint(start["warm_start.checkpoint"])
    assert runs.last_checkpoint(tmp_path / "run").params() == first.params()


def test_an_answer_that_cannot_be_judged_leaves_its_group_and_is_never_trained_as_0(tmp_path, start):
    mixed = with_answers(start, tmp_path, "train", lambda index, old: "unknown" if index % 2 else old)
    settings = runs.settings(mixed | {"traces_per_step": 1000})
    summary = run(make_parts(settings, tmp_path / "run"))
    groups = finished_groups(tmp_path / "run")
    errors = [size for group in groups for reward, size in group if reward is None]
    assert errors and summary["tokens"]["error"] == sum(errors)
    assert sum(row.get("reward/errors", 0) for row in runs.rows(tmp_path / "run")) >= len(errors)
    # The others of the group, truncated ones, are judged among themselves.
    judged = [[entry for entry in group if entry[0] is not None] for group in groups]
    settled = sum(size for group in judged for _, size in group)
    assert summary["tokens"]["trained"] == trained_tokens(judged) > 0
    assert summary["tokens"]["uninformative"] == settled - trained_tokens(judged)


@pytest.mark.slow
def test_two_updates_per_step_deal_all_groups_of_the_step(tmp_path, start):
    settings = runs.settings(start | {"train.updates_per_step": 2, "traces_per_step": 1000})
    summary = run(make_parts(settings, tmp_path / "run"))
    rows = runs.rows(tmp_path / "run")[1:]
    assert [row["train/updates"] for row in rows] == [min(row["groups/informative"], 2) for row in rows]
    assert max(row["train/updates"] for row in rows) == 2
    assert rows[-1]["policy/step"] == summary["updates"] == sum(row["train/updates"] for row in rows)
    # The gap between sampler and trainer is that of the first update, whose weights are the sampler's.
    gaps = [row["mismatch/max"] for row in rows if row["train/updates"] == 2]
    assert all(0 < gap < 1e-4 for gap in gaps)
    assert summary["tokens"]["trained"] == trained_tokens(finished_groups(tmp_path / "run"))


@pytest.mark.slow
def test_a_run_told_to_stop_while_it_evaluates_saves_that_step(tmp_path, start):
    start = with_answers(start, tmp_path, "heldout", lambda index, old: "1")  # a bare number, to know them by
    overrides = start | {"steps": 6, "evaluation.every": 3, "checkpoint.every": 5}
    parts = make_parts(runs.settings(overrides), tmp_path / "run")

    class Stopping(Judge):
        def __call__(self, attempts):
            if attempts[0].reference == "1" and runs.num_rows(tmp_path / "run") == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__call__(attempts)

    summary = run(dataclasses.replace(parts, judge=Stopping(FinalAnswer(), "#")))
    assert summary["stopped"] == "SIGTERM" and summary["steps"] == 3
    assert runs.checkpoint_steps(tmp_path / "run") == [3]


@pytest.mark.slow
@pytest.mark.parametrize(("kv", "caches"), [("recompute", 1), ("keep", 2)])
def test_an_evaluation_has_the_cache_of_the_run_beside_it_only_where_that_is_kept(tmp_path, start, kv, caches):
    settings = runs.settings(start | {"steps": 1, "rollout.kv": kv})
    parts, counted = make_parts(settings, tmp_path / "run"), []
    shapes = {x.shape for x in jax.tree.leaves(parts.engine.init_decode_state().cache)}
    gc.collect()  # what earlier runs left in cycles
    before = sum(x.shape in shapes for x in jax.live_arrays())

    class Counting(Judge):
        def __call__(self, attempts):
            counted.append(sum(x.shape in shapes for x in jax.live_arrays()) - before)
            return super().__call__(attempts)

    run(dataclasses.replace(parts, judge=Counting(FinalAnswer(), "#")))
    arrays = len(jax.tree.leaves(parts.engine.init_decode_state().cache))
    assert counted[0] == counted[-1] == caches * arrays  # the evaluations before the step and after it
    terms = {term.name: term.per_device for term in memory_terms(settings)}
    assert terms.get("KV of evaluation", 0) == (caches - 1) * terms["KV cache"]


@pytest.mark.slow
def test_with_fewer_slots_a_resumed_run_goes_on_with_all_samples(tmp_path, start):
    run(make_parts(runs.settings(start | {"steps": 3}), tmp_path / "run"))
    saved = runs.last_checkpoint(tmp_path / "run")
    assert len(saved.host["slots"]) > 8
    summary = run(make_parts(runs.settings(start | {"steps": 6, "rollout.slots": 8}), tmp_path / "run"))
    tokens = summary["tokens"]
    assert summary["steps"] == 6
    assert tokens["sampled"] == sum(count for name, count in tokens.items() if name != "sampled")


@pytest.mark.slow
def test_a_finished_run_whose_metrics_were_moved_away_still_has_its_summary(tmp_path, start):
    first = run(make_parts(runs.settings(start | {"steps": 1}), tmp_path / "run"))
    (tmp_path / "run" / "metrics.jsonl").unlink()
    again = run(make_parts(runs.settings(start | {"steps": 1}), tmp_path / "run"))
    assert again["steps"] == 1 and again["heldout/sampled_start"] == first["heldout/sampled_start"]


def test_a_run_in_a_thread_that_is_not_the_main_one_works(tmp_path, start):
    results = []
    parts = make_parts(runs.settings(start | {"steps": 1}), tmp_path / "run")
    thread = threading.Thread(target=lambda: results.append(run(parts)), daemon=True)
    thread.start()
    thread.join(runs.DEADLINE)
    assert results and results[0]["steps"] == 1
