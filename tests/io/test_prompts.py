import json
import time

import numpy as np
import pytest

from ulorl_jax.io.hf_tokenizer import HFTokenizer
from ulorl_jax.io.prompts import Prompts, Source, load_rows
from ulorl_jax.io.rows import write_rows
from ulorl_jax.io.tokenizer import ByteTokenizer

TOKENIZER = ByteTokenizer(128, [10])


def numbered(count, name="q"):
    return [{"question": f"{name}{i}", "answer": f"#{i}", "id": f"{name}-{i}"} for i in range(count)]


def write(path, rows):
    write_rows(path, rows)
    return path


def load(*sources, encode=TOKENIZER.encode, **changes):
    sources = [s if isinstance(s, Source) else Source(s.name, s) for s in sources]
    return Prompts.read(sources, encode, **({"max_tokens": 20, "seed": 0, "shuffle": True} | changes))


def order(prompts, cursor, count):
    return [prompt.source for prompt in prompts.take(cursor, count)[0]]


def three_sources(folder, **sizes):
    sizes = {"a": 700, "b": 500, "c": 300} | sizes
    paths = {name: write(folder / f"{name}.jsonl", numbered(size, name)) for name, size in sizes.items()}
    return [Source(name, paths[name], weight) for name, weight in (("a", 1.0), ("b", 0.3), ("c", 2.5))]


def test_a_row_becomes_a_prompt_through_the_encoding_it_is_given(tmp_path):
    path = write(tmp_path / "p.jsonl", numbered(2))
    source = Source("main", path, id_field="id")
    first, second = load(source, encode=lambda question: TOKENIZER.encode(f"Q: {question}\tA:")).all()
    assert bytes(first.tokens.astype(np.uint8)) == b"Q: q0\tA:" and first.tokens.dtype == np.int32
    assert (first.id, first.reference, first.source, first.question) == (0, "#0", "q-0", "q0")
    assert (second.id, second.source, second.question) == (1, "q-1", "q1")
    assert [prompt.source for prompt in load(path).all()] == ["1", "2"]  # row numbers


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "array_record"])
def test_every_format_gives_the_same_prompts_from_nested_fields(tmp_path, suffix):
    pytest.importorskip({"parquet": "pyarrow", "array_record": "array_record"}.get(suffix, "json"))
    rows = [{"extra": {"question": f"q{i}", "n": i}, "reward": {"truth": f"{i}"}} for i in range(3)]
    source = Source("main", write(tmp_path / f"p.{suffix}", rows), 1.0, "extra.question", "reward.truth", "extra.n")
    prompts = load(source).all()
    assert [(p.question, p.reference, p.source) for p in prompts] == [(f"q{i}", f"{i}", f"{i}") for i in range(3)]
    assert load_rows(source.path, ["extra.question"]) == [{"extra.question": f"q{i}"} for i in range(3)]


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
    sources = three_sources(tmp_path)
    prompts = load(*sources)
    whole, end = prompts.take(0, 200)
    assert end == 200 and [prompt.id for prompt in whole] == list(range(200))
    late, cursor = load(*sources).take(133, 5)  # in any other process, without what came before
    assert cursor == 138
    assert [(p.id, p.source) for p in late] == [(p.id, p.source) for p in whole[133:138]]
    assert prompts.take(12, 0) == ([], 12)


def test_the_order_of_a_million_prompts_ahead_costs_what_the_first_one_does(tmp_path):
    prompts = load(*three_sources(tmp_path))
    seconds = []
    for cursor in (0, 10**6, 10**12):
        start = time.perf_counter()
        prompts.take(cursor, 50)
        seconds.append(time.perf_counter() - start)
    assert max(seconds) < 1  # walking there would take minutes


def test_sources_take_turns_by_their_weights_from_the_start(tmp_path):
    prompts = load(*three_sources(tmp_path))
    taken = [source[0] for source in order(prompts, 0, 10_000)]
    for name, weight in (("a", 1.0), ("b", 0.3), ("c", 2.5)):
        wanted = weight / 3.8
        assert taken.count(name) / 10_000 == pytest.approx(wanted, rel=0.01)
        assert taken[:380].count(name) == pytest.approx(380 * wanted, abs=2)


def test_each_source_of_a_mixture_keeps_its_own_epochs(tmp_path):
    prompts = load(*three_sources(tmp_path, c=3))
    of_c = [source for source in order(prompts, 0, 60) if source[0] == "c"]
    epochs = [tuple(of_c[i : i + 3]) for i in range(0, 36, 3)]
    assert all(sorted(epoch) == ["c:1", "c:2", "c:3"] for epoch in epochs) and len(set(epochs)) > 1


def test_sources_of_one_size_are_shuffled_differently(tmp_path):
    paths = [write(tmp_path / f"{name}.jsonl", numbered(40, name)) for name in "ab"]
    mixed = order(load(*paths), 0, 80)
    of_each = [[s.partition(":")[2] for s in mixed if s.startswith(path.name)] for path in paths]
    assert sorted(of_each[0]) == sorted(of_each[1]) and of_each[0] != of_each[1]


def test_the_digest_is_that_of_all_that_is_kept(tmp_path):
    rows = numbered(3)
    digest = load(write(tmp_path / "p.jsonl", rows)).digest
    assert load(write(tmp_path / "moved.jsonl", [*rows, rows[0]]), seed=1).digest == digest
    for changed in (
        rows[::-1],
        rows[:2],
        [*rows[:2], rows[2] | {"answer": "#4"}],
        [*rows[:2], rows[2] | {"question": "q4"}],
    ):
        assert load(write(tmp_path / "p.jsonl", changed)).digest != digest


def test_without_shuffle_the_order_is_the_files(tmp_path):
    prompts = load(write(tmp_path / "p.jsonl", numbered(3)), shuffle=False)
    assert order(prompts, 2, 5) == ["3", "1", "2", "3", "1"]


def test_rows_that_cannot_be_used_are_dropped_and_counted_with_an_example(tmp_path):
    bad = [{"question": q, "answer": "1"} for q in ("é", "x" * 21, "x" * 20, " q1\n", "y" * 30, "a\nb", "y" * 30, " ")]
    bad += [{"question": "no answer", "answer": answer} for answer in (" ", None)]
    prompts = load(write(tmp_path / "p.jsonl", numbered(3) + bad))
    assert prompts.counts == {"kept": 4, "too_long": 2, "unencodable": 2, "empty": 3, "duplicates": 2, "held_out": 0}
    assert prompts.counts_by_source == {"p.jsonl": prompts.counts}
    assert len(prompts) == len(prompts.all()) == 4
    assert [prompt.id for prompt in prompts.all()] == [0, 1, 2, 3]
    assert "p.jsonl:4: character 'é' at position 0" in prompts.examples["unencodable"]
    assert "p.jsonl:5: 21 tokens, more than 20" in prompts.examples["too_long"]
    assert "p.jsonl:2 again: ' q1\\n'" in prompts.examples["duplicates"]
    assert "p.jsonl:11: no question: ' '" in prompts.examples["empty"]


def test_a_question_of_the_evaluation_is_never_trained_on(tmp_path):
    train = write(tmp_path / "p.jsonl", numbered(4))
    (held_out,) = load(write(tmp_path / "h.jsonl", [{"question": "  q2 ", "answer": "#2"}])).all()
    prompts = load(train, held_out=[held_out])
    assert [prompt.question for prompt in prompts.all()] == ["q0", "q1", "q3"]
    assert prompts.counts["held_out"] == 1 and "p.jsonl:3: a question of the evaluation" in prompts.examples["held_out"]


def test_a_question_of_two_sources_stays_with_the_first_whatever_its_white_space(tmp_path):
    first = write(tmp_path / "a.jsonl", [{"question": "How  much\tis it?", "answer": "1"}])
    second = write(tmp_path / "b.jsonl", [{"question": " How much\nis it?", "answer": "2"}, *numbered(2)])
    prompts = load(first, second)
    kept = [(prompt.source, prompt.reference) for prompt in prompts.all()]
    assert kept == [("a.jsonl:1", "1"), ("b.jsonl:2", "#0"), ("b.jsonl:3", "#1")]
    assert [prompts.counts_by_source[name]["duplicates"] for name in ("a.jsonl", "b.jsonl")] == [0, 1]
    assert prompts.counts["duplicates"] == 1 and prompts.counts["kept"] == 3
    with pytest.raises(ValueError, match="no prompt of .*a.jsonl is left: .*'duplicates': 1"):
        load(Source("one", first), Source("the same again", first))


def test_a_row_without_an_answer_does_not_keep_out_a_later_one_that_has_it(tmp_path):
    rows = [{"question": "q", "answer": answer} for answer in (None, "7", "8")]
    prompts = load(write(tmp_path / "p.jsonl", rows))
    assert [(prompt.source, prompt.reference) for prompt in prompts.all()] == [("2", "7")]
    assert (prompts.counts["empty"], prompts.counts["duplicates"]) == (1, 1)


def test_when_nothing_of_a_source_is_left_the_counts_say_why(tmp_path):
    path = write(tmp_path / "p.jsonl", numbered(3))
    with pytest.raises(ValueError, match=r"no prompt of .* is left: .*'too_long': 3.*p.jsonl:1: 2 tokens, more than 1"):
        load(path, max_tokens=1)


def test_an_id_that_two_rows_share_is_refused_with_both(tmp_path):
    path = write(tmp_path / "p.jsonl", [{"question": q, "answer": "1", "set": "aime"} for q in "ab"])
    with pytest.raises(ValueError, match=r"p.jsonl:2: the 'set' 'aime' is that of .*p.jsonl:1 too"):
        load(Source("main", path, id_field="set"))


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weights_that_are_no_weights_are_refused(tmp_path, weight):
    with pytest.raises(ValueError, match="the weight of source 'main' must be a positive number"):
        load(Source("main", write(tmp_path / "p.jsonl", numbered(1)), weight))


def test_no_sources_and_two_of_one_name_are_refused(tmp_path):
    path = write(tmp_path / "p.jsonl", numbered(1))
    with pytest.raises(ValueError, match="give at least one"):
        load()
    with pytest.raises(ValueError, match=r"names of their own, got \['p.jsonl', 'p.jsonl'\]"):
        load(path, path)


@pytest.mark.parametrize(
    "line, message",
    [
        ("{'question': 1}", "p.jsonl:3: not JSON"),
        ('{"question": "q", "reply": "#1"}', r"p.jsonl:3: no field 'answer'; the row has .*'reply'"),
        ('{"question": "q", "answer": [1]}', r"p.jsonl:3: the field 'answer' must be text or a number, got \[1\]"),
    ],
)
def test_a_broken_row_names_the_file_and_the_line(tmp_path, line, message):
    path = write(tmp_path / "p.jsonl", numbered(1))
    path.write_text(path.read_text() + "\n" + line + "\n")
    with pytest.raises(ValueError, match=message):
        load(path)


def test_an_empty_and_a_missing_file_are_refused(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ValueError, match=r"empty.jsonl is empty; want rows with the fields \['question', 'answer'\]"):
        load(tmp_path / "empty.jsonl")
    with pytest.raises(ValueError, match="no such file"):
        load(tmp_path / "none.jsonl")


def test_load_rows_keeps_text_and_numbers_as_they_are_written(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"question": "a\\u2028b", "answer": 1.50, "more": [1]}\r\n\n{"answer": -3, "question": "c"}')
    assert load_rows(path, ["question", "answer"]) == [
        {"question": "a\u2028b", "answer": "1.50"},
        {"question": "c", "answer": "-3"},
    ]
    with pytest.raises(ValueError, match="p.jsonl:1: the field 'more' must be text"):
        load_rows(path, ["more"])


def test_the_real_data_sets_load_and_mix_as_they_are(data_dir):
    pytest.importorskip("pyarrow")
    tokenizer = HFTokenizer(data_dir / "qwen3_tokenizer")
    names = ("extra_info.question", "reward_model.ground_truth", "extra_info.index")
    sources = [
        Source("deepscaler", data_dir / "deepscaler" / "train_10240.parquet", 3.0, *names),
        Source("gsm8k", data_dir / "gsm8k" / "test.jsonl", 1.0),
        Source("math500", data_dir / "math500" / "test.jsonl", 1.0, "problem", "answer", "id"),
        Source("aime2024", data_dir / "aime" / "aime2024.jsonl", 0.5, "problem", "answer", "id"),
        Source("aime2025", data_dir / "aime" / "aime2025.jsonl", 0.5, "problem", "answer", "id"),
    ]
    sizes = {"deepscaler": 10240, "gsm8k": 1319, "math500": 500, "aime2024": 30, "aime2025": 30}
    prompts = load(*sources, encode=tokenizer.encode, max_tokens=1024)
    assert {name: sum(counts.values()) for name, counts in prompts.counts_by_source.items()} == sizes
    assert prompts.counts["unencodable"] == 0 and prompts.counts["kept"] > 0.95 * sum(sizes.values())
    taken = prompts.take(0, 600)[0]
    assert sum(prompt.source.startswith("deepscaler:") for prompt in taken) == pytest.approx(300, abs=2)
    assert all(tokenizer.decode(prompt.tokens) == prompt.question for prompt in taken)


@pytest.mark.parametrize("split, size", [("train", 7473), ("test", 1319)])
def test_gsm8k_loads_as_it_is(data_dir, split, size):
    path = data_dir / "gsm8k" / f"{split}.jsonl"
    tokenizer = ByteTokenizer(256, [3])
    prompts = load(path, encode=lambda question: tokenizer.encode(question + "\n"), max_tokens=512)
    assert sum(prompts.counts.values()) == size and prompts.counts["unencodable"] == 0
    assert 0.9 * size < len(prompts) < size and prompts.counts["too_long"] > 0
    prompt = prompts.all()[0]
    row = json.loads(path.read_text(encoding="utf-8").split("\n")[0])
    assert tokenizer.decode(prompt.tokens) == row["question"] + "\n" and prompt.reference == row["answer"]
    assert all(len(p.tokens) <= 512 and "####" in p.reference for p in prompts.take(0, size)[0])
