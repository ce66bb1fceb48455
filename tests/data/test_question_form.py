import pytest

from ulorl_jax.data.choices import parse_choices
from ulorl_jax.data.decisions import ASIDE, CHANGE, DROP, KEEP, UNSURE, Row
from ulorl_jax.data.question_form import question_form

STEM = "A rope of 12 m is cut in half. How long is one part, in metres?"


def decide(question: str, answer: str):
    return question_form(Row("1", "file:1", "test", question, answer))


@pytest.mark.parametrize(
    "options",
    [
        "\nA) 5\nB) 6\nC) 7\nD) 8",
        " (A) 5 (B) 6 (C) 7",
        "\nA. 5\nB. 6\nC. 7",
        "\n**A)** $5$  \n**B)** $6$  \n**C)** $7$",
        "\n- **A**: $5$\n- **B**: $6$\n- **C**: $7$",
        "\n$\\textbf{(A)}\\ 5\\qquad\\textbf{(B)}\\ 6\\qquad\\textbf{(C)}\\ 7$\n",
        "\n$\\text{(A) } 5\\quad \\text{(B) } 6\\quad \\text{(C) } 7$",
        "\n$\\mathrm{(A) \\ 5 } \\qquad \\mathrm{(B) \\ 6 } \\qquad \\mathrm{(C) \\ 7 }$",
        "\n$\\mathrm{\\textbf{(A)} \\ }5\\qquad \\mathrm{\\textbf{(B)} \\ }6\\qquad \\mathrm{\\textbf{(C)} \\ }7$",
        "\nOptions:\nA) 5\nB) 6\nC) 7",
        "\nChoose the correct answer:\na) 5;\nb) 6;\nc) another answer.",
    ],
)
def test_options_are_taken_away_and_a_letter_becomes_what_it_stands_for(options):
    for answer, new in (("B", "6"), ("(B)", "6"), (r"\text{B}", "6"), ("6", "6"), ("6.0", "6.0"), ("B) 6", "6")):
        decision = decide(STEM + options, answer)
        assert (decision.action, decision.row.question) == (CHANGE, STEM), decision
        assert decision.row.answer.strip("$") == new
        assert decision.row.original_question == STEM + options


def test_the_dollar_sign_of_a_formula_before_the_options_stays():
    formula = "What is the remainder of $S$ divided by $7?$"
    decision = decide(formula + "\n$\\textbf{(A)}\\ 1\\qquad \\textbf{(B)}\\ 2\\qquad \\textbf{(C)}\\ 3$", "2")
    assert decision.row.question == formula
    assert decide("Each has $\\$1$?\nA) $1$\nB) $2$\nC) $3$", "C").row.question == "Each has $\\$1$?"


def test_an_option_is_met_however_its_latex_is_spelt_with_its_unit_or_without():
    options = "\nA) $\\frac{\\sqrt{2}}{2}$\nB) $\\dfrac{1}{3}$ cm\nC) $-2$"
    for answer, new in ((r"\sqrt{2}/2", r"\sqrt{2}/2"), (r"\frac{1}{3}", r"\frac{1}{3}"), ("C", "$-2$")):
        assert decide(STEM + options, answer).row.answer == new


@pytest.mark.parametrize(
    ("question", "answer", "action", "why"),
    [
        ("Which of the following is prime?\nA) 4\nB) 5\nC) 6", "B", UNSURE, "needs its options"),
        ("The chance is closest to\nA) 0.1\nB) 0.2\nC) 0.3", "B", UNSURE, "needs its options"),
        ("For every such $C$:\nA) $s<r$\nB) $s=r$\nC) $s>r$", "A", UNSURE, "needs its options"),
        (STEM + "\nA) 5\nB) 6\nC) None of these", "C", UNSURE, "needs its options"),
        (STEM + "\nA) 5.31\nB) 6.28\nC) 7.11", "6.28", UNSURE, "may be rounded"),
        (STEM + "\nA) 5\nB) 6\nC) 7", "9", ASIDE, "none of the options"),
        (STEM + "\nA) 6\nB) 6.0\nC) 7", "6", ASIDE, "none of the options"),
        (STEM + "\nA) 5\nB) 6\nC) 7", "B) 7", ASIDE, "none of the options"),
    ],
)
def test_what_needs_its_options_is_left_open_and_what_contradicts_them_goes_aside(question, answer, action, why):
    decision = decide(question, answer)
    assert decision.action == action and why in decision.reason
    assert (decision.row.question, decision.row.answer) == (question, answer)


@pytest.mark.parametrize(
    "question",
    [
        "Let $P(A)=0.2$, $P(B)=0.3$, $P(C)=0.4$. Find $P(A)+P(B)+P(C)$.",
        "[asy] draw((A)--(B)--(C)); [/asy] Find the area of $ABC$.",
        "How many of these lengths change? (a) the side (b) the base (c) the height",
        "(a) Find $x$. (b) Find $y$. (c) Find $z$.",
        "Take A) and B) only.",
        "A) 5 B) 6 C) 7\n\nThese three are given. Find their sum.",
    ],
)
def test_letters_that_are_no_options_are_left_alone(question):
    assert parse_choices(question) is None and decide(question, "5").action == KEEP


@pytest.mark.parametrize("answer", ["No", "False", r"\text{No}", "no.", "incorrect", "No, it is not"])
def test_a_true_false_question_whose_answer_is_no_is_dropped(answer):
    decision = decide("Is 91 a prime?", answer)
    assert (decision.action, decision.reason) == (DROP, "true/false, and the answer is no")


def test_a_true_false_question_whose_answer_is_yes_is_left_open():
    assert decide("Is the sum of 1, 2, 3 equal to 6?", "Yes").action == UNSURE
    assert decide("True or false: $1+2=3$.", "T").action == UNSURE
    assert decide("A test has ten true or false questions. How many keys are there?", "1024").action == KEEP
    for answer in ("no solution", "No such $n$ exists", "\\text{No real roots}", "Norway"):
        assert decide("Solve $x^2=-1$ over the reals.", answer).action == KEEP


@pytest.mark.parametrize(
    ("question", "without"),
    [
        ("Find, with proof, the least $n$.", "Find the least $n$."),
        ("Determine with proof the largest $k$.", "Determine the largest $k$."),
        ("What is the least $n$? Justify your answer.", "What is the least $n$?"),
        ("Find the least $n$ and prove your answer.", "Find the least $n$"),
        ("What is $n$? Don't forget to justify your answer.", "What is $n$?"),
    ],
)
def test_the_demand_for_a_proof_is_taken_away(question, without):
    decision = decide(question, "7")
    assert (decision.action, decision.row.question) == (CHANGE, without)


def test_a_question_that_asks_for_nothing_but_a_proof_is_left_open():
    assert decide("Prove that the sum of the roots equals 5.", "5").action == UNSURE
    assert decide("Let $a>0$. Show that $a+1/a\\ge 2$.", "2").action == UNSURE
    assert decide("Prove that the limit exists and determine it.", "1/2").action == KEEP
