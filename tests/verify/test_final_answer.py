"""Numbers as answers: the rule alone, and with the answer read after the marker, as the tiny task is judged."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulorl_jax.rewards import Judge
from ulorl_jax.types import Attempt
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Pair
from ulorl_jax.verify.final_answer import FinalAnswer


def judge_with(marker):
    judge = Judge(FinalAnswer(), marker)
    return lambda output, reference: judge([Attempt("", reference, output)])[0]


tiny = judge_with("#")
gsm8k = judge_with("####")


def outcomes(*answers):
    """Of (reference, predicted)."""
    return [comparison.outcome for comparison in FinalAnswer().compare([Pair("", *pair) for pair in answers])]


def test_pairs_are_compared_as_numbers_in_their_order():
    assert outcomes(("7", "$7.0."), ("7", "8"), ("seven", "7"), ("7", "seven"), ("1,234", "1234")) == [
        SAME,
        DIFFERENT,
        UNSURE,
        DIFFERENT,
        SAME,
    ]
    assert outcomes() == []


@pytest.mark.parametrize("output", ["a66,b17,#7", "#7", "#3,#7", "##7", "# 7 ", "#7.0", "#$7", "#+7", "#7."])
def test_the_number_after_the_last_marker_is_the_answer(output):
    assert tiny(output, "#7").reward == 1.0


@pytest.mark.parametrize(
    "output", ["#77", "#7x", "#7#", "#7,", "7", "", "#", "#-7", "#7#8", "#7 7", "#.", "#$", "#7..", "#1/7"]
)
def test_anything_else_is_wrong_and_says_what_was_read(output):
    verdict = tiny(output, "#7")
    assert verdict.reward == 0.0 and verdict.reason


@pytest.mark.parametrize("output", ["#### 1234", "so.\n#### $1,234.00", "#### 1,234."])
def test_ways_to_write_a_number_do_not_matter(output):
    assert gsm8k(output, "He has\n#### 1,234").reward == 1.0
    assert gsm8k(output, "1234").reward == 1.0


def test_a_comma_that_separates_no_thousands_makes_no_number():
    assert gsm8k("#### 1,2", "12").reward == 0.0
    assert gsm8k("#### 12,34", "1234").reward == 0.0


def test_numbers_are_compared_exactly():
    assert gsm8k("#### 0.1", "#### .10").reward == 1.0
    assert gsm8k("#### 0.10000000000000000001", "#### 0.1").reward == 0.0
    assert gsm8k("#### -5", "#### -5.0").reward == 1.0
    assert gsm8k("#### -0", "#### 0").reward == 1.0


HOSTILE = ["", "NaN", "sNaN", "Infinity", "-inf", "1e999999999", "1E5", "٧", "７", "²", "1_0", "0x7"]
HOSTILE += ["9" * 10**6, "1," * 10**6, "-" * 10**6, "$" * 90]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12])
def test_hostile_text_is_wrong_as_an_output_and_an_error_as_a_reference(text):
    start = time.monotonic()
    assert outcomes(("7", text), (text, "7")) == [DIFFERENT, UNSURE]
    assert tiny("#" + text, "#7").reward == 0.0
    verdict = tiny("#7", "#" + text)
    assert verdict.reward is None and verdict.reason and len(verdict.reason) < 200
    assert time.monotonic() - start < 2


@given(st.text(alphabet="#0123456789.,$-+eNa \n٧", max_size=30), st.text(alphabet="#0123456789.,$- ", max_size=10))
def test_every_pair_has_a_defined_outcome(output, reference):
    assert tiny(output, reference).reward in (0.0, 1.0, None)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**12), max_value=10**12))
def test_every_number_equals_itself_with_and_without_commas(number):
    assert gsm8k(f"#### {number:f}", f"{number:,f}").reward == 1.0


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_solution_of_gsm8k_is_right_about_itself(data_dir, split):
    lines = (data_dir / "gsm8k" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    answers = [json.loads(line)["answer"] for line in lines]
    assert len(answers) > 1000
    assert [answer for answer in answers if gsm8k(answer, answer).reward != 1.0] == []
    assert all(gsm8k(answer + "1", answer).reward == 0.0 for answer in answers)


@pytest.mark.parametrize("output", ["#1234.50", "#1,234.5", "#+1234.500."])
def test_equal_numbers_are_one_answer_in_a_vote(output):
    assert tiny(output, "#7").answer == tiny("#1234.5", "#7").answer is not None
    assert tiny(output, "#1234.5").answer == tiny("#1234.5", "#7").answer
