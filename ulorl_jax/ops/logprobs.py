"""Log-probabilities and entropies of tokens, in chunks over time.

The only file where T meets V, and it owns two conventions: the shift by one
(index t speaks of token t, which the hidden state before it predicts) and the
temperature (every log-prob and entropy is of softmax(logits / temperature)).

Floor, per token: 2*D*V FLOPs forward, 6*D*V more backward (the logits again, dh,
dW). Memory above the inputs: one `[B, chunk_size, V]` block (three on a CPU) and dW,
whatever T is.
"""

import jax
import jax.numpy as jnp

# A Python float, or a traced scalar when one compiled program serves several.
Temperature = float | jax.Array


def scaled_logits(hidden: jax.Array, head: jax.Array, temperature: Temperature) -> jax.Array:
    """Logits / temperature in fp32: the one place where a temperature is applied.

    The sampler (`rollout.sampling`) and the trainer both call it, so what is
    trained is the distribution that was sampled.

    Args:
      hidden: `[..., D]`, after the last norm.
      head: `[D, V]`.
      temperature: > 0.

    Returns:
      `[..., V]` f32.

    Example:
      >>> import jax.numpy as jnp
      >>> scaled_logits(jnp.array([2.0]), jnp.array([[1.0, -1.0]]), 0.5).tolist()
      [4.0, -4.0]
    """
    return jnp.matmul(hidden, head.astype(hidden.dtype), preferred_element_type=jnp.float32) / temperature


def token_logprobs(
    hidden: jax.Array,
    head: jax.Array,
    tokens: jax.Array,
    *,
    temperature: Temperature = 1.0,
    chunk_size: int = 1024,
    entropy_grad: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """log p(token) and entropy of the distribution it was drawn from, never a [T, V] array.

        z = hidden[t-1] @ head / temperature
        logp[t] = z[tokens[t]] - logsumexp(z);  entropy[t] = -sum_v p_v log p_v

    Token 0 of a row has no predictor: its values are 0. In a packed row the first
    token of each later sample is predicted by its neighbour: mask it (it is a prompt's).
    A token whose log-prob receives no gradient passes none on, even if its hidden
    state is NaN: padding stays inert.

    Args:
      hidden: `[B, T, D]`, the transformer's output after the last norm.
      head: `[D, V]`.
      tokens: `[B, T]` i32 in [0, V).
      temperature: > 0, the sampler's.
      chunk_size: tokens per row whose logits exist at one time, >= 1.
      entropy_grad: True lets gradients flow through the entropy (an entropy bonus
        or penalty); otherwise it is under stop_gradient.

    Returns:
      logp `[B, T]` f32 in nats, entropy `[B, T]` f32 in nats.

    Raises:
      ValueError: shapes do not fit, or chunk_size < 1.

    Example:
      >>> import jax.numpy as jnp
      >>> hidden, head = jnp.zeros((1, 3, 2)), jnp.zeros((2, 4))  # uniform over 4
      >>> logp, entropy = token_logprobs(hidden, head, jnp.array([[3, 1, 2]]), chunk_size=2)
      >>> [round(x, 4) for x in logp[0].tolist()], [round(x, 4) for x in entropy[0].tolist()]
      ([0.0, -1.3863, -1.3863], [0.0, 1.3863, 1.3863])

    Reference: paper; equations (7), (9) and (10) all read these two.
    """
    if hidden.shape[:2] != tokens.shape or hidden.shape[2] != head.shape[0]:
        raise ValueError(
            f"want hidden [B, T, D], head [D, V], tokens [B, T]; got hidden {hidden.shape}, "
            f"head {head.shape}, tokens {tokens.shape}"
        )
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")
    if tokens.shape[1] < 2:
        return jnp.zeros(tokens.shape, jnp.float32), jnp.zeros(tokens.shape, jnp.float32)
    logp, entropy = target_logprobs(hidden[:, :-1], head, tokens[:, 1:], temperature=temperature, chunk_size=chunk_size)
    logp, entropy = (jnp.pad(x, ((0, 0), (1, 0))) for x in (logp, entropy))
    return logp, entropy if entropy_grad else jax.lax.stop_gradient(entropy)


def target_logprobs(
    hidden: jax.Array, head: jax.Array, targets: jax.Array, *, temperature: Temperature, chunk_size: int
) -> tuple[jax.Array, jax.Array]:
    """The same without the shift: each hidden state beside the token that it is to predict, in any order.

    Args:
      hidden: `[B, T, D]`, T >= 1.
      head: `[D, V]`.
      targets: `[B, T]` i32 in [0, V).
      temperature, chunk_size: see `token_logprobs`.

    Returns:
      logp `[B, T]` f32 of the targets, entropy `[B, T]` f32, both in nats.

    Example:
      >>> import jax.numpy as jnp
      >>> hidden, head = jnp.zeros((1, 1, 2)), jnp.zeros((2, 4))  # uniform over 4
      >>> logp, entropy = target_logprobs(hidden, head, jnp.array([[3]]), temperature=1.0, chunk_size=8)
      >>> round(float(logp[0, 0]), 4), round(float(entropy[0, 0]), 4)
      (-1.3863, 1.3863)
    """
    batch, count, _ = hidden.shape
    size = min(chunk_size, count)
    num_chunks = -(-count // size)
    pad = num_chunks * size - count

    def to_chunks(x):
        x = jnp.pad(x, ((0, 0), (0, pad)) + ((0, 0),) * (x.ndim - 2))
        return x.reshape(batch, num_chunks, size, *x.shape[2:]).swapaxes(0, 1)

    logp, entropy = _chunked_logprobs(
        to_chunks(hidden), head, to_chunks(targets), jnp.asarray(temperature, jnp.float32)
    )

    def from_chunks(x):
        return x.swapaxes(0, 1).reshape(batch, num_chunks * size)[:, :count]

    return from_chunks(logp), from_chunks(entropy)


@jax.custom_vjp
def _chunked_logprobs(hidden, head, targets, temperature):
    """hidden [n, B, c, D], targets [n, B, c] -> logp, entropy [n, B, c]."""
    return _forward(hidden, head, targets, temperature)[0]


def _forward(hidden, head, targets, temperature):
    def chunk(h_and_target):
        h, target = h_and_target
        z = scaled_logits(h, head, temperature)
        chosen = jnp.take_along_axis(z, target[..., None], axis=-1)[..., 0]
        lse, entropy = jax.lax.platform_dependent(z, cpu=_one_exponential, default=_two_exponentials)
        return jnp.minimum(chosen - lse, 0.0), entropy, lse  # rounding may put it above 0

    logp, entropy, lse = jax.lax.map(chunk, (hidden, targets))
    return (logp, entropy), (hidden, head, targets, temperature, entropy, lse)


def _two_exponentials(z):
    """Log of the sum and entropy, [B, c] each: nothing of z's size is written."""
    lse = jax.nn.logsumexp(z, axis=-1)
    log_p = jnp.minimum(z - lse[..., None], 0.0)  # rounding may put it above 0, and the entropy below
    return lse, -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)


def _one_exponential(z):
    """The same through a product: XLA's CPU backend takes twice as long over the other form."""
    top = jnp.max(z, axis=-1, keepdims=True)
    z = z - top
    e = jnp.exp(z)
    total = jnp.sum(e, axis=-1)
    mean = jnp.einsum("bcv,bcv->bc", e, z, precision=jax.lax.Precision.HIGHEST) / total
    return jnp.log(total) + top[..., 0], jnp.maximum(jnp.log(total) - mean, 0.0)  # rounding may put it below


def _backward(residuals, cotangents):
    hidden, head, targets, temperature, entropy, lse = residuals
    # dlogp/dz = onehot - p;  dH/dz = -p (log p + H);  dz = both, over the temperature.
    wide_head = head.astype(jnp.float32)

    def chunk(d_head, inputs):
        h, target, ent, log_norm, g_logp, g_ent = inputs
        live = ((g_logp != 0) | (g_ent != 0))[..., None]
        h = jnp.where(live, h, 0)
        z = scaled_logits(h, head, temperature)
        log_p = z - log_norm[..., None]
        p = jnp.exp(log_p)
        onehot = jax.lax.broadcasted_iota(jnp.int32, z.shape, z.ndim - 1) == target[..., None]
        dz = g_logp[..., None] * (onehot - p) - g_ent[..., None] * p * (log_p + ent[..., None])
        dz = jnp.where(live, dz / temperature, 0.0)
        d_hidden = jnp.einsum("bcv,dv->bcd", dz, wide_head)
        d_head = d_head + jnp.einsum("bcd,bcv->dv", h.astype(jnp.float32), dz)
        return d_head, d_hidden.astype(h.dtype)

    g_logp, g_ent = cotangents
    d_head, d_hidden = jax.lax.scan(
        chunk, jnp.zeros(head.shape, jnp.float32), (hidden, targets, entropy, lse, g_logp, g_ent)
    )
    # The temperature is a setting, not a parameter: it takes no gradient.
    return d_hidden, d_head.astype(head.dtype), None, jnp.zeros_like(temperature)


_chunked_logprobs.defvjp(_forward, _backward)
