"""Experts that a device owns, asked by the tokens of all devices: as many visits computed as there are, in blocks."""

import jax
import jax.numpy as jnp

LARGEST = 1024  # visits of a block: what exists of visits at one time


def ask_experts(
    tokens: jax.Array,
    weights: jax.Array,
    experts: jax.Array,
    gate: jax.Array,
    up: jax.Array,
    down: jax.Array,
    owners: tuple[str, ...],
    count: int,
) -> jax.Array:
    """What a device's own experts say of all tokens. Inside shard_map.

    A device with one expert in 64 is visited by about one visit in 64, by all or none at worst. So visits are gathered
    block by block, each of one expert, and there are as many blocks as that takes.

    Args:
      tokens: `[B, T, D]`, of all devices that share the experts.
      weights: `[N, k]` f32, of the experts that each token visits; N = B * T.
      experts: `[N, k]` i32.
      gate, up: `[E / n, D, F]`, the device's own.
      down: `[E / n, F, D]`.
      owners: the mesh axes that experts are split over, n ways.
      count: E.

    Returns:
      `[B, T, D]` f32; 0 for a token that visits none of them.
    """
    flat, top_k = tokens.reshape(-1, tokens.shape[-1]), experts.shape[1]
    size = block_size(experts, count, LARGEST)
    order, visits = own_visits(experts, gate.shape[0], owners)
    ends = jnp.cumsum(visits)
    last_blocks = jnp.cumsum(-(-visits // size))

    def block(i, out):
        expert = jnp.sum(last_blocks <= i)
        before = last_blocks[expert] - -(-visits[expert] // size)
        at = ends[expert] - visits[expert] + (i - before) * size + jnp.arange(size)
        real = at < ends[expert]
        visit = order[jnp.where(real, at, 0)]
        # One expert's visits are of different tokens: nothing is added twice, so the order of sums is fixed.
        token = jnp.where(real, visit // top_k, len(flat) + jnp.arange(size))
        asked = flat.at[token].get(mode="clip")
        hidden = jax.nn.silu(asked @ gate[expert]) * (asked @ up[expert])
        said = jnp.matmul(hidden, down[expert], preferred_element_type=jnp.float32)
        said *= weights.reshape(-1)[visit][:, None]
        return out.at[token].add(said, mode="drop", unique_indices=True)

    out = jax.lax.fori_loop(0, last_blocks[-1], block, jnp.zeros(flat.shape, jnp.float32))
    return out.reshape(tokens.shape)


def own_visits(experts: jax.Array, held: int, owners: tuple[str, ...]) -> tuple[jax.Array, jax.Array]:
    """Which of all visits are those of a device's own experts. Inside shard_map.

    Args:
      experts: `[N, k]` i32, of all tokens; visit i is of token i // k.
      held: experts that a device owns.
      owners: the mesh axes that experts are split over.

    Returns:
      All visits sorted by the device's experts, others' last, `[N * k]` i32; how many each of its experts has, `[held]`
      i32.
    """
    mine = experts.reshape(-1) - jax.lax.axis_index(owners) * held
    mine = jnp.where((mine >= 0) & (mine < held), mine, held)
    return jnp.argsort(mine, stable=True), jnp.bincount(mine, length=held + 1)[:held]


def block_size(experts: jax.Array, count: int, largest: int) -> int:
    """Visits of a block: an expert's where all E = `count` are as popular, to a power of two between 8 and `largest`.

    Args:
      experts: `[N, k]` i32, of all tokens.
    """
    return min(max(1 << max(experts.size // count - 1, 0).bit_length(), 8), largest)
