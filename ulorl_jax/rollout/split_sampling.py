"""Drawing tokens where the mesh splits the vocabulary: hidden states travel, logits never do.

The devices that share a vocabulary gather the hidden states of their slots, D numbers each; every device has the
logits of its own ids for all of them. The cumulative distribution is inverted in one level more than on one device:
first among the parts, by the sum of each, then within the part that holds the draw.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ulorl_jax.mesh import Layout
from ulorl_jax.ops.logprobs import scaled_logits
from ulorl_jax.rollout import sampling as whole
from ulorl_jax.rollout.sampling import Sampling


def draw_tokens(
    hidden: jax.Array,
    head: jax.Array,
    key: jax.Array,
    sample_ids: jax.Array,
    positions: jax.Array,
    sampling: Sampling,
    layout: Layout,
) -> tuple[jax.Array, jax.Array]:
    """`sampling.draw_tokens` on a mesh: the same tokens but for the rounding of sums.

    Args:
      hidden: `[C, D]`, split as slots are.
      head: `[D, V]`, split over V as the vocabulary is.
      key, sample_ids, positions, sampling: as there.
      layout: the decoding layout.

    Returns:
      tokens `[C]` i32, logp `[C]` f32 in nats, split as slots are.
    """
    names, shared = layout.names("vocab"), layout.shared("vocab")  # rows are split as slots are
    if layout.ways("vocab") == 1:
        return whole.draw_tokens(hidden, head, key, sample_ids, positions, sampling)

    def part(hidden, head, numbers):
        own = len(numbers)
        if shared:
            hidden, numbers = (jax.lax.all_gather(x, shared, tiled=True) for x in (hidden, numbers))
        logits = scaled_logits(hidden, head, sampling.temperature or 1.0)
        tokens, logp = _draw(logits, numbers, sampling, names)
        first = jax.lax.axis_index(shared) * own if shared else 0
        return jax.lax.dynamic_slice_in_dim(tokens, first, own), jax.lax.dynamic_slice_in_dim(logp, first, own)

    rows, slots = layout.sharding("slots", None).spec, layout.sharding("slots").spec
    given = rows, layout.sharding(None, "vocab").spec, slots
    drawing = jax.shard_map(part, mesh=layout.mesh, in_specs=given, out_specs=(slots, slots), check_vma=False)
    return drawing(hidden, head, whole.uniforms(key, sample_ids, positions))


def _draw(logits, numbers, sampling, names):
    """Tokens and log-probs of all slots of the group, on every device of it, from the logits of its own ids."""
    here, held = jax.lax.axis_index(names), logits.shape[1]

    def of_each(x):
        return jax.lax.all_gather(x, names, axis=1)

    def of_part(part, x):
        return jax.lax.psum(jnp.where(part == here, x, 0), names)

    if sampling.temperature == 0:
        token = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        part = jnp.argmax(of_each(jnp.max(logits, axis=-1)), axis=-1)
        return of_part(part, here * held + token), jnp.zeros(token.shape, jnp.float32)
    logits = _truncate(logits, sampling, names)
    norms = of_each(jax.nn.logsumexp(logits, axis=-1))
    log_norm = jax.nn.logsumexp(norms, axis=-1)
    shares = jnp.exp(norms - log_norm[:, None])
    part, rest = whole.search(shares, numbers * jnp.sum(shares, axis=-1))
    token = whole.find(jnp.exp(logits - log_norm[:, None]), rest)
    logp = jnp.take_along_axis(logits, token[:, None], axis=-1)[:, 0] - log_norm
    return of_part(part, here * held + token), of_part(part, logp)


def _truncate(logits, sampling, names):
    """`sampling.truncate`: only what could be among the top k travels; for top-p alone, sums do."""
    vocab = logits.shape[1] * jax.lax.axis_size(names)
    if 0 < sampling.top_k < vocab:
        own = jax.lax.top_k(logits, min(sampling.top_k, logits.shape[1]))[0]
        ordered = jax.lax.top_k(jax.lax.all_gather(own, names, axis=1, tiled=True), sampling.top_k)[0]
        return jnp.where(logits >= whole.floor_of(ordered, sampling.top_p), logits, -jnp.inf)
    if sampling.top_p < 1:
        return jnp.where(logits >= _floor(logits, sampling.top_p, names)[:, None], logits, -jnp.inf)
    return logits


def _floor(logits, top_p, names):
    """The least logit with less than top_p above it: bisected over the 2^32 numbers that it could be.

    What is above a number changes at the logits and nowhere else, so the least such number is one of them.
    """
    low, high = jax.lax.pmin(jnp.min(logits, axis=-1), names), jax.lax.pmax(jnp.max(logits, axis=-1), names)
    weights = jnp.exp(logits - high[:, None])
    enough = top_p * jax.lax.psum(jnp.sum(weights, axis=-1), names)

    def halve(_, ends):
        low, high = ends
        middle = (low & high) + ((low ^ high) >> 1)  # a sum could overflow
        above = jnp.where(logits > _float_of(middle)[:, None], weights, 0)
        fits = jax.lax.psum(jnp.sum(above, axis=-1), names) < enough
        return jnp.where(fits, low, middle + 1), jnp.where(fits, middle, high)

    return _float_of(jax.lax.fori_loop(0, 32, halve, (_order_of(low), _order_of(high)))[1])


def _order_of(x):
    """Integers in the order of the numbers."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def _float_of(order):
    return jax.lax.bitcast_convert_type(order ^ ((order >> 31) & 0x7FFFFFFF), jnp.float32)
