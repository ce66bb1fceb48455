"""The parts of a run, built once from its settings: one dict per choice, no flags further down."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ulorl_jax.data.chain_sum import write_chain_sum
from ulorl_jax.data.stairs import write_stairs
from ulorl_jax.inputs import make_encode, make_judge, make_source, make_tokenizer
from ulorl_jax.io.checkpoint_reader import saved_steps
from ulorl_jax.io.folders import demand_shared
from ulorl_jax.io.prompts import Prompts, Source
from ulorl_jax.io.tokenizer import Tokenizer
from ulorl_jax.mesh import Layout, make_mesh
from ulorl_jax.models.packed_attention import row_tile
from ulorl_jax.processes import demand_same, first_before_others
from ulorl_jax.rewards import Judge
from ulorl_jax.rollout.engine import EngineSpec, PolicyEngine
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.settings import Settings, check_mesh, on_devices
from ulorl_jax.train.step import Objective, make_token_scores
from ulorl_jax.trainer import Trainer, make_trainer, step_settings
from ulorl_jax.typed import choose, demand
from ulorl_jax.types import Prompt
from ulorl_jax.weights import HF, open_weights

_CHAIN_SUM = functools.partial(write_chain_sum, train=8192, supervised=32768)
GENERATORS = {
    "chain_sum": _CHAIN_SUM,
    "chain_sum_varied": functools.partial(_CHAIN_SUM, varied=True),
    "chain_sum_choices": functools.partial(_CHAIN_SUM, choices=True),
    "stairs": functools.partial(write_stairs, train=3072, supervised=4096),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Parts(Trainer):
    """What `loop.run` works with, besides what an update needs.

    Attributes:
      workdir: where everything of the run is written.
      decoding: the other layout of the mesh.
      tokenizer: ids to text and back.
      encode: a question's text to the ids of its prompt.
      prompts: training questions in their one global order.
      heldout: questions of the evaluation.
      judge: of outputs; the run closes it.
      engine: the decoder, at the rollout's sampling settings.
      score_tokens: (params, batch of one micro-batch) to log-probs and entropies; None where there are no traces.
    """

    workdir: Path
    decoding: Layout
    tokenizer: Tokenizer
    encode: Callable[[str], np.ndarray]
    prompts: Prompts
    heldout: list[Prompt]
    judge: Judge
    engine: PolicyEngine
    score_tokens: Callable[..., Any] | None


def make_parts(settings: Settings, workdir: Path, objective: Objective | None = None) -> Parts:
    """Builds everything a run needs; reads the data, compiles nothing yet.

    Args:
      settings: checked settings.
      workdir: the run's folder, created where missing.
      objective: a loss of your own (see `train.step.Objective`); None takes the one that `settings.loss` describes.
        Of `settings.loss` your own run then uses the advantages' keys alone, and its config.json cannot tell which
        loss it had: give it a workdir of its own.

    Returns:
      The parts.

    Raises:
      ValueError: the folder cannot be written, the data cannot be used, or the mesh
        cannot split what it should.
    """
    demand_same("settings", dataclasses.asdict(settings) | {"--workdir": str(workdir)})
    s, training, decoding = make_layouts(settings)
    make_workdir(workdir)
    demand_shared(workdir)
    demand(
        not (s.verify.overlap and s.verify.asks_a_model and training.mesh.size > 1),
        f"verify.overlap with verify.kind={s.verify.kind} starts programs of several devices from two threads, and two "
        f"that wait for each other's devices never end",
        f"{training.mesh.size} devices",
        "set verify.overlap=False, or verify.kind=rules",
    )
    warm = s.warm_start
    if warm.checkpoint and not (Path(warm.checkpoint).is_dir() or _has_begun(workdir)):
        raise ValueError(
            f"warm_start.checkpoint={warm.checkpoint!r} is no folder; give a Hugging Face folder, a run's folder, or "
            f"the warm_start folder of a run, such as runs/tiny/warm_start"
        )
    tokenizer = make_tokenizer(s.tokenizer, s.model.vocab_size, tokenizer_folder(s, workdir))
    encode = make_encode(s.prompt, tokenizer)
    heldout = read_prompts(s, workdir, encode, "heldout").all()[: s.data.heldout_rows]
    return Parts(
        **vars(make_trainer(s, training, objective)),
        workdir=workdir,
        decoding=decoding,
        tokenizer=tokenizer,
        encode=encode,
        prompts=read_prompts(s, workdir, encode, "train", heldout),
        heldout=heldout,
        judge=make_judge(s.verify, decoding),
        engine=make_engine(s, tokenizer, decoding, s.rollout.sampling, s.seed),
        score_tokens=make_token_scores(s.model, training, step_settings(s)) if s.traces_per_step else None,
    )


def make_layouts(settings: Settings) -> tuple[Settings, Layout, Layout]:
    """The mesh of this machine's devices.

    Args:
      settings: checked settings.

    Returns:
      The settings as they are on these devices, the training layout and the decoding layout.

    Raises:
      ValueError: the mesh does not fit the devices, or cannot split what it should.
    """
    s = on_devices(settings, jax.device_count())
    mesh = make_mesh(**dataclasses.asdict(s.mesh))
    training, decoding = Layout(mesh, "training"), Layout(mesh, "decoding")
    tile = row_tile(training.platform, s.model.head_dim)
    check_mesh(s, training.ways("rows"), decoding.ways("slots"), training.ways("tokens"), tile)
    return s, training, decoding


def make_engine(
    settings: Settings, tokenizer: Tokenizer, layout: Layout, sampling: Sampling, seed: int
) -> PolicyEngine:
    """A decoder for this model and context limit.

    Args:
      settings: the run's.
      tokenizer: whose end tokens end a sample.
      layout: the decoding layout.
      sampling: how it draws tokens.
      seed: of its draws.

    Returns:
      The engine.
    """
    return PolicyEngine(engine_spec(settings, tuple(tokenizer.eos_ids), layout, sampling), seed)


def engine_spec(settings: Settings, eos_ids: tuple[int, ...], layout: Layout, sampling: Sampling) -> EngineSpec:
    """What the decoder's programs are compiled for; arguments as of `make_engine`."""
    s = settings
    return EngineSpec(s.model, s.rollout.slots, s.context_limit, sampling, eos_ids, layout, s.rollout.pages)


def tokenizer_folder(settings: Settings, workdir: Path) -> Path | None:
    """Where the run's Hugging Face tokenizer lies: named, kept in the workdir by a run that has begun, or beside
    the first weights."""
    if settings.tokenizer.path:
        return Path(settings.tokenizer.path)
    if _has_begun(workdir) and (workdir / HF / "tokenizer.json").is_file():
        return workdir / HF
    checkpoint = settings.warm_start.checkpoint
    return open_weights(checkpoint).files if checkpoint and settings.tokenizer.kind == "hf" else None


def read_prompts(
    settings: Settings,
    workdir: Path,
    encode: Callable[[str], np.ndarray],
    split: str,
    held_out: Sequence[Prompt] = (),
) -> Prompts:
    """The questions of a split, "train" or "heldout".

    Args:
      settings: the run's.
      workdir: where generated data lies.
      encode: from a question to its prompt's ids.
      split: which files.
      held_out: prompts whose questions must not be among these.

    Returns:
      The prompts.
    """
    d = settings.data
    sources = data_sources(settings, workdir)[split]
    return Prompts.read(
        sources, encode, max_tokens=d.max_prompt_tokens, seed=settings.seed, shuffle=d.shuffle, held_out=held_out
    )


def data_sources(settings: Settings, workdir: Path) -> dict[str, list[Source]]:
    """The files of each split; a task that is made, not found, is written into the workdir first.

    Args:
      settings: the run's.
      workdir: the run's folder.

    Returns:
      Sources of "train", "heldout" and, where there is a warm start to train, "supervised".

    Raises:
      ValueError: a file is not there.
    """
    d = settings.data
    if not d.generate:
        sources = {
            "train": [make_source(name, source, source.weight) for name, source in d.train.items()],
            "heldout": [make_source("heldout", d.heldout)],
        }
        if settings.warm_start.steps:
            sources["supervised"] = [make_source("supervised", d.supervised)]
        for split, members in sources.items():
            for source in members:
                if not Path(source.path).is_file():
                    key = f"data.{split}.{source.name}.path" if split == "train" else f"data.{split}.path"
                    raise ValueError(
                        f"{key}={source.path!r} is no file; give one of rows with the fields "
                        f"{source.question_field!r} and {source.answer_field!r}, or set data.generate=chain_sum"
                    )
        return sources
    make = functools.partial(choose(GENERATORS, d.generate, "data.generate"), heldout=d.heldout_rows)
    # A folder for each, so that a start that is refused later has not replaced another run's questions.
    folder = workdir / "data" / f"seed_{settings.seed}_limit_{settings.rollout.output_limit}"
    with first_before_others("data"):
        made = make(folder, seed=settings.seed, max_output_tokens=settings.rollout.output_limit)
    return {split: [Source(split, path, 1.0, "question", "answer", "id")] for split, path in made.items()}


def _has_begun(workdir: Path) -> bool:
    """Whether the run goes on from a checkpoint of its own; then it does not need the first weights any more."""
    return bool(saved_steps(workdir / "checkpoints"))


def make_workdir(workdir: Path) -> None:
    """Creates the run's folder and proves that it can be written.

    Raises:
      ValueError: it cannot.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe = workdir / f".writable-{jax.process_index()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"--workdir={workdir} cannot be written ({error.strerror}); give a folder that you own"
        ) from error
