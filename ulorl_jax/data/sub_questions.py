"""Finds questions that ask for several things: only one of them would have a reference.

Listed parts, "(1) ... (2) ...", are told apart by what stands in them: parts that each
ask for something are sub-questions, parts that only tell are conditions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ulorl_jax.data.decisions import DROP, KEEP, UNSURE, Decision, Row

# What is no part of the question's own words: drawings, tables, programs, remarks, speech.
DRAWING = re.compile(r"\[asy\].*?(?:\[/asy\]|\Z)", re.DOTALL)
NOT_ITS_WORDS = re.compile(
    r"<details>.*?(?:</details>|\Z)|```.*?(?:```|\Z)|\\begin\{tabular\}.*?(?:\\end\{tabular\}|\Z)"
    r"|\"[^\"\n]{1,400}\"|“[^”\n]{1,400}”",
    re.DOTALL,
)

# Nouns as often as verbs ("list", "state") are commands only where a sentence begins.
COMMANDS = (
    "find|determine|calculate|compute|evaluate|solve|simplify|factorize|express|prove|show|write|discuss|explain|"
    "investigate|deduce|verify|judge|fill|analyze|analyse|derive|identify|provide|estimate|try|please"
)
SENTENCE_COMMANDS = (
    f"{COMMANDS}|factor|expand|list|state|draw|sketch|plot|graph|complete|convert|describe|compare|"
    "choose|select|construct|count|name|predict|(?:(?:in|by|at|for|on|to|from) )?(?:what|how|which|whom|whose)|"
    "who|when|where|why|is|are|does|do|did|can"
)
SENTENCE = r"(?:^|\n|[.?!;。；？]\)?\s|<br\s*/?>|\\item\b)[\s$*_>()\\.:：）-]{0,12}"
CLAUSE = r"(?:[,:，：]|\band\b|\bthen\b|\balso\b|\bplease\b|\$)\s*"
COMMAND = re.compile(rf"{SENTENCE}(?:{SENTENCE_COMMANDS})\b|{CLAUSE}(?:{COMMANDS})\b", re.IGNORECASE)
BLANK = re.compile(
    r"_{2,}(?:\W{0,2}\w\W{0,2}_{2,})?|\$\s*\\q?quad\s*\$|(?:\\_\s*){2,}"
    r"|\\underline\{\s*(?:\\[a-z]+\s*)*\}|\(\s{2,}\)|（\s*）"
)
# "The value of x is:"
UNFINISHED = re.compile(
    r"\b(?:is|are|be|equals?|equal to)\b\s{0,4}[:：.]?\s{0,4}\Z|=\s{0,4}\$?\s{0,4}\Z"
)  # "The value of x is:"
QUESTION_MARK = re.compile(r"[?？]")

# The ways in which parts are numbered; each part's number is the group "n" and must count up from the first.
_OPEN = r"(?<![\w\])}^])(?:\$|\\\\\(|\\\(|\*\*)?\s*"
MARKERS = {
    "(1)": re.compile(_OPEN + r"[(（](?:\\mathrm|\\text)?\{?(?P<n>\d)\}?[)）]"),
    "(I)": re.compile(_OPEN + r"[(（](?:\\mathrm|\\text|\\rm)?\{?\s*(?P<n>I{1,3}|IV|V|Ⅰ|Ⅱ|Ⅲ|Ⅳ|i{1,3}|iv)\}?[)）]"),
    "(a)": re.compile(_OPEN + r"[(（](?P<n>[a-e])[)）]"),
    "a)": re.compile(r"(?<![^\s*])(?P<n>[a-e])\)(?=[\s*\\$A-Z(])"),
    "1)": re.compile(r"(?<![^\s*])(?P<n>\d)\)(?=[\s*\\$A-Z(])"),
    "1.": re.compile(r"(?m)^[\s*#>-]{0,8}(?P<n>\d)[.、](?=[\s*\\$A-Z(])"),
    "p1.": re.compile(r"(?m)\*\*p?(?P<n>\d{1,2})\.\*\*"),
    "part": re.compile(r"(?i)\b(?:part|question|problem|task)\s*\(?(?P<n>\d|[a-e]|I{1,3})\)?\s*[:.]"),
    "bullet": re.compile(r"(?m)^[\s>]{0,8}[-*•]\s(?P<n>)"),
}
FUNCTION = re.compile(r"(?:\\[A-Za-z]+|\b[fgh]) *\Z")  # before "(1)": it is an argument, not a number
FIRST = {"1", "a", "i", "ⅰ", ""}  # "" is a bullet's number
ROMAN = {"i": "ii", "ii": "iii", "iii": "iv", "iv": "v", "ⅰ": "ⅱ", "ⅱ": "ⅲ", "ⅲ": "ⅳ"}

ASKING = "find|determine|calculate|compute|evaluate|what|how many|solve|simplify|write"
# The lead-in of a list of things asked: it ends in a colon, or in the middle of a sentence.
LEAD = re.compile(rf"(?:^|[.?!;,，。\n$]|\band\b|\bthen\b|\bplease\b)\s*(?:for )?(?:{ASKING})\b[^.?!]*$", re.IGNORECASE)
# What a list after such a lead-in holds when it is no list of things asked: conditions, surely or perhaps.
CONDITIONS = re.compile(
    r"\b(?:conditions?|propert|such that|satisf|rules?|statements?|following (?:ways?|manner|hold)|requirements?|"
    r"clues?|constraints?|criteri|instructions?|steps?|operations?|moves?|equations and)\b|satisf|propert|criteri",
    re.IGNORECASE,
)
PERHAPS_CONDITIONS = re.compile(
    r"\b(?:if|where|when|given|so that|for which|that|which|who|is|are|has|have|assuming)\b", re.IGNORECASE
)
EACH = re.compile(r"\beach of the following\b[^.?!]*[?:]\s*\Z", re.IGNORECASE)
# Two values, for which a reference that lists nothing has one.
TWO_VALUES = re.compile(
    r"\b(?:find|determine|calculate|compute|what (?:is|are)) (?:(?:the )?(?:respective )?(?:values of (?:the )?"
    r"(?:real numbers? |constants? |integers? )?[^.?!,]{1,30} and [^.?!,+]{1,30}|"
    r"(?:maximum and minimum|minimum and maximum) values?\b[^.?!]*)|both the [^.?!]* and [^.?!]*)(?:[.?]|\s*\Z)",
    re.IGNORECASE,
)
LISTED = re.compile(r"[,;]|\band\b|\\pm|\\text|=")
FURTHER = re.compile(
    rf"\b(?:also|additionally|moreover|furthermore|in addition|besides)\b,?\s*(?:please\s*)?(?:{ASKING}|what|how)\b",
    re.IGNORECASE,
)


def sub_questions(row: Row) -> Decision:
    """Drops a question in several parts.

    Args:
      row: whose question is read; of the reference, whether it lists several values.

    Returns:
      KEEP, DROP or UNSURE.
    """
    text = own_words(row.question)
    unsure = ""
    for lead, parts in listed_parts(text):
        asking = sum(asks(part) for part in parts)
        if asking >= 2:
            return Decision(DROP, row, "several listed parts ask")
        if EACH.search(lead):
            return Decision(DROP, row, "a list of things asked for")
        demand = LEAD.search(lead)
        if demand and not CONDITIONS.search(demand[0]):
            if not PERHAPS_CONDITIONS.search(demand[0]):
                return Decision(DROP, row, "a list of things asked for")
            unsure = "the list may hold cases to be answered one by one"
        elif not asking and not asks(lead):
            unsure = "nothing but a list is there to be answered"
    if len(BLANK.findall(text)) >= 2:
        return Decision(DROP, row, "several blanks to fill in")
    if TWO_VALUES.search(text) and not LISTED.search(row.answer):
        return Decision(DROP, row, "two values are asked for, the reference has one")
    if FURTHER.search(text):
        return Decision(DROP, row, "a further question is added")
    if len(question_sentences(text)) >= 2:
        unsure = unsure or "several question marks"
    return Decision(UNSURE, row, unsure) if unsure else Decision(KEEP, row)


def own_words(question: str) -> str:
    """The question without drawings, tables, remarks and speech, whose questions are not its own.

    Args:
      question: any text.

    Returns:
      The rest of the text.
    """
    return NOT_ITS_WORDS.sub(lambda match: ". " if match[0][-2] in ".?!" else " ", DRAWING.sub(" ", question))


def asks(text: str) -> bool:
    """Whether a piece of a question asks for something: by a question mark, a blank to fill in or a command.

    Args:
      text: a part, without its number.

    Returns:
      True or False.
    """
    return any(pattern.search(text) for pattern in (QUESTION_MARK, BLANK, UNFINISHED, COMMAND))


def listed_parts(text: str) -> Iterator[tuple[str, list[str]]]:
    """Every list of at least two parts that are numbered in order.

    Args:
      text: the question's own words.

    Returns:
      Pairs of what stands before the list and its parts; the last part runs to the text's end.
    """
    for marker in MARKERS.values():
        runs: list[list[re.Match[str]]] = []
        for match in marker.finditer(text):
            number = match["n"].lower()
            if FUNCTION.search(text, 0, match.start()):
                continue
            if runs and number == _next(runs[-1][-1]["n"].lower()):
                runs[-1].append(match)
            elif number in FIRST:
                runs.append([match])
        for run in runs:
            if len(run) >= 2:
                ends = [match.start() for match in run[1:]] + [len(text)]
                yield text[: run[0].start()], [text[m.end() : end] for m, end in zip(run, ends, strict=True)]


def question_sentences(text: str) -> set[str]:
    """The different sentences that end in a question mark.

    Args:
      text: the question's own words.

    Returns:
      The sentences, in lower case without spaces.
    """
    sentences = re.findall(r"[^.?!\n？]*[?？]", text)
    return {squeezed for sentence in sentences if len(squeezed := re.sub(r"\W", "", sentence.lower())) > 3}


def _next(number: str) -> str:
    return ROMAN.get(number) or (chr(ord(number) + 1) if number else "")
