"""The decoder: a JetStream `Engine` with one verb more, `generate_segment`.

What it computes is in `rollout.decoding`; here is who may ask for it, and how.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ulorl_jax.rollout import decoding
from ulorl_jax.rollout.decoding import DecodeState, EngineSpec, Prefix, SegmentTokens, param_shardings
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
      ValueError: the mesh cannot split the slots or the pages, or a pool cannot hold one longest context.
    """

    def __init__(self, spec: EngineSpec, seed: int):
        self.spec = spec
        self.seed = seed
        spec.layout.sharding("slots", shape=(spec.slots,))  # refuses slots the mesh cannot split
        pages, parts = spec.pages, spec.parts
        if pages.count and (pages.count % parts or pages.count // parts < pages.holding(spec.width)):
            least = pages.holding(spec.width) * parts
            raise ValueError(
                f"a pool of {pages.count} pages of {pages.size} tokens cannot be used: the mesh splits it into {parts} "
                f"equal parts, and each must hold a longest context of {spec.width} tokens; give it a multiple of "
                f"{parts} pages, {least} or more, or 0 for none"
            )

    def init_decode_state(self) -> DecodeState:
        """C empty slots, laid out over the mesh."""
        return decoding.init_state(self.spec, self.seed)

    def prefill_batch(self, params: PyTree, tokens: np.ndarray, lengths: np.ndarray) -> Prefix:
        """Keys and values of N contexts at once.

        Args:
          params: the policy, in the decoding layout.
          tokens: `[N, P]` i32, each row padded at its end; P <= W.
          lengths: `[N]` i32, true lengths, >= 1.

        Returns:
          The prefix of the N contexts.
        """
        return decoding.prefill(self.spec, params, tokens, lengths, None)

    def insert_batch(
        self,
        prefix: Prefix,
        state: DecodeState,
        rows: np.ndarray,
        slots: np.ndarray,
        sample_ids: np.ndarray,
        limits: np.ndarray,
        writes: np.ndarray | None = None,
    ) -> DecodeState:
        """Puts contexts into slots and makes them active.

        Args:
          prefix: from `prefill_batch`.
          state: donated.
          rows: `[R]` i32, the prefix row of each; one row may go to many slots.
          slots: `[R]` i32; a slot >= C is dropped (padding).
          sample_ids: `[R]` i32.
          limits: `[R]` i32, context length at which each is truncated.
          writes: with pages, `[R, B]` i32: the page that each page of a copy is written to, see `Room.writes`. None
            gives every slot pages for its longest context, always the same ones: the pool must hold them all.

        Returns:
          The new state.

        Raises:
          ValueError: the pool is too small for pages that are always the same.
        """
        if self.spec.pages.count and writes is None:
            writes = self._own_pages(slots)
        return decoding.insert(self.spec, prefix, state, rows, slots, sample_ids, limits, writes)

    def assign_pages(self, state: DecodeState, table: np.ndarray) -> DecodeState:
        """Says whose the pages are from now on.

        Args:
          state: its cache is a `PagedCache`.
          table: `[C, B]` i32; a slot without a page in it is no longer active.

        Returns:
          The new state; it shares the pool with the old one.
        """
        assert isinstance(state.cache, PagedCache)
        active, table = decoding.assign_pages(self.spec, state.active, table)
        return dataclasses.replace(state, active=active, cache=dataclasses.replace(state.cache, table=table))

    def _own_pages(self, slots: np.ndarray) -> np.ndarray:
        """The table's rows where each slot has its own part of the pool."""
        pages, per_part = self.spec.pages, self.spec.slots // self.spec.parts
        blocks = pages.holding(self.spec.width)
        if per_part * blocks * self.spec.parts > pages.count:
            raise ValueError(
                f"without a table every slot takes pages for its longest context ({self.spec.width} tokens), as a slot "
                f"of JetStream's never gives any back: {self.spec.slots} slots need {self.spec.slots * blocks} pages, "
                f"there are {pages.count}; give the engine more pages or fewer slots"
            )
        return (np.asarray(slots)[:, None] % per_part * blocks + np.arange(blocks)).astype(np.int32)

    def generate_segment(
        self,
        params: PyTree,
        decode_state: DecodeState,
        max_tokens: int,
        steps: int | None = None,
        patience: int | None = None,
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

        Returns:
          The new state and the tokens drawn.
        """
        steps, patience = (max_tokens if value is None else value for value in (steps, patience))
        return decoding.generate_segment(self.spec, params, decode_state, max_tokens, steps, patience)

    # JetStream's own verbs.

    def prefill(self, *, params: PyTree, existing_prefix: Prefix | None = None, padded_tokens, true_length) -> Prefix:
        """One context, or one context continued; see `engine_api.Engine.prefill`."""
        tokens, lengths = jnp.asarray(padded_tokens)[None], jnp.asarray([true_length], jnp.int32)
        width = tokens.shape[1] + (existing_prefix.cache.width if existing_prefix else 0)
        if width > self.spec.width:
            raise ValueError(f"a context of {width} padded tokens does not fit a slot of {self.spec.width}")
        return decoding.prefill(self.spec, params, tokens, lengths, existing_prefix)

    def insert(self, prefix: Prefix, decode_state: DecodeState, slot: int) -> DecodeState:
        """One prefilled context into one slot; the slot number seeds its draws."""
        zero, limit = np.zeros(1, np.int32), np.full(1, self.spec.width, np.int32)
        return self.insert_batch(prefix, decode_state, zero, zero + slot, zero + slot, limit)

    def generate(self, params: PyTree, decode_state: DecodeState) -> tuple[DecodeState, Any]:
        """One token for every slot; see `engine_api.Engine.generate`."""
        decode_state, data = decoding.generate(self.spec, params, decode_state)
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
