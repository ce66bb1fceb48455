r"""verify.boxed: which answer is read, what counts as equal, and that nothing is guessed."""

import json
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulorl_jax.verify.boxed import MAX_CHARACTERS, BoxedVerifier, last_boxed, normal_form

verify = BoxedVerifier("####")


def boxed(answer: str) -> str:
    return rf"So the answer is $\boxed{{{answer}}}$."


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{7}", "7"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}} done", r"\frac{1}{2}"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed {7}", "7"),
        (r"\boxed{5} and \boxed{6", "5"),  # the last one is cut off
        (r"\boxed{ a \boxed{5} b", "5"),
        (r"{ \boxed{5} } }", "5"),
        (r"a\\\boxed{5}", "5"),
        (r"\boxed 7", None),
        (r"\fbox{7}", None),
        (r"\boxed{7\}", None),
        ("7", None),
    ],
)
def test_the_answer_is_what_is_in_the_last_complete_box(text, content):
    assert last_boxed(text) == content


def test_what_is_thought_is_no_answer():
    assert verify(r"<think>\boxed{7}</think> It is \boxed{8}.", "8").reward == 1.0
    assert verify(r"<think>\boxed{7}</think> It is 7.", "7").reward == 0.0
    assert verify(r"a</think> \boxed{1} <think>b</think> \boxed{2}", "2").reward == 1.0
    verdict = verify(r"<think> perhaps \boxed{7}", "7")
    assert verdict.reward == 0.0 and verdict.answer is None and "<think> is not closed" in verdict.reason


@pytest.mark.parametrize("output", ["", "7", r"\boxed{}", r"\boxed{ $ }", r"\boxed{7"])
def test_an_output_without_an_answer_is_wrong_and_says_why(output):
    verdict = verify(output, "7")
    assert verdict.reward == 0.0 and verdict.answer is None and verdict.reason


SAME = [
    ("1/2", r"\frac{1}{2}", r"\dfrac12", r"\tfrac{2}{4}", "0.5", ".50", "$0.5$", "+1/2", "0.5.", "2/4"),
    ("-3", "- 3", r"-\frac{6}{2}", r"\frac{-3}{1}", "-3.0"),
    ("1000000", "1,000,000", r"1,\!000,\!000", r"1{,}000{,}000", r"\$1,000,000", "1000000.00"),
    ("90", r"90^\circ", r"90^{\circ}", "90°"),
    (r"(3,\frac{\pi}{2})", r"\left( 3, \frac{\pi}{2} \right)", r"(3,\, \dfrac{\pi}{2})", r"(3,\frac{\pi}{2})."),
    (r"x\in[0,1)", r"x \in \left[0, 1\right)", r"x\in\,[0,1)"),
    ("Monday", r"\text{Monday}", r"\text{ Monday }", r"\mathrm{Monday}"),
    ("5%", r"5\%", r"5 \%"),
]  # fmt: skip
DIFFERENT_NUMBERS = [
    ("1/3", "0.333333333"),
    ("27", "28"),
    ("1,234", "1.234"),
    ("-5", "5"),
    ("1/2", "2"),
    ("0.1", "0.10001"),
]
NOT_COMPARABLE = [
    ("1, 234", "1234"),  # a list
    ("12", "1 2"),
    (r"3\frac{1}{2}", "3/2"),  # a mixed number is no product
    (r"\leftarrow", r"arrow"),
    (r"\pi r", r"\pir"),
    ("50%", "50"),
    ("27cm", "27m"),
    ("x", "X"),
    ("(1,2)", "(2,1)"),
    (r"\sin 30^\circ", r"\sin 30"),
    ("1/0", "1"),
    ("7", "seven"),
]


@pytest.mark.parametrize("spellings", SAME, ids=lambda spellings: spellings[0])
def test_ways_to_write_an_answer_do_not_matter(spellings):
    for one in spellings:
        for other in spellings:
            verdict = verify(boxed(one), other)
            assert (verdict.reward, verdict.answer) == (1.0, normal_form(spellings[0])), (one, other, verdict)


@pytest.mark.parametrize("pair", DIFFERENT_NUMBERS, ids="~".join)
def test_two_numbers_that_differ_are_wrong(pair):
    assert verify(boxed(pair[0]), pair[1]).reward == verify(boxed(pair[1]), pair[0]).reward == 0.0


@pytest.mark.parametrize("pair", NOT_COMPARABLE, ids="~".join)
def test_texts_that_differ_are_an_error_and_never_a_wrong_answer(pair):
    for one, other in (pair, pair[::-1]):
        verdict = verify(boxed(one), other)
        assert verdict.reward is None and "cannot be compared by text" in verdict.reason and verdict.answer


def test_a_references_answer_is_after_its_marker_or_in_its_box_or_all_of_it():
    assert verify(boxed("1234"), "He has 2 x 617.\n#### 1,234").reward == 1.0
    assert verify(boxed("1234"), r"Half of 2468 is $\boxed{1234}$, not 3.").reward == 1.0
    assert verify(boxed("1234"), "1234").reward == 1.0
    for empty in ("", "  ", "so\n####", r"\boxed{}"):
        verdict = verify(boxed("1234"), empty)
        assert verdict.reward is None and "holds no answer" in verdict.reason


@pytest.mark.parametrize(
    "text",
    ["9" * 10**6, "1," * 10**6, r"\boxed{" * 10**5, "{" * 10**6, "}" * 10**6, r"\boxed " * 10**5, "<think>" * 10**5,
     r"\text{" * 10**5, r"\frac{1}{" * 10**5, "\\" * 10**6, r"\boxed{1}" * 10**5],
    ids=lambda text: text[:9],
)  # fmt: skip
def test_hostile_text_costs_little_as_an_output_and_as_a_reference(text):
    began = time.monotonic()
    for output, reference in ((text, "7"), (boxed(text), "7"), (boxed("7"), text)):
        verdict = verify(output, reference)
        assert verdict.reward in (0.0, None) and len(verdict.reason) < 300
    assert time.monotonic() - began < 3


def test_an_answer_too_long_to_compare_is_an_error_even_where_it_is_the_reference():
    text = "x" * (MAX_CHARACTERS + 1)
    for output, reference in ((boxed(text), "x"), (boxed("x"), text), (boxed(text), text), ("no box", text)):
        verdict = verify(output, reference)
        assert verdict.reward is None and "too long" in verdict.reason


@given(
    st.text(alphabet=r"\{}boxedfrac0123456789.,$-+/ %°", max_size=40),
    st.text(alphabet=r"\{}frac/0123456789., ", max_size=12),
)
def test_every_pair_has_a_defined_outcome(answer, reference):
    assert verify(boxed(answer), reference).reward in (0.0, 1.0, None)


@given(st.fractions(max_denominator=10**6))
def test_every_fraction_equals_itself_however_it_is_written(number):
    top, bottom = number.numerator, number.denominator
    for text in (f"{top}/{bottom}", rf"\frac{{{top}}}{{{bottom}}}", f"{2 * top} / {2 * bottom}", f"{top:,}/{bottom:,}"):
        assert normal_form(text) == str(number)


def test_an_empty_marker_is_refused():
    with pytest.raises(ValueError, match="marker is empty"):
        BoxedVerifier("")


def test_of_the_63_pairs_it_calls_no_different_one_right_and_no_same_one_wrong(data_dir):
    rows = [json.loads(line) for line in (data_dir / "answer_pairs_63.jsonl").read_text(encoding="utf-8").splitlines()]
    told = Counter((row["same"], verify(boxed(row["predicted"]), row["reference"]).reward) for row in rows)
    assert told[(False, 1.0)] == told[(True, 0.0)] == 0
    assert told == {(True, 1.0): 10, (False, 0.0): 3, (True, None): 44, (False, None): 6}


@pytest.mark.parametrize("name", ["math500/test", "aime/aime2024", "aime/aime2025", "gsm8k/test"])
def test_every_reference_of_the_data_sets_is_right_about_itself(data_dir, name):
    lines = (data_dir / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    references = [json.loads(line)["answer"] for line in lines]
    assert len(references) >= 30
    wrong = [(r, v) for r in references if (v := verify(boxed(r.rpartition("####")[2]), r)).reward != 1.0]
    assert wrong == []
