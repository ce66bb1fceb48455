"""Multiple choice: the options of a question, the one its reference means, and the question without them."""

from __future__ import annotations

import dataclasses
import re

from ulorl_jax.data.decisions import ASIDE, CHANGE, UNSURE, Decision, Row
from ulorl_jax.data.references import normal, same_answer
from ulorl_jax.data.sub_questions import DRAWING, asks

LONGEST_OPTION = 200  # characters; what is longer is no option
_FORMAT = r"(?:\\(?:textbf|text|mathrm|mathbf|rm|bf)\s*\{\s*|\*\*|-\s+)"
LABEL = re.compile(
    rf"(?:(?:\$\s*)?{_FORMAT}+|(?<![A-Za-z0-9}}\\^_(])(?:\$\s*)?)"
    r"(?:[(（](?P<round>[A-Ja-j])[)）]|(?P<half>[A-Ja-j])[)）])(?:\s|\}|\\ |\*\*)*:?"
    rf"|^[ \t]{{0,8}}{_FORMAT}*(?P<line>[A-J])(?:\*\*)?[.:](?:\*\*)?(?=\s)",
    re.MULTILINE,
)
LETTER = re.compile(r"[\s$(\\*]*(?:text(?:bf)?|mathrm)?[\s{(]*(?P<letter>[A-J])[\s)}.:$*]*")
SPACING = re.compile(r"\\q?quad\b|\\hspace\{[^{}]*\}|\\ |~|\\\\$|^:")
LEAD_IN = re.compile(
    r"(?:^|(?<=[.?!:\n]))\s*"
    r"(?:(?:answer )?(?:options|choices)|(?:please )?(?:choose|select|pick|mark)\b[^.?!\n]*)\s*:?\s*\Z",
    re.IGNORECASE,
)
# Asked so, a question is about its options and cannot be answered without them.
ABOUT_OPTIONS = re.compile(
    r"(?:\A|[.?!]\s+)(?:in |for |on |at |to )?which\b|\bwhich (?:of|one|statement|answer|option|choice)\b|"
    r"\bof (?:the following|these|those)\W*\Z|\bfollowing (?:is|are|must|can|could|state|express|value|number|equation|"
    r"result|answer|option)|\bclosest\b|\bapproximat|\b(?:is|be|are) nearest\b|\broughly\b|\babout how\b|"
    r"\bbest (?:describe|represent|estimate|approx)|\b(?:could|might|may|cannot|can not) (?:not )?be\b|"
    r"\bnot (?:possible|true|correct)\b",
    re.IGNORECASE,
)
COUNTED = re.compile(r"\bhow many of\b", re.IGNORECASE)  # what is listed is then counted, not chosen from
# What an option says of the others, or of a range: no answer of its own.
NO_ANSWER = re.compile(
    r"\b(?:none|all|both|neither|either|cannot|can't|not|another|other|undefined|greater|less|more|fewer|between|only|"
    r"least|most|above|below|and|or|when)\b",
    re.IGNORECASE,
)
DECIMAL = re.compile(r"\.\d+")
EXACT = re.compile(r"\.(?:5|[27]5)0*\Z")  # halves and quarters are no sign of rounding


@dataclasses.dataclass(frozen=True)
class Choices:
    """A multiple-choice question taken apart.

    Attributes:
      stem: what stands before the first option.
      options: letter to content, without the LaTeX that only spaces them.
    """

    stem: str
    options: dict[str, str]

    def meant(self, reference: str) -> str:
        """The letter of the option that a reference means, by its content or by its letter; "" where unclear."""
        by_content = [
            letter
            for letter, content in self.options.items()
            if same_answer(content, reference) or same_answer(_without_unit(content), reference)
        ]
        named = LETTER.fullmatch(reference)
        labelled = LABEL.match(reference)
        if labelled and not named:  # "B) 12": letter and content must agree
            letter = _letter(labelled)
            agree = same_answer(self.options.get(letter, ""), reference[labelled.end() :])
            return letter if agree else ""
        by_letter = [named["letter"]] if named and named["letter"] in self.options else []
        found = set(by_content) | set(by_letter)
        return found.pop() if len(found) == 1 else ""


def parse_choices(question: str) -> Choices | None:
    """Takes a question apart whose text ends in at least three options.

    Args:
      question: any text.

    Returns:
      Its parts, or None where it does not end in options.
    """
    text = DRAWING.sub(lambda match: " " * len(match[0]), question)
    run: list[re.Match[str]] = []
    for match in LABEL.finditer(text):
        if _letter(match) == "A":
            run = [match]
        elif run and ord(_letter(match)) == ord(_letter(run[-1])) + 1:
            run.append(match)
    if len(run) < 3 or COUNTED.search(question[: run[0].start()]):
        return None
    ends = [match.start() for match in run[1:]] + [len(question)]
    contents = [_content(question[match.end() : end]) for match, end in zip(run, ends, strict=True)]
    if any(not content or len(content) > LONGEST_OPTION or "\n\n" in content or asks(content) for content in contents):
        return None
    stem = LEAD_IN.sub("", question[: run[0].start()].rstrip(" \n\t*-")).rstrip()
    if stem.endswith("$") and len(re.findall(r"(?<!\\)\$", stem)) % 2:  # the options' own, opened before the first
        stem = stem[:-1].rstrip()
    return Choices(stem, {_letter(match): content for match, content in zip(run, contents, strict=True)})


def multiple_choice(row: Row) -> Decision | None:
    """Turns a multiple-choice question into one that is answered without its options.

    Args:
      row: question and reference are read.

    Returns:
      CHANGE, UNSURE, ASIDE, or None where the question has no options.
    """
    choices = parse_choices(row.question)
    if choices is None:
        return None
    letter = choices.meant(row.answer)
    if not letter:
        return Decision(ASIDE, row, "multiple choice, the reference is none of the options")
    content = choices.options[letter]
    answer = content if LETTER.fullmatch(row.answer) or LABEL.match(row.answer) else row.answer
    if not asks(choices.stem) or ABOUT_OPTIONS.search(_last_sentences(choices.stem)) or NO_ANSWER.search(content):
        return Decision(UNSURE, row, "multiple choice that needs its options")
    rounded = [part for part in DECIMAL.findall(content) if not EXACT.match(part)]
    if rounded and not DECIMAL.search(choices.stem):
        return Decision(UNSURE, row, "multiple choice, the options may be rounded")
    return Decision(CHANGE, row.with_text(question=choices.stem, answer=answer), "multiple choice, options taken away")


def _letter(label: re.Match[str]) -> str:
    return (label["round"] or label["half"] or label["line"]).upper()


def _content(text: str) -> str:
    """An option without LaTeX spacing, and without the dollar signs and braces it shares with its neighbours."""
    text = SPACING.sub(" ", text).strip(" \n\t;,*").rstrip(" \n-")
    while text.count("}") > text.count("{") and text.endswith("}"):
        text = text[:-1].strip()
    if text.count("$") % 2:
        text = text.removesuffix("$") if text.endswith("$") else text.removeprefix("$")
    return text.strip().removesuffix(".").strip()


def _without_unit(content: str) -> str:
    return re.sub(r"(?<=[\d)}$])\s*(?:\\text\{)?[A-Za-z. ²³^23]*\}?\s*\Z", "", content) if normal(content) else content


def _last_sentences(stem: str) -> str:
    """The last two sentences: the question itself, and what may be noted after it."""
    return " ".join(re.split(r"(?<=[.?!])\s", stem.strip())[-2:])
