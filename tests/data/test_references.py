import json

import pytest

from ulorl_jax.data.decisions import CHANGE, DROP, KEEP, UNSURE, Row
from ulorl_jax.data.references import is_prose, make_long_references, same_answer, short_answers


def extract(answer: str, question: str = "What is it?"):
    decision = short_answers(Row("1", "file:1", "test", question, answer))
    return decision.action, decision.row.answer, decision.reason


@pytest.mark.parametrize(
    ("reference", "answer", "reason"),
    [
        ("3 + 4 = 7 apples.\n#### 7", "7", "after ####"),
        ("first #### 3\nno, #### 1,234 ", "1,234", "after ####"),
        (r"We add and get $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}", "in a box"),
        (r"So \boxed{7}, that is \fbox{7}.", "7", "in a box"),
        (r"A set: \boxed{\{1, 2\}}", r"\{1, 2\}", "in a box"),
        ("It is long. It goes on. The final answer is $27$ cm.", "$27$ cm", 'after "answer"'),
        ("Adding gives this.\nAnswer: 12", "12", 'after "answer"'),
        ("$\\frac{3}{4}$", "\\frac{3}{4}", "math delimiters around it"),
        ("\\[\n72\n\\]", "72", "math delimiters around it"),
        ("7\\sqrt{2}.", "7\\sqrt{2}", "a period after it"),
        ("\\text{20 seconds}", "20 seconds", "\\text around it"),
        ("x = 5", "5", "a name before its value"),
        ("$\\theta = \\frac{\\pi}{3}$.", "\\frac{\\pi}{3}", "a name before its value"),
        (" 5 ", "5", "spaces around it"),
    ],
)
def test_the_short_answer_is_taken_from_its_marked_place(reference, answer, reason):
    assert extract(reference) == (CHANGE, answer, reason)


@pytest.mark.parametrize(
    "reference",
    [
        "5",
        "27cm",
        "20 seconds",
        "$1$ or $2$",
        "(1, 2)",
        "x = 1, y = 2",
        "y = 2x + 1",
        "x > 5",
        "...",
        "no solution",
        "-.5",
    ],
)
def test_what_is_short_already_stays_as_it_is(reference):
    assert extract(reference) == (KEEP, reference, "")


def test_an_equation_that_was_asked_for_keeps_its_left_side():
    assert extract("y = 3", "Find the equation of the line.")[0] == KEEP
    assert extract("y = 3", "Find the largest value.")[1] == "3"


@pytest.mark.parametrize(
    "reference",
    [
        r"Either \boxed{3} or \boxed{4}.",
        "First we draw the figure and see that both sides are the same. Then we measure it.",
        "\\boxed{}",
        "We add. ####",
    ],
)
def test_without_one_marked_answer_it_is_left_open(reference):
    action, answer, _ = extract(reference)
    assert (action, answer) == (UNSURE, reference)


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", "a matrix, table or system"),
        (r"f(x)=\begin{cases} 1 \\ 2 \end{cases}", "a matrix, table or system"),
        ("| a | b |\n|---|---|", "a matrix, table or system"),
        ("1" * 41, "more than 40 characters"),
        ("It rises. It falls then.", "prose"),
    ],
)
def test_a_reference_that_is_too_long_is_dropped(reference, reason):
    decision = make_long_references(40)(Row("1", "file:1", "test", "What?", reference))
    assert (decision.action, decision.reason) == (DROP, reason)


def test_a_reference_of_exactly_the_limit_is_kept():
    assert make_long_references(40)(Row("1", "file:1", "test", "What?", "1" * 40)).action == KEEP


def test_prose_is_sentences_and_not_formulas():
    assert is_prose("The cat sat there. It slept.") and is_prose("one two three four five six seven eight nine")
    assert not is_prose(
        r"\frac{\sqrt{2}}{2} + \left\lfloor n \right\rfloor \cdot \binom{n}{k} \quad \text{for even } n"
    )
    assert not is_prose("3 p.m. A")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (r"\dfrac{1}{2}", r"$\frac{1}{2}$"), ("0.5", r"\frac{1}{2}"), ("1/2", "0.50"), ("1,000", "1000"), (".2", "0.2"),
        (r"-\frac{1}{2}", "-0.5"), (r"\frac{\sqrt{2}}{2}", r"\sqrt{2}/2"), (r"30^\circ", "30°"),
        ("x \\le 3", "x\\leq 3"), ("2 , 3", "2,3"), (r"\left(1, 2\right)", "(1,2)"),
        (r"5\text{ cm}", "5 cm"), ("7.", "7"), (r"20\%", "20%"),
    ],
)  # fmt: skip
def test_one_answer_in_two_spellings_is_the_same(first, second):
    assert same_answer(first, second) and same_answer(second, first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2(3)", "23"),
        ("1/3", "0.333"),
        ("x", "X"),
        ("(-1)^2", "-1^2"),
        ("12", "1,2"),
        ("1/0", "1"),
        ("5 cm", "5 m"),
    ],
)
def test_different_answers_are_not_the_same(first, second):
    assert not same_answer(first, second)


def test_every_answer_of_gsm8k_is_found_as_a_program_without_these_rules_finds_it(data_dir):
    for line in (data_dir / "gsm8k" / "test.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert extract(row["answer"])[:2] == (CHANGE, row["answer"].split("####")[1].strip())
