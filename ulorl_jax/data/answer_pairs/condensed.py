"""The letters of a written answer that count: LaTeX, spaces and signs that say nothing are left out.

Two values written in one form have equal letters only where they are equal.
"""

from __future__ import annotations

import re

from ulorl_jax.data.answer_pairs.written import ONES, PARTS_OF, TENS

# In this order: a later one reads what an earlier one leaves.
_STEPS = tuple(
    (re.compile(pattern), shorter)
    for pattern, shorter in (
        (r"(\d)\\[dt]?frac", r"\1_\\frac"),  # mixed numbers keep a gap: 3 1/2 is not 31/2
        (r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", r"\1/\2"),
        (r"(?<=\d) (?=\d+/)", "_"),
        (r"\s*(\\times|\\cdot|\*|x|×)\s*10\^|E", "e"),
        (r"\\,|[\\{}$*%]|percent", ""),
        (r"\s+|(?<=\d),(?=\d\d\d)|^\+", ""),
        (r":", "/"),
        (r"_", " "),
    )
)
_SPOKEN = {"minus": "-", "negative": "-", "hundred": "h", "thousand": "k", "and": "", "a": "1", "fourth": "/4"}
_SPOKEN |= {word: str(value) for value, word in enumerate(ONES)}
_SPOKEN |= {word: f"{ten}0" for ten, word in enumerate(TENS) if ten > 1}
_SPOKEN |= {word: f"/{bottom}" for bottom, word in PARTS_OF.items()}
_SPOKEN |= {f"{word}s": part for word, part in _SPOKEN.items() if part.startswith("/")}


def number(text: str) -> str:
    """Of a number, as in "3 1/2" for "3\\frac{1}{2}" and "6.1e-5" for "6.1 \\times 10^{-5}"."""
    for pattern, shorter in _STEPS:
        text = pattern.sub(shorter, text)
    return text


def angle(text: str) -> str:
    """Of degrees or radians, as in "45" for "45^\\circ" and "5p/6" for "\\frac{5\\pi}{6}"."""
    return number(re.sub(r"\\pi|π|pi", "p", re.sub(r"\^?\{?\\circ\}?|°| ?deg(rees)?", "", text)))


def polynomial(text: str) -> str:
    """Of terms in any order, as in "3x2-12" for "3*x^2 - 12"."""
    return number(text).replace("^", "")


def spoken(text: str) -> str:
    """Of a number in figures or words, word by word, as in "8h302" for "eight hundred and thirty-two"."""
    words = re.findall(r"[a-z]+", text.casefold())
    return "".join(_SPOKEN[word] for word in words) if words and "frac" not in words else number(text)
