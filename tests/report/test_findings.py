import math

import pytest

from tests import runs
from ulorl_jax.report.findings import entropy_bounds, find
from ulorl_jax.report.runs import Run

QUIET = {
    "entropy/mean": 0.2,
    "groups/informative": 3.0,
    "reward/errors": 0.0,
    "train/skipped": 0.0,
    "mismatch/kl": 1e-9,
}


def a_run(tmp_path, rows=None, summary=None, **config):
    """Twenty quiet steps, changed by step."""
    settings = {"loss": {"sigma": 0.2, "importance": "pois"}, "rollout": {}, "model": {}}
    for name, values in {
        "verify": {"max_error_rate": 0.25},
        "train": {"max_skipped_in_a_row": 5},
        "rollout": {"segments": 4, "top_p": 1.0, "top_k": 0, "kv": "recompute", "recompute_every": 1,
                    "pages": {"dtype": "model"}},
        "model": {"dtype": "float32"},
    }.items():  # fmt: skip
        settings[name] = values
    for name, value in config.items():
        section, _, key = name.partition("__")
        settings[section][key] = value
    all_rows = [{"step": step} | QUIET | (rows or {}).get(step, {}) for step in range(1, 21)]
    return Run("r", tmp_path, settings | {"steps": 20}, summary or {}, all_rows)


def titles(run):
    return [(finding.level, finding.title) for finding in find(run)]


def test_a_quiet_run_has_no_findings(tmp_path):
    assert find(a_run(tmp_path)) == []


def test_the_keys_that_are_read_are_those_of_a_config(tmp_path):
    settings = runs.settings()
    config = {"loss": vars(settings.loss), "verify": vars(settings.verify), "train": vars(settings.train)}
    config |= {"model": vars(settings.model), "steps": 20}
    config["rollout"] = vars(settings.rollout) | {"pages": vars(settings.rollout.pages)}
    values = {"reward/errors": 1.0, "train/skipped": 1.0, "mismatch/kl": 1.0, "groups/informative": 0.0}
    rows = [{"step": 1} | QUIET | values | {"staleness/ratio_p01": 0.1}]
    assert len(find(Run("r", tmp_path, config, {"stopped": "SIGTERM", "steps": 1}, rows))) == 6


# The mean of 0.2 and four times 0.09 is 0.112, of five times 0.09 below 0.1; of 0.2 and four times 0.35 it is 0.32.
@pytest.mark.parametrize(
    "entropy, word, seen",
    [
        (0.09, "under 0.1 nats", "in 6 of 20 steps, first in step 15"),
        (0.35, "over 0.3 nats", "in 7 of 20 steps, first in step 14"),
    ],
)
def test_entropy_beyond_its_bounds_is_told_with_bound_step_and_reason(tmp_path, entropy, word, seen):
    rows = {step: {"entropy/mean": entropy} for step in range(11, 21)}
    (finding,) = find(a_run(tmp_path, rows))
    assert finding.title == f"Entropy {word}" and seen in finding.text
    assert "sigma = 0.2" in finding.text and "the paper's policies" in finding.text


def test_one_step_beyond_the_bounds_is_noise(tmp_path):
    assert find(a_run(tmp_path, {10: {"entropy/mean": 0.6}})) == []


@pytest.mark.parametrize("sigma", [0.0, math.inf])
def test_without_a_threshold_the_bounds_follow_from_the_runs_start(tmp_path, sigma):
    low, high, why = entropy_bounds(a_run(tmp_path, loss__sigma=sigma))
    assert (low, high) == pytest.approx((0.1, 0.3)) and "start (0.2)" in why


def test_a_start_above_sigma_moves_the_upper_bound(tmp_path):
    assert entropy_bounds(a_run(tmp_path, loss__sigma=0.1))[:2] == pytest.approx((0.05, 0.3))


def test_errors_skips_evictions_and_steps_without_groups_are_counted(tmp_path):
    rows = {
        1: {"groups/informative": 0.0},
        3: {"reward/errors": 2.0, "rollout/evicted": 4.0},
        7: {"reward/errors": 1.0, "train/skipped": 1.0, "loss/policy": math.nan},
    }
    assert titles(a_run(tmp_path, rows)) == [
        ("warning", "3 outputs without a verdict"),
        ("warning", "1 update skipped"),
        ("warning", "loss/policy is not finite"),
        ("note", "4 samples evicted"),
        ("note", "1 step without an informative group"),
    ]
    assert "in steps 3, 7;" in find(a_run(tmp_path, rows))[0].text


def test_many_steps_without_a_group_are_a_warning(tmp_path):
    rows = {step: {"groups/informative": 0.0} for step in range(1, 11)}
    assert titles(a_run(tmp_path, rows)) == [("warning", "10 steps without an informative group")]
    assert "in 10 steps, from 1 to 10" in find(a_run(tmp_path, rows))[0].text


@pytest.mark.parametrize(
    "kl, config, level",
    [
        (1e-5, {}, "warning"),
        (1e-5, {"model__dtype": "bfloat16"}, None),
        (1e-5, {"rollout__pages": {"dtype": "int8"}}, None),
        (2e-3, {"model__dtype": "bfloat16"}, "warning"),
        (2e-3, {"rollout__top_p": 0.9}, "note"),
        (2e-3, {"rollout__kv": "keep"}, "note"),
        (2e-3, {"rollout__recompute_every": 2}, "note"),
    ],
)
def test_a_mismatch_is_large_by_what_the_run_computes_in_and_expected_where_it_asks_for_it(tmp_path, kl, config, level):
    found = titles(a_run(tmp_path, {5: {"mismatch/kl": kl}}, **config))
    assert found == ([(level, "Sampler and trainer disagree")] if level else [])


def test_a_run_that_was_stopped_says_where(tmp_path):
    (finding,) = find(a_run(tmp_path, summary={"stopped": "SIGTERM", "steps": 12}))
    assert (finding.level, finding.title, finding.text) == ("note", "Stopped by SIGTERM", "After step 12 of 20.")


def test_pois_on_tokens_whose_probability_has_fallen_far_is_warned_of_and_a_loss_that_clips_is_not(tmp_path):
    # Five steps of 0.6 after fifteen of 0.9: the mean is 0.9, 0.84, ..., 0.66, 0.6; under 0.7 in the last two.
    rows = {step: {"staleness/ratio_p01": 0.6 if step > 15 else 0.9} for step in range(1, 21)}
    (finding,) = find(a_run(tmp_path, rows))
    assert (finding.level, finding.title) == ("warning", "Old tokens below 0.7 of their probability")
    assert "under 0.7 in steps 19, 20; now it is 0.6" in finding.text and "loss.importance=sais" in finding.text
    assert find(a_run(tmp_path, rows, loss__importance="sais")) == []
    assert find(a_run(tmp_path, {step: {"staleness/ratio_p01": 0.9} for step in range(1, 21)})) == []
