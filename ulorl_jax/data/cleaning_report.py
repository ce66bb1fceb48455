"""The report of a cleaning: what each step did, why, and a few rows before and after."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from ulorl_jax.data.cleaning import READING, Cleaned
from ulorl_jax.data.decisions import ASIDE, CHANGE, DROP, KEEP, Decision, Row

ACTIONS = (KEEP, CHANGE, DROP, ASIDE)


def make_report(cleaned: Cleaned, examples: int) -> dict[str, Any]:
    """Counts by step, action and reason, with the first rows of each reason.

    Args:
      cleaned: what became of the rows.
      examples: rows shown per reason.

    Returns:
      JSON: "rows" in, "kept", "changed" (of the kept), "dropped", "aside", and "steps".
    """
    steps = {}
    if cleaned.unread:
        shown = [{"place": unread.place, "reason": unread.reason} for unread in cleaned.unread[:examples]]
        count, reason = len(cleaned.unread), "no question or no reference, or an endless one"
        steps[READING] = {
            ASIDE: count,
            "reasons": [{"action": ASIDE, "reason": reason, "rows": count, "examples": shown}],
        }
    for step, made in cleaned.decisions.items():
        counts = collections.Counter(decision.action for _, decision in made)
        by_reason: dict[tuple[str, str], list[tuple[Row, Decision]]] = {}
        for before, decision in made:
            if decision.reason:
                by_reason.setdefault((decision.action, decision.reason), []).append((before, decision))
        reasons = [
            {"action": action, "reason": reason, "rows": len(found), "examples": [_shown(*d) for d in found[:examples]]}
            for (action, reason), found in sorted(
                by_reason.items(), key=lambda item: (ACTIONS.index(item[0][0]), -len(item[1]), item[0][1])
            )
        ]
        steps[step] = {"rows": len(made)} | {action: counts[action] for action in ACTIONS} | {"reasons": reasons}
    dropped, aside = len(cleaned.ended(DROP)), len(cleaned.ended(ASIDE)) + len(cleaned.unread)
    return {
        "rows": len(cleaned.kept) + dropped + aside,
        KEEP: len(cleaned.kept),
        CHANGE: sum(bool(row.original_question or row.original_answer) for row in cleaned.kept),
        DROP: dropped,
        ASIDE: aside,
        "steps": steps,
    }


def report_to_markdown(report: dict[str, Any], title: str) -> str:
    """The report as a page: a table of the steps, then every reason with its examples.

    Args:
      report: of `make_report`.
      title: of the page.

    Returns:
      Markdown.
    """
    lines = [
        f"# {title}",
        "",
        f"{report['rows']} rows: {report[KEEP]} kept ({report[CHANGE]} of them changed), {report[DROP]} dropped, "
        f"{report[ASIDE]} aside.",
        "",
        "| step | rows | kept | changed | dropped | aside |",
        "|---|---|---|---|---|---|",
    ]
    for step, made in report["steps"].items():
        counts = " | ".join(str(made.get(name, "")) for name in ("rows", *ACTIONS))
        lines.append(f"| {step} | {counts} |")
    for step, made in report["steps"].items():
        lines += ["", f"## {step}"]
        for reason in made["reasons"]:
            lines += ["", f"### {reason['action']}: {reason['reason']} ({reason['rows']})"]
            for example in reason["examples"]:
                lines += ["", *_example_lines(example)]
    return "\n".join(lines) + "\n"


def draw_decisions(cleaned: Cleaned, step: str, count: int, seed: int, kept: bool) -> list[tuple[Row, Decision]]:
    """Random decisions of one step, to be read by a person.

    Args:
      cleaned: what became of the rows.
      step: its name.
      count: how many; all where there are fewer.
      seed: of the draw, >= 0.
      kept: draw from the rows it left as they were, and not from those it acted on.

    Returns:
      Rows as they came and the decisions on them, in the order of the data.

    Raises:
      ValueError: the step did not run.
    """
    if step not in cleaned.decisions:
        raise ValueError(f"no step {step!r} was run; there are {list(cleaned.decisions)}")
    made = [pair for pair in cleaned.decisions[step] if (pair[1].action == KEEP) == kept]
    drawn = np.random.default_rng(seed).permutation(len(made))[:count]
    return [made[index] for index in sorted(drawn.tolist())]


def decision_to_text(before: Row, decision: Decision) -> str:
    """A decision with its row before and after, for a person to read."""
    return "\n".join(_example_lines(_shown(before, decision) | {"reason": decision.reason, "action": decision.action}))


def _shown(before: Row, decision: Decision) -> dict[str, str]:
    shown = {"id": before.id, "question": before.question, "answer": before.answer}
    if decision.row.question != before.question:
        shown["new question"] = decision.row.question
    if decision.row.answer != before.answer:
        shown["new answer"] = decision.row.answer
    return shown


def _example_lines(example: dict[str, str]) -> list[str]:
    """Indented, so that nothing in a row becomes markup."""
    return [
        f"    {f'{name}: ' if number == 0 else ''}{line}"
        for name, text in example.items()
        for number, line in enumerate(text.splitlines() or [""])
    ]
