"""Safetensors folders to sharded arrays and back; what is wrong with a folder is named; memory stays where it is."""

import json
import os
import pathlib
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from ulorl_jax.io.hf_weights import Place, read_hf_weights, write_hf_weights
from ulorl_jax.io.safetensors_files import DTYPES, INDEX, read_header, write_safetensors

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAYERS, EXPERTS = 3, 2
# Name in the files -> place: a whole leaf, stacked leaves with one and two leading dims, and a copy.
PLACES = {
    "embed.weight": Place(("embed",)),
    **{f"{n}.norm": Place(("layers", "norm"), (n,)) for n in range(LAYERS)},
    **{f"{n}.q": Place(("layers", "q"), (n,), transposed=True) for n in range(LAYERS)},
    **{f"{n}.{e}.up": Place(("layers", "up"), (n, e), transposed=True) for n in range(LAYERS) for e in range(EXPERTS)},
    "head.weight": Place(("embed",), copy_of="embed.weight"),
}
LEAVES = {
    "embed": ((16, 8), PartitionSpec("b", "a")),
    "layers": {
        "norm": ((LAYERS, 8), PartitionSpec()),
        "q": ((LAYERS, 8, 16), PartitionSpec(None, "a", "b")),
        "up": ((LAYERS, EXPERTS, 8, 4), PartitionSpec(None, None, ("a", "b"))),
    },
}


def is_leaf(x):
    return isinstance(x, tuple)


def layouts():
    mesh = Mesh(np.asarray(jax.devices()).reshape(4, 2), ("a", "b"))
    one = SingleDeviceSharding(jax.devices()[3])
    return {
        "one device": lambda spec: one,
        "eight devices, split": lambda spec: NamedSharding(mesh, spec),
        "eight devices, replicated": lambda spec: NamedSharding(mesh, PartitionSpec()),
    }


LAYOUTS = pytest.mark.parametrize("layout", layouts())


def like(layout="one device", dtype=jnp.float32):
    place = layouts()[layout]
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf[0], dtype, sharding=place(leaf[1])), LEAVES, is_leaf=is_leaf
    )


def make_params(seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.standard_normal(leaf[0]).astype(dtype), LEAVES, is_leaf=is_leaf)


def file_tensors(params):
    """What the files hold, by name, straight from the table."""
    out = {}
    for name, place in PLACES.items():
        leaf = params[place.path[0]] if len(place.path) == 1 else params["layers"][place.path[1]]
        out[name] = np.ascontiguousarray(leaf[place.index].T if place.transposed else leaf[place.index])
    return out


def put(params, layout):
    return jax.tree.map(lambda x, want: jax.device_put(x, want.sharding), params, like(layout))


def write(folder, tensors, dtype="F32"):
    folder.mkdir(exist_ok=True)
    arrays = {name: np.asarray(value, DTYPES[dtype]) for name, value in tensors.items()}
    shapes = {name: value.shape for name, value in arrays.items()}
    write_safetensors(folder / "model.safetensors", shapes, DTYPES[dtype], arrays.values())
    return folder


def without(params, *names):
    return {name: value for name, value in file_tensors(params).items() if name not in names}


def refusal(folder, dtype=jnp.float32):
    with pytest.raises(ValueError) as caught:
        read_hf_weights(folder, PLACES, like(dtype=dtype))
    message = str(caught.value)
    assert "\n" not in message and str(folder) in message
    return message


def assert_same(tree, wanted):
    for leaf, want in zip(jax.tree.leaves(tree), jax.tree.leaves(wanted), strict=True):
        assert leaf.dtype == want.dtype
        np.testing.assert_array_equal(np.asarray(leaf), want)


@LAYOUTS
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_tensor_comes_to_its_place_under_any_sharding(tmp_path, layout, dtype):
    params = make_params(dtype=DTYPES[dtype])
    folder = write(tmp_path / "hf", file_tensors(params), dtype)
    read = read_hf_weights(folder, PLACES, like(layout))
    assert_same(read, jax.tree.map(lambda x: x.astype(np.float32), params))
    for leaf, want in zip(jax.tree.leaves(read), jax.tree.leaves(like(layout)), strict=True):
        assert leaf.sharding == want.sharding


@LAYOUTS
@pytest.mark.parametrize("shard", [10**9, 300, 1])
def test_what_is_written_from_any_sharding_is_read_again_in_any_number_of_files(tmp_path, layout, shard):
    params, folder = make_params(), tmp_path / "hf"
    write_hf_weights(folder, PLACES, put(params, layout), dtype="float32", config={"a": 1}, max_shard_bytes=shard)
    assert_same(read_hf_weights(folder, PLACES, like()), params)
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    if shard == 10**9:
        assert names == ["model.safetensors"] and not (folder / INDEX).exists()
    else:
        total = len(names)
        assert names == [f"model-{n:05}-of-{total:05}.safetensors" for n in range(1, total + 1)] and total > 2
        index = json.loads((folder / INDEX).read_text())
        held = {name: path.name for path in folder.glob("*.safetensors") for name in read_header(path)}
        assert index["weight_map"] == held and "head.weight" not in held
        sizes = [sum(t.stop - t.start for t in read_header(folder / name).values()) for name in names]
        assert index["metadata"]["total_size"] == sum(sizes) == 4 * sum(x.size for x in jax.tree.leaves(params))
        if shard == 300:
            assert all(
                size <= 300 or len(read_header(folder / name)) == 1 for name, size in zip(names, sizes, strict=True)
            )
    assert json.loads((folder / "config.json").read_text()) == {"a": 1}


def test_float32_is_rounded_to_bfloat16_as_numpy_rounds_it_both_ways(tmp_path):
    params = make_params()
    low = jax.tree.map(lambda x: x.astype(DTYPES["BF16"]), params)
    assert_same(read_hf_weights(write(tmp_path / "a", file_tensors(params)), PLACES, like(dtype=jnp.bfloat16)), low)
    write_hf_weights(tmp_path / "b", PLACES, put(params, "one device"), dtype="bfloat16", config={})
    assert {tensor.dtype for tensor in read_header(tmp_path / "b" / "model.safetensors").values()} == {"BF16"}
    assert_same(read_hf_weights(tmp_path / "b", PLACES, like(dtype=jnp.bfloat16)), low)


def test_a_value_that_float16_cannot_hold_names_its_tensor_and_leaves_no_folder(tmp_path):
    params = make_params()
    params["layers"]["norm"][1, 2] = 65504.0
    write_hf_weights(tmp_path / "fits", PLACES, put(params, "one device"), dtype="float16", config={})
    params["layers"]["norm"][1, 2] = -65520.0  # the first that rounds to no finite number
    with pytest.raises(ValueError, match="1.norm has values beyond 65504"):
        write_hf_weights(tmp_path / "not", PLACES, put(params, "one device"), dtype="float16", config={})
    assert [path.name for path in tmp_path.iterdir()] == ["fits"]


def test_side_files_are_copied_and_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    params, folder = put(make_params(), "one device"), tmp_path / "hf"
    side = [tmp_path / "tokenizer.json"]
    write_hf_weights(folder, PLACES, params, dtype="float32", config={}, side_files=side)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert before["tokenizer.json"] == b"{}"
    with pytest.raises(ValueError, match="is there already and not an empty folder"):
        write_hf_weights(folder, PLACES, params, dtype="bfloat16", config={"other": 1})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf", "tokenizer.json"]


def test_a_missing_tensor_is_named(tmp_path):
    assert "1.q is missing" in refusal(write(tmp_path / "hf", without(make_params(), "1.q")))


def test_a_tensor_of_no_place_is_named_and_old_rotary_tables_are_passed_over(tmp_path):
    params = make_params()
    extra = file_tensors(params) | {"0.bias": np.zeros(3, np.float32)}
    assert "0.bias is not a tensor of this model" in refusal(write(tmp_path / "a", extra))
    old = file_tensors(params) | {"model.layers.0.self_attn.rotary_emb.inv_freq": np.zeros(3, np.float32)}
    assert_same(read_hf_weights(write(tmp_path / "b", old), PLACES, like()), params)


def test_a_tensor_of_another_shape_is_named_with_both(tmp_path):
    tensors = file_tensors(make_params())
    tensors["2.1.up"] = tensors["2.1.up"].T
    assert "2.1.up has shape [8, 4], want [4, 8]" in refusal(write(tmp_path / "hf", tensors))


def test_a_tensor_of_another_dtype_is_named(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    tensors = file_tensors(make_params()) | {"0.norm": np.zeros(8, np.int8)}
    library.save_file(tensors, tmp_path / "model.safetensors")
    assert "0.norm is of dtype I8, want one of F64, F32, F16, BF16" in refusal(tmp_path)


def test_a_truncated_file_names_its_last_tensors(tmp_path):
    folder = write(tmp_path / "hf", file_tensors(make_params()))
    path = folder / "model.safetensors"
    *_, name = read_header(path)
    path.write_bytes(path.read_bytes()[:-1])
    size = path.stat().st_size
    assert f"{name} is truncated: it ends at byte {size + 1}, model.safetensors at {size}" in refusal(folder)


def test_five_problems_are_named_and_the_others_counted(tmp_path):
    names = [f"{n}.{what}" for n in range(LAYERS) for what in ("norm", "q")]
    message = refusal(write(tmp_path / "hf", without(make_params(), *names, "embed.weight", "head.weight")))
    assert message.count("is missing") == 5 and message.endswith("and 2 more")


def test_a_copy_may_be_absent_or_equal_and_another_value_is_refused(tmp_path):
    params = make_params()
    assert_same(read_hf_weights(write(tmp_path / "a", without(params, "head.weight")), PLACES, like()), params)
    tensors = file_tensors(params)
    tensors["head.weight"] = tensors["head.weight"].copy()
    tensors["head.weight"][-1, -1] += 1
    assert "head.weight differs from embed.weight, to which it should be tied" in refusal(
        write(tmp_path / "b", tensors)
    )


def test_a_shard_that_is_missing_damaged_or_of_another_index_is_named(tmp_path):
    write_hf_weights(
        tmp_path / "hf", PLACES, put(make_params(), "one device"), dtype="float32", config={}, max_shard_bytes=600
    )
    first, shard, *_ = sorted((tmp_path / "hf").glob("*.safetensors"))
    content = shard.read_bytes()
    shard.unlink()
    assert f"names files that are missing: {shard.name}" in refusal(tmp_path / "hf")
    shard.write_bytes(content[:5])
    assert f"{shard} is truncated inside its header" in refusal(tmp_path / "hf")
    name = min(read_header(first))
    shard.write_bytes(first.read_bytes())
    assert f"holds tensors in two files: {name}" in refusal(tmp_path / "hf")
    shard.write_bytes(content)
    (tmp_path / "hf" / INDEX).write_text("{}")
    assert "is no index of safetensors files" in refusal(tmp_path / "hf")


def test_an_index_that_promises_more_than_its_files_hold_is_named(tmp_path):
    folder = write(tmp_path / "hf", file_tensors(make_params()))
    names = [*read_header(folder / "model.safetensors"), "3.q"]
    (folder / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(names, "model.safetensors")}))
    assert "names tensors that their files lack: 3.q (in model.safetensors)" in refusal(folder)


def test_a_folder_without_safetensors_is_named(tmp_path):
    (tmp_path / "pytorch_model.bin").write_text("")
    assert "holds neither model.safetensors nor model.safetensors.index.json" in refusal(tmp_path)


def test_host_memory_stays_a_few_tensors_beyond_the_result_both_ways(tmp_path):
    """A leaf of 64 tensors of 4 MB: a second leaf, or tensors that pile up, would be 64 more. glibc keeps some."""
    program = f"""
        import pathlib, threading, time, jax, numpy as np
        from jax.sharding import SingleDeviceSharding
        from ulorl_jax.io.hf_weights import Place, read_hf_weights, write_hf_weights
        places = {{str(n): Place(("w",), (n,), True) for n in range(64)}}
        here = SingleDeviceSharding(jax.devices()[0])

        def like(shape): return {{"w": jax.ShapeDtypeStruct(shape, np.float32, sharding=here)}}

        def own():
            with open("/proc/self/status") as file:
                return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))

        def beyond(function):
            start, peak, done = own(), [0], threading.Event()
            def watch():
                while not done.is_set():
                    peak[0] = max(peak[0], own()); time.sleep(0.001)
            thread = threading.Thread(target=watch); thread.start()
            value = function(); done.set(); thread.join()
            return value, (peak[0] - start) / (1 << 22)

        small = jax.device_put({{"w": np.ones((64, 4, 4), np.float32)}})  # compiles what can be compiled
        folder = pathlib.Path({str(tmp_path)!r})
        write_hf_weights(folder / "small", places, small, dtype="float32", config={{}})
        read_hf_weights(folder / "small", places, like((64, 4, 4)))
        big = jax.block_until_ready(jax.jit(lambda: {{"w": jax.numpy.ones((64, 1024, 1024))}})())
        _, writing = beyond(lambda: write_hf_weights(folder / "big", places, big, dtype="float32", config={{}}))
        del big
        read, reading = beyond(lambda: read_hf_weights(folder / "big", places, like((64, 1024, 1024))))
        print("tensors:", writing, reading - 64)
    """
    env = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    writing, reading = map(float, done.stdout.splitlines()[-1].split()[1:])
    assert writing < 8 and reading < 8, (writing, reading)


def test_an_index_with_a_number_for_a_file_is_refused(tmp_path):
    folder = write(tmp_path / "hf", file_tensors(make_params()))
    (folder / INDEX).write_text(json.dumps({"weight_map": {"3.q": 5}}))
    assert "is no index of safetensors files" in refusal(folder)


def test_a_single_file_beside_shards_of_another_set_is_refused(tmp_path):
    write_hf_weights(
        tmp_path / "hf", PLACES, put(make_params(), "one device"), dtype="float32", config={}, max_shard_bytes=600
    )
    write(tmp_path / "hf", file_tensors(make_params()))
    assert "holds two sets of weights, model.safetensors and those of" in refusal(tmp_path / "hf")
