"""io.samples: whatever goes in comes out, bit for bit."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulorl_jax.io.samples import decode_samples, encode_samples
from ulorl_jax.types import EOS, LIMIT, Prompt, Sample, Segment


def make_samples(rng: np.random.Generator, prompts: int, per_prompt: int) -> list[Sample]:
    samples = []
    for p in range(prompts):
        tokens = rng.integers(0, 2**31, rng.integers(1, 9)).astype(np.int32)
        prompt = Prompt(1000 + p, tokens, f"3 · {p} = “½”\n", f"row-{p}", f"“{p}”?\u2028\n")
        for index in range(per_prompt):
            sizes = rng.integers(1, 7, rng.integers(0, 5))
            segments = tuple(
                Segment(
                    rng.integers(0, 2**31, n).astype(np.int32),
                    rng.integers(0, 2**32, n, dtype=np.uint32).view(np.float32),  # any bits, NaN and -0 among them
                    step,
                    ("prefill", "keep")[int(n) % 2],
                )
                for step, n in enumerate(sizes)
            )
            samples.append(Sample(prompt.id * per_prompt + index, prompt, segments, ("", EOS, LIMIT)[index % 3]))
    return samples


def facts(sample: Sample) -> tuple:
    prompt = sample.prompt
    segments = [(s.tokens.tobytes(), s.logp.tobytes(), s.policy_step, s.kv) for s in sample.segments]
    texts = (prompt.id, prompt.reference, prompt.source, prompt.question)
    return sample.id, sample.finished, texts, prompt.tokens.tobytes(), prompt.tokens.dtype, segments


@given(seed=st.integers(0, 2**32 - 1), prompts=st.integers(0, 4), per_prompt=st.integers(1, 4))
def test_samples_come_back_bit_for_bit_through_json_and_flat_arrays(seed, prompts, per_prompt):
    samples = make_samples(np.random.default_rng(seed), prompts, per_prompt)
    np.random.default_rng(seed).shuffle(samples)
    meta, arrays = encode_samples(samples)
    decoded = decode_samples(json.loads(json.dumps(meta, allow_nan=False)), arrays)
    assert [facts(sample) for sample in decoded] == [facts(sample) for sample in samples]


def test_no_samples_are_no_dicts_and_three_empty_arrays():
    meta, arrays = encode_samples([])
    assert meta == [] and {name: (a.dtype, a.shape) for name, a in arrays.items()} == {
        "tokens": (np.int32, (0,)),
        "logp": (np.float32, (0,)),
        "prompt_tokens": (np.int32, (0,)),
    }
    assert decode_samples(meta, arrays) == []


def test_the_samples_of_a_group_share_one_prompt_that_is_stored_once():
    samples = make_samples(np.random.default_rng(0), 2, 4)
    meta, arrays = encode_samples(samples)
    assert len(arrays["prompt_tokens"]) == len(samples[0].prompt.tokens) + len(samples[4].prompt.tokens)
    decoded = decode_samples(meta, arrays)
    assert all(sample.prompt is decoded[0].prompt for sample in decoded[:4])
    assert all(sample.prompt is decoded[4].prompt for sample in decoded[4:])


def test_a_decoded_sample_does_not_keep_the_arrays_of_all_samples_alive():
    meta, arrays = encode_samples(make_samples(np.random.default_rng(1), 2, 3))
    for sample in decode_samples(meta, arrays):
        assert all(segment.tokens.base is None and segment.logp.base is None for segment in sample.segments)


@pytest.mark.parametrize("name", ["tokens", "logp", "prompt_tokens"])
def test_arrays_of_other_samples_are_refused_with_both_sizes(name):
    meta, arrays = encode_samples(make_samples(np.random.default_rng(2), 2, 2))
    longer = {**arrays, name: np.append(arrays[name], arrays[name][:1])}
    with pytest.raises(ValueError, match=f"'{name}': their lengths add up to {len(arrays[name])}, it holds"):
        decode_samples(meta, longer)


@pytest.mark.parametrize("field, value", [("tokens", np.array([2], np.int32)), ("reference", "y"), ("question", "y")])
def test_two_different_prompts_with_one_id_are_refused(field, value):
    prompt = Prompt(7, np.array([1], np.int32), "x")
    with pytest.raises(AssertionError, match="two different prompts with id 7"):
        encode_samples([Sample(0, prompt), Sample(1, dataclasses.replace(prompt, **{field: value}))])
