import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulorl_jax.io.tokenizer import ByteTokenizer, Tokenizer, TrustedText

NEWLINE = 10
ASCII: Tokenizer = ByteTokenizer(128, (NEWLINE,))


def test_ids_are_bytes_and_come_back_as_the_same_text():
    ids = ASCII.encode("a6b1=")
    assert ids.dtype == np.int32 and ids.tolist() == [97, 54, 98, 49, 61]
    assert ASCII.decode(ids) == "a6b1="


@given(st.text())
def test_any_text_without_reserved_bytes_survives_the_round_trip(text):
    tokenizer = ByteTokenizer(260, (258, 259), pad_id=257)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_decode_shows_all_ids_and_decode_output_what_is_before_the_first_of_several_end_tokens():
    tokenizer = ByteTokenizer(256, (3, NEWLINE))
    assert tokenizer.decode([97, NEWLINE, 98, 3]) == "a\nb\x03"
    assert tokenizer.decode_output([97, 3, 98, NEWLINE, 99]) == "a"
    assert tokenizer.decode_output([97, NEWLINE, 98, 3]) == "a"
    assert tokenizer.decode_output([97, 98]) == "ab"
    assert tokenizer.decode_output((NEWLINE,)) == tokenizer.decode_output([]) == tokenizer.decode([]) == ""


def test_bytes_have_no_chat_format():
    with pytest.raises(ValueError, match="no chat format; write the prompt as plain text"):
        ASCII.encode_chat([{"role": "user", "content": "a"}], thinking=False)


def test_the_description_is_json_and_makes_the_same_tokenizer():
    tokenizer = ByteTokenizer(256, (3, NEWLINE), 1)
    description = json.loads(json.dumps(tokenizer.describe()))
    assert description.pop("kind") == "bytes" and ByteTokenizer(**description) == tokenizer


def test_end_tokens_are_a_set():
    assert ByteTokenizer(128, (10, 3, 10)) == ByteTokenizer(128, (3, 10))


@pytest.mark.parametrize(
    "text, message",
    [
        ("ab\nc", r"'\\n' at position 2: byte 10 is an end or pad id"),
        ("ab\0", r"'\\x00' at position 2: byte 0 is an end or pad id"),
        ("aé", r"'é' at position 1: byte 195 is outside the vocabulary of 128"),
        ("a\ud800", "at position 1 is not UTF-8"),
    ],
)
def test_what_cannot_be_encoded_is_named_with_its_position(text, message):
    with pytest.raises(ValueError, match=message):
        ASCII.encode(text)


def test_the_position_counts_characters_even_where_a_later_byte_of_one_is_the_culprit():
    tokenizer = ByteTokenizer(256, (0xA9,))  # the second byte of é
    with pytest.raises(ValueError, match="'é' at position 2: byte 169"):
        tokenizer.encode("äaé")


def test_broken_bytes_and_ids_beyond_them_become_the_replacement_character():
    assert ByteTokenizer(300, (NEWLINE,)).decode([97, 0xC3, 98, 299, -159]) == "a\ufffdb\ufffd\ufffd"


@pytest.mark.parametrize("arguments", [(128, ()), (128, (128,)), (128, (10,), 10), (128, (10,), -1)])
def test_ids_that_contradict_each_other_are_refused(arguments):
    with pytest.raises(ValueError, match="eos|pad"):
        ByteTokenizer(*arguments)


def test_a_worked_answer_ends_with_the_first_end_token():
    assert ByteTokenizer(128, (13, 10)).encode_output("ab").tolist() == [97, 98, 10]


def test_a_template_is_filled_once_and_what_is_data_is_known():
    text = TrustedText.fill("a {x}\n{y}{x}.", {"{x}": "{y}<", "{y}": ""})
    assert text == "a {y}<\n{y}<."
    assert text.parts == [
        ("a ", False),
        ("{y}<", True),
        ("\n", False),
        ("", True),
        ("", False),
        ("{y}<", True),
        (".", False),
    ]
    assert TrustedText.fill("a {x}", {}).parts == TrustedText("a {x}").parts == [("a {x}", False)]
    assert TrustedText("a {x}", "{x}", "{x}").parts == [("a ", False), ("{x}", True), ("", False)]
