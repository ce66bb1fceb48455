"""What a run sampled, in a terminal: its traces, the samples of a step, one sample with its tokens."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from ulorl_jax.io.progress import format_number
from ulorl_jax.io.tables import WIDTH, print_table
from ulorl_jax.io.traces import TRAINED

LOW = 0.1  # a token that was drawn with a smaller probability is marked
_SEGMENTS = ("cyan", "green", "yellow", "magenta", "blue")
_TOGETHER = 4  # tokens that may be one character: UTF-8 has no longer one
# What would move the cursor, change the terminal or turn the order of letters round: an output may hold anything.
_SHOWN = {code: 0x2400 + code for code in range(32) if code not in (9, 10)} | {0x7F: 0x2421}
_SHOWN |= dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD)
_COLUMNS = ("group", "sample", "reward", "use", "advantage", "tokens", "segments", "entropy", "mastered", "masked")


def print_samples(step: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table of the samples in a step's trace.

    Args:
      step: of the trace.
      rows: from `traces.read_trace`.
    """
    shown = [
        {
            "group": _group(row),
            "sample": row["sample"],
            "reward": _or_dash(row["reward"]),
            "use": _or_dash(row["use"]),
            "advantage": _or_dash(row["advantage"]),
            "tokens": len(row["tokens"]),
            "segments": len(row["segments"]),
            "entropy": _or_dash(_mean(row["entropy"])),
            "mastered": f"{len(row['mastered']) / len(row['tokens']):.0%}" if row["use"] == TRAINED else "-",
            "masked": "yes" if row["masked"] else "-",
            "reason": _one_line(row["reason"]),
        }
        for row in rows
    ]
    headings = {name: name for name in _COLUMNS} | {"entropy": "entropy, nats", "reason": "answer or reason"}
    print_table(f"Step {step}: {len(rows)} samples of {len({_group(row) for row in rows})} groups", shown, headings)


def print_sample(
    row: Mapping[str, Any], others: Sequence[Mapping[str, Any]], decode: Callable[[Sequence[int]], str] | None
) -> None:
    """A sample as a whole: prompt, output, reference, verdict; a colour for each segment, unlikely tokens marked.

    Args:
      row: from `traces.read_trace`.
      others: the rows of its group, itself among them.
      decode: ids to text; None: no token can be marked.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)

    def say(*parts: str | Text) -> None:
        texts = (Text(part.translate(_SHOWN)) if isinstance(part, str) else part for part in parts)
        console.print(*texts, soft_wrap=True)  # lines are the output's own

    say(Text(f"sample {row['sample']}, group {_group(row)}", "bold"), f"row {row['source']}" if row["source"] else "")
    say(Text("prompt", "bold"))
    say(row["prompt"])
    note = f"tokens drawn with a probability under {LOW:g} are marked" if decode else "no tokenizer: no token is marked"
    say(Text("output", "bold"), f"({len(row['tokens'])} tokens, ended by {row['finished'] or 'nothing yet'}; {note})")
    start = 0
    for number, segment in enumerate(row["segments"]):
        stop, colour = start + segment["num_tokens"], _SEGMENTS[number % len(_SEGMENTS)]
        about = f"policy step {segment['policy_step']}, {segment['kv']}, {segment['num_tokens']} tokens"
        say(Text(f"segment {number + 1}: {about}", f"dim {colour}"))
        text = Text(style=colour)
        if decode is None:
            text.append(segment["text"].translate(_SHOWN))
        else:
            for piece, logp in _pieces(row["tokens"][start:stop], row["logp"][start:stop], decode):
                low = logp is None or logp < math.log(LOW)
                # Brackets too: where output is no terminal there are no colours.
                text.append(f"[{piece.translate(_SHOWN)}]" if low else piece.translate(_SHOWN), "red" if low else None)
        say(text)
        start = stop
    say(Text("reference", "bold"), row["reference"])
    say(Text("verdict", "bold"), f"reward {_or_dash(row['reward'])}: {_one_line(row['reason'])}")
    if row["use"]:
        say(Text("use", "bold"), f"{row['use']}, advantage {_or_dash(row['advantage'])}")
    if row["entropy"]:
        left_out = "left out of the loss" if row["masked"] else "in the loss"
        mastered = f"; {len(row['mastered'])} mastered tokens, {left_out}" if row["use"] == TRAINED else ""
        say(Text("entropy", "bold"), f"{_or_dash(_mean(row['entropy']))} nats{mastered}")
    rewards = ", ".join(f"{other['sample']}: {_or_dash(other['reward'])}" for other in others)
    say(Text("rewards of the group", "bold"), rewards)


def of_group(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows of a sample's group, itself among them."""
    return [other for other in rows if _group(other) == _group(row)]


def _group(row: Mapping[str, Any]) -> int:
    return row["prompt_id"] if row["group"] is None else row["group"]  # the prompt's, in older traces


def _pieces(
    tokens: Sequence[int], logp: Sequence[float | None], decode: Callable[[Sequence[int]], str]
) -> Iterator[tuple[str, float | None]]:
    """Text and log-prob of every token, or of as many as make up a character, the least likely one's."""
    pending: list[int] = []
    lowest: float | None = 0.0
    for place, (token, own) in enumerate(zip(tokens, logp, strict=True), start=1):
        pending.append(token)
        lowest = None if own is None or lowest is None else min(own, lowest)
        text = decode(pending)
        if not text.endswith("\ufffd") or len(pending) == _TOGETHER or place == len(tokens):
            yield text, lowest
            pending, lowest = [], 0.0


def _mean(numbers: Sequence[float | None] | None) -> float | None:
    known = [number for number in numbers or () if number is not None]
    return sum(known) / len(known) if known else None


def _or_dash(value: Any) -> str:
    return "-" if value is None else format_number(value) if isinstance(value, float) else str(value)


def _one_line(text: str) -> str:
    return " ".join(text.split()).translate(_SHOWN)
