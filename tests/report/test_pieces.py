import json

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from ulorl_jax.io.hf_tokenizer import HFTokenizer
from ulorl_jax.io.tokenizer import ByteTokenizer
from ulorl_jax.report.pieces import LONGEST, Pieces, tokenizer_of

BYTES = ByteTokenizer(256, (10,))
TEXTS = "日本語の文章。 ünïcödé → emoji \U0001f600\U0001f680 and plain words, plain words"


def texts_of(tokenizer, ids):
    pieces = Pieces(tokenizer)
    exceptions = pieces.exceptions(ids)
    return [exceptions[i] if i in exceptions else pieces.texts[number] for i, number in enumerate(ids)]


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """A byte-level BPE with merges that hold parts of characters, as Qwen's has."""
    folder = tmp_path_factory.mktemp("hf")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=290, initial_alphabet=alphabet, special_tokens=["<e>"])
    made.train_from_iterator([TEXTS], trainer)
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<e>"}))
    return folder


@given(st.text(max_size=40))
def test_the_texts_of_the_tokens_joined_are_the_text(text):
    ids = list(text.encode())
    assert "".join(texts_of(BYTES, ids)) == text


@given(st.lists(st.integers(0, 255), max_size=LONGEST - 1))
def test_bytes_that_are_no_text_are_shown_as_the_tokenizer_shows_them(ids):
    assert "".join(texts_of(BYTES, ids)) == BYTES.decode(ids)


def test_a_character_stands_at_the_last_of_its_tokens():
    assert texts_of(BYTES, list("a日b".encode())) == ["a", "", "", "日", "b"]
    # The second byte of three is missing: what is left cannot become a character when "b" comes.
    assert texts_of(BYTES, [97, 0xE6, 0xA5, 98]) == ["a", "", "\ufffd", "b"]


def test_a_long_run_of_bytes_that_are_no_text_ends():
    assert set("".join(texts_of(BYTES, [0x80] * 1000))) == {"\ufffd"}


def test_merged_pieces_of_characters_are_put_together(merged):
    tokenizer = HFTokenizer(merged)
    ids = [*tokenizer.encode(TEXTS).tolist(), *tokenizer.eos_ids]
    texts = texts_of(tokenizer, ids)
    assert "".join(texts) == TEXTS + "<e>" and "" in texts and any(len(text) > 1 for text in texts[:-1])


def test_without_a_tokenizer_ids_are_shown():
    assert texts_of(None, [7, 130]) == ["\u27e87\u27e9", "\u27e8130\u27e9"]


def test_the_tokenizer_is_looked_for_where_the_run_has_it(tmp_path, merged):
    config = {"tokenizer": {"kind": "hf", "path": "", "eos_ids": []}, "warm_start": {"checkpoint": ""}}
    assert tokenizer_of(tmp_path, config) is None
    named = config | {"tokenizer": config["tokenizer"] | {"path": str(merged)}}
    assert tokenizer_of(tmp_path, named).decode([0]) == "<e>"
    (tmp_path / "hf").symlink_to(merged)
    assert tokenizer_of(tmp_path, config).decode([0]) == "<e>"
