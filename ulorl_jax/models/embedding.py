"""Looking up embeddings, whole or split over the mesh."""

import jax
import jax.numpy as jnp

from ulorl_jax.mesh import Layout, gather, sum_scattered


def look_up(table: jax.Array, tokens: jax.Array, layout: Layout | None) -> jax.Array:
    """The rows of tokens.

    The table stays where it is, and is never whole. Where its columns are split (training), every device looks up its
    own columns of all tokens, and gives each device its tokens' rows. Where ids are split over mesh axes that tokens
    are split over too (decoding), tokens go to the ids' owners, and the rows found come back.

    Args:
      table: `[V, D]`.
      tokens: `[B, T]` i32.
      layout: where everything lies; None: on one device, or wherever the compiler puts it.

    Returns:
      `[B, T, D]` in the table's dtype, split as rows and tokens are.
    """
    if layout is None or layout.mesh.size == 1:
        return table[tokens]
    ids, columns, shared = layout.names("vocab"), layout.names("embed"), layout.shared("vocab")

    def part(table, tokens):
        at = gather(gather(tokens, shared, 0)[None], columns, 0) - jax.lax.axis_index(ids) * len(table)
        mine = (at >= 0) & (at < len(table))
        found = jnp.where(mine[..., None], table[jnp.where(mine, at, 0)], 0)  # [devices, B, T, D / devices]
        if columns:
            found = jax.lax.all_to_all(found, columns, split_axis=0, concat_axis=3, tiled=True)
        found = sum_scattered(found[0], shared, 0)
        others = tuple(name for name in ids if name not in shared)
        return jax.lax.psum(found, others) if others else found

    given = layout.sharding("vocab", "embed").spec, layout.sharding("rows", "tokens").spec
    made = layout.sharding("rows", "tokens", None).spec
    return jax.shard_map(part, mesh=layout.mesh, in_specs=given, out_specs=made, check_vma=False)(table, tokens)
