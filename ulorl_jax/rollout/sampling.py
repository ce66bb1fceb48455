"""Drawing tokens: a function of (seed, sample id, position) and of nothing else.

One uniform number per token is turned into a token by inverting the cumulative
distribution. A Gumbel draw per vocabulary entry would need V random numbers, and
would tie the result to how the vocabulary is split.
"""

import dataclasses

import jax
import jax.numpy as jnp

from ulorl_jax.ops.logprobs import scaled_logits

BLOCK = 512  # the distribution is summed in blocks of this many ids, so only V / BLOCK + BLOCK are scanned


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; hashable, so it can be a static argument.

    Attributes:
      temperature: divides the logits; 0 is greedy. The paper trains at 0.85.
      top_p: keep the smallest set of most likely tokens with at least this probability; 1 keeps all.
      top_k: keep the k most likely tokens; 0 keeps all.
    """

    temperature: float
    top_p: float = 1.0
    top_k: int = 0

    def __post_init__(self):
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.top_k < 0:
            raise ValueError(
                f"sampling wants temperature >= 0, 0 < top_p <= 1 and top_k >= 0; got temperature={self.temperature}, "
                f"top_p={self.top_p}, top_k={self.top_k}"
            )


def draw_tokens(
    hidden: jax.Array,
    head: jax.Array,
    key: jax.Array,
    sample_ids: jax.Array,
    positions: jax.Array,
    sampling: Sampling,
) -> tuple[jax.Array, jax.Array]:
    """Draws one token per slot, with the log-prob of the distribution it was drawn from.

    Args:
      hidden: `[C, D]`, after the last norm.
      head: `[D, V]`.
      key: the run's PRNG key.
      sample_ids: `[C]` i32.
      positions: `[C]` i32, position of the token that is being drawn.
      sampling: temperature, top-p, top-k; log-probs are those after all three, so
        with greedy, a point mass, they are 0.

    Returns:
      tokens `[C]` i32, logp `[C]` f32 in nats.
    """
    if sampling.temperature == 0:
        tokens = jnp.argmax(scaled_logits(hidden, head, 1.0), axis=-1).astype(jnp.int32)
        return tokens, jnp.zeros(tokens.shape, jnp.float32)
    logits = truncate(scaled_logits(hidden, head, sampling.temperature), sampling)
    top = jnp.max(logits, axis=-1, keepdims=True)
    tokens, total = invert_cdf(jnp.exp(logits - top), uniforms(key, sample_ids, positions))
    return tokens, jnp.take_along_axis(logits - top, tokens[:, None], axis=-1)[:, 0] - jnp.log(total)


def uniforms(key: jax.Array, sample_ids: jax.Array, positions: jax.Array) -> jax.Array:
    """One number in [0, 1) per slot, seeded by (key, sample id, position).

    Args:
      key: the run's PRNG key.
      sample_ids: `[C]` i32.
      positions: `[C]` i32.

    Returns:
      `[C]` f32.
    """
    fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    keys = jax.vmap(jax.random.fold_in)(fold(key, sample_ids), positions)
    return jax.vmap(jax.random.uniform)(keys)


def truncate(logits: jax.Array, sampling: Sampling) -> jax.Array:
    """Logits with everything outside top-k, and then outside top-p, at -inf.

    Args:
      logits: `[C, V]` f32, already divided by the temperature.
      sampling: top_k = 0 and top_p = 1 leave them as they are.

    Returns:
      `[C, V]` f32. Ties with the last token kept are kept too.
    """
    top_k, top_p = sampling.top_k, sampling.top_p
    if not top_k and top_p >= 1:
        return logits
    kept = min(top_k, logits.shape[-1]) if top_k else logits.shape[-1]
    return jnp.where(logits >= floor_of(jax.lax.top_k(logits, kept)[0], top_p), logits, -jnp.inf)


def floor_of(ordered: jax.Array, top_p: float) -> jax.Array:
    """The least logit that is kept of the most likely ones.

    Args:
      ordered: `[C, k]` f32, the top k, most likely first.
      top_p: see `Sampling`.

    Returns:
      `[C, 1]` f32.
    """
    if top_p >= 1:  # a rounded sum may reach 1 too early, so 1 is not compared with
        return ordered[:, -1:]
    probs = jax.nn.softmax(ordered, axis=-1)
    inside = jnp.cumsum(probs, axis=-1) - probs < top_p  # what comes before it does not reach top_p yet
    return jnp.min(jnp.where(inside, ordered, jnp.inf), axis=-1, keepdims=True)


def invert_cdf(weights: jax.Array, uniform: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The token whose stretch of the cumulative distribution holds the uniform number.

    Args:
      weights: `[C, V]` f32, of each token, non-negative, not all 0.
      uniform: `[C]` f32 in [0, 1).

    Returns:
      tokens `[C]` i32, never one of weight 0; the sum of all weights `[C]` f32.
    """
    blocks = _blocks(weights)
    sums = jnp.sum(blocks, axis=-1)
    total = jnp.sum(sums, axis=-1)
    return _in_blocks(blocks, sums, uniform * total), total


def find(weights: jax.Array, target: jax.Array) -> jax.Array:
    """The id at which the running sum of weights exceeds the target.

    Args:
      weights: `[C, V]` f32, non-negative.
      target: `[C]` f32.

    Returns:
      `[C]` i32; never an id of weight 0 where there is another.
    """
    blocks = _blocks(weights)
    return _in_blocks(blocks, jnp.sum(blocks, axis=-1), target)


def _blocks(weights):
    slots, vocab = weights.shape
    count = -(-vocab // BLOCK)
    return jnp.pad(weights, ((0, 0), (0, count * BLOCK - vocab))).reshape(slots, count, BLOCK)


def _in_blocks(blocks, sums, target):
    block, rest = search(sums, target)
    token, _ = search(jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0], rest)
    return (block * BLOCK + token).astype(jnp.int32)


def search(weights: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """First index with weight whose running sum exceeds a target.

    Args:
      weights: `[C, n]` f32, non-negative.
      target: `[C]` f32.

    Returns:
      The index `[C]` i32, and the target `[C]` f32 left over for inside it.
    """
    running = jnp.cumsum(weights, axis=-1)
    # Sums are rounded: they may grow across a weight of 0, and the target may lie past the last one.
    # So only an index that has weight can be hit, and where none is hit it is the last of those.
    weighty = weights > 0
    hit = (running > target[:, None]) & weighty
    last = weights.shape[-1] - 1 - jnp.argmax(weighty[:, ::-1], axis=-1)
    index = jnp.where(jnp.any(hit, axis=-1), jnp.argmax(hit, axis=-1), last)
    before = jnp.take_along_axis(running - weights, index[:, None], axis=-1)[:, 0]
    return index, target - before
