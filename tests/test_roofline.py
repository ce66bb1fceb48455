"""The floor of a step, against figures worked out by hand for Qwen3-30B-A3B."""

import dataclasses

import pytest

from configs import qwen3_30b
from ulorl_jax.roofline import CHIPS, describe_floor, roofline, token_step_bytes, update_flops
from ulorl_jax.settings import Settings

BIG = Settings.from_dict(qwen3_30b.get_config().to_dict())


def test_a_trained_token_costs_six_operations_per_parameter_it_meets_and_attention_grows_with_its_sample():
    # 48 layers of 2048 x (4096 + 512 + 512) + 4096 x 2048 + 2048 x 128 + 8 x 3 x 2048 x 768 and norms, and the head
    layer = 2048 * 5120 + 4096 * 2048 + 2048 * 128 + 8 * 3 * 2048 * 768
    products = 6 * (48 * layer + 2048 * 151936)
    for length in (40_960, 131_072):
        attention = 6 * length * 4096 * 48  # half of T x T, two products of 2 x 4096, once forward and twice backward
        assert update_flops(BIG, 1, length) == pytest.approx(products + attention, rel=1e-3)
    assert products == pytest.approx(18.2e9, rel=0.01)


def test_a_token_step_reads_every_weight_and_all_keys_and_values_once():
    weights = 2 * 30.53e9  # 1,024 slots meet every expert
    assert token_step_bytes(BIG, 0) == pytest.approx(weights, rel=0.002)
    kv = 2 * 48 * 4 * 128 * 2
    assert token_step_bytes(BIG, 1000) - token_step_bytes(BIG, 0) == pytest.approx(1000 * kv)


def test_one_slot_reads_only_the_experts_it_meets():
    one = dataclasses.replace(BIG, rollout=dataclasses.replace(BIG.rollout, slots=1))
    assert token_step_bytes(one, 0) == pytest.approx(2 * 3.35e9, rel=0.01)


def test_the_floor_of_v5p_128_is_the_time_that_its_memory_and_its_products_take():
    live, drawn = 1024 * 40_960, 1024 * 131_072 / 8
    floor = roofline(BIG, CHIPS["v5p"], 64, live)
    assert floor["token_step_bytes"] == pytest.approx(2 * 30.53e9 + live * 98_304, rel=0.002)
    assert floor["token_step_s"] == pytest.approx(floor["token_step_bytes"] / 64 / 2765e9)
    assert floor["decode_s"] == pytest.approx(floor["token_step_s"] * 131_072 / 8)
    # Samples of 40,960 tokens; a step trains on as many tokens as its segment draws, and prefills what is in the slots.
    assert floor["update_flop"] == pytest.approx(drawn * (18.2e9 + 48.3e9), rel=0.01)
    assert floor["update_s"] == pytest.approx(floor["update_flop"] / 64 / 459e12)
    assert floor["prefill_s"] == pytest.approx(live * (18.2e9 + 48.3e9) / 3 / 64 / 459e12, rel=0.01)
    assert floor["step_s"] == pytest.approx(floor["decode_s"] + floor["update_s"] + floor["prefill_s"])
    assert floor["trained_token_s"] == pytest.approx(floor["step_s"] / drawn)
    assert floor["expected_step_s"] > floor["step_s"]


def test_what_is_prefilled_again_is_nothing_with_a_kept_cache_and_a_third_where_three_steps_share_it():
    def prefilled(**changes):
        changed = dataclasses.replace(BIG, rollout=dataclasses.replace(BIG.rollout, **changes))
        return roofline(changed, CHIPS["v5p"], 64, 1024 * 40_960)["prefill_flop"]

    assert prefilled(kv="keep") == 0
    assert 3 * prefilled(recompute_every=3) == pytest.approx(prefilled())


def test_the_counts_are_said_with_the_seconds_they_take():
    lines = describe_floor(roofline(BIG, CHIPS["v5p"], 64, 1024 * 40_960))
    assert "with 41,943,040 tokens in the slots: a token step reads 4,184 GB; an update of the 16,777,216" in lines[0]
    assert "takes 1,117 PFLOP, contexts prefilled again 930.7" in lines[0]
    assert lines[1].startswith("a step takes at least 457.1 s: a segment 387 s (23.6 ms per token step)")
    assert lines[2].startswith("expect 800.6 s or more: 60% of")
