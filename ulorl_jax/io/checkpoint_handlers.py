"""How orbax writes the parts of a checkpoint: each with the checksums of its files."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import future

from ulorl_jax.io.checksums import write_checksums


class DeviceHandler(ocp.StandardCheckpointHandler):
    """Orbax's handler of pytrees, with checksums of the files it wrote."""

    def finalize(self, directory: epath.Path) -> None:
        super().finalize(directory)
        write_checksums(directory)


class HostHandler(ocp.handlers.AsyncCheckpointHandler):
    """Writes `about.json` and `arrays.npz`, in process 0: every process holds the same."""

    async def async_save(self, directory: epath.Path, args: HostSave) -> list[future.Future]:  # type: ignore[override]
        return [future.CommitFutureAwaitingContractedSignals(self._write(directory, args), name="host")]

    async def _write(self, directory: epath.Path, args: HostSave) -> None:
        if jax.process_index() == 0:
            (directory / "about.json").write_text(args.about)
            with (directory / "arrays.npz").open("wb") as file:
                np.savez(file, **{f"array/{name}": array for name, array in args.arrays.items()})  # type: ignore[arg-type]

    def save(self, directory: epath.Path, args: HostSave) -> None:  # type: ignore[override]
        raise AssertionError("orbax saves through async_save")

    def restore(self, directory: epath.Path) -> dict[str, np.ndarray]:  # type: ignore[override]
        with (directory / "arrays.npz").open("rb") as file, np.load(file) as arrays:
            return {name.removeprefix("array/"): arrays[name] for name in arrays.files}

    def finalize(self, directory: epath.Path) -> None:
        write_checksums(directory)


@ocp.args.register_with_handler(HostHandler, for_save=True)
@dataclasses.dataclass
class HostSave(ocp.args.CheckpointArgs):
    """What `HostHandler` writes: JSON text, and arrays by name."""

    about: str
    arrays: dict[str, np.ndarray]
