"""The safetensors format, read and written tensor by tensor.

A file is the length of its header (8 bytes, little-endian), the header (JSON: name ->
dtype, shape, first and last byte), and the tensors' bytes without gaps. The library of
the same name wants a whole file in memory to write one and refuses a truncated file
without naming what is missing; this module holds one tensor, and says which. A
large model is a folder of such files with a JSON index: tensor -> file.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import ml_dtypes
import numpy as np

DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_MAX_HEADER = 100_000_000  # bytes, the format's limit
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_SHOWN = 5  # problems named in one error
_ALIGNMENT = 64  # bytes, what XLA asks of a buffer
_BLOCK = 1 << 23  # bytes read at a time where only some columns of a tensor are wanted


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a file.

    Attributes:
      path: of the file.
      dtype: as the format names it: F32, BF16, ...; others than `DTYPES` can be listed, not read.
      shape: of the array.
      start, stop: its bytes in the file, stop excluded.
      file_size: bytes the file has; less than `stop` where the tensor is cut off.
    """

    path: pathlib.Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int
    file_size: int

    @property
    def truncated(self) -> bool:
        """The file ends before the tensor does."""
        return self.stop > self.file_size

    def read(self, index: tuple[slice, ...] | None = None) -> np.ndarray:
        """The tensor, or a part of it; no more than that is held in memory (and a block of 8 MB).

        Args:
          index: one slice per dim, in steps of 1; None is the whole.

        Returns:
          A new array, C-contiguous.

        Raises:
          ValueError: the file ends before the tensor does.
        """
        dtype = DTYPES[self.dtype]
        whole = tuple(slice(None) for _ in self.shape)
        bounds = [range(*part.indices(size)) for part, size in zip(index or whole, self.shape, strict=True)]
        out = _empty([len(bound) for bound in bounds], dtype)
        if not out.size:
            return out
        with open(self.path, "rb", buffering=0) as file:
            if out.shape[1:] == self.shape[1:]:  # rows as a whole: straight into place
                first = bounds[0].start if bounds else 0
                self._read_into(file, first * math.prod(self.shape[1:]) * dtype.itemsize, out)
                return out
            row = math.prod(self.shape[1:])
            columns = tuple(slice(bound.start, bound.stop) for bound in bounds[1:])
            step = max(_BLOCK // (row * dtype.itemsize), 1)
            for done in range(0, len(out), step):
                block = np.empty((min(step, len(out) - done), *self.shape[1:]), dtype)
                self._read_into(file, (bounds[0].start + done) * row * dtype.itemsize, block)
                out[done : done + step] = block[:, *columns]
        return out

    def _read_into(self, file, offset: int, out: np.ndarray) -> None:
        view = out.reshape(-1).view(np.uint8).data
        file.seek(self.start + offset)
        while view:
            count = file.readinto(view)
            if not count:
                raise ValueError(f"{self.path} ends before byte {self.stop}, where a tensor of it should")
            view = view[count:]


def _empty(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """np.empty, aligned so that jax on CPU takes the memory over instead of making a second tensor of it."""
    size = math.prod(shape) * dtype.itemsize
    buffer = np.empty(size + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + size].view(dtype).reshape(shape)


def read_header(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """What a file holds; no tensor is read.

    Args:
      path: of a safetensors file. One that is cut off after the header is listed too: see `Tensor.truncated`.

    Returns:
      Name -> tensor, in the order of the header.

    Raises:
      ValueError: no such file, or not of this format.
    """
    path = pathlib.Path(path)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if size >= 8 and length <= _MAX_HEADER else b""
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if len(text) < max(length, 2) or size < 8:
        raise ValueError(f"{path} is truncated inside its header, or no safetensors file; get it again")
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        tensors = {
            name: Tensor(
                path,
                entry["dtype"],
                tuple(int(dim) for dim in entry["shape"]),
                8 + length + entry["data_offsets"][0],
                8 + length + entry["data_offsets"][1],
                size,
            )
            for name, entry in header.items()
        }
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"{path} has a header that is not of the safetensors format; get it again") from error
    end = 8 + length
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].start):
        known = DTYPES.get(tensor.dtype)
        wanted = None if known is None else math.prod(tensor.shape) * known.itemsize
        if tensor.start != end or wanted not in (None, tensor.stop - tensor.start):
            raise ValueError(f"{path}: the header gives {name} bytes that do not fit its shape; get the file again")
        end = tensor.stop
    return tensors


def find_tensors(folder: pathlib.Path) -> dict[str, Tensor]:
    """Every tensor of a folder's safetensors files; none is read.

    Args:
      folder: holds `model.safetensors`, or shards and their index.

    Returns:
      Name -> tensor.

    Raises:
      ValueError: there are no such files, one is missing or unreadable, or the index names a tensor that
        its file does not hold.
    """
    index = folder / INDEX
    if not index.is_file():
        if not (folder / SINGLE).is_file():
            raise ValueError(f"{folder} holds neither {SINGLE} nor {INDEX}; give a folder of safetensors weights")
        return read_header(folder / SINGLE)
    try:
        weight_map = json.loads(index.read_text())["weight_map"]
        files = sorted(set(weight_map.values()))
        paths = [folder / file for file in files]
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ValueError(f"{index} is no index of safetensors files; get it again") from error
    if SINGLE not in files and (folder / SINGLE).exists():  # transformers would read the single file
        raise ValueError(f"{folder} holds two sets of weights, {SINGLE} and those of {INDEX}; move one of them away")
    if absent := [file for file, path in zip(files, paths, strict=True) if not path.is_file()]:
        raise ValueError(f"{index} names files that are missing: {some(absent)}; get them again")
    found: dict[str, Tensor] = {}
    for file in files:
        tensors = read_header(folder / file)
        if twice := sorted(found.keys() & tensors.keys()):
            raise ValueError(f"{folder} holds tensors in two files: {some(twice)}; get the folder again")
        found |= tensors
    if lost := [f"{name} (in {file})" for name, file in weight_map.items() if name not in found]:
        raise ValueError(f"{index} names tensors that their files lack: {some(lost)}; get these files again")
    return found


def some(items: Sequence[str]) -> str:
    """The first of many, for an error."""
    more = f"; and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return "; ".join(items[:_SHOWN]) + more


def write_safetensors(
    path: str | os.PathLike[str],
    shapes: Mapping[str, tuple[int, ...]],
    dtype: np.dtype,
    arrays: Iterable[np.ndarray],
) -> None:
    """Writes a file that appears when it is complete; holds one array at a time.

    Args:
      path: where to.
      shapes: name -> shape, in the order in which the arrays come.
      dtype: of all of them, one of `DTYPES`.
      arrays: one per name; taken one by one.
    """
    path = pathlib.Path(path)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}  # transformers asks for it
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors' bytes are aligned
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        source = iter(arrays)
        for name, shape in shapes.items():
            array = next(source)
            assert array.shape == shape and array.dtype == dtype, (name, array.shape, array.dtype)
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            del array  # before the next one is made
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
