"""The plan of segments: counts by hand, the real rollout step for step, laws, the paper's Table 1."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import plan_table1
from tests.tiny import make_config, make_params, make_prompts, make_rollout
from ulorl_jax.costs import Cost
from ulorl_jax.lengths import lognormal_lengths
from ulorl_jax.plan_inputs import PlanSettings, make_plan
from ulorl_jax.planning import Schedule, Workload, describe, plan, simulate

FREE = Cost(step_s=0.0, token_step_s=0.0, slots=1)
TABLE_1 = {1: 1240.0, 2: 774.0, 4: 601.0}  # segments: seconds per step (paper, Table 1)
FIRST, HEAVIER = (0.32, 0.49), (0.20, 0.30)  # mean and p80 of the lengths, shares of L


def in_order(lengths, prompt=11):
    """Samples of these lengths, one after the other, again and again."""
    samples = itertools.cycle(lengths)
    return lambda count: (np.array([next(samples) for _ in range(count)], int), np.full(count, prompt))


def workload(lengths, limit, group=1, prompt=11, recompute=True):
    return Workload(np.array(lengths), np.full(len(lengths), prompt), limit, group, recompute)


def of_the_paper(shape: tuple[float, float], limit: int = 65536):
    return workload(lognormal_lengths(*shape, limit), limit, group=8, prompt=256)


def test_counts_of_two_slots_by_hand():
    # Lengths 1 2 | 3 4 | 1 2 | 3 4, S = 2: the second pair goes on for a step, and is prefilled again with 10 + 2 each.
    counts = simulate(Schedule(segments=2, slots=2), in_order([1, 2, 3, 4]), 4, 1, steps=5)
    assert counts.token_steps.tolist() == [2, 2, 2, 2, 2]
    assert counts.tokens.tolist() == [3, 4, 3, 3, 4]
    assert counts.new.tolist() == [20, 20, 0, 20, 20]
    assert counts.carried.tolist() == [0, 0, 24, 0, 0]
    assert not counts.passes.any() and not counts.passes_again.any()
    assert counts.finished.tolist() == [2, 0, 2, 2, 0]
    assert counts.released.tolist() == [3, 0, 7, 3, 0]
    assert counts.age.tolist() == [0, 0, 4, 0, 0]  # two tokens of each of the second pair waited for a step
    assert counts.order.tolist() == [0, 1, 2, 3, 4, 5]


def test_counts_of_two_slots_refilled_at_once_by_hand():
    # Step 0: 1 ends, 3 takes its slot, 2 ends. Step 1: 4 beside the rest of 3. Step 2: 1, then 2, beside the rest of 4.
    counts = simulate(Schedule(2, 2, refill_latency=0), in_order([1, 2, 3, 4]), 4, 1, steps=3)
    assert counts.token_steps.tolist() == [2, 2, 2]
    assert counts.tokens.tolist() == [4, 4, 4]  # no slot is ever idle
    assert counts.new.tolist() == [30, 10, 20]
    assert counts.carried.tolist() == [0, 11, 12]
    assert counts.finished.tolist() == [2, 1, 2]
    assert counts.released.tolist() == [3, 3, 5]
    assert counts.age.tolist() == [0, 1, 2]
    assert counts.order.tolist() == [0, 1, 2, 4, 3]


def test_contexts_take_the_passes_of_the_rows_they_are_computed_in_however_full_by_hand():
    # Chunks of 4, two rows, prompts of 11: 10 tokens are 3 chunks. S = 2; lengths 5 1 1 | 3 3 | ...
    # Step 0: 3 3 3 chunks in two rows are 3 + 3 passes. Step 1: slots 1 and 2 are new, 3 passes side by side; slot 0
    # goes on with 12 tokens, 3 chunks more: 6. Step 2: nobody is new; 14, 12 and 12 tokens are 4, 3 and 3 chunks: 6.
    schedule = Schedule(3, 3, prefill_chunk=4, prefill_rows=2)
    counts = simulate(schedule, in_order([5, 1, 1, 3, 3]), 6, 1, steps=3)
    assert counts.carried.tolist() == [0, 12, 14 + 2 * 12]
    assert counts.passes.tolist() == [6, 3, 0]
    assert counts.passes_again.tolist() == [0, 3, 6]
    cost, load = dataclasses.replace(FREE, prefill_pass_s=0.5), workload([1], 6)
    for every, kept, passes in [(1, False, 9 + 9), (3, False, 9 + 3), (1, True, 9)]:
        row = describe(schedule, counts, dataclasses.replace(load, recompute=not kept, recompute_every=every), cost, 0)
        assert row["prefill_passes"] == pytest.approx(passes / 3) and row["prefill_s"] == pytest.approx(passes / 6)
        assert row["reprefill_share"] == pytest.approx(1 - 9 / passes)


def test_passes_between_two_calls_complete_the_contexts_that_were_computed_beside_the_others_tokens():
    # Slots take 9 2 2 1, prompts of 11 in chunks of 2: 5 each, two rows: 10 passes. After a token slot 3 is refilled
    # with 9 and computes one chunk while 2 and 2 end. Their successors begin with no more than as many decoding: 9 is
    # completed (4 chunks) beside 5 and 5: rows 4 + 5 and 5, 9 passes.
    counts = simulate(Schedule(1, 4, 0, prefill_chunk=2, prefill_rows=2), in_order([9, 2, 2, 1, 9]), 9, 1, steps=1)
    assert counts.passes[0] == 10 + 9


def test_a_latency_lets_samples_that_end_together_share_a_stop():
    # The first ends after 1 token, the second after 2: both are refilled there, and the first slot idled for one step.
    counts = simulate(Schedule(1, 2, refill_latency=1), in_order([1, 2, 9, 9]), 9, 1, steps=1)
    assert (counts.token_steps[0], counts.tokens[0]) == (9, 3 + 2 * 7)


def test_a_context_that_is_computed_beside_the_others_tokens_costs_its_slot_decode_steps():
    # Slots take 1 5 5. After a token the first is refilled with 2, whose ten tokens take two steps; at 5 all have ended
    # and 1 5 5 are computed together. After another token 2 is placed, waits for two steps and draws one token.
    counts = simulate(Schedule(1, 3, 0, prefill_chunk=5), in_order([1, 5, 5, 2]), 9, 1, steps=1)
    assert (counts.token_steps[0], counts.tokens[0], counts.finished[0]) == (9, 13 + 1 + 4 + 4 + 1, 5)
    assert (counts.new[0], counts.order.tolist()) == (8 * 10, [0, 3, 1, 2, 4])


def test_what_could_draw_nothing_before_the_step_ends_is_left_for_the_next():
    counts = simulate(Schedule(1, 3, 0, prefill_chunk=5), in_order([1, 3, 3, 3]), 3, 1, steps=2)
    assert counts.token_steps.tolist() == [3, 3] and counts.tokens.tolist() == [7, 7]
    assert counts.new.tolist() == [30, 30]


def test_a_group_s_prompt_is_prefilled_once_where_its_samples_are_placed_together():
    # Slots take samples 0 1 2: groups {0, 1} and {2, 3}; sample 3 is placed a step later, with group {4, 5}.
    counts = simulate(Schedule(segments=1, slots=3), in_order([5]), 9, 2, steps=2)
    assert counts.new.tolist() == [20, 20]
    assert counts.released.tolist() == [10, 20]  # the second group waited for its second sample
    assert counts.age.tolist() == [0, 5]


def test_seconds_and_shares_by_hand():
    cost = Cost(
        step_s=1.0, token_step_s=0.4, slots=4, slots_share=0.25, active_share=0.5, prefill_pass_s=0.01,
        released_token_s=0.1,
    )  # fmt: skip
    schedule = Schedule(segments=2, slots=2, prefill_chunk=1)  # and one row: a pass for every token
    counts = simulate(schedule, in_order([1, 2, 3, 4]), 4, 1, steps=6)
    row = describe(schedule, counts, workload([1], 4), cost, warm_up=3)  # the last three steps repeat the first three
    # Three steps of 2 token steps and 3, 4, 3 tokens: 0.4 * (0.25 * 6 + 0.25 * 6 * 2 / 4 + 0.5 * 10 / 4) / 3
    assert row["decode_s"] == pytest.approx(0.4 * 3.5 / 3)
    assert row["prefill_s"] == pytest.approx(0.01 * (20 + 20 + 24) / 3)
    assert row["released_s"] == pytest.approx(0.1 * 10 / 3)
    assert row["step_s"] == pytest.approx(1.0 + row["decode_s"] + row["prefill_s"] + row["released_s"])
    assert row["trained_tokens_per_s"] == pytest.approx(10 / 3 / row["step_s"])
    assert row["decode_s_per_1k_trained"] == pytest.approx(1000 * 0.4 * 3.5 / 10)
    assert row["idle_slots"] == pytest.approx(1 - 10 / 12)
    assert row["reprefill_per_token"] == pytest.approx(24 / 10)
    assert row["reprefill_share"] == pytest.approx(0.01 * 24 / 3 / row["step_s"])
    assert row["age_steps"] == pytest.approx(4 / 10)
    kept = describe(schedule, counts, workload([1], 4, recompute=False), cost, warm_up=3)
    assert kept["prefill_s"] == pytest.approx(0.01 * 40 / 3) and kept["reprefill_per_token"] == 0


@pytest.mark.parametrize(("segments", "latency"), [(4, None), (1, None), (4, 0), (2, 3)])
def test_the_simulation_is_the_real_rollout_step_for_step(segments, latency):
    config, group, limit, prompts = make_config(), 2, 24, make_prompts(80)
    rollout = make_rollout(
        config, slots=5, segments=segments, output_limit=limit, kv="recompute", eos_ids=(10, 43, 7, 21, 60, 80),
        refill_latency=latency or 0,
    )  # fmt: skip
    params, queue, ended, metrics = make_params(config), iter(prompts), [], []

    def refill():
        rollout.pool.add_prompts(itertools.islice(queue, -(-rollout.pool.missing // group)), group)

    for step in range(8):
        refill()
        finished, values = rollout.run(params, step, None if latency is None else refill)
        ended += finished
        metrics.append(
            [values[f"rollout/{name}"] for name in ("decode_steps", "tokens", "prefill_tokens", "prefill_passes")]
        )
    lengths = {sample.id: sample.num_tokens for sample in ended}
    taken = itertools.count()

    def draw(count):
        ids = [next(taken) for _ in range(count)]
        outputs = [lengths.get(i, limit) for i in ids]  # what did not end in these steps went on to their end
        return np.array(outputs, int), np.array([len(prompts[i // group].tokens) for i in ids], int)

    counts = simulate(Schedule(segments, 5, latency, 8, 4), draw, limit, group, steps=8)
    assert len(ended) > 10 and len(set(lengths.values())) > 4
    prefilled = counts.new + counts.carried, counts.passes + counts.passes_again
    assert np.stack([counts.token_steps, counts.tokens, *prefilled], axis=1).tolist() == metrics
    assert counts.order.tolist() == [sample.id for sample in ended]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=20),
    st.integers(1, 9),
    st.integers(1, 7),
    st.integers(1, 4),
    st.sampled_from([None, 0, 2]),
)
def test_every_sample_is_finished_once_and_every_token_released_once(lengths, segments, slots, group, latency):
    counts = simulate(Schedule(segments, slots, latency), in_order(lengths), 24, group, steps=25)
    ids = np.sort(counts.order)
    assert (np.diff(ids) > 0).all() and counts.finished.sum() == len(ids)
    own = np.minimum(np.array(lengths)[ids % len(lengths)], 24)
    complete = np.bincount(ids // group)[ids // group] == group
    assert counts.released.sum() == own[complete].sum()
    # Drawn is what finished, and what is in the slots: fewer tokens than the longest there can be.
    in_slots = counts.tokens.sum() - own.sum()
    assert 0 <= in_slots <= slots * 23
    # Nothing overtakes by more than the slots: what was started is finished or in a slot.
    assert not len(ids) or ids[-1] < len(ids) + slots
    assert (counts.token_steps <= -(-24 // segments)).all() and (counts.tokens <= slots * counts.token_steps).all()


def test_one_segment_waits_for_the_longest_of_its_slots():
    lengths = np.random.default_rng(0).integers(1, 100, (20, 7))
    counts = simulate(Schedule(1, 7), in_order(lengths.ravel()), 100, 1, steps=20)
    assert counts.token_steps.tolist() == lengths.max(1).tolist() and counts.tokens.tolist() == lengths.sum(1).tolist()
    assert not counts.carried.any() and not counts.age.any()


def test_one_slot_draws_the_same_samples_in_the_same_order_whatever_the_schedule():
    lengths = np.random.default_rng(0).integers(1, 33, 200)
    drawn = []
    for segments, latency in [(1, None), (2, None), (8, None), (1, 0), (8, 0)]:
        counts = simulate(Schedule(segments, 1, latency), in_order(lengths), 32, 1, steps=60)
        assert counts.order.tolist() == list(range(len(counts.order)))
        assert counts.token_steps.tolist() == counts.tokens.tolist()  # one slot is never idle
        drawn.append(lengths[: len(counts.order)].sum() <= counts.tokens.sum())
    assert all(drawn)


def test_a_finer_token_changes_nothing_but_the_unit():
    lengths = np.random.default_rng(0).integers(1, 65, 500)
    coarse = simulate(Schedule(4, 9), in_order(lengths), 64, 4, steps=50)
    fine = simulate(Schedule(4, 9), in_order(3 * lengths), 3 * 64, 4, steps=50)
    for name in ("token_steps", "tokens", "released", "age"):
        assert (3 * getattr(coarse, name) == getattr(fine, name)).all(), name
    assert (coarse.finished == fine.finished).all() and (coarse.order == fine.order).all()


@pytest.mark.parametrize("shape", [FIRST, HEAVIER])
@pytest.mark.parametrize("segments", [2, 4, 8])
def test_tokens_per_step_are_those_of_renewal_theory(shape, segments):
    # A slot holds a sample for ceil(length / S) steps: in the long run E[length] / E[that] tokens per step.
    load = of_the_paper(shape, 4096)
    [row] = plan(load, FREE, [Schedule(segments, 256)], steps=300)
    steps = np.ceil(load.lengths * segments / 4096)
    assert row["tokens"] / 256 == pytest.approx(load.lengths.mean() / steps.mean(), rel=0.01)
    assert row["trained_tokens"] == pytest.approx(row["tokens"], rel=0.01)


def test_the_speed_up_of_four_segments_per_trained_token():
    # Decoding costs the same however many slots are active. Of many slots one reaches L; of eight often none.
    cost = dataclasses.replace(FREE, token_step_s=1.0)
    for shape, slots, wanted in [(FIRST, 256, 2.27), (HEAVIER, 256, 2.87), (FIRST, 32, 2.20), (FIRST, 8, 1.72)]:
        one, four = plan(of_the_paper(shape, 4096), cost, [Schedule(1, slots), Schedule(4, slots)], steps=2000)
        gain = one["decode_s_per_1k_trained"] / four["decode_s_per_1k_trained"]
        assert gain == pytest.approx(wanted, rel=0.03), (shape, slots)


def test_slots_refilled_within_a_segment_are_hardly_ever_idle():
    [row] = plan(of_the_paper(FIRST, 4096), FREE, [Schedule(8, 16, refill_latency=16)], steps=100)
    assert row["idle_slots"] < 0.05


@pytest.mark.parametrize("shape", [FIRST, HEAVIER])
def test_table_1_two_rows_give_the_third_within_ten_percent(shape):
    schedules = [Schedule(m, 1024) for m in TABLE_1]
    rows = plan(of_the_paper(shape), dataclasses.replace(FREE, token_step_s=1.0), schedules, steps=40)
    decode = {row["segments"]: row["decode_s"] for row in rows}
    for left_out in TABLE_1:
        a, b = (m for m in TABLE_1 if m != left_out)
        token_step_s = (TABLE_1[a] - TABLE_1[b]) / (decode[a] - decode[b])
        step_s = TABLE_1[a] - token_step_s * decode[a]
        assert step_s > 0 and token_step_s > 0
        assert step_s + token_step_s * decode[left_out] == pytest.approx(TABLE_1[left_out], rel=0.10), left_out


def test_table_1_cannot_be_decoding_in_proportion_to_the_active_slots():
    # Tokens per step fall too little from M = 1 to 2: the time beside decoding would have to be negative.
    schedules = [Schedule(m, 1024) for m in (1, 2)]
    tokens = [row["tokens"] for row in plan(of_the_paper(FIRST), FREE, schedules, steps=40)]
    per_token = (TABLE_1[1] - TABLE_1[2]) / (tokens[0] - tokens[1])
    assert TABLE_1[1] - per_token * tokens[0] < 0


def test_the_config_of_table_1_says_what_its_text_says():
    made = make_plan(PlanSettings.from_dict(plan_table1.get_config().to_dict()), None)
    seconds = {(row["segments"], row["slots"]): row["step_s"] for row in made["rows"]}
    for (segments, _), value in seconds.items():
        if segments in TABLE_1:
            assert value == pytest.approx(TABLE_1[segments], rel=1e-6 if segments != 2 else 0.06)
    finished = {(row["segments"], row["slots"]): row["finished"] for row in made["rows"]}
    assert finished[4, 1792] == pytest.approx(1024, rel=0.02)
