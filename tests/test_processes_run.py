"""Two and four real processes train as one does; when one dies the other stops, and any number of them goes on."""

import json
import shutil
import time
import types

import numpy as np
import pytest

from tests import runs, several

pytestmark = pytest.mark.slow
SAVED = 6  # the step at which the number of processes changes
# A kept cache is in the checkpoint; verdicts of the rules are dealt out, in a thread of their own.
SETTINGS = {
    "steps": 8,
    "rollout.samples_per_prompt": 4,
    "rollout.kv": "keep",
    "verify.kind": "rules",
    "verify.overlap": True,
    "checkpoint.every": SAVED,
    "groups_every": 1,
}
SETTINGS |= {"evaluation.every": 8, "evaluation.greedy": False, "data.heldout_rows": 4, "mesh.fsdp": -1}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """One process with two devices, with its warm start: what all others must equal."""
    folder = tmp_path_factory.mktemp("one")
    overrides = runs.task(folder / "task") | SETTINGS
    runs.run(folder / "run", overrides, devices=2)
    begun = {"warm_start.steps": 0, "warm_start.checkpoint": str(folder / "run" / "warm_start")}
    return types.SimpleNamespace(workdir=folder / "run", overrides=overrides | begun)


@pytest.fixture(scope="module")
def two(tmp_path_factory, one):
    """Two processes with a device each, the second of which is killed once a step more is over."""
    workdir = tmp_path_factory.mktemp("two") / "run"
    both = several.start_run(workdir, one.overrides | {"steps": 1000}, 2)

    def is_a_step_further() -> bool:
        return SAVED in runs.checkpoint_steps(workdir) and runs.num_rows(workdir) > SAVED + 1

    try:
        runs.wait_for(is_a_step_further, both.processes[0], f"step {SAVED + 1}")
    finally:
        both.kill(1)
    began = time.monotonic()
    codes = both.codes()
    for step in runs.checkpoint_steps(workdir):
        if step > SAVED:  # it may have come further before it was killed
            shutil.rmtree(workdir / "checkpoints" / str(step))
    return types.SimpleNamespace(workdir=workdir, both=both, codes=codes, seconds=time.monotonic() - began)


def meaningful(arrays):
    """Without what nobody reads: slots that hold nobody, and positions that a slot's length does not cover."""
    active, lengths = arrays["device['active']"], arrays["device['lengths']"]
    covered = active[:, None] & (np.arange(arrays["device['contexts']"].shape[1]) < lengths[:, None])
    kept = {name: array for name, array in arrays.items() if not name.startswith("device")}
    for name, array in arrays.items():
        if name.startswith("device['cache']['k']"):  # by layers; the contexts are too short for a second block
            kept[name] = array * covered[:, None, None, None, :]
        elif name.startswith("device['cache']['v']"):
            kept[name] = array * covered[:, None, None, :, None]
    assert len(kept) > sum(not name.startswith("device") for name in arrays), "no cache was kept"
    return kept | {"active": active, "lengths": lengths * active}


def assert_close(workdir, other, step):
    """The same samples, verdicts and books up to a step; weights and moments within 1e-5."""
    one, two = (runs.read_checkpoint(path / "checkpoints", step) for path in (workdir, other))
    assert one.host == two.host and one.arrays.keys() == two.arrays.keys()
    two_arrays = meaningful(two.arrays)
    for name, array in meaningful(one.arrays).items():
        np.testing.assert_allclose(array, two_arrays[name], rtol=0, atol=1e-5, err_msg=name)
    for number in range(1, step + 1):
        names = [path / "rollouts" / f"step_{number:06}.jsonl" for path in (workdir, other)]
        assert names[0].exists() == names[1].exists()
        if names[0].exists():
            traces = [[json.loads(line) for line in path.read_text().splitlines()] for path in names]
            for one, two in zip(*traces, strict=True):
                for name in ("logp", "policy_logp", "entropy"):  # rounded to four decimals
                    np.testing.assert_allclose(one.pop(name), two.pop(name), atol=2e-4, err_msg=name)
                assert one.pop("advantage") == pytest.approx(two.pop("advantage"))
                assert one == two
    rows = [runs.rows(path)[1 : step + 1] for path in (workdir, other)]
    for name in ("reward/mean", "train/updates", "ledger/trained", "rollout/len_mean", "groups/informative"):
        assert [row.get(name) for row in rows[0]] == [row.get(name) for row in rows[1]]
    assert sum(row["train/updates"] for row in rows[0]) >= 3


def test_two_processes_draw_judge_and_train_as_one_with_as_many_devices(one, two):
    assert_close(one.workdir, two.workdir, SAVED)
    assert "steps" not in two.both.said(1, "out"), "process 0 alone speaks"


def test_when_one_is_killed_the_other_ends_with_its_name_within_a_minute(two):
    assert two.codes[0] == 1 and two.seconds < 60
    gone = (
        f"error: {two.both.name(1)} has given no sign of life for 30 s; a run needs all of its processes: start them "
    )
    assert gone + "again with the same command, and it goes on from its last checkpoint\n" in two.both.said(0)


def test_two_processes_replay_a_step_of_a_run_as_one_process_took_it(tmp_path, one):
    replay = one.overrides | {"replay": f"{one.workdir}/{SAVED + 1}"}
    both = several.start_run(tmp_path / "replay", replay, 2)
    assert both.codes() == [0, 0], both.said(0) + both.said(1)
    (recorded,) = [row for row in runs.rows(one.workdir) if row["step"] == SAVED + 1]
    (row,) = runs.rows(tmp_path / "replay")
    assert row["train/updates"] == 1 and row["policy/step"] == recorded["policy/step"]
    for name in ("loss/policy", "train/grad_norm", "entropy/mean", "ratio/mean", "mismatch/kl", "pack/fill"):
        assert row[name] == pytest.approx(recorded[name], rel=1e-4, abs=1e-6), name
    summary = runs.summary(tmp_path / "replay")
    assert summary["config changed"] == {} and summary["groups"] == recorded["groups/informative"]
    assert "train/grad_norm" in both.said(0, "out") and "train/grad_norm" not in both.said(1, "out")


def test_processes_that_do_not_read_the_same_groups_are_refused(tmp_path, one):
    for index in range(2):  # a folder of the same name, on a disk of its own
        shutil.copytree(one.workdir, tmp_path / "disks" / str(index) / "run")
    groups = tmp_path / "disks" / "1" / "run" / "groups" / f"step_{SAVED + 1:06}.npz"
    with np.load(groups) as file:
        arrays = dict(file)
    np.savez(groups, **arrays | {"rewards": 1 - arrays["rewards"]})
    program = f"""
os.chdir(os.path.join(sys.argv[4], sys.argv[1]))
import pathlib
from tests import runs
from ulorl_jax.replay import replay
replay(runs.settings({{"replay": "run/{SAVED + 1}"}}), pathlib.Path(sys.argv[4] + "_replay"))
"""
    both = several.start_program(tmp_path / "disks", program, 2)
    assert both.codes() == [1, 1]
    for index in range(2):
        said = f"process 1 has other files of run/{SAVED + 1} than process 0: groups ("
        assert said in both.said(index) and "checkpoint (" not in both.said(index)
    assert not (tmp_path / "disks_replay").exists()


@pytest.mark.parametrize("count", [1, 4])
def test_what_two_processes_saved_any_number_goes_on_with(tmp_path, one, two, count):
    workdir = shutil.copytree(two.workdir, tmp_path / "run")
    if count == 1:
        runs.run(workdir, one.overrides, devices=2)
    else:
        assert several.start_run(workdir, one.overrides, count).codes() == [0] * count
    assert runs.checkpoint_steps(workdir)[-1] == 8
    assert_close(one.workdir, workdir, 8)
