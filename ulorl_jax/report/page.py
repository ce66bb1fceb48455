"""One HTML file out of runs: style, script and data are in it, so it opens from disk and asks no network."""

import base64
import hashlib
import html
import json
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from ulorl_jax.io.files import write_atomically
from ulorl_jax.report.findings import entropy_bounds, find
from ulorl_jax.report.rollouts import Rollouts, pack, read_rollouts
from ulorl_jax.report.runs import Run, columns, common_folder, read_runs

HERE = pathlib.Path(__file__).parent
SCRIPTS = ("page.js", "charts.js", "curves.js", "tables.js", "rollouts.js", "sample.js", "start.js")


def write_report(
    folders: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str] | None = None,
    *,
    max_tokens: int = 10_000_000,
) -> tuple[pathlib.Path, list[str]]:
    """Writes the report of runs, finished or going on, atomically.

    Args:
      folders: their workdirs.
      out: the file; None: report.html in the run's folder, of several runs in the folder that holds them.
      max_tokens: of the outputs of one run, see `rollouts.read_rollouts`.

    Returns:
      The file, and what its reader should know besides.

    Raises:
      ValueError: a folder is no run's, or damaged; or there is none.
    """
    if not folders:
        raise ValueError("no run given; give the workdir of at least one")
    runs = read_runs(folders)
    rollouts = read_rollouts(runs, max_tokens)
    path = pathlib.Path(out) if out is not None else common_folder(folders) / "report.html"
    write_atomically(path, make_page(runs, rollouts))
    return path, _remarks(runs, rollouts)


def make_page(runs: Sequence[Run], rollouts: Rollouts) -> str:
    """The page itself.

    Args:
      runs: to compare.
      rollouts: of these runs.

    Returns:
      HTML. Data stands in it as base64 of gzip of JSON, so nothing that a model wrote is ever read as HTML; the
      script puts it into text nodes only, and the page's policy lets no other script run.
    """
    style = (HERE / "page.css").read_text(encoding="utf-8")
    script = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    about = {
        "runs": [_about(run) for run in runs],
        "texts": rollouts.texts,
        "remarks": _remarks(runs, rollouts),
    }
    data = {"about": pack(about), "table": pack(rollouts.table)}
    data |= {f"block-{number}": block for number, block in enumerate(rollouts.blocks)}
    parts = {
        "title": html.escape("UloRL: " + ", ".join(run.name for run in runs)),
        "policy": f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'",
        "style": style,
        "data": "\n".join(f'<script type="text/plain" id="{name}">{text}</script>' for name, text in data.items()),
        "script": script,
    }
    page = (HERE / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], page)  # in one go: data may hold such words


def _about(run: Run) -> dict[str, Any]:
    summary = {name: value for name, value in run.summary.items() if name != "environment"}
    return {
        "name": run.name,
        "config": _finite(run.config),
        "environment": run.summary.get("environment", {}),
        "summary": _finite(summary),
        "columns": columns(run),
        "entropy_bounds": entropy_bounds(run),
        "findings": [[finding.level, finding.title, finding.text] for finding in find(run)],
    }


def _remarks(runs: Sequence[Run], rollouts: Rollouts) -> list[str]:
    left_out = [
        f"{run.name}: {count} recorded samples are not in the page, to keep it small (--max_tokens)"
        for run, count in zip(runs, rollouts.left_out, strict=True)
        if count
    ]
    return left_out + [
        f"{name}: the tokenizer of the run is no longer where it was; tokens are shown as ids"
        for name in rollouts.without_tokenizer
    ]


def _finite(value: Any) -> Any:
    """The same with words for infinities and NaN, which JSON proper does not have."""
    return json.loads(json.dumps(value), parse_constant=str)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
