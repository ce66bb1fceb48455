"""launch/evaluate.py, and an evaluation that is killed, resumed, refused and scored again."""

import contextlib
import io
import json
import pathlib
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.evaluation import aime2024, aime2025, base, gsm8k, math500, paper_140k
from tests import runs, several
from ulorl_jax.evaluation import run_evaluation
from ulorl_jax.evaluation_settings import EvaluationSettings
from ulorl_jax.io.hf_weights import write_hf_weights
from ulorl_jax.io.record_reader import FINAL, read_record
from ulorl_jax.io.records import PARTIAL
from ulorl_jax.io.samples import encode_samples
from ulorl_jax.models.hf_qwen3 import config_to_hf, hf_tensors
from ulorl_jax.models.qwen3 import Qwen3Config, forward_packed
from ulorl_jax.models.qwen3_params import init_params
from ulorl_jax.scoring import score_record
from ulorl_jax.verify.comparison import UNSURE, Comparison
from ulorl_jax.verify.final_answer import FinalAnswer
from ulorl_jax.verify.rules import Rules

CONFIGS = {"aime2024": aime2024, "aime2025": aime2025, "gsm8k": gsm8k, "math500": math500, "paper_140k": paper_140k}
SHAPE = Qwen3Config(
    vocab_size=128, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=8, rope_theta=1e4,
)  # fmt: skip
K, PROBLEMS = 6, 32
SMALL = {
    "dtype": "float32",
    "tokenizer.kind": "bytes",
    "tokenizer.eos_ids": (10,),
    "prompt.template": "{question}",
    "prompt.chat": False,
    "data.id_field": "id",
    "verify.kind": "final_answer",
    "verify.marker": "#",
    "decoding.samples": K,
    "decoding.output_limit": 48,
    "decoding.max_prompt_tokens": 8,
    "decoding.slots": 8,
    "decoding.segment_length": 4,
    "decoding.commit_every": 3,
    "decoding.prefill_rows": 8,
    "decoding.prefill_chunk": 16,
    "scoring.pass_at": (1, K),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict:
    """Overrides that name a network which writes "#", "1", "2" and ends by chance, and questions for it."""
    folder = tmp_path_factory.mktemp("files")
    params = init_params(jax.random.key(0), SHAPE)
    # One large feature, the same in every state, makes the mean of the logits; the rest of the state varies them.
    params["embed"] = params["embed"].at[:, 0].set(20.0)
    shares = {"#": 0.3, "1": 0.3, "2": 0.3, "\n": 0.1}
    wanted = np.full(SHAPE.vocab_size, -30.0)
    wanted[[ord(character) for character in shares]] = np.log(list(shares.values()))
    text = np.frombuffer(b"12#21#1#22" * 4, np.uint8).astype(np.int32)[None]
    state = forward_packed(params, SHAPE, text, np.arange(text.size)[None], np.ones_like(text))[0].mean(0)
    head = np.random.default_rng(0).normal(0, 0.7, (SHAPE.hidden_size, SHAPE.vocab_size))
    head[0] = (wanted - state[1:] @ head[1:]) / state[0]
    params["head"] = jnp.asarray(head, jnp.float32)
    with contextlib.redirect_stdout(io.StringIO()):
        write_hf_weights(
            folder / "weights", hf_tensors(SHAPE), params, dtype="float32", config=config_to_hf(SHAPE, "float32")
        )
    rows = [{"question": f"{i}+{i}=", "answer": "#1" if i % 2 else "#2", "id": f"q{i}"} for i in range(PROBLEMS)]
    rows += [{"question": "long" * 9, "answer": "#1", "id": "long"}, {"question": "?", "answer": "#", "id": "none"}]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"weights": str(folder / "weights"), "data.path": str(folder / "questions.jsonl")}


def settings(files: dict, changes: dict | None = None, **decoding) -> EvaluationSettings:
    """As launch/evaluate.py makes them; a mesh of this process's eight devices."""
    config = base.get_config()
    changes = (changes or {}) | {f"decoding.{name}": value for name, value in decoding.items()}
    config.update_from_flattened_dict(SMALL | files | changes)
    return EvaluationSettings.from_dict(config.to_dict())


@pytest.fixture(scope="module")
def whole(files, tmp_path_factory) -> pathlib.Path:
    """The folder of an evaluation that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    run_evaluation(settings(files), folder)
    return folder


def script(files: dict, workdir: pathlib.Path) -> list[str]:
    flags = [f"--config.{key}={value}" for key, value in (SMALL | files).items()]
    return [sys.executable, "launch/evaluate.py", "--config=configs/evaluation/base.py", f"--workdir={workdir}", *flags]


def num_outputs(workdir: pathlib.Path) -> int:
    """In the record that is being made."""
    path = workdir / PARTIAL
    return path.read_bytes().count(b'{"kind": "output"') if path.exists() else 0


def run_script(*flags: str) -> subprocess.CompletedProcess:
    """The script where any use of a device would be an error."""
    line = [sys.executable, "launch/evaluate.py", *flags]
    env = runs.environment() | {"JAX_PLATFORMS": "no_such_platform"}
    return subprocess.run(line, cwd=runs.ROOT, env=env, capture_output=True, text=True, timeout=runs.DEADLINE)


@pytest.mark.slow
def test_the_script_killed_at_any_moment_makes_the_record_of_one_that_was_not(files, tmp_path):
    assert runs.finish(runs.start_command(tmp_path / "whole", script(files, tmp_path / "whole"))) == 0
    workdir = tmp_path / "cut"
    for number, more in ((signal.SIGKILL, 20), (signal.SIGTERM, 1)):
        least = num_outputs(workdir) + more  # beyond what a kill left, so that the new process has come that far
        process = runs.start_command(workdir, script(files, workdir))
        runs.wait_for(lambda least=least: num_outputs(workdir) >= least, process, f"{least} outputs")
        process.send_signal(number)
        assert runs.finish(process) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
        assert num_outputs(workdir) < PROBLEMS * K and not (workdir / FINAL).exists()
    assert '"stopped": "SIGTERM"' in (tmp_path / "cut.out").read_text()
    assert runs.finish(runs.start_command(workdir, script(files, workdir))) == 0
    assert (workdir / FINAL).read_bytes() == (tmp_path / "whole" / FINAL).read_bytes()

    summary = runs.summary(workdir)
    scored = run_script(f"--rescore={workdir / FINAL}")
    assert scored.returncode == 0, scored.stderr
    scores = json.loads(scored.stdout)
    assert scores == {name: value for name, value in summary.items() if name not in ("dropped", "seconds")}
    assert sorted(path.name for path in workdir.iterdir()) == ["config.json", FINAL, "scores.png", "summary.json"]


def start_several(files: dict, workdir: pathlib.Path, count: int) -> several.Several:
    """The script in so many processes."""
    where = [f"--processes={count}", f"--coordinator=localhost:{several.free_port()}"]
    return several.start(workdir, [[*script(files, workdir), *where, f"--process_id={i}"] for i in range(count)])


@pytest.mark.slow
def test_what_two_processes_were_stopped_in_one_goes_on_with_and_the_record_is_that_of_one(files, whole, tmp_path):
    workdir = tmp_path / "run"
    both = start_several(files, workdir, 2)
    try:
        runs.wait_for(lambda: num_outputs(workdir) >= 20, both.processes[0], "20 outputs")
    finally:
        both.processes[1].send_signal(signal.SIGTERM)
    assert both.codes() == [0, 0], both.said(0) + both.said(1)
    assert '"stopped": "SIGTERM"' in both.said(0, "out") and both.said(1, "out") == ""
    assert 20 <= num_outputs(workdir) < PROBLEMS * K
    assert runs.finish(runs.start_command(workdir, script(files, workdir))) == 0
    assert (workdir / FINAL).read_bytes() == (whole / FINAL).read_bytes()


@pytest.mark.slow
def test_what_one_process_was_killed_in_two_go_on_with_and_the_record_is_that_of_one(files, whole, tmp_path):
    workdir = tmp_path / "run"
    process = runs.start_command(workdir, script(files, workdir))
    runs.wait_for(lambda: num_outputs(workdir) >= 20, process, "20 outputs")
    process.kill()
    assert runs.finish(process) == -signal.SIGKILL
    both = start_several(files, workdir, 2)
    assert both.codes() == [0, 0], both.said(0) + both.said(1)
    assert (workdir / FINAL).read_bytes() == (whole / FINAL).read_bytes()
    scores = runs.summary(workdir)
    assert scores["avg@6"] == runs.summary(whole)["avg@6"] and both.said(1, "out") == ""


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "--config and --workdir must be given (or --rescore alone)"),
        (("--config=configs/evaluation/aime2025.py",), "--config and --workdir must be given"),
        (("--rescore=nowhere", "--workdir=x"), "leave --config and --workdir out"),
        (("--rescore=nowhere",), "no such record: nowhere; give the record.jsonl of an evaluation"),
        (("--config=configs/evaluation/aime2025.py", "--workdir=x"), "set --config.weights"),
        (("--config=configs/evaluation/aime2025.py", "--config.k=3"), "configs/evaluation/base.py has all keys"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistaken_command_is_answered_in_a_line(flags, message):
    done = run_script(*flags)
    assert done.returncode == 1 and message in done.stderr
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1


class Killed(BaseException):
    """Comes out of nowhere, like a kill; no code of the project catches it."""


@pytest.mark.parametrize("moments", [(1,), (2, 1, 3)])
def test_a_kill_between_two_commits_loses_what_came_after_the_first_and_nothing_else(
    files, whole, tmp_path, monkeypatch, moments
):
    for moment in moments:
        calls = iter(range(moment))

        def encode(samples, calls=calls):
            if next(calls, None) is None:
                raise Killed  # a round's outputs are in the file, its commit is not
            return encode_samples(samples)

        monkeypatch.setattr("ulorl_jax.evaluation.encode_samples", encode)
        with pytest.raises(Killed):
            run_evaluation(settings(files), tmp_path)
    monkeypatch.undo()
    run_evaluation(settings(files), tmp_path)
    assert (tmp_path / FINAL).read_bytes() == (whole / FINAL).read_bytes()


def test_slots_segments_and_commits_change_how_and_not_what(files, whole, tmp_path):
    other = settings(files, slots=16, segment_length=7, commit_every=2, prefill_chunk=11)
    summary = run_evaluation(other, tmp_path)
    assert (tmp_path / FINAL).read_bytes() == (whole / FINAL).read_bytes()
    assert summary["avg@6"] == runs.summary(whole)["avg@6"]


def test_the_rules_give_an_evaluation_the_rewards_of_the_exact_rule_where_answers_are_numbers(files, whole, tmp_path):
    run_evaluation(settings(files, {"verify.kind": "rules"}), tmp_path)
    by_rules, exact = read_record(tmp_path), read_record(whole)
    assert [row["reward"] for row in by_rules.outputs] == [row["reward"] for row in exact.outputs]
    assert by_rules.header["verifier"] == {"kind": "rules", "marker": "#", "version": Rules.version}


def test_the_record_holds_all_that_decides_the_outputs_and_each_with_its_verdict(files, whole):
    record = read_record(whole)
    header = record.header
    assert header["weights"]["identity"] and header["model"]["rope_scaling"]["factor"] == 1.0
    assert (header["samples"], header["seed"]) == (K, 0)
    assert header["sampler"] == {"temperature": 0.85, "top_p": 0.95, "top_k": 20}
    assert header["limits"] == {"prompt_tokens": 8, "output_tokens": 48}
    assert header["verifier"] == {"kind": "final_answer", "marker": "#", "version": "final_answer-2"}
    assert header["prompt"]["template"] == "{question}" and header["tokenizer"]["kind"] == "bytes"
    assert header["data"]["path"] == "questions.jsonl" and len(header["data"]["sha256"]) == 64
    assert header["data"]["rows"] == PROBLEMS
    assert header["data"]["dropped"] == {"too_long": 1, "unread_reference": 1} == runs.summary(whole)["dropped"]
    assert record.problems["q3"] == {"id": "q3", "question": "3+3=", "prompt": "3+3=", "reference": "#1"}
    assert [(row["problem"], row["sample"]) for row in record.outputs] == [
        (f"q{i}", sample) for i in range(PROBLEMS) for sample in range(K)
    ]
    for row in record.outputs:
        right = row["output"].rpartition("#")[2] == record.problems[row["problem"]]["reference"][1:]
        assert row["reward"] == float(right and row["finished"] == "eos" and "#" in row["output"])
        assert row["num_tokens"] == len(row["output"]) + (row["finished"] == "eos")
    assert {row["reward"] for row in record.outputs} == {0.0, 1.0}
    assert {row["finished"] for row in record.outputs} == {"eos", "limit"}
    assert str(pathlib.Path(files["weights"]).parent) not in (whole / FINAL).read_text()


def test_the_summary_is_the_score_of_the_record(whole):
    summary = runs.summary(whole)
    scores = score_record(read_record(whole))
    assert scores == {name: summary[name] for name in scores}
    assert summary["avg@6"]["score"] == pytest.approx(summary["pass@1"]["score"])
    assert 0 < summary["avg@6"]["score"] < summary["pass@6"]["score"] <= 1
    assert summary["seconds"]["decode"] > 0


@pytest.mark.parametrize("name", ["checkpoints", "metrics.jsonl"])
def test_the_folder_of_a_run_is_refused_and_left_as_it_is(files, tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match="--workdir is that of a run; got .*_evaluation"):
        run_evaluation(settings(files), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_finished_evaluation_is_not_made_again(files, whole):
    before = {path.name: path.stat().st_mtime_ns for path in whole.iterdir()}
    assert run_evaluation(settings(files), whole) == runs.summary(whole)
    assert {path.name: path.stat().st_mtime_ns for path in whole.iterdir()} == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "seed: 0 there, 1 now"),
        ({"decoding.top_k": 0}, "sampler.top_k: 20 there, 0 now"),
        ({"verify.kind": "rules"}, r'verifier.kind: "final_answer" there, "rules" now'),
        ({"rope_scaling.factor": 2.0, "rope_scaling.original_max_position_embeddings": 64}, "rope_scaling.factor: 1.0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_folder_with_another_evaluation_is_refused_and_left_as_it_is(files, whole, changes, named):
    before = {path.name: path.read_bytes() for path in whole.iterdir()}
    with pytest.raises(ValueError, match=f"holds another evaluation; it differs in .*{named}"):
        run_evaluation(settings(files, changes), whole)
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == before


class Unsure(FinalAnswer):
    """Cannot tell of answers with several digits."""

    version = "unsure-1"

    def compare(self, pairs):
        found = zip(pairs, super().compare(pairs), strict=True)
        return [Comparison(UNSURE, "too many digits") if len(pair.predicted) > 1 else other for pair, other in found]


def test_an_output_that_could_not_be_judged_is_counted_and_is_no_zero(files, whole, tmp_path, monkeypatch):
    monkeypatch.setattr("ulorl_jax.inputs.FinalAnswer", Unsure)
    summary = run_evaluation(settings(files), tmp_path)
    judged, errors = {}, 0
    for row in read_record(whole).outputs:
        if row["answer"] is not None and len(row["answer"]) > 1:
            errors += 1
        else:
            judged.setdefault(row["problem"], []).append(row["reward"])
    assert summary["errors"] == errors > 0
    assert summary["avg@6"]["score"] == pytest.approx(np.mean([np.mean(row) for row in judged.values()]))
    assert summary["avg@6"]["score"] > runs.summary(whole)["avg@6"]["score"]
    assert read_record(tmp_path).header["verifier"]["version"] == "unsure-1"


def test_where_no_reference_can_be_read_nothing_is_decoded(files, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"question": "1+1=", "answer": "so #", "id": "a"}) + "\n")
    with pytest.raises(ValueError, match=r"no reference holds an answer; got 'answer': check data\.answer_field"):
        run_evaluation(settings(files, {"data.path": str(tmp_path / "rows.jsonl")}), tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_configs_are_read_whole_and_keep_the_paper_s_sampler(config):
    values = config.get_config()
    values.weights = "weights"
    s = EvaluationSettings.from_dict(values.to_dict())
    assert (s.decoding.temperature, s.decoding.top_p, s.decoding.top_k) == (0.85, 0.95, 20)
    if config in (aime2024, aime2025, paper_140k):
        assert s.decoding.samples == 32
    yarn = (s.rope_scaling.factor, s.rope_scaling.original_max_position_embeddings)
    assert (yarn, s.decoding.output_limit) == ((1.5, 95232), 143360) if config is paper_140k else yarn == (1.0, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoding.samples": 0}, "decoding.samples must be at least 1; got 0"),
        ({"decoding.top_p": 0.0}, "0 < top_p <= 1"),
        ({"scoring.pass_at": (1, 7)}, r"scoring.pass_at must name k from 1 to decoding.samples \(6\)"),
        ({"decoding.prefill_chunk": 0}, "decoding.prefill_chunk must be at least 1; got 0"),
        ({"prompt.chat": True}, "prompt.chat needs the chat template"),
        ({"prompt.system": "x"}, "prompt.system is a turn of the chat template"),
        ({"weights": ""}, "weights is the folder of the weights"),
        ({"data.path": ""}, "data.path is the file of the questions"),
        ({"scoring.bootstrap": 0}, "scoring.bootstrap must be at least 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_that_cannot_work_are_refused_with_one_that_does(files, changes, message):
    with pytest.raises(ValueError, match=message):
        settings(files, changes)
