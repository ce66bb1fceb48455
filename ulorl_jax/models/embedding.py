"""Looking up embeddings, whole or split over the mesh."""

import jax
import jax.numpy as jnp

from ulorl_jax.mesh import Layout


def look_up(table: jax.Array, tokens: jax.Array, layout: Layout | None) -> jax.Array:
    """The rows of tokens.

    Where ids are split over mesh axes that tokens are split over too (decoding), tokens go to the ids' owners, and the
    rows found come back: the table stays where it is.

    Args:
      table: `[V, D]`.
      tokens: `[B, T]` i32.
      layout: where everything lies; None: on one device, or wherever the compiler puts it.

    Returns:
      `[B, T, D]` in the table's dtype.
    """
    if layout is None or not (shared := layout.shared("vocab")):
        # The table is gathered over fsdp once, as the layers' weights are: rows are then looked up in place.
        return (table if layout is None else layout.constrain(table, "vocab", None))[tokens]

    names = layout.names("vocab")

    def part(table, tokens):
        at = jax.lax.all_gather(tokens, shared, tiled=True) - jax.lax.axis_index(names) * len(table)
        mine = (at >= 0) & (at < len(table))
        found = jnp.where(mine[..., None], table[jnp.where(mine, at, 0)], 0)
        found = jax.lax.psum_scatter(found, shared, scatter_dimension=0, tiled=True)
        others = tuple(name for name in names if name not in shared)
        return jax.lax.psum(found, others) if others else found

    rows = layout.sharding("rows", None).spec
    given, made = (layout.sharding("vocab", None).spec, rows), layout.sharding("rows", None, None).spec
    return jax.shard_map(part, mesh=layout.mesh, in_specs=given, out_specs=made, check_vma=False)(table, tokens)
