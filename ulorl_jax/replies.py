"""Token prompts in, replies out, on our own engine with weights that stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ulorl_jax.evaluate import decode_all
from ulorl_jax.rollout.engine import PolicyEngine
from ulorl_jax.rollout.segments import SegmentRollout, SegmentSettings
from ulorl_jax.typed import demand
from ulorl_jax.types import EOS, Prompt, PyTree, Sample


class Replies:
    """Weights as a callable: prompts to replies, in their order.

    Args:
      engine: the decoder; its slots hold max_prompt_tokens + settings.output_limit tokens.
      params: in the engine's decoding layout.
      settings: segment length and limits.
      decode: ids of an output, with its end token, to the reply's text.

    Attributes:
      max_prompt_tokens: a longer prompt is refused.

    Raises:
      ValueError: a slot holds no prompt beside a reply.
    """

    def __init__(
        self, engine: PolicyEngine, params: PyTree, settings: SegmentSettings, decode: Callable[[np.ndarray], str]
    ):
        self.max_prompt_tokens = engine.spec.width - settings.output_limit
        demand(
            self.max_prompt_tokens >= 1,
            "slots must be wider than settings.output_limit",
            engine.spec.width,
            "make them wider",
        )
        self._engine, self._params, self._settings, self._decode = engine, params, settings, decode
        self._asked = 0

    def __call__(self, prompts: Sequence[np.ndarray | None]) -> list[str | None]:
        """Decodes a reply to every prompt.

        The draws depend on the engine's seed and on how many prompts were given before, in this call and in
        earlier ones: so two calls share no random numbers.

        Args:
          prompts: of each `[n]` i32; None is no prompt: it has no reply, and counts as given.

        Returns:
          The reply to each; None where there is no prompt, or where the reply did not end.

        Raises:
          ValueError: a prompt is empty or longer than max_prompt_tokens.
        """
        rollout = SegmentRollout(self._engine, self._settings)
        for number, tokens in enumerate(prompts, start=self._asked):
            if tokens is None:
                continue
            if not 0 < len(tokens) <= self.max_prompt_tokens:
                raise ValueError(f"a prompt must have 1 to {self.max_prompt_tokens} tokens; got {len(tokens)}")
            rollout.pool.waiting.append(Sample(number, Prompt(number, tokens, "")))
        first, self._asked = self._asked, self._asked + len(prompts)
        replies: list[str | None] = [None] * len(prompts)
        for finished, _ in decode_all(rollout, self._params):
            for sample in finished:
                if sample.finished == EOS:
                    replies[sample.id - first] = self._decode(sample.output)
        return replies
