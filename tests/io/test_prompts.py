import json

import numpy as np
import pytest

from ulorl_jax.io.prompts import Prompts, load_rows
from ulorl_jax.io.tokenizer import ByteTokenizer

TOKENIZER = ByteTokenizer(128, [10])


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def numbered(count):
    return [{"question": f"q{i}", "answer": f"#{i}", "id": f"row-{i}"} for i in range(count)]


def load(path, **changes):
    settings = {
        "question_field": "question",
        "answer_field": "answer",
        "id_field": None,
        "template": "{question}",
        "max_tokens": 20,
        "seed": 0,
        "shuffle": True,
    }
    return Prompts.from_jsonl(path, TOKENIZER, **(settings | changes))


def order(prompts, cursor, count):
    return [prompt.source for prompt in prompts.take(cursor, count)[0]]


def test_a_row_becomes_a_prompt_by_the_template(tmp_path):
    path = write(tmp_path / "p.jsonl", numbered(2))
    first, second = load(path, template="Q: {question} {x}\tA:", id_field="id").all()
    assert bytes(first.tokens.astype(np.uint8)) == b"Q: q0 {x}\tA:" and first.tokens.dtype == np.int32
    assert (first.id, first.reference, first.source) == (0, "#0", "row-0")
    assert (second.id, second.source) == (1, "row-1")
    assert [prompt.source for prompt in load(path).all()] == ["1", "2"]  # line numbers


def test_each_epoch_has_every_row_once_in_an_order_of_its_own(tmp_path):
    prompts = load(write(tmp_path / "p.jsonl", numbered(50)))
    epochs = [order(prompts, 50 * epoch, 50) for epoch in range(4)]
    assert all(sorted(epoch) == sorted(epochs[0]) and len(set(epoch)) == 50 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_order_is_the_seeds_and_no_epoch_of_one_seed_is_one_of_the_next(tmp_path):
    path = write(tmp_path / "p.jsonl", numbered(50))
    of_seed = {seed: [tuple(order(load(path, seed=seed), 50 * e, 50)) for e in range(4)] for seed in range(4)}
    assert [tuple(order(load(path, seed=2), 50 * e, 50)) for e in range(4)] == of_seed[2]
    assert len({epoch for epochs in of_seed.values() for epoch in epochs}) == 16


def test_any_take_is_a_slice_of_the_one_order_and_ids_are_its_positions(tmp_path):
    prompts = load(write(tmp_path / "p.jsonl", numbered(7)))
    whole, end = prompts.take(0, 40)
    assert end == 40 and [prompt.id for prompt in whole] == list(range(40))
    late, cursor = load(tmp_path / "p.jsonl").take(33, 5)  # in any other process, without what came before
    assert cursor == 38
    assert [(p.id, p.source) for p in late] == [(p.id, p.source) for p in whole[33:38]]
    assert prompts.take(12, 0) == ([], 12)


def test_without_shuffle_the_order_is_the_files(tmp_path):
    prompts = load(write(tmp_path / "p.jsonl", numbered(3)), shuffle=False)
    assert order(prompts, 2, 5) == ["3", "1", "2", "3", "1"]


def test_rows_that_cannot_be_used_are_dropped_and_counted_with_an_example(tmp_path):
    bad = [{"question": q, "answer": "1"} for q in ("é", "x" * 21, "x" * 20, "q1", "y" * 30, "a\nb", "y" * 30)]
    prompts = load(write(tmp_path / "p.jsonl", numbered(3) + bad))
    assert prompts.counts == {"kept": 4, "too_long": 2, "unencodable": 2, "duplicates": 2}
    assert len(prompts) == len(prompts.all()) == 4
    assert [prompt.id for prompt in prompts.all()] == [0, 1, 2, 3]
    assert "p.jsonl:4: character 'é' at position 0" in prompts.examples["unencodable"]
    assert "p.jsonl:5: 21 tokens, more than 20" in prompts.examples["too_long"]
    assert "p.jsonl:7: the question of line 2 again: 'q1'" in prompts.examples["duplicates"]


def test_when_nothing_is_left_the_counts_say_why(tmp_path):
    path = write(tmp_path / "p.jsonl", numbered(3))
    with pytest.raises(ValueError, match=r"no prompt of .* is left: .*'too_long': 3.*p.jsonl:1: 2 tokens, more than 1"):
        load(path, max_tokens=1)


@pytest.mark.parametrize(
    "line, message",
    [
        ("{'question': 1}", "p.jsonl:3: not JSON"),
        ('{"question": "q"', "p.jsonl:3: not JSON"),
        ("[1, 2]", "p.jsonl:3: want a JSON object"),
        ('{"question": "q", "reply": "#1"}', r"p.jsonl:3: no field 'answer'; the row has .*'reply'., wanted"),
        ('{"question": "q", "answer": null}', "p.jsonl:3: the field 'answer' must be text or a number, got null"),
        ('{"question": " ", "answer": "#1"}', "p.jsonl:3: the field 'question' is empty"),
    ],
)
def test_a_broken_row_names_the_file_and_the_line(tmp_path, line, message):
    path = write(tmp_path / "p.jsonl", numbered(1))
    path.write_text(path.read_text() + "\n" + line + "\n")
    with pytest.raises(ValueError, match=message):
        load(path)


def test_a_line_that_is_not_utf8_names_the_file_and_the_line(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"question": "q\xff", "answer": "1"}\n')
    with pytest.raises(ValueError, match="p.jsonl:1: not JSON"):
        load(path)


def test_an_empty_a_missing_file_and_a_template_without_a_place_are_refused(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="empty.jsonl is empty"):
        load(tmp_path / "empty.jsonl")
    with pytest.raises(ValueError, match="no such file"):
        load(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="has no {question}"):
        load(write(tmp_path / "p.jsonl", numbered(1)), template="{q}")


def test_load_rows_keeps_text_and_numbers_as_they_are_written(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"question": "a\\u2028b", "answer": 1.50, "more": [1]}\r\n\n{"answer": -3, "question": "c"}')
    assert load_rows(path, ["question", "answer"]) == [
        {"question": "a\u2028b", "answer": "1.50"},
        {"question": "c", "answer": "-3"},
    ]


@pytest.mark.parametrize("split, size", [("train", 7473), ("test", 1319)])
def test_gsm8k_loads_as_it_is(data_dir, split, size):
    path = data_dir / "gsm8k" / f"{split}.jsonl"
    tokenizer = ByteTokenizer(256, [3])
    prompts = Prompts.from_jsonl(
        path,
        tokenizer,
        question_field="question",
        answer_field="answer",
        id_field=None,
        template="{question}\n",
        max_tokens=512,
        seed=0,
        shuffle=True,
    )
    assert sum(prompts.counts.values()) == size and prompts.counts["unencodable"] == 0
    assert 0.9 * size < len(prompts) < size and prompts.counts["too_long"] > 0
    prompt = prompts.all()[0]
    row = load_rows(path, ["question", "answer"])[0]
    assert tokenizer.decode(prompt.tokens) == row["question"] + "\n" and prompt.reference == row["answer"]
    assert all(len(p.tokens) <= 512 and "####" in p.reference for p in prompts.take(0, size)[0])
