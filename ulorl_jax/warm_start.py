"""The policy's first weights: supervised on worked answers, taken from another run, or random."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ulorl_jax.clock import StopRequest
from ulorl_jax.io.checkpoints import Checkpoints
from ulorl_jax.io.metrics import Metrics
from ulorl_jax.io.progress import Progress
from ulorl_jax.io.prompts import load_rows
from ulorl_jax.ops.packing import pack
from ulorl_jax.parts import Parts, data_files, supervised_objective
from ulorl_jax.settings import Settings
from ulorl_jax.train.state import init_state, make_optimizer, refuse_endless_skips, state_structs
from ulorl_jax.train.step import StepSettings, batch_shardings, make_train_step
from ulorl_jax.types import EOS, Prompt, Sample, Segment

LOG_EVERY = 20  # updates between two rows of the stage's metrics


def first_params(parts: Parts, stop: StopRequest) -> Any | None:
    """The weights RL starts from, in the training layout.

    Args:
      parts: the run's.
      stop: ends the supervised stage early; it starts over next time.

    Returns:
      The parameters, or None when asked to stop.

    Raises:
      ValueError: `warm_start.checkpoint` names no usable checkpoint.
    """
    s, warm = parts.settings, parts.settings.warm_start
    key = jax.random.key(s.seed)
    if warm.checkpoint:
        return _load(Path(warm.checkpoint), parts)
    if not warm.steps:
        return init_state(key, s.model, parts.optimizer, parts.training).params
    folder = parts.workdir / "warm_start"
    recipe = _recipe(s)
    if (cached := _load(folder, parts, recipe)) is not None:
        return cached
    params = _train(parts, stop)
    if params is not None:
        with Checkpoints(folder, keep=1, fingerprint=fingerprint(parts)) as checkpoints:
            checkpoints.save(warm.steps, state=params, host=recipe, arrays={})
    return params


def fingerprint(parts: Parts) -> dict[str, Any]:
    """What makes weights fit a run: the shape of the network, not how it is computed.

    Args:
      parts: the run's.

    Returns:
      A JSON dict.
    """
    shape = dataclasses.asdict(parts.settings.model)
    return {key: value for key, value in shape.items() if key not in ("dtype", "remat")}


def supervised_samples(parts: Parts) -> list[Sample]:
    """The worked answers as samples: the answer and an end token are what is trained.

    Args:
      parts: the run's.

    Returns:
      Samples that fit the stage's rows, in file order; the others are left out.

    Raises:
      ValueError: a row cannot be encoded, or too few fit for one update.
    """
    d, warm, tokenizer = parts.settings.data, parts.settings.warm_start, parts.tokenizer
    path = data_files(parts.settings, parts.workdir)["supervised"]
    samples = []
    for index, row in enumerate(load_rows(path, [d.question_field, d.answer_field])):
        try:
            question = tokenizer.encode(d.template.replace("{question}", row[d.question_field]))
            answer = np.append(tokenizer.encode(row[d.answer_field]), tokenizer.eos_ids[0]).astype(np.int32)
        except ValueError as error:
            raise ValueError(f"row {index + 1} of {path}: {error}; mend or remove it") from error
        if len(question) + len(answer) <= warm.row_length:
            segment = Segment(answer, np.zeros(len(answer), np.float32), 0, "prefill")
            samples.append(Sample(index, Prompt(index, question, "")).append(segment, EOS))
    if len(samples) < warm.samples:
        raise ValueError(
            f"{len(samples)} rows of {path} fit warm_start.row_length={warm.row_length} tokens, an update wants "
            f"warm_start.samples={warm.samples}; make the rows longer or the updates smaller"
        )
    return samples


def _recipe(s: Settings) -> dict[str, Any]:
    """All that decides what the supervised stage makes, as JSON gives it back."""
    read = ("generate", "supervised", "question_field", "answer_field", "template")
    data = {name: getattr(s.data, name) for name in read} | {"output_limit": s.rollout.output_limit}
    sections = {
        "data": data,
        "tokenizer": dataclasses.asdict(s.tokenizer),
        "warm_start": dataclasses.asdict(s.warm_start),
    }
    return json.loads(json.dumps({"seed": s.seed} | sections))


def _load(folder: Path, parts: Parts, recipe: dict[str, Any] | None = None) -> Any | None:
    """The weights of a folder; with a recipe, only those it was followed for, and None where there are none."""
    s = parts.settings
    like = state_structs(s.model, parts.optimizer, parts.training).params
    with Checkpoints(folder, keep=1, fingerprint=fingerprint(parts)) as checkpoints:
        if recipe and checkpoints.latest_step() is None:
            return None
        restored = checkpoints.restore(like)
    if recipe and restored.host != recipe:
        differ = [name for name in recipe if restored.host.get(name) != recipe[name]]
        raise ValueError(
            f"{folder} holds weights made with other settings (they differ in: {', '.join(differ)}); use another "
            f"--workdir, or move this folder away to train them again"
        )
    return restored.state


def _train(parts: Parts, stop: StopRequest) -> Any | None:
    s, warm = parts.settings, parts.settings.warm_start
    samples = supervised_samples(parts)
    optimizer = make_optimizer(warm.optimizer)
    settings = StepSettings(temperature=1.0, logprob_chunk=s.train.logprob_chunk)
    step = make_train_step(s.model, supervised_objective, optimizer, parts.training, settings)
    state = init_state(jax.random.key(s.seed), s.model, optimizer, parts.training)
    order = np.random.default_rng([s.seed, len(samples)])
    shardings = batch_shardings(parts.training)
    with (
        Metrics(parts.workdir / "warm_start_metrics", after_step=-1) as metrics,
        Progress(warm.steps, "supervised warm start") as progress,
    ):
        for number in range(1, warm.steps + 1):
            if stop:
                return None
            chosen = [samples[i] for i in order.choice(len(samples), warm.samples, replace=False)]
            ones = np.ones(len(chosen), np.float32)
            batch = pack(chosen, ones, ones, lengths=[warm.row_length], rows_per_micro_batch=warm.rows)
            state, values = step(state, jax.device_put(batch, shardings), None)
            if number % LOG_EVERY == 0 or number == warm.steps:
                refuse_endless_skips(state, s.train.max_skipped_in_a_row, "warm_start.optimizer")
                row = {name: float(values[name]) for name in ("loss/supervised", "train/grad_norm", "train/skipped")}
                metrics.write(number, row)
                progress.update(number, row)
    return state.params
