r"""The tables behind one spelling: signs, commands and phrases that are written in several ways."""

from __future__ import annotations

import re

SIGNS = str.maketrans(
    dict.fromkeys("−‐‑‒–—﹣", "-")
    | dict.fromkeys("×⋅·∙∗✕⨯", "*")
    | dict.fromkeys("“”„″", '"')
    | dict.fromkeys("‘’′`", "'")
    | dict.fromkeys("°º˚", "°")
    | {"÷": "/", "∕": "/", "⁄": "/", "≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge ", "≠": r"\ne "}
    | {"≈": r"\approx ", "∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset "}
    | {"±": r"\pm ", "∓": r"\mp ", "∠": r"\angle ", "⟨": r"\langle ", "⟩": r"\rangle ", "∖": r"\setminus "}
    | {"∨": " or ", "∧": " and ", "√": r"\sqrt ", "∛": r"\sqrt[3]", "∣": "|", "¢": " cents"}
    | {letter: rf"\mathbb{{{name}}}" for letter, name in zip("ℝℤℚℕℂ", "RZQNC", strict=True)}
)
RAISED, LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "₀₁₂₃₄₅₆₇₈₉₊₋ₙ"

# What announces an answer.
TOLD = re.compile(
    r"""\A(?: (?:\\text\{)? (?:the\ )?(?:final\ |correct\ )?(?:answer|ans)(?:\ is:?|\s*[:=]|\.(?=\ ))(?:\ |\}\ ?)
          | (?:so|thus|hence|therefore|finally|namely|exactly|precisely|only|just|is|equals?|equal\ to|then),?\ (?!if\b)
          | we\ (?:get|have|find|obtain|conclude)(?:\ that)?,?\ | =\s* | [#]+\ *
          | (?:result|solutions?|total|in\ total|a\ total\ of)(?:\s*[:=]\s*|(?<=\bof)\ )
          | both\ (?=.*\ and\ ) | either\ (?=.*\ or\ )
          | the\ (?:points?|set|line|plane|circle|interval|matrix|vector|equation|ratio|function|polynomial|number
                 |value|angle|pairs?|triple|ordered\ pairs?|ordered\ triple)[ ]
            (?=[^A-Za-z\s\\]|\\[^A-Za-z]|[A-Za-z]\s*(?:=|\())
        )(?=\S)""",
    re.IGNORECASE | re.VERBOSE,
)
SAID_AFTER = re.compile(
    r"(?<=\S),?\s+(?:only|exactly|is the (?:final |correct |only )?(?:answer|solution)"
    r"|(?:\\text\{\s*)?for all(?: real)?(?: numbers?| values of)?\s*\}?\s*[a-z]\b(?:\s*\\in\s*\\mathbb\{R\})?)\Z",
    re.IGNORECASE,
)
# Commands under another name; "" where they only dress.
RENAMED = (
    dict.fromkeys(("left", "right", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr"), "")
    | dict.fromkeys(("boxed", "fbox", "triangle", "displaystyle", "textstyle", "limits", "nolimits", "mathstrut"), "")
    | dict.fromkeys(("quad", "qquad", "enspace", "thinspace"), " ")
    | dict.fromkeys(("cdot", "times", "ast", "bullet"), "*")
    | dict.fromkeys(("dfrac", "tfrac", "cfrac"), r"\frac ")
    | dict.fromkeys(("dbinom", "tbinom"), r"\binom ")
    | dict.fromkeys(("leq", "leqslant", "le"), r"\le ")
    | dict.fromkeys(("geq", "geqslant", "ge"), r"\ge ")
    | dict.fromkeys(("neq", "ne"), r"\ne ")
    | dict.fromkeys(("lvert", "rvert", "vert", "mid"), "|")
    | dict.fromkeys(("ldots", "dots", "cdots"), "...")
    | dict.fromkeys(("varnothing", "emptyset"), r"\emptyset ")
    | dict.fromkeys(("lor", "vee"), " or ")
    | dict.fromkeys(("land", "wedge"), " and ")
    | dict.fromkeys(("R", "Reals", "reals"), r"\mathbb{R}")
    | dict.fromkeys(("rm", "bf", "it", "tt", "em"), "")
    | {"lt": "<", "gt": ">", "div": "/", "colon": ":", "degree": "°", "lbrace": r"\{", "rbrace": r"\}"}
    | {"lbrack": "[", "rbrack": "]", "bar": r"\overline ", "lg": r"\log_{10} ", "textdollar": "$", "euro": "€"}
    | {"pounds": "£", "varphi": r"\phi ", "varepsilon": r"\epsilon ", "percent": "%"}
)
FUNCTIONS = ("sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan")
FUNCTIONS += ("sinh", "cosh", "tanh", "ln", "log", "exp", "sqrt")
STYLES = r"\\(text|textbf|textit|textrm|textnormal|textsf|mbox|mathrm|mathbf|mathit|mathsf|operatorname|rm|bf)\s*\*?"

ESCAPED_TWICE = re.compile(r"\\\\(?=[A-Za-z])")  # as in JSON
SCALES = ("hundred", "thousand", "million", "billion", "trillion")
COUNT = r"\d*[a-z](?:[+-]\d+)?|\d+"  # of which some are chosen
ARROWS, AXIS = "hat|widehat|vec|overrightarrow|boldsymbol|mathbf|bm", r"\\?([ijk])(?:math)?(?![A-Za-z])"
# Ways to write the same, in this order.
STEPS: list[tuple[re.Pattern[str], str]] = [
    (re.compile(r"\*\*([^*\s](?:[^*]*[^*\s])?)\*\*(?=[\s:.,]|\Z)"), r"\1"),  # bold, not a power
    (re.compile(r"(?<!\\)\$\$?((?:\\\$|[^$])+?)(?<!\\)\$\$?(?!\d)"), r" \1 "),  # $x$, not "$5 and $3"
    (re.compile(r"(?<!\\)\\[()\[\]]"), " "),
    (re.compile(r"\{,\}\s*|,\s*\\!\s*(?=\d{3}(?!\d))|(?<=\d)\\,(?=\d{3}(?!\d))"), ""),  # surely of thousands
    (re.compile(r"(?<!\\)\\!"), ""),
    (re.compile(r"(?<!\\)\\[,;:> ]|~|\\(?:hspace|color|textcolor)\s*\{[^{}]*\}|\s+"), " "),
    (re.compile(r"\\(?:left|right)\s*\.(?!\d)"), ""),
    (re.compile(r"\\[hv]?phantom(?![A-Za-z])\s*(?:\{[^{}]*\}|\\[A-Za-z]+|[^\s\\{}])"), " "),
    (re.compile(r"([(\[\],<+-]\s*)(?:oo|inf(?:inity)?)(?=\s*(?:[)\]\[,<]|\Z))"), r"\1\\infty "),
    (re.compile(r"(?<=[)\]\[])\s*(?:U|\\text\{\s*U\s*\}|\bunion\b)\s*(?=[(\[\]])"), r" \\cup "),
    (re.compile(r"\^\s*(?:\\circ(?![A-Za-z])|\{\s*\\circ\s*\}|\{?\s*\\(?:text|mathrm)\{\s*o\s*\}\s*\}?)"), "°"),
    (re.compile(r"\^\s*(?:\{\s*\\prime\s*\\prime\s*\}|\\prime\s*\\prime(?![A-Za-z]))"), "''"),
    (re.compile(r"\^\s*(?:\{\s*\\prime\s*\}|\\prime(?![A-Za-z]))"), "'"),
    (re.compile(r"\{([^{}]*)\\choose(?![A-Za-z])([^{}]*)\}"), r"\\binom{\1}{\2}"),
    (re.compile(r"\{\s*\\(?:rm|bf|it)\s+([^{}]*)\}"), r"\\text{\1}"),
    (re.compile(r"(?<=\d)\s*[xX]\s*(?=10\s*\^)"), "*"),
    (re.compile(r"(?<![\w.])0[xX]([0-9A-Fa-f]+)(?![\w.(^])", re.ASCII), r"\1_{16}"),
    # C(n,k), n choose k, _6C_2, 6C2, C_6^2
    (re.compile(rf"(?<![A-Za-z}}])C\(\s*({COUNT})\s*,\s*({COUNT})\s*\)"), r"\\binom{\1}{\2}"),
    (re.compile(r"(?<!\w)(\d+|n) choose (\d+|k)(?!\w)"), r"\\binom{\1}{\2}"),
    (re.compile(r"(?:\{\})?\s*(?:[_^]\{?|(?<![\w}^]))(\d+)\}?\s*C\s*_?\{?(\d+)\}?(?!\w)"), r"\\binom{\1}{\2}"),
    (re.compile(r"(?<!\w)C_\{?(\d+)\}?\s*\^\s*\{?(\d+)\}?(?!\w)"), r"\\binom{\1}{\2}"),
    (re.compile(r"(?<!\w)(?:the )?square root of (\d+)\Z"), r"\\sqrt{\1}"),
    (re.compile(r"\A(\d+) root (\d+)\Z"), r"\1\\sqrt{\2}"),
    (re.compile(r"\A(\d+) times (?=\\sqrt)"), r"\1"),
    *((re.compile(rf"(?<![\w.])(\d+|[a-z]) {word}\b"), rf"\1^{n}") for word, n in (("squared", 2), ("cubed", 3))),
    (re.compile(r"\A(\d+|[a-z]) to the (?:power(?: of)? )?(\d+)(?:th|st|nd|rd)?(?: power)?\Z"), r"\1^{\2}"),
    *((re.compile(rf"(?<=[\d)}}]) {word} (?=\d|[a-z]\b|\\|\()"), s) for word, s in (("plus", "+"), ("minus", "-"))),
    (re.compile(r"\bcbrt\s*(?=\()"), r"\\sqrt[3]"),
    (re.compile(rf"\\(?:{ARROWS})(?![A-Za-z])\s*(?:\{{\s*{AXIS}\s*\}}|{AXIS})"), r" \1\2 "),
    (
        re.compile(r"\((?:or|i\.e\.,?|that is,?|equivalently,?|which (?:is|equals|simplifies to))\s+([^()]+)\)\Z"),
        r"or \1",
    ),
    (re.compile(r"\s*\([^()]*\b(?:extraneous|rejected|discarded)\b[^()]*\)\Z"), ""),
    (re.compile(r"\(\s*=\s*([^()]+)\)\Z"), r"= \1"),
    (re.compile(r"\A(?:\\text\{)?(?:negative|minus)\s*\}?\s+(?=[\d.$]|\\(?:frac|dfrac|sqrt|pi))"), "-"),
    (re.compile(r"(?<=[\w)}]) & (?=[\w(\\-])(?!.*\\end)"), " and "),
    (re.compile(r"\b(?:per cent|pct)\b"), "percent"),
    # One thousand, two hundred and five; but "one thousand, two thousand" and "two thousand, one million" are two.
    *(
        (
            re.compile(
                rf"\b({scale}), (?=(?:[a-z]+[ -])+(?:{'|'.join(SCALES[:at])})\b)"
                rf"(?!.*\b(?:{'|'.join(SCALES[at:])})\b)",
                re.IGNORECASE,
            ),
            r"\1 ",
        )
        for at, scale in enumerate(SCALES)
        if at
    ),
    (re.compile(r"<=|=<"), r"\\le "),
    (re.compile(r">=|=>"), r"\\ge "),
    (re.compile(r"!="), r"\\ne "),
    (re.compile(r"\\([%#&_])"), r"\1"),
    (re.compile(r"\\\$"), "$"),
]
# 0.333..., 0.(3); of e = 2.718281828... the digits do not go on so.
REPEATED = re.compile(
    r"(?<![\d.])(\d*\.\d*?)(?:(?:(\d)\2{2,}|(\d{2,3}|\d{6})\3+)\s*\.\.\.|\((\d+)\)(?=[\s%]|\Z))", re.ASCII
)
