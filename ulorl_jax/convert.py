"""Weights from one form to another, in the host's memory: the parameters, and one tensor at a time besides."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

import jax
from jax.sharding import SingleDeviceSharding

from ulorl_jax.io.checkpoints import Checkpoints
from ulorl_jax.io.folders import partial_folder, refuse_occupied
from ulorl_jax.io.hf_weights import CONFIG, write_hf_weights
from ulorl_jax.models.hf_qwen3 import config_to_hf, hf_tensors, recorded_dtype
from ulorl_jax.models.qwen3_params import map_table
from ulorl_jax.weights import HF, Weights, copy_files, fingerprint, read_json, side_files

SHARD_BYTES = 5_000_000_000


def convert(
    weights: Weights,
    destination: Path,
    to: str,
    *,
    dtype: str | None = None,
    tokenizer: Path | None = None,
    max_shard_bytes: int = SHARD_BYTES,
) -> str:
    """Writes weights as a Hugging Face folder or as a checkpoint of parameters alone.

    Args:
      weights: from `open_weights`.
      destination: must not exist, or be empty; appears when it is complete.
      to: "hf" or "orbax".
      dtype: float32, bfloat16 or float16. None: for orbax float32, what training keeps; for hf that of the
        config.json which the weights came with, float32 where there was none.
      tokenizer: folder whose tokenizer and generation files are written instead of those kept with the weights.
      max_shard_bytes: hf: a file is at most so large, unless a single tensor is larger.

    Returns:
      The dtype that was written.

    Raises:
      ValueError: the weights cannot be read, the destination not written, or `tokenizer` holds none.
    """
    refuse_occupied(destination)  # before minutes of reading
    _return_freed_blocks()
    kept = side_files(weights.files)
    original = next((read_json(path) for path in kept if path.name == CONFIG), None)
    if tokenizer is not None:
        others = [path for path in side_files(tokenizer) if path.name != CONFIG]
        if not others:
            raise ValueError(f"{tokenizer} holds no tokenizer; give a folder with tokenizer.json")
        kept = [path for path in kept if path.name == CONFIG] + others
    if dtype is None:
        dtype = (recorded_dtype(original) if to == "hf" and original else None) or "float32"
    host = SingleDeviceSharding(jax.local_devices(backend="cpu")[0])
    params = weights.load(map_table(lambda row: host, weights.config), dtype)
    if to == "hf":
        write_hf_weights(
            destination,
            hf_tensors(weights.config),
            params,
            dtype=dtype,
            config=config_to_hf(weights.config, dtype, original),
            side_files=[path for path in kept if path.name != CONFIG],
            max_shard_bytes=max_shard_bytes,
        )
        return dtype
    with partial_folder(destination) as partial:
        with Checkpoints(partial, keep=1, fingerprint=fingerprint(weights.config)) as checkpoints:
            about = {"converted_from": weights.describe()}
            checkpoints.save(weights.step or 0, state=params, host=about, arrays={})
        copy_files(kept, partial / HF)
    return dtype


def _return_freed_blocks() -> None:
    """Makes glibc hand freed blocks back to the system: it keeps hundreds of MB of them for its threads otherwise."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(-3, 4_000_000)  # M_MMAP_THRESHOLD, bytes; once set, it does not grow with use
