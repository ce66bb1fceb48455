r"""verify.spelling: one spelling for what looks alike, and nothing lost that carries meaning."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verify.answer_tables import misjudged
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE
from ulorl_jax.verify.rules import compare
from ulorl_jax.verify.spelling import MAX_CHARACTERS, compact, even_out, is_hidden, members_of, split

ALIKE = r"""
1\,000\,000 ~ 1{,}000{,}000
10,\!080 ~ 10080
27\text{ cm} ~ 27\,\mathrm{cm}
$18$ ~ 18
(0,1) ~ (0, 1)
(0,9) \cup (9,36) ~ (0,9)\cup (9, 36)
\langle 1,2\rangle ~ ⟨1, 2⟩
1 : 2 ~ 1:2
\text{Evelyn} ~ Evelyn
A ~ A.
\boxed{5} ~ 5
\[ 2047 \] ~ 2047
**42** ~ 42
５ ~ 5
– 3 ~ -3
− 3 ~ -3
\begin{cases} x & x>0 \\ -x & x\le 0 \end{cases} ~ \begin{cases} x & x > 0 \\ -x & x \leq 0 \end{cases}
The answer is 5 ~ 5
(5, 6) ~ \left(5,6\right)
$(5,6)$ ~ (5,6)
\sqrt{51} ~ √51
288 \pi ~ 288π
3R^2 ~ 3 R^2
\text{(C)} ~ (C)
"Paris" ~ Paris
\textit{Paris} ~ Paris
Paris. ~ Paris
5 students ~ 5 students
5 more apples ~ 5 more apples
205_{16} ~ 205_{16}
(6,31,-1) ~ (6, 31, -1)
\{(x,y): x=1\} ~ \{(x,y): x=1\}
\{2,3\}\cup\{4\} ~ \{2,3\}\cup\{4\}
\sin\theta ~ \sin \theta
odd ~ \text{odd}
25^\circ\text{C} ~ 25°C
"yes" ~ yes
(2, 3) ~ \left( 2 , 3 \right)
\text{Sunday} ~ Sunday.
Answer: D ~ D
B. ~ B
4:3 ~ 4 : 3
\text{The answer is } 5 ~ 5
\text{undefined} ~ undefined
5\\ ~ 5
\color{red}{5} ~ 5
a = 3, b = 4 ~ a=3,b=4
7!! ~ 7!!
Tuesday ~ \text{Tuesday}
two ~ \text{two}
(0, -3) ~ (0,-3)
\binom{4025}{2012} ~ C(4025, 2012)
\binom{5}{2} ~ 5 choose 2
"""


def test_ways_to_write_an_answer_do_not_matter():
    assert misjudged(ALIKE, SAME) == []


@pytest.mark.parametrize(
    ("text", "evened_out"),
    [
        (r"$\dfrac{1}{2}\,\mathrm{cm}$.", r"\frac {1}{2} \text{cm}"),
        (r"\left( 3, \frac{\pi}{2} \right)", r"( 3, \frac{\pi}{2} )"),
        (r"11,\! 111,\! 100", "11111100"),
        ("x²+3½", r"x^{2}+3 \frac{1}{2}"),
        ("√12π", r"\sqrt{12}\pi"),
        (r"\$32,\!348", "$32348"),
        ("$5 and $3", "$5 and $3"),
        (r"\boxed{\text{(C)}}", "(C)"),
        ("{1,2}", "{1,2}"),
        (r"90^{\circ}", "90°"),
        ("a <= b", r"a \le b"),
        (r"\\frac{1}{2}", r"\frac{1}{2}"),  # escaped twice
        (r"1 \\ 2 \begin{x}", r"1 \\ 2 \begin{x}"),  # the rows of a matrix are not
        ("“yes”", "yes"),
        ('5"', '5"'),  # inches
        (r"\text{5 apples}", "5 apples"),
        (r"25^\circ\text{C}", "25°C"),
    ],
)
def test_what_only_dresses_is_taken_off(text, evened_out):
    assert even_out(text) == evened_out


@pytest.mark.parametrize(
    ("a", "b"),
    [("1 2", "12"), ("1, 234", "1,234"), (r"\pi r", r"\pir"), ("x y", "xy"), ("5'", '5"'), ("x", "X"), ("(1", "1"),
     ("1.5", "15"), ("-5", "5"), (r"\leftarrow", "arrow"), ("5%", "5"), ("[1", "(1"), ("27cm", "27m"), ("50%", "50")],
)  # fmt: skip
def test_what_carries_meaning_stays(a, b):
    assert compact(even_out(a)) != compact(even_out(b))


@pytest.mark.parametrize("text", ["5\x00", "\x07", "\u202e21", "\u2066", "\ud800", "\x7f", "\ufffd"])
def test_characters_that_are_not_seen_are_noticed(text):
    assert is_hidden(text)


def test_white_space_and_accents_are_no_hidden_characters():
    assert not is_hidden("a\tb\nc\r é ℝ 数")


def test_marks_without_width_are_dropped():
    assert even_out("\u200b5\ufeff\u200f") == "5"


def test_a_text_is_cut_only_outside_brackets():
    assert split("1, (2, 3), {4, 5}", ",") == ["1", "(2, 3)", "{4, 5}"]
    assert split(r"\{1, 2\}, \begin{x}3, 4\end{x}", ",") == [r"\{1, 2\}", r"\begin{x}3, 4\end{x}"]
    assert split("(1", ",") is split("1)", ",") is split("(" * 30 + ")" * 30, ",") is None


def test_members_are_parted_by_commas_and_words_but_not_at_thousands():
    assert members_of("1, 2, and 3") == ["1", "2", "3"]
    assert members_of("1,000, 2,000") == ["1000", "2000"]
    assert members_of("5,-1,000") == ["5", "-1000"] and members_of("3,-2,100") == ["3", "-2", "100"]
    assert members_of("1,234") == ["1234"] and members_of("1,234", "[,;]", is_bare=False) == ["1", "234"]
    assert members_of("land or sea") == ["land", "sea"] and members_of(", 1") is None


@given(st.text(max_size=MAX_CHARACTERS))
def test_evening_out_is_done_in_one_go(text):
    once = even_out(text)
    assert len(once) <= 20 * MAX_CHARACTERS and isinstance(compact(once), str)


@pytest.mark.parametrize(
    "text",
    ["9" * 300, "1," * 150, r"\boxed{" * 40, "{" * 300, "}" * 300, "$" * 300, r"\text{" * 50, "\\" * 300, "√" * 300,
     "½" * 300, "²" * 300, " " * 300, "," * 300, "a,b" * 100, r"\frac{1}{" * 30, "**" * 150, "C(" * 150],
    ids=lambda text: text[:9],
)  # fmt: skip
def test_hostile_text_costs_little(text):
    began = time.monotonic()
    compact(even_out(text))
    members_of(even_out(text))
    assert time.monotonic() - began < 2


WRITTEN_OTHERWISE = r"""
42 ~ = 42
42 ~ **Answer:** 42
42 ~ #### 42
42 ~ Thus, $n = 42$
42 ~ 42 only
-7 ~ \text{negative } 7
\frac{1}{3} ~ 0.333...
\frac{1}{6} ~ 0.1(6)
\frac{4}{33} ~ 0.121212...
\frac{3}{2} ~ 1.5 (or 3/2)
\frac{3}{2} ~ 6/4 (= 3/2)
1, 2 ~ 1 & 2
1, 2 ~ both 1 and 2
\binom{2n}{k} ~ C(2n, k)
15 ~ 6C2
15 ~ C_6^2
15 ~ {}_6C_2
2\sqrt{3} ~ 2 root 3
\sqrt[3]{2} ~ cbrt(2)
12 ~ twelve (12)
x^2+1 ~ x squared plus 1
2^{10} ~ 2 to the power of 10
12:40 ~ twelve forty
y = 2x+3 ~ The line y = 2x + 3
3\mathbf{i} - 4\mathbf{j} ~ 3\hat{i} - 4\hat{\jmath}
f(x) = x ~ f(x) = x \text{ for all } x
"""
SEEMING_ALIKE = r"""
\frac{1}{3} ~ 0.33
\frac{1}{3} ~ 0.(2)
\frac{1}{2} ~ 1.5 (or 1/2)
342 ~ \$342 (or \$444 if the flowers are counted)
\binom{2n}{k} ~ C(n, 2k)
15 ~ 6C3
8 ~ 2**4
12 ~ 12-14
7 ~ 7 squared
7 ~ 7 plus 1
12 ~ twelve (13)
y = 2x+3 ~ The line y = 2x - 3
"""


def test_what_announces_an_answer_and_rarer_ways_to_write_it_do_not_matter():
    assert misjudged(WRITTEN_OTHERWISE, SAME) == []


def test_a_rarer_writing_of_another_answer_is_another_answer():
    assert [pair for pair in misjudged(SEEMING_ALIKE, DIFFERENT) if pair[2].outcome == SAME] == []


@pytest.mark.parametrize(("text", "other"), [("e", "2.718281828..."), (r"\pi", "3.14159...")])
def test_digits_that_do_not_go_on_so_are_not_repeated(text, other):
    assert even_out(other) == other
    assert compare(text, other).outcome == UNSURE
