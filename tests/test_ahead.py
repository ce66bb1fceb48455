"""`launch/plan.py compile`: the run's own programs, for slices that are not there."""

import importlib.util
import json
import subprocess
import sys

import pytest

from tests import runs

SMALL = {
    "model.num_hidden_layers": 2, "model.vocab_size": 8192, "mesh.fsdp": 2, "mesh.tensor": 2,
    "rollout.output_limit": 4096, "rollout.slots": 8, "rollout.pages.count": 320, "rollout.prefill_chunk": 256,
    "train.row_lengths": 6144, "train.rows_per_micro_batch": 2, "warm_start.rows": 2,
}  # fmt: skip


def plan(folder, *flags, **overrides):
    values = [f"--config.{key}={value}" for key, value in (SMALL | overrides).items()]
    line = [sys.executable, "launch/plan.py", "compile", "--config=configs/qwen3_0p6b.py", f"--workdir={folder}"]
    environment = runs.environment() | {"XLA_FLAGS": ""}
    return subprocess.run([*line, *flags, *values], cwd=runs.ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs libtpu, which compiles for a TPU")
def test_every_program_of_a_run_is_compiled_and_a_pool_that_is_too_large_is_refused(tmp_path):
    done = plan(tmp_path / "fits", "--topology=v5e:2x2")
    assert done.returncode == 0, done.stderr[-2000:]
    (found,) = json.loads((tmp_path / "fits/compiled.json").read_text())["slices"]
    assert found["fits"] and list(found["programs"]) == ["train", "decode", "prefill", "reshard"]
    programs = found["programs"]
    # The whole train state is updated in place, and the pool.
    assert programs["train"]["in_place"] >= found["terms"]["parameters"] + found["terms"]["optimizer"]
    assert programs["decode"]["in_place"] >= found["terms"]["KV cache"]
    assert found["collectives"]["train"] and programs["reshard"]["results"] >= found["terms"]["decoder's weights"]
    assert "v5e:2x2 (4 chips of 15.8 GiB, fsdp 2 x tensor 2): fits" in done.stdout

    # A list may hold slices that the mesh cannot lie on: of three chips, and of sixteen that want eight rows.
    flags = "--topology=v5e:1x3,v5e:2x2,v5e:4x4", "--programs=decode"
    done = plan(tmp_path / "not", *flags, **{"rollout.pages.count": 200_000, "mesh.fsdp": -1})
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads((tmp_path / "not/compiled.json").read_text())
    (found,) = told["slices"]
    assert not found["fits"] and "rollout.pages.count" in found["programs"]["decode"]["change"]
    assert "needs 2 devices, there are 3" in told["refused"]["v5e:1x3"]
    assert "v5e:4x4: refused: train.rows_per_micro_batch must be a multiple of 8" in done.stdout
    assert "of 3 slices fit: none" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs libtpu, which compiles for a TPU")
def test_qwen3_30b_at_128k_with_1024_slots_of_40960_tokens_fits_a_v5p_128(tmp_path):
    line = [sys.executable, "launch/plan.py", "compile", "--config=configs/qwen3_30b.py", "--topology=v5p:4x4x4"]
    environment = runs.environment() | {"XLA_FLAGS": ""}
    done = subprocess.run(
        [*line, f"--workdir={tmp_path}"], cwd=runs.ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (found,) = json.loads((tmp_path / "compiled.json").read_text())["slices"]
    assert found["fits"], done.stdout
    peaks = {name: row["peak"] / 2**30 for name, row in found["programs"].items()}
    assert peaks["train"] < 17.4 and peaks["decode"] < 62.6 and peaks["prefill"] < 62.6 and peaks["reshard"] < 8
    sent = found["collectives"]["train"]
    assert sent["all-reduce"]["bytes"] < 2**29  # of what weights learn each chip gets its own part alone


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--topology=v9:2x2"], "the kind of chip in --topology must be one of"),
        (["--topology=v5e:2x2", "--programs=dance"], "--programs must be one of"),
        ([], "compile wants --topology"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_before_anything_compiles(tmp_path, flags, says):
    done = plan(tmp_path, *flags)
    assert done.returncode != 0 and says in done.stderr + done.stdout


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="libtpu is installed")
def test_without_libtpu_it_is_said_what_to_install(tmp_path):
    done = plan(tmp_path, "--topology=v5e:2x2", "--programs=reshard")
    assert done.returncode == 1 and "It takes libtpu (pip install libtpu" in done.stderr
