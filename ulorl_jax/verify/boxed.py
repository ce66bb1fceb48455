r"""The rule for answers in \boxed{}: equal as numbers, or equal as text once the ways to write it are evened out.

An interim rule: it knows numbers and nothing else of mathematics. So it says 0 only of two
numbers that differ (or where there is no answer at all), and of two texts that differ it
says that it cannot tell: an error, which is counted and is no reward.
"""

import dataclasses
import itertools
import re
from fractions import Fraction
from typing import ClassVar

from ulorl_jax.types import Verdict

THINK, END_THINK = "<think>", "</think>"
MAX_CHARACTERS = 300  # of an answer; longer ones are not compared: it bounds what hostile output can cost
# What opens or closes a brace; an escaped character is neither.
BRACES = re.compile(r"(?P<boxed>\\boxed\s*\{)|\\.|[{}]", re.DOTALL)

# Ways to write the same, in this order.
SPELLINGS = [
    (re.compile(r"\\!|\\?\$|\\(left|right)(?![A-Za-z])"), ""),  # a negative space, dollars, sizes of brackets
    (re.compile(r"\\[,;:> ]|~|\\q?quad(?![A-Za-z])"), " "),
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\frac\s*(\d)\s*(\d)"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\^\s*(?:\\circ(?![A-Za-z])|\{\s*\\circ\s*\})|°"), r"\\degree "),
]
TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d+|\S", re.ASCII | re.DOTALL)
# Not "1, 234": with a space it is a list.
DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
NUMBER = re.compile(
    rf"(?P<sign>[-+]?)\s*(?:(?P<top>{DIGITS})(?:\s*/\s*(?P<bottom>{DIGITS}))?"
    rf"|\\frac\s*\{{\s*(?P<inner>[-+]?)\s*(?P<over>{DIGITS})\s*\}}\s*\{{\s*(?P<under>{DIGITS})\s*\}})\s*(?:\\degree\s*)?",
    re.ASCII,
)


@dataclasses.dataclass(frozen=True)
class BoxedVerifier:
    r"""Compares what is in the last \boxed{} with the reference.

    Attributes:
      marker: a reference's answer stands after its last marker, where it has one ("####" in
        GSM8K), else in its last \boxed{}, else it is the whole reference.
      version: of the rule, for records; another verdict for any pair is another version.

    Raises:
      ValueError: the marker is empty.
    """

    marker: str
    version: ClassVar[str] = "boxed-1"

    def __post_init__(self):
        if not self.marker:
            raise ValueError('marker is empty, every reference would be too; give what stands before it, e.g. "####"')

    def __call__(self, output: str, reference: str) -> Verdict:
        r"""Right when both are the same number or, spelling aside, the same text.

        Spelling is: white space, dollar signs, \left and \right, \dfrac and \tfrac, \text{}, thousands
        commas, a degree sign after a number, a period at the end. Numbers are integers, decimals, a/b
        and \frac{a}{b}, compared exactly. No units, no percent, no algebra.

        Args:
          output: the sample's text without its end token. What is thought is no answer: only what
            follows the last </think> is read, and nothing where a <think> is not closed.
          reference: the true answer.

        Returns:
          1.0; 0.0 of another number or no answer; None, an error, where two texts differ, where one is
          longer than `MAX_CHARACTERS`, or where the reference is empty. The answer of the verdict is
          its number, or its text in one spelling.
        """
        wanted = self._truth(reference)
        truth = normal_form(wanted)
        if not truth:
            return Verdict(None, f"the reference {_short(reference)} holds no answer")
        if len(wanted) > MAX_CHARACTERS:
            return Verdict(None, f"the reference is too long to compare: {_short(wanted)}")
        said = output.rpartition(END_THINK)[2]
        if THINK in said:
            return Verdict(0.0, f"no answer: a {THINK} is not closed")
        found = last_boxed(said)
        if found is None:
            return Verdict(0.0, r"no complete \boxed{} in the output")
        prediction = normal_form(found)
        if not prediction:
            return Verdict(0.0, r"the last \boxed{} of the output is empty")
        if len(found) > MAX_CHARACTERS:
            return Verdict(None, f"too long to compare: {_short(found)}")
        if prediction == truth:
            return Verdict(1.0, _short(found), prediction)
        if _is_number(prediction) and _is_number(truth):
            return Verdict(0.0, f"{_short(found)}, not {_short(wanted)}", prediction)
        return Verdict(None, f"cannot be compared by text: {_short(found)} and {_short(wanted)}", prediction)

    def _truth(self, reference: str) -> str:
        before, marker, after = reference.rpartition(self.marker)
        if marker:
            return after
        boxed = last_boxed(reference)
        return reference if boxed is None else boxed


def last_boxed(text: str) -> str | None:
    r"""What is inside the \boxed{} that closes last, braces and all; None where none is complete.

    One pass, whatever the text.
    """
    opened: list[int] = []  # where the content of each open brace begins, -1 for one that is no box
    found = None
    for token in BRACES.finditer(text):
        if token["boxed"]:
            opened.append(token.end())
        elif token[0] == "{":
            opened.append(-1)
        elif token[0] == "}" and opened and (start := opened.pop()) >= 0:
            found = text[start : token.start()]
    return found


def normal_form(answer: str) -> str:
    r"""One spelling for all that the rule takes to be the same: "7/2" of "3.50" and "\dfrac{7}{2}".

    Args:
      answer: as it was read; beyond `MAX_CHARACTERS` it is cut off.

    Returns:
      A reduced fraction or an integer; the text in one spelling where it is no number; "" where nothing is left.
    """
    text = answer[:MAX_CHARACTERS]
    for pattern, replacement in SPELLINGS:
        text = pattern.sub(replacement, text)
    text = text.strip().removesuffix(".").rstrip()
    number = _number(text)
    if number is not None:
        return str(number)
    tokens = TOKEN.findall(text)
    # A space stays where two tokens would become one: "1 2", "\pi r".
    glue = [" " * _runs_on(a, b) for a, b in itertools.pairwise(tokens)]
    return "".join(itertools.chain.from_iterable(itertools.zip_longest(tokens, glue, fillvalue="")))


def _number(text: str) -> Fraction | None:
    match = NUMBER.fullmatch(text)
    if match is None:
        return None
    top = match["top"] or match["over"]
    bottom = match["bottom"] or match["under"] or "1"
    value, divisor = (Fraction(part.replace(",", "")) for part in (top, bottom))
    negative = (match["sign"] == "-") != (match["inner"] == "-")
    return (-value if negative else value) / divisor if divisor else None


def _is_number(normal: str) -> bool:
    return re.fullmatch(r"-?\d+(/\d+)?", normal, re.ASCII) is not None and _number(normal) is not None


def _runs_on(a: str, b: str) -> bool:
    return (a[-1].isdigit() and b[0].isdigit()) or (a[0] == "\\" and a[-1].isalpha() and b[0].isalpha())


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "...")
