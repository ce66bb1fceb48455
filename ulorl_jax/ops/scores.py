"""Scores of an evaluation: avg@k, pass@k, maj@k, each per problem, and how sure their mean is.

Problems may have different numbers of outputs (those that no verifier could judge are
left out before), so the input is one array per problem. A score of the whole set is
the mean over its problems, every problem counting the same.
"""

import math
from collections.abc import Hashable, Sequence

import numpy as np

Rewards = Sequence[Sequence[float] | np.ndarray]


def avg_at_k(rewards: Rewards) -> np.ndarray:
    """The share of right outputs: what one output is worth on average.

    Args:
      rewards: per problem, 1 or 0 for each of its outputs, at least one.

    Returns:
      `[P]` f64, one score per problem.

    Raises:
      ValueError: a problem without outputs, or a reward other than 0 and 1.

    Example:
      >>> avg_at_k([[1, 0, 0, 0], [1, 1]]).tolist()
      [0.25, 1.0]
    """
    return np.array([np.mean(row) for row in _rows(rewards)], float)


def pass_at_k(rewards: Rewards, k: int) -> np.ndarray:
    """The chance that at least one of k outputs is right, without bias from the n that were drawn.

        pass@k = 1 - C(n - c, k) / C(n, k),   n outputs of the problem, c of them right

    Args:
      rewards: per problem, 1 or 0 for each of its outputs.
      k: outputs that may be tried, 1 <= k <= n of every problem.

    Returns:
      `[P]` f64, one score per problem.

    Raises:
      ValueError: a problem with fewer than k outputs, or a reward other than 0 and 1.

    Example:
      >>> pass_at_k([[1, 0, 0, 0], [0, 0]], k=2).tolist()
      [0.5, 0.0]

    Reference: Chen et al., 2021 (arXiv 2107.03374), equation (1).
    """
    scores = []
    for row in _rows(rewards, k):
        n, wrong = len(row), int(np.sum(row == 0))
        # C(n - c, k) / C(n, k) as a product: the binomials themselves would overflow. 0 where k > n - c.
        scores.append(1.0 - np.prod(1.0 - k / np.arange(wrong + 1, n + 1)))
    return np.array(scores, float)


def maj_at_k(answers: Sequence[Sequence[Hashable | None]], rewards: Rewards, k: int | None = None) -> np.ndarray:
    """The chance that the most frequent answer of k outputs is right.

    Equal answers are one class. An output without an answer (None) is one of the k and
    never votes; where nobody votes, the score is 0. Among classes of equally many votes
    one is drawn at random, and the score is the expected value of that draw. With
    k < n it is also the expected value over the k outputs, drawn from the n without
    replacement, counted out exactly and not sampled (n up to about a thousand).

    Args:
      answers: per problem, the answer of each output in a normal form, or None.
      rewards: per problem, 1 or 0 for each output. A class that was judged both ways is
        worth the mean of its rewards.
      k: outputs that vote; None takes all of each problem, however many there are.

    Returns:
      `[P]` f64, one score per problem.

    Raises:
      ValueError: a problem with fewer than k outputs, not one answer per reward, or a
        reward other than 0 and 1.

    Example:
      Two votes for the right 7, one for 8, one output without an answer; then a tie of three.

      >>> maj_at_k([["7", "8", "7", None], ["1", "2", "3"]], [[1, 0, 1, 0], [0, 1, 0]]).round(3).tolist()
      [1.0, 0.333]

    Reference: Wang et al., 2022 (arXiv 2203.11171), self-consistency.
    """
    scores = []
    for index, (row, own) in enumerate(zip(_rows(rewards, k), answers, strict=True)):
        if len(own) != len(row):
            raise ValueError(f"problem {index} has {len(own)} answers and {len(row)} rewards; want one of each")
        classes: dict[Hashable, list[float]] = {}
        for answer, reward in zip(own, row.tolist(), strict=True):
            if answer is not None:
                classes.setdefault(answer, []).append(reward)
        votes, worth = [len(held) for held in classes.values()], [float(np.mean(held)) for held in classes.values()]
        if k in (None, len(row)):  # all vote: nothing to count out
            scores.append(np.mean([value for held, value in zip(votes, worth, strict=True) if held == max(votes)] or 0))
        else:
            scores.append(_majority(votes, worth, len(row), k))
    return np.array(scores, float)


def bootstrap_interval(
    scores: Sequence[float] | np.ndarray, *, draws: int, seed: int, level: float = 0.95
) -> tuple[float, float]:
    """A percentile bootstrap interval of the mean over problems.

    Problems are drawn again with replacement; the outputs within a problem are not:
    its score stands as it was averaged. So the interval speaks of other problems of
    this kind, and of the luck of the draw within each only as far as it is in the scores.

    Args:
      scores: `[P]`, one per problem.
      draws: how often the set is drawn again, >= 1; a thousand give about two digits.
      seed: of the draws, so that the interval can be computed again.
      level: share of the draws inside.

    Returns:
      Its two ends.

    Raises:
      ValueError: no scores, no draws, or a level outside (0, 1).

    Example:
      >>> low, high = bootstrap_interval([0.0, 1.0] * 50, draws=1000, seed=0)
      >>> 0.38 < low < 0.43 and 0.57 < high < 0.62
      True
    """
    scores = np.asarray(scores, float)
    if not len(scores) or draws < 1 or not 0 < level < 1:
        raise ValueError(
            f"a bootstrap wants at least one score, one draw and a level in (0, 1); got {len(scores)} scores, "
            f"{draws} draws, level {level}"
        )
    rng = np.random.default_rng(seed)
    means = [scores[rng.integers(0, len(scores), len(scores))].mean() for _ in range(draws)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _rows(rewards: Rewards, k: int | None = None) -> list[np.ndarray]:
    rows = [np.asarray(row, float) for row in rewards]
    least = 1 if k is None else k
    if least < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    for index, row in enumerate(rows):
        if len(row) < least:
            raise ValueError(
                f"problem {index} has {len(row)} judged outputs, the score wants {least}; leave the problem out, or "
                "ask for a smaller k"
            )
        if not np.isin(row, (0.0, 1.0)).all():
            raise ValueError(f"rewards must be 0 or 1, problem {index} has {row.tolist()}")
    return rows


def _majority(votes: list[int], worth: list[float], outputs: int, k: int) -> float:
    """Expected worth of the winner among k of the outputs: counts the subsets in which each class wins with w votes."""
    silent, expected = outputs - sum(votes), 0.0
    for winner, value in enumerate(worth):
        if value == 0:
            continue
        for w in range(1, min(votes[winner], k) + 1):
            rest, most_ties = k - w, k // w - 1
            # subsets[t, c]: ways to take c outputs that are not the winner's, t classes with w votes and none with more
            subsets = np.zeros((most_ties + 1, rest + 1))
            subsets[0] = [math.comb(silent, c) for c in range(rest + 1)]
            for count in (*votes[:winner], *votes[winner + 1 :]):
                before, subsets = subsets, np.zeros_like(subsets)
                for c in range(min(count, w, rest) + 1):
                    ways, tie = math.comb(count, c), int(c == w)
                    subsets[tie:, c:] += ways * before[: most_ties + 1 - tie, : rest + 1 - c]
            wins = np.sum(subsets[:, rest] / np.arange(1, most_ties + 2)) * math.comb(votes[winner], w)
            expected += value * float(wins) / math.comb(outputs, k)
    return expected
