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
from ulorl_jax.rollout import kv_cache, paged_cache, placing
from ulorl_jax.rollout.decode_state import DecodeState, EngineSpec, Prefix, SegmentTokens
from ulorl_jax.rollout.lanes import FEW_DECODE, MANY_WAIT, Chunk, Lanes, next_chunk
from ulorl_jax.rollout.paged_cache import PagedCache
from ulorl_jax.rollout.placing import constrain_state, of_slots
from ulorl_jax.rollout.split_sampling import draw_tokens

PyTree = Any


def compiled_programs() -> int:
    """Decoding programs compiled so far in this process, of all engines: it should stop growing."""
    programs: list[Any] = [prefill_slots, prefill, generate, generate_segment]
    programs += [placing.fill, placing.copy_slots, placing.insert, placing.assign_pages]
    return sum(program._cache_size() for program in programs)


def param_shardings(spec: EngineSpec) -> PyTree:
    """The decoding layout of the parameters, for `mesh.reshard`.

    Args:
      spec: model and layout.

    Returns:
      A parameter-shaped tree of shardings.
    """
    return map_table(lambda row: spec.layout.sharding(*row.axes, shape=row.shape), spec.model)


def _forward(
    spec: EngineSpec, params, state: DecodeState, lanes: Lanes, chunk: Chunk | None
) -> tuple[DecodeState, jax.Array, jax.Array]:
    """One pass of the network: the state with what it computed, and hidden states `[C, D]` of the slots' tokens and
    `[R, n, D]` of the chunk's; C or R may be 0."""
    decoding = state.decoding
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
    lengths = state.lengths + decoding if lanes.slots else state.lengths
    if chunk is not None:
        lengths = lengths.at[chunk.slots].add(jnp.sum(chunk.valid, axis=1, dtype=jnp.int32))
    return dataclasses.replace(state, cache=cache, lengths=lengths), *lanes.split(hidden[:, 0])


def _contexts(state: DecodeState, lanes: Lanes) -> Chunk | None:
    """The next tokens of contexts that are not computed yet, where lanes has rows for them."""
    if not lanes.rows:
        return None
    contexts = jnp.maximum(state.known - 1, 0)  # the last token of each is a decode step's
    return next_chunk(lanes, state.turns, state.leaders, state.lengths, contexts, state.filling)


def _last_tokens(state: DecodeState, lanes: Lanes) -> Chunk:
    """The token that each slot decodes, of no more slots than lanes has rows."""
    zeros = jnp.zeros_like(state.turns)
    return next_chunk(lanes, zeros, zeros + len(zeros), state.lengths, state.lengths + 1, state.decoding)


@functools.partial(jax.jit, static_argnums=(0, 3, 4), donate_argnums=2)
def prefill_slots(spec: EngineSpec, params, state: DecodeState, rows: int, size: int) -> tuple[DecodeState, jax.Array]:
    """See `PolicyEngine.prefill_slots`."""
    lanes = Lanes(spec.parts, 0, rows, size)

    def body(carry):
        state, passes = carry
        return _forward(spec, params, state, lanes, _contexts(state, lanes))[0], passes + 1

    state, passes = jax.lax.while_loop(lambda carry: jnp.any(carry[0].filling), body, (state, jnp.int32(0)))
    return constrain_state(spec, state), passes


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


def _step(spec: EngineSpec, params, state: DecodeState, lanes: Lanes) -> tuple[DecodeState, jax.Array, jax.Array]:
    """One token per slot that decodes, and a chunk of contexts beside; of lanes without slots the rows are slots that
    decode, and no other may. The only place where tokens are drawn."""
    before, decoding, slots = state, state.decoding, slice(None)
    if lanes.slots:
        state, hidden, _ = _forward(spec, params, state, lanes, _contexts(state, lanes))
    else:
        chunk = _last_tokens(state, lanes)
        state, _, hidden = _forward(spec, params, state, lanes, chunk)
        hidden, slots = hidden[:, 0], chunk.slots
    draw = state.key, state.sample_ids[slots], before.lengths[slots] + 1, spec.sampling
    drawn = draw_tokens(hidden, output_head(params), *draw, spec.layout)
    tokens, logp = (jnp.zeros(spec.slots, x.dtype).at[slots].set(x) for x in drawn)
    lengths = state.lengths
    ended = jnp.isin(tokens, jnp.asarray(spec.eos_ids, jnp.int32)) | (lengths + 1 >= state.limits)
    at = jnp.where(decoding, lengths, spec.width)
    state = dataclasses.replace(
        state,
        contexts=state.contexts.at[jnp.arange(spec.slots), at].set(tokens, mode="drop"),
        known=state.known + decoding,
        drawn=state.drawn + decoding,
        active=state.active & ~(ended & decoding),
    )
    return state, tokens, logp


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def generate(spec: EngineSpec, params, state: DecodeState) -> tuple[DecodeState, jax.Array]:
    """See `PolicyEngine.generate`."""
    valid = state.active
    state, tokens, _ = _step(spec, params, state, Lanes(spec.parts, spec.slots // spec.parts))
    # JetStream's client stops a request by the third column: tokens generated, the prompt not counted.
    data = jnp.stack([tokens, valid.astype(jnp.int32), state.drawn], axis=1)
    return constrain_state(spec, state), data


@functools.partial(jax.jit, static_argnums=(0, 3, 4, 5), donate_argnums=2)
def generate_segment(
    spec: EngineSpec, params, state: DecodeState, max_tokens: int, rows: int, chunk: int, steps, patience
):
    """See `PolicyEngine.generate_segment`; steps and patience are traced: no other number compiles anew."""

    def goes_on(carry):
        i, stop, state, _ = carry
        return (i < stop) & jnp.any(state.active)

    def step(lanes, carry):
        i, stop, before, out = carry
        state, tokens, logp = _step(spec, params, before, lanes)
        drew = before.decoding
        at = jnp.arange(spec.slots), jnp.where(drew, out.counts, max_tokens)
        out = SegmentTokens(
            out.tokens.at[at].set(tokens, mode="drop"),
            out.logp.at[at].set(logp, mode="drop"),
            out.counts + drew,
            i + 1,
            out.chunks + bool(lanes.slots and lanes.rows),
        )
        freed = jnp.any(before.active & ~state.active)
        stop = jnp.where(freed, jnp.minimum(stop, i + 1 + patience), stop)
        return i + 1, stop, state, out

    whole = Lanes(spec.parts, spec.slots // spec.parts)
    few = Lanes(spec.parts, 0, whole.slots // FEW_DECODE)
    kinds = [dataclasses.replace(whole, rows=n, size=chunk) for n in sorted({rows, 1}, reverse=True) if rows]
    # With refill="step" a pass is the paper's, of all slots: its cost is what segments are planned with (costs.py).
    kinds += [whole, few] if rows and few.rows > 1 else [whole]

    def wanted(carry):
        """The lanes of the next step, their place in `kinds`: with contexts of one slot, of many where many wait, of
        none; or without the slots that do not decode, where few do."""
        state = carry[2]
        waiting, busy = (jnp.max(jnp.sum(x.reshape(spec.parts, -1), axis=1)) for x in (state.filling, state.active))
        fill = jnp.where(waiting * MANY_WAIT > whole.slots, 0, kinds.index(whole) - 1)
        decode = jnp.where(busy <= few.rows, len(kinds) - 1, kinds.index(whole))
        return jnp.where(waiting > 0, fill, decode)

    def decode_and_fill(carry):
        for place, lanes in enumerate(kinds):
            this = lambda carry, place=place: goes_on(carry) & (wanted(carry) == place)  # noqa: E731
            carry = jax.lax.while_loop(this, functools.partial(step, lanes), carry)
        return carry

    shape, zero = (spec.slots, max_tokens), jnp.int32(0)
    out = SegmentTokens(
        jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.float32), jnp.zeros(spec.slots, jnp.int32), zero, zero
    )
    carry = zero, jnp.minimum(steps, max_tokens), state, out
    # Loops in a loop, not a branch in one: each updates the cache in place.
    carry = jax.lax.while_loop(goes_on, decode_and_fill, carry) if rows else decode_and_fill(carry)
    return constrain_state(spec, carry[2]), jax.tree.map(functools.partial(of_slots, spec), carry[3])
