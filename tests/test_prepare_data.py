"""launch/prepare_data.py as a whole: the script itself, every format, both record steps, a model that is asked."""

import datetime
import http.server
import json
import math
import os
import pathlib
import subprocess
import sys
import threading

import numpy as np
import pytest

from configs import prepare_base, prepare_deepscaler
from ulorl_jax.io.prompts import Prompts, Source
from ulorl_jax.io.rows import read_rows, write_rows
from ulorl_jax.preparation import COLUMNS, PreparationSettings, run_preparation

ROOT = pathlib.Path(__file__).resolve().parents[1]
ROWS = [  # id, question, reference; what becomes of it by rules alone
    ("plain", "What is $2+3$?", "5"),
    ("worked", "How many are there?", "3 + 4 = 7\n#### 7"),
    ("options", "How long is it?\nA) 5\nB) 6\nC) 7", "B"),
    ("proof", "Find, with proof, the least $n$.", "3"),
    ("parts", "(1) Find $x$. (2) Find $y$.", "1"),
    ("no", "Is 91 a prime?", "No"),
    ("matrix", "Find the vector.", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
    ("marks", "What is the sum? What is the product?", "6"),
    ("needs options", "Which of the following is prime?\nA) 4\nB) 5\nC) 6", "B"),
    ("prose", "How many?", "We count them one by one and so we reach 12 apples in all baskets."),
    ("empty", "", "6"),
]
CHANGED = {
    "worked": ("How many are there?", "7"),
    "options": ("How long is it?", "6"),
    "proof": ("Find the least $n$.", "3"),
}
DROPPED = {"parts": "sub_questions", "no": "question_form", "matrix": "long_references"}
ASIDE = {"marks": "sub_questions", "needs options": "question_form", "prose": "short_answers"}


@pytest.fixture
def questions(tmp_path) -> pathlib.Path:
    path = tmp_path / "questions.jsonl"
    write_rows(path, [{"name": n, "q": {"text": q}, "answer": a, "level": 3} for n, q, a in ROWS])
    return path


def settings(path: pathlib.Path, changes: dict | None = None) -> PreparationSettings:
    config = prepare_base.get_config()
    own = {"data.path": str(path), "data.question_field": "q.text", "data.id_field": "name"}
    config.update_from_flattened_dict(own | (changes or {}))
    return PreparationSettings.from_dict(config.to_dict())


def rows_of(path: pathlib.Path) -> dict[str, dict]:
    return {row["id"]: row for _, row in read_rows(path)}


@pytest.mark.parametrize("suffix", ["parquet", "array_record", "jsonl"])
def test_every_row_is_in_one_file_with_its_step_and_reason(questions, tmp_path, suffix):
    folder = tmp_path / "cleaned"
    changes = {"output.format": suffix, "data.source": "mine", "data.extra_fields": ("level",)}
    report = run_preparation(settings(questions, changes), folder)
    kept, dropped = rows_of(folder / f"train.{suffix}"), rows_of(folder / f"dropped.{suffix}")
    aside = [row for _, row in read_rows(folder / "aside.jsonl")]
    assert list(kept) == ["plain", *CHANGED] and list(kept["plain"]) == [*COLUMNS, "level"]
    for name, question, answer in ROWS[: len(kept)]:
        row = kept[name]
        assert (row["question"], row["answer"]) == CHANGED.get(name, (question, answer))
        assert (row["original_question"] or row["question"]) == question
        assert (row["original_answer"] or row["answer"]) == answer
        assert (row["source"], row["level"]) == ("mine", 3)
    assert {name: row["step"] for name, row in dropped.items()} == DROPPED
    assert aside[0]["row"]["name"] == "empty" and aside[0]["step"] == "reading"
    assert {row["id"]: row["step"] for row in aside[1:]} == ASIDE
    assert all(row["reason"] and row["place"].startswith(f"{questions}:") for row in [*dropped.values(), *aside])
    assert len(kept) + len(dropped) + len(aside) == len(ROWS) == report["rows"]
    assert json.loads((folder / "report.json").read_text()) == report
    assert json.loads((folder / "config.json").read_text())["data"]["path"] == str(questions)
    assert "11 rows: 4 kept (3 of them changed), 3 dropped, 4 aside." in (folder / "report.md").read_text()


def test_rows_aside_may_hold_what_json_does_not_know_and_half_characters(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    made = datetime.datetime(2024, 1, 2)
    rows = [
        {"question": q, "answer": "2", "made": made, "image": b"\xff", "score": math.nan}
        for q in ("What is $1+1$?", None)
    ]
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    half = [{"question": q, "answer": "2"} for q in ("What is $1+1$?", "What is \ud800?")]
    write_rows(tmp_path / "rows.jsonl", half)
    for name, field, value in (
        ("rows.parquet", "made", "2024-01-02 00:00:00"),
        ("rows.jsonl", "question", "What is \ud800?"),
    ):
        changes = {"data.question_field": "question", "data.id_field": ""}
        folder = tmp_path / name.replace(".", "_")
        report = run_preparation(settings(tmp_path / name, changes), folder)
        assert (report["rows"], report["kept"], report["aside"]) == (2, 1, 1)
        [(_, aside)] = read_rows(folder / "aside.jsonl")
        assert aside["step"] == "reading" and aside["row"][field] == value


def test_what_is_written_is_a_source_to_train_on_and_cleaning_it_again_changes_nothing(questions, tmp_path):
    run_preparation(settings(questions), tmp_path / "once")
    source = Source("cleaned", tmp_path / "once" / "train.parquet", id_field="id")
    prompts = Prompts.read([source], _bytes, max_tokens=64, seed=0, shuffle=False).all()
    assert [prompt.question for prompt in prompts][1:] == [question for question, _ in CHANGED.values()]
    assert [prompt.reference for prompt in prompts] == ["5", "7", "6", "3"]
    again = {"data.question_field": "question", "data.id_field": "id"}
    report = run_preparation(settings(tmp_path / "once" / "train.parquet", again), tmp_path / "twice")
    assert (report["kept"], report["changed"], report["dropped"], report["aside"]) == (4, 0, 0, 0)
    assert not (tmp_path / "twice" / "dropped.parquet").exists()


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8).astype(np.int32)


def write_record(path: pathlib.Path, outputs: list[tuple[str, float]], weights: str) -> str:
    lines: list[dict] = [
        {"kind": "header", "weights": {"sha256": weights}},
        {"kind": "problem", "id": "1", "question": ROWS[0][1], "prompt": "", "reference": ROWS[0][2]},
    ]
    for sample, (answer, reward) in enumerate(outputs):
        told = {"output": "", "num_tokens": 1, "finished": "eos", "answer": answer, "reward": reward, "reason": ""}
        lines.append({"kind": "output", "problem": "1", "sample": sample} | told)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_records_of_evaluations_drop_what_is_too_easy_and_what_is_wrong(questions, tmp_path):
    easy = {"steps.too_easy": True, "too_easy.record": write_record(tmp_path / "r.jsonl", [("5", 1.0)] * 8, "s")}
    report = run_preparation(settings(questions, easy), tmp_path / "easy")
    assert report["steps"]["too_easy"]["dropped"] == 1 and report["kept"] == 3
    reasons = {reason["reason"]: reason["rows"] for reason in report["steps"]["too_easy"]["reasons"]}
    assert reasons == {"right in every try": 1, "no record of it": 3}
    records = tuple(write_record(tmp_path / f"{i}.jsonl", [("6", 0.0)] * 2, str(i)) for i in range(2))
    wrong = {"steps.wrong_references": True, "wrong_references.records": records}
    run_preparation(settings(questions, wrong), tmp_path / "wrong")
    assert rows_of(tmp_path / "wrong" / "dropped.parquet")["plain"]["step"] == "wrong_references"


class JudgingServer(http.server.ThreadingHTTPServer):
    """Says "several" of two question marks, rewrites options, and finds the 12 apples."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), JudgingHandler)


class JudgingHandler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][0]["content"]
        verdicts = {
            "product": {"verdict": "several"},
            "prime": {"verdict": "rewritten", "question": "What is the only prime among 4, 5 and 6?", "answer": "5"},
            "apples": {"verdict": "short", "answer": "12 apples"},
        }
        (reply,) = [verdict for word, verdict in verdicts.items() if word in prompt]
        check = prompt.partition("----- ")[2].partition(" -----")[0]
        content = f"<think>hm {{}}</think>\n{json.dumps({'check': check} | reply)}"
        body = json.dumps({"choices": [{"message": {"content": content}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_a_language_model_at_an_endpoint_decides_what_the_rules_leave_open(questions, tmp_path):
    with JudgingServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        changes = {"ask.kind": "endpoint", "ask.endpoint.url": url}
        report = run_preparation(settings(questions, changes), tmp_path / "cleaned")
        server.shutdown()
        thread.join()
    kept, dropped = (rows_of(tmp_path / "cleaned" / f"{name}.parquet") for name in ("train", "dropped"))
    assert dropped["marks"]["reason"] == "several question marks: several, says the model"
    assert (kept["needs options"]["question"], kept["needs options"]["answer"]) == (
        "What is the only prime among 4, 5 and 6?",
        "5",
    )
    assert kept["prose"]["answer"] == "12 apples" and report["aside"] == 1 and report["model_failures"] == {}


def script(*flags: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "launch/prepare_data.py", *flags],
        cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_the_script_cleans_and_refuses_a_folder_that_holds_something(questions, tmp_path):
    flags = [
        "--config=configs/prepare_base.py",
        f"--config.data.path={questions}",
        "--config.data.question_field=q.text",
        "--config.data.id_field=name",
    ]
    done = script(*flags, f"--workdir={tmp_path / 'cleaned'}")
    assert done.returncode == 0, done.stderr
    assert '"kept": 4' in done.stdout and "cleaning: 40/40" in done.stdout
    before = {path: path.read_bytes() for path in (tmp_path / "cleaned").iterdir()}
    again = script(*flags, f"--workdir={tmp_path / 'cleaned'}")
    assert again.returncode == 1 and again.stderr.startswith("error: ") and "give another destination" in again.stderr
    assert len(again.stderr.splitlines()) == 1
    assert {path: path.read_bytes() for path in (tmp_path / "cleaned").iterdir()} == before
    shown = script(*flags, "--show=50", "--show_step=question_form")
    assert shown.returncode == 0 and "id: options" in shown.stdout and "new question: How long is it?" in shown.stdout
    assert "id: plain" not in shown.stdout
    assert [path.name for path in tmp_path.iterdir() if "cleaned" in path.name] == ["cleaned"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.path": ""}, "data.path is the file of the questions"),
        ({"data.path": "none.jsonl"}, "no such file: none.jsonl"),
        ({"steps.too_easy": True}, "reads the record of the start policy's evaluation"),
        ({"steps.wrong_references": True}, "from 2 to the number of records, 0"),
        ({"output.format": "csv"}, "output.format must be one of"),
        ({"data.extra_fields": ("a.answer",)}, "data.extra_fields end in names of their own"),
        ({"long_references.max_characters": 0}, "must be at least 1"),
        ({"ask.kind": "friend"}, "ask.kind must be one of"),
    ],
)
def test_settings_that_cannot_be_are_refused_and_nothing_is_written(questions, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        run_preparation(settings(questions, changes), tmp_path / "cleaned")
    assert not (tmp_path / "cleaned").exists()


def test_an_occupied_folder_is_refused_before_anything_is_read_or_asked(questions, tmp_path):
    with pytest.raises(ValueError, match="give another destination"):
        run_preparation(settings(tmp_path / "none.jsonl"), questions.parent)


def test_the_first_300_rows_of_deepscaler_are_cleaned_and_accounted_for(data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("ULORL_DATA", str(data_dir))
    config = prepare_deepscaler.get_config()
    source = pathlib.Path(config.data.path)
    if not source.is_file():
        pytest.skip(f"no {source}")
    few = [row for (_, row), _ in zip(read_rows(source), range(300), strict=False)]
    write_rows(tmp_path / "few.parquet", few)
    config.data.path = str(tmp_path / "few.parquet")
    report = run_preparation(PreparationSettings.from_dict(config.to_dict()), tmp_path / "cleaned")
    kept, dropped = (rows_of(tmp_path / "cleaned" / f"{name}.parquet") for name in ("train", "dropped"))
    aside = rows_of(tmp_path / "cleaned" / "aside.jsonl")
    assert {*kept, *dropped, *aside} == {str(row["extra_info"]["index"]) for row in few}
    assert len(kept) + len(dropped) + len(aside) == 300 == report["rows"]
    assert 270 < len(kept) < 295 and 5 < len(dropped) < 25 and report["changed"] > 2
