"""What a run asks of its devices: said at the start, refused if it cannot be, explained when memory runs out."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from ulorl_jax.ahead import PROGRAMS, programs
from ulorl_jax.compiled import Memory, is_out_of_memory, memory_of
from ulorl_jax.footprint import GIB, PHASES, Term, held, memory_table, memory_terms
from ulorl_jax.mesh import DECODING, TRAINING
from ulorl_jax.roofline import KINDS, describe_floor, live_tokens, roofline
from ulorl_jax.settings import Settings
from ulorl_jax.slices import CHANGES, TERM_CHANGES

# Of prefill the compiler may need less than the hand count of copies, so nothing is refused for it.
CERTAIN = ("train", "decode", "reshard")
NAMES = {
    "train": "the update",
    "prefill": "prefill",
    "decode": "decoding",
    "reshard": "handing over the weights",
    "warm_start": "the warm start (its rows are warm_start.rows x warm_start.row_length)",
}
# Where a run was when a device refused it, by file and function; the innermost that is found says it.
PLACES = {
    ("engine", "init_decode_state"): "decode",
    ("engine", "prefill_slots"): "prefill",
    ("engine", "generate_segment"): "decode",
    ("segments", "run"): "decode",
    ("loop", "_sync_weights"): "reshard",
    ("loop", "update"): "train",
    ("capacity", "describe_update"): "train",
    ("tracing", "look"): "train",  # its forward pass, of one micro-batch
    ("replay", "replay"): "train",
    ("warm_start", "first_params"): "warm_start",
}


def memory_limit(device: Any) -> float | None:
    """Bytes that a program can have on a device; None where nobody knows, as on a CPU.

    Args:
      device: one of this process's.
    """
    limit = (device.memory_stats() or {}).get("bytes_limit")
    chip = KINDS.get(device.device_kind)
    return limit or (chip.memory if chip else None)


def describe_start(settings: Settings, mesh: jax.sharding.Mesh) -> str:
    """Devices, mesh, what is split over it, memory by term, and the seconds of a step: at least, and to expect.

    Args:
      settings: the run's.
      mesh: of its devices.

    Returns:
      Several lines.
    """
    device = jax.local_devices()[0]
    count = jax.process_count()
    lines = [f"devices      {mesh.size} x {device.device_kind}, {count} process{'es' if count > 1 else ''}"]
    split = {axis: size for axis, size in mesh.shape.items() if size > 1}
    lines.append(f"mesh         {' x '.join(f'{axis} {size}' for axis, size in split.items()) or 'one device'}")
    for axis in split:
        shares = [f"{phase} {', '.join(_split_over(axis, table)) or 'nothing'}" for phase, table in _TABLES.items()]
        lines.append(f"  {axis:<11}splits {'; '.join(shares)}")
    terms = memory_terms(settings)
    lines += memory_table(terms)
    if limit := memory_limit(device):
        least = {NAMES[program]: sum(held(terms, program).values()) for program in CERTAIN}
        shown = ", ".join(f"{name} {size / GIB:.2f}" for name, size in least.items())
        lines.append(f"of {limit / GIB:.2f} GiB on each device at least: {shown}")
    if chip := KINDS.get(device.device_kind):
        lines += describe_floor(roofline(settings, chip, mesh.size, live_tokens(settings)))
    return "\n".join(lines)


def check_memory(terms: Sequence[Term], limit: float | None) -> None:
    """Refuses a run that cannot fit, before anything is allocated.

    Args:
      terms: from `memory_terms`, of a mesh without -1.
      limit: bytes of a device; None: nobody knows.

    Raises:
      ValueError: a program's terms alone, by hand count, are more than a device has.
    """
    if limit is None:
        return
    program, least = max(((name, sum(held(terms, name).values())) for name in CERTAIN), key=lambda pair: pair[1])
    if least > limit:
        sizes = held(terms, program)
        largest = max(sizes, key=lambda name: sizes[name])
        raise ValueError(
            f"the run does not fit its devices: {NAMES[program]} holds at least {least / GIB:.2f} GiB on each, which "
            f"has {limit / GIB:.2f} GiB, by hand count of {_shown(sizes)}; the largest term is {largest}: "
            f"{TERM_CHANGES[largest]}. launch/plan.py compile tells which slice holds it"
        )


def describe_update(settings: Settings, mesh: jax.sharding.Mesh, limit: float | None) -> str:
    """What the compiler says that the update takes, before hours go into the segment that comes first.

    All processes of a run compile it, and find it on disk when they update.

    Args:
      settings: the run's.
      mesh: of its devices.
      limit: bytes of a device; None: nobody knows, and nothing is compiled.

    Returns:
      A line: whether it fits, and else the largest term and what to change; "" where nothing was compiled.

    Raises:
      JaxRuntimeError: the compiler refuses it, see `explaining_exhaustion`.
    """
    if limit is None:
        return ""
    terms = memory_terms(settings)
    memory = memory_of(programs(settings, list(mesh.devices.flat))["train"]().compile())
    sizes = held(terms, "train")
    beside = sum(sizes[name] for name in PHASES["train"].beside if name in sizes)
    said = f"the compiled update takes {(beside + memory.peak) / GIB:.2f} GiB of {limit / GIB:.2f} GiB on each device"
    if beside + memory.peak <= limit:
        return said
    sizes = {name: size for name, size in sizes.items() if name not in PHASES["train"].made}
    largest, change = _largest(sizes, "train", memory)
    return f"{said}, and will not fit; the largest is {largest}: {change}"


@contextlib.contextmanager
def explaining_exhaustion(settings: Settings, mesh: jax.sharding.Mesh) -> Iterator[None]:
    """Says what was too large when a device runs out of memory within the block.

    Args:
      settings: the run's.
      mesh: of its devices.

    Raises:
      ValueError: in place of XLA's error.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        program = program_at(traceback.extract_tb(error.__traceback__))
        # Several processes might compile together only.
        again = program in PROGRAMS and jax.process_count() == 1
        compiled = _compile_again(settings, mesh, str(program)) if again else None
        raise ValueError(
            explain_exhaustion(
                str(error), program, memory_terms(settings), compiled, memory_limit(jax.local_devices()[0])
            )
        ) from error


def program_at(stack: Sequence[traceback.FrameSummary]) -> str | None:
    """Which program was at work, a key of `footprint.PHASES`; None where the stack does not tell.

    Args:
      stack: of an error, outermost first.
    """
    places = ((Path(frame.filename).stem, frame.name) for frame in reversed(stack))
    return next((PLACES[place] for place in places if place in PLACES), None)


def explain_exhaustion(
    text: str, program: str | None, terms: Sequence[Term], compiled: Memory | None, limit: float | None
) -> str:
    """The error for people when a device's memory ran out.

    Args:
      text: XLA's.
      program: what was at work; None: nobody knows.
      terms: from `memory_terms`, of a mesh without -1.
      compiled: what the compiler says of the program; None: it could not be asked.
      limit: bytes of a device; None: nobody knows.
    """
    sizes = held(terms, program) if program else {term.name: term.per_device or 0.0 for term in terms}
    lines = [f"by hand count each holds {_shown(sizes)}"]
    if compiled and program:
        lines.append(
            f"the compiled program takes {compiled.arguments / GIB:.2f} GiB of arguments, {compiled.results / GIB:.2f} "
            f"of new results and {compiled.temporaries / GIB:.2f} of temporaries"
        )
    largest, change = _largest(sizes, program, compiled)
    of = "" if limit is None else f" of {limit / GIB:.2f} GiB each"
    reason = next(line for line in text.splitlines() if is_out_of_memory(Exception(line)))
    return (
        f"the devices{of} ran out of memory during {NAMES.get(program or '', 'the run')} ({reason.strip()[:300]}); "
        f"{'; '.join(lines)}. The largest is {largest}: {change}. The last checkpoint is untouched, and the "
        f"same command with less goes on from it"
    )


def _compile_again(settings: Settings, mesh: jax.sharding.Mesh, program: str) -> Memory | None:
    """What a program takes; it is read from the compilation cache where that keeps it."""
    try:
        return memory_of(programs(settings, list(mesh.devices.flat))[program]().compile())
    except jax.errors.JaxRuntimeError:  # it is the compiler that runs out of memory: its text says so
        return None


def _largest(sizes: Mapping[str, float], program: str | None, compiled: Memory | None) -> tuple[str, str]:
    """The largest of terms and, where they are known, a program's temporaries; and what makes it smaller."""
    largest = max(sizes, key=lambda name: sizes[name])
    if program and compiled and compiled.temporaries > sizes[largest]:
        return "the program's temporaries", CHANGES[program]
    return largest, TERM_CHANGES[largest]


_TABLES: dict[str, Mapping[str, tuple[str, ...]]] = {"in training": TRAINING, "in decoding": DECODING}


def _split_over(axis: str, table: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Logical axes that a mesh axis splits."""
    return [name for name, axes in table.items() if axis in axes]


def _shown(sizes: Mapping[str, float]) -> str:
    """Largest first, in GiB; what is nothing is left out."""
    order = sorted(sizes.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{name} {size / GIB:,.2f}" for name, size in order if size) + " GiB"
