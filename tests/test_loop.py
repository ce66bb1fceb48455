"""loop.run in this process, on eight virtual devices: what a step does when something is not as it should be."""

import dataclasses
import gc
import json
import math
import os
import re
import shutil
import signal
import threading
from collections import Counter, defaultdict

import jax
import pytest

from tests import runs
from ulorl_jax import loop, mesh
from ulorl_jax.footprint import memory_terms
from ulorl_jax.io.step_files import GROUPS, LENGTHS, TRACES
from ulorl_jax.io.traces import read_trace
from ulorl_jax.loop import run
from ulorl_jax.parts import make_parts
from ulorl_jax.replay import replay
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


@pytest.fixture(scope="module")
def mixed(start, tmp_path_factory):
    """A run of which every group is traced; half of its questions cannot be judged. Its settings, and its folder."""
    folder = tmp_path_factory.mktemp("mixed")
    task = with_answers(start, folder, "train", lambda index, old: "unknown" if index % 2 else old)
    # Of a policy that is a minute old, tokens of one in two are mastered, and half of its samples are sure.
    overrides = task | {"traces_per_step": 1000, "loss.tau": 0.5, "loss.sigma": 0.31, "checkpoint.keep": 5}
    run(make_parts(runs.settings(overrides), folder / "run"))
    return overrides, folder / "run"


def test_an_answer_that_cannot_be_judged_leaves_its_group_and_is_never_trained_as_0(mixed):
    _, workdir = mixed
    tokens, groups = runs.summary(workdir)["tokens"], finished_groups(workdir)
    errors = [size for group in groups for reward, size in group if reward is None]
    assert errors and tokens["error"] == sum(errors)
    assert sum(row.get("reward/errors", 0) for row in runs.rows(workdir)) >= len(errors)
    # The others of the group, truncated ones, are judged among themselves.
    judged = [[entry for entry in group if entry[0] is not None] for group in groups]
    settled = sum(size for group in judged for _, size in group)
    assert tokens["trained"] == trained_tokens(judged) > 0
    assert tokens["uninformative"] == settled - trained_tokens(judged)


def test_a_trace_shows_whole_groups_with_what_the_update_saw_of_their_tokens(mixed):
    _, workdir = mixed
    seen, fresh, policy_step = set(), [], 0
    for row in runs.rows(workdir)[1:]:
        samples = read_trace(workdir, row["step"]) if row["step"] in TRACES.steps(workdir) else []
        sizes = Counter(sample["group"] for sample in samples)
        assert set(sizes.values()) <= {runs.SMALL["rollout.samples_per_prompt"]} and not sizes.keys() & seen
        seen |= sizes.keys()
        trained = [sample for sample in samples if sample["use"] == "trained"]
        others = [sample for sample in samples if sample["use"] != "trained"]
        assert all(sample["advantage"] is None and not sample["mastered"] for sample in others)
        assert all((sample["use"] == "error") == (sample["reward"] is None) for sample in samples)
        assert all((sample["entropy"] is None) == (sample["use"] == "error") for sample in samples)
        for sample in trained + [other for other in others if other["use"] == "uninformative"]:
            steps = [part["policy_step"] for part in sample["segments"] for _ in range(part["num_tokens"])]
            gaps = [abs(a - b) for a, b in zip(sample["logp"], sample["policy_logp"], strict=True)]
            fresh += [gap for gap, step in zip(gaps, steps, strict=True) if step == policy_step]
        count = sum(len(sample["tokens"]) for sample in trained)
        assert bool(trained) == bool(row["train/updates"])
        if trained:
            entropy = sum(sum(sample["entropy"]) for sample in trained) / count
            assert entropy == pytest.approx(row["entropy/mean"], abs=1e-4)
            mastered = [(len(sample["mastered"]), sample["masked"]) for sample in trained]
            assert sum(n for n, _ in mastered) / count == pytest.approx(row["dmmpt/mpt_frac"])
            assert sum(n for n, masked in mastered if masked) / count == pytest.approx(row["dmmpt/masked_frac"])
            for group in {sample["group"] for sample in trained}:
                worth = [sample["advantage"] for sample in trained if sample["group"] == group]
                assert sum(worth) == pytest.approx(0, abs=1e-5) and max(worth) > 0
        policy_step = row["policy/step"]
    assert len(fresh) > 100 and max(fresh) < 2e-4  # the sampler's, of the same weights; rounded to four decimals
    fractions = [
        (row["dmmpt/mpt_frac"], row["dmmpt/masked_frac"]) for row in runs.rows(workdir) if row.get("dmmpt/mpt_frac")
    ]
    assert any(0 < masked < all_ for all_, masked in fractions), fractions


@pytest.mark.slow
def test_a_replay_tells_what_another_loss_would_have_done_and_changes_nothing_else(mixed, tmp_path, capsys):
    overrides, workdir = mixed
    step = max(step for step in GROUPS.steps(workdir) if step - 1 in runs.checkpoint_steps(workdir))
    (was,) = [row for row in runs.rows(workdir) if row["step"] == step]
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    changes = {"replay": f"{workdir}/{step}", "loss.sigma": 1e9, "loss.importance": "sais"}
    summary = replay(runs.settings(overrides | changes), tmp_path / "replay")
    assert summary["config changed"] == {"loss.importance": ["pois", "sais"], "loss.sigma": [0.31, 1e9]}
    (row,) = runs.rows(tmp_path / "replay")
    assert row["dmmpt/masked_frac"] == row["dmmpt/mpt_frac"] == was["dmmpt/mpt_frac"] > was["dmmpt/masked_frac"]
    assert was["ratio/mean"] == 1 != row["ratio/mean"]  # sais looks back at the policies that drew the tokens
    changed = {"dmmpt/masked_frac", "ratio/mean", "loss/policy", "train/grad_norm"}
    assert changed <= set(summary["metrics that differ"]) <= changed | {"ratio/clip_frac", "ratio/outside_frac"}
    assert "changed: loss.sigma was 0.31, is 1000000000.0" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}  # the run's folder is only read


def test_what_cannot_be_replayed_is_refused_with_what_can(mixed, tmp_path):
    overrides, workdir = mixed
    possible = [step for step in GROUPS.steps(workdir) if step - 1 in runs.checkpoint_steps(workdir)]
    shown = f"it can replay {', '.join(map(str, possible))}. A run with groups_every=1 records"
    for text, changes, error in (
        ("12", {}, "such as runs/tiny/81; got '12'"),
        (f"{tmp_path}/12", {}, "is not the folder of a run"),
        (f"{workdir}/{possible[0] - 1}", {}, f"does not have the groups of that step; {shown}"),
        (f"{workdir}/{possible[-1]}", {"model.hidden_size": 64}, "another network: model.hidden_size is 32, got 64;"),
        (f"{workdir}/{possible[-1]}", {"optimizer.kind": "muon"}, "of another optimizer than optimizer.kind=muon"),
    ):
        with pytest.raises(ValueError, match=re.escape(error)):
            replay(runs.settings(overrides | {"replay": text} | changes), tmp_path / "new")
    with pytest.raises(ValueError, match="is the folder of a run; a replay wants one of its own"):
        replay(runs.settings(overrides | {"replay": f"{workdir}/{possible[-1]}"}), workdir)
    copy = shutil.copytree(workdir, tmp_path / "copy", ignore=shutil.ignore_patterns(str(possible[-1] - 1)))
    with pytest.raises(ValueError, match=f"not have a checkpoint of step {possible[-1] - 1} any more; it can replay"):
        replay(runs.settings(overrides | {"replay": f"{copy}/{possible[-1]}"}), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("first", "then", "error"),
    [
        (
            {},
            {"rollout.pages.count": 48, "rollout.pages.size": 16},
            "has a kept KV cache of 24 slots of 48 tokens, dense (kv=keep, recompute_every=1), the config wants "
            "24 slots of 48 tokens, in 48 pages of 16 tokens of dtype 'model' (kv=keep, recompute_every=1); set the",
        ),
        (
            {"rollout.pages.count": 48, "rollout.pages.size": 16},
            {"rollout.slots": 16, "rollout.pages.count": 56},
            "has a kept KV cache of 24 slots of 48 tokens, in 48 pages of 16 tokens of dtype 'model' (kv=keep, "
            "recompute_every=1), the config wants 16 slots of 48 tokens, in 56 pages of 16 tokens",
        ),
        ({}, {"rollout.kv": "recompute"}, "the config wants no slots (kv=recompute, recompute_every=1); set the"),
        (
            {},
            {"model.dtype": "bfloat16"},
            "has a kept KV cache of another mesh, model.dtype or kind of device (.cache.k",
        ),
    ],
)
def test_a_kept_cache_of_another_layout_is_refused_with_both_and_what_to_do(tmp_path, start, first, then, error):
    workdir = tmp_path / "run"
    begun = start | {"rollout.kv": "keep", "steps": 1, "data.heldout_rows": 1, "evaluation.greedy": False} | first
    run(make_parts(runs.settings(begun), workdir))
    with pytest.raises(ValueError, match=re.escape(error)) as caught:
        run(make_parts(runs.settings(begun | then), workdir))
    advice = f"another --workdir, warm_start.steps=0 and warm_start.checkpoint={workdir}"
    assert str(caught.value).endswith(advice) and "\n" not in str(caught.value)


def test_resumed_from_an_older_checkpoint_a_run_keeps_no_file_of_the_steps_after_it(mixed, tmp_path):
    overrides, workdir = mixed
    copy = shutil.copytree(workdir, tmp_path / "run")
    for step in runs.checkpoint_steps(copy):
        if step > 4:
            shutil.rmtree(copy / "checkpoints" / str(step))
    kinds = (TRACES, LENGTHS, GROUPS)
    there = [files.steps(copy) for files in kinds]
    assert all(min(steps) <= 4 < max(steps) for steps in there)
    with pytest.raises(ValueError, match="is of another model: .*seed is 0, want 1.*; use the config") as caught:
        run(make_parts(runs.settings(overrides | {"seed": 1}), copy))
    assert caught.value.__cause__ is None and [files.steps(copy) for files in kinds] == there  # nothing is touched
    run(make_parts(runs.settings(overrides | {"steps": 4}), copy))
    assert [files.steps(copy) for files in kinds] == [[step for step in steps if step <= 4] for steps in there]
    assert [row["step"] for row in runs.rows(copy)] == [0, 1, 2, 3, 4]


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
