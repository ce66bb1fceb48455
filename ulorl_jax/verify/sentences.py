r"""What is said around an answer: "She is facing east.", "c is the greatest", "\frac{1}{3} \approx 0.333"."""

from __future__ import annotations

import re

from ulorl_jax.verify.asking import Ask
from ulorl_jax.verify.collections import in_order
from ulorl_jax.verify.comparison import DIFFERENT, UNSURE, Comparison
from ulorl_jax.verify.expressions import readings
from ulorl_jax.verify.quantities import quantity
from ulorl_jax.verify.spelling import plain, split
from ulorl_jax.verify.texts import HEDGES, NEGATED

VERBS = (
    "is|are|was|were|will be|equals?|makes?|made|earns?|earned|has|have|had|needs?|needed|pays?|paid|costs?|spends?"
    "|gets?|spent|got|saves?|saved|weighs?|weighed|takes?|took|buys?|bought|sells?|sold|eats?|ate|uses?|used|runs?|ran|walks?"
    "|walked|travels?|traveled|receives?|received"
)
SUBJECT = (
    "she|he|it|they|we|I|you|there|this|that|[A-Z][a-z]+|[a-zA-Z](?= (?:is|equals))"
    "|(?:the|his|her|their|its)(?: [a-z]+){1,4}"
)
LEAD = re.compile(
    rf"(?:(?:so|thus|hence|therefore),? )?(?:{SUBJECT}) (?:{VERBS}) "
    "(?:facing |called |named |equal to |exactly )?(?P<rest>.+)",
    re.IGNORECASE,
)
# Of these the value is not what is asked for, but something made of it.
OTHER_VALUE = re.compile(
    r"\b(?:square|root|cube|double|twice|half|third|opposite|reciprocal|inverse|negative|wrong|incorrect|remainder|other)\b",
    re.IGNORECASE,
)
FIRST = re.compile(
    r"(?P<rest>\S+) (?:is|has|was|had) (?:the )?(?:(?:greatest|largest|highest|lowest|smallest|least|biggest|best"
    r"|fastest|tallest|longest|shortest)(?: [a-z]+){0,3}"
    r"|(?:correct |right )?answer|correct)",
    re.IGNORECASE,
)
PLACED = re.compile(r"(?:on|due|to the|towards the) (?P<rest>[A-Za-z]{4,})", re.IGNORECASE)
ABOUT = r"\\approx(?![A-Za-z])"
NAME = re.compile(r"\\?[A-Za-z]+(?:_\w)?(?:\([a-z]\))?")
DIVIDES = r"\\mid(?![A-Za-z])|\||\bdivides\b"


def compare_approximate(a: str, b: str, ask: Ask) -> Comparison | None:
    r"""Before \approx stands the answer; without anything exact before it, the value is none that equals another."""
    of_a, of_b = split(a, ABOUT), split(b, ABOUT)
    if of_a is None or of_b is None or len(of_a) == len(of_b) == 1:
        return None
    sides = of_a, of_b
    exact = [None if len(parts) > 1 and (not parts[0] or NAME.fullmatch(parts[0])) else parts[0] for parts in sides]
    rounded = [parts[-1] if len(parts) > 1 else None for parts in sides]
    if None not in exact:
        found = ask(*exact)  # type: ignore[misc]
        for of_one, of_other in ((rounded[0], exact[1]), (rounded[1], exact[0])):
            if found.outcome == DIFFERENT and of_one and ask(of_one, of_other or "").outcome != DIFFERENT:
                return Comparison(UNSURE, "equal to what it is rounded to")
        return found
    ends = [parts[-1] for parts in sides]
    is_other = ask(*ends).outcome == DIFFERENT
    return Comparison(DIFFERENT if is_other else UNSURE, "an approximation")


def compare_sentences(a: str, b: str, ask: Ask) -> Comparison | None:
    """A sentence around the answer, on one side: its subject does not count."""
    said = _said(a), _said(b)
    if (said[0] is None) == (said[1] is None):
        return None
    found = ask(said[0] or a, said[1] or b)
    sentence, answer = (a, b) if said[0] is not None else (b, a)
    if found.outcome == DIFFERENT and re.search(
        rf"(?<!\w){re.escape(plain(answer))}(?!\w)", plain(sentence), re.IGNORECASE
    ):
        return Comparison(UNSURE, "the answer stands elsewhere in the sentence")  # "Evelyn is fastest"
    return found


def compare_divisibility(a: str, b: str, ask: Ask) -> Comparison | None:
    """3 | n is not n | 3."""
    sides = split(plain(a), DIVIDES), split(plain(b), DIVIDES)
    if any(parts is None or len(parts) != 2 or not all(map(readings, parts)) for parts in sides):
        return None
    return in_order(*sides, ask)  # type: ignore[arg-type]


def _said(text: str) -> str | None:
    """What a sentence says; None where it is none, denies it, or tells more."""
    words = plain(text)
    if NEGATED.search(words) or HEDGES.search(words) or OTHER_VALUE.search(words):
        return None
    found = FIRST.fullmatch(words) or PLACED.fullmatch(words) or LEAD.fullmatch(words)
    if found is None:
        return None
    rest = found["rest"]
    if rest.lower().startswith(("the same", "less", "more", "about")):
        return None
    is_known = readings(rest) or quantity(rest) or re.fullmatch(r"(?:(?:an?|the) )?[A-Za-z]+", rest)
    return rest if is_known else None
