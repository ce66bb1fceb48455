r"""Reads an answer as a formula: all of it or nothing.

A parser that skips what it does not know (units, words, a base, the rest of a line) cannot say that two answers are
the same. This one refuses: what is left unread, a word, a comma, a name called like a function. Where a person would
hesitate (1/2x) it gives every reading, and the rules decide only what holds for all of them.
"""

from __future__ import annotations

import functools
import re
from fractions import Fraction
from typing import TypeAlias

from ulorl_jax.verify.spelling import depth_of
from ulorl_jax.verify.tokens import Token, Unreadable, tokens_of

# A number, a name, or an operation with its operands: ("+", "x", Fraction(1, 2)). Operations: + - * / ^ of two;
# neg, abs, floor, ceil, "!", "°" and functions of one; ("root", x, n), ("log", x, base), ("binom", n, k).
Tree: TypeAlias = "Fraction | str | tuple"

CONSTANTS = {r"\pi", "e", "i"}
SPAN = re.compile(r"\d+(?:\s*-\s*\d+)+", re.ASCII)  # "3-5": from 3 to 5, a score, a date, a difference
INVERSES = {"sin", "cos", "tan"}
CALLED = set("fghFGHPQ")  # f(x) is no product
PAIRS = {"(": ")", "[": "]", "{": "}"}
FENCES = {r"\lfloor": (r"\rfloor", "floor"), r"\lceil": (r"\rceil", "ceil")}


@functools.lru_cache(maxsize=4096)
def readings(text: str) -> tuple[Tree, ...]:
    """All that an evened-out text may mean as a formula.

    Args:
      text: of `even_out`.

    Returns:
      One tree, or two where a division stands before a product without a sign; none where it is no formula.
    """
    if not text or depth_of(text) is None or SPAN.fullmatch(text):
        return ()
    try:
        tokens = tokens_of(text)
        loose, tight = (_Reader(list(tokens), tight).read() for tight in (False, True))
    except (Unreadable, RecursionError):  # twenty brackets deep, each with signs, powers and functions
        return ()
    return (loose,) if loose == tight else (loose, tight)


def names_of(tree: Tree) -> frozenset[str]:
    """The names in a tree, less pi, e and i."""
    if isinstance(tree, str):
        return frozenset() if tree in CONSTANTS else frozenset({tree})
    return frozenset().union(*map(names_of, tree[1:])) if isinstance(tree, tuple) else frozenset()


def names_in(text: str) -> frozenset[str]:
    """The names in all readings of a text."""
    return frozenset().union(*map(names_of, readings(text)))


def operations_of(tree: Tree) -> set[str]:
    """What is done in a tree, and the constants in it."""
    if isinstance(tree, tuple):
        return {tree[0]}.union(*map(operations_of, tree[1:]))
    return {tree} & CONSTANTS if isinstance(tree, str) else set()


class _Reader:
    """Recursive descent; `tight` takes 1/2x for 1/(2x)."""

    def __init__(self, tokens: list[Token], tight: bool):
        self.tokens, self.at, self.tight = tokens, 0, tight

    def read(self) -> Tree:
        tree = self.sum()
        if self.at < len(self.tokens):
            raise Unreadable
        return tree

    def peek(self, ahead: int = 0) -> Token:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else Token("end", "")

    def sees(self, *signs: str) -> bool:
        token = self.peek()
        return token.kind == "sign" and token.text in signs

    def take(self, *signs: str) -> str | None:
        if not self.sees(*signs):
            return None
        self.at += 1
        return self.tokens[self.at - 1].text

    def expect(self, sign: str) -> None:
        if not self.take(sign):
            raise Unreadable

    def sum(self) -> Tree:
        tree = self.product()
        while sign := self.take("+", "-"):
            tree = (sign, tree, self.product())
        return tree

    def product(self) -> Tree:
        tree = self.signed()
        while True:
            if self.take("*"):
                tree = ("*", tree, self.signed())
            elif self.take("/"):
                divisor = self.signed()
                while self.tight and self.starts_factor():
                    divisor = ("*", divisor, self.power())
                tree = ("/", tree, divisor)
            elif self.starts_factor():
                tree = ("*", tree, self.power())
            else:
                return tree

    def signed(self) -> Tree:
        if self.take("-"):
            return ("neg", self.signed())
        self.take("+")
        return self.power()

    def starts_factor(self) -> bool:
        """Whether a factor follows without a sign. After "!" also a number: elsewhere it is a digit."""
        token = self.peek()
        if token.kind == "number":
            return self.tokens[self.at - 1] == Token("sign", "!")  # 2!2!
        return token.kind in ("name", "function") or self.sees(*PAIRS, r"\frac", r"\binom", *FENCES)

    def power(self) -> Tree:
        tree, raised = self.atom(), False
        while True:
            if self.take("^", "**"):
                if raised:
                    raise Unreadable  # 2^3^2 without brackets
                tree, raised = ("^", tree, self.exponent()), True
            elif sign := self.take("!", "°"):
                if raised or (sign == "!" and self.sees("!")):
                    raise Unreadable
                tree = (sign, tree)
            else:
                return tree

    def exponent(self) -> Tree:
        if self.take("-"):
            return ("neg", self.exponent())
        self.take("+")
        if self.peek().kind not in ("number", "name") and not self.sees("{", "(", r"\frac"):
            raise Unreadable
        return self.atom(mixed=False)

    def argument(self) -> Tree:
        """Of a command: a group, or one token, of a number one digit."""
        token = self.peek()
        if token.kind == "number":
            if not token.text:
                raise Unreadable
            digits = [token.text[:1], token.text[1:]]
            self.tokens[self.at : self.at + 1] = [Token("number", part, Fraction(part)) for part in digits if part]
        elif token.kind != "name" and not self.sees("{", r"\frac"):
            raise Unreadable
        return self.atom(mixed=False)

    def atom(self, mixed: bool = True) -> Tree:
        kind, text, value = self.peek()
        self.at += 1
        if kind == "number":
            return value + self.fraction_after() if mixed and text else value
        if kind == "name":
            return self.name(text)
        if kind == "function":
            return self.root() if text == "sqrt" else self.function(text)
        if kind != "sign":
            raise Unreadable
        if text in (r"\frac", r"\binom"):
            return ("/" if text == r"\frac" else "binom", self.argument(), self.argument())
        if text not in PAIRS and text not in FENCES and text != "|":
            raise Unreadable
        tree = self.sum()
        if text in PAIRS:
            self.expect(PAIRS[text])
            return tree
        closing, operation = FENCES.get(text, ("|", "abs"))
        self.expect(closing)
        return (operation, tree)

    def fraction_after(self) -> Fraction:
        r"""The rest of a mixed number, 3\frac{1}{2} or 3 1/2; 0 where there is none."""
        start = self.at
        if self.take(r"\frac"):
            top, bottom = self.argument(), self.argument()
        elif self.peek().kind == "number":
            top, slash, bottom = self.peek().value, self.peek(1), self.peek(2)
            if slash != Token("sign", "/") or bottom.kind != "number":
                raise Unreadable
            bottom = bottom.value
            self.at += 3
        else:
            return Fraction(0)
        if not isinstance(top, Fraction) or not isinstance(bottom, Fraction):
            self.at = start  # 3\frac{x}{2} is a product
            return Fraction(0)
        if not 0 < top < bottom or top.denominator * bottom.denominator != 1 or self.sees("^", "!"):
            raise Unreadable  # 2\frac{5}{3}: who knows
        return top / bottom

    def name(self, name: str) -> Tree:
        if self.take("_"):
            begin = self.at
            self.argument()
            index = "".join(
                str(token.value) if token.kind == "number" else token.text for token in self.tokens[begin : self.at]
            )
            return f"{name}_{index.strip('{}')}"
        if name in CALLED and self.sees("("):
            raise Unreadable
        return name

    def function(self, name: str) -> Tree:
        base = self.argument() if name == "log" and self.take("_") else None
        power = self.exponent() if self.take("^") else None
        operand = self.atom() if self.sees(*PAIRS, "|", *FENCES) else self.bare_operand()
        if power == ("neg", Fraction(1)):
            if name not in INVERSES:
                raise Unreadable
            name, power = f"arc{name}", None
        tree: Tree = (name, operand) if base is None else (name, operand, base)
        return tree if power is None else ("^", tree, power)

    def bare_operand(self) -> Tree:
        r"""As in \sin 2x: a product up to the next function or sign."""
        tree = ("neg", self.power()) if self.take("-") else self.power()
        while self.starts_factor() and self.peek().kind != "function":
            if self.sees("(", "["):
                raise Unreadable  # \sin 2(x+1)
            tree = ("*", tree, self.power())
        if self.sees("/") and self.peek(1).kind != "function":
            raise Unreadable  # \sin x/2
        return tree

    def root(self) -> Tree:
        degree: Tree = Fraction(2)
        if self.take("["):
            degree = self.sum()
            self.expect("]")
        token = self.peek()
        if token.kind == "number" and len(token.text) != 1:
            raise Unreadable  # \sqrt12 may be \sqrt{1}2
        return ("root", self.atom() if self.sees("(") else self.argument(), degree)
