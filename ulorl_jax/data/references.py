"""References: the short answer out of a worked one, and which are too long to compare with."""

from __future__ import annotations

import re
from fractions import Fraction

from ulorl_jax.data.decisions import CHANGE, DROP, KEEP, UNSURE, Decision, Row, Rule

LONGEST_SHORT = 100  # characters of what may follow "the answer is"
MOST_WORDS = 8  # of prose in a short answer, outside LaTeX's commands

HASHES = re.compile(r"####\s*(?P<answer>[^\n]*)")
BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
STATED = re.compile(
    r"(?:\b(?:final |correct |short )?answer(?: is)?\s*:|\b(?:final |correct )?answer is:?|\*\*answer:?\*\*:?)\s*"
    r"(?P<answer>.+?)\s*(?:\.?\s*\Z|\.\s|\n)",
    re.IGNORECASE,
)
DELIMITERS = (("$$", "$$"), ("$", "$"), ("\\[", "\\]"), ("\\(", "\\)"))
WHOLE_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox)\s*\{(?P<inner>[^{}]*)\}")
ASSIGNED = re.compile(r"(?:[A-Za-z]|\\[a-z]+)(?:_\{?\w+\}?)?\s*=\s*(?P<value>[^=<>,;]+)")
COMMAND = re.compile(r"\\[A-Za-z]+")
LETTERS = re.compile(r"[A-Za-z]")
WORD = re.compile(r"[A-Za-z]{2,}")
ARRAY = re.compile(
    r"\\begin\s*\{\s*(?:[a-zA-Z]*matrix|array|cases|aligned|align\*?|tabular|tikzpicture)\}|\[asy\]|!\[|\|\s*-{3}"
)
SENTENCE_END = re.compile(r"(?<=[a-z)$}])[.!?]\s+(?=[A-Z$\\(])")
# How one value may be written in several ways that a reader would not tell apart.
SPELLINGS = (
    (r"\\left|\\right|\\displaystyle|\\[,;:! ]|\\q?quad|~|\$|\\\(|\\\)|\\\[|\\\]", ""),
    (r"\\[dt]frac", r"\\frac"),
    (r"\\(?:text|textbf|mathrm|mbox)\s*\{([^{}]*)\}", r"\1"),
    (r"\\sqrt\s*\{([^{}]*)\}", r"sqrt(\1)"),
    (r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"(\1)/(\2)"),
    (r"\\leq?(?:slant)?(?![a-z])", "<="),
    (r"\\geq?(?:slant)?(?![a-z])", ">="),
    (r"\\%", "%"),
    (r"\^\s*\{?\\circ\}?|°", "degrees"),
    (r"(?<=\d),(?=\d{3}(?!\d))", ""),
    (r"\s+", ""),
    (r"(?<![a-z0-9)])\((-?\w+|sqrt\(\w+\))\)(?![\w(^])", r"\1"),
    (r"\.\Z", ""),
)


def short_answers(row: Row) -> Decision:
    """Takes the short answer out of a worked reference, where its place is marked.

    Args:
      row: whose reference is read.

    Returns:
      KEEP where it is short already, CHANGE, or UNSURE where it is prose without a mark.
    """
    answer, reason = _marked(row.answer)
    if reason == "several boxed answers":
        return Decision(UNSURE, row, reason)
    if not reason and is_prose(answer):
        return Decision(UNSURE, row, "prose without a marked answer")
    bare, stripped = _bare(answer, row.question)
    if not bare:
        return Decision(UNSURE, row, "the marked answer is empty")
    if bare == row.answer:
        return Decision(KEEP, row)
    return Decision(CHANGE, row.with_text(answer=bare), reason or stripped)


def make_long_references(max_characters: int) -> Rule:
    """The rule that drops references too long to compare an answer with.

    Args:
      max_characters: the longest kept.

    Returns:
      A rule: KEEP or DROP.
    """

    def long_references(row: Row) -> Decision:
        if ARRAY.search(row.answer):
            return Decision(DROP, row, "a matrix, table or system")
        if len(row.answer) > max_characters:
            return Decision(DROP, row, f"more than {max_characters} characters")
        if is_prose(row.answer):
            return Decision(DROP, row, "prose")
        return Decision(KEEP, row)

    return long_references


def is_prose(text: str) -> bool:
    """Whether a reference is sentences rather than an answer: many words, or the end of a sentence inside.

    Args:
      text: a reference.

    Returns:
      True or False.
    """
    words = WORD.findall(COMMAND.sub(" ", text))
    return len(words) > MOST_WORDS or bool(len(words) > 2 and SENTENCE_END.search(text))


def same_answer(first: str, second: str) -> bool:
    """Whether two short answers are the same, however their LaTeX is spelt; knows no algebra.

    Args:
      first, second: such as "\\\\dfrac{1}{2}" and "$0.5$".

    Returns:
      True where they are surely the same.
    """
    first, second = normal(first), normal(second)
    if first == second:
        return True
    one, other = _number(first), _number(second)
    return one is not None and one == other


def normal(answer: str) -> str:
    """An answer in one spelling, for comparison only.

    Args:
      answer: short; LaTeX or not.

    Returns:
      Without spaces, dollar signs and LaTeX's variants.
    """
    for pattern, replacement in SPELLINGS:
        answer = re.sub(pattern, replacement, answer)
    return answer


def _marked(reference: str) -> tuple[str, str]:
    """The answer at the place that is marked for it, and the mark's name; the whole reference and "" without one."""
    if found := HASHES.findall(reference):
        return found[-1].strip(), "after ####"
    boxes = [box for match in BOXED.finditer(reference) if (box := _braced(reference, match.end())) is not None]
    if boxes:
        several = any(normal(box) != normal(boxes[-1]) for box in boxes)
        return boxes[-1].strip(), "several boxed answers" if several else "in a box"
    stated = list(STATED.finditer(reference))
    if stated and len(stated[-1]["answer"]) <= LONGEST_SHORT and not is_prose(stated[-1]["answer"]):
        return stated[-1]["answer"], 'after "answer"'
    return reference, ""


def _bare(answer: str, question: str) -> tuple[str, str]:
    """The answer without what stands around it, and the name of what was taken away last."""
    reason = ""
    while True:
        shorter, what = _barer(answer.strip(), question)
        if shorter == answer:
            return answer, reason
        answer, reason = shorter, what or reason or "spaces around it"


def _barer(answer: str, question: str) -> tuple[str, str]:
    for opening, closing in DELIMITERS:
        inner = answer[len(opening) : len(answer) - len(closing)]
        if answer.startswith(opening) and answer.endswith(closing) and inner.strip() and closing not in inner:
            return inner.strip(), "math delimiters around it"
    if whole := WHOLE_TEXT.fullmatch(answer):
        return whole["inner"].strip(), "\\text around it"
    if answer.endswith(".") and not answer.endswith("..") and len(answer) > 1:
        return answer[:-1].rstrip(), "a period after it"
    assigned = ASSIGNED.fullmatch(answer)
    # "y = 3" is the value 3, unless an equation was asked for; "y = 2x" is one in any case.
    if assigned and not LETTERS.search(COMMAND.sub("", assigned["value"])) and "equation" not in question.lower():
        return assigned["value"].strip(), "a name before its value"
    return answer, ""


def _braced(text: str, start: int) -> str | None:
    """What stands between the brace that ends at `start` and the one that closes it; None where none does."""
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0) if text[position - 1] != "\\" else 0
        if depth == 0:
            return text[start:position]
    return None


def _number(answer: str) -> Fraction | None:
    match = re.fullmatch(r"(-?)\(?(-?\d{1,40}(?:\.\d{1,40})?|\.\d{1,40})\)?(?:/\(?(\d{1,40})\)?)?", answer, re.ASCII)
    if not match or (match[3] and not int(match[3])):
        return None
    return Fraction(match[2]) / int(match[3] or 1) * (-1 if match[1] else 1)
