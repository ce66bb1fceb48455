"""A checkpoint of another run: its parameters alone, from a folder that nobody may write to."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests.io import test_checkpoints as saved
from ulorl_jax.io import checkpoints
from ulorl_jax.io.checkpoint_reader import open_checkpoint, saved_steps
from ulorl_jax.io.checksums import write_checksums

LAYOUTS = pytest.mark.parametrize("layout", saved.layouts())


def like(tree, layout="one device", dtype=None):
    sharding = saved.layouts()[layout]

    def struct(leaf):
        whole = sharding if leaf.ndim and leaf.shape[0] % 8 == 0 else saved.everywhere(sharding)
        return jax.ShapeDtypeStruct(leaf.shape, dtype or leaf.dtype, sharding=whole)

    return jax.tree.map(struct, tree)


def make_tree(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"embed": (64, 24), "layers": {"w": (3, 40, 16), "low": (8, 8)}, "scale": (5,), "count": ()}
    tree = jax.tree.map(lambda shape: rng.standard_normal(shape), shapes, is_leaf=lambda x: isinstance(x, tuple))
    tree = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)
    tree["layers"]["low"] = tree["layers"]["low"].astype(jnp.bfloat16)
    return tree


def listing(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


@LAYOUTS
@pytest.mark.parametrize("chunk", [1 << 24, 256])
def test_parameters_come_back_bit_for_bit_under_any_sharding_whatever_the_blocks(tmp_path, monkeypatch, layout, chunk):
    monkeypatch.setattr(checkpoints, "_CHUNK", chunk)
    tree = make_tree()
    saved.save(tmp_path, 4, state=tree)
    checkpoint = open_checkpoint(tmp_path)
    wanted = like(tree, layout)
    read = checkpoint.read(wanted)
    assert saved.bits(read) == saved.bits(tree) and jax.tree.structure(read) == jax.tree.structure(tree)
    for leaf, want in zip(jax.tree.leaves(read), jax.tree.leaves(wanted), strict=True):
        assert leaf.sharding == want.sharding
    if chunk == 256:  # the file is in blocks, so that they were put together
        assert len(list((tmp_path / "4" / "state" / "layers.w").iterdir())) > 20


def test_floats_are_cast_to_the_dtype_asked_for(tmp_path):
    tree = make_tree()
    saved.save(tmp_path, 1, state=tree)
    read = open_checkpoint(tmp_path).read(like(tree, dtype=jnp.bfloat16))
    assert saved.bits(read) == saved.bits(jax.tree.map(lambda x: x.astype(jnp.bfloat16), tree))


def make_state(seed=0):
    """A train state whose parameters are a nested dict of arrays, as the network's are."""
    return dataclasses.replace(saved.make_state(seed), params=make_tree(seed))


def test_of_a_train_state_only_the_parameters_files_are_read_or_checked(tmp_path):
    state = make_state(3)
    saved.save(tmp_path, 7, state=state)
    folder = tmp_path / "7" / "state"
    others = [path for path in folder.iterdir() if path.name.split(".")[0] in ("opt_state", "step", "skipped")]
    assert len(others) > 5
    for path in others:
        shutil.rmtree(path)
    checkpoint = open_checkpoint(tmp_path)
    assert saved.bits(checkpoint.read(like(state.params), "params")) == saved.bits(state.params)
    assert (checkpoint.step, checkpoint.fingerprint, checkpoint.host["cursor"]) == (7, saved.MODEL, 7)


def test_a_whole_train_state_comes_back_bit_for_bit_and_damage_to_its_optimizer_is_named(tmp_path):
    state = saved.make_state(3)
    saved.save(tmp_path, 7, state=state)
    checkpoint = open_checkpoint(tmp_path)
    read = checkpoint.read(like(state))
    assert saved.bits(read) == saved.bits(state) and jax.tree.structure(read) == jax.tree.structure(state)
    moment = next(path for path in (tmp_path / "7" / "state").glob("opt_state.*.nu.*/*") if path.name != ".zarray")
    moment.write_bytes(moment.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"is damaged: state/opt_state\..*\.nu\."):
        checkpoint.read(like(state))


@pytest.mark.parametrize("damage", saved.DAMAGES)
def test_damage_to_any_file_that_is_read_is_named(tmp_path, damage):
    state = make_state(3)
    saved.save(tmp_path / "good", 7, state=state)
    files = [path for path in (tmp_path / "good" / "7").rglob("params.*/*") if path.is_file()]
    files.append(tmp_path / "good" / "7" / "host" / "about.json")
    if damage != "one flipped bit":  # which may be in the line of a file that is not read
        files.append(tmp_path / "good" / "7" / "state" / "checksums.txt")
    assert len(files) > 8
    for number, path in enumerate(files):
        run = tmp_path / str(number)
        shutil.copytree(tmp_path / "good", run)
        name = path.relative_to(tmp_path / "good")
        saved.DAMAGES[damage](run / name)
        with pytest.raises(ValueError, match=f"checkpoint {run / '7'} is damaged: {name.parts[1]}/"):
            open_checkpoint(run).read(like(state.params), "params")


def test_a_folder_that_cannot_be_written_is_read_and_nothing_of_it_is_touched(tmp_path):
    tree = make_tree()
    saved.save(tmp_path / "run", 1, 2, state=tree)
    (tmp_path / "run" / "3.orbax-checkpoint-tmp-1").mkdir()  # of somebody else's write, or of a killed run
    before = listing(tmp_path / "run")
    for path in [tmp_path / "run", *(tmp_path / "run").rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert saved_steps(tmp_path / "run") == [1, 2]
        assert saved.bits(open_checkpoint(tmp_path / "run", 1).read(like(tree))) == saved.bits(tree)
    finally:
        for path in [tmp_path / "run", *(tmp_path / "run").rglob("*")]:
            path.chmod(0o755)
    assert listing(tmp_path / "run") == before


def test_a_checkpoint_whose_arrays_share_files_is_read_too(tmp_path):
    """As orbax writes by default, and as this project did: OCDBT."""
    tree = make_tree()
    saved.save(tmp_path, 1, state=tree)
    shutil.rmtree(tmp_path / "1" / "state")
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "1" / "state", tree)
    write_checksums(checkpoints.epath.Path(tmp_path / "1" / "state"))
    assert (tmp_path / "1" / "state" / "manifest.ocdbt").exists()
    assert saved.bits(open_checkpoint(tmp_path).read(like(tree))) == saved.bits(tree)
    with saved.open_at(tmp_path) as opened:
        assert saved.bits(opened.restore(tree).state) == saved.bits(tree)


def test_an_array_that_is_absent_or_of_another_shape_is_named(tmp_path):
    tree = make_tree()
    saved.save(tmp_path, 1, state=tree)
    wanted = like(tree)
    wanted["scale"] = jax.ShapeDtypeStruct((6,), jnp.float32, sharding=wanted["scale"].sharding)
    wanted["head"] = wanted["embed"]
    with pytest.raises(
        ValueError, match=r"\['head'\] is absent, want float32\[64, 24\], \['scale'\] is float32\[5\], want"
    ):
        open_checkpoint(tmp_path).read(wanted)
    with pytest.raises(ValueError, match=r"\.params\['embed'\] is absent"):
        open_checkpoint(tmp_path).read(like(tree), "params")


def test_a_step_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    saved.save(tmp_path, 3, state=make_tree())
    with pytest.raises(ValueError, match=r"no checkpoint of step 4 in .*; it holds the steps \[3\]"):
        open_checkpoint(tmp_path, 4)
    with pytest.raises(ValueError, match=r"no checkpoint in .*; it holds the steps \[\]"):
        open_checkpoint(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
