r"""verify.answers: which answer is read, that nothing is guessed, and that reading is cheap."""

import json
import re
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ulorl_jax.verify.answers import Found, predicted_answer, reference_answer

BOXED = "boxed"
TWO = "boxed, 2 boxes read together"
HASHES = "after '####'"
THE_ANSWER_IS = "after 'the answer is'"
ANSWER_COLON = "after 'answer:'"
MORE_LINES = "more than one line follows the last '####'"
UNCLOSED = r"the last \boxed{} is not closed"
EMPTY_BOX = r"the last \boxed{} is empty"
NOTHING = r"no \boxed{}, no '####' and no words such as 'the answer is'"

BOXES = [
    ("one box", r"So it is $\boxed{7}$.", "7", BOXED),
    ("braces inside a box", r"\boxed{\frac{1}{2}} done", r"\frac{1}{2}", BOXED),
    ("escaped braces inside a box", r"\boxed{\{1,2\}}", r"\{1,2\}", BOXED),
    ("an escaped brace opens nothing", r"\boxed{\left\{ 1, 2 \right.}", r"\left\{ 1, 2 \right.", BOXED),
    ("a stray brace before and after", r"{ \boxed{5} } }", "5", BOXED),
    ("white space around it is taken off", "\\boxed{\n  5\n}", "5", BOXED),
    ("dollars and stars inside a box stay", r"\boxed{$a * b$.}", "$a * b$.", BOXED),
    ("fbox", r"\fbox{7}", "7", BOXED),
    ("a space before the brace", r"\boxed {7}", "7", BOXED),
    ("after a line break of LaTeX", r"a\\\boxed{5}", "5", BOXED),
    ("a backslash escaped as in JSON", r"\\boxed{5}", "5", BOXED),
    ("no braces, a number", r"Thus $\boxed 1,234.5$.", "1,234.5", BOXED),
    ("no braces and no space", r"$\boxed7$", "7", BOXED),
    ("no braces, more than a number", r"$\boxed 5 + x$", None, NOTHING),
    ("no braces, a number that goes on", r"$\boxed 4.2x$", None, NOTHING),
    ("a word that begins like a box", r"\boxedright{7}", None, NOTHING),
    ("the last of several", r"First \boxed{1}. Then \boxed{2}.", "2", BOXED),
    ("the last of a corrected one", r"\boxed{3}? Wait, no: \boxed{5}", "5", BOXED),
    ("the last of an equation of boxes", r"\boxed{\frac{6}{2}} = \boxed{3}", "3", BOXED),
    ("the same box twice", "$$\\boxed{5}$$\n\n$$\\boxed{5}$$", "5", BOXED),
    ("the same box under a heading", "\\[\\boxed{5}\\]\n**Final Answer**\n\\[\\boxed{5}\\]", "5", BOXED),
    ("a box in a box", r"\boxed{\boxed{5}}", "5", BOXED),
    ("a box in a box that holds more", r"\boxed{x = \boxed{5} \text{ or } \fbox{6}}", r"x = 5 \text{ or } 6", BOXED),
    ("boxes joined by or are a hedge", r"$\boxed{3}$ or $\boxed{5}$", "3 or 5", TWO),
    ("boxes joined by or in LaTeX", r"\[\boxed{3} \quad\text{or}\quad \boxed{5}\]", "3 or 5", TWO),
    ("boxes joined by maybe", r"\boxed{3}, or maybe \boxed{5}?", "3, or maybe 5", TWO),
    ("a box that is not meant", r"\boxed{3}, not \boxed{5}", "3, not 5", TWO),
    ("boxes joined by and", r"either **\boxed{3}** and **\boxed{5}**", "3 and 5", TWO),
    ("boxes joined by a comma", r"$\boxed{3}$, $\boxed{5}$", "3, 5", TWO),
    ("boxes joined by nothing", "\\boxed{3}\n\n\\boxed{5}", "3, 5", TWO),
    ("boxes of named values keep the names", r"$x=\boxed{1}$ and $y_2=\boxed{2}$.", "x=1 and y_2= 2", TWO),
    ("three boxes", r"\boxed{1}, \boxed{2}, and \boxed{3}", "1, 2, and 3", "boxed, 3 boxes read together"),
    ("only the last run of boxes", r"\boxed{9}. So \boxed{1} or \boxed{2}.", "1 or 2", TWO),
    ("a hedge inside one box", r"\boxed{3 \text{ or } 5}", r"3 \text{ or } 5", BOXED),
    ("the last box is cut off", r"\boxed{5} and \boxed{6", None, UNCLOSED),
    ("the only box is cut off", r"The answer is \boxed{\frac{1}{2}", None, UNCLOSED),
    ("an escaped brace closes no box", r"\boxed{7\}", None, UNCLOSED),
    ("a box cut off in a box", r"\boxed{ a \boxed{5", None, UNCLOSED),
    ("a box cut off after a marked answer", "#### 5\n\\boxed{5", None, UNCLOSED),
    ("a box left open before a complete one", r"\boxed{ I mean: \boxed{5}", "5", BOXED),
    ("an empty box", r"\boxed{}", None, EMPTY_BOX),
    ("a blank box after a full one", r"\boxed{5}, \boxed{ }", None, EMPTY_BOX),
    ("a box of dollars and dots", r"\boxed{ $...$ }", None, EMPTY_BOX),
    ("an empty box before a full one", r"I am to use \boxed{}: \boxed{5}", "5", BOXED),
    ("an empty box joined to a full one", r"\boxed{}, \boxed{5}", "5", BOXED),
    ("an operator in a box is an answer", r"\boxed{*}", "*", BOXED),
    ("an empty set in a box is an answer", r"\boxed{\{\}}", r"\{\}", BOXED),
    ("a box comes before a marker", "\\boxed{7}\n#### 8", "7", BOXED),
    ("a box comes before words", r"\boxed{7}. The answer is 8.", "7", BOXED),
    ("a box after a marker", r"#### $\boxed{8}$", "8", BOXED),
]
THINKING = [
    ("what is thought is not read", r"<think>\boxed{7}</think> It is \boxed{8}.", "8", BOXED),
    ("thought of a prompt that opens it", r"\boxed{7}</think>\boxed{8}", "8", BOXED),
    ("the last thought ends what is not read", r"\boxed{1}<think>a</think>\boxed{2}</think>#### 3", "3", HASHES),
    ("a thought between two answers", r"a</think> \boxed{1} <think>b</think> \boxed{2}", "2", BOXED),
    (
        "a box in the thought only",
        r"<think>\boxed{7}</think> It is 7.",
        None,
        "the only box is inside the thinking part",
    ),
    ("a box in the thought and silence", r"<think>\boxed{7}</think>", None, "the only box is inside the thinking part"),
    ("a marker in the thought only", "<think>#### 7\nanswer: 7</think> It is 7.", None, NOTHING),
    ("a thought that never ends", r"<think> perhaps \boxed{7}", None, "a <think> is not closed"),
    ("a second thought that never ends", r"<think>a</think>\boxed{7}<think>no", None, "a <think> is not closed"),
    ("nothing but a thought", "<think>It is 7.</think>\n\n", None, "nothing follows the thinking part"),
    ("nothing", "", None, "the output is empty"),
    ("white space", " \n\t ", None, "the output is empty"),
    ("an empty thought and no more", "<think></think>", None, "nothing follows the thinking part"),
    ("no mark of an answer", "It is 7, I think.", None, NOTHING),
]
MARKERS = [
    ("a marked line", "He has 2 * 21.\n#### 42", "42", HASHES),
    ("white space around it", "####\t42 \r\n", "42", HASHES),
    ("the last of several marked lines", "#### 41\n#### 42", "42", HASHES),
    ("on the next line", "####\n\n42", "42", HASHES),
    ("a period at the end", "#### 42.", "42", HASHES),
    ("bold", "#### **42**.", "42", HASHES),
    ("a pair of dollars", "#### $42$", "42", HASHES),
    ("one dollar is money", "#### $18", "$18", HASHES),
    ("money in mathematics", r"#### $\$18$", r"\$18", HASHES),
    ("two amounts are no pair", "#### $3$ or $5$", "$3$ or $5$", HASHES),
    ("a hedge comes out whole", "#### either 3 or 5", "either 3 or 5", HASHES),
    ("a doubt comes out whole", "#### 3, maybe 5", "3, maybe 5", HASHES),
    ("marked twice in one hedge", "#### 3 or #### 5", "3 or #### 5", HASHES),
    ("a hedge that breaks off", "#### 3 or ####", "3 or ####", HASHES),
    ("no hedge over lines", "#### Step 2\nWe add, and\n#### 42", "42", HASHES),
    ("an escaped dollar closes nothing", r"#### $3 and 5\$", r"$3 and 5\$", HASHES),
    ("words after a marker", "#### Answer: 42", "42", ANSWER_COLON),
    ("a heading, then the answer in words", "#### Step 2\nadd.\nThe answer is 5.", "5", THE_ANSWER_IS),
    ("a heading that says answer", "#### Final Answer\n\n$$42$$", "42", "after 'final answer'"),
    ("a marker comes before words", "The answer is 5.\n#### 6", "6", HASHES),
    ("nothing after the marker", "The answer is 5.\n#### ", None, "nothing follows the last '####'"),
    ("only a period after the marker", "####.", None, "nothing follows the last '####'"),
    ("more lines after the marked one", "The answer is 5.\n#### 6\nI hope.", None, MORE_LINES),
]  # fmt: skip
WORDS = [
    ("the answer is", "So the answer is 42.", "42", THE_ANSWER_IS),
    ("the final answer is", "The final answer is: $42$. I hope it is correct.", "42", "after 'final answer is'"),
    ("Answer:", "Adding.\nAnswer: 42", "42", ANSWER_COLON),
    ("bold words", "**Final Answer:** 42", "42", "after 'final answer:'"),
    ("bold words and a bold answer", "**Answer**: **42**", "42", ANSWER_COLON),
    ("bold over both", "**The answer is 42.**", "42", THE_ANSWER_IS),
    ("a heading", "### Final answer\n\n`42`\n\nDone.", "42", "after 'final answer'"),
    ("the last such words", "The answer is 3. No: the answer is 5.", "5", THE_ANSWER_IS),
    ("words after words", "Final Answer: The final answer is 42", "42", "after 'final answer is'"),
    ("to the question", "The answer to the question is 42.", "42", "after 'the answer to the question is'"),
    ("several answers", "The answers are 3 and 5.", "3 and 5", "after 'the answers are'"),
    ("letters of another script before it", "答案 answer: 5", "5", ANSWER_COLON),
    ("capitals", "ANSWER: B", "B", ANSWER_COLON),
    ("a formula on lines of its own", "The answer is\n\\[\n42\n\\]\nas was asked.", "42", THE_ANSWER_IS),
    ("two formulas in one line", r"The answer is \[3\] or \[5\].", r"\[3\] or \[5\]", THE_ANSWER_IS),
    ("a formula in brackets", r"The answer is \(42\).", "42", THE_ANSWER_IS),
    ("two bold answers are no pair", "The answer is **3** or **5**.", "**3** or **5**", THE_ANSWER_IS),
    ("a decimal keeps its point", "The answer is 0.5.", "0.5", THE_ANSWER_IS),
    ("an abbreviation keeps its period", "The answer is the U.S.", "the U.S.", THE_ANSWER_IS),
    ("no sentence ends in an abbreviation", "Answer: Dr. Lee, U.S. Army. He won.", "Dr. Lee, U.S. Army", ANSWER_COLON),
    ("an ellipsis is no end", "Answer: 0.33...", "0.33...", ANSWER_COLON),
    ("a factorial keeps its mark", "Answer: 5!", "5!", ANSWER_COLON),
    ("a conjugate keeps its star", "Answer: z^*", "z^*", ANSWER_COLON),
    ("a hedge", "The answer is 3 or 5.", "3 or 5", THE_ANSWER_IS),
    ("a hedge over two sentences", "The answer is 3. Or maybe 5.", "3. Or maybe 5", THE_ANSWER_IS),
    ("a hedge of two phrases", "Either the answer is 3, or the answer is 5.", "3, or the answer is 5", THE_ANSWER_IS),
    ("a denial", "The answer is not 5.", "not 5", THE_ANSWER_IS),
    ("no words about this answer", "The answer is 5. This answer is checked.", "5", THE_ANSWER_IS),
    ("nothing after the words", "The answer is 5. Final answer: **", None, "nothing follows the last 'final answer:'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("output", "answer", "how"),
    [pytest.param(*row, id=name.replace(" ", "_")) for name, *row in BOXES + THINKING + MARKERS + WORDS],
)
def test_the_answer_that_an_output_ends_with(output, answer, how):
    assert predicted_answer(output, "####") == Found(answer, how)


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("a66,b17,#7", "7"), ("#3,#7", "7"), ("##7", "7"), ("# 7 \n", "7"), ("#7.", "7"), ("#$7", "$7"), ("#-7", "-7"),
        ("#7x", "7x"), ("#7,", "7,"), ("#7 7", "7 7"), ("#1/7", "1/7"), ("#3 or #7", "3 or #7"),
        ("#7#", None), ("7", None), ("#", None), ("#$", None), ("#7\n8", None),
    ],
)  # fmt: skip
def test_of_the_tiny_task_all_that_follows_the_last_marker_is_the_answer(output, answer):
    assert predicted_answer(output, "#").answer == answer


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("He has 2 x 617.\n#### 1,234\n", "1,234"),
        (r"\boxed{3} in all" + "\n#### 4", "4"),
        (r"We add \boxed{1} and get $\boxed{\frac{1}{2}}$, so it is.", r"\frac{1}{2}"),
        (r"$x = \boxed{1}$ or $x = \boxed{2}$", "x = 1 or x = 2"),
        (r"\boxed{5} and \boxed{6", "5"),
        (" 27 cm ", "27 cm"),
        ("$18", "$18"),
        ("The answer is 5.", "The answer is 5."),
        ("so\n####", None),
        (r"so \boxed{ }", None),
        ("", None),
        (" \n", None),
        ("$.", None),
    ],
)
def test_a_references_answer_is_after_its_marker_or_in_its_box_or_all_of_it(reference, answer):
    found = reference_answer(reference, "####")
    assert found is None if answer is None else found is not None and found.split() == answer.split()


@pytest.mark.parametrize("read", [predicted_answer, reference_answer])
def test_an_empty_marker_is_refused_with_what_to_do(read):
    for marker in ("", " \n"):
        with pytest.raises(ValueError, match="give what stands before an answer, e.g. '####'"):
            read("#### 5", marker)


BALANCED = st.recursive(
    st.text(st.characters(exclude_characters="\\{}"), max_size=8)
    | st.sampled_from([r"\{", r"\}", r"\\ ", r"\$", r"\frac", "####", "The answer is 3. "]),
    lambda inner: st.lists(inner, max_size=4).map("".join) | inner.map("{{{}}}".format),
    max_leaves=12,
)


@given(BALANCED, st.text(max_size=20))
def test_what_stands_in_a_box_after_the_thinking_part_comes_out_unchanged(content, thought):
    assume(any(character.isprintable() and character not in " .$" for character in content))
    for box in (r"\boxed", r"\fbox"):
        output = f"<think>{thought}</think>It is ${box}{{{content}}}$, of course."
        assert predicted_answer(output, "####") == Found(content.strip(), "boxed")


FRAGMENTS = [
    "<think>", "</think>", r"\boxed{", r"\fbox{", "{", "}", r"\{", r"\}", "\\", r"\boxed 7", "#", "####", "7", "5",
    " so ", " or ", ", ", "\n", "$", "**", "`", r"\[", r"\]", ".", "The answer is ", "Final answer: ", "x=",
    "\0", "\u200f", "\ud800",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=30).map("".join)


@given(TEXTS, TEXTS)
def test_the_thinking_part_never_changes_the_answer(thought, said):
    assume("</think>" not in said)
    assert predicted_answer(f"{thought}</think>{said}", "####").answer == predicted_answer(said, "####").answer


@given(TEXTS)
def test_every_text_has_a_defined_outcome_and_an_answer_is_never_blank(text):
    for marker in ("#", "####"):
        found = predicted_answer(text, marker)
        for answer in (found.answer, reference_answer(text, marker)):
            assert answer is None or (answer == answer.strip() and answer.strip(" .$\0\u200f\ud800"))
        assert 0 < len(found.how) < 80


def last_box_by_hand(text: str) -> str | None:
    """A slow oracle: counts braces from every opener; of the complete boxes the one that closes last."""
    complete, last = [], None
    for opener in re.finditer(r"\\boxed\{", text):
        depth, at = 1, opener.end()
        while at < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 2 if text[at] == "\\" else 1
        last = None if depth else (at, opener.end())
        complete += [last] if last else []
    if last is None:
        return None
    end, inside = max(complete)
    return re.sub(r"\\boxed\{|(\\.)|\}", lambda token: token[1] or "", text[inside : end - 1])


@given(st.lists(st.sampled_from([r"\boxed{", "}", r"\{", r"\}", r"\\", "a", " so "]), max_size=16).map("".join))
def test_the_last_box_is_the_one_that_counting_braces_from_every_opener_finds(text):
    found, expected = predicted_answer(text, "####"), last_box_by_hand(text)
    if not expected or not expected.strip():
        assert found.answer is None
    elif found.how == "boxed":
        assert found.answer == expected.strip()
    else:
        assert found.how.endswith("boxes read together") and found.answer and found.answer.endswith(expected.strip())


HOSTILE = [
    r"\boxed{", "{", "}", r"\boxed{1}", r"\boxed{1}\boxed{2}", r"\boxed{1} or ", r"\boxed5,", r"\boxed ", "\\",
    "final answer is ", "answer: ", "answer\n", "the ", "the answer is 3 or ", "answer is *", "Answer is 5. ", ". A",
    ". ", "#", "#### 3 or ", "*", "`", "$", r"\[", "5**.", " ", "\n", "- ", "<think>", "</think>", "\0", "\u200f",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE, ids=ascii)
def test_hostile_text_is_read_in_one_pass(unit):
    # A pass over each of these takes 0.1 s; what grows with the square of the length takes minutes.
    text = unit * (200_000 // len(unit))
    began = time.monotonic()
    for said in (
        text,
        text + "}" * (len(text) // len(unit)),
        r"\boxed{" + text,
        "the answer is " + text,
        "####" + text,
    ):
        found = predicted_answer(said, "####")
        assert len(found.how) < 80 and reference_answer(said, "####") != ""
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("unit", [r"\boxed{", "{", "final answer is ", "<think>"])
def test_a_million_characters_of_openers_hold_no_answer_and_cost_little(unit):
    began = time.monotonic()
    found = predicted_answer(unit * (10**6 // len(unit)), "####")
    assert found.answer is None
    assert time.monotonic() - began < 10


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(("split", "count"), [("train", 7473), ("test", 1319)])
def test_every_worked_reference_of_gsm8k_holds_a_number_and_is_read_alike_as_an_output(data_dir, split, count):
    references = [row["answer"] for row in lines(data_dir / "gsm8k" / f"{split}.jsonl")]
    answers = [reference_answer(reference, "####") for reference in references]
    assert len(answers) == count
    assert [a for a in answers if a is None or not re.fullmatch(r"-?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?", a)] == []
    assert [predicted_answer(reference, "####") for reference in references] == [Found(a, HASHES) for a in answers]


def test_every_reference_of_math500_is_read_out_of_a_box_as_it_is(data_dir):
    answers = [row["answer"] for row in lines(data_dir / "math500" / "test.jsonl")]
    assert len(answers) == 500
    for answer in answers:
        worked = rf"<think>Is it \boxed{{0}}?</think>It is $\boxed{{{answer}}}$."
        assert predicted_answer(worked, "####") == Found(answer, "boxed")
        assert reference_answer(worked, "####") == reference_answer(answer, "####") == answer
