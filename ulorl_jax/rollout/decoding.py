"""What the decoder computes: its state on the device, and the pure programs over it.

All programs are pure: parameters are an argument of every call, so a weight update
is nothing but passing the new tree. A slot holds its last known token, whose keys
and values the next step computes; hence prefill needs no logits, every token is
drawn in one place (`_step`), and a context can be continued at any time.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from ulorl_jax.mesh import Layout
from ulorl_jax.models.qwen3 import Qwen3Config, forward_cached, map_table, output_head
from ulorl_jax.rollout import kv_cache, paged_cache
from ulorl_jax.rollout.kv_cache import KVCache
from ulorl_jax.rollout.paged_cache import PagedCache
from ulorl_jax.rollout.pages import PageSettings
from ulorl_jax.rollout.sampling import Sampling, draw_tokens

PyTree = Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Prefix:
    """N contexts whose keys and values are computed, ready for a slot.

    Attributes:
      cache: of N rows, P positions wide.
      tokens: `[N]` i32, the last token of each context.
      lengths: `[N]` i32, its position: the context's length - 1.
    """

    cache: KVCache
    tokens: jax.Array
    lengths: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class DecodeState:
    """C slots; lives on the device from one training step to the next.

    Attributes:
      cache: dense, or a pool of pages.
      tokens: `[C]` i32, last known token of the slot, the next step's input.
      lengths: `[C]` i32, its position: keys and values before it are in the cache.
      limits: `[C]` i32, prompt + L: the context length at which the sample is truncated.
      drawn: `[C]` i32, tokens drawn since the slot was filled.
      sample_ids: `[C]` i32.
      active: `[C]` bool, the slot holds a sample that goes on.
      key: the run's PRNG key.
    """

    cache: KVCache | PagedCache
    tokens: jax.Array
    lengths: jax.Array
    limits: jax.Array
    drawn: jax.Array
    sample_ids: jax.Array
    active: jax.Array
    key: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class SegmentTokens:
    """What one `generate_segment` drew.

    Attributes:
      tokens: `[C, S]` i32; the first `counts[c]` of a row are real.
      logp: `[C, S]` f32, nats, of the distribution sampled from.
      counts: `[C]` i32, tokens drawn for the slot.
      steps: `[]` i32, decode steps run: less than S when all samples ended early.
    """

    tokens: jax.Array
    logp: jax.Array
    counts: jax.Array
    steps: jax.Array


@dataclasses.dataclass(frozen=True)
class EngineSpec:
    """All that an engine's programs are compiled for; engines with equal specs share them.

    Attributes:
      model: shape of the policy.
      slots: C, sequences decoded side by side.
      width: W, longest context of a slot: longest prompt + L.
      sampling: how tokens are drawn.
      eos_ids: ids that end a sample.
      layout: the decoding layout.
      pages: the pool that the slots share; without pages every slot has room for W positions.
    """

    model: Qwen3Config
    slots: int
    width: int
    sampling: Sampling
    eos_ids: tuple[int, ...]
    layout: Layout
    pages: PageSettings = PageSettings()

    @property
    def parts(self) -> int:
        """Into how many the mesh splits the slots, and the pages with them."""
        return self.layout.ways("slots")


def compiled_programs() -> int:
    """Decoding programs compiled so far in this process, of all engines: it should stop growing."""
    programs: list[Any] = [prefill, insert, assign_pages, generate, generate_segment]
    return sum(program._cache_size() for program in programs)


def param_shardings(spec: EngineSpec) -> PyTree:
    """The decoding layout of the parameters, for `mesh.reshard`.

    Args:
      spec: model and layout.

    Returns:
      A parameter-shaped tree of shardings.
    """
    return map_table(lambda row: spec.layout.sharding(*row.axes, shape=row.shape), spec.model)


def _constrain_state(spec: EngineSpec, state: DecodeState) -> DecodeState:
    cache = state.cache
    cache = (
        paged_cache.constrain(cache, spec.layout)
        if isinstance(cache, PagedCache)
        else kv_cache.constrain(cache, spec.layout)
    )
    names = [field.name for field in dataclasses.fields(state) if field.name not in ("cache", "key")]
    pinned = {name: spec.layout.constrain(getattr(state, name), "slots") for name in names}
    return dataclasses.replace(state, cache=cache, **pinned)


@functools.partial(jax.jit, static_argnums=0)
def init_state(spec: EngineSpec, seed: int) -> DecodeState:
    """See `PolicyEngine.init_decode_state`."""

    def zeros():
        return jnp.zeros(spec.slots, jnp.int32)

    if spec.pages.count:
        cache = paged_cache.init_cache(spec.model, spec.slots, spec.width, spec.pages, spec.parts)
    else:
        cache = kv_cache.init_cache(spec.model, spec.slots, spec.width)
    key = jax.random.key(seed)
    return _constrain_state(spec, DecodeState(cache, zeros(), zeros(), zeros(), zeros(), zeros(), zeros() > 0, key))


@functools.partial(jax.jit, static_argnums=0)
def prefill(spec: EngineSpec, params, tokens, lengths, existing: Prefix | None) -> Prefix:
    """See `PolicyEngine.prefill_batch`; after an existing prefix, where there is one."""
    rows, length = tokens.shape
    # The last token of an existing prefix has its keys and values already: go on after it.
    start = jnp.zeros(rows, jnp.int32) if existing is None else existing.lengths + 1
    held = 0 if existing is None else existing.cache.width
    cache = kv_cache.init_cache(spec.model, rows, held + length)
    if existing is not None:
        every = jnp.arange(rows)
        cache = kv_cache.insert_rows(cache, existing.cache, every, every)
    # Rows are shared out like slots where they divide; one context alone is computed everywhere.
    axis = "slots" if rows % spec.layout.ways("slots") == 0 else None
    tokens = spec.layout.constrain(tokens, axis, None)
    positions = start[:, None] + jnp.arange(length)
    _, cache = forward_cached(params, spec.model, tokens, positions, kv_cache.make_attend(positions), cache)
    last = jnp.take_along_axis(tokens, lengths[:, None] - 1, axis=1)[:, 0]
    return Prefix(cache, last.astype(jnp.int32), start + lengths.astype(jnp.int32) - 1)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def insert(
    spec: EngineSpec, prefix: Prefix, state: DecodeState, rows, slots, sample_ids, limits, writes
) -> DecodeState:
    """See `PolicyEngine.insert_batch`."""

    def put(into, values):
        return into.at[slots].set(values, mode="drop")

    if isinstance(state.cache, PagedCache):
        cache = paged_cache.insert_rows(state.cache, prefix.cache, rows, slots, writes, spec.layout)
    else:
        cache = kv_cache.insert_rows(state.cache, prefix.cache, rows, slots)
    return _constrain_state(
        spec,
        DecodeState(
            cache=cache,
            tokens=put(state.tokens, prefix.tokens[rows]),
            lengths=put(state.lengths, prefix.lengths[rows]),
            limits=put(state.limits, limits),
            drawn=put(state.drawn, 0),
            sample_ids=put(state.sample_ids, sample_ids),
            active=put(state.active, True),
            key=state.key,
        ),
    )


@functools.partial(jax.jit, static_argnums=0)
def assign_pages(spec: EngineSpec, active, table) -> tuple[jax.Array, jax.Array]:
    """A new table on the device; a slot without pages is not active any more."""
    none = spec.pages.count // spec.parts
    active = spec.layout.constrain(active & (table[:, 0] < none), "slots")
    return active, spec.layout.constrain(table, *paged_cache.TABLE_AXES)


def _step(spec: EngineSpec, params, state: DecodeState) -> tuple[DecodeState, jax.Array, jax.Array]:
    """One token per slot: the only place where tokens are drawn."""
    positions = state.lengths[:, None]
    if isinstance(state.cache, PagedCache):
        attend = paged_cache.make_attend(positions, state.active, spec.layout)
    else:
        attend = kv_cache.make_attend(positions, jnp.max(jnp.where(state.active, state.lengths, 0)))
    hidden, cache = forward_cached(params, spec.model, state.tokens[:, None], positions, attend, state.cache)
    tokens, logp = draw_tokens(
        hidden[:, 0], output_head(params), state.key, state.sample_ids, state.lengths + 1, spec.sampling
    )
    lengths = jnp.where(state.active, state.lengths + 1, state.lengths)
    tokens = jnp.where(state.active, tokens, state.tokens)
    ended = jnp.isin(tokens, jnp.asarray(spec.eos_ids, jnp.int32)) | (lengths + 1 >= state.limits)
    state = dataclasses.replace(
        state,
        cache=cache,
        tokens=tokens,
        lengths=lengths,
        drawn=state.drawn + state.active,
        active=state.active & ~ended,
    )
    return state, tokens, logp


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def generate(spec: EngineSpec, params, state: DecodeState) -> tuple[DecodeState, jax.Array]:
    """See `PolicyEngine.generate`."""
    valid = state.active
    state, tokens, _ = _step(spec, params, state)
    # JetStream's client stops a request by the third column: tokens generated, the prompt not counted.
    data = jnp.stack([tokens, valid.astype(jnp.int32), state.drawn], axis=1)
    return _constrain_state(spec, state), data


@functools.partial(jax.jit, static_argnums=(0, 3), donate_argnums=2)
def generate_segment(spec: EngineSpec, params, state: DecodeState, max_tokens: int, steps, patience):
    """See `PolicyEngine.generate_segment`; steps and patience are traced: no other number compiles anew."""

    def goes_on(carry):
        i, stop, state, _ = carry
        return (i < stop) & jnp.any(state.active)

    def body(carry):
        i, stop, before, out = carry
        state, tokens, logp = _step(spec, params, before)
        counts = out.counts + before.active
        out = SegmentTokens(out.tokens.at[:, i].set(tokens), out.logp.at[:, i].set(logp), counts, i + 1)
        freed = jnp.any(before.active & ~state.active)
        stop = jnp.where(freed, jnp.minimum(stop, i + 1 + patience), stop)
        return i + 1, stop, state, out

    shape, zero = (spec.slots, max_tokens), jnp.int32(0)
    out = SegmentTokens(
        jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.float32), jnp.zeros(spec.slots, jnp.int32), zero
    )
    start = zero, jnp.minimum(steps, max_tokens), state, out
    _, _, state, out = jax.lax.while_loop(goes_on, body, start)
    return _constrain_state(spec, state), out
