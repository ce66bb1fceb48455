"""How right a verifier is: scores by category, calibration, and where it differs from the rules.

"Positive" is the verdict `SAME`. An `UNSURE` is never right: it counts against the accuracy, and against the recall
of pairs that are the same; the share of them is reported beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE

OUTCOMES = (SAME, DIFFERENT, UNSURE)
BINS = 10  # of the calibration, of equal width


def tabulate(
    categories: Sequence[str], truths: Sequence[bool], outcomes: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, dict[str, float]]]:
    """Scores of several verifiers on the same pairs.

    Args:
      categories: of each pair.
      truths: whether the answers of each pair are the same.
      outcomes: of each verifier, by its name, what it said of each pair.

    Returns:
      By category, "all" first, by verifier: `score`'s dict.
    """
    names, truth = np.array(categories), np.array(truths, bool)
    said = {verifier: np.array(values) for verifier, values in outcomes.items()}
    rows = {"all": np.ones(len(names), bool)} | {name: names == name for name in sorted(set(categories))}
    return {
        row: {verifier: score(truth[members], values[members]) for verifier, values in said.items()}
        for row, members in rows.items()
    }


def score(truths: np.ndarray, outcomes: np.ndarray) -> dict[str, float]:
    """One verifier on some pairs.

    Args:
      truths: `[n]` bool, whether the answers are the same.
      outcomes: `[n]` str.

    Returns:
      `pairs`; `accuracy`; `precision` and `recall` of `SAME` (None where it was never said, or is never true);
      `unsure`, a share; `false_positives`, the share of pairs that differ and were called the same, of all pairs.
    """
    same, right = outcomes == SAME, np.where(truths, outcomes == SAME, outcomes == DIFFERENT)
    return {
        "pairs": len(truths),
        "accuracy": _share(right),
        "precision": _share(truths[same]),
        "recall": _share(same[truths]),
        "unsure": _share(outcomes == UNSURE),
        "false_positives": _share(same & ~truths),
    }


def confusion(truths: Sequence[bool], rules: Sequence[str], verifier: Sequence[str]) -> dict[str, dict[str, int]]:
    """What the verifier said of the pairs of which the rules said this or that.

    Args:
      truths: whether the answers of each pair are the same.
      rules, verifier: the two's outcomes.

    Returns:
      Of each row "TRUTH, rules: OUTCOME", how often the verifier said each outcome; rows without a pair are left out.
    """
    table: dict[str, dict[str, int]] = {}
    for truth in (SAME, DIFFERENT):
        for ruled in OUTCOMES:
            row = [v for t, r, v in zip(truths, rules, verifier, strict=True) if (t, r) == (truth == SAME, ruled)]
            if row:
                table[f"{truth}, rules: {ruled}"] = {outcome: row.count(outcome) for outcome in OUTCOMES}
    return table


def calibration(scores: Sequence[float | None], truths: Sequence[bool]) -> dict[str, Any]:
    """Whether the verifier is right as often as it says.

    Args:
      scores: P(same) of each pair, None where there is none.
      truths: whether the answers of each pair are the same.

    Returns:
      `bins`: of each tenth of the scores that holds any its `pairs`, mean `score` and share that is the `same`;
      `ece`: the expected calibration error, the mean over pairs of |mean score - share| of their bin;
      `brier`: the mean of (score - truth)^2. Both None without scores.
    """
    known = [(score, truth) for score, truth in zip(scores, truths, strict=True) if score is not None]
    if not known:
        return {"bins": [], "ece": None, "brier": None}
    score, truth = np.array([s for s, _ in known]), np.array([t for _, t in known], float)
    which = np.minimum((score * BINS).astype(int), BINS - 1)
    bins = []
    for index in range(BINS):
        members = which == index
        if members.any():
            row = {"pairs": int(members.sum()), "score": float(score[members].mean())}
            bins.append(row | {"same": float(truth[members].mean())})
    ece = sum(row["pairs"] * abs(row["score"] - row["same"]) for row in bins) / len(known)
    return {"bins": bins, "ece": float(ece), "brier": float(np.mean((score - truth) ** 2))}


def markdown(table: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """`tabulate`'s result for people: accuracy of each verifier, and the false positives of each, in percent."""
    verifiers = list(next(iter(table.values())))
    lines = ["| category | pairs | " + " | ".join(verifiers) + " |", "|---" * (len(verifiers) + 2) + "|"]
    for category, scores in table.items():
        cells = [f"{100 * s['accuracy']:.1f} ({100 * s['false_positives']:.1f})" for s in scores.values()]
        lines.append(f"| {category} | {next(iter(scores.values()))['pairs']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _share(values: np.ndarray) -> Any:
    return float(np.mean(values)) if len(values) else None  # not NaN: JSON has none
