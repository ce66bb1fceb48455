"""The decoder: a JetStream `Engine` with one verb more, `generate_segment`.

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
import numpy as np

from ulorl_jax.mesh import Layout
from ulorl_jax.models.qwen3 import Qwen3Config, forward_cached, map_table, output_head
from ulorl_jax.rollout import kv_cache
from ulorl_jax.rollout.jetstream_api import import_engine_api
from ulorl_jax.rollout.kv_cache import KVCache
from ulorl_jax.rollout.sampling import Sampling, draw_tokens

PyTree = Any
engine_api = import_engine_api()


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Prefix:
    """N contexts whose keys and values are computed, ready for a slot.

    Attributes:
      cache: `[L, N, K, P, d]`.
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
      cache: `[L, C, K, W, d]`.
      tokens: `[C]` i32, last known token of the slot, the next step's input.
      lengths: `[C]` i32, its position: keys and values before it are in the cache.
      limits: `[C]` i32, prompt + L: the context length at which the sample is truncated.
      drawn: `[C]` i32, tokens drawn since the slot was filled.
      sample_ids: `[C]` i32.
      active: `[C]` bool, the slot holds a sample that goes on.
      key: the run's PRNG key.
    """

    cache: KVCache
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
    """

    model: Qwen3Config
    slots: int
    width: int
    sampling: Sampling
    eos_ids: tuple[int, ...]
    layout: Layout


class PolicyEngine(engine_api.Engine):
    """The policy behind JetStream's interface.

    Args:
      spec: what its programs are compiled for.
      seed: of every draw; see `rollout.sampling`.
    """

    def __init__(self, spec: EngineSpec, seed: int):
        self.spec = spec
        self.seed = seed
        spec.layout.sharding("slots", shape=(spec.slots,))  # refuses slots the mesh cannot split

    def init_decode_state(self) -> DecodeState:
        """C empty slots, laid out over the mesh."""
        return _init_state(self.spec, self.seed)

    def prefill_batch(self, params: PyTree, tokens: np.ndarray, lengths: np.ndarray) -> Prefix:
        """Keys and values of N contexts at once.

        Args:
          params: the policy, in the decoding layout.
          tokens: `[N, P]` i32, each row padded at its end; P <= W.
          lengths: `[N]` i32, true lengths, >= 1.

        Returns:
          The prefix of the N contexts.
        """
        return _prefill(self.spec, params, tokens, lengths, None)

    def insert_batch(
        self,
        prefix: Prefix,
        state: DecodeState,
        rows: np.ndarray,
        slots: np.ndarray,
        sample_ids: np.ndarray,
        limits: np.ndarray,
    ) -> DecodeState:
        """Puts contexts into slots and makes them active.

        Args:
          prefix: from `prefill_batch`.
          state: donated.
          rows: `[R]` i32, the prefix row of each; one row may go to many slots.
          slots: `[R]` i32; a slot >= C is dropped (padding).
          sample_ids: `[R]` i32.
          limits: `[R]` i32, context length at which each is truncated.

        Returns:
          The new state.
        """
        return _insert(self.spec, prefix, state, rows, slots, sample_ids, limits)

    def generate_segment(
        self, params: PyTree, decode_state: DecodeState, max_tokens: int
    ) -> tuple[DecodeState, SegmentTokens]:
        """Up to S tokens for every active slot in one call on the device.

        It stops early when no slot is active. A slot that draws an EOS id or reaches
        its limit becomes inactive; the others stay active for the next segment.

        Args:
          params: the policy, in the decoding layout.
          decode_state: donated.
          max_tokens: S.

        Returns:
          The new state and the tokens drawn.
        """
        return _generate_segment(self.spec, params, decode_state, max_tokens)

    # JetStream's own verbs.

    def prefill(self, *, params: PyTree, existing_prefix: Prefix | None = None, padded_tokens, true_length) -> Prefix:
        """One context, or one context continued; see `engine_api.Engine.prefill`."""
        tokens, lengths = jnp.asarray(padded_tokens)[None], jnp.asarray([true_length], jnp.int32)
        width = tokens.shape[1] + (existing_prefix.cache.width if existing_prefix else 0)
        if width > self.spec.width:
            raise ValueError(f"a context of {width} padded tokens does not fit a slot of {self.spec.width}")
        return _prefill(self.spec, params, tokens, lengths, existing_prefix)

    def insert(self, prefix: Prefix, decode_state: DecodeState, slot: int) -> DecodeState:
        """One prefilled context into one slot; the slot number seeds its draws."""
        zero, limit = np.zeros(1, np.int32), np.full(1, self.spec.width, np.int32)
        return self.insert_batch(prefix, decode_state, zero, zero + slot, zero + slot, limit)

    def generate(self, params: PyTree, decode_state: DecodeState) -> tuple[DecodeState, Any]:
        """One token for every slot; see `engine_api.Engine.generate`."""
        decode_state, data = _generate(self.spec, params, decode_state)
        return decode_state, engine_api.ResultTokens(data, (0, 1), (1, 2), (2, 3), 1)

    def load_params(self, params: PyTree) -> PyTree:
        """Lays parameters out for decoding."""
        return jax.device_put(params, param_shardings(self.spec))

    def get_prefix_destination_sharding(self) -> PyTree:
        """Where `insert` wants a prefix: every device holds it whole."""
        return self.spec.layout.sharding()

    def get_tokenizer(self) -> Any:
        """None to load: token ids in, token ids out."""
        return None

    max_concurrent_decodes = property(lambda self: self.spec.slots, doc="C.")
    samples_per_slot = property(lambda self: 1, doc="One.")
    max_prefill_length = property(lambda self: self.spec.width, doc="W.")
    mesh = property(lambda self: self.spec.layout.mesh, doc="The mesh it runs on.")
    colocated_cpus = property(lambda self: None, doc="None.")


def compiled_programs() -> int:
    """Decoding programs compiled so far in this process, of all engines: it should stop growing."""
    programs: list[Any] = [_prefill, _insert, _generate, _generate_segment]
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
    def pin(x):
        axes = kv_cache.AXES if x.ndim == 5 else ("slots",) if x.ndim == 1 else ()
        return spec.layout.constrain(x, *axes)

    key = state.key
    return dataclasses.replace(jax.tree.map(pin, dataclasses.replace(state, key=None)), key=key)


@functools.partial(jax.jit, static_argnums=0)
def _init_state(spec: EngineSpec, seed: int) -> DecodeState:
    def zeros():
        return jnp.zeros(spec.slots, jnp.int32)

    cache = kv_cache.init_cache(spec.model, spec.slots, spec.width)
    key = jax.random.key(seed)
    return _constrain_state(spec, DecodeState(cache, zeros(), zeros(), zeros(), zeros(), zeros(), zeros() > 0, key))


@functools.partial(jax.jit, static_argnums=0)
def _prefill(spec: EngineSpec, params, tokens, lengths, existing: Prefix | None) -> Prefix:
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
def _insert(spec: EngineSpec, prefix: Prefix, state: DecodeState, rows, slots, sample_ids, limits) -> DecodeState:
    def put(into, values):
        return into.at[slots].set(values, mode="drop")

    return _constrain_state(
        spec,
        DecodeState(
            cache=kv_cache.insert_rows(state.cache, prefix.cache, rows, slots),
            tokens=put(state.tokens, prefix.tokens[rows]),
            lengths=put(state.lengths, prefix.lengths[rows]),
            limits=put(state.limits, limits),
            drawn=put(state.drawn, 0),
            sample_ids=put(state.sample_ids, sample_ids),
            active=put(state.active, True),
            key=state.key,
        ),
    )


def _step(spec: EngineSpec, params, state: DecodeState) -> tuple[DecodeState, jax.Array, jax.Array]:
    """One token per slot: the only place where tokens are drawn."""
    positions = state.lengths[:, None]
    hidden, cache = forward_cached(
        params, spec.model, state.tokens[:, None], positions, kv_cache.make_attend(positions), state.cache
    )
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
def _generate(spec: EngineSpec, params, state: DecodeState) -> tuple[DecodeState, jax.Array]:
    valid = state.active
    state, tokens, _ = _step(spec, params, state)
    # JetStream's client stops a request by the third column: tokens generated, the prompt not counted.
    data = jnp.stack([tokens, valid.astype(jnp.int32), state.drawn], axis=1)
    return _constrain_state(spec, state), data


@functools.partial(jax.jit, static_argnums=(0, 3), donate_argnums=2)
def _generate_segment(spec: EngineSpec, params, state: DecodeState, max_tokens: int):
    def goes_on(carry):
        i, state, _ = carry
        return (i < max_tokens) & jnp.any(state.active)

    def body(carry):
        i, state, out = carry
        counts = out.counts + state.active
        state, tokens, logp = _step(spec, params, state)
        out = SegmentTokens(out.tokens.at[:, i].set(tokens), out.logp.at[:, i].set(logp), counts, i + 1)
        return i + 1, state, out

    shape, zero = (spec.slots, max_tokens), jnp.int32(0)
    out = SegmentTokens(
        jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.float32), jnp.zeros(spec.slots, jnp.int32), zero
    )
    _, state, out = jax.lax.while_loop(goes_on, body, (zero, state, out))
    return _constrain_state(spec, state), out
