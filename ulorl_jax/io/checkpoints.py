"""Checkpoints: everything a run needs to go on, of one step, in one directory that appears all at once.

A step directory holds `state` and, if asked for, `device` (pytrees of arrays, each process
writes its own shards) and `host` (JSON and NumPy arrays, the same in every process, so
process 0 writes them). The checksums of all files are compared before anything is read.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from ulorl_jax.io.checkpoint_handlers import DeviceHandler, HostHandler, HostSave
from ulorl_jax.io.checksums import find_damage
from ulorl_jax.types import PyTree

_DEADLINE = 1800  # seconds for one asynchronous write
_CHUNK = 1 << 24  # bytes: a device that wants a part of an array reads the blocks of it that it needs


@dataclasses.dataclass(frozen=True, eq=False)
class Restored:
    """What `Checkpoints.restore` returns.

    Attributes:
      step: of the checkpoint.
      state: as `like_state`.
      host: the dict that was saved.
      arrays: the NumPy arrays that were saved.
      device: as `like_device`; None if that was None.
    """

    step: int
    state: PyTree
    host: dict[str, Any]
    arrays: dict[str, np.ndarray]
    device: PyTree | None


class Mismatch(ValueError):
    """A checkpoint that does not fit.

    Attributes:
      directory: of the checkpoint.
      what: "model", the fingerprint; or "state" or "device", dtype and shape of the arrays.
      got, want: of the checkpoint and of what was asked for, by name.
    """

    def __init__(self, directory: epath.Path, what: str, got: dict[str, Any], want: dict[str, Any]):
        self.directory, self.what, self.got, self.want = directory, what, got, want
        super().__init__(
            f"checkpoint {directory} is of another {what}: {self.rows}; use the config it was saved with, or another "
            f"directory"
        )

    @property
    def names(self) -> list[str]:
        """Of what differs."""
        got, want = self.got, self.want
        return [name for name in [*want, *(set(got) - set(want))] if _value(got, name) != _value(want, name)]

    @property
    def rows(self) -> str:
        """The first of them, with both values."""
        shown = self.names[:5]
        return ", ".join(f"{name} is {_value(self.got, name)}, want {_value(self.want, name)}" for name in shown)


class Checkpoints:
    """The last `keep` checkpoints of one run. Also a context manager, which closes it.

    Args:
      directory: where the step directories go; made if absent.
      keep: older ones are deleted, at least 1.
      fingerprint: JSON-able dict of what makes two models different.

    Raises:
      ValueError: the directory cannot be written, or `keep` is below 1.
    """

    def __init__(self, directory: str | os.PathLike[str], *, keep: int, fingerprint: dict[str, Any]):
        if keep < 1:
            raise ValueError(f"the number of checkpoints to keep must be at least 1, got {keep}")
        logging.getLogger("absl").addFilter(_not_from_orbax)
        self._directory = epath.Path(directory).resolve()
        self._fingerprint = json.loads(json.dumps(fingerprint, allow_nan=False))
        self._writing: int | None = None
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            probe = self._directory / f".writable-{jax.process_index()}"
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise ValueError(
                f"cannot write checkpoints to {self._directory}: {_reason(error)}; choose another directory"
            ) from error
        registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
        for item in ("state", "device"):
            # A folder of plain zarr files per array: one that is not asked for is not read, checksums included.
            handler = DeviceHandler(use_ocdbt=False)
            registry.add(item, ocp.args.StandardSave, handler)
            registry.add(item, ocp.args.StandardRestore, handler)
        registry.add("host", HostSave, HostHandler())
        self._manager = ocp.CheckpointManager(
            self._directory,
            handler_registry=registry,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep,
                cleanup_tmp_directories=True,  # what a killed run left half-written
                # False, since threads wait for minutes, past exit, for a directory that could not be made.
                async_options=ocp.options.AsyncOptions(_DEADLINE, create_directories_asynchronously=False),
            ),
        )

    def save(
        self,
        step: int,
        *,
        state: PyTree,
        host: dict[str, Any],
        arrays: dict[str, np.ndarray],
        device: PyTree | None = None,
    ) -> bool:
        """Starts writing a checkpoint; waits for the one before it.

        On return everything has been copied (or, on CPU, is held so that XLA will not
        reuse it): `state` and `device` may be donated, `host` and `arrays` changed.

        Args:
          step: larger than that of every checkpoint before.
          state: pytree of jax.Array, not empty.
          host: what JSON gives back as it was: string keys, lists, finite numbers.
          arrays: NumPy arrays of numbers, of any shape; may be empty.
          device: a second pytree of jax.Array, for what only some runs need.

        Returns:
          False if the latest checkpoint is of this step already; it is left as it is.

        Raises:
          ValueError: this write or the one before failed, `step` is old, or `host` holds NaN or infinity.
        """
        self.wait()
        latest = self.latest_step()
        if latest is not None and step < latest:
            raise ValueError(
                f"cannot save step {step}: {self._directory} holds the later step {latest}; move {latest} away first"
            )
        if step == latest:
            return False
        assert all(array.dtype.kind in "biuf" for array in arrays.values()), "arrays must be of bool, int or float"
        about = {
            "fingerprint": self._fingerprint,
            "state": _layout(state),
            "device": None if device is None else _layout(device),
            "host": host,
        }
        try:
            text = json.dumps(about, allow_nan=False)
        except ValueError as error:
            raise ValueError(f"cannot save step {step}: the host state holds NaN or infinity, want numbers") from error
        assert json.loads(text)["host"] == host, "host state changes in JSON: use string keys, and lists for tuples"
        items = {
            "state": _in_blocks(state),
            "host": HostSave(text, {name: array.copy() for name, array in arrays.items()}),
        }
        if device is not None:
            items["device"] = _in_blocks(device)
        self._writing = step
        try:
            return self._manager.save(step, args=ocp.args.Composite(**items))
        except (OSError, ValueError, RuntimeError) as error:
            raise self._failed(error) from error

    def restore(self, like_state: PyTree, like_device: PyTree | None = None, step: int | None = None) -> Restored:
        """Reads a checkpoint.

        Args:
          like_state: pytree of jax.ShapeDtypeStruct with shardings, or of arrays: what the
            state looks like here. The shardings need not be those it was saved with.
          like_device: the same for `device`; None leaves it unread.
          step: the latest by default.

        Returns:
          What was saved, bit for bit, under the shardings asked for.

        Raises:
          Mismatch: it is of another model, or of arrays of other shapes.
          ValueError: there is no such checkpoint, or it is damaged.
        """
        self.wait()
        steps = sorted(self._manager.all_steps())
        if not steps or step not in (None, *steps):
            which = "to restore" if step is None else f"of step {step}"
            raise ValueError(f"no checkpoint {which} in {self._directory}; it holds the steps {steps}")
        step = steps[-1] if step is None else step
        directory = self._directory / str(step)
        earlier = [other for other in steps if other < step]
        self._check(directory / "host", earlier)
        about = json.loads((directory / "host" / "about.json").read_text())
        self._compare(directory, about, like_state, like_device)
        likes = {"state": like_state} if like_device is None else {"state": like_state, "device": like_device}
        for item in likes:
            self._check(directory / item, earlier)
        items = {item: ocp.args.StandardRestore(jax.tree.map(_abstract, like)) for item, like in likes.items()}
        trees = self._manager.restore(step, args=ocp.args.Composite(**items))
        arrays = HostHandler().restore(directory / "host")
        return Restored(step, trees["state"], about["host"], arrays, None if like_device is None else trees["device"])

    def latest_step(self) -> int | None:
        """The newest step, None without any. One still being written counts; after `wait` none is."""
        return self._manager.latest_step()

    def wait(self) -> None:
        """Returns when nothing is being written any more.

        Raises:
          ValueError: the last write failed.
        """
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError, RuntimeError) as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Waits, then lets go of the threads; raises as `wait` does."""
        try:
            self.wait()
        finally:
            self._manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _failed(self, error: BaseException) -> ValueError:
        return ValueError(
            f"the checkpoint of step {self._writing} could not be written to {self._directory}: {_reason(error)}; "
            f"make room or restore the directory and start again: the run resumes from the last complete checkpoint"
        )

    def _check(self, item: epath.Path, earlier: list[int]) -> None:
        if (damage := find_damage(item)) is not None:
            then = f"resumes from step {earlier[-1]}" if earlier else "starts from the beginning (it is the only one)"
            raise ValueError(
                f"checkpoint {item.parent} is damaged: {damage}; move this directory away, and the run {then}"
            )

    def _compare(self, directory: epath.Path, about: dict, like_state: PyTree, like_device: PyTree | None) -> None:
        """Refuses a checkpoint of another model, or of arrays of other shapes."""
        wants = {"model": self._fingerprint, "state": _layout(like_state)}
        gots = {"model": about["fingerprint"], "state": about["state"]}
        if like_device is not None:
            wants["device"], gots["device"] = _layout(like_device), about["device"] or {}
        for what, want in wants.items():
            mismatch = Mismatch(directory, what, gots[what], want)
            if mismatch.names:
                raise mismatch


def _in_blocks(tree: PyTree) -> ocp.args.StandardSave:
    return ocp.args.StandardSave(tree, jax.tree.map(lambda _: ocp.SaveArgs(chunk_byte_size=_CHUNK), tree))


def _layout(tree: PyTree) -> dict[str, str]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in leaves}


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    assert leaf.sharding is not None, "a leaf to restore needs a sharding"
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)


def _value(fields: dict[str, Any], name: str) -> str:
    return repr(fields[name]) if name in fields else "absent"


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".split("\n")[0][:300]


def _not_from_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname
