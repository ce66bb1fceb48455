"""Qwen3, dense and mixture-of-experts, as pure functions over a parameter pytree.

The parameters are declared once, in `qwen3_params`. Layers are stacked on a leading
axis and run under `lax.scan`, so the compile time does not grow with their number
(but see `qwen3_params.unstack_layers`). There is one path through the network
(`_run`); its two faces differ in nothing but how queries meet keys:

  forward_packed   training: samples side by side in a row
  forward_cached   prefill and decode: new tokens over a KV cache

Field names of `Qwen3Config` are those of the Hugging Face config.json.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ulorl_jax.mesh import Layout
from ulorl_jax.models.block_attention import RESIDUAL
from ulorl_jax.models.embedding import look_up
from ulorl_jax.models.linear import column_parallel, row_parallel
from ulorl_jax.models.moe import moe_mlp
from ulorl_jax.models.packed_attention import attend_packed
from ulorl_jax.models.rms_norm import rms_norm
from ulorl_jax.models.rope import RopeScaling, apply_rope, rope_angles

PyTree = Any
# (q [B,T,H,d], k [B,T,K,d], v [B,T,K,d], cache, layer []) -> (out [B,T,H,d], cache); layer is an int where unstacked
Attend = Callable[[jax.Array, jax.Array, jax.Array, PyTree, Any], tuple[jax.Array, PyTree]]

# What the backward pass may keep of a layer instead of computing it again. "attention" keeps what attention over long
# rows needs in order not to run twice; short rows name nothing.
REMAT = {
    "none": jax.checkpoint_policies.everything_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "attention": jax.checkpoint_policies.save_only_these_names(RESIDUAL),
    "full": jax.checkpoint_policies.nothing_saveable,
}

DTYPES = ("float32", "bfloat16", "float16")  # of activations


@dataclasses.dataclass(frozen=True)
class Qwen3Config:
    """The shape of the network; hashable, so it can be a static argument.

    Attributes:
      vocab_size: V.
      hidden_size: D, width of the residual stream.
      intermediate_size: width of the dense SwiGLU.
      num_hidden_layers: L.
      num_attention_heads: H.
      num_key_value_heads: K; divides H.
      head_dim: d, even; H * d need not be D.
      rope_theta: base of the rotary frequencies.
      rope_scaling: YaRN, for contexts beyond the trained length.
      rms_norm_eps: added to the mean square.
      tie_word_embeddings: the head is the embedding, transposed.
      num_experts: E; 0 makes every layer dense.
      num_experts_per_tok: experts a token visits.
      moe_intermediate_size: width of one expert.
      norm_topk_prob: rescale the chosen experts' weights to sum to 1.
      dtype: of activations; parameters are kept as they come and cast layer by layer.
      remat: key of `REMAT`.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rope_theta: float = 1e6
    rope_scaling: RopeScaling = RopeScaling()
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = False
    num_experts: int = 0
    num_experts_per_tok: int = 0
    moe_intermediate_size: int = 0
    norm_topk_prob: bool = True
    dtype: str = "float32"
    remat: str = "none"

    def __post_init__(self):
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads ({self.num_attention_heads}) must be a multiple of num_key_value_heads "
                f"({self.num_key_value_heads})"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even for RoPE, got {self.head_dim}; try {self.head_dim + 1}")
        if self.num_experts and not 0 < self.num_experts_per_tok <= self.num_experts:
            raise ValueError(
                f"num_experts_per_tok must be in 1..num_experts ({self.num_experts}), got {self.num_experts_per_tok}"
            )
        if self.remat not in REMAT:
            raise ValueError(f"remat must be one of {sorted(REMAT)}, got {self.remat!r}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {list(DTYPES)}, got {self.dtype!r}")


def output_head(params: PyTree) -> jax.Array:
    """`[D, V]`: the matrix that turns a hidden state into logits, tied or not."""
    return params["head"] if "head" in params else params["embed"].T


def forward_packed(
    params: PyTree,
    config: Qwen3Config,
    tokens: jax.Array,
    positions: jax.Array,
    sample_ids: jax.Array,
    layout: Layout | None = None,
) -> jax.Array:
    """Training: hidden states of packed rows.

    Args:
      params: the parameter pytree.
      config: the network's shape.
      tokens: `[B, T]` i32.
      positions: `[B, T]` i32, position of each token in its own sample.
      sample_ids: `[B, T]` i32; samples do not see each other, 0 is padding.
      layout: where everything lies; None: one device.

    Returns:
      `[B, T, D]`, after the last norm; the hidden state of token t predicts token t + 1. Tokens lie in the layout's
      order, which is their own unless it splits rows (`Layout.token_order`).

    Raises:
      ValueError: the layout cannot split rows of T tokens.
    """
    if layout is not None and layout.ways("tokens") > 1:
        order = layout.token_order(tokens.shape[1])
        tokens, positions = (layout.constrain(x[:, order], "rows", "tokens") for x in (tokens, positions))

    def attend(q, k, v, cache, layer):
        return attend_packed(q, k, v, sample_ids, layout), cache

    return _run(params, config, tokens, positions, attend, None, layout)[0]


def forward_cached(
    params: PyTree,
    config: Qwen3Config,
    tokens: jax.Array,
    positions: jax.Array,
    attend: Attend,
    cache: PyTree,
    layout: Layout | None = None,
) -> tuple[jax.Array, PyTree]:
    """Prefill and decode: hidden states of new tokens over a KV cache, B x T of them as `attend` takes them.

    Args:
      params: the parameter pytree; its layers stacked, or a tuple (`unstack_layers`).
      config: the network's shape.
      tokens: `[B, T]` i32.
      positions: `[B, T]` i32.
      attend: writes the layer's new keys and values into the cache and attends over
        it (`rollout.kv_cache` makes one).
      cache: what attend carries from layer to layer.
      layout: the decoding layout, which must split B evenly; None: one device, or wherever the compiler puts things.

    Returns:
      hidden `[B, T, D]` after the last norm, and the cache.
    """
    return _run(params, config, tokens, positions, attend, cache, layout)


def _run(params, config, tokens, positions, attend, cache, layout):
    c = config

    def constrain(x, *axes):
        return x if layout is None else layout.constrain(x, *axes)

    batch, length = tokens.shape
    cos, sin = rope_angles(positions, c.head_dim, c.rope_theta, c.rope_scaling)
    if isinstance(params["layers"], tuple):
        # On a CPU, where XLA would compute them anew in every layer and for every head; out of a product it does not.
        one = jnp.eye(c.head_dim // 2)
        cos, sin = cos @ one, sin @ one
    # Cast when found: what a token learns in all its places is added up in the table's own dtype.
    x = look_up(params["embed"], tokens, layout).astype(c.dtype)

    def layer(carry, scanned):
        x, cache = carry
        weights, index = scanned
        # A copy, of which the program knows nothing, where nothing is cast: jax passes no gradient that is to be added
        # in its place (train/step.py) into a shard_map.
        w = jax.tree.map(lambda p: jnp.copy(p.astype(c.dtype)), weights)
        h = rms_norm(x, w["attention_norm"], c.rms_norm_eps)

        # Separate projections: a fused one, split, aborts XLA:TPU in the backward pass.
        projected = column_parallel(h, (w["q"], w["k"], w["v"]), ("heads", "kv_heads", "kv_heads"), layout)
        q, k, v = (heads.reshape(batch, length, -1, c.head_dim) for heads in projected)
        q = apply_rope(rms_norm(q, w["q_norm"], c.rms_norm_eps), cos, sin) * c.head_dim**-0.5
        k = apply_rope(rms_norm(k, w["k_norm"], c.rms_norm_eps), cos, sin)
        attended, cache = attend(q, k, v, cache, index)
        x = x + row_parallel(attended.reshape(batch, length, -1), w["o"], "heads", layout)
        h = rms_norm(x, w["mlp_norm"], c.rms_norm_eps)
        if c.num_experts:
            experts = (w["router"], w["gate"], w["up"], w["down"])
            out = moe_mlp(h, *experts, top_k=c.num_experts_per_tok, renormalise=c.norm_topk_prob, layout=layout)
        else:
            gate, up = column_parallel(h, (w["gate"], w["up"]), ("mlp", "mlp"), layout)
            out = row_parallel(jax.nn.silu(gate) * up, w["down"], "mlp", layout)
        return (constrain(x + out, "rows", "tokens", None), cache), None

    if isinstance(params["layers"], tuple):
        for index, weights in enumerate(params["layers"]):
            (x, cache), _ = layer((x, cache), (weights, index))
    else:
        scanned = (params["layers"], jnp.arange(c.num_hidden_layers))
        (x, cache), _ = jax.lax.scan(jax.checkpoint(layer, policy=REMAT[c.remat]), (x, cache), scanned)
    return rms_norm(x, params["final_norm"], c.rms_norm_eps), cache
