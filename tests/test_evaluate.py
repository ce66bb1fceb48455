"""Decoding of an evaluation: the tokens of the policy, whatever slots and segments; and avg@k within a run."""

import functools

import numpy as np
import pytest

from tests.tiny import SEED, make_config, make_layout, make_params, make_prompts, make_rollout, plain_decode
from ulorl_jax.evaluate import decode_all, evaluate
from ulorl_jax.rollout.engine import EngineSpec, PolicyEngine
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.rollout.segments import RECOMPUTE, SegmentSettings
from ulorl_jax.types import Verdict

CONFIG = make_config()
PROMPTS = make_prompts(5)
K, L, S = 3, 24, 6
EOS_IDS = tuple(range(10, 18))


@functools.cache
def params():
    return make_params(CONFIG)


@functools.cache
def plain() -> dict[int, np.ndarray]:
    """Outputs by sample id, drawn without cache, slots or segments."""
    contexts = {prompt.id * K + i: prompt.tokens for prompt in PROMPTS for i in range(K)}
    return plain_decode(params(), CONFIG, contexts, L, eos_ids=EOS_IDS)


def schedule(slots: int) -> list[list[int]]:
    """Ids finished in each segment, when every slot free at its start takes the next sample."""
    waiting, held, segments = list(range(len(PROMPTS) * K)), [None] * slots, []
    while waiting or any(held):
        held = [entry or ([waiting[0], len(plain()[waiting.pop(0)])] if waiting else None) for entry in held]
        held = [entry and [entry[0], entry[1] - S] for entry in held]
        segments.append([entry[0] for entry in held if entry and entry[1] <= 0])
        held = [entry if entry and entry[1] > 0 else None for entry in held]
    return segments


@pytest.mark.parametrize("slots", [1, 4, 32])
def test_every_freed_slot_is_filled_after_its_segment_and_the_tokens_are_those_of_plain_decoding(slots):
    rollout = make_rollout(CONFIG, slots=slots, segments=L // S, output_limit=L, eos_ids=EOS_IDS)
    rollout.pool.add_prompts(PROMPTS, K)
    segments = [finished for finished, _ in decode_all(rollout, params())]
    assert [[sample.id for sample in finished] for finished in segments] == schedule(slots)
    for sample in sum(segments, []):
        np.testing.assert_array_equal(sample.output, plain()[sample.id])
    lengths = {len(output) for output in plain().values()}
    assert L in lengths and min(lengths) < S  # some end early, some are truncated


def run_evaluate(judge):
    spec = EngineSpec(CONFIG, 4, 20 + L, Sampling(0.85), EOS_IDS, make_layout("decoding"))
    settings = SegmentSettings(S, L, RECOMPUTE, 4, 8, refill_latency=0)
    return evaluate(PolicyEngine(spec, SEED), params(), PROMPTS, K, judge, settings)


def test_accuracy_is_avg_at_k_with_errors_counted_and_left_out():
    # Of the prompts' three outputs: 1 1 0, 0 0 0, 1 and two errors, three errors, 0 1 and an error.
    rewards = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, None, None, None, None, None, 0.0, 1.0, None]
    result = run_evaluate(lambda samples: [Verdict(rewards[sample.id]) for sample in samples])
    assert result == {
        "accuracy": pytest.approx(np.mean([2 / 3, 0, 1, 1 / 2])),
        "errors": 6.0,
        "truncated": pytest.approx(np.mean([output[-1] not in EOS_IDS for output in plain().values()])),
        "len_mean": pytest.approx(np.mean([len(output) for output in plain().values()])),
    }


def test_where_nothing_can_be_judged_the_message_names_the_fields_to_look_at():
    with pytest.raises(ValueError, match=r"none of the 15 .* because of: no number; check data\.heldout\.answer_field"):
        run_evaluate(lambda samples: [Verdict(None, "no number") for _ in samples])
