import collections
import dataclasses
import hashlib
import itertools
import json
import os
import random
import re
import subprocess
import sys
import zlib
from fractions import Fraction

import numpy as np
import pytest

from tests.data.answer_reading import READERS, agree
from ulorl_jax.data.answer_pairs import CATEGORIES, condensed, generate_pairs, kinds, to_rows
from ulorl_jax.data.answer_pairs.word_lists import NOTHING, SOMETHING, TINY

EACH = {"train": 500, "test": 800}  # pairs per category
NUMBERS = ("integers", "fractions", "decimals", "number_words", "scientific")
NAMES = tuple(CATEGORIES)


@pytest.fixture(scope="module")
def drawn():
    return {split: generate_pairs(each * len(CATEGORIES), seed=11, split=split) for split, each in EACH.items()}


@pytest.fixture(scope="module")
def by_category(drawn):
    return {
        split: {name: [pair for pair in pairs if pair.category == name] for name in CATEGORIES}
        for split, pairs in drawn.items()
    }


def read(category, text):
    found = READERS[category](text)
    return frozenset(found) if isinstance(found, set) else found


def test_there_are_eighteen_categories_evenly_drawn_and_each_is_half_of_either_verdict(by_category):
    assert len(CATEGORIES) == 18
    for split, each in EACH.items():
        for name, pairs in by_category[split].items():
            assert len(pairs) == each, name
            assert sum(pair.same for pair in pairs) == each // 2, name


@pytest.mark.parametrize("split", EACH)
@pytest.mark.parametrize("name", NAMES)
def test_another_reader_finds_the_same_verdicts(by_category, name, split):
    wrong = [
        pair for pair in by_category[split][name][:300] if agree(name, pair.reference, pair.predicted) != pair.same
    ]
    assert not wrong, wrong[:3]


@pytest.mark.parametrize("name", NAMES)
def test_every_justification_is_true_and_leads_to_the_verdict(by_category, name):
    for pair in by_category["train"][name] + by_category["test"][name][:300]:
        reference, predicted = pair.reference, pair.predicted
        both, equal, apart = (pair.why.partition(link) for link in ("both are ", " = ", " is not "))
        if both[1]:
            assert pair.same and agree(name, both[2], reference) and agree(name, both[2], predicted), pair
        elif apart[1] and (": " in apart[0] or name == "intervals"):  # a part of what is too long
            assert not pair.same, pair
        elif apart[1]:
            assert not pair.same and agree(name, apart[0], reference) and agree(name, apart[2], predicted), pair
            assert not agree(name, apart[0], apart[2]), pair
        elif equal[1]:
            assert pair.same and agree(name, equal[0], reference) and agree(name, equal[2], predicted), pair
        elif pair.why == "order matters":
            assert not pair.same and sorted(read(name, reference)) == sorted(read(name, predicted)), pair
        elif pair.why.startswith("only one has "):
            assert not pair.same and Fraction(pair.why[13:]) in read(name, reference) ^ read(name, predicted), pair
        else:
            assert pair.why == ("the values agree" if pair.same else "the values are not equal"), pair


def test_letters_side_by_side_differ_where_the_values_do_and_nowhere_else():
    in_words = generate_pairs(3600, seed=11, split="train")
    pairs = generate_pairs(3600, seed=11, split="train", why="letters")
    assert [dataclasses.replace(pair, why="") for pair in pairs] == [
        dataclasses.replace(pair, why="") for pair in in_words
    ]
    for pair in pairs:
        *before, last = zip(pair.why[::3], pair.why[1::3], pair.why[2::3], strict=True)
        assert all(a == b and mark == "=" for a, b, mark in before), pair
        assert last[2] == ("=" if pair.same else "!") and (last[0] == last[1]) == pair.same, pair
        assert len(pair.why) <= 60, pair


@pytest.mark.parametrize(
    ("category", "value", "text"),
    [
        ("fractions", Fraction(18, 8), "9/4"),
        ("percent", Fraction(1, 3), "100/3"),
        ("scientific", Fraction(-61, 10**6), "-6.1e-5"),
        ("sets", (7, -2), "-2,7"),
        ("tuples", (7, -2), "7,-2"),
        ("surds", (Fraction(-8), Fraction(5, 2), 3), "-8+5r3/2"),
        ("degrees", Fraction(-105), "-105"),
        ("currency", ("pound", 4750), "47.50p"),
        ("dates", 815, "13:35"),
    ],
)
def test_what_is_compared_letter_by_letter_is_as_short_as_can_be(category, value, text):
    short = CATEGORIES[category].short
    assert short and short(value) == text


@pytest.mark.parametrize(
    ("category", "text", "letters"),
    [
        ("fractions", "-3\\dfrac{1}{2}", "-3 1/2"),
        ("fractions", "3 : 14", "3/14"),
        ("percent", "33.5\\,\\%", "33.5"),
        ("scientific", "-6.1 \\times 10^{-5}", "-6.1e-5"),
        ("scientific", "12,500,000", "12500000"),
        ("algebra", "3*x^{2} - 12*x*y", "3x2-12xy"),
        ("degrees", "45.0^\\circ", "45.0"),
        ("degrees", "\\frac{5\\pi}{6}", "5p/6"),
        ("number_words", "Eight hundred and thirty-two", "8h302"),
        ("number_words", "minus two and a quarter", "-21/4"),
    ],
)
def test_letters_of_a_written_value_leave_out_what_says_nothing(category, text, letters):
    condense = CATEGORIES[category].condense
    assert condense and condense(text) == letters


@pytest.mark.parametrize("seed", range(3))
def test_the_prediction_is_rewritten_as_the_reference_is_written(seed):
    kind, rng = CATEGORIES["fractions"], random.Random(seed)
    for _ in range(200):
        drawing = kinds.draw(kind, rng, test=False)
        for reference, predicted in itertools.product(range(2), range(2)):
            found = drawing.compared(reference, predicted)[1::3]
            roundabout = drawing.reference.form in kind.roundabout
            plain = kind.short(drawing.values[reference]) if roundabout else drawing.reference.cores[reference]
            assert (plain if roundabout else condensed.number(plain)).startswith(found.removesuffix("_")), drawing


def test_most_justifications_say_which_values_were_found(drawn):
    vague = [pair for pair in drawn["test"] if pair.why.startswith("the values")]
    assert len(vague) < 0.01 * len(drawn["test"])


def test_texts_are_short_and_no_justification_has_the_words_of_the_verdict(drawn):
    for pair in drawn["train"] + drawn["test"]:
        assert 0 < len(pair.reference) <= 40 and 0 < len(pair.predicted) <= 40 and 0 < len(pair.why) <= 40, pair
        assert 0 < len(pair.question.encode()) <= 60, pair
        assert not re.search(r"same|different", pair.why, re.IGNORECASE), pair


def test_at_most_one_pair_of_twenty_agrees_letter_for_letter_and_some_do(drawn):
    for pairs in drawn.values():
        identical = [pair for pair in pairs if pair.reference == pair.predicted]
        assert all(pair.same for pair in identical)
        assert 0.01 < len(identical) / len(pairs) <= 0.05


def test_no_value_of_the_test_split_is_in_the_train_split(by_category):
    tiny = {word.casefold() for group in TINY for word in group} | {NOTHING, *SOMETHING}
    seen = {}
    for split in EACH:
        values = collections.defaultdict(set)
        for name in set(NAMES) - {"options", "digits"}:  # of these, combinations are divided
            for pair in by_category[split][name][:300]:
                for text in (pair.reference, pair.predicted):
                    values["numbers" if name in NUMBERS else name].add(read(name, text))
        seen[split] = values
    for name in seen["train"]:
        shared = seen["train"][name] & seen["test"][name]
        if name == "text":
            shared -= tiny
        if name == "percent":  # a number alone has two readings
            shared = {readings for readings in shared if len(readings) == 1}
        if name in ("units", "currency"):  # and here any unit
            shared = {value for value in shared if value[0]}
        if name == "dates":  # a time without am or pm is of either half of the day
            shared = {value for value in shared if not isinstance(value, tuple)}
        assert not shared, (name, list(shared)[:5])


@pytest.mark.parametrize("name", NAMES)
def test_every_test_pair_has_a_side_that_no_phrasing_of_the_train_split_writes(name):
    kind, rng = CATEGORIES[name], random.Random(5)
    assert len(kind.train) >= 4 and len(kind.held_out) >= 2 and not set(kind.train) & set(kind.held_out)
    for _ in range(40):
        drawing = kinds.draw(kind, rng, test=True)
        trained = {text for value in drawing.values for _ in range(20) for text in writings(kind, value, rng)}
        assert any(not trained & set(side.texts) for side in (drawing.reference, drawing.predicted)), drawing


def writings(kind, value, rng):
    for phrasing in kind.train:
        before, _, rest = phrasing.partition("<")
        form, _, after = rest.partition(">")
        core = kind.forms[form](value, rng)
        if core is not None:
            yield before + core + after


def test_held_out_phrasings_use_no_sign_or_command_that_the_train_split_never_shows(drawn):
    def vocabulary(texts):
        return {found for text in texts for found in re.findall(r"\\[a-z]+|.", text.casefold())}

    rng = random.Random(5)
    trained = (text for kind in CATEGORIES.values() for _ in range(300) for text in writings(kind, kind.draw(rng), rng))
    tested = (text for pair in drawn["test"] for text in (pair.reference, pair.predicted))
    assert vocabulary(tested) <= vocabulary(trained)


def test_fewer_pairs_are_the_first_of_more_and_seeds_and_splits_differ():
    more = generate_pairs(100, seed=3, split="train")
    assert generate_pairs(41, seed=3, split="train") == more[:41]
    assert generate_pairs(0, seed=3, split="train") == []
    assert generate_pairs(100, seed=4, split="train") != more
    assert generate_pairs(100, seed=3, split="test") != more


def test_another_process_with_another_hash_seed_draws_the_same_pairs():
    program = (
        "import hashlib; from ulorl_jax.data.answer_pairs import generate_pairs; "
        "print(hashlib.sha256(repr(generate_pairs(360, seed=1, split='test')).encode()).hexdigest())"
    )
    here = hashlib.sha256(repr(generate_pairs(360, seed=1, split="test")).encode()).hexdigest()
    environment = os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == here


def test_rows_come_back_from_json_as_they_were():
    pairs = generate_pairs(50, seed=0, split="train")
    rows = [json.loads(json.dumps(row, ensure_ascii=False)) for row in to_rows(pairs)]
    assert [type(pairs[0])(**row) for row in rows] == pairs
    assert list(rows[0]) == ["question", "reference", "predicted", "same", "category", "why"]


@pytest.mark.parametrize("arguments", [(-1, 0, "train"), (1, -1, "train"), (1, 0, "valid")])
def test_an_argument_that_means_nothing_is_an_error(arguments):
    count, seed, split = arguments
    with pytest.raises(ValueError, match="got"):
        generate_pairs(count, seed=seed, split=split)


def test_a_chain_of_sums_asks_for_its_reference(by_category):
    asked = [pair for pair in by_category["test"]["digits"] if re.fullmatch(r"([a-x]\d)+=", pair.question)]
    assert len(asked) > 200
    for pair in asked:
        assert sum(map(int, re.findall(r"\d", pair.question))) % 10 == read("digits", pair.reference)


def amount(text):
    return re.search(r"[\d.,]+", text)[0]


SLIPS = {
    "rounding": ("fractions", lambda a, b, v, w: 0 < abs(v - w) < Fraction(1, 1000)),
    "turned over": ("fractions", lambda a, b, v, w: v * w == 1),
    "another sign": ("integers", lambda a, b, v, w: v == -w),
    "digits swapped": ("integers", lambda a, b, v, w: v != w and sorted(str(v)) == sorted(str(w))),
    "a wrong division": ("digits", lambda a, b, v, w: (v.denominator > 1) != (w.denominator > 1)),
    "the point moved": ("decimals", lambda a, b, v, w: v / w in (10, Fraction(1, 10))),
    "fifteen and fifty": ("number_words", lambda a, b, v, w: {v % 100, w % 100} == {15, 50}),
    "another power of ten": ("scientific", lambda a, b, v, w: v / w in (10, Fraction(1, 10))),
    "another unit": ("units", lambda a, b, v, w: amount(a) == amount(b)),
    "another dimension": ("units", lambda a, b, v, w: v[0] and w[0] and v[0] != w[0]),
    "another bracket": ("intervals", lambda a, b, v, w: {s[::2] for s in v} == {s[::2] for s in w}),
    "one element less": ("sets", lambda a, b, v, w: v < w or w < v),
    "another order": ("tuples", lambda a, b, v, w: sorted(v) == sorted(w)),
    "a root and its rounding": ("surds", lambda a, b, v, w: 0 < abs(v - w) < 0.001),
    "other letters": ("algebra", lambda a, b, v, w: not set("xy") & set(a) and set("xy") & set(b)),
    "the angle left to a right one": ("degrees", lambda a, b, v, w: v + w == 90),
    "another currency": ("currency", lambda a, b, v, w: v[1] == w[1]),
    "morning and evening": ("dates", lambda a, b, v, w: hasattr(v, "hour") and abs(v.hour - w.hour) == 12),
    "day and month swapped": ("dates", lambda a, b, v, w: hasattr(v, "day") and (v.day, v.month) == (w.month, w.day)),
    "one letter": ("text", lambda a, b, v, w: len(v) == len(w) and sum(x != y for x, y in zip(v, w, strict=True)) == 1),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_wrong_answers_are_near_misses(by_category, slip):
    name, is_slip = SLIPS[slip]
    wrong = [pair for split in EACH for pair in by_category[split][name] if not pair.same]
    values = [(p.reference, p.predicted, read(name, p.reference), read(name, p.predicted)) for p in wrong]
    assert any(is_slip(*of_pair) for of_pair in values)


def test_sets_in_another_order_are_the_same(by_category):
    numbers = [
        [re.findall(r"\d+", text) for text in (p.reference, p.predicted)]
        for p in by_category["train"]["sets"]
        if p.same
    ]
    assert sum(a != b and sorted(a) == sorted(b) for a, b in numbers) > len(numbers) / 4


FEATURES = 384


def shape(text):
    return re.sub(r"[a-z]+", "a", re.sub(r"\d+", "0", text))


def grams(text):
    return [f"^{text}$"[place : place + size] for size in (1, 2, 3) for place in range(len(text) + 3 - size)]


SHORTCUTS = {
    "phrasings": lambda p: [
        "r" + shape(p.reference),
        "p" + shape(p.predicted),
        shape(p.reference) + "~" + shape(p.predicted),
    ],
    "the reference": lambda p: grams(p.reference),
    "the prediction": lambda p: grams(p.predicted),
    "the question": lambda p: grams(p.question),
    "lengths": lambda p: [],
}


def accuracy(pairs, seen):
    """Of a linear classifier fitted to one half and tested on the other, both ways."""
    inputs = np.zeros((len(pairs), FEATURES + 6))
    for row, pair in zip(inputs, pairs, strict=True):
        row[[zlib.crc32(token.encode()) % FEATURES for token in seen(pair)]] = 1
        first, second = len(pair.reference), len(pair.predicted)
        row[FEATURES:] = 1, first / 20, second / 20, abs(first - second) / 10, first == second, abs(first - second) < 2
    if seen is not SHORTCUTS["lengths"]:
        inputs[:, FEATURES + 1 :] = 0
    verdicts = np.array([1.0 if pair.same else -1.0 for pair in pairs])
    right = 0
    for half in (0, 1):
        fitted, tested = np.arange(half, len(pairs), 2), np.arange(1 - half, len(pairs), 2)
        gram = inputs[fitted].T @ inputs[fitted] + 5 * np.eye(inputs.shape[1])
        weights = np.linalg.solve(gram, inputs[fitted].T @ verdicts[fitted])
        right += np.sum((inputs[tested] @ weights > 0) == (verdicts[tested] > 0))
    return right / len(pairs)


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_nobody_learns_the_verdict_from_one_side_or_from_how_it_is_written(by_category, shortcut):
    reached = {name: accuracy(pairs, SHORTCUTS[shortcut]) for name, pairs in by_category["test"].items()}
    assert max(reached.values()) < 0.6, reached


def test_the_classifier_would_find_a_shortcut(by_category):
    pairs = by_category["test"]["integers"]
    longer = [pair if pair.same else dataclasses.replace(pair, predicted=pair.predicted + "0?0?") for pair in pairs]
    assert accuracy(longer, SHORTCUTS["the prediction"]) > 0.95
    assert accuracy(longer, SHORTCUTS["phrasings"]) > 0.7
    assert accuracy(longer, SHORTCUTS["lengths"]) > 0.6
