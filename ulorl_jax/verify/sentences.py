r"""What is said around an answer: "She is facing east.", "c is the greatest", "\frac{1}{3} \approx 0.333"."""

from __future__ import annotations

import re

from ulorl_jax.verify.algebra import relation_of
from ulorl_jax.verify.asking import Ask
from ulorl_jax.verify.collections import in_order, parts_of
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Comparison
from ulorl_jax.verify.expressions import readings
from ulorl_jax.verify.intervals import pieces_of
from ulorl_jax.verify.matrices import is_matrix
from ulorl_jax.verify.numbers import in_words, is_based, ordinal, ratio, rational
from ulorl_jax.verify.quantities import quantity
from ulorl_jax.verify.spelling import plain, split
from ulorl_jax.verify.texts import HEDGES, NEGATED
from ulorl_jax.verify.writings import FUNCTIONS

VERBS = (
    "is|are|was|were|will be|must be|has to be|should be|would be|equals?|makes?|made|earns?|earned|has|have|had"
    "|needs?|needed|pays?|paid|costs?|spends?|gets?|spent|got|saves?|saved|weighs?|weighed|takes?|took|buys?"
    "|bought|sells?|sold|eats?|ate|uses?|used|runs?|ran|walks?|walked|travels?|traveled|receives?|received"
    "|falls? on|fell on"
)
SUBJECT = (
    "she|he|it|they|we|I|you|there|this|that|[A-Z][a-z]+|[a-zA-Z](?= (?:is|equals|must|has|should|would|will))"
    "|(?:the|his|her|their|its)(?: [a-z]+){1,4}"
)
LEAD = re.compile(
    rf"(?:(?:(?:so|thus|hence|therefore),? )?(?:{SUBJECT}) (?:{VERBS})|(?:it|that)'s) "
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
# Navin would earn the most: somebody, and what makes him the one.
BEST = re.compile(
    r"(?P<rest>[A-Z][a-z]+) (?:would |will |can |should |did )?[a-z]+ (?:the |on )?(?:[a-z]+ )?"
    r"(?:most|least|first|last|best|fastest|slowest|furthest|farthest|longest|highest|greatest|largest|smallest|lowest)"
    r"(?: [a-z]+){0,3}"
)
# A sentence with one number: what is counted stands behind it.
COUNTED = re.compile(
    r"(?P<before>(?:[A-Za-z][A-Za-z']*,? ){0,12})"
    r"(?P<value>[$€£]?-?\d[\d,]*(?:\.\d+)?%?|\$?\\frac\{\d+\}\{\d+\}|[$]?\d+/\d+)"
    r"(?P<more> (?:more|fewer|less|additional|extra)(?= (?!than)[a-z]{3}|\Z))?(?P<noun>(?: [A-Za-z'-]+(?:/[a-z]+)?)*?)"
    r"(?P<tail> (?:than|left|remaining|later|altogether|together|overall|in|at|on|for|from|per|each|during|of|after"
    r"|before|with|every|on average|to(?= [a-z]+ [a-z]+))(?: [A-Za-z']+)*)?"
)
# Next to the number these make another value of it.
NEAR = re.compile(r"\b(?:of|to|by|from|past|than|over|and|or|under|below|above|a|an|some|like|into|until|till|equal)\Z")
TOTAL = re.compile(
    r"\b(?:total|value|profit|loss|probability|chance|price|cost|score|average|amount|length|area|volume|distance"
    r"|speed|rate|answer|maximum|minimum|mean|age|weight|height|width|salary|discount|sum) of\Z",
    re.IGNORECASE,
)
MISLEADING = re.compile(
    r"\b(?:at (?:least|most)|about|approx\w*|around|roughly|nearly|almost|if|unless|when|up to|plus|minus|times"
    r"|mod|modulo|base|factorial|squared|cubed|pairs?|score|power|twice|thrice|triple|infinity|pi|exceeds?|beyond"
    r"|another|divided|multiplied|multipl\w+|dozens?|hundreds?|thousands?|millions?|billions?|except|but|without"
    r"|excluding|ago|estimated?|rounded|closest|nearest|log|floor|ceiling|percent of|factors?|divisors?|digits?"
    r"|terms?|problem|question|step|case|more than|less than|fewer than|greater than|not|first|last|previous"
    r"|originally|initially|before|already|instead of|rather than|should|guess\w*|think|thought)\b",
    re.IGNORECASE,
)
# The computation in "Erin has 17 - 3 = 14 lollipops left".
COMPUTED = re.compile(
    r"(?:(?<=[A-Za-z]{2} )|(?<=[:,] ))[$(]*\d[\d\s.,+*/()$-]*(?:=\s*[$(]*\d[\d\s.,+*/()$-]*)+"
    r"(?<=\d)(?![\w.]|\s*(?:[-+*/^=<>(\\_]|[b-zA-Z]\b))"
)
# Before the last number of a sentence: it is what comes out.
RESULT = re.compile(
    r"[A-Z][^=<>]*? (?:leaves|leaving|gives|giving|yields|will be|would be|comes to|amounts to"
    r"|adds up to|results in|(?:for|making) a total of)"
    r"(?: (?:him|her|them|us|you|a total of|exactly))? (?P<rest>[$€£]?-?\d[\d,]*(?:\.\d+)?%?(?: [A-Za-z'-]+){0,3})"
)
PLACED = re.compile(r"(?:on|due|to the|towards the) (?P<rest>[A-Za-z]{4,})", re.IGNORECASE)
ABOUT = r"\\approx(?![A-Za-z])"
TWICE = re.compile(r"([^()]+?)\s*\(([^()]+)\)")
NAME = re.compile(r"\\?[A-Za-z]+(?:_\w)?(?:\([a-z]\))?")
DIVISIBLE = re.compile(
    r"\A(?:all )?(?:(?:positive )?integers )?(?P<number>[a-zA-Z]) (?:that are |that is |is |are )?(?:an? )?"
    r"(?:integer )?(?:divisible by|multiples? of) (?P<divisor>\S+)\Z"
)
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
    given = a, b
    a, b = (_said_once(_without_computation(text), ask) for text in given)
    said = _said(a), _said(b)
    if (said[0] is None) == (said[1] is None):
        return ask(a, b) if (a, b) != given else None
    found = ask(said[0] or a, said[1] or b)
    sentence, answer = (a, b) if said[0] is not None else (b, a)
    around = plain(sentence).replace(said[0] or said[1] or "", "", 1)
    if found.outcome == DIFFERENT and re.search(rf"(?<!\w){re.escape(plain(answer))}(?!\w)", around, re.IGNORECASE):
        return Comparison(UNSURE, "the answer stands elsewhere in the sentence")  # "Evelyn is fastest"
    return found


def _without_computation(text: str) -> str:
    """A sentence with 14 for its "17 - 3 = 14", where that is right."""
    if set(re.findall("[a-z]+", text)) & set(FUNCTIONS):
        return text

    def last(found: re.Match[str]) -> str:
        sides = found[0].split("=")
        values = {rational(f"({side.replace('$', '').strip()})") for side in sides}
        return sides[-1].strip() if len(values) == 1 and None not in values else found[0]

    return COMPUTED.sub(last, text)


def _said_once(text: str, ask: Ask) -> str:
    """ "twelve" of "twelve (12)": the same value twice."""
    found = TWICE.fullmatch(text)
    if found is None or readings(text) or not all(rational(x) is not None or quantity(x) for x in found.groups()):
        return text
    return found[1] if ask(found[1], found[2]).outcome == SAME else text


def compare_counted(a: str, b: str, ask: Ask) -> Comparison | None:
    """ "Tim deals with 120 calls" against a number or a quantity; a sentence with two numbers says more."""
    for sentence, other in ((a, b), (b, a)):
        if (counted := _counted(plain(sentence))) is None or _counted(plain(other)) is not None:
            continue
        if rational(other) is not None or quantity(other) is not None:
            return ask(counted, other) if sentence is a else ask(other, counted)
    return None


def compare_results(a: str, b: str, ask: Ask) -> Comparison | None:
    """ "Taking 3 from 17 leaves 14" against a number or a quantity."""
    for sentence, other in ((a, b), (b, a)):
        words = plain(sentence)
        found = RESULT.fullmatch(words)
        if found is None or (rational(other) is None and quantity(other) is None) or RESULT.fullmatch(plain(other)):
            continue
        if any(pattern.search(words) for pattern in (MISLEADING, NEGATED, HEDGES, OTHER_VALUE)):
            continue
        if rational(found["rest"]) is None and quantity(found["rest"]) is None:
            continue
        same = ask(found["rest"], other).outcome == SAME
        return Comparison(SAME if same else UNSURE, "what comes out")  # "Squaring x gives 49" may answer 7
    return None


def _counted(text: str) -> str | None:
    """ "$6250" of "Each student raised $6250", "15 popsicles" of "Sam has 15 more popsicles than Betty"."""
    found = COUNTED.fullmatch(text)
    if found is None or readings(text) or not (found["before"] or found["more"] or found["tail"]):
        return None
    before, noun = found["before"].strip(" ,"), found["noun"].strip()
    around = f"{before} | {noun} {found['tail'] or ''}"
    if any(pattern.search(around) for pattern in (MISLEADING, NEGATED, HEDGES, OTHER_VALUE)):
        return None
    if before and (set(before.split()) & set(FUNCTIONS) or not re.search("[A-Za-z]{3}", before)):
        return None
    read = around if not re.match(" (?:in|during) the ", found["tail"] or "") else f"{before} {noun}"
    if any(in_words(word) is not None or ordinal(word) is not None for word in re.findall("[A-Za-z]+", read)):
        return None
    if NEAR.search(before.lower()) and not TOTAL.search(before):
        return None
    counted = f"{found['value']} {noun}".strip()
    return counted if rational(counted) is not None or quantity(counted) is not None else None


def compare_divisibility(a: str, b: str, ask: Ask) -> Comparison | None:
    """3 | n is not n | 3."""
    a, b = (DIVISIBLE.sub(r"\g<divisor> | \g<number>", plain(text)) for text in (a, b))
    sides = split(a, DIVIDES), split(b, DIVIDES)
    if any(parts is None or len(parts) != 2 or not all(map(readings, parts)) for parts in sides):
        return None
    return in_order(*sides, ask)  # type: ignore[arg-type]


def _said(text: str) -> str | None:
    """What a sentence says; None where it is none, denies it, or tells more."""
    words = plain(text)
    if NEGATED.search(words) or HEDGES.search(words) or OTHER_VALUE.search(words) or pieces_of(text) is not None:
        return None
    found = FIRST.fullmatch(words) or BEST.fullmatch(words) or PLACED.fullmatch(words) or LEAD.fullmatch(words)
    if found is None:
        return None
    rest = found["rest"]
    if rest.lower().startswith(("the same", "less", "more", "about")):
        return None
    is_known = readings(rest) or quantity(rest) or re.fullmatch(r"(?:(?:an?|the) )?[A-Za-z]+", rest)
    is_known = is_known or relation_of(rest) or parts_of(rest) or pieces_of(rest) or ratio(rest)
    is_known = is_known or is_based(rest) or is_matrix(rest)
    return rest if is_known else None
