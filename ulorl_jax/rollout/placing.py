"""What puts contexts into slots: pure programs over the decoder's state that compute nothing of a network."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

from ulorl_jax.rollout import kv_cache, paged_cache
from ulorl_jax.rollout.decode_state import DecodeState, EngineSpec, Prefix
from ulorl_jax.rollout.kv_cache import KVCache
from ulorl_jax.rollout.paged_cache import PagedCache


def constrain_state(spec: EngineSpec, state: DecodeState) -> DecodeState:
    """Inside jit: pins where the state lives."""
    cache, layout = state.cache, spec.layout
    cache = paged_cache.constrain(cache, layout) if isinstance(cache, PagedCache) else kv_cache.constrain(cache, layout)
    names = [field.name for field in dataclasses.fields(state) if field.name not in ("cache", "key")]
    return dataclasses.replace(state, cache=cache, **{name: of_slots(spec, getattr(state, name)) for name in names})


def of_slots(spec: EngineSpec, x: jax.Array) -> jax.Array:
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
    return constrain_state(spec, state)


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
    return constrain_state(spec, state)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def copy_slots(spec: EngineSpec, state: DecodeState, sources, slots) -> DecodeState:
    """See `PolicyEngine.copy_slots`."""
    assert isinstance(state.cache, KVCache), "pages are shared, not copied"
    return constrain_state(spec, dataclasses.replace(state, cache=kv_cache.copy_slots(state.cache, sources, slots)))


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
    return constrain_state(spec, state)


@functools.partial(jax.jit, static_argnums=0)
def assign_pages(spec: EngineSpec, active, table) -> tuple[jax.Array, jax.Array]:
    """A new table on the device; a slot without pages is not active any more."""
    none = spec.pages.count // spec.parts
    active = spec.layout.constrain(active & (table[:, 0] < none), "slots")
    return active, spec.layout.constrain(table, *paged_cache.TABLE_AXES)
