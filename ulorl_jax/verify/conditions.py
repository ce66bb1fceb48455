r"""Conditions in words or with |x| as conditions in signs: "x \ge 3" of "all real numbers that are at least 3"."""

from __future__ import annotations

import re
from typing import NamedTuple

from ulorl_jax.verify.expressions import names_of, readings
from ulorl_jax.verify.spelling import plain
from ulorl_jax.verify.values import NoValue, context, evaluate

NAME = r"[fgh]\([a-z]\)|[A-Za-z]|\\[a-z]+"
SIGNED = {"positive": ">0", "negative": "<0", "nonnegative": r"\ge 0", "nonpositive": r"\le 0", "nonzero": r"\ne 0"}
SIGN_WORD = "positive|negative|non-?negative|non-?positive|non-?zero"
# "all integers", "for all real numbers x such that", "the set of all positive reals"
DOMAIN = re.compile(
    rf"(?:for )?(?:the set of )?(?P<all>all |any |every )?(?:the )?(?P<sign>{SIGN_WORD})?\s*"
    r"(?P<kind>real numbers?|real values|reals?|numbers?|values|integers?|integer values|whole numbers|natural numbers"
    r"|primes|prime numbers)?(?:\s+of(?= [a-z]\b))?,?\s*(?P<rest>.*)"
)
SUCH_THAT = re.compile(
    r"(?:[a-z],? )?(?:such that|with|where|satisfying|for which|that are|which are|that is|that satisfy)\s+(?=\S)"
)
IS = r"(?:(?:is|are|must be|lies|being|can be) )?(?:strictly )?"
COMPARED = [
    (rf"{IS}(?:(?:greater|more|larger|bigger|higher) than or equal to|at least|no (?:less|smaller) than)", r"\ge "),
    (rf"{IS}(?:(?:less|smaller|lower) than or equal to|at most|no (?:more|greater|larger) than|up to)", r"\le "),
    (rf"{IS}(?:(?:greater|more|larger|bigger|higher) than|above)", ">"),
    (rf"{IS}(?:(?:less|smaller|lower|fewer) than|below)", "<"),
    (r"(?:is not equal to|is not|not equal to|other than)(?= -?[\d\\])", r"\ne "),
]
COMPARISON = [(re.compile(rf"(?:(?P<name>{NAME}) )?{words} (?P<end>\S.*)"), sign) for words, sign in COMPARED]
BETWEEN = re.compile(
    rf"(?:(?P<name>{NAME}) )?{IS.replace('strictly ', '(?P<open>strictly )')}between (?P<low>.+?) and (?P<high>.+?)"
    r"(?:,? \(?(?P<ends>inclusive|exclusive)\)?)?"
)
ABSOLUTE = re.compile(
    r"\|\s*(?P<factor>\d*)\s*(?P<name>[A-Za-z])\s*(?P<shift>[+-][^|]+)?\|\s*"
    r"(?P<sign><|>|\\le|\\ge)(?![A-Za-z])\s*(?P<end>.+)"
)
INTEGERS = {"integer", "prime"}


class Condition(NamedTuple):
    r"""A condition that intervals can be read from.

    Attributes:
      text: in signs: "x>3", "(-1)<x<(5)".
      name: the letter it is said of; "" where it is "numbers" or nothing at all.
      domain: "integer" or "prime" where it is said of these only.
      is_vague: whether the ends belong to it is not said: "between 0 and 1".
    """

    text: str
    name: str
    domain: str = ""
    is_vague: bool = False


def condition_of(text: str) -> Condition | None:
    """Of an evened-out text in words or with an absolute value; None where it is in signs already, or is another."""
    if found := ABSOLUTE.fullmatch(text):
        return _without_absolute(found)
    words = plain(text)
    if not re.search(r"(?<!\\)\b[a-z]{3}", words):
        return None
    if (bare := re.sub(r"\s*\((?:all )?(?:reals?|real numbers)\)\Z", "", words)) != words:
        return Condition(bare, "")
    domain = DOMAIN.fullmatch(words)
    assert domain is not None  # each of its parts may be absent
    kind = domain["kind"] or ""
    about = "prime" if "prime" in kind else "integer" if re.match("integer|whole|natural", kind) else ""
    rest = SUCH_THAT.sub("", domain["rest"], count=1) if domain["all"] or kind else domain["rest"]
    if domain["sign"]:
        said = SIGNED[domain["sign"].replace("-", "")]
        return Condition(f"x{said}", "", about) if kind and re.fullmatch("[a-z]?", rest) else None
    if signed := re.fullmatch(rf"(?P<name>[a-z]) (?:is )?(?P<sign>{SIGN_WORD})", rest):
        return Condition(signed["name"] + SIGNED[signed["sign"].replace("-", "")], signed["name"], about)
    if between := BETWEEN.fullmatch(rest):
        sign = r"\le " if between["ends"] == "inclusive" else "<"
        low, name, high = between["low"], between["name"] or "x", between["high"]
        is_vague = not (between["open"] or between["ends"])
        return Condition(f"{low}{sign}{name}{sign}{high}", between["name"] or "", about, is_vague)
    for pattern, sign in COMPARISON:
        if compared := pattern.fullmatch(rest):
            return Condition(f"{compared['name'] or 'x'}{sign}{compared['end']}", compared["name"] or "", about)
    name = re.match(rf"{NAME}(?=\s*(?:[<>]|\\[lg]e|\\in))", rest)
    return (
        Condition(rest, name[0] if name else "", about) if rest != words and re.search(r"[<>]|\\[lgn]e", rest) else None
    )


def _without_absolute(found: re.Match[str]) -> Condition | None:
    """|x-3| < 2 as 1 < x < 5, |x| > 1 as two half-lines."""
    trees = readings(found["end"])
    try:
        values = [evaluate(tree, {}, None) for tree in trees if not names_of(tree)]
    except NoValue:
        return None
    if len(trees) != 1 or len(values) != 1 or context().im(values[0]) or values[0] <= 0:
        return None
    shift, factor, name = found["shift"] or "0", found["factor"] or "1", found["name"]
    if int(factor) == 0:
        return None
    low, high = (f"(-({shift}){sign}({found['end']}))/({factor})" for sign in "-+")
    if not found["shift"] and factor == "1":
        low, high = f"-({found['end']})", found["end"]
    sign = found["sign"]
    if sign in ("<", r"\le"):
        return Condition(f"{low}{sign} {name}{sign} {high}", name)
    inner = {">": "<", r"\ge": r"\le "}[sign]
    return Condition(f"{name}{inner}{low} or {name}{sign} {high}", name)
