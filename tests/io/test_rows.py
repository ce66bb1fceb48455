import json
import math
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulorl_jax.io.rows import CHUNK, field, read_rows, text_field, write_rows

SUFFIXES = ["jsonl", "parquet", "array_record"]
ROWS = [
    {"question": "1 + 1?", "info": {"answer": "2", "tags": ["a", "b"]}, "level": 3, "rate": 0.5, "hard": True},
    {"question": "é\u2028\n{\t", "info": {"answer": "", "tags": []}, "level": -1, "rate": 1e300, "hard": False},
]


@pytest.fixture(params=SUFFIXES)
def path(request, tmp_path):
    if request.param != "jsonl":
        pytest.importorskip("pyarrow" if request.param == "parquet" else "array_record")
    return tmp_path / "new" / f"rows.{request.param}"


def rows_of(path):
    return [row for _, row in read_rows(path)]


def fails_after(good, error):
    yield from good
    raise error


def test_rows_come_back_as_they_were_written_with_their_places(path):
    assert write_rows(path, ROWS) == 2
    assert list(read_rows(path)) == [(f"{path}:1", ROWS[0]), (f"{path}:2", ROWS[1])]


def test_no_rows_are_a_whole_file_too(path):
    assert write_rows(path, []) == 0 and rows_of(path) == []


def test_more_rows_than_one_chunk_stream_through_in_order(path):
    count = 2 * CHUNK + 5
    assert write_rows(path, ({"n": i} for i in range(count))) == count
    assert [(where, row["n"]) for where, row in read_rows(path)] == [(f"{path}:{i + 1}", i) for i in range(count)]


@settings(max_examples=20)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=20))
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_any_text_survives(tmp_path_factory, suffix, texts):
    pytest.importorskip({"parquet": "pyarrow", "array_record": "array_record"}.get(suffix, "json"))
    path = tmp_path_factory.mktemp("rows") / f"a.{suffix}"
    write_rows(path, [{"text": text} for text in texts])
    assert [row["text"] for row in rows_of(path)] == texts


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(path):
    write_rows(path, ROWS)
    for good in (ROWS, ROWS * CHUNK):
        with pytest.raises(RuntimeError, match="no more"):
            write_rows(path, fails_after(good, RuntimeError("no more")))
    assert rows_of(path) == ROWS and list(path.parent.iterdir()) == [path]


def test_a_file_of_another_format_is_refused_with_its_name(path):
    path.parent.mkdir()
    for content in (b"no rows" * 3, b"no rows" * 20000):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{path.name}.* not "):
            rows_of(path)


def test_half_a_file_is_an_error_and_not_half_the_rows(path):
    write_rows(path, ({"n": f"{i:0200}"} for i in range(4000)))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 + 7])
    with pytest.raises(ValueError, match=path.name):
        rows_of(path)


def test_a_missing_file_and_an_unknown_suffix_are_refused_before_the_first_row(tmp_path):
    with pytest.raises(ValueError, match="no such file: .*none.jsonl"):
        read_rows(tmp_path / "none.jsonl")
    for name, got in (("a.csv", "got '.csv'"), ("a", "got 'none'")):
        with pytest.raises(ValueError, match=f"ends in .jsonl, .parquet, .array_record, {got}"):
            read_rows(tmp_path / name)
        with pytest.raises(ValueError, match=got):
            write_rows(tmp_path / name, ROWS)
    assert list(tmp_path.iterdir()) == []


def test_jsonl_has_blank_lines_a_last_line_without_an_end_and_line_ends_in_text(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"t": "a\xe2\x80\xa8b"}\r\n\n  \n{"t": "c"}')
    assert list(read_rows(path)) == [(f"{path}:1", {"t": "a\u2028b"}), (f"{path}:4", {"t": "c"})]


@pytest.mark.parametrize(
    "line, message",
    [
        (b"{'t': 1}", "a.jsonl:2: not JSON"),
        (b'{"t": 1', "a.jsonl:2: not JSON"),
        (b'{"t": "\xff"}', "a.jsonl:2: not JSON"),
        (b'{"t": NaN}', r"a.jsonl:2: not JSON \(JSON has no NaN"),
        (b"[" * 100000, "a.jsonl:2: not JSON"),
        (b"[1, 2]", r"a.jsonl:2: want a JSON object, got b'\[1, 2\]'"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, message):
    (tmp_path / "a.jsonl").write_bytes(b'{"t": 1}\n' + line + b"\n")
    with pytest.raises(ValueError, match=message):
        rows_of(tmp_path / "a.jsonl")


def test_a_broken_record_is_named(tmp_path):
    library = pytest.importorskip("array_record.python.array_record_module")
    path = tmp_path / "a.array_record"
    writer = library.ArrayRecordWriter(str(path), "group_size:1")
    for record in (b'{"t": 1}', b"{"):
        writer.write(record)
    writer.close()
    with pytest.raises(ValueError, match="a.array_record:2: not JSON"):
        rows_of(path)


@pytest.mark.parametrize("suffix", ["jsonl", "array_record"])
@pytest.mark.parametrize("value", [object(), math.nan, {1, 2}])
def test_what_json_does_not_know_is_refused_with_its_row(tmp_path, suffix, value):
    with pytest.raises(ValueError, match="row 3 is not what JSON knows"):
        write_rows(tmp_path / f"a.{suffix}", [*ROWS, {"t": value}])
    assert list(tmp_path.iterdir()) == []


def test_parquet_fills_what_rows_lack_and_loses_no_field(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    rows = [{"a": 1}, {"b": "x", "a": None}] * CHUNK + [{"b": None}]  # the last chunk knows no type of its own
    write_rows(path, rows)
    assert rows_of(path) == [{"a": row.get("a"), "b": row.get("b")} for row in rows]


@pytest.mark.parametrize(
    "first, last, message",
    [
        ({"a": 1}, {"a": "x"}, f"rows {CHUNK + 1} to {CHUNK + 2} do not fit Parquet's one schema, write .jsonl"),
        ({"a": 1}, {"a": 1, "b": 2}, "they have a: int64 b: int64, those before a: int64"),
        ({"a": {"x": 1}}, {"a": {"x": 1, "y": 2}}, "do not fit"),
        ({"a": None}, {"a": 1}, "they have a: int64, those before a: null"),
        ({"a": 1}, {"a": 10**30}, "do not fit"),
        ({"a": "x"}, {"a": "\ud800"}, "do not fit"),
    ],
)
def test_rows_parquet_cannot_hold_in_one_schema_are_refused_and_not_cut(tmp_path, first, last, message):
    pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match=message):
        write_rows(tmp_path / "a.parquet", [first] * (CHUNK + 1) + [last])
    assert os.listdir(tmp_path) == []


def test_numbers_of_json_keep_their_written_form_as_text_and_their_value_as_numbers(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1.50, "b": -3, "c": 1E5, "d": "x", "e": 12345678901234567890}')
    ((where, row),) = read_rows(path)
    assert [text_field(row, name, where) for name in "abcde"] == ["1.50", "-3", "1E5", "x", "12345678901234567890"]
    assert row["a"] + 1 == 2.5 and row["c"] == 100000 and json.dumps(row["a"]) == "1.5"


def test_dots_lead_into_nested_objects_unless_a_field_has_that_very_name():
    row = {"a": {"b": {"c": 1}}, "x.y": 2, "x": {"y": 3}}
    assert field(row, "a.b.c", "f:1") == 1 and field(row, "a.b", "f:1") == {"c": 1} and field(row, "x.y", "f:1") == 2


@pytest.mark.parametrize(
    "name, message",
    [
        ("b", r"f:1: no field 'b'; the row has \['a', 't'\]"),
        ("a.c", r"f:1: no field 'a.c'; 'a' has \['b'\]"),
        ("t.b", "f:1: no field 't.b'; 't' is str, not an object"),
    ],
)
def test_a_missing_field_is_named_with_what_there_is(name, message):
    with pytest.raises(ValueError, match=message):
        field({"a": {"b": 1}, "t": "x"}, name, "f:1")


@pytest.mark.parametrize("value", [None, True, [1], {"b": 1}, math.nan, math.inf])
def test_text_is_text_or_a_number_and_nothing_else(value):
    with pytest.raises(ValueError, match="f:1: the field 'a' must be text or a number, got "):
        text_field({"a": value}, "a", "f:1")


def test_the_nested_fields_of_deepscaler_are_read_as_they_are(data_dir):
    pytest.importorskip("pyarrow")
    rows = list(read_rows(data_dir / "deepscaler" / "train_10240.parquet"))
    assert len(rows) == 10240
    where, row = rows[0]
    assert text_field(row, "reward_model.ground_truth", where) == r"-\frac{\sqrt{3}}{3}"
    assert text_field(row, "extra_info.index", where) == "0"
    assert text_field(row, "extra_info.question", where).startswith("Calculate the limit of the function:")
