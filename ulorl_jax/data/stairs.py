"""The smallest task with several right ways: climb to a stair by strides of one or two, at times one back.

Question: two letters that mean nothing, and the stair n, 3..8. Answer: the stair after each
stride, then `#` and the last one:

    kq7=   ->   1,3,2,4,6,7,#7

Any way that ends at n is right. The teacher strides at random and stops once it is there or
beyond, so it is right about two times in three; strides back give a tail of long answers. A
transformer of 23 thousand parameters learns to climb like the teacher in seconds. What is left to
find out is to take one stair, not two, before the last; everything else may stay as it is.
"""

import itertools
import pathlib
import string

import numpy as np

from ulorl_jax.data.made_files import SPLITS, write_made

STAIRS = range(3, 9)  # a stair beyond the last is one digit still
QUESTIONS = len(STAIRS) * len(string.ascii_lowercase) ** 2
STRIDES, CHANCES = (1, 2, -1), (0.45, 0.35, 0.2)
FIRST_CHANCES = (0.5, 0.5, 0.0)  # from the ground nobody steps down
SHORTEST_ANSWER = len("1,3,#3")


def write_stairs(
    directory: str | pathlib.Path, *, seed: int, train: int, heldout: int, supervised: int, max_output_tokens: int
) -> dict[str, pathlib.Path]:
    """Writes `train.jsonl`, `heldout.jsonl` and `supervised.jsonl`; does nothing where they are there already.

    Rows are {"question", "answer", "id"}. The answer of a supervised row is the teacher's,
    right or wrong; else it is the reference, "#" and a digit. No question is twice in heldout and train together, and
    none of heldout is in supervised.

    Args:
      directory: where to; made where missing.
      seed: of the questions' order and of the teacher's strides, >= 0.
      train, heldout, supervised: rows of each file; `QUESTIONS` at most in heldout and train together.
      max_output_tokens: L; supervised answers with their end token are at most as long.

    Returns:
      The files' paths by name.

    Raises:
      ValueError: the limit is too short for any answer, or there are not so many questions.
    """
    if max_output_tokens < SHORTEST_ANSWER + 1:
        raise ValueError(
            f"max_output_tokens must be at least {SHORTEST_ANSWER + 1}, the shortest answer with its end token; "
            f"got {max_output_tokens}"
        )
    if heldout + train > QUESTIONS or heldout == QUESTIONS:
        raise ValueError(f"there are {QUESTIONS} questions; got heldout={heldout} and train={train}: ask for fewer")
    wanted = {
        "seed": seed,
        "train": train,
        "heldout": heldout,
        "supervised": supervised,
        "max_output_tokens": max_output_tokens,
    }

    def make() -> dict[str, list[dict[str, str]]]:
        rngs = {split: np.random.default_rng([seed, stream]) for stream, split in enumerate(SPLITS)}
        letters = string.ascii_lowercase
        questions = [f"{a}{b}{stair}=" for a, b, stair in itertools.product(letters, letters, STAIRS)]
        rngs["heldout"].shuffle(questions)
        rows = {"heldout": _problems(questions[:heldout]), "train": _problems(questions[heldout : heldout + train])}
        rows["supervised"] = []
        while len(rows["supervised"]) < supervised:
            question = questions[rngs["supervised"].integers(heldout, len(questions))]
            answer = teacher_climb(int(question[2]), rngs["supervised"])
            if len(answer) < max_output_tokens:
                rows["supervised"].append({"question": question, "answer": answer})
        return rows

    return write_made(directory, "stairs", wanted, make)


def teacher_climb(stair: int, rng: np.random.Generator) -> str:
    """The teacher's answer.

    Args:
      stair: where to, >= 1.
      rng: of the strides.

    Returns:
      For example "2,1,2,4,5,#5"; ASCII, without an end token.
    """
    at, said = 0, []
    while at < stair:
        at += int(rng.choice(STRIDES, p=CHANCES if at else FIRST_CHANCES))
        said.append(f"{at},")
    return f"{''.join(said)}#{at}"


def _problems(questions: list[str]) -> list[dict[str, str]]:
    return [{"question": question, "answer": f"#{question[2]}"} for question in questions]
