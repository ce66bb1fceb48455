r"""One spelling of an answer, whatever its LaTeX, plain text or Unicode looked like; nothing here weighs values.

`even_out` keeps what may carry meaning: a space between "1 234", \text{} around words inside a formula,
letters of either case. Everything is one pass over at most `MAX_CHARACTERS`.
"""

from __future__ import annotations

import functools
import re
import unicodedata

from ulorl_jax.verify.writings import (
    ESCAPED_TWICE,
    FUNCTIONS,
    LOWERED,
    RAISED,
    RENAMED,
    REPEATED,
    SAID_AFTER,
    SIGNS,
    STEPS,
    STYLES,
    TOLD,
)

MAX_CHARACTERS = 300  # of an answer; longer ones are not read: it bounds what hostile output can cost
MAX_DEPTH = 20  # of brackets in brackets

# Controls, and marks that turn the reading direction around, so that a person sees other digits than are there.
HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u202a-\u202e\u2066-\u2069\ufff9-\ufffb\ufffd\ud800-\udfff]"
)
INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060-\u2065\ufe00-\ufe0f\ufeff]")
LIST = r"[,;]|\b(?:and|or)\b"  # between the members of a list
# Not in 9,13,-20,191; but in 5,-1,000: nobody lists 000.
THOUSANDS = re.compile(r"(?<![\d.])(?<!\d,)(?:(?<!\d,-)|(?=\d{1,3}(?:,\d{3})*,0\d\d))\d{1,3}(?:,\d{3})+(?!\d|,\d)")
TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d+|\S", re.ASCII | re.DOTALL)
DEPTHS = re.compile(
    r"\\(?P<open>begin|\{|langle|lfloor|lceil)(?![A-Za-z])|\\(?P<close>end|\}|rangle|rfloor|rceil)(?![A-Za-z])|\\.|[(\[{]|[)\]}]"
)


@functools.lru_cache(maxsize=4096)
def even_out(answer: str) -> str:
    r"""The answer in one spelling: "\frac{1}{2} \text{cm}" of "$\dfrac{1}{2}\,\mathrm{cm}$."

    Args:
      answer: as it was read, at most `MAX_CHARACTERS` of it.
    """
    text = INVISIBLE.sub("", answer)
    text = re.sub(f"[{RAISED}]+", lambda run: f"^{{{unicodedata.normalize('NFKC', run[0])}}}", text)
    text = re.sub(f"[{LOWERED}]+", lambda run: f"_{{{unicodedata.normalize('NFKC', run[0])}}}", text)
    text = "".join(map(_plain_character, text)).translate(SIGNS)
    text = re.sub(r"\\sqrt (\d+)", r"\\sqrt{\1}", text) if "√" in answer else text
    text = unicodedata.normalize("NFKC", text).translate(SIGNS)
    if r"\begin" not in text:
        text = ESCAPED_TWICE.sub(r"\\", text)
    for pattern, replacement in STEPS:
        text = pattern.sub(replacement, text)
    text = re.sub(r"\\([A-Za-z]+)", lambda name: RENAMED.get(name[1], name[0]), text)
    text = REPEATED.sub(_overlined, text)
    text = re.sub(STYLES + r"\{([^{}]*)\}", _styled, text)
    text = re.sub(r"°\s*(?:\\text\{([CF])\}|([CF])(?![A-Za-z]))", r"°\1\2", text)
    return _trim(" ".join(text.split()))


def is_hidden(answer: str) -> bool:
    """Whether it holds characters that a reader does not see and that change what is read."""
    return HIDDEN.search(answer) is not None


def compact(text: str) -> str:
    r"""The evened-out text without the spaces that part nothing. "1 2", "\pi r" and "1, 234" keep theirs."""
    tokens = TOKEN.findall(text)
    pieces, at = [], 0
    for before, token in zip(["", *tokens], tokens, strict=False):
        at = text.index(token, at)
        spaced = at > 0 and text[at - 1] == " "
        if before and (_runs_on(before, token) or (spaced and before == "," and re.match(r"\d{3}(?!\d)", text[at:]))):
            pieces.append(" " if spaced or before[0] == "\\" else "")
        pieces.append(token)
        at += len(token)
    return "".join(pieces)


def plain(text: str) -> str:
    r"""An evened-out text without \text{}."""
    return " ".join(re.sub(r"\\text\{([^{}]*)\}", r" \1 ", text).split())


def split(text: str, separator: str) -> list[str] | None:
    """Cuts an evened-out text where a separator stands in no bracket.

    Args:
      separator: a regular expression.

    Returns:
      The parts, trimmed; None where the brackets do not match, or are deeper than `MAX_DEPTH`.
    """
    depths = depth_of(text)
    if depths is None:
        return None
    parts, begin = [], 0
    for found in re.finditer(separator, text):
        if found.start() >= begin and depths[found.start()] == 0:
            parts.append(text[begin : found.start()].strip())
            begin = found.end()
    return [*parts, text[begin:].strip()]


def members_of(text: str, separator: str = LIST, is_bare: bool = True) -> list[str] | None:
    """The members of a list; one where it is none.

    Args:
      text: evened out.
      separator: a regular expression.
      is_bare: it stands in no brackets, so that "1,000" is one number.

    Returns:
      None where the brackets do not match or a member is empty.
    """
    text = re.sub(r"\\text\{(and|or)\}", r" \1 ", text)
    if is_bare or re.search(r"[,;] |\b(?:and|or)\b", text):
        text = THOUSANDS.sub(lambda number: number[0].replace(",", ""), text)
    parts = split(text, separator)
    if parts is None:
        return None
    parts = [part for at, part in enumerate(parts) if part or at == 0]  # "1, 2, and 3"
    return parts if all(parts) else None


@functools.lru_cache(maxsize=1024)
def depth_of(text: str) -> tuple[int, ...] | None:
    """How many brackets each character stands in; None where they do not match or are too many."""
    depths, depth, begin = [], 0, 0
    for token in DEPTHS.finditer(text):
        depths += [depth] * (token.start() - begin)
        opens, closes = token["open"] or token[0] in "([{", token["close"] or token[0] in ")]}"
        depth -= bool(closes)
        depths += [depth] * len(token[0])
        depth += bool(opens)
        begin = token.end()
        if not 0 <= depth <= MAX_DEPTH:
            return None
    return None if depth else tuple(depths + [0] * (len(text) - begin))


def _plain_character(character: str) -> str:
    """Vulgar fractions and Greek letters as LaTeX."""
    if character < "\u00bc":
        return character
    if unicodedata.decomposition(character).startswith("<fraction>"):
        top, _, bottom = unicodedata.normalize("NFKC", character).partition("⁄")
        return rf" \frac{{{top}}}{{{bottom}}}" if bottom else character
    name = unicodedata.name(character, "")
    if re.fullmatch("GREEK (SMALL|CAPITAL) LETTER [A-Z]+", name):
        letter = name.rpartition(" ")[2].lower()
        return rf"\{letter.capitalize() if 'CAPITAL' in name else letter} "
    return character


def _overlined(match: re.Match[str]) -> str:
    return rf"{match[1]}\overline{{{match[2] or match[3] or match[4]}}}"


def _styled(match: re.Match[str]) -> str:
    """Words stay marked as words; what is mathematics is not."""
    style, content = match[1], match[2].strip()
    if content in FUNCTIONS:
        return rf"\{content} "
    if len(content) == 1 and content.isalpha() and (style in ("mathbf", "mathit", "bf") or content in "eid"):
        return f" {content} " if style.startswith("text") or style == "mbox" else content
    if content in ("and", "or") or not re.fullmatch(r"[^\W\d_][^\d\\{}()=<>,;:]*", content):
        return f" {content} "
    return rf"\text{{{content}}}"


def _trim(text: str) -> str:
    r"""Without what stands around it: periods, quotes, braces, \text{} of it all."""
    for _ in range(MAX_DEPTH):
        before = text
        text = SAID_AFTER.sub("", TOLD.sub("", text.strip()))
        if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'":  # one alone is a minute, a foot, a derivative
            text = text[1:-1]
        text = text.removesuffix("\\\\")
        if text.endswith((".", ",", ";")) and not text.endswith("..."):
            text = text[:-1]
        inner = re.fullmatch(r"(?:\\text)?\{(.*)\}", text)
        if inner and (depths := depth_of(inner[1])) is not None and not _lists(inner[1], depths):
            text = inner[1]
        if text == before:
            break
    return text


def _lists(text: str, depths: tuple[int, ...]) -> bool:
    """Whether it is a set in braces, empty or with commas, and no group of LaTeX."""
    return not text.strip() or any(mark in ",;" and depth == 0 for mark, depth in zip(text, depths, strict=True))


def _runs_on(a: str, b: str) -> bool:
    """Whether two tokens would become one, or words would."""
    return (a[-1].isalnum() and b[0].isalnum()) and (a[-1].isdigit() == b[0].isdigit())
