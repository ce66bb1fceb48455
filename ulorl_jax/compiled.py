"""What the compiler makes of a program: bytes on a device, and what it sends to others. Read off, nothing runs."""

from __future__ import annotations

import collections
import dataclasses
import math
import re
from typing import Any

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4}
_BYTES |= {"s64": 8, "u64": 8, "f64": 8, "f8e4m3fn": 1, "f8e5m2": 1, "s4": 0.5, "u4": 0.5}
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$")
_OPERATION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (.*?) ([a-z][\w\-]*)\(")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|branch_computations|called_computations)=\{?(%?[\w.\-]+(?:, ?%?[\w.\-]+)*)\}?"
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CONDITION = re.compile(r"condition=%?([\w.\-]+)")
_BELOW = re.compile(r"^\s+ROOT .* compare\(%?[\w.\-]+, %?([\w.\-]+)\), direction=LT")


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of one device while a program runs.

    Attributes:
      arguments: what it is given.
      in_place: of these, what its results take over.
      results: what is new of its results.
      temporaries: what it needs in between, at the worst moment.
      peak: arguments, results and temporaries together: what has to be free for it.
    """

    arguments: int
    in_place: int
    results: int
    temporaries: int
    peak: int


def memory_of(compiled: Any) -> Memory:
    """Of a program compiled by jax."""
    m = compiled.memory_analysis()
    results = m.output_size_in_bytes - m.alias_size_in_bytes
    held = m.argument_size_in_bytes + results
    # XLA:TPU says what is in memory at the worst moment; its sum of temporaries counts some that replace each other.
    peak = getattr(m, "peak_memory_in_bytes", 0) or held + m.temp_size_in_bytes
    return Memory(m.argument_size_in_bytes, m.alias_size_in_bytes, results, peak - held, peak)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the compiler on its behalf, refused a program or an array for want of memory."""
    return bool(re.search("RESOURCE_EXHAUSTED|[Oo]ut of memory|CompileTimeHbmOom", str(error)))


def collectives_of(text: str) -> dict[str, dict[str, float]]:
    """Collectives that a device takes part in each time the program runs.

    Args:
      text: the compiled program, `compiled.as_text()`. What a loop holds counts as often as the loop runs, once where
        that is not known before.

    Returns:
      Of each kind: "count", and "bytes" of what comes out of it on one device.
    """
    bodies: dict[str, list[str]] = {}
    entry = lines = None
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            lines = bodies.setdefault(match[1], [])
            entry = match[1] if line.startswith("ENTRY") else entry
        elif lines is not None:
            lines.append(line)
    found: dict[str, dict[str, float]] = collections.defaultdict(lambda: {"count": 0.0, "bytes": 0.0})

    def trips(loop: str) -> int:
        if known := _TRIPS.search(loop):
            return int(known[1])
        # XLA:TPU does not say. A scan goes on while its counter, which starts at 0, is below a constant.
        condition = bodies.get(_CONDITION.findall(loop)[0], [])
        for bound in filter(None, map(_BELOW.match, condition)):
            constant = re.compile(rf"^\s+%?{re.escape(bound[1])} = s32\[\]\S* constant\((\d+)\)")
            return next((int(found[1]) for found in map(constant.match, condition) if found), 1)
        return 1

    def visit(name: str, times: float) -> None:
        # XLA:TPU writes one that others hide three times: as started, beside each of those, and as done.
        hidden = name.startswith("async_collective_fusion")
        if hidden or any('custom_call_target="AsyncCollectiveDone"' in line for line in bodies.get(name, ())):
            return
        for line in bodies.get(name, ()):
            if not (match := _OPERATION.match(line)):
                continue
            shape, kind = match[1], match[2].removesuffix("-start")
            # XLA:TPU writes some reduce-scatters as a fusion: of an all-reduce, and of the part that a device keeps.
            if scattered := "calls=%all-reduce-scatter" in line:
                kind = "reduce-scatter"
            if kind in COLLECTIVES and not match[2].endswith("-done"):
                found[kind]["count"] += times
                found[kind]["bytes"] += times * _result_bytes(shape, match[2])
            if scattered:
                continue
            inner = times * (trips(line) if match[2] == "while" else 1)
            for called in _CALLED.findall(line):
                if match[2] not in ("reduce", "all-reduce", "reduce-scatter", "all-reduce-start", "scatter", "sort"):
                    for computation in called.split(","):
                        visit(computation.strip().removeprefix("%"), inner)

    assert entry is not None, "the program has no entry"
    visit(entry, 1.0)
    return dict(found)


def _result_bytes(shape: str, operation: str) -> float:
    sizes = [
        math.prod(int(n) for n in dims.split(",") if n) * _BYTES.get(kind, 0) for kind, dims in _ARRAY.findall(shape)
    ]
    # A started one holds its operands beside its results, of which the larger half are the results.
    return max(sizes, default=0.0) if operation.endswith("-start") else sum(sizes)
