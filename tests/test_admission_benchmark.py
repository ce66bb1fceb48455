"""Pages for 30% of what all slots would need: every sample is accounted for, and fewer slots do no better."""

import pytest

from benchmarks.admission import Rehearsal, Setup, describe
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
