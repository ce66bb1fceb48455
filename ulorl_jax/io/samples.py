"""Samples <-> a few flat arrays and a short JSON list: the pools' way into a checkpoint and back."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ulorl_jax.types import Prompt, Sample, Segment


def encode_samples(samples: Sequence[Sample]) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Takes samples apart, bit for bit. A prompt is stored once, with the first sample that answers it.

    Args:
      samples: in any order and any number; samples of one prompt id must agree on the prompt.

    Returns:
      One JSON-able dict per sample (ids, lengths, texts), and three arrays that hold the
      numbers of all samples one after the other: `tokens` i32, `logp` f32, `prompt_tokens` i32.
    """
    meta: list[dict[str, Any]] = []
    prompts: dict[int, Prompt] = {}
    for sample in samples:
        entry: dict[str, Any] = {
            "id": int(sample.id),
            "finished": sample.finished,
            "prompt_id": int(sample.prompt.id),
            "segments": [[len(s.tokens), int(s.policy_step), s.kv] for s in sample.segments],
        }
        if sample.prompt.id not in prompts:
            prompt = prompts[sample.prompt.id] = sample.prompt
            entry["prompt"] = [len(prompt.tokens), *_texts(prompt)]
        assert _same(prompts[sample.prompt.id], sample.prompt), f"two different prompts with id {sample.prompt.id}"
        meta.append(entry)
    segments = [segment for sample in samples for segment in sample.segments]
    return meta, {
        "tokens": _flat([segment.tokens for segment in segments], np.int32),
        "logp": _flat([segment.logp for segment in segments], np.float32),
        "prompt_tokens": _flat([prompt.tokens for prompt in prompts.values()], np.int32),
    }


def decode_samples(meta: Sequence[dict[str, Any]], arrays: dict[str, np.ndarray]) -> list[Sample]:
    """The samples `encode_samples` took apart; those of one prompt share one `Prompt`.

    Args:
      meta: the list of dicts.
      arrays: the three arrays.

    Returns:
      The samples in their old order, in memory of their own.

    Raises:
      ValueError: the lengths in `meta` do not add up to the arrays' sizes.
    """
    readers = {name: _Reader(array) for name, array in arrays.items()}
    prompts: dict[int, Prompt] = {}
    samples = []
    for entry in meta:
        prompt_id = entry["prompt_id"]
        if "prompt" in entry:
            size, *texts = entry["prompt"]
            prompts[prompt_id] = Prompt(prompt_id, readers["prompt_tokens"].take(size), *texts)
        segments = tuple(
            Segment(readers["tokens"].take(size), readers["logp"].take(size), policy_step, kv)
            for size, policy_step, kv in entry["segments"]
        )
        samples.append(Sample(entry["id"], prompts[prompt_id], segments, entry["finished"]))
    for name, reader in readers.items():
        if reader.taken != len(reader.array):
            raise ValueError(
                f"samples do not match their array {name!r}: their lengths add up to {reader.taken}, it holds "
                f"{len(reader.array)}; pass the arrays that were encoded together with them"
            )
    return samples


class _Reader:
    """Takes pieces off the front of an array."""

    def __init__(self, array: np.ndarray):
        self.array = array
        self.taken = 0

    def take(self, size: int) -> np.ndarray:
        self.taken += size
        # A copy, since a view would keep the whole array alive as long as one sample of it.
        return self.array[self.taken - size : self.taken].copy()


def _flat(parts: list[np.ndarray], dtype: Any) -> np.ndarray:
    assert all(part.dtype == dtype for part in parts), f"want arrays of {np.dtype(dtype)}"
    return np.concatenate([np.empty(0, dtype), *parts])


def _texts(prompt: Prompt) -> tuple[str, str, str]:
    return prompt.reference, prompt.source, prompt.question


def _same(a: Prompt, b: Prompt) -> bool:
    return a is b or (np.array_equal(a.tokens, b.tokens) and _texts(a) == _texts(b))
