import collections
import json

import pytest

from ulorl_jax.data.cleaning import FORM, LONG, SHORT, SUB, clean, read_questions
from ulorl_jax.data.cleaning_report import decision_to_text, draw_decisions, make_report, report_to_markdown
from ulorl_jax.data.decisions import ASIDE, CHANGE, DROP, KEEP, Row
from ulorl_jax.data.question_form import question_form
from ulorl_jax.data.references import make_long_references, short_answers
from ulorl_jax.data.sub_questions import sub_questions

RULES = {SUB: sub_questions, SHORT: short_answers, FORM: question_form, LONG: make_long_references(30)}
QUESTIONS = [
    ("What is $2+3$?", "5"),
    ("(1) Find $x$. (2) Find $y$.", "1"),
    ("What is the sum? What is the product?", "6"),
    ("How many are there?", "3 + 4 = 7\n#### 7"),
    ("Which colour is it?\nA) red\nB) blue\nC) green", "B"),
    ("How long is it?\nA) 5\nB) 6\nC) 7", "B"),
    ("Is it prime?", "No"),
    ("Find the vector.", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
    ("Find the number.", "1" * 31),
]
ROWS = [Row(str(i), f"file:{i}", "test", q, a) for i, (q, a) in enumerate(QUESTIONS)]


def test_every_row_ends_in_exactly_one_place():
    cleaned = clean(ROWS, RULES, None)
    ended = {
        "kept": [row.id for row in cleaned.kept],
        "dropped": [d.row.id for _, d in cleaned.ended(DROP)],
        "aside": [d.row.id for _, d in cleaned.ended(ASIDE)],
    }
    assert ended == {"kept": ["0", "3", "5"], "dropped": ["1", "6", "7", "8"], "aside": ["2", "4"]}
    assert sorted(sum(ended.values(), [])) == [row.id for row in ROWS]
    assert [(row.question, row.answer) for row in cleaned.kept] == [
        ("What is $2+3$?", "5"),
        ("How many are there?", "7"),
        ("How long is it?", "6"),
    ]


@pytest.mark.parametrize("off", list(RULES))
def test_each_step_has_its_own_switch(off):
    cleaned = clean(ROWS, {step: rule for step, rule in RULES.items() if step != off}, None)
    assert set(cleaned.decisions) == set(RULES) - {off}
    acted = {SUB: "1", SHORT: "3", FORM: "5", LONG: "7"}[off]  # a row that only this step acts on
    assert acted in {row.id for row in cleaned.kept}
    assert {row.id: row for row in cleaned.kept}[acted] == ROWS[int(acted)]


def test_without_rules_every_row_is_kept_as_it_is():
    assert clean(ROWS, {}, None).kept == ROWS


def test_a_language_model_is_asked_only_what_rules_are_unsure_of_in_order():
    asked = []

    def ask(prompts):
        asked.extend(prompts)
        check = prompts[0].partition("----- ")[2].partition(" -----")[0]
        return [json.dumps({"check": check, "verdict": "one"}), *[None] * (len(prompts) - 1)]

    cleaned = clean(ROWS, {SUB: sub_questions, FORM: question_form}, ask)
    assert [next(row.id for row in ROWS if row.question in prompt) for prompt in asked] == ["2", "4"]
    reasons = {d.row.id: d.reason for _, d in cleaned.ended(ASIDE)}
    assert reasons == {"4": "multiple choice that needs its options: the model's reply was refused, " + (
        "its verdict is none of those asked for"
    )}  # fmt: skip
    assert "2" in {row.id for row in cleaned.kept}
    unanswered = clean(ROWS, {SUB: sub_questions}, lambda prompts: [None] * len(prompts))
    assert [d.reason for _, d in unanswered.ended(ASIDE)] == ["several question marks: the model gave no answer"]


def test_the_report_adds_up_and_has_examples_before_and_after():
    cleaned = clean(ROWS, RULES, None)
    report = make_report(cleaned, examples=1)
    assert report == make_report(clean(ROWS, RULES, None), examples=1)
    assert [report[name] for name in ("rows", KEEP, CHANGE, DROP, ASIDE)] == [9, 3, 2, 4, 2]
    came = [report["steps"][step]["rows"] for step in RULES]
    left = [sum(report["steps"][step][action] for action in (DROP, ASIDE)) for step in RULES]
    assert came == [9, 7, 7, 5] and left == [2, 0, 2, 2]
    for made in report["steps"].values():
        named = collections.Counter()
        for reason in made["reasons"]:
            named[reason["action"]] += reason["rows"]
            assert len(reason["examples"]) == 1
        assert all(named[action] == made[action] for action in (CHANGE, DROP, ASIDE))
    (changed,) = [reason for reason in report["steps"][SHORT]["reasons"]]
    assert changed["examples"] == [
        {"id": "3", "question": "How many are there?", "answer": "3 + 4 = 7\n#### 7", "new answer": "7"}
    ]
    page = report_to_markdown(report, "Test")
    assert "9 rows: 3 kept (2 of them changed), 4 dropped, 2 aside." in page
    assert "| sub_questions | 9 | 7 | 0 | 1 | 1 |" in page and "### changed: after #### (1)" in page
    assert "\n    new answer: 7\n" in page


def test_drawn_decisions_are_the_seeds_and_of_one_kind():
    cleaned = clean(ROWS, RULES, None)
    acted = draw_decisions(cleaned, SUB, 50, seed=0, kept=False)
    assert [before.id for before, _ in acted] == ["1", "2"]
    kept = [before.id for before, _ in draw_decisions(cleaned, SUB, 3, seed=1, kept=True)]
    assert kept == [before.id for before, _ in draw_decisions(cleaned, SUB, 3, seed=1, kept=True)]
    assert len(kept) == 3 and kept == sorted(kept) and not {"1", "2"} & set(kept)
    assert len({tuple(b.id for b, _ in draw_decisions(cleaned, SUB, 3, seed=s, kept=True)) for s in range(9)}) > 1
    assert "reason: several listed parts ask" in decision_to_text(*acted[0])
    with pytest.raises(ValueError, match=r"no step 'too_easy' was run; there are \['sub_questions'"):
        draw_decisions(cleaned, "too_easy", 1, seed=0, kept=False)


def read(path, **changes):
    fields = {"question_field": "q", "answer_field": "a.b", "id_field": "", "extra_fields": ("more.level",)}
    return read_questions(str(path), source="test", **(fields | changes))


def test_rows_without_question_or_reference_are_set_aside_and_the_others_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    good = {"q": "What?", "a": {"b": 1.50}, "more": {"level": 3}}
    changes = [{"q": " "}, {"a": {}}, {"q": None}, {"a": {"b": ["x"]}}, {"more": {}}, {"q": "x" * 10001}]
    bad = [good | change for change in changes]
    path.write_text("".join(json.dumps(row) + "\n" for row in [good, *bad, good]))
    rows, unread = read(path)
    assert [(row.id, row.question, row.answer, row.extra) for row in rows] == [
        ("1", "What?", "1.5", {"level": 3}),
        ("8", "What?", "1.5", {"level": 3}),
    ]
    assert [row.place for row in unread] == [f"{path}:{number}" for number in range(2, 8)]
    assert "question or the reference is empty" in unread[0].reason and "no field 'a.b'" in unread[1].reason
    assert [row.row for row in unread] == bad and "more than 10000 characters" in unread[-1].reason
    cleaned = clean(rows, {}, None, unread=unread)
    report = make_report(cleaned, examples=2)
    assert (report["rows"], report[KEEP], report[ASIDE]) == (8, 2, 6)
    assert report["steps"]["reading"]["reasons"][0]["examples"][0]["place"] == f"{path}:2"


def test_a_file_of_which_no_row_can_be_used_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "What?"}\n')
    with pytest.raises(ValueError, match="no row of .* can be used, the first: .*rows.jsonl:1: no field 'q'"):
        read(path)
    path.write_text('{"q": "What?", "a": {"b": "1"}}\n')
    with pytest.raises(ValueError, match="rows.jsonl:1: no field 'more.level'"):
        read(path)
