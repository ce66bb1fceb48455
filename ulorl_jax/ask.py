"""A language model to ask, behind one small interface: prompts in, replies out in the same order.

Either weights on our own engine, or any OpenAI-compatible endpoint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ulorl_jax.data.cleaning import Ask
from ulorl_jax.inputs import make_encode, make_tokenizer
from ulorl_jax.io.endpoint import Endpoint, EndpointSettings
from ulorl_jax.mesh import Layout, make_mesh
from ulorl_jax.replies import Replies
from ulorl_jax.rollout.engine import EngineSpec, PolicyEngine, param_shardings
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.rollout.segments import KEEP, SegmentSettings
from ulorl_jax.sections import MeshSettings, PromptSettings, TokenizerSettings
from ulorl_jax.typed import choose, demand, demand_least
from ulorl_jax.weights import open_weights


@dataclasses.dataclass(frozen=True)
class EngineAskSettings:
    """Weights and how they decode replies; what every field means is said in `configs/prepare_base.py`."""

    weights: str
    dtype: str
    mesh: MeshSettings
    tokenizer: TokenizerSettings
    prompt: PromptSettings
    seed: int
    temperature: float
    top_p: float
    top_k: int
    output_limit: int
    max_prompt_tokens: int
    slots: int
    segment_length: int
    prefill_rows: int
    prefill_chunk: int


@dataclasses.dataclass(frozen=True)
class AskSettings:
    """Which language model is asked."""

    kind: str
    endpoint: EndpointSettings
    engine: EngineAskSettings


class EngineAsk:
    """Weights of ours as a callable: prompts to replies, in their order.

    Args:
      settings: weights and decoding.

    Attributes:
      failures: by what went wrong, how often a prompt was left without a reply.

    Raises:
      ValueError: weights or tokenizer cannot be used, or the settings contradict each other.
    """

    def __init__(self, settings: EngineAskSettings):
        s = self.settings = settings
        for name in ("output_limit", "max_prompt_tokens", "slots", "segment_length", "prefill_rows", "prefill_chunk"):
            demand_least(f"ask.engine.{name}", 1, getattr(s, name))
        width = s.max_prompt_tokens + s.output_limit
        demand(bool(s.weights), "ask.engine.weights is the folder of the weights that are asked", s.weights, "set it")
        self.failures: dict[str, int] = {}
        self._weights = open_weights(s.weights)
        model = dataclasses.replace(self._weights.config, dtype=s.dtype)
        folder = Path(s.tokenizer.path) if s.tokenizer.path else self._weights.files
        self._tokenizer = make_tokenizer(s.tokenizer, model.vocab_size, folder)
        self._encode = make_encode(s.prompt, self._tokenizer)
        layout = Layout(make_mesh(**dataclasses.asdict(s.mesh)), "decoding")
        sampling = Sampling(s.temperature, s.top_p, s.top_k)
        spec = EngineSpec(model, s.slots, width, sampling, self._tokenizer.eos_ids, layout)
        self._engine = PolicyEngine(spec, s.seed)
        self._replies: Replies | None = None

    def __call__(self, prompts: Sequence[str]) -> list[str | None]:
        """Asks every prompt; the weights are read at the first call.

        Args:
          prompts: one user's turn each.

        Returns:
          The reply to each; None where the prompt is too long or the reply did not end.
        """
        if self._replies is None:
            self._replies = self._read_weights()
        tokens = [self._tokens(text) for text in prompts]
        replies = self._replies(tokens)
        for asked, reply in zip(tokens, replies, strict=True):
            if asked is not None and reply is None:
                self._fail("the reply was longer than ask.engine.output_limit")
        return replies

    def _read_weights(self) -> Replies:
        s, spec = self.settings, self._engine.spec
        params = self._weights.load(param_shardings(spec), spec.model.dtype)
        segments = SegmentSettings(
            s.segment_length, s.output_limit, KEEP, s.prefill_rows, s.prefill_chunk, refill_latency=0
        )
        return Replies(self._engine, params, segments, self._tokenizer.decode_output)

    def _tokens(self, text: str) -> np.ndarray | None:
        try:
            tokens = self._encode(text)
        except ValueError:
            self._fail("the prompt cannot be encoded")
            return None
        if len(tokens) > self.settings.max_prompt_tokens:
            self._fail("the prompt was longer than ask.engine.max_prompt_tokens")
            return None
        return tokens

    def _fail(self, why: str) -> None:
        self.failures[why] = self.failures.get(why, 0) + 1


def make_ask(settings: AskSettings) -> Ask | None:
    """The language model of the settings; None for "none".

    Raises:
      ValueError: it cannot be used as the settings say.
    """
    kinds = {
        "none": lambda: None,
        "endpoint": lambda: Endpoint(settings.endpoint),
        "engine": lambda: EngineAsk(settings.engine),
    }
    return choose(kinds, settings.kind, "ask.kind")()
