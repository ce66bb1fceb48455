import io
import math
import xml.etree.ElementTree

import matplotlib.image
import numpy as np
import pytest

from ulorl_jax.io.metrics import Metrics, read_metrics
from ulorl_jax.io.plots import plot_run, plot_scores
from ulorl_jax.types import EOS, LIMIT

TITLES = ["Reward", "Entropy", "Mastered tokens", "Output length", "Off-policy", "Time by phase"]


def rows_of(steps):
    rows = [{"step": 0, "heldout/sampled": 0.45, "heldout/greedy": 0.47}]
    for step in range(1, steps + 1):
        row = {
            "step": step,
            "reward/mean": 0.5 + step / 200,
            "entropy/mean": 0.2,
            "dmmpt/mpt_frac": 0.5,
            "dmmpt/masked_frac": 0.2,
            "rollout/len_mean": 40.0,
            "rollout/len_p50": 33.0,
            "rollout/len_p99": 111.0,
            "ratio/clip_frac": 0.0,
            "mismatch/kl": 1e-7,
            "time/decode_s": 1.0,
            "time/update_s": 20.0 if step == 1 else 2.0,
            "time/step_s": 3.0,
        }
        rows.append(row)
    return rows


def svg_texts(path):
    """Texts of an SVG; matplotlib draws letters as paths and leaves the text in a comment above them."""
    parser = xml.etree.ElementTree.XMLParser(target=xml.etree.ElementTree.TreeBuilder(insert_comments=True))
    tree = xml.etree.ElementTree.parse(path, parser)
    return [(node.text or "").strip() for node in tree.iter() if node.tag is xml.etree.ElementTree.Comment]


def test_a_png_has_six_panels_with_something_drawn_in_each(tmp_path):
    plot_run(rows_of(40), tmp_path / "run.png", sigma=0.12)
    image = matplotlib.image.imread(io.BytesIO((tmp_path / "run.png").read_bytes()))[:, :, :3]
    height, width, _ = image.shape
    assert width > 1000 and height > 600
    colourful = np.ptp(image, axis=2) > 0.2
    for row in range(2):
        for column in range(3):
            panel = colourful[
                row * height // 2 : (row + 1) * height // 2, column * width // 3 : (column + 1) * width // 3
            ]
            assert panel.sum() > 100, (row, column)
    assert [path.name for path in tmp_path.iterdir()] == ["run.png"]


def test_every_panel_line_and_unit_is_named(tmp_path):
    plot_run(rows_of(40), tmp_path / "run.svg", sigma=0.12)
    texts = svg_texts(tmp_path / "run.svg")
    for title in TITLES:
        assert any(text.startswith(title) for text in texts), title
    for label in ("held out, sampled", "held out, greedy", "sigma = 0.12", "clipped", "median", "decode", "update"):
        assert label in texts
    for unit in ("nats per token", "tokens", "seconds per step", "share of response tokens"):
        assert unit in texts
    assert texts.count("step") == 6


def test_a_step_that_compiles_does_not_flatten_the_others(tmp_path):
    plot_run(rows_of(40), tmp_path / "run.svg", sigma=None)
    texts = svg_texts(tmp_path / "run.svg")
    assert "a step took up to 21 s" in texts
    assert not any(text.startswith("sigma") for text in texts)
    assert "3.0" in texts and "20.0" not in texts  # ticks of the seconds


def test_missing_and_not_finite_values_are_not_drawn(tmp_path):
    rows = [{"step": 1, "reward/mean": math.nan, "entropy/mean": math.inf}, {"step": 2, "reward/mean": 0.5}]
    plot_run(rows, tmp_path / "run.svg", sigma=None)
    texts = svg_texts(tmp_path / "run.svg")
    assert texts.count("nothing measured") == 5 and "training" in texts


@pytest.mark.parametrize("rows", [[], rows_of(0), rows_of(1), rows_of(2)], ids=["none", "start", "one", "two"])
def test_a_run_that_has_hardly_begun_can_be_drawn(tmp_path, rows, recwarn):
    plot_run(rows, tmp_path / "run.png", sigma=0.12)
    assert (tmp_path / "run.png").stat().st_size > 10_000
    assert not [warning for warning in recwarn if issubclass(warning.category, UserWarning | RuntimeWarning)]


def test_what_metrics_wrote_can_be_drawn(tmp_path):
    with Metrics(tmp_path, after_step=-1) as metrics:
        for row in rows_of(3):
            metrics.write(
                row["step"], {name: value for name, value in row.items() if name != "step"} | {"a/b": math.nan}
            )
    plot_run(read_metrics(tmp_path / "metrics.jsonl"), tmp_path / "run.png", sigma=0.12)
    assert (tmp_path / "run.png").exists()


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must end in .png or .svg, got 'run.pdf'"):
        plot_run([], tmp_path / "run.pdf", sigma=None)
    with pytest.raises(ValueError, match=r"must end in .png or .svg, got 'scores.pdf'"):
        plot_scores([], tmp_path / "scores.pdf")


OUTPUTS = [
    {"problem": problem, "reward": reward, "num_tokens": 10 * number + 1, "finished": LIMIT if number == 4 else EOS}
    for problem in ("a", "b")
    for number, reward in enumerate([1.0, 0.0, None, 1.0, 0.0])
]


def test_the_outputs_of_an_evaluation_are_counted_by_verdict(tmp_path):
    plot_scores(OUTPUTS, tmp_path / "scores.svg")
    texts = svg_texts(tmp_path / "scores.svg")
    for text in ("right (4)", "wrong (2)", "truncated (2)", "error (2)", "mean 0.500", "tokens", "outputs"):
        assert text in texts, text
    plot_scores(OUTPUTS[:1], tmp_path / "scores.svg")
    texts = svg_texts(tmp_path / "scores.svg")
    assert "right (1)" in texts and not any(text.startswith(("wrong", "error", "truncated")) for text in texts)


@pytest.mark.parametrize("outputs", [[], OUTPUTS[2:3]], ids=["none", "an error"])
def test_an_evaluation_without_verdicts_can_be_drawn(tmp_path, outputs, recwarn):
    plot_scores(outputs, tmp_path / "scores.png")
    assert (tmp_path / "scores.png").stat().st_size > 10_000
    assert not [warning for warning in recwarn if issubclass(warning.category, UserWarning | RuntimeWarning)]
