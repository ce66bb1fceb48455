"""The generative verifier's network: the policy's decoder as a Flax module, and what of its output a verdict needs."""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ulorl_jax.mesh import Layout
from ulorl_jax.models.qwen3 import Qwen3Config, forward_packed, output_head
from ulorl_jax.models.qwen3_params import init_params, parameter_table
from ulorl_jax.ops.logprobs import scaled_logits, token_logprobs
from ulorl_jax.types import PyTree

_LOGITS = 512  # tokens of a row whose logits exist at one time


class VerdictModel(nn.Module):
    """The shared decoder, read at the ends of packed prompts.

    Its variables are {"params": the parameter pytree of `models.qwen3`}: weights of the policy fit as they are.

    Attributes:
      config: the network's shape.
      layout: of the parameters, in training or decoding; None leaves placement to the caller.
    """

    config: Qwen3Config
    layout: Layout | None = None

    def setup(self):
        def initial(key, name):
            return init_params(key, self.config)[name]

        self.weights = {name: self.param(name, initial, name) for name in parameter_table(self.config)}

    def __call__(
        self, tokens: jax.Array, positions: jax.Array, sample_ids: jax.Array, ends: jax.Array, verdict_ids: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """What follows each prompt.

        Args:
          tokens: `[B, T]` i32, prompts side by side.
          positions: `[B, T]` i32, of each token in its prompt.
          sample_ids: `[B, T]` i32; prompts do not see each other, 0 is padding.
          ends: `[B, N]` i32, index of each prompt's last token; -1 where the row has fewer prompts.
          verdict_ids: `[2]` i32, the token that says same, and the one that says different.

        Returns:
          `[B, N, 2]` f32, logits of the two; and `[B, N]` f32, nats, the log of their probability together. Of
          padding 0 and -inf. Logits of the whole vocabulary exist at the N ends of a row and nowhere else.
        """
        hidden = forward_packed(self.weights, self.config, tokens, positions, sample_ids, self.layout)
        last = jnp.take_along_axis(hidden, jnp.maximum(ends, 0)[..., None], axis=1)
        logits = scaled_logits(last, output_head(self.weights), 1.0)
        if self.layout is not None:
            logits = self.layout.constrain(logits, "rows", None, "vocab")
        verdicts = jnp.take(logits, verdict_ids, axis=-1)
        mass = jax.nn.logsumexp(verdicts, axis=-1) - jax.nn.logsumexp(logits, axis=-1)
        real = ends >= 0
        return jnp.where(real[..., None], verdicts, 0.0), jnp.where(real, mass, -jnp.inf)

    def logprobs(self, tokens: jax.Array, positions: jax.Array, sample_ids: jax.Array) -> jax.Array:
        """What each token was expected with.

        Args:
          tokens, positions, sample_ids: as above.

        Returns:
          `[B, T]` f32, nats, of each token after those before it in its prompt.
        """
        hidden = forward_packed(self.weights, self.config, tokens, positions, sample_ids, self.layout)
        return token_logprobs(hidden, output_head(self.weights), tokens, chunk_size=_LOGITS)[0]


@functools.partial(jax.jit, static_argnums=0)
def verdicts(model: VerdictModel, params: PyTree, tokens, positions, sample_ids, ends, verdict_ids):
    """`VerdictModel.__call__`, compiled."""
    return model.apply({"params": params}, tokens, positions, sample_ids, ends, verdict_ids)


@functools.partial(jax.jit, static_argnums=0)
def logprobs(model: VerdictModel, params: PyTree, tokens, positions, sample_ids):
    """`VerdictModel.logprobs`, compiled."""
    return model.apply({"params": params}, tokens, positions, sample_ids, method=VerdictModel.logprobs)


def compiled_programs() -> int:
    """Programs compiled so far in this process, of all verifiers: one or two per model, layout and row length."""
    programs: list[Any] = [verdicts, logprobs]
    return sum(program._cache_size() for program in programs)
