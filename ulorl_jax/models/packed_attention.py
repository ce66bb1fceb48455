"""The attention of training and of every other pass over packed rows: one interface, the way chosen by the platform.

  plain    short rows: the scores of a whole row at once
  blocks   long rows, on CPUs and GPUs: no T x T scores, nothing computed between different samples (`block_attention`)
  splash   long rows on a TPU: the same by jax's kernels (`splash_attention`)

On a mesh every device attends with its own queries and heads. Where a row's tokens are split (`Layout.token_order`),
keys and values of the row are gathered first, in one collective.

Of the kernels for GPUs none takes such rows by a public function (jax 0.10.2 and 0.12.0.1, tokamax 0.0.12):
  jax.nn.dot_product_attention, by cuDNN: only a T x T mask tells it of several samples. jax._src.cudnn takes their
    offsets, but no part of a row's queries, and where heads share keys 0.10.2 reads those of other samples
    (https://github.com/jax-ml/jax/pull/39521).
  jax.experimental.pallas.ops.gpu.attention.mha: sample ids, and right, but keys for every head, no part of a row's
    queries, and all pairs below the diagonal are computed; in 0.12 it is deprecated, and so is the backend it needs.
  jax.experimental.pallas.ops.gpu.attention_mgpu: no sample ids.
  tokamax.dot_product_attention: a T x T mask, too. Within it masks may say where each query's keys begin, of which
    its Triton backward pass makes T x T; the one for Hopper does not.
"""

import functools

import jax
import jax.numpy as jnp

from ulorl_jax.mesh import Layout
from ulorl_jax.models.attention import packed_attention
from ulorl_jax.models.block_attention import BLOCK, GPU_BLOCK, block_attention
from ulorl_jax.models.splash_attention import LANES, splash_attention

PLAIN = 256  # tokens of a row up to which its scores are computed at once


def row_tile(platform: str, head_dim: int) -> int:
    """Tokens of which a device must have whole multiples of a row longer than `PLAIN`, or of a part of any row.

    Args:
      platform: of the devices.
      head_dim: d.
    """
    return LANES if platform == "tpu" and head_dim % LANES == 0 else 1


def attend_packed(
    q: jax.Array, k: jax.Array, v: jax.Array, sample_ids: jax.Array, layout: Layout | None = None
) -> jax.Array:
    """Causal attention among the tokens of one sample, several samples in a row.

    Args:
      q: `[B, T, H, d]`, scaled, tokens in the layout's order.
      k, v: `[B, T, K, d]`, in the same order.
      sample_ids: `[B, T]` i32, in the row's own order; tokens with different ids never see each other, 0 is padding.
      layout: where the arrays lie; None: one device.

    Returns:
      `[B, T, H, d]`, tokens in the layout's order.
    """
    # Padding lies at the end: a last sample of its own there keeps ids from falling, see `visible_blocks`.
    sample_ids = jnp.where(sample_ids == 0, jnp.iinfo(jnp.int32).max, sample_ids)
    length, platform = q.shape[1], "cpu" if layout is None else layout.platform
    split = layout is not None and layout.ways("tokens") > 1
    if length <= PLAIN and not split:
        local = lambda q, k, v, index, ids: packed_attention(q, k, v, ids)  # noqa: E731 (one of three)
    elif row_tile(platform, q.shape[-1]) > 1:
        local = splash_attention
    else:
        local = functools.partial(block_attention, block=GPU_BLOCK if platform == "gpu" else BLOCK)
    order = jnp.arange(length, dtype=jnp.int32)
    if layout is None or layout.mesh.size == 1:
        return local(q, k, v, order, sample_ids)
    if split:
        order = jnp.asarray(layout.token_order(length))
        local = functools.partial(_gathered, local, layout.names("tokens"))
    queries, keys = (layout.sharding("rows", "tokens", heads, None).spec for heads in ("heads", "kv_heads"))
    whole, tokens = layout.sharding("rows", None).spec, layout.sharding("tokens").spec
    given = (queries, keys, keys, tokens, whole)
    part = jax.shard_map(local, mesh=layout.mesh, in_specs=given, out_specs=queries, check_vma=False)
    return part(q, k, v, order, sample_ids)


def _gathered(local, names, q, k, v, index, sample_ids):
    # One collective for both: they are small, and two at one time can end in a deadlock on virtual CPU devices. The
    # devices' dim comes first: else XLA:TPU writes the way back, a reduce-scatter, as an all-reduce of the whole.
    rows = len(k)
    kv = jax.lax.all_gather(jnp.concatenate([k, v]), names)  # [2B, t, K, d] -> [n, 2B, t, K, d]
    early, late = jnp.split(kv, 2, axis=2)  # part i holds the chunks i and 2n - 1 - i
    kv = jnp.concatenate([early, jnp.flip(late, axis=0)]).swapaxes(0, 1)
    kv = kv.reshape(2 * rows, -1, *k.shape[2:])
    return local(q, kv[:rows], kv[rows:], index, sample_ids)
