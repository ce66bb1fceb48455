"""What of a run wants a second look, and why."""

import dataclasses
import math
from collections.abc import Iterator

from ulorl_jax.report.runs import Run

WINDOW = 5  # steps over which entropy is averaged: one step is noise
# Sampler and trainer compute the same numbers in another order. In float32 that costs 1e-5 in a log-prob, the square
# of it in the KL; in bfloat16, or with int8 pages, some 1e-2.
LARGE_KL = {"float32": 1e-6, "reduced": 1e-3}
# The first percentile of newest to drawing policy's probability. In results/f2_importance.md its mean over all steps
# was 0.92 where POIS reached an accuracy of 0.87, 0.54 where it reached 0.58, and 0.19 where it reached 0.24.
LOW_RATIO = 0.7


@dataclasses.dataclass(frozen=True)
class Finding:
    """One remark.

    Attributes:
      level: "warning", or "note" for what may be as it should.
      title: a few words.
      text: what was seen, at which steps, and why it matters.
      run: the run's name.
    """

    level: str
    title: str
    text: str
    run: str


def find(run: Run) -> list[Finding]:
    """Looks through the metrics of a run.

    Args:
      run: any.

    Returns:
      Warnings first.
    """
    checks = (_entropy, _stale, _errors, _skipped, _not_finite, _mismatch, _evicted, _no_groups, _stopped)
    found = [Finding(*remark, run.name) for check in checks for remark in check(run)]
    return sorted(found, key=lambda finding: finding.level != "warning")


def entropy_bounds(run: Run) -> tuple[float, float, str] | None:
    """Between which values the policy's entropy is expected.

    Args:
      run: any.

    Returns:
      Lowest and highest in nats, and the reason; None before a step has measured it.
    """
    values = [value for _, value in run.column("entropy/mean")]
    if not values:
        return None
    start, sigma = sum(values[:WINDOW]) / len(values[:WINDOW]), run.config["loss"]["sigma"]
    if not 0 < sigma < math.inf:
        why = (
            f"the bounds are half and one and a half of the run's start ({start:.3g}): with sigma = {sigma:g} nothing "
            "holds it. In the paper it fell to 0.2 to 0.6 of its start where nothing was masked"
        )
        return start / 2, 1.5 * start, why
    why = (
        f"DMMPT is to hold it near sigma = {sigma:g}; the bounds are half of sigma, and one and a half of sigma or of "
        f"the run's start ({start:.3g}), whichever is more. With sigma = 0.2 the paper's policies fell to 0.14, 0.08 "
        "and 0.03 where nothing was masked, and rose to 0.32, 0.35 and 0.50 where mastered tokens always were"
    )
    return sigma / 2, 1.5 * max(sigma, start), why


def _entropy(run: Run) -> Iterator[tuple[str, str, str]]:
    bounds = entropy_bounds(run)
    if bounds is None:
        return
    low, high, why = bounds
    means = _means(run.column("entropy/mean"))
    for word, bound, outside in (
        ("under", low, [(step, mean) for step, mean in means if mean < low]),
        ("over", high, [(step, mean) for step, mean in means if mean > high]),
    ):
        if outside:
            last = means[-1][1]
            yield (
                "warning",
                f"Entropy {word} {bound:.3g} nats",
                f"The mean of {WINDOW} steps was {word} it in {len(outside)} of {len(means)} steps, first in step "
                f"{outside[0][0]}; it is {last:.3g} now. Why: {why}.",
            )


def _stale(run: Run) -> Iterator[tuple[str, str, str]]:
    means = _means(run.column("staleness/ratio_p01"))
    low = [(step, mean) for step, mean in means if mean < LOW_RATIO]
    if low and run.config["loss"]["importance"] == "pois":
        yield (
            "warning",
            f"Old tokens below {LOW_RATIO:g} of their probability",
            f"One trained token in a hundred has, in the newest policy, at most the share staleness/ratio_p01 of the "
            f"probability it was drawn with: the mean of {WINDOW} steps was under {LOW_RATIO:g} in {_steps(low)}; now "
            f"it is {means[-1][1]:.3g}. POIS weighs such a token like a fresh one and does not clip it: in our Figure "
            "2 it reached an accuracy of 0.58 where that was 0.54, SAIS 0.90. Fewer rollout.segments make tokens "
            "fresher, a lower optimizer.learning_rate moves the policy less, loss.importance=sais clips.",
        )


def _errors(run: Run) -> Iterator[tuple[str, str, str]]:
    errors = [(step, value) for step, value in run.column("reward/errors") if value]
    if errors:
        limit = run.config["verify"]["max_error_rate"]
        yield (
            "warning",
            f"{_many(_sum(errors), 'output')} without a verdict",
            f"The verifier failed on them in {_steps(errors)}; they left their groups, the others of which are judged "
            f"among themselves. The run stops by itself when more than {limit:.0%} of the newest answers are so "
            f"(verify.max_error_rate). The rollouts say why.",
        )


def _skipped(run: Run) -> Iterator[tuple[str, str, str]]:
    skipped = [(step, value) for step, value in run.column("train/skipped") if value]
    if skipped:
        limit = run.config["train"]["max_skipped_in_a_row"]
        yield (
            "warning",
            f"{_many(_sum(skipped), 'update')} skipped",
            f"Loss, gradient or new weights were not finite in {_steps(skipped)}; the weights stayed as they were. "
            f"After {limit} in a row the run stops (train.max_skipped_in_a_row).",
        )


def _not_finite(run: Run) -> Iterator[tuple[str, str, str]]:
    names: dict[str, list[tuple[int, float]]] = {}
    for row in run.rows:
        for name, value in row.items():
            if not math.isfinite(value):
                names.setdefault(name, []).append((row["step"], value))
    for name, points in sorted(names.items()):
        yield "warning", f"{name} is not finite", f"In {_steps(points)}; the curves leave it out."


def _mismatch(run: Run) -> Iterator[tuple[str, str, str]]:
    rollout = run.config["rollout"]
    exact = run.config["model"]["dtype"] == "float32" and rollout["pages"]["dtype"] != "int8"
    limit = LARGE_KL["float32" if exact else "reduced"]
    large = [(step, value) for step, value in run.column("mismatch/kl") if abs(value) > limit]
    if not large:
        return
    reasons = []
    if rollout["top_p"] < 1 or rollout["top_k"] > 0:
        reasons.append("top-p or top-k cut off a part of the distribution that the trainer does not")
    if rollout["kv"] == "keep" or rollout["recompute_every"] > 1:
        reasons.append("keys and values of older weights are kept")
    yield (
        "note" if reasons else "warning",
        "Sampler and trainer disagree",
        f"The KL of their log-probs was over {limit:g} nats per token in {_steps(large)}, at most "
        f"{max(abs(value) for _, value in large):.2g}. "
        + (f"Here it is expected: {'; '.join(reasons)}." if reasons else "Rounding alone does not do that."),
    )


def _evicted(run: Run) -> Iterator[tuple[str, str, str]]:
    evicted = [(step, value) for step, value in run.column("rollout/evicted") if value]
    if evicted:
        yield (
            "note",
            f"{_many(_sum(evicted), 'sample')} evicted",
            f"The pages ran out in {_steps(evicted)}: those samples waited with their tokens and were prefilled "
            "again. More rollout.pages.count, or less rollout.pages.over_provisioning, avoids it.",
        )


def _no_groups(run: Run) -> Iterator[tuple[str, str, str]]:
    counted = run.column("groups/informative")
    idle = [(step, value) for step, value in counted if not value]
    if idle:
        segments = run.config["rollout"]["segments"]
        yield (
            "note" if len(idle) <= max(segments, len(counted) // 10) else "warning",
            f"{_many(len(idle), 'step')} without an informative group",
            f"Nothing was updated in {_steps(idle)}. The first steps may have none (M = {segments}: long samples are "
            "not finished yet); later it means that all questions are too easy or too hard, or slots too few.",
        )


def _stopped(run: Run) -> Iterator[tuple[str, str, str]]:
    if signal := run.summary.get("stopped"):
        yield "note", f"Stopped by {signal}", f"After step {run.summary['steps']} of {run.config['steps']}."


def _means(column: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """The means of the newest `WINDOW` values."""
    values = [value for _, value in column]
    newest = (values[max(0, i - WINDOW) : i] for i in range(1, len(values) + 1))
    return [(step, sum(few) / len(few)) for (step, _), few in zip(column, newest, strict=True)]


def _steps(points: list[tuple[int, float]]) -> str:
    numbers = [step for step, _ in points]
    if len(numbers) <= 4:
        return f"step{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
    return f"{len(numbers)} steps, from {numbers[0]} to {numbers[-1]}"


def _sum(points: list[tuple[int, float]]) -> int:
    return int(sum(value for _, value in points))


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
