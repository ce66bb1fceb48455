"""The policy's first weights: of a folder or random, and then, if asked for, supervised on worked answers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ulorl_jax.clock import StopRequest
from ulorl_jax.io.checkpoint_reader import open_checkpoint, saved_steps
from ulorl_jax.io.checkpoints import Checkpoints
from ulorl_jax.io.files import write_atomically
from ulorl_jax.io.hf_weights import CONFIG, GENERATION
from ulorl_jax.io.metrics import Metrics
from ulorl_jax.io.progress import Progress
from ulorl_jax.io.prompts import collapse, load_rows
from ulorl_jax.parts import Parts, data_sources
from ulorl_jax.processes import is_first
from ulorl_jax.settings import Settings
from ulorl_jax.supervised import RowSettings, Supervised, worked_sample
from ulorl_jax.train.state import init_state, start_state, state_shardings, state_structs
from ulorl_jax.types import Sample
from ulorl_jax.weights import HF, Weights, copy_files, copy_side_files, open_weights, side_files
from ulorl_jax.weights import fingerprint as network_fingerprint

LOG_EVERY = 20  # updates between two rows of the stage's metrics
_OF_EXPERTS = ("num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob")


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
    warm = parts.settings.warm_start
    weights = _open(parts) if warm.checkpoint else None
    if is_first():
        _keep_side_files(parts, weights)
    if not warm.steps:
        return _initial(parts, weights)
    folder = parts.workdir / "warm_start"
    recipe = _recipe(parts.settings, weights)
    if (made := _made_before(folder, parts, recipe)) is not None:
        return made
    params = _train(parts, weights, stop)
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
    return network_fingerprint(parts.settings.model)


def supervised_samples(parts: Parts) -> tuple[list[Sample], dict[str, int]]:
    """The worked answers as samples: the answer and an end token are what is trained.

    Args:
      parts: the run's.

    Returns:
      Samples in file order, and how many rows were left out: those "too_long" for the stage's rows, and
      the "held_out" questions of the evaluation.

    Raises:
      ValueError: a row cannot be encoded, or too few fit for one update.
    """
    warm, tokenizer = parts.settings.warm_start, parts.tokenizer
    (source,) = data_sources(parts.settings, parts.workdir)["supervised"]
    path, fields = source.path, [source.question_field, source.answer_field]
    samples, left_out = [], {"too_long": 0, "held_out": 0}
    held_out = {collapse(prompt.question) for prompt in parts.heldout}
    for index, row in enumerate(load_rows(path, fields)):
        if collapse(row[source.question_field]) in held_out:
            left_out["held_out"] += 1
            continue
        try:
            question = parts.encode(row[source.question_field])
            answer = tokenizer.encode_output(warm.answer.replace("{answer}", row[source.answer_field]))
        except ValueError as error:
            raise ValueError(f"row {index + 1} of {path}: {error}; mend or remove it") from error
        if len(question) + len(answer) > warm.row_length:
            left_out["too_long"] += 1
            continue
        samples.append(worked_sample(index, question, answer))
    if len(samples) < warm.samples:
        raise ValueError(
            f"{len(samples)} rows of {path} fit warm_start.row_length={warm.row_length} tokens, an update wants "
            f"warm_start.samples={warm.samples} (left out: {left_out}); make the rows longer or the updates smaller"
        )
    return samples, left_out


def _open(parts: Parts) -> Weights:
    """The weights that `warm_start.checkpoint` names, if they fit the run's network."""
    weights, model = open_weights(parts.settings.warm_start.checkpoint), parts.settings.model
    unused = ("intermediate_size",) if model.num_experts else _OF_EXPERTS
    differ = []
    for name in sorted({field.name for field in dataclasses.fields(model)} - {"dtype", "remat", *unused}):
        got, want = getattr(weights.config, name), getattr(model, name)
        # YaRN may be put on weights that were trained without it; never another one, or none, on those that have it.
        same = (got.factor == 1 or got.effect == want.effect) if name == "rope_scaling" else got == want
        if not same:
            differ.append(f"{name} is {got}, want {want}")
    if differ:
        raise ValueError(
            f"warm_start.checkpoint: {weights.path} is of another network: {', '.join(differ)}; set model.* to what "
            f"the weights are, or give others"
        )
    return weights


def _keep_side_files(parts: Parts, weights: Weights | None) -> None:
    """Tokenizer, config and end tokens into the workdir: what an export of this run will need."""
    folder, settings = parts.workdir / HF, parts.settings.tokenizer
    if weights is not None:
        copy_side_files(weights, folder)
    if settings.path:  # another tokenizer than the weights', or they have none
        copy_files([path for path in side_files(Path(settings.path)) if path.name != CONFIG], folder)
    if settings.kind == "hf" and not (folder / GENERATION).is_file():
        ends = {"eos_token_id": list(parts.tokenizer.eos_ids), "pad_token_id": parts.tokenizer.pad_id}
        write_atomically(folder / GENERATION, json.dumps(ends, indent=2) + "\n")


def _initial(parts: Parts, weights: Weights | None) -> Any:
    s = parts.settings
    if weights is None:
        return init_state(jax.random.key(s.seed), s.model, parts.optimizer, parts.training).params
    return weights.load(state_shardings(s.model, parts.optimizer, parts.training).params)


def _recipe(s: Settings, weights: Weights | None) -> dict[str, Any]:
    """All that decides what the supervised stage makes, as JSON gives it back."""
    made_from = dataclasses.asdict(s.data.supervised) | {"generate": s.data.generate}
    sections = {
        "data": made_from | {"output_limit": s.rollout.output_limit},
        "prompt": dataclasses.asdict(s.prompt),
        "tokenizer": dataclasses.asdict(s.tokenizer),
        # Which weights, not where they lay.
        "warm_start": dataclasses.asdict(s.warm_start)
        | {"checkpoint": weights.describe()["identity"] if weights else ""},
    }
    return json.loads(json.dumps({"seed": s.seed} | sections))


def _made_before(folder: Path, parts: Parts, recipe: dict[str, Any]) -> Any | None:
    """The weights of a supervised stage that ended, None where there are none; by this recipe, or it is an error."""
    if not saved_steps(folder):
        return None
    saved = open_checkpoint(folder)  # not `Checkpoints`: the folder may be one that runs share and none may write to
    network = json.loads(json.dumps(fingerprint(parts)))
    made, wanted = (
        what | {f"model.{key}": value for key, value in model.items()}
        for what, model in ((saved.host, saved.fingerprint), (recipe, network))
    )
    if differ := [name for name in wanted | made if made.get(name) != wanted.get(name)]:
        raise ValueError(
            f"{folder} holds weights made with other settings (they differ in: {', '.join(differ)}); use another "
            f"--workdir, or move this folder away to train them again"
        )
    return saved.read(state_structs(parts.settings.model, parts.optimizer, parts.training).params)


def _train(parts: Parts, weights: Weights | None, stop: StopRequest) -> Any | None:
    s, warm = parts.settings, parts.settings.warm_start
    samples, left_out = supervised_samples(parts)
    rows = RowSettings(warm.rows, warm.row_length, s.train.logprob_chunk, s.train.max_skipped_in_a_row)
    supervised = Supervised(s.model, warm.optimizer, parts.training, rows, "warm_start.optimizer")
    state = start_state(_initial(parts, weights), s.model, supervised.optimizer, parts.training)
    order = np.random.default_rng([s.seed, len(samples)])
    with (
        Metrics(parts.workdir / "warm_start_metrics", after_step=-1, silent=not is_first()) as metrics,
        Progress(warm.steps, "supervised warm start", silent=not is_first()) as progress,
    ):
        if any(left_out.values()):
            progress.note(f"worked answers left out: {left_out}, of {len(samples) + sum(left_out.values())}")
        for number in range(1, warm.steps + 1):
            if stop:
                return None
            chosen = [samples[i] for i in order.choice(len(samples), warm.samples, replace=False)]
            state, values = supervised.update(state, chosen)
            if number % LOG_EVERY == 0 or number == warm.steps:
                row = supervised.row(state, values)
                metrics.write(number, row)
                progress.update(number, row)
    return state.params
