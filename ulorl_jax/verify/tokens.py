r"""The signs of a formula: numbers, names, functions and all else, one by one."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from ulorl_jax.verify.writings import FUNCTIONS

MOST_PLACES = 1000  # of an exponent as in 1e3
SIGN = re.compile(
    r"""\s*(?: (?P<repeating>(?P<whole>\d*)\.(?P<fixed>\d*)\s*\\(?:overline|dot)\s*\{(?P<period>\d+)\})
          | (?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,3}(?:[ ]\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)
            (?P<power>[eE][-+]?\d{1,4}(?![\w.]))?
          | (?P<command>\\[A-Za-z]+|\\.) | (?P<letters>[A-Za-z]+) | (?P<symbol>\*\*|\S) )""",
    re.VERBOSE | re.ASCII,
)
NAMES = re.compile(
    r"\\(?:pi|alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|rho|sigma|tau|phi|chi|psi|omega"
    r"|Gamma|Delta|Theta|Lambda|Sigma|Phi|Psi|Omega|ell)"
)
# Letters side by side are a product: "xy" and "abc", not "or", "one" and "men".
WORD = re.compile("am|an|as|at|be|by|do|go|he|if|in|is|it|me|my|no|of|on|or|so|to|up|us|we", re.IGNORECASE)
PRODUCT = re.compile("[^aeiouAEIOU]{3}|ab[c-z]|AB[C-Z]")


class Unreadable(ValueError):
    """The text is no formula that is understood in full."""


class Token(NamedTuple):
    """A sign.

    Attributes:
      kind: "number", "name", "function", "sign", or "end" after the last one.
      text: of a number its digits, where it is written with digits alone, else "".
      value: of a number.
    """

    kind: str
    text: str
    value: Fraction = Fraction(0)


def tokens_of(text: str) -> list[Token]:
    """The signs of an evened-out text.

    Raises:
      Unreadable: it holds a word, or a number with more than `MOST_PLACES` places.
    """
    found: list[Token] = []
    at = 0
    while match := SIGN.match(text, at):
        at = match.end()
        if match["repeating"]:
            whole = int(match["whole"] + match["fixed"] or "0")
            value = whole + Fraction(int(match["period"]), 10 ** len(match["period"]) - 1)
            found.append(Token("number", "", value / 10 ** len(match["fixed"])))
        elif match["number"]:
            digits, power = re.sub("[ ,]", "", match["number"]), match["power"] or ""
            if abs(int(power[1:] or "0")) > MOST_PLACES:
                raise Unreadable(text)
            plain = digits if digits.isdigit() and not power else ""
            found.append(Token("number", plain, Fraction(digits + power)))
        elif match["letters"]:
            found += _names(match["letters"])
        elif match["command"]:
            name = match["command"][1:]
            kind = "name" if NAMES.fullmatch(match["command"]) else "function" if name in FUNCTIONS else "sign"
            found.append(Token(kind, name if kind == "function" else match["command"]))
        else:
            found.append(Token("sign", match["symbol"]))
    if text[at:].strip():
        raise Unreadable(text)
    return found


def _names(run: str) -> list[Token]:
    """The names that stand side by side, or a function with its argument; never a word."""
    for function in sorted(FUNCTIONS, key=len, reverse=True):
        if run.startswith(function) and len(run) <= len(function) + 1:
            return [Token("function", function)] + [Token("name", letter) for letter in run[len(function) :]]
    if run[:2] == "pi" and len(run) <= 3:
        return [Token("name", r"\pi")] + [Token("name", letter) for letter in run[2:]]
    if len(run) > 3 or "pi" in run or WORD.fullmatch(run) or (len(run) == 3 and not PRODUCT.fullmatch(run)):
        raise Unreadable(run)
    return [Token("name", letter) for letter in run]
