"""What the decoder holds on the device between its programs, and what these are compiled for."""

from __future__ import annotations

import dataclasses

import jax

from ulorl_jax.mesh import Layout
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.rollout.kv_cache import KVCache
from ulorl_jax.rollout.paged_cache import PagedCache
from ulorl_jax.rollout.pages import PageSettings
from ulorl_jax.rollout.sampling import Sampling


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Prefix:
    """A context whose keys and values are computed, ready for a slot.

    Attributes:
      cache: of one row, P positions wide.
      token: `[]` i32, the context's last.
      length: `[]` i32, its position: the context's length - 1.
    """

    cache: KVCache
    token: jax.Array
    length: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class DecodeState:
    """C slots; lives on the device from one training step to the next.

    Attributes:
      cache: dense, or a pool of pages.
      contexts: `[C, W]` i32, prompt and output of the sample in each slot.
      known: `[C]` i32, tokens in it.
      lengths: `[C]` i32, tokens whose keys and values are in the cache: known - 1 in a slot that decodes, fewer where
        the context is still being computed.
      turns: `[C]` i32, whose context is computed first; `leaders` `[C]` i32, whose has to be computed before: see
        `lanes.next_chunk`.
      limits: `[C]` i32, prompt + L: the context length at which the sample is truncated.
      drawn: `[C]` i32, tokens drawn since the slot was filled.
      sample_ids: `[C]` i32.
      active: `[C]` bool, the slot holds a sample that goes on.
      key: the run's PRNG key.
    """

    cache: KVCache | PagedCache
    contexts: jax.Array
    known: jax.Array
    lengths: jax.Array
    turns: jax.Array
    leaders: jax.Array
    limits: jax.Array
    drawn: jax.Array
    sample_ids: jax.Array
    active: jax.Array
    key: jax.Array

    @property
    def filling(self) -> jax.Array:
        """`[C]` bool, slots whose context is not computed yet: they do not decode."""
        return self.active & (self.lengths + 1 < self.known)

    @property
    def decoding(self) -> jax.Array:
        """`[C]` bool, slots that draw a token in the next decode step."""
        return self.active & ~self.filling


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class SegmentTokens:
    """What one `generate_segment` drew.

    Attributes:
      tokens: `[C, S]` i32; the first `counts[c]` of a row are real.
      logp: `[C, S]` f32, nats, of the distribution sampled from.
      counts: `[C]` i32, tokens drawn for the slot.
      steps: `[]` i32, decode steps run: less than S when all samples ended early.
      chunks: `[]` i32, those of them that computed a chunk of contexts beside.
    """

    tokens: jax.Array
    logp: jax.Array
    counts: jax.Array
    steps: jax.Array
    chunks: jax.Array


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

    def rows_per_part(self, rows: int) -> int:
        """Contexts that a part computes side by side, of so many together."""
        return min(max(rows // self.parts, 1), self.slots // self.parts)

    @property
    def unstacked(self) -> bool:
        """Whether the layers run one by one and not in a scan: see `qwen3_params.unstack_layers`."""
        return self.layout.platform == "cpu"
