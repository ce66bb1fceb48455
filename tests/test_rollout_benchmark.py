"""The benchmark of rollouts: its lengths, its arithmetic, and what makes its outputs as long as it says."""

import numpy as np
import pytest

from benchmarks.decoders import GivenLengths, Size
from benchmarks.rollout import TAILS, batch_steps, make_workloads, summarise
from tests.tiny import SEED, VOCAB, make_config, make_layout, make_params, make_prompts
from ulorl_jax.rollout.engine import EngineSpec, PolicyEngine
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.rollout.segments import SegmentSettings
from ulorl_jax.types import LIMIT


def test_the_tails_have_the_mean_and_the_percentile_they_are_named_after():
    workloads = make_workloads(Size(slots=16, prompt=8, limit=1000), samples=400)
    for name, mean, p80 in (("long tail", 0.32, 0.49), ("heavy tail", 0.20, 0.30)):
        assert TAILS[name] == (mean, p80)
        lengths = workloads[name].lengths
        assert len(lengths) == len(workloads[name].prompts) == 400
        assert lengths.mean() / 1000 == pytest.approx(mean, abs=0.005)
        # 320 of 400 are within the percentile and the next is beyond it, up to rounding to whole tokens.
        assert np.sum(lengths <= 1000 * p80 + 1) >= 320 >= np.sum(lengths < 1000 * p80 - 1)
        assert lengths.max() <= 1000 and lengths.min() >= 1
        assert np.any(np.diff(lengths) < 0)  # in no order
    assert workloads["fixed"].lengths.tolist() == [1000] * 16


def test_a_batch_takes_as_many_steps_as_its_longest_output():
    assert batch_steps(np.array([3, 9, 1, 2, 2, 7]), slots=2) == 9 + 2 + 7
    assert batch_steps(np.array([3, 9, 1]), slots=2) == 9 + 1


def test_a_speed_is_compared_with_the_faster_peer():
    table = summarise(
        {"fixed": {"ours, dense cache": [30.0, 10.0, 20.0], "tunix": [4.0, 6.0, 5.0], "other": [8.0] * 3}}
    )
    ours = table["fixed"]["ours, dense cache"]
    assert ours == {"tokens_per_s": 20.0, "least": 10.0, "most": 30.0, "of_best_peer": 2.5}
    assert table["fixed"]["tunix"]["of_best_peer"] == 5 / 8


def test_every_sample_ends_at_its_given_length():
    config = make_config()
    spec = EngineSpec(config, 3, 20 + 12, Sampling(0.85), (VOCAB,), make_layout("decoding"))
    rollout = GivenLengths(PolicyEngine(spec, SEED), SegmentSettings(6, 12, "keep", 1, 8, 1))
    rollout.lengths = np.array([12, 1, 7, 6, 3])
    rollout.pool.add_prompts(make_prompts(5), 1)
    done = []
    while rollout.pool.occupied or rollout.pool.waiting:
        done += rollout.run(make_params(config), 0, lambda: None)[0]
    assert {sample.id: sample.num_tokens for sample in done} == dict(enumerate([12, 1, 7, 6, 3]))
    assert all(sample.finished == LIMIT for sample in done)
