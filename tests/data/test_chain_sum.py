import collections
import json
import re
from fractions import Fraction

import numpy as np
import pytest

from ulorl_jax.data.chain_sum import WORDS, draw_digits, question_text, teacher_solution, write_chain_sum, write_digit
from ulorl_jax.rewards import Judge
from ulorl_jax.types import Attempt
from ulorl_jax.verify.final_answer import FinalAnswer

SIZES = {"train": 400, "heldout": 100, "supervised": 600, "max_output_tokens": 160}
judge = Judge(FinalAnswer(), "#")


def reward(answer, reference):
    return judge([Attempt("", reference, answer)])[0].reward


def read(paths):
    return {name: [json.loads(line) for line in path.read_text().splitlines()] for name, path in paths.items()}


def correct_chain(question):
    """The answer of a solver that never errs, written from the task's description."""
    total, steps = 0, []
    for label, digit in zip(question[:-1:2], question[1:-1:2], strict=True):
        total = (total + int(digit)) % 10
        steps.append(f"{label}{digit}{total}")
    return ",".join(steps) + f",#{total}"


def errors_and_checks(answers):
    """(sum before, digit) -> share of each error modulo 10 in what was written first; and which checks were right."""
    errors, checks = collections.defaultdict(list), []
    for answer in answers:
        total = 0
        for step in answer.split(",")[:-1]:
            digit, first = int(step[1]), int(step[2])
            errors[total, digit].append((first - total - digit) % 10)
            if "~" in step:
                checks.append(int(step[4]) == (total + digit) % 10)
            total = int(step[-1])
        assert answer.endswith(f",#{total}")
    return {pair: np.bincount(values, minlength=10) / len(values) for pair, values in errors.items()}, checks


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return read(write_chain_sum(tmp_path_factory.mktemp("data"), seed=0, **SIZES))


@pytest.fixture(scope="module")
def taught():
    """10,000 problems with the teacher's solutions and whether each is right."""
    rng = np.random.default_rng(5)
    problems = [draw_digits(rng, set()) for _ in range(10_000)]
    answers = [teacher_solution(digits, rng) for digits in problems]
    right = [reward(answer, f"#{sum(digits) % 10}") for digits, answer in zip(problems, answers, strict=True)]
    return problems, answers, np.array(right)


def test_questions_are_labelled_digits_and_references_their_sum(written):
    for row in written["train"] + written["heldout"]:
        digits = row["question"][1:-1:2]
        assert 2 <= len(digits) <= 24 and row["question"] == question_text([int(d) for d in digits])
        assert row["answer"] == f"#{sum(int(d) for d in digits) % 10}"
    assert question_text([6, 1, 5, 8]) == "a6b1c5d8="


def test_the_correct_chain_is_verified_right_and_one_digit_off_wrong(written):
    for row in written["heldout"]:
        chain = correct_chain(row["question"])
        assert reward(chain, row["answer"]) == 1.0
        assert reward(chain[:-1] + str((int(chain[-1]) + 1) % 10), row["answer"]) == 0.0


def test_no_held_out_question_is_trained_on_and_none_is_twice(written):
    questions = {name: [row["question"] for row in rows] for name, rows in written.items()}
    assert {name: len(rows) for name, rows in written.items()} == {"train": 400, "heldout": 100, "supervised": 600}
    assert len(set(questions["train"])) == 400 and len(set(questions["heldout"])) == 100
    assert set(questions["heldout"]).isdisjoint(questions["train"] + questions["supervised"])
    ids = [row["id"] for rows in written.values() for row in rows]
    assert len(set(ids)) == 1100


def test_the_teacher_is_right_about_every_other_time(taught):
    assert 0.525 < taught[2].mean() < 0.555  # TINY's 0.54; standard error 0.005


def test_lengths_are_log_uniform_with_a_long_tail(taught):
    problems, answers, _ = taught
    with_end_token = [len(answer) + 1 for answer in answers]
    assert abs(np.mean(with_end_token) - 42) < 1.5
    assert np.percentile(with_end_token, [50, 80, 99]) == pytest.approx([33, 70, 111], abs=3)
    counts = np.bincount([len(digits) for digits in problems], minlength=26)
    shares = np.log(np.arange(3, 26) / np.arange(2, 25)) / np.log(25 / 2)
    assert counts[:2].sum() == counts[25] == 0
    np.testing.assert_allclose(counts[2:25] / len(problems), shares, atol=0.02)


def test_some_sums_are_mostly_wrong_in_one_way_and_the_others_nearly_always_right(taught):
    errors, _ = errors_and_checks(taught[1])
    mistaken = {pair for pair, share in errors.items() if share[0] < 0.6}
    assert len(errors) == 100 and len(mistaken) == 20
    assert all(0.55 < errors[pair][[1, 9]].max() < 0.75 for pair in mistaken)
    assert all(share[0] > 0.93 for pair, share in errors.items() if pair not in mistaken)


def test_a_quarter_of_the_sums_is_checked_and_checks_are_nearly_always_right(taught):
    _, checks = errors_and_checks(taught[1])
    assert 0.24 < len(checks) / sum(len(digits) for digits in taught[0]) < 0.26
    assert 0.99 < np.mean(checks) < 0.999


def test_the_misconceptions_are_the_same_whatever_the_seed(tmp_path):
    mistaken = []
    for seed in (1, 2):
        rows = read(write_chain_sum(tmp_path, seed=seed, **(SIZES | {"supervised": 4000})))["supervised"]
        errors, _ = errors_and_checks([row["answer"] for row in rows])
        mistaken.append({(pair, int(share.argmax())) for pair, share in errors.items() if share[0] < 0.55})
    assert mistaken[0] == mistaken[1] and len(mistaken[0]) == 20


def test_answers_that_do_not_fit_the_limit_are_left_out(tmp_path):
    rows = read(write_chain_sum(tmp_path, seed=0, **(SIZES | {"max_output_tokens": 41})))["supervised"]
    assert len(rows) == 600 and max(len(row["answer"]) + 1 for row in rows) == 41
    with pytest.raises(ValueError, match="at least 11"):
        write_chain_sum(tmp_path, seed=0, **(SIZES | {"max_output_tokens": 10}))
    with pytest.raises(ValueError, match="at least 19"):  # four digits at least: a66,b17,c70,d81,#1
        write_chain_sum(tmp_path, seed=0, **(SIZES | {"max_output_tokens": 18}), choices=True)
    assert read(write_chain_sum(tmp_path, seed=0, **(SIZES | {"max_output_tokens": 19}), choices=True))


def test_the_files_are_the_seeds_and_a_smaller_file_is_the_start_of_a_larger_one(tmp_path, written):
    again = read(write_chain_sum(tmp_path / "again", seed=0, **SIZES))
    other = read(write_chain_sum(tmp_path / "other", seed=1, **SIZES))
    fewer = read(write_chain_sum(tmp_path / "fewer", seed=0, **(SIZES | {"train": 50, "supervised": 60})))
    assert again == written
    assert all(other[name] != written[name] for name in written)
    assert fewer["train"] == written["train"][:50] and fewer["supervised"] == written["supervised"][:60]


def test_files_of_the_same_parameters_are_kept_and_those_of_others_replaced(tmp_path):
    paths = write_chain_sum(tmp_path, seed=0, **SIZES)
    paths["train"].write_text("mine\n")
    assert write_chain_sum(tmp_path, seed=0, **SIZES) == paths
    assert paths["train"].read_text() == "mine\n"
    paths["heldout"].unlink()
    write_chain_sum(tmp_path, seed=0, **SIZES)
    assert len(read(paths)["train"]) == 400 and len(read(paths)["heldout"]) == 100
    write_chain_sum(tmp_path, seed=0, **(SIZES | {"train": 10}))
    assert len(read(paths)["train"]) == 10


def test_varied_answers_are_the_plain_ones_but_for_the_writing_of_the_last_sum(tmp_path, written):
    varied = read(write_chain_sum(tmp_path, seed=0, **SIZES, varied=True))
    assert varied["train"] == written["train"] and varied["heldout"] == written["heldout"]
    endings = set()
    for plain, other in zip(written["supervised"][:300], varied["supervised"][:300], strict=True):
        chain, _, digit = plain["answer"].rpartition("#")
        assert other["answer"].startswith(chain + "#")
        endings.add((digit, other["answer"].rpartition("#")[2]))
    seven = {ending for digit, ending in endings if digit == "7"}
    assert {"7", "7.0", "07", "+7", "seven", "7."} <= seven and any("/" in ending for ending in seven)


def test_answers_with_choices_have_separators_drawn_evenly_and_no_short_questions(tmp_path):
    chosen = read(write_chain_sum(tmp_path, seed=0, **SIZES, choices=True))
    for row in chosen["heldout"] + chosen["train"]:
        assert 4 <= len(row["question"]) // 2 <= 24 and reward(correct_chain(row["question"]), row["answer"]) == 1
    drawn = collections.Counter()
    for row in chosen["supervised"]:
        assert re.fullmatch(r"([a-x]\d\d(~\d)?[,; ]){4,24}#\d", row["answer"])
        assert [step[:2] for step in re.split("[,; ]", row["answer"])[:-1]] == re.findall("..", row["question"])
        drawn.update(re.findall("[,; ]", row["answer"]))
    steps = sum(drawn.values())
    assert set(drawn) == set(",; ") and steps > 1000
    assert max(abs(count - steps / 3) for count in drawn.values()) < 4 * (steps * 2 / 9) ** 0.5  # four deviations


def test_with_choices_training_and_evaluation_ask_chains_of_the_same_lengths(tmp_path):
    paths = write_chain_sum(
        tmp_path, seed=0, train=8192, heldout=512, supervised=1, max_output_tokens=160, choices=True
    )
    lengths = {name: np.array([len(row["question"]) // 2 for row in rows]) for name, rows in read(paths).items()}
    for at_most in (4, 6, 10, 16):
        shares = [np.mean(lengths[name] <= at_most) for name in ("train", "heldout")]
        assert abs(shares[0] - shares[1]) < 4 * (0.25 / 512) ** 0.5, at_most


def test_every_writing_of_a_digit_has_its_value():
    rng = np.random.default_rng(0)
    words = list(WORDS)
    for digit in range(10):
        for text in {write_digit(digit, rng) for _ in range(200)}:
            assert (words.index(text) if text in words else Fraction(text.rstrip("."))) == digit
