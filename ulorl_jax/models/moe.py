"""Mixture of experts: each token goes to its top k of E experts, computed by `ragged_dot`."""

import functools

import jax
import jax.numpy as jnp

from ulorl_jax.mesh import Layout, gather, sum_scattered
from ulorl_jax.models.owned_experts import ask_experts
from ulorl_jax.models.visited_experts import visit_experts


def route(x: jax.Array, router: jax.Array, top_k: int, renormalise: bool) -> tuple[jax.Array, jax.Array]:
    """Which experts a token visits, and with what weight.

    Softmax over ALL experts in fp32, then the top k (Qwen3's order); optionally the
    k weights are rescaled to sum to 1.

    Args:
      x: `[N, D]`.
      router: `[D, E]`.
      top_k: experts per token.
      renormalise: rescale the chosen weights to sum to 1.

    Returns:
      weights `[N, k]` f32, experts `[N, k]` i32.
    """
    logits = jnp.dot(x, router, preferred_element_type=jnp.float32)
    weights, experts = jax.lax.top_k(jax.nn.softmax(logits, axis=-1), top_k)
    if renormalise:
        weights = weights / jnp.sum(weights, axis=-1, keepdims=True)
    return weights, experts


def moe_mlp(
    x: jax.Array,
    router: jax.Array,
    gate: jax.Array,
    up: jax.Array,
    down: jax.Array,
    *,
    top_k: int,
    renormalise: bool,
    layout: Layout | None = None,
) -> jax.Array:
    """SwiGLU experts without dropping: tokens are sorted by expert, three ragged products, sorted back.

    With a layout every device computes its part of every expert's width. Where the layout splits experts (decoding, and
    training with a mesh axis expert), tokens go to them: every device gathers the tokens of all that share the experts,
    computes what its own say of them, and what all say is added up. Where it does not, a device sorts its own tokens
    and gathers the experts' weights.

    Args:
      x: `[B, T, D]`; B in decoding, T in training is split over the mesh axes that experts are split over, and perhaps
        over more.
      router: `[D, E]`.
      gate, up: `[E, D, F]`.
      down: `[E, F, D]`.
      top_k, renormalise: see `route`.
      layout: where everything lies; None: on one device, or wherever the compiler puts it.

    Returns:
      `[B, T, D]` in x's dtype.
    """
    local = functools.partial(_local, top_k=top_k, renormalise=renormalise)
    if layout is None or layout.mesh.size == 1:
        return local(x, router, gate, up, down).astype(x.dtype)
    shard, width, owners = layout.names("embed"), layout.names("mlp"), layout.names("experts")
    others = tuple(name for name in shard if name not in owners)  # what owners' weights are split over

    def part(x, router, gate, up, down):
        router, gate = gather(router, shard, 0), gather(gate, others, 1)
        up, down = gather(up, others, 1), gather(down, others, 2)
        if layout.ways("experts") == 1:
            out = local(x, router, gate, up, down)
        elif layout.phase == "training":
            flat = x.reshape(-1, x.shape[-1])
            weights, experts = route(flat, router, top_k, renormalise)
            tokens, weights, experts = (gather(mine, owners, 0) for mine in (flat, weights, experts))
            out = visit_experts(tokens, weights, experts, gate, up, down, owners, router.shape[1])
            out = sum_scattered(out, owners, 0).reshape(x.shape)
        else:
            tokens = gather(x, owners, 0)
            routed = route(tokens.reshape(-1, x.shape[-1]), router, top_k, renormalise)
            out = ask_experts(tokens, *routed, gate, up, down, owners, router.shape[1])
            out = sum_scattered(out, owners, 0)
        out = out.astype(x.dtype)
        return jax.lax.psum(out, width) if width else out

    tokens = layout.sharding("rows", "tokens", None).spec
    inward, outward = (layout.sharding("experts", *axes).spec for axes in (("embed", "mlp"), ("mlp", "embed")))
    given = (tokens, layout.sharding("embed", None).spec, inward, inward, outward)
    return jax.shard_map(part, mesh=layout.mesh, in_specs=given, out_specs=tokens, check_vma=False)(
        x, router, gate, up, down
    )


def _local(x, router, gate, up, down, *, top_k, renormalise):
    """What the experts say of all tokens, in float32."""
    flat = x.reshape(-1, x.shape[-1])
    weights, experts = route(flat, router, top_k, renormalise)
    order = jnp.argsort(experts.reshape(-1), stable=True)
    sizes = jnp.bincount(experts.reshape(-1), length=gate.shape[0]).astype(jnp.int32)
    inverse = jnp.argsort(order, stable=True)
    visits = _visits(flat, order, inverse)
    # Each barrier says for the backward pass that what one of the three learns is there, and can be on its way to its
    # owners, before the next one's is begun. All three together are gigabytes.
    opened, up = jax.lax.optimization_barrier((jax.lax.ragged_dot(visits, gate, sizes), up))
    hidden = jax.nn.silu(opened) * jax.lax.ragged_dot(visits, up, sizes)
    hidden, down = jax.lax.optimization_barrier((hidden, down))
    out = jax.lax.ragged_dot(hidden, down, sizes)
    out = _permuted(out, inverse, order).reshape(*experts.shape, -1)
    return jnp.einsum("nkd,nk->nd", out, weights, preferred_element_type=jnp.float32).reshape(x.shape)


# Both ways, forward and backward, are gathers: a scatter-add is slow on TPUs, and sums in no fixed order.


@jax.custom_vjp
def _visits(flat, order, inverse):
    """[N, D] -> [N * k, D]: each token k times, sorted by expert."""
    return flat[order // (len(order) // len(flat))]


def _visits_backward(saved, g):
    inverse, tokens = saved
    together = g[inverse].reshape(tokens, -1, g.shape[-1])
    return jnp.sum(together, axis=1, dtype=jnp.float32).astype(g.dtype), None, None


_visits.defvjp(lambda flat, order, inverse: (_visits(flat, order, inverse), (inverse, len(flat))), _visits_backward)


@jax.custom_vjp
def _permuted(x, order, inverse):
    """x[order]; order and inverse are permutations, each the inverse of the other."""
    return x[order]


_permuted.defvjp(lambda x, order, inverse: (x[order], inverse), lambda inverse, g: (g[inverse], None, None))
