r"""The answer out of a text: what a long output ends with, and what a reference, worked out or bare, says.

An output's answer stands, in this order, in a box, after a marker ("#### 42") or after words such
as "the final answer is". Of each kind the last one counts, for it is what the writer ended with. Where
the last one is cut off or empty there is no answer, never an earlier one: that was a step on the way.
Nothing is judged here: a hedge ("3 or 5") comes out whole, so that none of its members is taken for it.

Every search is one pass, whatever the text: what an output holds can be hostile.
"""

import dataclasses
import re
from typing import NamedTuple

THINK, END_THINK = "<think>", "</think>"

# What opens or closes a brace; an escaped character is neither. A second backslash is one that was escaped
# as in JSON: nobody means a line break and the word "boxed". Without braces only a number is read, and
# only all of it: \boxed 5 + x is nothing that could be told.
BRACES = re.compile(
    r"\\{1,2}(?:boxed|fbox)\s*(?:(?P<box>\{)|(?P<bare>[-+]?\d++(?:[.,]\d++)*+)(?!\w|\s*[-+*/=<>^_{]))|\\.|[{}]",
    re.DOTALL,
)
SPACES = r"\\[,;:! \\]|\\q?quad\b"  # of LaTeX, a line break too
DELIMITERS = r"\$|\\[()\[\]]|\*\*"  # of mathematics and bold letters
NAME = r"\\?[A-Za-z]+(?:_\w|_\{\w+\})?\s*="  # "x =", as it stands before a box
HEDGE = "or|and|not|maybe|perhaps|possibly|either"
# All that may stand between two boxes that are one answer.
JOINT = re.compile(
    rf"(?:[\s,;&/]|{SPACES}|{DELIMITERS}"
    rf"|\\(?:text|mbox)\s*\{{\s*(?:{HEDGE})\s*\}}|\b(?:{HEDGE})\b|{NAME})*+",
    re.IGNORECASE,
)
NAMED = re.compile(rf"{NAME}\s*\Z")
IN_TEXT = re.compile(r"\\(?:text|mbox)\s*\{([^{}]*)\}")

# Runs of one class each and none beside another that overlaps: no match costs more than one pass.
STATED = re.compile(
    r"""(?:\b(?:the|my|our|final|correct)[\s*_]+ | ^[^A-Za-z0-9\n]*)
            answers?\b(?:\s+to\s+(?:the|this)\s+(?:question|problem))? [\s*_`]* (?:(?:is|are)\b:? | :) [*_]*
      | \banswers?[\s*_`]*:[*_]*
      | ^[^A-Za-z0-9\n]* (?:the\s+)? (?:final\s+|correct\s+)? answer [^\w\n]* $   # a heading""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
# Another sentence follows, and it takes nothing back. No sentence ends at "Dr." or inside "U.S. Army".
SENTENCE_END = re.compile(
    r"(?<!\.[A-Z])(?<!\b(?:Mr|Ms|Dr|St))(?<!\bMrs)\.[*_`$]*"
    r"(?=\s+(?!(?:Or|And|But|Not|No|Maybe|Perhaps|Possibly|Either|Alternatively|However|Otherwise|Wait|Actually)\b)[A-Z])"
)
BEFORE = 60  # characters looked at before a mark
HEDGED = re.compile(rf"\b(?:{HEDGE})\W*\Z", re.IGNORECASE)
MARKDOWN = ("**", "__", "*", "_", "`")
WRAPPINGS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), *((mark, mark) for mark in MARKDOWN))
ABBREVIATION = re.compile(r"\.[^\W\d_]?\.\Z")  # the end of "U.S.", "p.m." and "..."


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found where an answer is looked for.

    Attributes:
      answer: without white space around it; None where there is none.
      how: for people: where it stood, or why there is none.
    """

    answer: str | None
    how: str


class Box(NamedTuple):
    r"""Where a complete box stands in a text: text[start:end] is \boxed{...}, text[inside:closed] its content."""

    start: int
    inside: int
    closed: int
    end: int


def predicted_answer(output: str, marker: str) -> Found:
    r"""The answer that an output ends with.

    What is thought is no answer: only what follows the last </think> is read, and nothing where a
    <think> is not closed after it. There, the first of these that applies:

    1. A box, \boxed{} or \fbox{}: its content as it is. Of boxes inside each other the outermost, less the
       commands of the inner ones. Of several the last, unless nothing but "or", "and", commas, "x =" and
       the like joins it to those before: these are read together, "3 or 5", and as one where all are the same.
       No answer where the box that was opened last is not closed.
    2. The text after the last marker, if it is one line: all that follows is the answer.
    3. The sentence after the last "the answer is", "final answer is", "answer:" and the like, or the line
       below such a heading; where markers stand in the text, only after the last of them.

    In 2 and 3 a period at the end and what marks letters or mathematics ("**42**", "$42$") is taken off,
    in pairs: "$18" stays.

    Args:
      output: a sample's text without its end token.
      marker: what may stand before the answer, such as "####".

    Returns:
      The answer and where it stood; no answer, and why.

    Raises:
      ValueError: the marker is empty.
    """
    _check(marker)
    thought, _, said = output.rpartition(END_THINK)
    if THINK in said:
        return Found(None, f"a {THINK} is not closed")
    boxes, cut_off = _find_boxes(said)
    if cut_off:
        return Found(None, r"the last \boxed{} is not closed")
    if boxes:
        answer, count = _read_boxes(said, boxes)
        if not _holds_something(answer):
            return Found(None, r"the last \boxed{} is empty")
        return Found(answer, "boxed" if count == 1 else f"boxed, {count} boxes read together")
    found = _after_marker(said, marker) or _after_words(said.rpartition(marker)[2])
    if found is not None:
        return found
    if _find_boxes(thought)[0]:
        return Found(None, "the only box is inside the thinking part")
    if not said.strip():
        return Found(None, "nothing follows the thinking part" if thought.strip() else "the output is empty")
    if marker in said:
        return Found(None, f"more than one line follows the last {marker!r}")
    return Found(None, rf"no \boxed{{}}, no {marker!r} and no words such as 'the answer is'")


def reference_answer(reference: str, marker: str) -> str | None:
    r"""The answer that a reference holds: after its last marker, else in its last complete box, else all of it.

    Args:
      reference: as the data writes it: a worked solution or the bare answer.
      marker: what stands before the answer of a worked solution, such as "####" in GSM8K.

    Returns:
      The answer without white space around it; None where nothing is left.

    Raises:
      ValueError: the marker is empty.
    """
    _check(marker)
    _, marked, answer = reference.rpartition(marker)
    if not marked:
        boxes, _ = _find_boxes(reference)
        answer = _read_boxes(reference, boxes)[0] if boxes else reference
    answer = answer.strip()
    return answer if _holds_something(answer) else None


def _check(marker: str) -> None:
    if not marker.strip():
        raise ValueError(
            f"marker is {marker!r}, and so would be every answer; give what stands before an answer, e.g. '####'"
        )


def _find_boxes(text: str) -> tuple[list[Box], bool]:
    """The complete boxes in the order in which they close, and whether the one opened last is not among them."""
    boxes: list[Box] = []
    opened: list[tuple[int, int]] = []  # per open brace, its box's start and where the content begins; -1: no box
    newest = newest_complete = -1
    for token in BRACES.finditer(text):
        if token["box"]:
            newest = token.start()
            opened.append((newest, token.end()))
        elif token["bare"]:
            newest = newest_complete = token.start()
            boxes.append(Box(newest, token.start("bare"), token.end(), token.end()))
        elif token[0] == "{":
            opened.append((-1, -1))
        elif token[0] == "}" and opened:
            start, inside = opened.pop()
            if start >= 0:
                newest_complete = max(newest_complete, start)
                boxes.append(Box(start, inside, token.start(), token.end()))
    return boxes, newest != newest_complete


def _read_boxes(text: str, boxes: list[Box]) -> tuple[str, int]:
    """The last box and those that it is joined to, in one text, and how many they are."""
    box = boxes[-1]
    content, rest = _content(text, boxes, len(boxes) - 1)
    members, parts = [content], [content]  # the last first
    while rest >= 0 and _holds_something(content):
        before = boxes[rest]
        between = text[before.end : box.start]
        if not JOINT.fullmatch(between):
            break
        content, following = _content(text, boxes, rest)
        if not _holds_something(content):
            break
        members.append(content)
        parts += [_joint(between), content]
        box, rest = before, following
    if len(set(members)) == 1:
        return members[0], 1
    if named := NAMED.search(text[max(0, box.start - BEFORE) : box.start]):
        parts.append(named[0])
    return "".join(reversed(parts)), len(members)


def _content(text: str, boxes: list[Box], index: int) -> tuple[str, int]:
    """What is in a box, less the commands of boxes inside it, and the index of the next box before it; -1: none."""
    outer = boxes[index]
    cuts: list[tuple[int, int]] = []
    index -= 1
    while index >= 0 and boxes[index].start > outer.start:  # a box closes before the one around it
        box = boxes[index]
        cuts += [(box.start, box.inside), (box.closed, box.end)]
        index -= 1
    pieces, at = [], outer.inside
    for start, end in sorted(cuts):
        pieces.append(text[at:start])
        at = end
    return "".join([*pieces, text[at : outer.closed]]).strip(), index


def _joint(between: str) -> str:
    """What joins two boxes, as a person writes it."""
    plain = re.sub(rf"{SPACES}|{DELIMITERS}", " ", IN_TEXT.sub(r" \1 ", between))
    words = re.sub(r"\s+([,;])", r"\1", " ".join(plain.split()))
    return (words if words.startswith((",", ";")) else f" {words}") + " " if words else ", "


def _after_marker(text: str, marker: str) -> Found | None:
    at = text.rfind(marker)
    if at < 0:
        return None
    line = text[at + len(marker) :].strip()
    if "\n" in line or STATED.match(line):
        return None  # a heading, or "#### Answer: 42"
    begin = at + len(marker)
    while (earlier := text.rfind(marker, 0, at)) >= 0 and _is_hedged(text[earlier + len(marker) : at]):
        at, begin = earlier, earlier + len(marker)
    return _bare(text[begin:], f"{marker!r}")


def _after_words(text: str) -> Found | None:
    phrases = [(match.start(), match.end()) for match in STATED.finditer(text)]
    if not phrases:
        return None
    start, begin = phrases.pop()
    words = re.findall("[A-Za-z]+", text[start:begin])
    colon = "" if words[-1].lower() in ("is", "are") or ":" not in text[start:begin] else ":"
    while phrases and _is_hedged(text[phrases[-1][1] : start]):
        start, begin = phrases.pop()
    rest = text[begin:].lstrip()
    closing = {"$$": "$$", r"\[": r"\]"}.get(rest[:2])
    displayed = rest.find(closing, 2) if closing else 0  # a formula on lines of its own
    line_end = rest.find("\n", displayed) if displayed >= 0 else -1
    line = rest if line_end < 0 else rest[:line_end]
    ends = SENTENCE_END.search(line)
    return _bare(line[: ends.end()] if ends else line, f"'{' '.join(words).lower()}{colon}'")


def _is_hedged(between: str) -> bool:
    """Whether one answer and "or" stand before the next: "the answer is 3, or the answer is 5"."""
    return "\n" not in between and HEDGED.search(between[-BEFORE:]) is not None


def _bare(text: str, mark: str) -> Found:
    """A marked answer without what only dresses it."""
    previous, text = None, text.strip()
    for _ in range(2 * len(WRAPPINGS)):  # every wrapping once, a period between any two
        if text == previous:
            break
        previous, text = text, _barer(text).strip()
    return Found(text, f"after {mark}") if _holds_something(text) else Found(None, f"nothing follows the last {mark}")


def _barer(text: str) -> str:
    if text.endswith(".") and not ABBREVIATION.search(text[-3:]):
        return text[:-1]
    for opening, closing in WRAPPINGS:
        inner = text[len(opening) : -len(closing)]
        if text.startswith(opening) and text.endswith(closing) and inner.strip() and not inner.endswith("\\"):
            unescaped = inner.replace(r"\$", "")
            if opening not in unescaped and closing not in unescaped:
                return inner
        # Bold letters that began before the answer, as in "**The answer is 42**".
        if closing in MARKDOWN and text.endswith(closing) and text.count(closing) == 1 and text[-2:-1] != "^":
            return text.removesuffix(closing)
    return text


def _holds_something(text: str) -> bool:
    """Whether a reader sees more than dollar signs and periods; marks of direction and NUL are not seen."""
    return any(character.isprintable() and character not in " $." for character in text)
