"""What a run will hold in memory, counted by hand from its settings: no device is touched, nothing compiles."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from ulorl_jax.mesh import AXES, DECODING, TRAINING
from ulorl_jax.models.packed_attention import PLAIN
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.models.qwen3_params import Param, map_table
from ulorl_jax.rollout import kv_cache, paged_cache
from ulorl_jax.rollout.pages import INT8
from ulorl_jax.sections import GenerativeSettings
from ulorl_jax.settings import Settings
from ulorl_jax.verify.verifier import REASONED
from ulorl_jax.weights import open_weights

GIB = 2**30
_COPIED = (None, None, *kv_cache.AXES[2:])  # gathered out of all slots


@dataclasses.dataclass(frozen=True)
class Term:
    """One line of the table.

    Attributes:
      name: what it is.
      total: bytes, of all devices together, each part of an array counted once.
      per_device: bytes on one device; None where the size of the mesh is not known.
      note: how it was counted.
    """

    name: str
    total: float
    per_device: float | None
    note: str


@dataclasses.dataclass(frozen=True)
class Phase:
    """What lies on a device while one of the run's programs works, by the names of the terms.

    Attributes:
      given: its arguments; an update and a segment write theirs in place.
      made: what it makes, or holds meanwhile.
      beside: what lies there and is not touched. Nothing is moved to the host.
    """

    given: tuple[str, ...]
    made: tuple[str, ...]
    beside: tuple[str, ...]

    @property
    def held(self) -> tuple[str, ...]:
        """All of it."""
        return self.given + self.made + self.beside


_STATE = ("parameters", "optimizer")
_DECODER = ("decoder's weights", "KV cache")
_VERIFIER = "verifier's weights"
_ROWS = ("residual stream", "attention", "logits of a chunk")
PHASES = {
    "train": Phase(_STATE, ("gradients", *_ROWS), (*_DECODER, _VERIFIER)),
    # Outputs are judged after a segment or during the next one.
    "decode": Phase(_DECODER, (), (*_STATE, "KV of evaluation", _VERIFIER, "verifier's KV cache")),
    "prefill": Phase(_DECODER, ("KV of copies",), (*_STATE, "KV of evaluation", _VERIFIER)),
    # The decoder's old weights are gone before the new ones are made.
    "reshard": Phase(("parameters",), ("decoder's weights",), ("optimizer", "KV cache", _VERIFIER)),
    # Its rows, warm_start.rows x warm_start.row_length, are not among the terms.
    "warm_start": Phase(_STATE, ("gradients",), ("KV cache", _VERIFIER)),
}


def parameter_count(config: Qwen3Config) -> tuple[int, int]:
    """Parameters of the network, and how many of them one token meets (all of them where it is dense).

    Args:
      config: the network's shape.

    Returns:
      total, active. The embedding counts once, tied or not.
    """
    rows = _rows(config)
    total = sum(math.prod(row.shape) for row in rows)
    experts = sum(math.prod(row.shape) for row in rows if len(row.shape) == 4)
    active = total - experts + (experts * config.num_experts_per_tok // config.num_experts if experts else 0)
    return total, active


def memory_terms(settings: Settings) -> list[Term]:
    """Bytes of everything whose size follows from the settings, and from the shape of the verifier's weights.

    Temporaries of the compiler are not among them: activations beside the residual stream, logits, collectives.

    Args:
      settings: the run's.

    Returns:
      The terms, training first.

    Raises:
      ValueError: the judge is a verifier whose weights are not there.
    """
    s, m = settings, settings.model
    mesh = {axis: getattr(s.mesh, axis) for axis in AXES}
    width = jnp.dtype(m.dtype).itemsize

    def weights(bytes_each: int, table: Mapping[str, tuple[str, ...]], model=m) -> tuple[float, float | None]:
        sizes = [(math.prod(row.shape) * bytes_each, row.axes) for row in _rows(model)]
        parts = [_share(size, axes, table, mesh) for size, axes in sizes]
        return sum(size for size, _ in sizes), None if None in parts else sum(part for part in parts if part)

    def array(shape: Sequence[float], axes, bytes_each: float, table) -> tuple[float, float | None]:
        size = math.prod(shape) * bytes_each
        return size, _share(size, axes, table, mesh)

    cache = _dense_cache(m, s.rollout.slots, s.context_limit)
    pages, held, axes, each, room = s.rollout.pages, cache, kv_cache.AXES, width, ""
    if pages.count:  # the parts of the mesh have them all together
        held = (pages.count, m.num_hidden_layers, 1, pages.size, 2 * m.num_key_value_heads, m.head_dim)
        axes, room = paged_cache.AXES, f", room for {pages.count * pages.size:,} tokens"
        each = 1 + 4 / m.head_dim if pages.dtype == INT8 else width  # a float32 scale for each token and head
    copied = () if pages.count else (array((*cache[:1], s.rollout.prefill_rows, *cache[2:]), _COPIED, width, DECODING),)
    rows_together = s.train.rows_per_micro_batch or max(s.mesh.data, 1) * max(s.mesh.fsdp, 1)
    tokens = (m.num_hidden_layers, rows_together, max(s.train.row_lengths))
    # Of a chunk each device holds those of its own tokens, with the whole vocabulary.
    shares = math.prod(max(mesh[axis], 1) for axis in (*TRAINING["tokens"], *TRAINING["vocab"]))
    own = -(-max(s.train.row_lengths) // shares)
    logits = (rows_together * shares, min(s.train.logprob_chunk, own), m.vocab_size)
    # Output and logarithm of the sum of every query.
    attended = (*tokens, m.num_attention_heads, m.head_dim + 4 / width)
    attention = array(attended, (None, "rows", "tokens", "heads", None), width, TRAINING)
    kept = m.remat == "attention" and tokens[-1] > PLAIN
    kv = array(held, axes, each, DECODING)
    per_token = 2 * m.num_hidden_layers * m.num_key_value_heads * m.head_dim * each
    return [
        Term("parameters", *weights(4, TRAINING), "float32 master copy"),
        Term("optimizer", *weights(8, TRAINING), "Adam's two moments, float32"),
        Term("gradients", *weights(4, TRAINING), "float32, during the update"),
        Term(
            "residual stream",
            *array((*tokens, m.hidden_size), (None, "rows", "tokens", None), width, TRAINING),
            "one per layer, remat",
        ),
        *([Term("attention", *attention, "kept of every layer, remat")] if kept else []),
        Term(
            "logits of a chunk",
            *array(logits, ("rows", "tokens", "vocab"), 4, TRAINING),
            "float32, at least two exist",
        ),
        Term("decoder's weights", *weights(width, DECODING), m.dtype),
        Term("KV cache", *kv, f"{per_token / 1024:.0f} KiB per token{room}"),
        *([Term("KV of evaluation", *kv, "beside the kept one")] if s.rollout.segment_settings.keeps_cache else []),
        *(Term("KV of copies", *size, "prompts of groups, at one time") for size in copied),
        *(_verifier_terms(s.verify.verifier, weights, array) if s.verify.asks_a_model else []),
    ]


def _verifier_terms(
    verifier: GenerativeSettings,
    weights: Callable[..., tuple[float, float | None]],
    array: Callable[..., tuple[float, float | None]],
) -> list[Term]:
    model, each = open_weights(verifier.folder).config, jnp.dtype(verifier.dtype).itemsize
    terms = [Term("verifier's weights", *weights(each, DECODING, model), verifier.dtype)]
    if verifier.mode == REASONED:
        size = array(_dense_cache(model, verifier.slots, verifier.width), kv_cache.AXES, each, DECODING)
        terms.append(Term("verifier's KV cache", *size, f"{verifier.slots} slots of {verifier.width:,} tokens"))
    return terms


def _dense_cache(model: Qwen3Config, slots: int, width: int) -> tuple[int, ...]:
    """Keys and values, dims as `kv_cache.AXES` has them, but for what the last block has beyond the width."""
    return 2 * model.num_hidden_layers, slots, 1, model.num_key_value_heads, width, model.head_dim


def held(terms: Sequence[Term], program: str) -> dict[str, float]:
    """Bytes of a device by hand count while a program works, by the names of the terms.

    Args:
      terms: from `memory_terms`, of a mesh without -1.
      program: a key of `PHASES`.
    """
    return {term.name: PHASES[program].held.count(term.name) * (term.per_device or 0.0) for term in terms}


def describe(settings: Settings) -> str:
    """The table that `launch/train.py --dry_run` prints.

    Args:
      settings: the run's.

    Returns:
      Several lines.
    """
    s, r = settings, settings.rollout
    total, active = parameter_count(s.model)
    mesh = " x ".join(f"{axis} {getattr(s.mesh, axis)}" for axis in AXES)
    lines = [
        f"parameters   {total:,} ({active:,} active per token)",
        f"a step       decodes at most {r.slots:,} samples x {r.segment_length:,} tokens = "
        f"{r.slots * r.segment_length:,} (L = {r.output_limit:,}, M = {r.segments}); "
        f"{r.slots // r.samples_per_prompt:,} groups of {r.samples_per_prompt}",
        f"context      at most {s.data.max_prompt_tokens:,} + {r.output_limit:,} = {s.context_limit:,} tokens",
        f"mesh         {mesh}",
        "",
        *memory_table(memory_terms(s)),
    ]
    if any(size == -1 for size in dataclasses.astuple(s.mesh)):
        lines.append("per device: give all of mesh.data, mesh.fsdp, mesh.context and mesh.tensor a number to see it")
    return "\n".join(lines)


def memory_table(terms: Sequence[Term]) -> list[str]:
    """The terms for people, a line for each under one of names; in MiB where all of them are small.

    Args:
      terms: from `memory_terms`.
    """
    unit, size = ("GiB", GIB) if max(term.total for term in terms) > GIB / 10 else ("MiB", GIB / 1024)
    lines = [f"{'memory by hand count':<22}{f'total {unit}':>12}{'per device':>12}"]
    for term in terms:
        share = "?" if term.per_device is None else f"{term.per_device / size:,.2f}"
        lines.append(f"{term.name:<22}{term.total / size:>12,.2f} {share:>11}  {term.note}")
    return lines


def _rows(config: Qwen3Config) -> list[Param]:
    return jax.tree.leaves(map_table(lambda row: row, config), is_leaf=lambda row: isinstance(row, Param))


def _share(size: float, axes, table: Mapping[str, tuple[str, ...]], mesh: Mapping[str, int]) -> float | None:
    """Bytes on one device; None where an axis it is split over has no size yet."""
    names = {name for axis in axes if axis for name in table.get(axis, ())}  # two dims may ask for one
    ways = [mesh[name] for name in names]
    return None if -1 in ways else size / math.prod(ways)
