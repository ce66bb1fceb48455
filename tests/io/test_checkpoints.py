"""io.checkpoints: what was saved comes back bit for bit, or one line says why not."""

import logging
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from ulorl_jax.io.checkpoints import Checkpoints
from ulorl_jax.types import TrainState

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = {"layers": 2, "width": 64, "name": "tiny"}
HOST = {"cursor": 3, "pools": [{"id": 1, "finished": "", "segments": [[2, 0, "keep"]]}], "ledger": {}, "seed": 0.1}
ARRAYS = {"tokens": np.arange(5, dtype=np.int32), "logp/a.b": np.full(3, -0.0, np.float32)}


def make_state(seed: int = 0, sharding=None) -> TrainState:
    sharding = sharding or SingleDeviceSharding(jax.devices()[0])
    rng = np.random.default_rng(seed)
    params = {
        "embed": rng.standard_normal((16, 64)).astype(np.float32),
        "layers": [{"w": rng.standard_normal((64, 8)).astype(np.float32)} for _ in range(2)],
        "scale": rng.standard_normal((8,)).astype(jnp.bfloat16),
    }
    opt_state = optax.adamw(1e-3).init(params)
    state = TrainState(jnp.int32(seed), params, opt_state, jnp.int32(0), jnp.int32(0))
    spread = lambda x: jax.device_put(x, sharding if x.ndim else everywhere(sharding))  # noqa: E731
    return jax.tree.map(spread, state)


def everywhere(sharding):
    return NamedSharding(sharding.mesh, PartitionSpec()) if isinstance(sharding, NamedSharding) else sharding


def bits(tree) -> list[tuple]:
    return [(np.asarray(x).tobytes(), x.shape, str(x.dtype)) for x in jax.tree.leaves(tree)]


def layouts():
    mesh = Mesh(np.asarray(jax.devices()).reshape(4, 2), ("a", "b"))
    return {
        "one device": SingleDeviceSharding(jax.devices()[0]),
        "eight devices, split": NamedSharding(mesh, PartitionSpec(("a", "b"))),
        "eight devices, split by two": NamedSharding(mesh, PartitionSpec("b")),
        "eight devices, replicated": NamedSharding(mesh, PartitionSpec()),
    }


def open_at(directory, keep=3, **changes) -> Checkpoints:
    return Checkpoints(str(directory), keep=keep, fingerprint={**MODEL, **changes})


def save(directory, *steps, **changes):
    with open_at(directory) as checkpoints:
        for step in steps:
            values = {"state": make_state(step), "host": {**HOST, "cursor": step}, "arrays": ARRAYS, **changes}
            assert checkpoints.save(step, **values)


def test_state_host_state_and_arrays_come_back_bit_for_bit(tmp_path):
    arrays = {
        **ARRAYS,
        "file": np.zeros(0, np.float32),
        "none": np.zeros((0, 3), bool),
        "scalar": np.array(1.5),
        "nan": np.array([np.nan, -np.inf], np.float32),
        "big": np.array([2**63 + 1], np.uint64),
    }
    save(tmp_path, 4, arrays=arrays)
    with open_at(tmp_path) as checkpoints:
        assert checkpoints.latest_step() == 4
        restored = checkpoints.restore(make_state(1))
    assert (restored.step, restored.host, restored.device) == (4, {**HOST, "cursor": 4}, None)
    assert bits(restored.state) == bits(make_state(4))
    assert jax.tree.structure(restored.state) == jax.tree.structure(make_state(4))
    assert list(restored.arrays) == list(arrays) and bits(restored.arrays) == bits(arrays)


def test_no_arrays_and_an_empty_host_state_are_fine(tmp_path):
    save(tmp_path, 1, host={}, arrays={})
    with open_at(tmp_path) as checkpoints:
        restored = checkpoints.restore(make_state())
    assert restored.host == {} and restored.arrays == {}


@pytest.mark.parametrize("into", layouts())
@pytest.mark.parametrize("out_of", layouts())
def test_a_state_saved_under_one_sharding_is_the_same_bits_under_another(tmp_path, out_of, into):
    save(tmp_path, 1, state=make_state(1, layouts()[out_of]), device={"kv": make_state(2, layouts()[into]).params})
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), make_state(0, layouts()[into])
    )
    with open_at(tmp_path) as checkpoints:
        restored = checkpoints.restore(like, like_device={"kv": like.params})
    assert bits(restored.state) == bits(make_state(1))
    assert bits(restored.device) == bits({"kv": make_state(2).params})
    for leaf, want in zip(jax.tree.leaves(restored.state), jax.tree.leaves(like), strict=True):
        assert leaf.sharding == want.sharding


@pytest.mark.parametrize("layout", layouts())
def test_a_state_donated_and_overwritten_right_after_save_is_saved_as_it_was(tmp_path, layout):
    put = lambda seed: jax.device_put(np.random.default_rng(seed).standard_normal((1 << 20,)), layouts()[layout])  # noqa: E731
    update = jax.jit(lambda tree: jax.tree.map(lambda x: x * 0 - 7, tree), donate_argnums=0)
    update({"a": put(0), "b": put(1)})  # compiled before, so that it overwrites at once
    state = {"a": put(2), "b": put(3)}
    want = bits(state)
    state = jax.tree.map(lambda x: x + 0, state)  # arrays without the NumPy copy that `bits` left in them
    with open_at(tmp_path) as checkpoints:
        checkpoints.save(1, state=state, host={}, arrays={})
        for _ in range(3):
            state = update(state)
        jax.block_until_ready(state)
        restored = checkpoints.restore(state).state
        assert bits(restored) == want
        assert all((np.asarray(x) == -7).all() for x in jax.tree.leaves(update(restored)))


def test_host_state_and_arrays_changed_right_after_save_are_saved_as_they_were(tmp_path):
    host, arrays = {"cursor": 1}, {"tokens": np.arange(1 << 22)}
    with open_at(tmp_path) as checkpoints:
        checkpoints.save(1, state=make_state(), host=host, arrays=arrays)
        host["cursor"] = 2
        arrays["tokens"][:] = -1
        restored = checkpoints.restore(make_state())
    assert restored.host == {"cursor": 1} and (restored.arrays["tokens"] == np.arange(1 << 22)).all()


def test_the_last_k_are_kept_and_any_of_them_can_be_restored(tmp_path):
    with open_at(tmp_path, keep=2) as checkpoints:
        assert checkpoints.latest_step() is None
        for step in (1, 2, 5):
            checkpoints.save(step, state=make_state(step), host=HOST, arrays={})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "5"]
    with open_at(tmp_path) as checkpoints:
        assert bits(checkpoints.restore(make_state(), step=2).state) == bits(make_state(2))
        with pytest.raises(ValueError, match=r"no checkpoint of step 1 .* holds the steps \[2, 5\]"):
            checkpoints.restore(make_state(), step=1)


def test_a_step_that_is_saved_already_is_left_alone_and_an_older_one_is_refused(tmp_path):
    save(tmp_path, 3)
    with open_at(tmp_path) as checkpoints:
        assert not checkpoints.save(3, state=make_state(9), host=HOST, arrays={})
        assert bits(checkpoints.restore(make_state()).state) == bits(make_state(3))
        with pytest.raises(ValueError, match="cannot save step 2: .* holds the later step 3"):
            checkpoints.save(2, state=make_state(), host=HOST, arrays={})


def test_nothing_to_restore_says_so(tmp_path):
    with (
        open_at(tmp_path) as checkpoints,
        pytest.raises(ValueError, match=r"no checkpoint to restore in .* steps \[\]"),
    ):
        checkpoints.restore(make_state())


def test_a_checkpoint_of_another_model_names_the_fields_before_it_reads_an_array(tmp_path):
    save(tmp_path, 1)
    shutil.rmtree(tmp_path / "1" / "state")  # so that reading it would be another error
    with (
        open_at(tmp_path, width=128, experts=4) as checkpoints,
        pytest.raises(ValueError, match="of another model: width is 64, want 128, experts is absent, want 4;"),
    ):
        checkpoints.restore(make_state())


def test_a_leaf_of_another_shape_or_dtype_is_named(tmp_path):
    save(tmp_path, 1, state={"w": jnp.zeros((2, 3)), "b": jnp.zeros(3)})
    with open_at(tmp_path) as checkpoints:
        with pytest.raises(ValueError, match=r"another state: \['w'\] is 'float32\[2, 3\]', want 'float32\[3, 2\]';"):
            checkpoints.restore({"w": jnp.zeros((3, 2)), "b": jnp.zeros(3)})
        with pytest.raises(ValueError, match=r"\['b'\] is 'float32\[3\]', want 'int32\[3\]'"):
            checkpoints.restore({"w": jnp.zeros((2, 3)), "b": jnp.zeros(3, jnp.int32)})
        with pytest.raises(ValueError, match=r"another device: \['kv'\] is absent"):
            checkpoints.restore({"w": jnp.zeros((2, 3)), "b": jnp.zeros(3)}, like_device={"kv": jnp.zeros(1)})


def flip(path: pathlib.Path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


DAMAGES = {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * (path.stat().st_size // 256 + 1)),
    "one flipped bit": flip,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_any_file_names_the_step_and_what_to_do_and_deletes_nothing(tmp_path, damage):
    save(tmp_path / "good", 1, 2)
    files = [path for path in (tmp_path / "good" / "2").rglob("*") if path.parent.name != "2" and path.is_file()]
    files = [path.relative_to(tmp_path / "good") for path in files if path.name != "commit_success.txt"]
    assert len(files) > 8
    for number, name in enumerate(files):
        run = tmp_path / str(number)
        shutil.copytree(tmp_path / "good", run)
        DAMAGES[damage](run / name)
        before = sorted(run.rglob("*"))
        with open_at(run) as checkpoints:
            with pytest.raises(ValueError) as caught:
                checkpoints.restore(make_state())
            message = str(caught.value)
            assert f"checkpoint {run / '2'} is damaged: {name.parts[1]}/" in message and "\n" not in message
            assert message.endswith("move this directory away, and the run resumes from step 1")
            assert bits(checkpoints.restore(make_state(), step=1).state) == bits(make_state(1))
        assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize("item", ["state", "host", "."])
def test_a_missing_part_of_the_only_checkpoint_says_that_the_run_would_start_again(tmp_path, item):
    save(tmp_path, 2)
    shutil.rmtree(tmp_path / "2" / item)
    (tmp_path / "2").mkdir(exist_ok=True)
    with open_at(tmp_path) as checkpoints, pytest.raises(ValueError, match="2 is damaged: .* is missing; .* beginning"):
        checkpoints.restore(make_state())


def test_a_damaged_step_moved_aside_gives_way_to_the_one_before_and_can_be_saved_again(tmp_path):
    save(tmp_path, 1, 2)
    (tmp_path / "2").rename(tmp_path / "2.damaged")
    with open_at(tmp_path) as checkpoints:
        assert checkpoints.restore(make_state()).step == 1
        assert checkpoints.save(2, state=make_state(2), host=HOST, arrays={})
        assert bits(checkpoints.restore(make_state()).state) == bits(make_state(2))
    assert (tmp_path / "2.damaged").is_dir()


@pytest.mark.parametrize("again", [2, 3])
def test_a_run_killed_in_the_middle_of_a_write_resumes_from_the_step_before(tmp_path, again):
    program = f"""
        import os, pathlib, signal, jax.numpy as jnp, numpy as np
        from ulorl_jax.io.checkpoints import Checkpoints
        checkpoints = Checkpoints({str(tmp_path)!r}, keep=3, fingerprint={{}})
        checkpoints.save(1, state={{"w": jnp.arange(3)}}, host={{"cursor": 1}}, arrays={{}})
        checkpoints.wait()
        checkpoints.save(2, state={{"w": jnp.arange(3)}}, host={{"cursor": 2}}, arrays={{"a": np.zeros(1 << 25)}})
        while not any(path.name.startswith("2.") for path in pathlib.Path({str(tmp_path)!r}).iterdir()):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, timeout=120)
    assert done.returncode == -signal.SIGKILL
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left[0] == "1" and len(left) == 2 and left[1] != "2", left
    like = {"w": jnp.arange(3)}
    with Checkpoints(str(tmp_path), keep=3, fingerprint={}) as checkpoints:
        assert checkpoints.latest_step() == 1 and checkpoints.restore(like).host == {"cursor": 1}
        assert checkpoints.save(again, state=like, host={"cursor": 20}, arrays={})
        assert checkpoints.restore(like).host == {"cursor": 20}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", str(again)]


@pytest.fixture
def full_disk():
    """No file may grow beyond 100 kB: the real writes fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("what", ["state", "arrays"])
def test_a_write_that_fails_behind_the_run_is_raised_at_the_next_call_and_does_not_count(tmp_path, full_disk, what):
    noise = np.random.default_rng(0).standard_normal(100_000)
    values = {"state": make_state(2), "host": HOST, "arrays": ARRAYS}
    big = {"state": {**values, "state": {"w": jnp.asarray(noise)}}, "arrays": {**values, "arrays": {"a": noise}}}[what]
    with open_at(tmp_path) as checkpoints:
        checkpoints.save(1, **values)
        checkpoints.wait()
        checkpoints.save(2, **big)
        with pytest.raises(ValueError, match=rf"step 2 could not be written to {tmp_path}: .*resumes from the last"):
            checkpoints.wait()
        assert checkpoints.latest_step() == 1
        checkpoints.save(3, **big)
        with pytest.raises(ValueError, match="step 3 could not be written"):
            checkpoints.save(4, **values)
        full_disk()
        assert checkpoints.save(4, **values)
        assert checkpoints.restore(make_state()).step == 4


def test_a_directory_replaced_under_the_run_is_an_error_that_names_it_and_leaves_no_thread_waiting(tmp_path):
    run = tmp_path / "run"
    before = set(threading.enumerate())
    with pytest.raises(ValueError, match=f"step 1 could not be written to {run}"), open_at(run) as checkpoints:
        shutil.rmtree(run)
        run.write_text("")
        checkpoints.save(1, state=make_state(), host=HOST, arrays={})
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
        assert thread.daemon or not thread.is_alive(), f"{thread.name} would hold up the end of the run"


def test_a_directory_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write checkpoints to .*file.*; choose another directory"):
        open_at(tmp_path / "file" / "run")
    with pytest.raises(ValueError, match="to keep must be at least 1, got 0"):
        open_at(tmp_path, keep=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_host_state_that_is_not_a_number_is_refused_before_anything_is_written(tmp_path, value):
    with open_at(tmp_path) as checkpoints:
        with pytest.raises(ValueError, match="cannot save step 1: the host state holds NaN or infinity"):
            checkpoints.save(1, state=make_state(), host={"reward": value}, arrays={})
        with pytest.raises(AssertionError, match="string keys"):
            checkpoints.save(1, state=make_state(), host={"ledger": {1: 2}}, arrays={})
    assert os.listdir(tmp_path) == []


def test_orbax_logs_nothing_whether_a_save_works_or_fails(tmp_path, capfd, caplog, full_disk):
    caplog.set_level(logging.INFO, "absl")
    with open_at(tmp_path) as checkpoints:
        caplog.clear()
        checkpoints.save(1, state=make_state(), host=HOST, arrays={})
        checkpoints.restore(make_state())
        checkpoints.save(2, state=make_state(), host=HOST, arrays={"a": np.zeros(100_000)})
        with pytest.raises(ValueError, match="step 2 could not be written"):
            checkpoints.wait()
    assert not caplog.records and capfd.readouterr() == ("", "")
