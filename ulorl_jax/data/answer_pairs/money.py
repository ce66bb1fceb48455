"""Sums of money."""

from __future__ import annotations

import random

from ulorl_jax.data.answer_pairs.kinds import NOTHING_DRAWN, Form, Kind
from ulorl_jax.data.answer_pairs.slips import near_integer

CURRENCIES = {  # sign, in LaTeX, name of several, code
    "dollar": ("$", "\\$", "dollars", "USD"),
    "euro": ("€", "€", "euros", "EUR"),
    "pound": ("£", "£", "pounds", "GBP"),
}
WEIGHTS = (4, 2, 1)
LARGEST = 10_000_000

Money = tuple[str, int]  # currency, hundredths


def _draw(rng: random.Random) -> Money:
    if rng.random() < 0.5:
        amount = rng.randint(1, 10 ** rng.choice((2, 2, 3, 4))) * 100
    else:
        amount = rng.randint(5, 20_000) * rng.choice((1, 5, 10))
    return rng.choices(tuple(CURRENCIES), WEIGHTS)[0], amount


def _near(money: Money, rng: random.Random) -> Money | None:
    currency, amount = money
    slip = rng.choice(("currency", "digits", "digits", "point", "cents"))
    if slip == "currency":
        return rng.choice(tuple(CURRENCIES)), amount
    if slip == "digits":
        step = 1 if amount % 100 else 100
        amount = abs(near_integer(amount // step, rng)) * step
    elif slip == "point":
        amount = amount * 10 if amount % 10 or rng.random() < 0.5 else amount // 10
    else:  # 18.50 as 18.05
        amount += 9 * (amount % 100 % 10 - amount % 100 // 10)
    return (currency, amount) if 0 < amount <= LARGEST else None


def _money(style: str, *, cents: bool = False, comma: bool = True) -> Form:
    """Hundredths where there are any, or with `cents` always."""

    def write(money: Money, rng: random.Random) -> str:
        whole, hundredths = divmod(money[1], 100)
        number = (f"{whole:,}" if comma else str(whole)) + (f".{hundredths:02d}" if cents or hundredths else "")
        sign, tex, name, code = CURRENCIES[money[0]]
        return style.format(number=number, sign=sign, tex=tex, name=name, code=code)

    return write


CURRENCY = Kind(
    draw=_draw,
    near=_near,
    key=lambda money: f"{money[1]} hundredths of a {money[0]}",
    forms={
        "sign": _money("{sign}{number}"),
        "sign_cents": _money("{sign}{number}", cents=True),
        "tex": _money("{tex}{number}"),
        "tex_plain": _money("{tex}{number}", comma=False),
        "tex_cents": _money("{tex}{number}", cents=True, comma=False),
        "name": _money("{number} {name}", comma=False),
        "name_cents": _money("{number} {name}", cents=True),
        "code": _money("{number} {code}"),
        "code_first": _money("{code} {number}"),
        "code_cents": _money("{number} {code}", cents=True, comma=False),
        "text": _money("{number}\\text{{ {name}}}", comma=False),
        "bare": _money("{number}", comma=False),
        "bare_cents": _money("{number}", cents=True),
    },
    train=(
        "<sign>",
        "<sign_cents>",
        "<tex>",
        "<name>",
        "<code>",
        "x = <tex_plain>",
        "<sign>.",
        "$<text>$",
        "<code_first>",
        "The answer is <name>",
        "<bare>",
    ),
    held_out=(
        "<tex_cents>",
        "<name_cents>",
        "<code_cents>",
        "x = <sign>",
        "x = <code>",
        "\\text{<name>}",
        "<text>",
        "<name>.",
        "The answer is <sign>",
        "<bare_cents>",
    ),
    questions=("How much is it?", "What does it cost?", "How much does <name> pay?", "What is left?"),
    held_out_questions=("How much did <name> earn?", "What is the price?", "Find the cost."),
    short=lambda money: _money("{number}", comma=False)(money, NOTHING_DRAWN) + money[0][0],
    show=lambda money: _money("{number} {name}", comma=False)(money, NOTHING_DRAWN) or "",
    plain=frozenset({"sign", "sign_cents", "name", "code", "code_first", "code_cents"}),
    # 18 stands for dollars beside dollars, and for euros beside euros
    fits=lambda first, second, v, w: v[0] == w[0] or not {first, second} & {"bare", "bare_cents"},
)
