"""What the tests of the network, the decoder and the update are built from, as small as it can be.

`plain_decode` is the yardstick of every decoder test: no cache, no slots, no segments.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ulorl_jax.mesh import Layout, make_mesh
from ulorl_jax.models.qwen3 import Qwen3Config, forward_packed, output_head
from ulorl_jax.models.qwen3_params import init_params
from ulorl_jax.rollout.engine import EngineSpec, PolicyEngine
from ulorl_jax.rollout.pages import PageSettings
from ulorl_jax.rollout.sampling import Sampling, draw_tokens
from ulorl_jax.rollout.segments import SegmentRollout, SegmentSettings
from ulorl_jax.train.state import OptimizerSettings
from ulorl_jax.types import EOS, LIMIT, Prompt, Sample, Segment

VOCAB = 96
SEED = 3  # of the decoder's draws


def make_config(**changes) -> Qwen3Config:
    """A dense network whose heads together are wider than the residual stream, as in Qwen3."""
    small = Qwen3Config(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        rope_theta=1e4,
        tie_word_embeddings=True,
    )
    return dataclasses.replace(small, **changes)


def make_moe_config(**changes) -> Qwen3Config:
    """The same with four experts, two per token."""
    return make_config(**({"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24} | changes))


def make_params(config: Qwen3Config, seed: int = 0):
    """Random parameters, the norms' scales too: at one they would hide where they are applied."""
    params = init_params(jax.random.key(seed), config)
    rng = np.random.default_rng(seed)

    def shake(path, leaf):
        is_norm = path[-1].key.endswith("norm")
        return leaf * rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32) if is_norm else leaf

    return jax.tree_util.tree_map_with_path(shake, params)


def make_optimizer_settings(**changes) -> OptimizerSettings:
    """AdamW at a constant rate, without decay and clipping."""
    plain = OptimizerSettings(
        kind="adamw",
        learning_rate=1e-2,
        warmup_steps=0,
        decay_steps=0,
        b1=0.9,
        b2=0.99,
        eps=1e-12,
        weight_decay=0.0,
        clip_norm=0.0,
    )
    return dataclasses.replace(plain, **changes)


def make_layout(phase: str, devices=None, **axes: int) -> Layout:
    """One device unless devices and mesh axes are given."""
    return Layout(make_mesh(devices=devices or jax.devices()[:1], **axes), phase)


def make_prompts(count: int, seed: int = 0) -> list[Prompt]:
    """Prompts of 3 to 19 tokens."""
    rng = np.random.default_rng(seed)
    return [Prompt(i, rng.integers(1, VOCAB, rng.integers(3, 20)).astype(np.int32), "") for i in range(count)]


def make_rollout(
    config: Qwen3Config,
    *,
    slots: int,
    segments: int,
    output_limit: int,
    kv: str = "keep",
    sampling: Sampling = Sampling(0.85),  # noqa: B008 (frozen)
    eos_ids: tuple[int, ...] = (10,),
    layout: Layout | None = None,
    engine: type[PolicyEngine] = PolicyEngine,
    prompt_limit: int = 20,
    refill_latency: int = 16,
    recompute_every: int = 1,
    pages: PageSettings = PageSettings(),  # noqa: B008 (frozen)
    finish_groups: bool = False,
) -> SegmentRollout:
    """Slots without samples; contexts hold a prompt of up to `prompt_limit` tokens and the output."""
    width = prompt_limit + output_limit
    spec = EngineSpec(config, slots, width, sampling, eos_ids, layout or make_layout("decoding"), pages)
    settings = SegmentSettings(
        output_limit // segments, output_limit, kv, 4, 8, refill_latency, recompute_every, finish_groups
    )
    return SegmentRollout(engine(spec, SEED), settings)


def run_to_end(
    rollout: SegmentRollout, params, prompts: Sequence[Prompt], group: int, refill: bool = False
) -> dict[int, Sample]:
    """Decodes G samples of every prompt until all are finished, with frozen weights."""
    rollout.pool.add_prompts(prompts, group)
    done: dict[int, Sample] = {}
    while rollout.pool.occupied or rollout.pool.waiting:
        finished, _ = rollout.run(params, 0, (lambda: None) if refill else None)  # all prompts are queued already
        done |= {sample.id: sample for sample in finished}
    return done


def plain_decode(
    params,
    config: Qwen3Config,
    contexts: dict[int, np.ndarray],
    count: int,
    *,
    sampling: Sampling = Sampling(0.85),  # noqa: B008 (frozen)
    eos_ids: tuple[int, ...] = (10,),
) -> dict[int, np.ndarray]:
    """The outputs of the contexts, by sample id: every token from a forward pass over all tokens before it.

    Args:
      contexts: sample id -> the ids so far.
      count: tokens after which an output ends.
    """
    ids = np.array(sorted(contexts), np.int32)
    lengths = np.array([len(contexts[i]) for i in ids])
    tokens = np.zeros((len(ids), lengths.max() + count), np.int32)
    for row, i in enumerate(ids):
        tokens[row, : lengths[row]] = contexts[i]
    outputs: dict[int, list[int]] = {int(i): [] for i in ids}
    for _ in range(count):
        drawn = np.asarray(_plain_step(params, config, tokens, lengths, ids, sampling))
        for row, i in enumerate(ids):
            output = outputs[int(i)]
            if not output or output[-1] not in eos_ids:
                output.append(int(drawn[row]))
            tokens[row, lengths[row]] = drawn[row]
        lengths = lengths + 1
    return {i: np.array(output, np.int32) for i, output in outputs.items()}


@functools.partial(jax.jit, static_argnums=(1, 5))
def _plain_step(params, config, tokens, lengths, ids, sampling):
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    hidden = forward_packed(params, config, tokens, positions, jnp.ones_like(tokens))
    last = jnp.take_along_axis(hidden, lengths[:, None, None] - 1, axis=1)[:, 0]
    return draw_tokens(last, output_head(params), jax.random.key(SEED), ids, lengths, sampling)[0]


def make_samples(count: int, seed: int = 0, policy_steps: tuple[int, ...] = (0,)) -> list[Sample]:
    """Finished samples with random tokens, in one segment per policy step: enough for the trainer."""
    rng = np.random.default_rng(seed)
    samples = []
    for i, prompt in enumerate(make_prompts(count, seed)):
        sample = Sample(i, prompt)
        for step in policy_steps:
            n = int(rng.integers(2, 24 // len(policy_steps)))
            segment = Segment(
                rng.integers(0, VOCAB, n).astype(np.int32), -rng.exponential(3, n).astype(np.float32), step, "prefill"
            )
            sample = sample.append(segment, (EOS, LIMIT)[i % 2] if step == policy_steps[-1] else "")
        samples.append(sample)
    return samples
