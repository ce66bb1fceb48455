import pytest

from ulorl_jax.data.decisions import DROP, KEEP, UNSURE, Row
from ulorl_jax.data.sub_questions import asks, listed_parts, own_words, sub_questions


def decide(question: str, answer: str = "5"):
    decision = sub_questions(Row("1", "file:1", "test", question, answer))
    assert decision.row.question == question
    return decision.action, decision.reason


@pytest.mark.parametrize(
    "question",
    [
        "A box holds 3 red balls.\n(1) Find the number of draws.\n(2) If 2 are drawn, find the chance of a pair.",
        "Let $f(x)=x^2$. $(1)$ Find $f(2)$; $(2)$ find the least value of $f$.",
        r"Let \\(a=2\\). \\((1)\\) Determine \\(a^2\\). \\((2)\\) Calculate \\(a^3\\).",
        "Given $a$.<br/>$(1)$ Find $p$;<br/>$(2)$ If $b$ grows, find the largest area.",
        "Let $a=1$.\n(Ⅰ) Find $a+1$;\n(Ⅱ) Prove that $a<3$.",
        "A train leaves.\n(i) How long does it take? \n(ii) How far does it go?",
        "A town has 9 roads.\na) How many crossings can there be?\nb) How many can there be without bridges?",
        "Two shops sell pens.\n1. Write the price as a function.\n2. When is the first shop cheaper?",
        "A test has 4 items: 1) What is the mean? 2) What is the median?",
        "A lamp. Part A: Find its height. Part B: Find its width.",
        "Choose one of (1) $a=1$, (2) $b=2$ and go on.\n(1) Find $c$.\n(2) Find $d$.",
    ],
)
def test_listed_parts_that_each_ask_are_sub_questions(question):
    assert decide(question) == (DROP, "several listed parts ask")


@pytest.mark.parametrize(
    "question",
    [
        "Calculate:\n(1) $2+3$;\n(2) $4\\cdot5$.",
        "In a triangle, $a=3$. Find:\n1. The height.\n2. The area.",
        "Given $x=2$, find the values of the following expressions: (1) $x+1$; (2) $x^2$.",
        "What is the probability of each of the following?\n- A red ball;\n- A blue ball.",
        "For what value of $m$ does:\n(a) the line touch the circle;\n(b) the line miss the circle.",
    ],
)
def test_a_list_after_a_lead_in_that_asks_is_a_list_of_sub_questions(question):
    assert decide(question) == (DROP, "a list of things asked for")


@pytest.mark.parametrize(
    "question",
    [
        "A number is good if:\n1. Its digits differ.\n2. Their sum is even.\nHow many good numbers are there?",
        "Find the smallest $n$ that satisfies these conditions:\n(1) $n$ is even.\n(2) $n$ is a square.",
        "How many sets have the following properties?\n(1) They are finite.\n(2) They hold 3.",
        'One of them said: "(1) Who are you? (2) Find out!" How many spoke?',
        "The rules are:\n- If $N$ is odd, add 1.\n- If $N$ is even, halve it.\nFrom 9, what comes after six steps?",
        "The function satisfies $f(1)=2$ and $f(2)=3$. Find $f(3)$.",
        r"Let \sigma (1), \sigma (2) be a permutation. Find the least \sigma (1)+\sigma (2).",
        "There are two deals:\n1) Give 2 coins, take 3 pens.\n2) Give 5 pens, take 3 coins.\nHow many coins are left?",
        "What is $1+1$?",
        "The sum of $a$ and $b$ is:",
        "How many roads are there? It is a small town. How many roads are there?",
        'He asked her: "How old are you?" and she asked: "Why?" What is the sum of their ages?',
        '[asy] label("(1) find"); label("(2) find"); [/asy] Find the area.',
    ],
)
def test_conditions_statements_and_single_questions_are_kept(question):
    assert decide(question)[0] == KEEP


def test_several_blanks_are_sub_questions_and_one_is_not():
    assert decide("The mean is ____ and the median is ____.") == (DROP, "several blanks to fill in")
    assert decide(r"Then $a=$\_\_\_\_\_ and $b=$ \_\_\_\_.") == (DROP, "several blanks to fill in")
    assert decide(r"The mean of 1 and 3 is \_\_\_\_\_\_.")[0] == KEEP
    assert decide("If $f(1)=0$, then $f(3)=$ __(A)__.")[0] == KEEP


def test_two_values_are_sub_questions_where_the_reference_lists_nothing():
    question = "Let $x^2+y^2=1$. Find the maximum and minimum values of $x+y$."
    assert decide(question, "-2") == (DROP, "two values are asked for, the reference has one")
    assert decide(question, r"\pm 2")[0] == KEEP
    assert decide("A line is given. Find the values of $a$ and $b$.", "(1, 2)")[0] == KEEP
    assert decide("A line is given. Find the values of $a$ and $b$.", "7")[0] == DROP
    assert decide("Find the sum of the maximum and minimum values of $x$.", "7")[0] == KEEP


def test_a_question_added_behind_the_first_is_found():
    reason = "a further question is added"
    assert decide("Find the area of the circle. Also, determine its circumference.") == (DROP, reason)
    assert decide("Find the sum of all $x$. Suppose also that $x>0$.")[0] == KEEP


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("How many red balls are there? How many blue ones?", "several question marks"),
        ("How many pegs are needed if:\na) 3 disks lie there;\nb) 4 disks lie there.", "cases"),
        ("A bag is drawn from.\n(1) The number of all draws.\n(2) The number of pairs.", "nothing but a list"),
    ],
)
def test_what_only_a_reader_can_tell_is_left_open(question, reason):
    action, why = decide(question)
    assert action == UNSURE and reason in why


def test_a_list_begins_at_its_first_number_and_counts_up():
    lead, parts = next(listed_parts("Let. (1) one (2) two (4) four"))
    assert lead.strip() == "Let." and [part.strip() for part in parts] == ["one", "two (4) four"]
    assert list(listed_parts("see (2) and (3), or $f (1)$ and $f (2)$")) == []
    lists = [parts for _, parts in listed_parts("(a) x (b) y (a) z (b) w")]
    assert [[part.strip() for part in parts] for parts in lists] == [["x", "y (a) z (b) w"], ["z", "w"]]


def test_asking_is_seen_by_mark_blank_command_or_an_open_end():
    for text in ("Is it?", "so $x=$ ____", "Find $x$.", "If $a=1$, calculate $b$", "the value of $x$ is", "$AB=$"):
        assert asks(text), text
    for text in ("$a$ is even.", "the mean of all values", "If $N$ is odd, output $4N$.", "a list of names."):
        assert not asks(text), text


def test_speech_tables_and_drawings_are_not_the_questions_own_words():
    text = 'He says "Find it?" [asy] draw("?"); [/asy] \\begin{tabular}{c}?\\end{tabular} So what is it?'
    assert own_words(text).count("?") == 1
    assert own_words('It is "the first." Estimate it.') == "It is .  Estimate it."
