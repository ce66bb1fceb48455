"""No solution, undefined, not to be told, infinity, all real numbers: answers that have many names each."""

from __future__ import annotations

import re

from ulorl_jax.verify.asking import Ask
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Comparison
from ulorl_jax.verify.numbers import rational
from ulorl_jax.verify.spelling import compact, plain

NO_SOLUTION = re.compile(
    r"\\emptyset|\\\{\s*\\\}|\{\s*\}|(?:the )?empty set|none|null set"
    r"|(?:there (?:is|are) )?no such [a-z]+(?: exists?)?"
    r"|(?:there (?:is|are) )?no (?:real |such |integer |valid |possible )?"
    r"(?:solutions?|values?|roots?|numbers?)(?: exists?)?",
    re.IGNORECASE,
)
UNDEFINED = re.compile(
    r"(?:there is )?no (?:absolute |global |such )?(?:maximum|minimum|limit|inverse)(?: value)?(?: exists)?|undefined"
    r"|(?:it |(?:the )?(?:limit|maximum|minimum|value|inverse) )?does not exist|dne|not defined|diverges?|divergent",
    re.IGNORECASE,
)
UNDETERMINED = re.compile(
    r"(?:it |this |the answer |we |I )?(?:cannot|can not|can't|could not|(?:is |am |are )?(?:impossible|unable) to)"
    r" (?:be )?(?:determined?|known?|found|find|tell|say|calculated?)(?: this| it)?(?: from .*)?"
    r"|it depends|(?:I am |I'm )?not sure|nan|error"
    r"|(?:there is )?(?:not enough|insufficient|too little) (?:information|data)(?: given)?|indeterminate|unknown"
    r"|(?:I |we )?(?:do not|don't) know|none of (?:the above|these)|impossible"
    r"|(?:there is )?no (?:such )?answer(?: exists)?",
    re.IGNORECASE,
)
HOW_MANY = re.compile(
    r"(?:there (?:is|are) )?(?:exactly |only )?(?P<count>one|two|three|four|infinitely many|an? (?:unique|single)|a)"
    r" ?(?P<real>real )?(?P<what>solutions?|(?<=many )(?:values|numbers|roots))?",
    re.IGNORECASE,
)
COUNTED = re.compile(r"none|solutions|values|roots|numbers", re.IGNORECASE)
INFINITY = re.compile(r"(?P<sign>[-+]?|minus |plus |negative |positive )\s*(?:\\infty|infinity|inf)", re.IGNORECASE)
REALS = re.compile(
    r"all (?:x|values)|(?:all )?(?:real numbers|reals|\\mathbb\{R\}|real values)(?: of x)?", re.IGNORECASE
)

UNDECIDED = ({"no solution", "undefined"}, {"undefined", "infinity"}, {"undefined", "minus infinity"})
UNDECIDED += ({"no solution", "undetermined"}, {"undefined", "undetermined"})
UNDECIDED += ({"infinitely many solutions", "infinity"}, {"infinitely many solutions", "all real numbers"})


def compare_nothing(a: str, b: str, ask: Ask) -> Comparison | None:
    """No solution, undefined, infinity, all real numbers: constants with many names."""
    kinds = [kind_of(plain(text)) for text in (a, b)]
    if kinds == [None, None]:
        return None
    if kinds[0] == kinds[1]:  # "none of the above" is another option than "cannot be determined"
        return None if kinds[0] == "undetermined" else Comparison(SAME, kinds[0] or "")
    if None not in kinds:
        undecided = set(kinds) in UNDECIDED
        return Comparison(UNSURE if undecided else DIFFERENT, f"{kinds[0]} and {kinds[1]}")
    kind, other = (kinds[0], b) if kinds[0] else (kinds[1], a)
    assert kind is not None
    if kind.endswith(" solutions") and not kind.startswith("infinitely"):
        return None  # one solution, 1
    value = rational(other)
    if value is None:
        return None
    if value == 0 and kind == "no solution" and COUNTED.search(plain(a if other is b else b)):
        return None  # "how many are there: none"
    return Comparison(DIFFERENT, f"{kind} and a number")


def kind_of(text: str) -> str | None:
    r"""Which of them a text without \text{} is."""
    if NO_SOLUTION.fullmatch(text):
        return "no solution"
    if UNDEFINED.fullmatch(text):
        return "undefined"
    if UNDETERMINED.fullmatch(text):
        return "undetermined"
    if found := INFINITY.fullmatch(text):
        return "minus infinity" if found["sign"].strip().lower() in ("-", "minus", "negative") else "infinity"
    if (many := HOW_MANY.fullmatch(text)) and (many["what"] or "many" in many["count"].lower()):
        count = many["count"].lower()
        return f"{'one' if count[0] == 'a' else count} solutions"
    if REALS.fullmatch(text) or compact(text) in (r"(-\infty,\infty)", r"(-\infty,+\infty)"):
        return "all real numbers"
    return None
