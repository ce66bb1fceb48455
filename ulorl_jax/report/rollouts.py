"""The recorded samples of runs, packed so that a page opens at once: a table of all, and each in full on demand."""

import base64
import dataclasses
import gzip
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from ulorl_jax.io.step_files import TRACES
from ulorl_jax.report.pieces import Pieces, tokenizer_of
from ulorl_jax.report.runs import Run, whole_rows

TOKENS_PER_BLOCK = 50_000  # of outputs that are unpacked together: some milliseconds
IN_FULL = ("prompt_id", "source", "question", "prompt", "reference", "reason", "tokens", "logp")
NEWER = ("advantage", "policy_logp", "entropy", "mastered", "masked")  # traces of older runs lack them


@dataclasses.dataclass(frozen=True)
class Rollouts:
    """What the page is given.

    Attributes:
      table: columns with one value per sample: "run" (its number), "step", "sample", "group", "reward", "use",
        "tokens" (how many), "finished", "entropy" (mean in nats), "masked"; None where it is not known. "block" and
        "row" say where it is in full.
      blocks: lists of samples in full, packed.
      texts: by run, the texts of token ids.
      left_out: by run, samples recorded and not shown.
      without_tokenizer: runs whose tokens are shown as ids.
    """

    table: dict[str, list[Any]]
    blocks: list[str]
    texts: list[dict[int, str]]
    left_out: list[int]
    without_tokenizer: list[str]


def read_rollouts(runs: Sequence[Run], max_tokens: int) -> Rollouts:
    """Reads the traces of runs.

    Args:
      runs: any.
      max_tokens: a run whose outputs hold more shows every n-th of its steps only, the last among them, for the
        smallest n with which they do not; a page of 10 million tokens has about 70 MB.

    Returns:
      The samples, run by run and step by step.

    Raises:
      ValueError: a trace or a tokenizer is damaged.
    """
    names = ("run", "step", "sample", "group", "reward", "use", "tokens", "finished", "entropy", "masked")
    out = Rollouts({name: [] for name in (*names, "block", "row")}, [], [], [], [])
    for number, run in enumerate(runs):
        tokenizer = tokenizer_of(run.folder, run.config)
        if tokenizer is None:
            out.without_tokenizer.append(run.name)
        pieces = Pieces(tokenizer)
        steps, left_out = _steps(run.folder, max_tokens)
        block, tokens = [], 0
        for step, row in steps:
            line = {"run": number, "step": step, "block": len(out.blocks), "row": len(block), **_line(row)}
            for name, value in line.items():
                out.table[name].append(value)
            block.append(_in_full(row, pieces))
            tokens += len(row["tokens"])
            if tokens >= TOKENS_PER_BLOCK:
                out.blocks.append(pack(block))  # at once: packed it is a tenth
                block, tokens = [], 0
        if block:
            out.blocks.append(pack(block))
        out.texts.append(pieces.texts)
        out.left_out.append(left_out)
    return out


def pack(value: Any) -> str:
    """Data as it stands in the page: base64 of gzip of JSON. Nothing in it can be read as HTML.

    Args:
      value: JSON, without NaN and infinities.

    Returns:
      Text; of one value always the same, there is no time in it.
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def _steps(folder: pathlib.Path, max_tokens: int) -> tuple[Iterator[tuple[int, dict[str, Any]]], int]:
    """Rows with their steps, and how many rows are left out."""
    steps = TRACES.steps(folder)
    # Counted first: the rows of a long run are not held all at once.
    sizes = [[len(row["tokens"]) for row in whole_rows(TRACES.path(folder, step))] for step in steps]
    stride = 1
    while sum(map(sum, sizes[::-1][::stride])) > max_tokens and stride < len(sizes):
        stride += 1
    shown = steps[::-1][::stride][::-1]
    left_out = sum(map(len, sizes)) - sum(map(len, sizes[::-1][::stride]))
    return ((step, row) for step in shown for row in whole_rows(TRACES.path(folder, step))), left_out


def _line(row: dict[str, Any]) -> dict[str, Any]:
    entropy = [value for value in row.get("entropy") or () if value is not None]
    return {
        "sample": row["sample"],
        "group": row.get("group", row["prompt_id"]),  # a group has one prompt, a prompt one group
        "reward": row["reward"],
        "use": row.get("use"),
        "tokens": len(row["tokens"]),
        "finished": row["finished"],
        "entropy": round(sum(entropy) / len(entropy), 4) if entropy else None,
        "masked": row.get("masked"),
    }


def _in_full(row: dict[str, Any], pieces: Pieces) -> dict[str, Any]:
    """All that the page shows of a sample. Its text is that of its tokens; segments need no text of their own."""
    segments = [[segment["policy_step"], segment["kv"], segment["num_tokens"]] for segment in row["segments"]]
    newer = {name: row[name] for name in NEWER if row.get(name) is not None}
    return (
        {name: row[name] for name in IN_FULL}
        | newer
        | {
            "segments": segments,
            "pieces": pieces.exceptions(row["tokens"]),
        }
    )
