"""The format against its own library, slices against NumPy, damage by name."""

import json

import numpy as np
import pytest

from ulorl_jax.io import safetensors_files
from ulorl_jax.io.safetensors_files import DTYPES, read_header, write_safetensors

RNG = np.random.default_rng(0)
F32 = np.dtype(np.float32)


def arrays(dtype):
    shapes = {"matrix": (6, 5), "scale": (7,), "one": (), "none": (0, 3), "cube": (3, 4, 5)}
    return {name: RNG.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def written(path, dtype=F32):
    values = arrays(dtype)
    write_safetensors(path, {name: value.shape for name, value in values.items()}, dtype, iter(values.values()))
    return values


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_the_library_reads_what_is_written_bit_for_bit(tmp_path, dtype):
    library = pytest.importorskip("safetensors.numpy")
    values = written(tmp_path / "a.safetensors", dtype)
    loaded = library.load_file(tmp_path / "a.safetensors")
    assert loaded.keys() == values.keys()
    for name, value in values.items():
        assert loaded[name].dtype == dtype and loaded[name].shape == value.shape, name
        assert loaded[name].tobytes() == value.tobytes(), name


def test_what_the_library_writes_is_read_bit_for_bit(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    values = {f"{name}.{kind}": value for kind, dtype in DTYPES.items() for name, value in arrays(dtype).items()}
    library.save_file(values, tmp_path / "a.safetensors", metadata={"format": "np"})
    tensors = read_header(tmp_path / "a.safetensors")
    assert tensors.keys() == values.keys()
    for name, tensor in tensors.items():
        array = tensor.read()
        assert (array.dtype, array.shape) == (values[name].dtype, values[name].shape), name
        assert array.tobytes() == values[name].tobytes() and not tensor.truncated, name


@pytest.mark.parametrize(
    "index",
    [
        (slice(None), slice(None), slice(None)),
        (slice(1, 3), slice(None), slice(None)),
        (slice(1, 9), slice(1, 3), slice(None)),
        (slice(None), slice(2, 4), slice(0, 1)),
        (slice(None), slice(None), slice(4, 5)),
        (slice(2, 2), slice(None), slice(None)),
    ],
    ids=str,
)
def test_a_slice_is_read_as_numpy_takes_it_block_by_block(tmp_path, monkeypatch, index):
    monkeypatch.setattr(safetensors_files, "_BLOCK", 2 * 4 * 5 * 4)  # two rows of the cube
    values = written(tmp_path / "a.safetensors")
    part = read_header(tmp_path / "a.safetensors")["cube"].read(index)
    np.testing.assert_array_equal(part, values["cube"][index])
    assert part.flags.c_contiguous


def test_what_is_read_begins_where_xla_wants_a_buffer_to_begin(tmp_path):
    written(tmp_path / "a.safetensors")
    tensors = read_header(tmp_path / "a.safetensors").values()
    assert all(tensor.read().ctypes.data % 64 == 0 for tensor in tensors if tensor.stop > tensor.start)


def test_a_file_cut_off_anywhere_is_named_with_the_tensors_that_are_cut(tmp_path):
    path = tmp_path / "a.safetensors"
    written(path)
    whole, tensors = path.read_bytes(), read_header(path)
    end = min(tensor.start for tensor in tensors.values())
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        if size < end:
            with pytest.raises(ValueError, match="a.safetensors is truncated inside its header"):
                read_header(path)
            continue
        for name, tensor in read_header(path).items():
            assert tensor.truncated == (tensors[name].stop > size), (size, name)
            if tensor.truncated and tensor.stop > tensor.start:
                with pytest.raises(ValueError, match=f"ends before byte {tensor.stop}"):
                    tensor.read()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"not json", "not of the safetensors format"),
        (b"[]", "not of the safetensors format"),
        (json.dumps({"a": {"dtype": "F32", "shape": [2]}}).encode(), "not of the safetensors format"),
        (
            json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}).encode(),
            "gives a bytes that do not",
        ),
        (
            json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}).encode(),
            "gives a bytes that do not",
        ),
    ],
)
def test_a_header_that_is_not_one_is_refused_with_the_file(tmp_path, header, message):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(ValueError, match=f"bad.safetensors.*{message}"):
        read_header(path)


def test_a_file_that_is_absent_and_one_that_is_something_else_are_named(tmp_path):
    with pytest.raises(ValueError, match="nothing.safetensors cannot be read: No such file"):
        read_header(tmp_path / "nothing.safetensors")
    (tmp_path / "text.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match="text.safetensors is truncated inside its header, or no safetensors file"):
        read_header(tmp_path / "text.safetensors")


def test_a_dtype_that_cannot_be_read_is_listed_all_the_same(tmp_path):
    header = json.dumps({"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    assert read_header(tmp_path / "a.safetensors")["a"].dtype == "F8_E4M3"


def test_a_write_that_fails_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "a.safetensors"
    values = written(path)

    def broken():
        yield values["matrix"]
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_safetensors(path, {"matrix": (6, 5), "scale": (7,)}, F32, broken())
    np.testing.assert_array_equal(read_header(path)["matrix"].read(), values["matrix"])
