"""What the decoder computes: the pure programs over its state.

All programs are pure: parameters are an argument of every call, so a weight update
is nothing but passing the new tree. The keys and values of a context's last token
are those that the next decode step computes; hence prefill needs no logits, every
token is drawn in one place (`_step`), and a context can be continued at any time.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from ulorl_jax.models.qwen3 import forward_cached, output_head
from ulorl_jax.models.qwen3_params import map_table
from ulorl_jax.rollout import kv_cache, paged_cache
from ulorl_jax.rollout.decode_state import DecodeState, EngineSpec, Prefix, SegmentTokens
from ulorl_jax.rollout.kv_cache import KVCache
from ulorl_jax.rollout.lanes import MANY_WAIT, Chunk, Lanes, next_chunk
from ulorl_jax.rollout.paged_cache import PagedCache
from ulorl_jax.rollout.split_sampling import draw_tokens

PyTree = Any


def compiled_programs() -> int:
    """Decoding programs compiled so far in this process, of all engines: it should stop growing."""
    programs: list[Any] = [fill, copy_slots, prefill_slots, prefill, insert, assign_pages, generate, generate_segment]
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
    cache, layout = state.cache, spec.layout
    cache = paged_cache.constrain(cache, layout) if isinstance(cache, PagedCache) else kv_cache.constrain(cache, layout)
    names = [field.name for field in dataclasses.fields(state) if field.name not in ("cache", "key")]
    return dataclasses.replace(state, cache=cache, **{name: _of_slots(spec, getattr(state, name)) for name in names})


def _of_slots(spec: EngineSpec, x: jax.Array) -> jax.Array:
    """An array of all slots where these lie; a single number everywhere."""
    return spec.layout.constrain(x, *["slots", *[None] * (x.ndim - 1)][: x.ndim])


@functools.partial(jax.jit, static_argnums=0)
def init_state(spec: EngineSpec, seed: int) -> DecodeState:
    """See `PolicyEngine.init_decode_state`."""

    def zeros(*shape):
        return jnp.zeros((spec.slots, *shape), jnp.int32)

    if spec.pages.count:
        cache = paged_cache.init_cache(spec.model, spec.slots, spec.width, spec.pages, spec.parts)
    else:
        cache = kv_cache.init_cache(spec.model, spec.slots, spec.width, spec.unstacked)
    key = jax.random.key(seed)
    state = DecodeState(
        cache=cache,
        contexts=zeros(spec.width),
        known=zeros(),
        lengths=zeros(),
        turns=zeros(),
        leaders=zeros() + spec.slots,
        limits=zeros(),
        drawn=zeros(),
        sample_ids=zeros(),
        active=zeros() > 0,
        key=key,
    )
    return _constrain_state(spec, state)


def state_structs(spec: EngineSpec) -> DecodeState:
    """Shape, dtype and sharding of every array of the state: what the programs are lowered with where there is none.

    Args:
      spec: model and layout.

    Returns:
      A `DecodeState` of `jax.ShapeDtypeStruct`.
    """

    def place(path, x):
        name = jax.tree_util.keystr(path)
        axes = ("slots", *[None] * (x.ndim - 1))
        if ".key" in name:
            axes = ()
        elif ".cache" in name and ".table" not in name:
            axes = (paged_cache.AXES if spec.pages.count else kv_cache.AXES)[: x.ndim]
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=spec.layout.sharding(*axes, shape=x.shape))

    return jax.tree_util.tree_map_with_path(place, jax.eval_shape(lambda: init_state(spec, 0)))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def fill(spec: EngineSpec, state: DecodeState, slots, contexts, known, lengths, turns, leaders, sample_ids, limits):
    """See `PolicyEngine.fill`."""

    def put(into, values):
        return into.at[slots].set(values, mode="drop")

    state = dataclasses.replace(
        state,
        contexts=put(state.contexts, contexts),
        known=put(state.known, known),
        lengths=put(state.lengths, lengths),
        turns=put(state.turns, turns),
        leaders=put(state.leaders, leaders),
        limits=put(state.limits, limits),
        drawn=put(state.drawn, 0),
        sample_ids=put(state.sample_ids, sample_ids),
        active=put(state.active, True),
    )
    return _constrain_state(spec, state)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def copy_slots(spec: EngineSpec, state: DecodeState, sources, slots) -> DecodeState:
    """See `PolicyEngine.copy_slots`."""
    assert isinstance(state.cache, KVCache), "pages are shared, not copied"
    return _constrain_state(spec, dataclasses.replace(state, cache=kv_cache.copy_slots(state.cache, sources, slots)))


def _forward(spec: EngineSpec, params, state: DecodeState, lanes: Lanes) -> tuple[DecodeState, jax.Array]:
    """One pass of the network: the state with what it computed, and hidden states `[C, D]` of the slots' tokens."""
    contexts = jnp.maximum(state.known - 1, 0)  # the last token of each is a decode step's
    order = state.turns, state.leaders
    chunk = next_chunk(lanes, *order, state.lengths, contexts, state.filling) if lanes.rows else None
    decoding = state.active & ~state.filling
    at = state.lengths  # a filling slot's token goes nowhere: see make_attend
    tokens = jnp.take_along_axis(state.contexts, at[:, None], axis=1)[:, 0]
    more = None if chunk is None else state.contexts[chunk.slots[:, None], chunk.positions]
    tokens, positions = lanes.join(tokens, more), lanes.join(at, None if chunk is None else chunk.positions)
    if isinstance(state.cache, PagedCache):
        attend = paged_cache.make_attend(lanes, at, decoding, chunk, spec.layout)
    else:
        attend = kv_cache.make_attend(lanes, at, decoding, chunk, spec.layout)
    tokens, positions = tokens[:, None], positions[:, None]
    hidden, cache = forward_cached(params, spec.model, tokens, positions, attend, state.cache, spec.layout)
    if chunk is not None:
        computed = jnp.sum(chunk.valid, axis=1, dtype=jnp.int32)
        state = dataclasses.replace(state, lengths=state.lengths.at[chunk.slots].add(computed))
    return dataclasses.replace(state, cache=cache), lanes.split(hidden[:, 0])[0]


@functools.partial(jax.jit, static_argnums=(0, 3, 4), donate_argnums=2)
def prefill_slots(spec: EngineSpec, params, state: DecodeState, rows: int, size: int) -> tuple[DecodeState, jax.Array]:
    """See `PolicyEngine.prefill_slots`."""
    lanes = Lanes(spec.parts, 0, rows, size)

    def body(carry):
        state, passes = carry
        return _forward(spec, params, state, lanes)[0], passes + 1

    state, passes = jax.lax.while_loop(lambda carry: jnp.any(carry[0].filling), body, (state, jnp.int32(0)))
    return _constrain_state(spec, state), passes


@functools.partial(jax.jit, static_argnums=0)
def prefill(spec: EngineSpec, params, tokens, length, existing: Prefix | None) -> Prefix:
    """See `PolicyEngine.prefill`; after an existing prefix, where there is one."""
    # The last token of an existing prefix has its keys and values already: go on after it.
    start = jnp.int32(0) if existing is None else existing.length + 1
    held = 0 if existing is None else existing.cache.width
    cache = kv_cache.init_cache(spec.model, 1, held + len(tokens), spec.unstacked)
    if existing is not None:
        cache = kv_cache.insert(cache, existing.cache, jnp.int32(0))
    positions = start + jnp.arange(len(tokens))
    lanes, chunk = Lanes(1, 0, 1, len(tokens)), Chunk(jnp.zeros(1, jnp.int32), positions[None], positions[None] >= 0)
    nobody = jnp.zeros(1, bool)
    attend = kv_cache.make_attend(lanes, positions[:1], nobody, chunk, None)
    _, cache = forward_cached(params, spec.model, tokens[:, None], positions[:, None], attend, cache)
    return Prefix(cache, tokens[length - 1].astype(jnp.int32), start + length - 1)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def insert(spec: EngineSpec, prefix: Prefix, state: DecodeState, slot, writes) -> DecodeState:
    """See `PolicyEngine.insert`."""
    if isinstance(state.cache, PagedCache):
        cache = paged_cache.insert(state.cache, prefix.cache, slot, writes, spec.layout)
    else:
        cache = kv_cache.insert(state.cache, prefix.cache, slot)
    state = dataclasses.replace(
        state,
        cache=cache,
        contexts=state.contexts.at[slot, prefix.length].set(prefix.token),
        known=state.known.at[slot].set(prefix.length + 1),
        lengths=state.lengths.at[slot].set(prefix.length),
        limits=state.limits.at[slot].set(spec.width),
        drawn=state.drawn.at[slot].set(0),
        sample_ids=state.sample_ids.at[slot].set(slot),  # the slot's number seeds its draws
        active=state.active.at[slot].set(True),
    )
    return _constrain_state(spec, state)


@functools.partial(jax.jit, static_argnums=0)
def assign_pages(spec: EngineSpec, active, table) -> tuple[jax.Array, jax.Array]:
    """A new table on the device; a slot without pages is not active any more."""
    none = spec.pages.count // spec.parts
    active = spec.layout.constrain(active & (table[:, 0] < none), "slots")
    return active, spec.layout.constrain(table, *paged_cache.TABLE_AXES)


def _step(
    spec: EngineSpec, params, state: DecodeState, rows: int = 0, chunk: int = 1
) -> tuple[DecodeState, jax.Array, jax.Array]:
    """One token per slot that decodes, and a chunk of so many contexts: the only place where tokens are drawn."""
    lanes = Lanes(spec.parts, spec.slots // spec.parts, rows, chunk)
    decoding, before = state.active & ~state.filling, state.lengths
    state, hidden = _forward(spec, params, state, lanes)
    draw = state.key, state.sample_ids, before + 1, spec.sampling
    tokens, logp = draw_tokens(hidden, output_head(params), *draw, spec.layout)
    lengths = state.lengths + decoding
    ended = jnp.isin(tokens, jnp.asarray(spec.eos_ids, jnp.int32)) | (lengths + 1 >= state.limits)
    at = jnp.where(decoding, lengths, spec.width)
    state = dataclasses.replace(
        state,
        contexts=state.contexts.at[jnp.arange(spec.slots), at].set(tokens, mode="drop"),
        known=state.known + decoding,
        lengths=lengths,
        drawn=state.drawn + decoding,
        active=state.active & ~(ended & decoding),
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


@functools.partial(jax.jit, static_argnums=(0, 3, 4, 5), donate_argnums=2)
def generate_segment(
    spec: EngineSpec, params, state: DecodeState, max_tokens: int, rows: int, chunk: int, steps, patience
):
    """See `PolicyEngine.generate_segment`; steps and patience are traced: no other number compiles anew."""

    def goes_on(carry):
        i, stop, state, _ = carry
        return (i < stop) & jnp.any(state.active)

    def step(rows, carry):
        i, stop, before, out = carry
        state, tokens, logp = _step(spec, params, before, rows, chunk if rows else 1)
        drew = before.active & ~before.filling
        at = jnp.arange(spec.slots), jnp.where(drew, out.counts, max_tokens)
        out = SegmentTokens(
            out.tokens.at[at].set(tokens, mode="drop"),
            out.logp.at[at].set(logp, mode="drop"),
            out.counts + drew,
            i + 1,
            out.chunks + (rows > 0),
        )
        freed = jnp.any(before.active & ~state.active)
        stop = jnp.where(freed, jnp.minimum(stop, i + 1 + patience), stop)
        return i + 1, stop, state, out

    def wanted(carry):
        """Contexts that a step computes: of one slot, of many where many wait, of none."""
        waiting = jnp.max(jnp.sum(carry[2].filling.reshape(spec.parts, -1), axis=1))
        many = waiting * MANY_WAIT > spec.slots // spec.parts
        return jnp.where(waiting > 0, jnp.where(many, rows, 1), 0)

    def loop(rows, carry):
        return jax.lax.while_loop(lambda c: goes_on(c) & (wanted(c) == rows), functools.partial(step, rows), carry)

    def decode_and_fill(carry):
        for number in sorted({rows, 1, 0}, reverse=True):
            carry = loop(number, carry)
        return carry

    shape, zero = (spec.slots, max_tokens), jnp.int32(0)
    out = SegmentTokens(
        jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.float32), jnp.zeros(spec.slots, jnp.int32), zero, zero
    )
    carry = zero, jnp.minimum(steps, max_tokens), state, out
    # Loops in a loop, not a branch in one: each updates the cache in place.
    carry = jax.lax.while_loop(goes_on, decode_and_fill, carry) if rows else loop(0, carry)
    return _constrain_state(spec, carry[2]), jax.tree.map(functools.partial(_of_slots, spec), carry[3])
