r"""Answers that are no mathematics: options, yes and no, words, times of the day, dates."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from ulorl_jax.verify.asking import Ask
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Comparison
from ulorl_jax.verify.nothing import kind_of
from ulorl_jax.verify.numbers import in_another_language, in_words, ordinal, rational
from ulorl_jax.verify.numerals import is_in_roman_letters
from ulorl_jax.verify.spelling import LIST, plain, split
from ulorl_jax.verify.units import unit_names

# "Yes, it is", but not "yes, if n is even".
EXPLAINED = re.compile(
    r"\A(yes|no)\s*[,;:.](?!.*\b(?:but|if|unless|only|except|yes|no|true|false|maybe|sometimes|when)\b).*\Z", re.DOTALL
)
TRUTHS = {"yes": True, "true": True, "no": False, "false": False}
OPTION = re.compile(
    r"(?P<said>(?i:(?:the )?(?:answer|option|choice)(?: is)?:? ))?"
    r"(?:(?P<bracket>[(\[])\s*(?P<in>[A-Ja-j])\s*[)\]]|(?P<bare>[A-Ja-j])(?P<mark>[).:](?!\d))?)\s*(?P<content>.*)",
    re.DOTALL,
)
# "E. -5" and "E) (1, 2)"; "(a) - 5" is a difference.
SPACED_OPTION = re.compile(
    r"(?:(?i:(?:the )?(?:answer|option|choice)(?: is)?:? ))?(?:[A-J][).:]|\([A-J]\)) +[-(<>|]\s?\S"
)
ANOTHER_OPTION = re.compile(r"(?<![A-Za-z])[A-J][).:](?!\d)")
WORDS = re.compile(r"[^\W\d_]+(?:(?:['. ]+|(?<=[^\W\d_]{2})-(?=[^\W\d_]{2}))[^\W\d_]+)*\.?")
# They may say a number.
COUNTING = re.compile(
    "none|never|once|twice|thrice|nothing|nobody|zero|dozen|pair|single|double|triple|half|quarter|impossible|unity"
    "|couple|score|gross|several|many|naught|trio|quartet|twins|triplets|quadruple|googol"
    "|dozens|hundreds|thousands|[mb]illions|[a-z]+fold|certain|nickel|dime"
)
HEDGES = re.compile(r"\b(?:maybe|perhaps|possibly|probably|either|not sure|or|between)\b", re.IGNORECASE)


# Of these one thing is only one.
KINDS = [
    set(words.split())
    for words in (
        "red orange yellow green blue purple violet pink brown black white gray beige tan teal navy"
        " maroon silver gold cyan magenta turquoise indigo crimson olive",
        "circle ellipse triangle square rectangle pentagon hexagon heptagon octagon kite trapezoid parabola hyperbola"
        " line",
        "cube sphere cone cylinder pyramid prism",
        "north south east west northeast northwest southeast southwest",
        "monday tuesday wednesday thursday friday saturday sunday",
        "one two three four five six seven eight nine ten",
        "first second third fourth fifth sixth last",
        "always sometimes never",
        "positive negative zero",
        "acute obtuse right",
        "increasing decreasing constant",
        "left right",
        "even odd",
    )
]
# Words of phrases that say the same with another word: "right triangle", "right angle".
MATHEMATICAL = re.compile(
    "angled?s?|triang(?:le|ular)|numbers?|values?|solutions?|functions?|lines?|points?|roots?|isosceles|equilateral"
    "|scalene|(?:in)?finite|infinitely|prime|composite|none|all|many|only|both|same|equal|house|team|street|school|city"
    "|group|box|car|bag|answer|option"
)
NEGATED = re.compile(r"\b(?:no|not|non|never|neither|nor|none)\b|n't", re.IGNORECASE)
HEADS = {"triangle", "function", "number"}  # even, an even function
WEEKDAYS = {day[:3]: day for kind in KINDS if "monday" in kind for day in kind}
VARIANTS = {"grey": "gray", "colour": "color", "centre": "center", "disc": "disk", "maths": "math", "metre": "meter"}
VARIANTS["golden"] = "gold"


class _Option(NamedTuple):
    letter: str
    content: str
    marked: bool  # by brackets or a word: it is no variable


def compare_options(a: str, b: str, ask: Ask) -> Comparison | None:
    """A, (A), A) 5, Option A. A lone letter may be a variable, so against anything else it is not decided."""
    one, two = _option(plain(a)), _option(plain(b))
    if one and two:
        same_letter = one.letter.upper() == two.letter.upper()
        if one.content and two.content:
            same_content = ask(one.content, two.content).outcome
            if same_letter != (same_content == SAME):
                return Comparison(UNSURE, "letter and content of the options do not tell the same")
        if same_letter and one.letter != two.letter and not (one.marked or two.marked):
            return Comparison(UNSURE, f"{one.letter} and {two.letter}")
        return Comparison(SAME if same_letter else DIFFERENT, "options")
    for option, other in ((one, b), (two, a)):
        if option is not None:
            several = split(plain(other), LIST)
            if several and len(several) > 1 and all(map(_option, several)):
                return Comparison(DIFFERENT, "one option and several")
            if option.content:
                return ask(option.content, other)
            if option.letter in "ABCDE" or option.marked:
                return Comparison(UNSURE, "an option against what may be its content")
    return None


def compare_truths(a: str, b: str, ask: Ask) -> Comparison | None:
    """Yes and no, true and false."""
    truths = [TRUTHS.get(EXPLAINED.sub(r"\1", plain(text).lower())) for text in (a, b)]
    if None in truths:
        values = rational(a), rational(b)
        number = values[0] if values[1] is None else values[1]
        if truths == [None, None] or number is None or number in (0, 1):
            return None
        return Comparison(DIFFERENT, "yes or no, and a number")
    return Comparison(SAME if truths[0] == truths[1] else DIFFERENT, "yes or no")


def compare_words(a: str, b: str, ask: Ask) -> Comparison | None:
    """Words as words: case, articles, hyphens and \text{} aside."""
    one, two = _words(a), _words(b)
    if one is None or two is None:
        return None
    shorter, longer = sorted((one, two), key=len)
    if len(shorter) == 1 and len(longer) == 3 and longer[1] in ("and", "or"):
        return Comparison(DIFFERENT, "one and two")
    return _compare_word_lists(one, two)


def is_ordinary_word(text: str) -> bool:
    """Whether it is one word, and none that says a number, an amount, an option or nothing at all."""
    words = _words(text)
    return (
        words is not None
        and len(words) == 1
        and len(words[0]) >= 4
        and not COUNTING.fullmatch(words[0].lower())
        and ordinal(text) is None
        and kind_of(plain(text)) is None
        and not is_in_roman_letters(re.sub("(?:th|st|nd|rd)$", "", words[0]))
        and not in_another_language(words[0])
        and words[0] not in unit_names()
    )


def compare_hedges(a: str, b: str, ask: Ask) -> Comparison | None:
    """ "3, maybe 5" is no answer to what 3 answers."""
    for hedged, other in ((a, b), (b, a)):
        words = plain(hedged)
        value = rational(other)
        numbers = {rational(digits) for digits in re.findall(r"-?\d+(?:\.\d+)?", words)}
        if value is not None and HEDGES.search(words) and len(numbers - {None}) > 1:
            return Comparison(DIFFERENT, "a hedge")
    return None


def _option(text: str) -> _Option | None:
    found = OPTION.fullmatch(text)
    if not found:
        return None
    letter, content = found["in"] or found["bare"], found["content"].strip()
    marked = bool(found["said"] or found["bracket"] or found["mark"])
    if found["mark"] == ":" and content and text[2] != " ":
        return None  # the ratio a:b
    if ANOTHER_OPTION.search(content):
        return None
    if content and (
        not (found["bracket"] or found["mark"])
        or (content[0] in "^_*/+-=<>!,(|" and not SPACED_OPTION.match(text))
        or len(letter + content) < 2
    ):
        return None  # (a)^2, "A cat"
    return _Option(letter, content, marked)


def _words(text: str) -> list[str] | None:
    r"""The words of a text that is nothing else, without articles."""
    text = plain(text).strip("*")
    if not WORDS.fullmatch(text) or in_words(text) is not None:
        return None
    words = [word for word in re.split(r"[\s-]+", text.replace(".", "")) if word]
    words = [VARIANTS.get(word.lower(), word) for word in words]
    words = [WEEKDAYS.get(words[0].lower(), words[0])] if len(words) == 1 else words
    return words[1:] if len(words) > 1 and words[0].lower() in ("a", "an", "the") else words


def _compare_word_lists(a: list[str], b: list[str]) -> Comparison | None:
    lower = ["".join(words).casefold() for words in (a, b)]
    if lower[0] == lower[1]:
        if any(lower[0] in kind for kind in KINDS):
            return Comparison(SAME, "the same word")
        if a != b and (len(lower[0]) <= 2 or (len(lower[0]) == 3 and "".join(a).isupper() != "".join(b).isupper())):
            return Comparison(UNSURE, "letters in another case")
        return Comparison(SAME, "the same words")
    longer, shorter = (a, b) if len(a) > len(b) else (b, a)
    if len(longer) == len(shorter) + 1 == 2 and longer[-1].lower() in HEADS:
        return _compare_word_lists(longer[:-1], shorter)
    other = [pair for pair in zip(a, b, strict=False) if pair[0].casefold() != pair[1].casefold()]
    if 1 < len(a) == len(b) and all(len(one) == len(two) == 1 for one, two in other):
        return Comparison(DIFFERENT, "other letters")  # team A and team B
    if len(a) == len(b) > 1 and _is_other_kind(other):
        return Comparison(DIFFERENT, "another word of the same kind")
    if 1 < len(a) == len(b) <= 3 and len(other) == 1 and _is_other_name(a, b, other[0]):
        return Comparison(DIFFERENT, "another name")
    if len(a) != 1 or len(b) != 1:
        return Comparison(UNSURE, "other words, which may mean the same")
    if any(word in TRUTHS and word[0] in lower for word in lower):
        return Comparison(UNSURE, "yes or no, and a letter")
    if max(map(len, lower)) <= 3:
        if sorted(lower[0]) != sorted(lower[1]):
            return Comparison(DIFFERENT, "other letters")
        # A product of letters, the name of a segment, or "dog" and "god".
        is_product = not set(lower[0]) & set("aeiou") and (a[0] + b[0]).islower()
        return None if is_product else Comparison(UNSURE, "the same letters in another order")
    if any(set(lower) <= kind for kind in KINDS):
        return Comparison(DIFFERENT, "another word of the same kind")
    if min(map(len, lower)) == 1 or len(os.path.commonprefix(lower)) >= min(5, *map(len, lower)):
        return Comparison(UNSURE, "one word begins as the other")  # increases, increasing
    if lower[0][0] == lower[1][0] and min(map(len, lower)) == 2:
        return Comparison(UNSURE, "a word and what may be its abbreviation")  # kg
    return Comparison(DIFFERENT, "other words")


def _compare_single(a: str, b: str) -> str:
    """Of two words in the same place of a phrase; one letter may be a slip, and prefixes another form."""
    found = _compare_word_lists([a], [b])
    if found is None or NEGATED.search(f"{a} {b}"):
        return UNSURE
    return found.outcome


def _is_other_name(a: list[str], b: list[str], other: tuple[str, str]) -> bool:
    """Whether two phrases name two people (Ann Lee, Jan Lee), or two things of one colour; not (the) First House."""
    if _compare_single(*other) != DIFFERENT:
        return False
    words = {word.casefold() for word in (*a, *b)}
    if words - {word.casefold() for word in other} <= KINDS[0]:
        return other == (a[-1], b[-1])
    are_names = all(map(str.istitle, a)) or all(map(str.istitle, b)) or all(map(str.isupper, (*a, *b)))
    return are_names and not any(words & kind for kind in KINDS) and not any(map(MATHEMATICAL.fullmatch, words))


def _is_other_kind(pairs: list[tuple[str, str]]) -> bool:
    """Whether the words in one place are two of a kind, of which one thing is only one: two colours."""
    return any(one.casefold() in kind and two.casefold() in kind for one, two in pairs for kind in KINDS)
