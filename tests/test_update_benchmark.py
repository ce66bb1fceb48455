"""The benchmark of updates: its samples, its arithmetic, and that all trainers make the same update."""

import dataclasses
import importlib.util
import json

import numpy as np
import pytest

from benchmarks.trainers import Ours, Transformers, Tunix, Work, padded, run_settings
from benchmarks.update import TAIL, make_work, summarise, write_folder
from tests.tiny import VOCAB, make_config

LIMIT = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("update") / "weights"
    write_folder(folder, make_config(), make_work(samples=6, prompt=5, limit=LIMIT, vocab_size=VOCAB))
    return folder


@pytest.fixture(scope="module")
def norms_of_ours(folder):
    work = Work.read(folder)
    trainer = Ours(folder, work)
    return [trainer.update(work) for _ in range(2)]


def test_the_samples_have_the_lengths_that_the_table_is_about():
    work = make_work(samples=16, prompt=64, limit=1024, vocab_size=8192)
    lengths = np.array([len(output) for output in work.outputs])
    assert round(lengths.mean()) == round(1024 * TAIL[0]) == 268 and lengths.max() == 1024
    assert work.tokens == 16 * 64 + lengths.sum()
    assert np.any(np.diff(lengths) < 0)  # in no order
    assert all(output.min() > 0 for output in work.outputs)  # 0 is padding to others


def test_the_samples_come_back_from_their_file(folder):
    work = make_work(samples=6, prompt=5, limit=LIMIT, vocab_size=VOCAB)
    again = Work.read(folder)
    assert dataclasses.asdict(again).keys() == dataclasses.asdict(work).keys()
    np.testing.assert_array_equal(again.prompts, work.prompts)
    np.testing.assert_array_equal(again.rewards, work.rewards)
    assert [output.tolist() for output in again.outputs] == [output.tolist() for output in work.outputs]
    assert work.advantages.mean() == pytest.approx(0, abs=1e-6) and np.all((work.advantages > 0) == work.rewards)


def test_a_padded_output_ends_where_its_mask_does():
    ids, mask = padded([np.array([3, 4]), np.array([5])], 3)
    assert ids.tolist() == [[3, 4, 0], [5, 0, 0]]
    assert mask.tolist() == [[True, True, False], [True, False, False]]


def test_ours_trains_with_the_objective_of_the_paper(folder):
    settings = run_settings(folder, Work.read(folder))
    assert (settings.loss.importance, settings.loss.sigma, settings.train.updates_per_step) == ("pois", 0.2, 1)


@pytest.mark.parametrize("trim", [False, True])
def test_transformers_makes_the_updates_that_ours_makes(folder, norms_of_ours, trim):
    pytest.importorskip("transformers")
    work = Work.read(folder)
    trainer = Transformers(folder, work, trim=trim, rows=4)
    # The second gradient is of weights that the first update has moved: AdamW is the same, too.
    assert [trainer.update(work) for _ in range(2)] == pytest.approx(norms_of_ours, rel=1e-3)
    assert abs(norms_of_ours[0] - norms_of_ours[1]) > 0.01 * norms_of_ours[0]


@pytest.mark.skipif(not importlib.util.find_spec("tunix"), reason="tunix is not among the requirements")
def test_tunix_makes_the_updates_that_ours_makes(folder, norms_of_ours):
    work = Work.read(folder)
    trainer = Tunix(folder, work)
    assert [trainer.update(work) for _ in range(2)] == pytest.approx(norms_of_ours, rel=1e-3)


def said(seconds, norm, peak):
    return [{"seconds": one, "grad_norm": norm, "peak": peak} for one in seconds]


def test_the_first_update_is_not_counted_and_the_peak_is_the_last_one():
    table = summarise(
        {"ours": said([9.0, 2.0, 1.0, 4.0], 1.0, 2**30), "tunix": said([9.0, 8.0], 1.0005, 2**31)}, 80, 1.0
    )
    ours, tunix = table["ours"], table["tunix"]
    assert (ours["tokens_per_s"], ours["least"], ours["most"], ours["of_floor"]) == (40.0, 20.0, 80.0, 2.0)
    assert (tunix["ours_is_faster"], ours["peak_gib"], tunix["peak_gib"]) == (4.0, 1.0, 2.0)
    json.dumps(table)


def test_trainers_whose_gradients_differ_are_not_compared():
    with pytest.raises(ValueError, match="differ by more than 0.001.*'tunix': 1.01"):
        summarise({"ours": said([1.0, 1.0], 1.0, 1), "tunix": said([1.0, 1.0], 1.01, 1)}, 80, 1.0)
