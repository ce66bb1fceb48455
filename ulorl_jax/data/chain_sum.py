"""The tiny task: a chain of sums modulo 10, and an imperfect teacher that shows how it is done.

Question: n labelled digits, n log-uniform in 2..24. Answer: label, digit and running sum
for each, at times a check `~s`, then `#` and the last sum:

    a6b1c5d8=   ->   a66,b17,c52~2,d80,#0

Log-uniform n gives the long tail of lengths that segment rollouts are for. The teacher
has misconceptions (some table entries are mostly wrong), slips, and checks that are
nearly always right, so it is right about every other time: a policy trained on it has
something left to find out, namely to check, and to trust no wrong entry.
"""

import functools
import pathlib

import numpy as np

from ulorl_jax.data.made_files import SPLITS, write_made

LABELS = "abcdefghijklmnopqrstuvwx"
SHORTEST, LONGEST = 2, len(LABELS)
BASE = 10
# Of the task with choices. There are only 100 questions of two digits: 512 held-out ones take 82 of them and leave 0.1%
# of the training for what is 18% of the evaluation, and in 150 steps a policy unlearns it (seen: 7% right).
SHORTEST_WITH_CHOICES = 4

# The teacher. Its misconceptions are part of the task: the same in every run, whatever its seed.
MISCONCEPTION_SEED = 1234
MISCONCEPTIONS = 20  # of the 100 pairs (running sum, digit)
P_MISCONCEPTION = 0.65  # that such a pair's sum comes out wrong
P_SLIP = 0.03  # that any other sum comes out as a random digit
P_CHECK = 0.25  # that a sum is checked
P_CHECK_RIGHT = 0.995

TRIES = 50  # to draw a question of one length that is not taken
SEPARATORS = ",; "  # after a step; which one makes no difference
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def write_chain_sum(
    directory: str | pathlib.Path,
    *,
    seed: int,
    train: int,
    heldout: int,
    supervised: int,
    max_output_tokens: int,
    varied: bool = False,
    choices: bool = False,
) -> dict[str, pathlib.Path]:
    """Writes `train.jsonl`, `heldout.jsonl` and `supervised.jsonl`; does nothing where they are there already.

    Rows are {"question", "answer", "id"}. The answer of a supervised row is a solution by
    the teacher, right or wrong; else it is the reference, "#" and a digit. No question of
    heldout is in another file, and none is twice in heldout or in train. There are only 100
    questions of two digits, so a large train file has fewer of them than their share.

    Args:
      directory: where to; made where missing.
      seed: of questions and of the teacher's draws, >= 0.
      train, heldout, supervised: rows of each file. Fewer rows are the first of more.
      max_output_tokens: L; supervised answers with their end token are at most as long.
      varied: the teacher writes its last sum as people write a number, see `write_digit`; nothing else changes.
      choices: the teacher ends a step with any of SEPARATORS, all as good; and chains have SHORTEST_WITH_CHOICES digits
        at least.

    Returns:
      The files' paths by name.

    Raises:
      ValueError: the limit is too short for any answer.
    """
    shortest = SHORTEST_WITH_CHOICES if choices else SHORTEST
    least = shortest * len("a66,") + len("#7") + 1
    if max_output_tokens < least:
        raise ValueError(
            f"max_output_tokens must be at least {least}, the shortest answer with its end token; "
            f"got {max_output_tokens}"
        )
    wanted = {
        "seed": seed,
        "train": train,
        "heldout": heldout,
        "supervised": supervised,
        "max_output_tokens": max_output_tokens,
    }
    wanted |= {name: True for name, wanted_so in (("varied", varied), ("choices", choices)) if wanted_so}

    def make() -> dict[str, list[dict[str, str]]]:
        rngs = {split: np.random.default_rng([seed, stream]) for stream, split in enumerate(SPLITS)}
        rows = {"heldout": _problems(rngs["heldout"], heldout, set(), shortest)}
        held_out = {row["question"] for row in rows["heldout"]}
        rows["train"] = _problems(rngs["train"], train, set(held_out), shortest)
        writer = np.random.default_rng([seed, len(SPLITS)]) if varied else None
        chooser = np.random.default_rng([seed, len(SPLITS) + 1]) if choices else None
        rows["supervised"] = _solutions(
            rngs["supervised"], supervised, held_out, shortest, max_output_tokens - 1, writer, chooser
        )
        return rows

    return write_made(directory, "chain_sum", wanted, make)


def draw_digits(rng: np.random.Generator, taken: set[str], shortest: int = SHORTEST) -> list[int]:
    """The digits of a problem whose question is not taken.

    A taken question is drawn again with as many digits, so that lengths keep their
    shares; only where a length seems used up is another one drawn.

    Args:
      rng: of lengths and digits.
      taken: questions not to be drawn.
      shortest: the fewest digits.

    Returns:
      n digits, n = floor(exp(u)) with u uniform in [log shortest, log 25).
    """
    while True:
        count = min(int(np.exp(rng.uniform(np.log(shortest), np.log(LONGEST + 1)))), LONGEST)
        for _ in range(TRIES):
            digits = rng.integers(0, BASE, count).tolist()
            if question_text(digits) not in taken:
                return digits


def question_text(digits: list[int]) -> str:
    """The digits behind their labels, and an equals sign.

    Args:
      digits: at most 24.

    Returns:
      For example "a6b1=".
    """
    return "".join(f"{label}{digit}" for label, digit in zip(LABELS, digits, strict=False)) + "="


def teacher_solution(digits: list[int], rng: np.random.Generator) -> str:
    """The teacher's answer, right about every other time.

    Args:
      digits: at most 24.
      rng: of the teacher's mistakes and checks.

    Returns:
      For example "a66,b17~7,#7"; ASCII, without an end token.
    """
    mistaken = _misconceptions()
    chance = rng.random((len(digits), 4)).tolist()
    stray = rng.integers(0, BASE, (len(digits), 2)).tolist()
    total, steps = 0, []
    for label, digit, (of_error, of_slip, of_check, of_right), (slip, wrong_check) in zip(
        LABELS, digits, chance, stray, strict=False
    ):
        truth = result = (total + digit) % BASE
        if (total, digit) in mistaken and of_error < P_MISCONCEPTION:
            result = mistaken[total, digit]
        elif of_slip < P_SLIP:
            result = slip
        step = f"{label}{digit}{result}"
        if of_check < P_CHECK:
            result = truth if of_right < P_CHECK_RIGHT else wrong_check
            step += f"~{result}"
        steps.append(step)
        total = result
    return ",".join(steps) + f",#{total}"


def write_digit(digit: int, rng: np.random.Generator) -> str:
    """A digit in one of seven writings.

    Args:
      digit: 0..9.
      rng: of the writing.

    Returns:
      For 7: "7", "7.0", "07", "+7", "seven", "7." or a fraction such as "14/2".
    """
    times = int(rng.integers(2, 10))
    writings = (
        f"{digit}",
        f"{digit}.0",
        f"0{digit}",
        f"+{digit}",
        WORDS[digit],
        f"{digit}.",
        f"{digit * times}/{times}",
    )
    return writings[rng.integers(len(writings))]


def write_separators(answer: str, rng: np.random.Generator) -> str:
    """An answer each of whose steps ends with a separator of its own.

    Args:
      answer: the teacher's.
      rng: of the separators, drawn evenly.

    Returns:
      For "a66,b17~7,#7" such as "a66;b17~7 #7".
    """
    first, *steps = answer.split(",")
    drawn = rng.integers(len(SEPARATORS), size=len(steps)).tolist()
    return first + "".join(SEPARATORS[which] + step for which, step in zip(drawn, steps, strict=True))


def _problems(rng: np.random.Generator, size: int, taken: set[str], shortest: int) -> list[dict[str, str]]:
    rows = []
    for _ in range(size):
        digits = draw_digits(rng, taken, shortest)
        question = question_text(digits)
        taken.add(question)
        rows.append({"question": question, "answer": f"#{sum(digits) % BASE}"})
    return rows


def _solutions(
    rng: np.random.Generator,
    size: int,
    held_out: set[str],
    shortest: int,
    longest: int,
    writer: np.random.Generator | None,
    chooser: np.random.Generator | None,
) -> list[dict[str, str]]:
    rows = []
    while len(rows) < size:
        digits = draw_digits(rng, held_out, shortest)
        answer = teacher_solution(digits, rng)
        if writer is not None:
            answer = answer[:-1] + write_digit(int(answer[-1]), writer)
        if chooser is not None:
            answer = write_separators(answer, chooser)
        if len(answer) <= longest:
            rows.append({"question": question_text(digits), "answer": answer})
    return rows


@functools.cache
def _misconceptions() -> dict[tuple[int, int], int]:
    """(running sum, digit) -> the wrong sum, one too many or one too few."""
    rng = np.random.default_rng(MISCONCEPTION_SEED)
    pairs = rng.permutation(BASE * BASE)[:MISCONCEPTIONS].tolist()
    errors = rng.choice([1, -1], MISCONCEPTIONS).tolist()
    return {
        (pair // BASE, pair % BASE): (pair // BASE + pair % BASE + error) % BASE
        for pair, error in zip(pairs, errors, strict=True)
    }
