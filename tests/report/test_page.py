import json
import math
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

import ulorl_jax.report
from tests.report import recorded
from tests.runs import ROOT
from ulorl_jax.io.metrics import read_metrics
from ulorl_jax.report.page import SCRIPTS, write_report


def report(tmp_path, *folders, **options):
    path, _ = write_report(folders, tmp_path / "report.html", **options)
    page = path.read_text()
    return page, recorded.unpack(page)


def samples_of(data, run=0):
    """The samples of a run in full, each with its line of the table."""
    table = data["table"]
    lines = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    return [(line, data[f"block-{line['block']}"][line["row"]]) for line in lines if line["run"] == run]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return recorded.record(tmp_path_factory.mktemp("runs") / "one", output=recorded.HOSTILE + "#{answer}")


def test_the_curves_are_the_metrics(tmp_path, run):
    _, data = report(tmp_path, run)
    columns = data["about"]["runs"][0]["columns"]
    for name in ("step", "reward/mean", "heldout/sampled", "time/decode_s", "mismatch/kl"):
        wanted = [row.get(name, math.nan) for row in read_metrics(run / "metrics.jsonl")]
        shown = [math.nan if value is None else value for value in columns[name]]
        assert shown == pytest.approx(wanted, rel=1e-5, nan_ok=True)
    assert columns["heldout/sampled"][:3] == [0.25, None, 0.52]
    assert columns["x/trained"] == [0, 100, 200, 300, 400, 500, 600]
    assert columns["x/seconds"] == [0, 1, 2, 3, 4, 5, 6]
    lengths = [tokens for tokens, _ in json.loads((run / "lengths" / "step_000002.json").read_text())]
    assert columns["rollout/len_p99"][2] == pytest.approx(max(lengths), abs=1) and columns["rollout/len_p10"][0] is None


@pytest.mark.parametrize("newer", [True, False], ids=["traces of today", "older traces"])
def test_the_samples_are_those_of_the_traces(tmp_path, newer):
    folder = recorded.record(tmp_path / "run", newer=newer, steps=2, output=recorded.HOSTILE + "#{answer}")
    _, data = report(tmp_path, folder)
    shown, rows = samples_of(data), recorded.traces(folder)
    assert len(shown) == len(rows) == 16
    texts = data["about"]["texts"][0]
    for (line, sample), row in zip(shown, rows, strict=True):
        for name in ("tokens", "logp", "question", "prompt", "reference", "reason", "source"):
            assert sample[name] == row[name]
        for name in ("policy_logp", "entropy", "mastered", "masked", "advantage"):
            assert sample.get(name) == row.get(name)
        pieces = [sample["pieces"].get(str(i), texts.get(str(number))) for i, number in enumerate(row["tokens"])]
        assert "".join(pieces) == recorded.TOKENIZER.decode(row["tokens"])
        assert [segment[2] for segment in sample["segments"]] == [s["num_tokens"] for s in row["segments"]]
        assert (line["sample"], line["reward"], line["tokens"]) == (row["sample"], row["reward"], len(row["tokens"]))
        assert (line["group"], line["use"]) == (row.get("group", row["prompt_id"]), row.get("use"))
    trained = [line for line, _ in shown if line["use"] == "trained"]
    assert len(trained) == 8 * newer and all(line["entropy"] > 0 for line in trained)


def test_nothing_that_a_model_wrote_is_markup(tmp_path, run):
    named = run.rename(run.with_name("<b>&{{script}}"))
    try:
        page, data = report(tmp_path, named)
    finally:
        named.rename(run)
    texts, tokens = data["about"]["texts"][0], samples_of(data)[0][1]["tokens"]
    assert "<img src=x onerror" in "".join(texts.get(str(number), "") for number in tokens)
    assert "onerror" not in page and "<img" not in page
    blocks = len([name for name in data if name.startswith("block-")])
    assert page.count("<script") == page.count("</script>") == 2 + blocks + 1  # about, table, blocks; the page's own
    assert "<title>UloRL: &lt;b&gt;&amp;{{script}}</title>" in page


def test_the_page_asks_no_network_and_lets_no_other_script_run(tmp_path, run):
    page, _ = report(tmp_path, run)
    assert re.findall(r"https?://[^\s\"']+", page) == ["http://www.w3.org/2000/svg"]  # a name, not an address
    assert not re.search(r"<link|<script[^>]* src|@import|url\(", page)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy


def test_the_same_runs_give_the_same_page(tmp_path, run):
    assert report(tmp_path, run)[0] == report(tmp_path, run)[0]


def test_of_a_run_that_goes_on_what_is_whole_is_shown(tmp_path):
    folder = recorded.record(tmp_path / "run", steps=3)
    (folder / "summary.json").unlink()
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "reward/me')
    last = folder / "rollouts" / "step_000003.jsonl"
    last.write_bytes(last.read_bytes()[:-40])
    _, data = report(tmp_path, folder)
    (about,) = data["about"]["runs"]
    assert about["columns"]["step"] == [0, 1, 2, 3] and about["summary"] == about["environment"] == {}
    assert len(samples_of(data)) == 8 + 8 + 7


def test_a_run_that_has_just_begun_has_an_empty_page(tmp_path):
    folder = recorded.record(tmp_path / "run", steps=0)
    (folder / "metrics.jsonl").write_text('{"step": 0, "held')
    _, data = report(tmp_path, folder)
    (about,) = data["about"]["runs"]
    assert about["columns"] == {"step": [], "x/seconds": [], "x/trained": []} and about["entropy_bounds"] is None
    assert data["table"]["step"] == about["findings"] == []


def test_what_is_not_finite_is_left_out_of_curves_and_named_in_configs(tmp_path):
    folder = recorded.record(
        tmp_path / "run", config={"loss.sigma": float("inf")}, metrics={2: {"reward/mean": float("nan")}}
    )
    about = report(tmp_path, folder)[1]["about"]["runs"][0]
    assert about["columns"]["reward/mean"][1:4] == [0.1, None, 0.3] and about["config"]["loss"]["sigma"] == "Infinity"
    assert ["warning", "reward/mean is not finite", "In step 2; the curves leave it out."] in about["findings"]


def test_several_runs_are_overlaid_under_names_that_tell_them_apart(tmp_path):
    folders = [recorded.record(tmp_path / f / "run", steps=2, config={"seed": n}) for f, n in (("a", 1), ("b", 2))]
    _, data = report(tmp_path, *folders)
    assert [run["name"] for run in data["about"]["runs"]] == ["a/run", "b/run"]
    assert [run["config"]["seed"] for run in data["about"]["runs"]] == [1, 2]
    assert [len(samples_of(data, number)) for number in (0, 1)] == [16, 16]


def test_the_default_place_is_the_runs_folder_or_that_of_all_runs(tmp_path):
    folders = [recorded.record(tmp_path / name, steps=1) for name in "ab"]
    assert write_report(folders[:1])[0] == tmp_path / "a" / "report.html"
    assert write_report(folders)[0] == tmp_path / "report.html"


def test_of_a_run_with_too_many_tokens_every_nth_step_is_shown_and_the_rest_counted(tmp_path, run):
    rows = recorded.traces(run)
    tokens = sum(len(row["tokens"]) for row in rows)
    path, remarks = write_report([run], tmp_path / "report.html", max_tokens=tokens // 2)
    steps = [line["step"] for line, _ in samples_of(recorded.unpack(path.read_text()))]
    assert sorted(set(steps)) == [2, 4, 6] and "24 recorded samples are not in the page" in remarks[0]
    path, remarks = write_report([run], tmp_path / "report.html", max_tokens=tokens)
    assert len(samples_of(recorded.unpack(path.read_text()))) == len(rows) and not remarks


def test_a_folder_that_is_no_run_and_a_run_given_twice_are_refused(tmp_path, run):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no config.json and no metrics.jsonl; give the workdir"):
        write_report([tmp_path / "empty"])
    with pytest.raises(ValueError, match="more than once"):
        write_report([run, f"{run}/"])
    with pytest.raises(ValueError, match="no run given"):
        write_report([])


def test_a_damaged_trace_is_named_with_its_line(tmp_path):
    folder = recorded.record(tmp_path / "run", steps=1)
    path = folder / "rollouts" / "step_000001.jsonl"
    path.write_text(path.read_text().replace('{"sample": 1,', '{"sample" 1,'))
    with pytest.raises(ValueError, match=r"step_000001\.jsonl:2: not JSON"):
        write_report([folder])


def test_the_script_says_where_the_page_is_and_answers_mistakes_in_a_line(tmp_path, run):
    line = [sys.executable, "launch/report.py"]
    done = subprocess.run([*line, run, f"--out={tmp_path}/x.html"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(f"{tmp_path}/x.html (0.")
    refused = subprocess.run([*line, tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 1 and refused.stderr.startswith(f"error: {tmp_path} has no config.json")


def test_an_installed_package_has_the_browsers_part():
    folder = pathlib.Path(ulorl_jax.report.__file__).parent
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    taken = {path.name for pattern in patterns["ulorl_jax.report"] for path in folder.glob(pattern)}
    assert taken == {path.name for path in folder.iterdir() if path.suffix not in (".py", "")}
    assert taken == {"page.html", "page.css", *SCRIPTS}
