"""Pages for 30% of what all slots would need: every sample is accounted for, and fewer slots do no better."""

import dataclasses

import pytest

from benchmarks.admission import Rehearsal, Setup, describe
from benchmarks.frozen import small_network
from benchmarks.pages import MODEL, findings, make_arms
from benchmarks.pages import measure as decode
from ulorl_jax.rollout.pages import pages_for

SLOTS, LIMIT = 16, 512
PAGES = int(0.3 * SLOTS * pages_for(32 + LIMIT, 16))
SETUP = Setup("long", PAGES, page_size=16, prompt=32, output_limit=LIMIT, samples_per_prompt=4, refill_latency=4)


def measure(slots=SLOTS, over_provisioning=0.0, **changes):
    rehearsal = Rehearsal(SETUP, slots, over_provisioning, **changes)
    return rehearsal, describe(rehearsal.run(24 * LIMIT, 4 * LIMIT), SLOTS, LIMIT)


@pytest.fixture(scope="module")
def unpredicted():
    return measure()


@pytest.fixture(scope="module")
def predicted():
    return measure(over_provisioning=1.0)


@pytest.mark.parametrize("finish_groups", [False, True])
def test_T8_every_token_and_every_sample_is_accounted_for(finish_groups):
    arm, _ = measure(over_provisioning=1.0, finish_groups=finish_groups)
    assert arm.counts["tokens"] == arm.tokens_ended + arm.pool.num_tokens
    in_pool = len(arm.pool.occupied) + len(arm.pool.waiting)
    assert arm.prompts * SETUP.samples_per_prompt == arm.counts["ended"] + in_pool and in_pool < 3 * SLOTS
    assert arm.counts["evicted"] > 0


def test_throughput_is_within_15_percent_of_the_best_number_of_slots(predicted):
    """Prefilled tokens as dear as decoded ones, or at an eighth."""
    _, row = predicted
    for price in ("cheap", "dear"):
        assert row[price] > 0.85 * max(measure(slots)[1][price] for slots in range(8, SLOTS, 2))


def test_prediction_spares_evictions_at_hardly_any_tokens_per_step(unpredicted, predicted):
    assert predicted[1]["evicted"] < 0.5 * unpredicted[1]["evicted"]
    assert predicted[1]["tokens/step"] > 0.9 * unpredicted[1]["tokens/step"]
    assert predicted[1]["dear"] > unpredicted[1]["dear"]


def test_lengths_are_predicted_better_than_by_their_mean(predicted):
    arm, _ = predicted
    # A log-normal with mean 0.32 L and p80 0.49 L has a mean absolute deviation of 0.2 L.
    assert len(arm.errors) > 80 and sum(arm.errors) / len(arm.errors) < 0.19 * LIMIT


def test_T8_the_decoder_evicts_and_goes_on_with_too_few_pages_and_the_fewest_slots_never_run_out():
    """The ledger checks every token after every segment."""
    setup = dataclasses.replace(SETUP, pages=21, page_size=4, prompt=4, output_limit=32, samples_per_prompt=2)
    arms = make_arms(setup, 8)
    assert [slots for slots, _ in arms.values()] == [8, 8, 2, 4, 6, 7]  # 21 pages, 9 for the longest context
    arms = dict(list(arms.items())[:3])
    predicted, unpredicted, never_short = decode(setup, small_network(MODEL), arms, steps=12, warm_up=4)
    assert min(predicted["evicted"], unpredicted["evicted"]) > 0 == never_short["evicted"]
    assert never_short["tokens/step"] <= 2 < unpredicted["tokens/step"]
    assert min(row["finished"] for row in (predicted, unpredicted, never_short)) > 0


def test_the_first_arm_is_held_against_the_best_of_the_others():
    speeds = {"own": (86.0, 80.0), "a": (100.0, 90.0), "b": (90.0, 100.0)}
    said = findings([{"arm": arm, "tokens/s": a, "tokens/step": b} for arm, (a, b) in speeds.items()])
    assert "tokens/s of own: -14.0% of the best, a (seen" in said[0]
    assert "tokens/step of own: -20.0% of the best, b (not seen" in said[1]


@pytest.mark.parametrize("pages", [8, 72])
def test_pages_that_hold_no_longest_context_or_all_of_them_are_refused(pages):
    setup = dataclasses.replace(SETUP, pages=pages, page_size=4, prompt=4, output_limit=32)
    with pytest.raises(ValueError, match="must hold one longest context, not all slots'; got"):
        make_arms(setup, 8)
