"""Experts that a device owns, visited by the tokens of its group: training's side of `owned_experts`, with gradients.

What a device receives for a layer with E experts of width F when all devices gather all weights: 3 E D F numbers, three
times: forward, in the backward pass again, and what the weights learn on its way back. Where n owners share the experts
it is 3 E D F / n, and tokens go to the owners. With N tokens on each device these are (n - 1) N D numbers, five times:
they come and what is said goes back, they come again in the backward pass, and what both learn goes the ways back. Top
8 of 128 experts that have 4 owners means that 90% of the tokens visit any one owner. So all tokens go to all owners of
a group: it needs no capacity, and nothing can be dropped.
"""

import functools

import jax
import jax.numpy as jnp

from ulorl_jax.models.owned_experts import block_size, own_visits

LARGEST = 512  # visits of a block; half of an expert's last one is empty: 12% of a fair share of 2,176


def visit_experts(
    tokens: jax.Array,
    weights: jax.Array,
    experts: jax.Array,
    gate: jax.Array,
    up: jax.Array,
    down: jax.Array,
    owners: tuple[str, ...],
    count: int,
) -> jax.Array:
    """What a device's own experts say of all tokens of its group. Inside shard_map.

    Visits are sorted by expert and computed in blocks, each of one expert. There are as many blocks as the visits take:
    a device that all tokens visit computes n times its fair share, one that none visits nothing. What experts say of
    visits, and what visits learn, has room for all of them; weights and the rest do not grow with the imbalance.

    Args:
      tokens: `[N, D]`, of all n devices of the group, those of each device together.
      weights: `[N, k]` f32, of the experts that each token visits.
      experts: `[N, k]` i32.
      gate, up: `[E / n, D, F]`, the device's own.
      down: `[E / n, F, D]`.
      owners: the mesh axes that experts are split over, n ways.
      count: E.

    Returns:
      `[N, D]` in the tokens' dtype; 0 for a token that visits none of them.
    """
    order, sizes = own_visits(experts, gate.shape[0], owners)
    place = jnp.argsort(order).reshape(experts.shape)
    block = block_size(experts, count, LARGEST)
    # A block may reach beyond its expert's visits, and the last one beyond all.
    visits = (jnp.pad(order, (0, block)), place, sizes)
    return _said(count // gate.shape[0], block, tokens, weights, gate, up, down, visits)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _said(parts, block, tokens, weights, gate, up, down, visits):
    order, place, sizes = visits

    def expert(said, given):
        *matrices, first, size = given

        def compute(i, said):
            at = first + i * block
            visit = jax.lax.dynamic_slice_in_dim(order, at, block)
            answer = _answer(tokens[visit // place.shape[1]], weights.reshape(-1)[visit], *matrices)
            # What it says of the next expert's visits is written over: experts come in the order of their visits.
            return jax.lax.dynamic_update_slice_in_dim(said, answer, at, 0)

        return jax.lax.fori_loop(0, -(-size // block), compute, said), None

    room = jnp.zeros((len(order), tokens.shape[1]), tokens.dtype)
    said, _ = jax.lax.scan(expert, room, (gate, up, down, jnp.cumsum(sizes) - sizes, sizes))
    return _together(said, place, sizes, parts)


def _forward(parts, block, tokens, weights, gate, up, down, visits):
    return _said(parts, block, tokens, weights, gate, up, down, visits), (tokens, weights, gate, up, down, visits)


def _backward(parts, block, saved, g):
    tokens, weights, *matrices, (order, place, sizes) = saved

    def expert(learned, given):
        *matrices, first, size = given

        def compute(i, carry):
            by_matrices, (by_tokens, by_weights) = carry
            at = first + i * block
            visit = jax.lax.dynamic_slice_in_dim(order, at, block)
            token, real = visit // place.shape[1], i * block + jnp.arange(block) < size
            _, pull = jax.vjp(_answer, tokens[token], weights.reshape(-1)[visit], *matrices)
            by_token, by_weight, *more = pull(jnp.where(real[:, None], g[token], 0))
            by_matrices = [a + b.astype(jnp.float32) for a, b in zip(by_matrices, more, strict=True)]
            by_tokens = jax.lax.dynamic_update_slice_in_dim(by_tokens, by_token, at, 0)
            return by_matrices, (by_tokens, jax.lax.dynamic_update_slice_in_dim(by_weights, by_weight, at, 0))

        start = [jnp.zeros(w.shape, jnp.float32) for w in matrices]
        by_matrices, learned = jax.lax.fori_loop(0, -(-size // block), compute, (start, learned))
        return learned, [a.astype(w.dtype) for a, w in zip(by_matrices, matrices, strict=True)]

    room = jnp.zeros((len(order), tokens.shape[1]), tokens.dtype), jnp.zeros(len(order), weights.dtype)
    given = (*matrices, jnp.cumsum(sizes) - sizes, sizes)
    (by_tokens, by_weights), by_matrices = jax.lax.scan(expert, room, given)
    by_weights = jnp.where(place < jnp.sum(sizes), by_weights[place], 0)
    return _together(by_tokens, place, sizes, parts), by_weights, *by_matrices, None


_said.defvjp(_forward, _backward)


def _answer(visitors, weights, gate, up, down):
    """What one expert says of a block of visitors. Their weights come before the last product: so what a weight learns
    does not take that product again."""
    hidden = jax.nn.silu(visitors @ gate) * (visitors @ up)
    return (hidden * weights[:, None]).astype(visitors.dtype) @ down


def _together(by_visit, place, sizes, parts):
    """The sum over each token's visits of those that are of the device's own experts; they were sorted first.

    A gather, as in `moe`: a scatter-add is slow on TPUs. One device's tokens at a time.
    """

    def add(place):
        own = place < jnp.sum(sizes)
        return jnp.sum(jnp.where(own[..., None], by_visit[place], 0), axis=1, dtype=jnp.float32).astype(by_visit.dtype)

    together = jax.lax.map(add, place.reshape(parts, -1, place.shape[1]))
    return together.reshape(-1, by_visit.shape[1])
