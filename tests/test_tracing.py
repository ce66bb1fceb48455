"""tracing: which of a step's samples are shown, and what DMMPT did to them."""

import dataclasses

import numpy as np
import pytest

from tests import runs
from ulorl_jax.io.traces import TRAINED, TracedSample
from ulorl_jax.rollout.pools import ExperiencePool
from ulorl_jax.tracing import choose, tell_masked
from ulorl_jax.types import EOS, Prompt, Sample, Segment, Verdict

G = 8


def released(groups):
    """The groups of prompts with such rewards."""
    pool = ExperiencePool(G)
    for prompt_id, rewards in groups.items():
        prompt = Prompt(prompt_id, np.array([1], np.int32), "")
        for index, reward in enumerate(rewards):
            segment = Segment(np.array([2], np.int32), np.zeros(1, np.float32), 0, "prefill")
            sample = Sample(prompt_id * G + index, prompt).append(segment, EOS)
            pool.add([sample], [Verdict(reward, f"why {index}")])
    return pool.release()


GROUPS = {2: [0.0] * G, 1: [1.0, None, *[0.0] * 6], 4: [None] * G, 3: [0.0, 1.0] * 4}


@pytest.mark.parametrize(("wanted", "shown"), [(1, [1]), (8, [1]), (9, [1, 2]), (24, [1, 2, 4]), (1000, [1, 2, 3, 4])])
def test_whole_groups_are_shown_lowest_prompt_first_until_there_are_enough_samples(wanted, shown):
    groups = {key: GROUPS[key] for key in ((1, 2, 4) if shown == [1, 2, 4] else GROUPS)}
    chosen = choose(released(groups), runs.settings({"traces_per_step": wanted}))
    assert [traced.sample.id for traced in chosen] == [group * G + index for group in shown for index in range(G)]
    assert all(traced.group == traced.sample.prompt.id for traced in chosen)


def test_a_shown_sample_has_its_verdict_its_use_and_its_advantage_among_those_judged():
    chosen = choose(released(GROUPS), runs.settings({"traces_per_step": 1000}))
    first, second, *rest = [traced for traced in chosen if traced.group == 1]
    assert (first.verdict, first.use) == (Verdict(1.0, "why 0"), "trained")
    # One right of seven: mean 1/7, sample variance 1/7.
    assert first.advantage == pytest.approx(6 / 7 / np.sqrt(1 / 7), rel=1e-5)
    assert [traced.advantage for traced in rest] == pytest.approx([-1 / 7 / np.sqrt(1 / 7)] * 6, rel=1e-5)
    assert (second.verdict, second.use, second.advantage) == (Verdict(None, "why 1"), "error", None)
    assert {(traced.use, traced.advantage) for traced in chosen if traced.group == 2} == {("uninformative", None)}
    assert {(traced.use, traced.advantage) for traced in chosen if traced.group == 4} == {("error", None)}


@pytest.mark.parametrize(
    ("changes", "masked", "told"),
    [
        ({"sigma": 0.3}, 0.5, True),  # the sample's entropy is 0.25
        ({"sigma": 0.3}, 0.0, False),  # nothing was left out: an objective of one's own
        ({"sigma": 0.25}, 0.5, False),
        ({"sigma": 0.3, "gate": "batch"}, 0.0, False),  # the batch's was not under sigma
        ({"sigma": 0.2, "gate": "batch"}, 0.5, True),
    ],
)
def test_mastered_tokens_are_masked_where_the_gate_that_is_set_left_them_out(changes, masked, told):
    loss = dataclasses.replace(runs.settings().loss, **changes)
    sample = Sample(0, Prompt(0, np.array([1], np.int32), ""))
    traced = TracedSample(sample, Verdict(1.0), 7, TRAINED, 0.1, entropy=np.float32([0.5, 0]), mastered=[1])
    assert tell_masked(traced, {7: masked}, loss).masked == told
    assert not tell_masked(dataclasses.replace(traced, mastered=[]), {7: masked}, loss).masked
