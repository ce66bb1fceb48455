import json

import numpy as np
import pytest

from ulorl_jax.io.step_files import TRACES
from ulorl_jax.io.tokenizer import ByteTokenizer
from ulorl_jax.io.traces import (
    ERROR,
    TRAINED,
    TracedSample,
    ranges,
    read_trace,
    write_lengths,
    write_trace,
)
from ulorl_jax.types import EOS, LIMIT, Prompt, Sample, Segment, Verdict

TOKENIZER = ByteTokenizer(256, [10])


def segment(text, policy_step, kv="prefill", logp=-0.123456):
    ids = np.frombuffer(text.encode(), np.uint8).astype(np.int32)
    return Segment(ids, np.full(len(ids), logp, np.float32), policy_step, kv)


def two_samples():
    prompt = Prompt(5, np.array([97, 55, 61, 10], np.int32), "#7", "row-9", "a7")
    right = Sample(40, prompt).append(segment("a77,", 2)).append(segment("#7\n", 3, "keep"), EOS)
    broken = Sample(41, prompt).append(segment("é", 3, logp=np.nan), LIMIT)
    return [right, broken]


def traced():
    right, broken = two_samples()
    seen = np.float32([-0.1, -0.25, -0.00004, -1, -2, -3, -np.inf])
    told = {"policy_logp": seen, "entropy": -seen[::-1], "mastered": np.array([2, 6]), "masked": True}
    return [
        TracedSample(right, Verdict(1.0, "'7'"), 5, TRAINED, 0.5, **told),
        TracedSample(broken, Verdict(None, "failed"), 5, ERROR),
    ]


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def test_a_trace_holds_the_whole_prompt_the_output_up_to_its_end_the_verdict_and_every_segments_policy(tmp_path):
    path = write_trace(tmp_path, 12, traced(), TOKENIZER)
    assert path == tmp_path / "rollouts" / "step_000012.jsonl"
    right, broken = read(path)
    assert right == {
        "sample": 40,
        "prompt_id": 5,
        "group": 5,
        "source": "row-9",
        "question": "a7",
        "prompt": "a7=\n",
        "output": "a77,#7",
        "reference": "#7",
        "reward": 1.0,
        "reason": "'7'",
        "use": "trained",
        "advantage": 0.5,
        "finished": "eos",
        "segments": [
            {"policy_step": 2, "kv": "prefill", "num_tokens": 4, "text": "a77,"},
            {"policy_step": 3, "kv": "keep", "num_tokens": 3, "text": "#7"},
        ],
        "prompt_tokens": [97, 55, 61, 10],
        "tokens": [97, 55, 55, 44, 35, 55, 10],
        "logp": [-0.1235] * 7,
        "policy_logp": [-0.1, -0.25, -0.0, -1.0, -2.0, -3.0, None],
        "entropy": [None, 3.0, 2.0, 1.0, 0.0, 0.25, 0.1],
        "mastered": [2, 6],
        "masked": True,
    }
    assert (broken["reward"], broken["reason"], broken["finished"]) == (None, "failed", "limit")
    assert broken["output"] == "é" and broken["logp"] == [None, None]
    assert (broken["use"], broken["advantage"], broken["mastered"], broken["masked"]) == ("error", None, [], False)
    assert broken["policy_logp"] is None and broken["entropy"] is None


def test_a_sample_still_being_decoded_has_no_verdict_and_no_end(tmp_path):
    unfinished = Sample(1, Prompt(0, TOKENIZER.encode("q"), "#1"))
    (record,) = read(write_trace(tmp_path, 0, [TracedSample(unfinished)], TOKENIZER))
    assert record["reward"] is None and record["finished"] == "" and record["segments"] == record["tokens"] == []


def test_writing_a_step_again_replaces_its_file_and_leaves_nothing_else(tmp_path):
    write_trace(tmp_path, 3, traced(), TOKENIZER)
    path = write_trace(tmp_path, 3, traced()[:1], TOKENIZER)
    assert len(read(path)) == 1 and list(path.parent.iterdir()) == [path]


def test_what_an_older_run_s_rows_lack_is_read_as_unknown(tmp_path):
    path = write_trace(tmp_path, 3, traced(), TOKENIZER)
    new = ("group", "use", "advantage", "policy_logp", "entropy", "mastered", "masked")
    old = [{name: value for name, value in row.items() if name not in new} for row in read(path)]
    assert read_trace(tmp_path, 3) == read(path)
    path.write_text("".join(json.dumps(row) + "\n" for row in old))
    unknown = dict.fromkeys(new[:5]) | {"mastered": [], "masked": False}
    assert read_trace(tmp_path, 3) == [row | unknown for row in old]


def test_a_step_without_a_trace_is_refused_with_those_that_have_one(tmp_path):
    with pytest.raises(ValueError, match="no trace of step 2; it has none: traces_per_step was 0"):
        read_trace(tmp_path, 2)
    for step in (1, 3, 4, 12):
        write_trace(tmp_path, step, traced(), TOKENIZER)
    assert TRACES.steps(tmp_path) == [1, 3, 4, 12] and ranges([1, 3, 4, 12]) == "1, 3-4, 12"
    with pytest.raises(ValueError, match="no trace of step 2; there are traces of the steps 1, 3-4, 12"):
        read_trace(tmp_path, 2)


def test_lengths_are_those_of_every_output_and_its_prompt(tmp_path):
    path = write_lengths(tmp_path, 12, two_samples())
    assert path == tmp_path / "lengths" / "step_000012.json"
    assert json.loads(path.read_text()) == [[7, 4], [2, 4]]
    write_lengths(tmp_path, 12, [])
    assert json.loads(path.read_text()) == [] and [p.name for p in path.parent.iterdir()] == [path.name]
