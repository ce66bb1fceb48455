"""A linear map whose weight gradient is written the cheap way round.

Autodiff writes the gradient of x @ w as (g^T x)^T. XLA's CPU backend then copies the transposed
cotangent of every map to memory; x^T g copies the input, once for all maps that read it. One update
of a small transformer on CPU takes half the time (benchmarks/linear.py). Other backends choose
their own layouts and run either at the same cost.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout as ArrayLayout
from jax.experimental.layout import with_layout_constraint

from ulorl_jax.mesh import Layout, gather


@jax.custom_vjp
def linear(x: jax.Array, w: jax.Array) -> jax.Array:
    """x @ w.

    Args:
      x: `[B, T, D]`.
      w: `[D, F]`, of the same dtype.

    Returns:
      `[B, T, F]`.
    """
    return x @ w


def _forward(x, w):
    return x @ w, (x, w)


def _backward(saved, g):
    x, w = saved
    return g @ w.T, jax.lax.dot_general(x, g, (((0, 1), (0, 1)), ((), ())))


linear.defvjp(_forward, _backward)


def column_parallel(
    x: jax.Array, weights: Sequence[jax.Array], axes: Sequence[str], layout: Layout | None
) -> tuple[jax.Array, ...]:
    """x @ w for every w of weights, whose columns may be split over the mesh.

    In training every device gathers the rows of its own columns, and what they learn is added up and split again: left
    to itself, XLA gathers the tokens of all devices instead. In decoding weights stay where they are: where columns are
    split over mesh axes that rows are split over too, the rows go to the columns, and what each of these says of them
    comes back.

    Args:
      x: `[B, T, D]`.
      weights: each `[D, F]`, of the same dtype.
      axes: the logical axis of each one's F.
      layout: where everything lies; None: on one device, or wherever the compiler puts it.

    Returns:
      `[B, T, F]` of each, F split as the layout does where B is.
    """
    if layout is None:
        return tuple(linear(x, w) for w in weights)
    if layout.phase == "decoding":
        return tuple(_rows_to_columns(x, w, axis, layout) for w, axis in zip(weights, axes, strict=True))
    if layout.mesh.size == 1:
        return tuple(linear(x, w) for w in weights)

    def part(x, *weights):
        return tuple(linear(x, gather(w, layout.names("embed"), 0)) for w in weights)

    given = layout.sharding("rows", "tokens", None).spec, *(layout.sharding("embed", axis).spec for axis in axes)
    made = tuple(layout.sharding("rows", "tokens", axis).spec for axis in axes)
    return jax.shard_map(part, mesh=layout.mesh, in_specs=given, out_specs=made, check_vma=False)(x, *weights)


def _rows_to_columns(x, w, axis, layout):
    shared, on_tpu = layout.shared(axis), layout.platform == "tpu"
    if not shared and not on_tpu:
        return linear(x, w)

    def part(x, w):
        out = linear(jax.lax.all_gather(x, shared, tiled=True) if shared else x, w)
        # Else XLA:TPU, to save turning a few tokens around, would turn around a copy of all layers' weights.
        out = with_layout_constraint(out, ArrayLayout((0, 1, 2))) if on_tpu else out
        return jax.lax.all_to_all(out, shared, split_axis=0, concat_axis=2, tiled=True) if shared else out

    given = layout.sharding("rows", None, None).spec, layout.sharding(None, axis).spec
    made = layout.sharding("rows", None, axis).spec
    return jax.shard_map(part, mesh=layout.mesh, in_specs=given, out_specs=made, check_vma=False)(x, w)


def row_parallel(x: jax.Array, w: jax.Array, axis: str, layout: Layout | None) -> jax.Array:
    """x @ w where what is summed over may be split over the mesh: the way back from `column_parallel`.

    Args:
      x: `[B, T, F]`, F split as the layout does where B is.
      w: `[F, D]`, of the same dtype.
      axis: the logical axis of F.
      layout: see `column_parallel`.

    Returns:
      `[B, T, D]`.
    """
    if layout is None or layout.mesh.size == 1:
        return linear(x, w)
    if layout.phase == "decoding":
        return _columns_to_rows(x, w, axis, layout)

    def part(x, w):
        out = linear(x, gather(w, layout.names("embed"), 1))
        return jax.lax.psum(out, layout.names(axis)) if layout.ways(axis) > 1 else out

    given = layout.sharding("rows", "tokens", axis).spec, layout.sharding(axis, "embed").spec
    made = layout.sharding("rows", "tokens", None).spec
    return jax.shard_map(part, mesh=layout.mesh, in_specs=given, out_specs=made, check_vma=False)(x, w)


def _columns_to_rows(x, w, axis, layout):
    if not (shared := layout.shared(axis)):
        return linear(x, w)
    others = tuple(name for name in layout.names(axis) if name not in shared)

    def part(x, w):
        x = jax.lax.all_to_all(x, shared, split_axis=2, concat_axis=0, tiled=True)
        out = jnp.matmul(x, w, preferred_element_type=jnp.float32)
        out = jax.lax.psum_scatter(out, shared, scatter_dimension=0, tiled=True)
        return (jax.lax.psum(out, others) if others else out).astype(x.dtype)

    rows = layout.sharding("rows", None, None).spec
    given = layout.sharding("rows", None, axis).spec, layout.sharding(axis, None).spec
    return jax.shard_map(part, mesh=layout.mesh, in_specs=given, out_specs=rows, check_vma=False)(x, w)
