"""Judged pairs from files and from the generator, and what a verifier learns from them."""

import json

import numpy as np
import pytest

from ulorl_jax.data.answer_pairs import AnswerPair, generate_pairs
from ulorl_jax.io.rows import write_rows
from ulorl_jax.io.tokenizer import ByteTokenizer
from ulorl_jax.ops.packing import first_fit_decreasing
from ulorl_jax.verifier_data import PairDataSettings, PairFileSettings, PairStream, encode_pairs, read_pairs
from ulorl_jax.verify.verifier_prompt import VerifierPrompt

TOKENIZER = ByteTokenizer(256, (3,))
PROMPT = VerifierPrompt(
    template="{question}\n{reference}\n{predicted}\n",
    reasoned_template="{question}\n{reference}\n{predicted}\n?\n",
    chat=False,
    words=("y", "n"),
    max_question=24,
    max_answer=20,
)
NAMES = ("question", "reference", "predicted", "same", "category", "why")


def file_settings(path, **fields) -> PairFileSettings:
    names = {f"{name}_field": name for name in NAMES} | {f"{name}_field": field for name, field in fields.items()}
    return PairFileSettings(str(path), **names)


def data(train=(), test=(), generate=0, test_generate=0) -> PairDataSettings:
    return PairDataSettings(generate, test_generate, "words", dict(train), dict(test))


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_rows_of_a_file_come_in_its_order_with_every_field(tmp_path, suffix):
    rows = [
        {"question": "x?", "reference": "1/2", "predicted": "0.5", "same": True, "category": "c", "why": "1/2 = 0.5"},
        {"question": "y?", "reference": "2", "predicted": "3", "same": False, "category": "d", "why": ""},
    ]
    write_rows(tmp_path / f"pairs.{suffix}", rows)
    settings = data(train={"mine": file_settings(tmp_path / f"pairs.{suffix}")})
    assert read_pairs(settings, "train", 0) == [AnswerPair(**row) for row in rows]


@pytest.mark.parametrize(
    ("written", "verdict"),
    [(True, True), ("Same", True), ("yes", True), (1, True), (1.0, True)]
    + [(False, False), ("different", False), ("NO", False), (0, False), ("0", False)],
)
def test_verdicts_are_read_as_people_write_them(tmp_path, written, verdict):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"a": "1", "b": 2, "v": written}) + "\n")
    file = file_settings(path, question="", reference="a", predicted="b", same="v", category="", why="")
    assert read_pairs(data(test={"mine": file}), "test", 0) == [AnswerPair("", "1", "2", verdict, "mine", "")]


def test_a_verdict_that_is_none_is_refused_with_its_place(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"reference": "1", "predicted": "2", "same": "perhaps"}) + "\n")
    file = file_settings(path, question="", category="", why="")
    with pytest.raises(ValueError, match=r"pairs.jsonl:1: the field 'same' must be a verdict.*got 'perhaps'"):
        read_pairs(data(train={"mine": file}), "train", 0)


def test_nothing_to_learn_from_is_refused_with_the_keys_to_set():
    with pytest.raises(ValueError, match=r"no pairs to train on; set data.generate to a number, or name files"):
        read_pairs(data(), "train", 0)


def test_generated_pairs_come_before_those_of_files(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"reference": "1", "predicted": "2", "same": 0}) + "\n")
    file = file_settings(path, question="", category="", why="")
    pairs = read_pairs(data(train={"mine": file}, generate=5), "train", 0)
    assert len(pairs) == 6 and pairs[-1].category == "mine" and all(p.category != "mine" for p in pairs[:5])
    assert read_pairs(data(train={"mine": file}, generate=5), "train", 0) == pairs


def test_a_sample_is_the_prompt_and_the_word_and_a_reasoned_one_the_justification_and_the_verdict():
    pair = AnswerPair("How long?", "27cm", "0.27 m", True, "units", "27 cm = 0.27 m")
    samples, left_out = encode_pairs([pair, pair], TOKENIZER, PROMPT, np.array([False, True]), 100)
    texts = [(TOKENIZER.decode(s.prompt.tokens), TOKENIZER.decode(s.output)) for s in samples]
    assert texts == [
        ("How long?\n27cm\n0.27 m\n", "y\x03"),
        ("How long?\n27cm\n0.27 m\n?\n", "27 cm = 0.27 m\nVerdict: y\x03"),
    ]
    assert left_out == {}


def test_a_pair_without_a_justification_is_learned_by_its_word():
    pair = AnswerPair("", "1", "2", False, "c", "")
    (sample,), _ = encode_pairs([pair], TOKENIZER, PROMPT, np.array([True]), 100)
    assert TOKENIZER.decode(sample.output) == "n\x03"


def test_pairs_that_do_not_fit_are_left_out_and_counted_by_reason():
    long, fits = AnswerPair("", "1" * 21, "2", False, "c", ""), AnswerPair("", "1" * 20, "2", False, "c", "")
    samples, left_out = encode_pairs([long, fits, fits], TOKENIZER, PROMPT, np.zeros(3, bool), 26)
    assert [s.context_length for s in samples] == [26, 26] and left_out == {"TooLong": 1}
    samples, left_out = encode_pairs([fits], TOKENIZER, PROMPT, np.zeros(1, bool), 25)
    assert samples == [] and left_out == {"longer than a row": 1}


def stream(pairs, rows=4, row_length=60, reasoned=0.5, seed=1):
    return PairStream(pairs, TOKENIZER, PROMPT, reasoned=reasoned, rows=rows, row_length=row_length, seed=seed)


def told(samples):
    return [(bytes(sample.prompt.tokens), bytes(sample.output)) for sample in samples]


def test_updates_are_the_pairs_of_each_pass_once_in_rows_as_full_as_their_order_allows():
    pairs = generate_pairs(200, seed=0, split="train")
    whole, _ = encode_pairs(pairs, TOKENIZER, PROMPT, np.zeros(200, bool), 60)
    source, taken = stream(pairs, reasoned=0.0), []
    while source.seen < 200:
        before, update = source.seen, source.next_update()
        taken += update
        rows = [[sample.context_length for sample in update]]
        assert len(first_fit_decreasing(np.array(rows[0]), 60)) <= 4 and source.seen > before
    assert sorted(told(taken[: len(whole)])) == sorted(told(whole)) != told(whole)
    # One pair more would have needed a fifth row.
    again = stream(pairs, reasoned=0.0)
    first, second = again.next_update(), again.next_update()
    assert len(first_fit_decreasing(np.array([s.context_length for s in [*first, second[0]]]), 60)) > 4


def test_a_stream_goes_on_where_another_one_was():
    pairs = generate_pairs(60, seed=0, split="train")
    source = stream(pairs, row_length=42)  # too short for some
    for _ in range(40):
        other = stream(pairs, row_length=42)
        other.seen, other.left_out = source.seen, dict(source.left_out)
        assert told(source.next_update()) == told(other.next_update())
        assert (source.seen, source.left_out) == (other.seen, other.left_out)
    # Every pair of every pass was either taken or left out, those read ahead and not taken yet among neither.
    _, too_long = encode_pairs(pairs, TOKENIZER, PROMPT, np.zeros(60, bool), 42)
    passes = source.seen // 60
    assert passes >= 2 and sum(source.left_out.values()) >= passes * sum(too_long.values()) > 0


def test_pairs_of_which_none_fits_a_row_are_refused_with_their_number():
    source = stream([AnswerPair("", "12", "13", False, "", "")] * 20, row_length=7)
    with pytest.raises(ValueError, match=r"left out are \{'longer than a row': 20\}; set updates.row_length or"):
        source.next_update()
