"""Causal attention over packed rows on a TPU: jax's splash kernels, told at run time which block pairs to leave out.

Their own mask objects are made on the host, of a mask that is known when the program compiles: it takes minutes at
128k and cannot know where samples begin. But the kernels read nothing of a mask except small tables, one entry for each
pair of blocks. Those are computed here from the row's sample ids, so pairs of different samples cost nothing.
"""

from typing import Any

import jax
import jax.numpy as jnp

from ulorl_jax.models.block_attention import RESIDUAL, visible_blocks

LANES = 128  # of a TPU; blocks and heads are multiples of it
BLOCK, COMPUTED = 1024, 512  # tokens of a block in memory, and those of its keys that are computed at a time


def splash_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, index: jax.Array, sample_ids: jax.Array, *, interpret: bool = False
) -> jax.Array:
    """Causal attention among the tokens of one sample.

    Args:
      q: `[B, t, H, d]`, scaled: all queries of the rows, or some.
      k, v: `[B, T, K, d]`, of whole rows in their own order; d is a multiple of `LANES`.
      index: `[t]` i32, place of each query in its row.
      sample_ids: `[B, T]` i32; tokens with different ids never see each other.
      interpret: run the kernels without a TPU, slowly.

    Returns:
      `[B, t, H, d]`.

    Raises:
      ValueError: t or T is no multiple of `LANES`.
    """
    # Row by row: the tables steer the kernel, so rows cannot share one call.
    rows = [_row(*row, index, interpret) for row in zip(q, k, v, sample_ids, strict=True)]
    return jnp.stack(rows)


def _row(q, k, v, ids, index, interpret):
    # Imported here: it takes half a second, on every platform.
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention.splash_attention_mask_info import MaskInfo

    q_block, kv_block = _block(len(q)), _block(len(k))
    q_ids = ids[index]
    live, full = visible_blocks(index, q_ids, ids, q_block, kv_block)
    # 0: left out, 1: the causal mask is computed, 2: there is nothing to mask. Sample ids are compared in either.
    kind = jnp.where(live, 1 + full.astype(jnp.int8), 0).astype(jnp.int8)[None]

    def table(following):
        return MaskInfo(
            data_next=following[None],
            mask_next=None,
            block_mask=kind,
            partial_mask_blocks=None,
            q_sequence=index.astype(jnp.int32),
        )

    by_row, by_column = _next_live(live), _next_live(live.T).T
    computed = min(kv_block, COMPUTED)
    kernel = splash.SplashAttentionKernel(
        table(by_row),
        table(by_row),
        table(by_column),
        # The backward pass as two kernels: as one it takes 21 GiB of temporaries at 128k.
        block_sizes=splash.BlockSizes(
            block_q=q_block,
            block_kv=kv_block,
            block_kv_compute=computed,
            block_q_dkv=q_block,
            block_kv_dkv=kv_block,
            block_kv_dkv_compute=computed,
            block_q_dq=q_block,
            block_kv_dq=kv_block,
        ),
        is_mqa=False,
        save_residuals=False,
        mask_value=splash.DEFAULT_MASK_VALUE,
        attn_logits_soft_cap=None,
        residual_checkpoint_name=RESIDUAL,
        mask_function=_causal,
        interpret=interpret,
    )
    out: Any = kernel(q.swapaxes(0, 1), k.swapaxes(0, 1), v.swapaxes(0, 1), splash.SegmentIds(q_ids, ids))
    return out.swapaxes(0, 1)


def _next_live(live):
    """Of each pair, in the kernel's order, the column of the next live one: that block is fetched ahead."""
    flat = live.reshape(-1)
    places = jnp.where(flat, jnp.arange(flat.size, dtype=jnp.int32), flat.size)
    following = jax.lax.cummin(places, reverse=True)
    # After the last there is none, and any will do.
    return (jnp.where(following == flat.size, 0, following) % live.shape[1]).reshape(live.shape)


def _block(length):
    block = BLOCK
    while length % block:
        block //= 2
    if block < LANES:
        raise ValueError(
            f"{length} tokens of a row on one TPU cannot be cut into blocks of {LANES} or more; make the row length a "
            f"multiple of {LANES}, or of {2 * LANES} x mesh.context x mesh.expert where tokens are split"
        )
    return block


def _causal(q, k):
    return q >= k
