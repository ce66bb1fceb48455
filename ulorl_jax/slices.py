"""Whether a run fits a slice: its compiled programs, and what lies in memory beside each of them."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

from ulorl_jax.footprint import GIB, PHASES, memory_terms
from ulorl_jax.roofline import CHIPS, Chip, describe_floor, live_tokens, roofline
from ulorl_jax.settings import Settings, on_devices
from ulorl_jax.typed import choose

BEFORE_FIRST_TOKEN = "reshard", "prefill", "decode"  # programs that a run compiles before it decodes a token
CHANGES = {
    "train": "shorter train.row_lengths, fewer train.rows_per_micro_batch, a larger mesh.context or more chips",
    "decode": "fewer rollout.pages.count or rollout.slots, rollout.pages.dtype=int8, or more chips",
    "prefill": "a smaller rollout.prefill_chunk or rollout.prefill_rows, fewer rollout.pages.count, or more chips",
    "reshard": "fewer rollout.pages.count, or more chips",
}

_STATE_CHANGES = "a larger mesh.fsdp, or more chips"
_ROW_CHANGES = "fewer train.rows_per_micro_batch, shorter train.row_lengths or a larger mesh.context"
TERM_CHANGES = {
    "parameters": _STATE_CHANGES,
    "optimizer": _STATE_CHANGES,
    "gradients": _STATE_CHANGES,
    "residual stream": _ROW_CHANGES,
    "attention": f"model.remat=full, {_ROW_CHANGES}",
    "logits of a chunk": "a smaller train.logprob_chunk, fewer train.rows_per_micro_batch or a larger mesh.tensor",
    "decoder's weights": "a larger mesh.tensor (of a mixture of experts: mesh.fsdp, too), or more chips",
    "KV cache": "fewer rollout.pages.count (or rollout.slots, without pages), rollout.pages.dtype=int8, or more chips",
    "KV of evaluation": "rollout.kv=recompute with rollout.recompute_every=1, or what makes the KV cache smaller",
    "verifier's weights": "a smaller verifier, verify.kind=rules, a larger mesh.tensor, or more chips",
    "verifier's KV cache": "fewer verify.verifier.slots, shorter row_lengths or output_limit there, or mode=verdict",
    "KV of copies": "fewer rollout.prefill_rows, or pages (rollout.pages.count)",
}


def chip_of(topology: str) -> Chip:
    """The chips of a topology such as "v5p:4x4x4".

    Raises:
      ValueError: its kind is not known.
    """
    return choose(CHIPS, topology.partition(":")[0], "the kind of chip in --topology")


def chip_count(topology: str) -> int:
    """How many a topology such as "v5p:4x4x4" has.

    Raises:
      ValueError: it does not say so.
    """
    sizes = topology.partition(":")[2].split("x")
    if not all(size.isdigit() and int(size) for size in sizes):
        raise ValueError(f"--topology={topology} wants the chips of a slice by their rows, such as v5p:4x4x4")
    return math.prod(int(size) for size in sizes)


def assess(settings: Settings, topology: str, programs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the programs take on one chip of a slice.

    Args:
      settings: the run's.
      topology: of the slice.
      programs: by name, from `ahead.compile_program`.

    Returns:
      As JSON: "terms", bytes of a chip that the settings alone tell; "programs", of each "beside", "peak", "total" and
      "margin" in bytes, "fits", and what to "change" where it does not; "fits"; "roofline", see `roofline.roofline`,
      with the slots half full; "compile_s", seconds that each program took to trace, lower and compile, and
      "compile_before_first_token_s", those of `BEFORE_FIRST_TOKEN` together, None where one of them was not compiled.
    """
    chips = chip_count(topology)
    settings = on_devices(settings, chips)
    memory = chip_of(topology).memory
    terms = {term.name: float(term.per_device or 0.0) for term in memory_terms(settings)}
    rows = {}
    for name, program in programs.items():
        beside = sum(terms.get(term, 0.0) for term in PHASES[name].beside)
        if "refused" in program:
            change = _refused(name, program["refused"], terms)
            rows[name] = {"beside": beside, "fits": False, "refused": program["refused"], "change": change}
            continue
        total = beside + program["bytes"]["peak"]
        rows[name] = program["bytes"] | {"beside": beside, "total": total, "margin": memory - total}
        sizes = {term: terms.get(term, 0.0) for term in (*PHASES[name].given, *PHASES[name].beside)}
        change = {} if total <= memory else {"change": _change(name, sizes, program["bytes"]["temporaries"])}
        rows[name] |= {"fits": total <= memory} | change
    compile_s = {name: program["seconds"] for name, program in programs.items()}
    awaited = [compile_s[name] for name in BEFORE_FIRST_TOKEN if "bytes" in programs.get(name, {})]
    return {
        "topology": topology,
        "chips": chips,
        "mesh": dataclasses.asdict(settings.mesh),
        "memory": memory,
        "terms": terms,
        "programs": rows,
        "collectives": {name: program.get("collectives", {}) for name, program in programs.items()},
        "fits": all(row["fits"] for row in rows.values()),
        "roofline": roofline(settings, chip_of(topology), chips, live_tokens(settings)),
        "compile_s": compile_s,
        "compile_before_first_token_s": sum(awaited) if len(awaited) == len(BEFORE_FIRST_TOKEN) else None,
    }


def table_of(assessed: dict[str, Any]) -> list[dict[str, str]]:
    """Its terms as rows for people, its programs as columns, in GiB of a chip.

    What lies beside a program has a "+"; what stands in brackets, a hand count, is among its temporaries and results:
    all that the compiler asks for beyond what the program is given.
    """
    programs, terms = assessed["programs"], assessed["terms"]
    rows = [{"": term} | {name: _share(name, term, size) for name in programs} for term, size in terms.items()]
    rows = [row for row in rows if any(cell for name, cell in row.items() if name)]
    given = {name: sum(terms.get(term, 0.0) for term in PHASES[name].given) for name in programs}
    sums: dict[str, Callable[[str, dict[str, Any]], float]] = {
        "temporaries, results": lambda name, row: row["peak"] - given[name],
        "the program alone": lambda name, row: row["peak"],
        "with what stays": lambda name, row: row["total"],
        f"left of {assessed['memory'] / GIB:.2f}": lambda name, row: row["margin"],
    }
    for shown, of in sums.items():
        cells = {name: f"{of(name, row) / GIB:.2f}" if "peak" in row else "refused" for name, row in programs.items()}
        rows.append({"": shown} | cells)
    return rows


def _share(program: str, term: str, size: float) -> str:
    """A term's cell in the column of a program."""
    phase, shown = PHASES[program], f"{size / GIB:.2f}"
    if not size or term not in phase.held:
        return ""
    return shown if term in phase.given else f"+{shown}" if term in phase.beside else f"({shown})"


def describe_collectives(assessed: dict[str, Any]) -> list[str]:
    """What comes out of the collectives of a chip in one run of each program, a line for each."""
    lines = []
    for name, kinds in assessed["collectives"].items():
        sent = [f"{kind} {n['count']:,.0f} x, {n['bytes'] / GIB:.2f} GiB" for kind, n in kinds.items()]
        lines.append(f"{name}: {', '.join(sent) or 'sends nothing'}")
    return lines


def describe_slice(assessed: dict[str, Any]) -> list[str]:
    """The floor, the seconds of the compiler, and whether it fits, else what to change."""
    awaited = assessed["compile_before_first_token_s"]
    compiled = ", ".join(f"{name} {seconds:.3g} s" for name, seconds in assessed["compile_s"].items())
    before = f"; {', '.join(BEFORE_FIRST_TOKEN)}, which the first token waits for, {awaited:.3g} s" if awaited else ""
    verdict = "fits" if assessed["fits"] else "does not fit"
    too_large = [
        f"{name} does not fit: {': '.join(filter(None, [row.get('refused'), row['change']]))}"
        for name, row in assessed["programs"].items()
        if not row["fits"]
    ]
    return [
        *describe_floor(assessed["roofline"]),
        f"traced, lowered and compiled on this machine: {compiled}{before}",
        *too_large,
        f"{_name(assessed)}: {verdict}",
    ]


def describe_choice(slices: list[dict[str, Any]], asked: int) -> str:
    """Which of the slices that were asked for fit, the smallest first.

    Args:
      slices: see `assess`.
      asked: how many they were, with those the run's mesh cannot lie on.
    """
    fitting = sorted((assessed for assessed in slices if assessed["fits"]), key=lambda assessed: assessed["chips"])
    names = ", ".join(f"{assessed['topology']} ({assessed['chips']} chips)" for assessed in fitting)
    return f"of {asked} slices fit: {names or 'none'}"


def _change(program: str, sizes: dict[str, float], temporaries: float) -> str:
    """What takes most of a chip while the program runs, and what makes it smaller."""
    largest = max(sizes, key=lambda term: sizes[term])
    if temporaries > sizes[largest]:
        return f"temporaries {temporaries / GIB:.2f} GiB: {CHANGES[program]}"
    return f"{largest} {sizes[largest] / GIB:.2f} GiB: {TERM_CHANGES[largest]}"


def _refused(program: str, reason: str, terms: dict[str, float]) -> str:
    """The same of a program that the compiler does not take: what lies beside it is not in its way."""
    given = {term: terms.get(term, 0.0) for term in PHASES[program].given}
    used = re.search(r"([\d.]+)([MG])\)? (?:of|exceeds)", reason)
    size = float(used[1]) * {"M": 2**20, "G": GIB}[used[2]] if used else 0.0
    return _change(program, given, size - sum(given.values()))


def _name(assessed: dict[str, Any]) -> str:
    mesh = " x ".join(f"{axis} {size}" for axis, size in assessed["mesh"].items() if size > 1)
    return f"{assessed['topology']} ({assessed['chips']} chips of {assessed['memory'] / GIB:.1f} GiB, {mesh})"
