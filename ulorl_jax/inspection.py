"""A look at what a run sampled, see launch/inspect.py."""

from __future__ import annotations

from pathlib import Path

from ulorl_jax.io.step_files import TRACES
from ulorl_jax.io.trace_view import of_group, print_sample, print_samples
from ulorl_jax.io.traces import ranges, read_trace
from ulorl_jax.report.pieces import tokenizer_of
from ulorl_jax.weights import read_json


def show(run: Path, step: int | None, sample: int | None) -> None:
    """Prints the steps that have a trace, the samples of a step, or one sample.

    Args:
      run: the run's folder.
      step: None for the steps.
      sample: an id in that step; None for all.

    Raises:
      ValueError: there is no such run, step or sample; says which there are.
    """
    if not (run / "config.json").is_file():
        raise ValueError(f"{run} is not the folder of a run of launch/train.py: it has no config.json")
    steps = TRACES.steps(run)
    if not steps:
        written = read_json(run / "config.json").get("traces_per_step")
        why = "it ran with traces_per_step=0" if written == 0 else "no group has been released yet"
        raise ValueError(f"{run} has no traces: {why}; with traces_per_step=8 a run writes some into rollouts/")
    if step is None:
        if sample is not None:
            raise ValueError(f"--sample={sample} wants --step=N too, the step whose trace has it")
        print(f"{run}: traces of {len(steps)} steps: {ranges(steps)}; --step={steps[-1]} shows the newest")
        return
    rows = read_trace(run, step)
    if sample is None:
        print_samples(step, rows)
        return
    found = next((row for row in rows if row["sample"] == sample), None)
    if found is None:
        there = ranges(sorted(row["sample"] for row in rows))
        raise ValueError(f"the trace of step {step} in {run} has no sample {sample}; it has {there}")
    tokenizer = tokenizer_of(run, read_json(run / "config.json"))
    # Without one, its files having gone, the trace still has the text of every segment.
    print_sample(found, of_group(found, rows), tokenizer.decode if tokenizer else None)
