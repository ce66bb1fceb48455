"""Decoders that benchmarks/rollout.py compares: ours, and what a user would take instead.

Each is made of the same Hugging Face folder and decodes the same prompts to the same lengths. Ours and continuous
batching of transformers fill a slot again when its output has got its length; the others decode a batch until the
longest output of it is complete, and what they draw beyond the lengths is thrown away.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
from typing import Any, Protocol

import jax
import numpy as np

from ulorl_jax.mesh import Layout, make_mesh
from ulorl_jax.rollout.engine import EngineSpec, PolicyEngine, param_shardings
from ulorl_jax.rollout.pages import PageSettings, pages_for
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.rollout.segments import KEEP, SegmentRollout, SegmentSettings
from ulorl_jax.types import Prompt, Sample
from ulorl_jax.weights import open_weights


@dataclasses.dataclass(frozen=True)
class Size:
    """What all decoders have room for.

    Attributes:
      slots: C, outputs decoded side by side.
      prompt: tokens of every prompt.
      limit: L, tokens of the longest output.
    """

    slots: int
    prompt: int
    limit: int


class Decoder(Protocol):
    """Prompts in, outputs of given lengths out."""

    def decode(self, prompts: np.ndarray, lengths: np.ndarray, temperature: float) -> list[list[int]]:
        """Draws an output for every prompt.

        Args:
          prompts: `[N, P]` i32.
          lengths: `[N]`, tokens of each output; no token ends one before.
          temperature: 0 is greedy.

        Returns:
          The outputs, each of its length.
        """
        ...


class GivenLengths(SegmentRollout):
    """A rollout in which every sample has a limit of its own.

    Attributes:
      lengths: `[N]`, tokens after which the sample of this number is truncated; after N samples over again.
    """

    lengths: np.ndarray

    def limit(self, sample: Sample) -> int:
        return int(self.lengths[sample.id % len(self.lengths)])


class Ours:
    """Segments, and slots that are filled again at once.

    Args:
      folder: of the weights.
      size: what there is room for.
      page_size: tokens of a page; 0 for the dense cache. There are pages for every slot's longest context.
      segments: M.
      prefill_rows: prompts prefilled side by side.
      prefill_chunk: tokens of a prompt that are prefilled in one pass.
      refill_latency: decode steps that a free slot may wait for others.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        size: Size,
        page_size: int = 0,
        segments: int = 4,
        prefill_rows: int = 8,
        prefill_chunk: int = 64,
        refill_latency: int = 0,
    ):
        weights, layout = open_weights(folder), Layout(make_mesh(devices=jax.devices()[:1]), "decoding")
        width = size.prompt + size.limit
        pages = PageSettings(size.slots * pages_for(width, page_size), page_size) if page_size else PageSettings()
        nothing_ends = (weights.config.vocab_size,)
        self._spec = EngineSpec(weights.config, size.slots, width, Sampling(0.0), nothing_ends, layout, pages)
        self._settings = SegmentSettings(
            size.limit // segments, size.limit, KEEP, prefill_rows, prefill_chunk, refill_latency
        )
        self._params = weights.load(param_shardings(self._spec))

    @functools.cache  # noqa: B019 (one per arm and temperature)
    def _rollout(self, temperature: float) -> GivenLengths:
        spec = dataclasses.replace(self._spec, sampling=Sampling(temperature))
        return GivenLengths(PolicyEngine(spec, 0), self._settings)

    def decode(self, prompts: np.ndarray, lengths: np.ndarray, temperature: float) -> list[list[int]]:
        """See `Decoder`."""
        rollout = self._rollout(temperature)
        rollout.lengths = lengths
        rollout.pool.add_prompts([Prompt(i, prompt, "") for i, prompt in enumerate(prompts)], 1)
        done: dict[int, list[int]] = {}
        while rollout.pool.occupied or rollout.pool.waiting:
            finished, _ = rollout.run(self._params, 0, lambda: None)  # all prompts are queued already
            done |= {sample.id: sample.output.tolist() for sample in finished}
        return [done[i] for i in range(len(prompts))]


class Transformers:
    """`generate` of transformers with the cache it takes by itself, batch by batch.

    Args:
      folder: of the weights.
      size: what there is room for.
    """

    def __init__(self, folder: pathlib.Path, size: Size):
        self._size, self._network = size, _load_network(folder)

    def decode(self, prompts: np.ndarray, lengths: np.ndarray, temperature: float) -> list[list[int]]:
        """See `Decoder`."""
        import torch

        outputs: list[list[int]] = []
        for start in range(0, len(prompts), self._size.slots):
            batch = slice(start, start + self._size.slots)
            tokens = torch.tensor(prompts[batch], dtype=torch.long)
            drawn = self._network.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                generation_config=_generation(temperature, int(lengths[batch].max())),
            )[:, tokens.shape[1] :].tolist()
            outputs += [row[:length] for row, length in zip(drawn, lengths[batch], strict=True)]
        return outputs


class ContinuousTransformers:
    """Continuous batching of transformers; what it starts once is kept.

    Args:
      folder: of the weights.
      size: what there is room for.
    """

    PAGE = 256  # tokens, as it is without being told

    def __init__(self, folder: pathlib.Path, size: Size):
        self._size, self._folder, self._open = size, folder, contextlib.ExitStack()

    @functools.cache  # noqa: B019 (one per arm and temperature)
    def _server(self, temperature: float) -> Any:
        from transformers import ContinuousBatchingConfig

        pages = self._size.slots * pages_for(self._size.prompt + self._size.limit, self.PAGE)
        settings = ContinuousBatchingConfig(
            page_size=self.PAGE,
            num_blocks=pages,
            max_batch_tokens=self._size.slots * self._size.prompt,
            max_requests_per_batch=self._size.slots,
        )
        generation = _generation(temperature, self._size.limit)
        context = _load_network(self._folder).continuous_batching_context_manager(
            generation_config=generation, continuous_batching_config=settings
        )
        return self._open.enter_context(context)

    def decode(self, prompts: np.ndarray, lengths: np.ndarray, temperature: float) -> list[list[int]]:
        """See `Decoder`."""
        server = self._server(temperature)
        names = [
            server.add_request(prompt.tolist(), max_new_tokens=int(length))
            for prompt, length in zip(prompts, lengths, strict=True)
        ]
        done: dict[str, list[int]] = {}
        while len(done) < len(names):
            result = server.get_result(timeout=60)
            if result is None or result.error:
                raise RuntimeError(f"continuous batching stopped: {result and result.error}")
            if result.is_finished():
                done[result.request_id] = result.generated_tokens
        return [done[name] for name in names]

    def close(self) -> None:
        """Ends its threads."""
        self._open.close()


class Tunix:
    """The sampler of tunix, batch by batch.

    Args:
      folder: of the weights.
      size: what there is room for.
    """

    def __init__(self, folder: pathlib.Path, size: Size):
        # Not among the project's requirements: installed where it is to be compared with.
        from tunix.generate.sampler import CacheConfig, Sampler  # pyright: ignore[reportMissingImports]
        from tunix.models.qwen3.params import create_model_from_safe_tensors  # pyright: ignore[reportMissingImports]

        c = open_weights(folder).config
        room = CacheConfig(size.prompt + size.limit, c.num_hidden_layers, c.num_key_value_heads, c.head_dim)
        self._size = size
        self._sampler = Sampler(create_model_from_safe_tensors(str(folder), tunix_config(folder)), _Ids(), room)

    def decode(self, prompts: np.ndarray, lengths: np.ndarray, temperature: float) -> list[list[int]]:
        """See `Decoder`."""
        outputs: list[list[int]] = []
        for start in range(0, len(prompts), self._size.slots):
            batch = slice(start, start + self._size.slots)
            drawn = self._sampler(
                [" ".join(map(str, prompt)) for prompt in prompts[batch]],
                max_generation_steps=int(lengths[batch].max()),
                max_prompt_length=self._size.prompt,
                eos_tokens=[-1],
                temperature=temperature,
                top_p=1.0 if temperature else None,
                seed=start,
            ).tokens
            outputs += [row[:length].tolist() for row, length in zip(drawn, lengths[batch], strict=True)]
        return outputs


class _Ids:
    """A tokenizer for tunix, which takes text: numbers are their own names."""

    def encode(self, text: str, **_: Any) -> list[int]:
        return [int(word) for word in text.split()]

    def decode(self, ids: Any, **_: Any) -> str:
        return " ".join(map(str, ids))

    def bos_id(self) -> int:
        return 0

    def eos_id(self) -> int:
        return -1

    def pad_id(self) -> int:
        return 0


def tunix_config(folder: pathlib.Path) -> Any:
    """The shape of the network in a folder, as tunix takes it."""
    from tunix.models.qwen3.model import ModelConfig  # pyright: ignore[reportMissingImports]

    c = open_weights(folder).config
    return ModelConfig(
        num_layers=c.num_hidden_layers,
        vocab_size=c.vocab_size,
        embed_dim=c.hidden_size,
        hidden_dim=c.intermediate_size,
        num_heads=c.num_attention_heads,
        head_dim=c.head_dim,
        num_kv_heads=c.num_key_value_heads,
        rope_theta=int(c.rope_theta),
        norm_eps=c.rms_norm_eps,
        use_tied_embedding=c.tie_word_embeddings,
    )


def _load_network(folder: pathlib.Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(len(os.sched_getaffinity(0)))  # as many as XLA takes
    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()


def _generation(temperature: float, tokens: int) -> Any:
    from transformers import GenerationConfig

    drawing = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    return GenerationConfig(**(drawing if temperature else {"do_sample": False}), max_new_tokens=tokens, pad_token_id=0)


ARMS = {
    "ours, dense cache": Ours,
    "ours, pages of 16": functools.partial(Ours, page_size=16),
    "transformers, generate": Transformers,
    "transformers, continuous batching": ContinuousTransformers,
    "tunix, sampler": Tunix,
}
SHORT = dict(zip(("dense", "pages", "generate", "continuous", "tunix"), ARMS, strict=True))  # for --arms
