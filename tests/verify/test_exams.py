"""The rules against pairs that others wrote: what is right, what is left open, and no false positive.

`python -m pytest tests/verify/test_exams.py -s` prints the tables.
"""

import collections
import json

from tests.verify.hand_pairs import SECOND, read_hand_pairs
from ulorl_jax.data.answer_pairs import generate_pairs
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE
from ulorl_jax.verify.rules import compare


def marks(title: str, rows) -> collections.Counter:
    """How (reference, predicted, same, category) rows come out; prints counts, and every row that is not right."""
    counts = collections.Counter()
    print(f"\n{title}")
    for reference, predicted, same, category in rows:
        found = compare(reference, predicted)
        wrong = "false positive" if found.outcome == SAME else "false negative"
        right = found.outcome == (SAME if same else DIFFERENT)
        mark = "right" if right else "unsure" if found.outcome == UNSURE else wrong
        counts[mark] += 1
        if not right:
            truth = SAME if same else DIFFERENT
            print(f"  {mark}: {category}: {reference!r} and {predicted!r}, {truth}: {found.reason}")
    print(f"  {dict(counts)}")
    return counts


def test_all_63_pairs_are_right(data_dir):
    rows = [json.loads(line) for line in (data_dir / "answer_pairs_63.jsonl").read_text().splitlines()]
    counts = marks("63 pairs", [(r["reference"], r["predicted"], r["same"], r["category"]) for r in rows])
    assert counts == {"right": 63}


def test_of_hand_written_pairs_99_percent_are_right_and_none_is_a_false_positive(data_dir):
    pairs = read_hand_pairs(data_dir)
    counts = marks("hand-written pairs", [(p.reference, p.predicted, p.same, p.category) for p in pairs])
    assert counts["false positive"] == 0
    assert counts["right"] >= 0.99 * len(pairs)


def test_of_the_second_set_of_hand_written_pairs_97_percent_are_right_and_none_is_wrong(data_dir):
    pairs = read_hand_pairs(data_dir, SECOND)
    counts = marks("hand-written pairs, second set", [(p.reference, p.predicted, p.same, p.category) for p in pairs])
    assert counts["false positive"] == counts["false negative"] == 0
    assert counts["right"] >= 0.97 * len(pairs)


def test_of_generated_pairs_99_percent_are_right_and_none_is_a_false_positive():
    pairs = generate_pairs(1800, seed=0, split="test")
    counts = marks("generated pairs", [(p.reference, p.predicted, p.same, p.category) for p in pairs])
    assert counts["false positive"] == 0
    assert counts["right"] >= 0.99 * len(pairs)
