"""The decoder: a JetStream `Engine` with one verb more, `generate_segment`.

What it computes is in `rollout.decoding`; here is who may ask for it, and how.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ulorl_jax.models.qwen3_params import unstack_layers
from ulorl_jax.rollout import decoding, placing
from ulorl_jax.rollout.decode_state import DecodeState, EngineSpec, Prefix, SegmentTokens
from ulorl_jax.rollout.decoding import param_shardings
from ulorl_jax.rollout.jetstream_api import import_engine_api
from ulorl_jax.rollout.paged_cache import PagedCache

PyTree = Any
engine_api = import_engine_api()


class PolicyEngine(engine_api.Engine):
    """The policy behind JetStream's interface.

    Args:
      spec: what its programs are compiled for.
      seed: of every draw; see `rollout.sampling`.

    Raises:
      ValueError: the mesh cannot split the slots, the weights or the pages, or a pool cannot hold one longest context.
    """

    def __init__(self, spec: EngineSpec, seed: int):
        self.spec = spec
        self.seed = seed
        self._given = self._prepared = None
        spec.layout.sharding("slots", shape=(spec.slots,))  # refuses slots the mesh cannot split
        param_shardings(spec)  # and weights it cannot
        pages, parts = spec.pages, spec.parts
        if pages.count and (pages.count % parts or pages.count // parts < pages.holding(spec.width)):
            least = pages.holding(spec.width) * parts
            raise ValueError(
                f"a pool of {pages.count} pages of {pages.size} tokens cannot be used: the mesh splits it into {parts} "
                f"equal parts, and each must hold a longest context of {spec.width} tokens; give it a multiple of "
                f"{parts} pages, {least} or more, or 0 for none"
            )

    def _prepare(self, params: PyTree) -> PyTree:
        """Parameters as this machine decodes fastest with them; the same ones given again cost nothing."""
        if not self.spec.unstacked:
            return params
        if params is not self._given:
            self._given = self._prepared = None  # before there are new ones, the old ones may go
            self._given, self._prepared = params, unstack_layers(params)
        return self._prepared

    def init_decode_state(self) -> DecodeState:
        """C empty slots, laid out over the mesh."""
        return placing.init_state(self.spec, self.seed)

    def fill(
        self,
        state: DecodeState,
        slots: np.ndarray,
        contexts: np.ndarray,
        known: np.ndarray,
        computed: np.ndarray,
        turns: np.ndarray,
        leaders: np.ndarray,
        sample_ids: np.ndarray,
        limits: np.ndarray,
    ) -> DecodeState:
        """Puts contexts into slots and makes them active; `prefill_slots` or `generate_segment` computes them.

        Args:
          state: donated.
          slots: `[R]` i32; a slot >= C is dropped (padding).
          contexts: `[R, W]` i32, each row padded at its end.
          known: `[R]` i32, true lengths, >= 1.
          computed: `[R]` i32, tokens of each whose keys and values others put into the cache, < known.
          turns: `[R]` i32, which are computed first; see `lanes.next_chunk`.
          leaders: `[R]` i32, the slot whose context has to be computed before; C: none has.
          sample_ids: `[R]` i32.
          limits: `[R]` i32, context length at which each is truncated.

        Returns:
          The new state.
        """
        return placing.fill(self.spec, state, slots, contexts, known, computed, turns, leaders, sample_ids, limits)

    def copy_slots(self, state: DecodeState, sources: np.ndarray, slots: np.ndarray) -> DecodeState:
        """Slots take over the keys and values of others, where the cache is dense.

        Args:
          state: donated.
          sources: `[R]` i32, from which slot.
          slots: `[R]` i32, to which; a slot >= C is dropped (padding).

        Returns:
          The new state.
        """
        return placing.copy_slots(self.spec, state, sources, slots)

    def prefill_slots(self, params: PyTree, state: DecodeState, rows: int, chunk: int) -> tuple[DecodeState, jax.Array]:
        """Computes the contexts of all slots to their end, before anybody decodes.

        Args:
          params: the policy, in the decoding layout.
          state: donated.
          rows: contexts computed side by side, shared out among the parts of the mesh.
          chunk: tokens of each that one pass computes.

        Returns:
          The new state, and how many passes it took, `[]` i32.
        """
        chunk = min(chunk, self.spec.width)
        return decoding.prefill_slots(self.spec, self._prepare(params), state, self.spec.rows_per_part(rows), chunk)

    def assign_pages(self, state: DecodeState, table: np.ndarray) -> DecodeState:
        """Says whose the pages are from now on.

        Args:
          state: its cache is a `PagedCache`.
          table: `[C, B]` i32; a slot without a page in it is no longer active.

        Returns:
          The new state; it shares the pool with the old one.
        """
        assert isinstance(state.cache, PagedCache)
        active, table = placing.assign_pages(self.spec, state.active, table)
        return dataclasses.replace(state, active=active, cache=dataclasses.replace(state.cache, table=table))

    def _own_pages(self, slot: int) -> np.ndarray:
        """The table's row where each slot has its own part of the pool."""
        pages, per_part = self.spec.pages, self.spec.slots // self.spec.parts
        blocks = pages.holding(self.spec.width)
        if per_part * blocks * self.spec.parts > pages.count:
            raise ValueError(
                f"without a table every slot takes pages for its longest context ({self.spec.width} tokens), as a slot "
                f"of JetStream's never gives any back: {self.spec.slots} slots need {self.spec.slots * blocks} pages, "
                f"there are {pages.count}; give the engine more pages or fewer slots"
            )
        return (slot % per_part * blocks + np.arange(blocks)).astype(np.int32)

    def generate_segment(
        self,
        params: PyTree,
        decode_state: DecodeState,
        max_tokens: int,
        steps: int | None = None,
        patience: int | None = None,
        rows: int = 0,
        chunk: int = 1,
    ) -> tuple[DecodeState, SegmentTokens]:
        """Up to S tokens for every active slot in one call on the device.

        It stops early when no slot is active. A slot that draws an EOS id or reaches
        its limit becomes inactive; the others stay active for the next call.

        Args:
          params: the policy, in the decoding layout.
          decode_state: donated.
          max_tokens: S, the size of the result; every other one compiles anew.
          steps: stop after so many instead, <= S.
          patience: stop so many steps after the first slot has become free; None: go on without it.
          rows: while slots wait for their contexts, a chunk of one (in each part of the mesh) is computed in every
            decode step, beside the others' tokens; where many wait, of as many as `prefill_slots` computes side by side
            with these rows. 0: none waits.
          chunk: tokens of each.

        Returns:
          The new state and the tokens drawn.
        """
        steps, patience = (max_tokens if value is None else value for value in (steps, patience))
        rows, chunk = self.spec.rows_per_part(rows) if rows else 0, min(chunk, self.spec.width)
        params = self._prepare(params)
        return decoding.generate_segment(self.spec, params, decode_state, max_tokens, rows, chunk, steps, patience)

    # JetStream's own verbs.

    def prefill(self, *, params: PyTree, existing_prefix: Prefix | None = None, padded_tokens, true_length) -> Prefix:
        """One context, or one context continued; see `engine_api.Engine.prefill`."""
        tokens = jnp.asarray(padded_tokens)
        width = len(tokens) + (existing_prefix.cache.width if existing_prefix else 0)
        if width > self.spec.width:
            raise ValueError(f"a context of {width} padded tokens does not fit a slot of {self.spec.width}")
        return decoding.prefill(self.spec, self._prepare(params), tokens, true_length, existing_prefix)

    def insert(self, prefix: Prefix, decode_state: DecodeState, slot: int) -> DecodeState:
        """One prefilled context into one slot; the slot number seeds its draws.

        With pages every slot has those for its longest context, always the same ones: the pool must hold them all.
        """
        writes = self._own_pages(slot) if self.spec.pages.count else None
        return placing.insert(self.spec, prefix, decode_state, slot, writes)

    def generate(self, params: PyTree, decode_state: DecodeState) -> tuple[DecodeState, Any]:
        """One token for every slot; see `engine_api.Engine.generate`."""
        decode_state, data = decoding.generate(self.spec, self._prepare(params), decode_state)
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
