"""Pairs of answers written by hand about real problems: the exam of whatever compares answers.

The problems and reference answers belong to their data sets and are not copied here. The JSON lines
say where each is, the first digits of its reference's hash, what somebody answered, and whether that is the same.
"""

import dataclasses
import hashlib
import json
import os
import pathlib

from ulorl_jax.io.rows import read_rows, text_field

FILE, SECOND = (pathlib.Path(__file__).with_name(f"hand_pairs_{count}.jsonl") for count in (728, 300))

# source: file within the data folder, field of the question, field of the reference
SOURCES = {
    "math500": ("math500/test.jsonl", "problem", "answer"),
    "deepscaler": ("deepscaler/train_10240.parquet", "extra_info.question", "reward_model.ground_truth"),
    "gsm8k": ("gsm8k/test.jsonl", "question", "answer"),
}


@dataclasses.dataclass(frozen=True)
class HandPair:
    """An answer somebody gave to a real problem, marked as a teacher would.

    Attributes:
      question: the problem's text.
      reference: the true answer, as the data writes it; of GSM8K what follows "####".
      predicted: the answer given, written by hand.
      same: whether the two are the same answer.
      category: the kind of answer or of mistake.
      source: a key of `SOURCES`.
      row: of the source's file, from 0.
    """

    question: str
    reference: str
    predicted: str
    same: bool
    category: str
    source: str
    row: int


def check_of(reference: str) -> str:
    """What a line of the file keeps of a reference: 8 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(reference.encode()).hexdigest()[:8]


def read_hand_pairs(data_dir: str | os.PathLike[str], file: str | os.PathLike[str] = FILE) -> list[HandPair]:
    """The pairs with their questions and references, in the order of the file.

    Args:
      data_dir: the folder of the data sets, with the files of `SOURCES`.
      file: JSONL of source, row, check, predicted, same and category.

    Returns:
      One pair per line of `file`.

    Raises:
      ValueError: a data file is missing, or does not hold the row or the reference the pairs were written for.
    """
    lines = [json.loads(line) for line in pathlib.Path(file).read_text(encoding="utf-8").splitlines()]
    problems = {
        (source, row): problem
        for source in SOURCES
        for row, problem in _problems(data_dir, source, {line["row"] for line in lines if line["source"] == source})
    }
    pairs = []
    for line in lines:
        source, row = line["source"], line["row"]
        if (source, row) not in problems:
            raise ValueError(f"{source} row {row}: no such row under {data_dir}; a hand-written pair is about it")
        question, reference = problems[source, row]
        if check_of(reference) != line["check"]:
            raise ValueError(
                f"{source} row {row}: its reference {reference!r} has check {check_of(reference)}, "
                f"want {line['check']}: the file is not the one the pairs were written for"
            )
        pairs.append(HandPair(question, reference, line["predicted"], line["same"], line["category"], source, row))
    return pairs


def _problems(data_dir: str | os.PathLike[str], source: str, wanted: set[int]) -> list[tuple[int, tuple[str, str]]]:
    """Row number, question and reference of the wanted rows of a source."""
    name, question, reference = SOURCES[source]
    found = []
    if wanted:
        for row, (where, fields) in enumerate(read_rows(pathlib.Path(data_dir) / name)):
            if row in wanted:
                answer = text_field(fields, reference, where)
                if source == "gsm8k":
                    answer = answer.rpartition("####")[2].strip()
                found.append((row, (text_field(fields, question, where), answer)))
    return found
