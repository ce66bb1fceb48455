"""The parts of a run, built once from its settings: one dict per choice, no flags further down."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optax

from ulorl_jax.data.chain_sum import write_chain_sum
from ulorl_jax.io.prompts import Prompts
from ulorl_jax.io.tokenizer import ByteTokenizer, Tokenizer
from ulorl_jax.mesh import Layout, make_mesh
from ulorl_jax.ops import importance
from ulorl_jax.ops.losses import supervised_loss, ulorl_loss
from ulorl_jax.rollout.engine import EngineSpec, PolicyEngine
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.settings import Settings, check_mesh
from ulorl_jax.train.state import make_optimizer
from ulorl_jax.train.step import Objective, StepSettings, make_score, make_train_step
from ulorl_jax.types import Prompt, Verdict
from ulorl_jax.verify.final_answer import FinalAnswerVerifier

IMPORTANCE = {
    "tois": importance.on_policy,
    "sais": importance.segment_aware,
    "pois": importance.pseudo_on_policy,
}
TOKENIZERS = {"bytes": ByteTokenizer}
VERIFIERS = {"final_answer": FinalAnswerVerifier}
GENERATORS = {"chain_sum": functools.partial(write_chain_sum, train=8192, supervised=32768)}


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """What `loop.run` works with.

    Attributes:
      settings: the resolved settings.
      workdir: where everything of the run is written.
      training, decoding: the two layouts of the mesh.
      tokenizer: ids to text and back.
      prompts: training questions in their one global order.
      heldout: questions of the evaluation.
      verify: (output text, reference) to a verdict.
      engine: the decoder, at the rollout's sampling settings.
      optimizer: of the RL stage.
      train_step: (state, batch, scores or None) to (state, metrics).
      score: (params, batch) to scores, or None where no part of the loss needs it.
    """

    settings: Settings
    workdir: Path
    training: Layout
    decoding: Layout
    tokenizer: Tokenizer
    prompts: Prompts
    heldout: list[Prompt]
    verify: Callable[[str, str], Verdict]
    engine: PolicyEngine
    optimizer: optax.GradientTransformation
    train_step: Callable[..., Any]
    score: Callable[..., Any] | None


def make_parts(settings: Settings, workdir: Path) -> Parts:
    """Builds everything a run needs; reads the data, compiles nothing yet.

    Args:
      settings: checked settings.
      workdir: the run's folder, created where missing.

    Returns:
      The parts.

    Raises:
      ValueError: the folder cannot be written, the data cannot be used, or the mesh
        cannot split what it should.
    """
    s = settings
    make_workdir(workdir)
    mesh = make_mesh(data=s.mesh.data, fsdp=s.mesh.fsdp, tensor=s.mesh.tensor)
    training, decoding = Layout(mesh, "training"), Layout(mesh, "decoding")
    check_mesh(s, training.ways("rows"), decoding.ways("slots"))
    tokenizer = choose(TOKENIZERS, s.tokenizer.kind, "tokenizer.kind")(
        s.model.vocab_size, s.tokenizer.eos_ids, s.tokenizer.pad_id
    )
    verify = choose(VERIFIERS, s.verify.kind, "verify.kind")(s.verify.marker)
    old_logp = choose(IMPORTANCE, s.loss.importance, "loss.importance")
    warm = s.warm_start
    if warm.checkpoint and not Path(warm.checkpoint).is_dir():
        raise ValueError(
            f"warm_start.checkpoint={warm.checkpoint!r} is no folder; give the warm_start folder of a finished "
            f"run, such as runs/tiny/warm_start"
        )
    optimizer = make_optimizer(s.optimizer)
    step_settings = StepSettings(s.rollout.temperature, s.train.logprob_chunk)
    objective = _ulorl_objective(s, old_logp)
    # POIS at one update per step is stop_gradient(logp): no forward pass is spent on it.
    recomputes = s.train.updates_per_step > 1 and s.loss.importance == "pois"
    needs_scores = recomputes or s.loss.gate == "batch"
    return Parts(
        settings=s,
        workdir=workdir,
        training=training,
        decoding=decoding,
        tokenizer=tokenizer,
        prompts=read_prompts(s, workdir, tokenizer, "train"),
        heldout=read_prompts(s, workdir, tokenizer, "heldout").all()[: s.data.heldout_rows],
        verify=verify,
        engine=make_engine(s, decoding, s.rollout.sampling, s.seed),
        optimizer=optimizer,
        train_step=make_train_step(s.model, objective, optimizer, training, step_settings),
        score=make_score(s.model, training, step_settings) if needs_scores else None,
    )


def make_engine(settings: Settings, layout: Layout, sampling: Sampling, seed: int) -> PolicyEngine:
    """A decoder for this model and context limit.

    Args:
      settings: the run's.
      layout: the decoding layout.
      sampling: how it draws tokens.
      seed: of its draws.

    Returns:
      The engine.
    """
    s = settings
    spec = EngineSpec(s.model, s.rollout.slots, s.context_limit, sampling, s.tokenizer.eos_ids, layout)
    return PolicyEngine(spec, seed)


def read_prompts(settings: Settings, workdir: Path, tokenizer: Tokenizer, split: str) -> Prompts:
    """The questions of a split, "train" or "heldout".

    Args:
      settings: the run's.
      workdir: where generated data lies.
      tokenizer: turns questions into ids.
      split: which file.

    Returns:
      The prompts.
    """
    d = settings.data
    return Prompts.from_jsonl(
        data_files(settings, workdir)[split],
        tokenizer,
        question_field=d.question_field,
        answer_field=d.answer_field,
        id_field=d.id_field or None,
        template=d.template,
        max_tokens=d.max_prompt_tokens,
        seed=settings.seed,
        shuffle=d.shuffle,
    )


def data_files(settings: Settings, workdir: Path) -> dict[str, Path]:
    """The JSONL file of each split; a task that is made, not found, is written into the workdir first.

    Args:
      settings: the run's.
      workdir: the run's folder.

    Returns:
      Paths of "train", "heldout" and, where there is a warm start to train, "supervised".

    Raises:
      ValueError: a file is not there.
    """
    d = settings.data
    if not d.generate:
        files = {"train": Path(d.train), "heldout": Path(d.heldout)}
        if settings.warm_start.steps:
            files["supervised"] = Path(d.supervised)
        for split, path in files.items():
            if not path.is_file():
                raise ValueError(
                    f"data.{split}={getattr(d, split)!r} is no file; give one of JSON lines with the fields "
                    f"{d.question_field!r} and {d.answer_field!r}, or set data.generate=chain_sum"
                )
        return files
    make = functools.partial(choose(GENERATORS, d.generate, "data.generate"), heldout=d.heldout_rows)
    # A folder for each, so that a start that is refused later has not replaced another run's questions.
    folder = workdir / "data" / f"seed_{settings.seed}_limit_{settings.rollout.output_limit}"
    return make(folder, seed=settings.seed, max_output_tokens=settings.rollout.output_limit)


def supervised_objective(logp, entropy, micro, first):
    """Cross entropy of the answers, as an `Objective`."""
    del entropy, first
    return supervised_loss(logp, micro.mask, num_tokens=micro.num_tokens)


def choose(choices: dict[str, Any], name: str, key: str) -> Any:
    """The choice of this name.

    Raises:
      ValueError: there is none; the message lists them.
    """
    if name not in choices:
        raise ValueError(f"{key} must be one of {sorted(choices)}; got {name!r}")
    return choices[name]


def make_workdir(workdir: Path) -> None:
    """Creates the run's folder and proves that it can be written.

    Raises:
      ValueError: it cannot.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe = workdir / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"--workdir={workdir} cannot be written ({error.strerror}); give a folder that you own"
        ) from error


def _ulorl_objective(settings: Settings, old_logp_of: Callable[..., Any]) -> Objective:
    loss = settings.loss
    # With one update POIS is exactly stop_gradient(logp), also where gate="batch" asks for scores.
    several = settings.train.updates_per_step > 1

    def objective(logp, entropy, micro, first):
        return ulorl_loss(
            logp,
            old_logp_of(logp, micro.rollout_logp, first.logp if first is not None and several else None),
            entropy,
            micro.advantage,
            micro.reward,
            micro.mask,
            micro.sample_ids,
            num_tokens=micro.num_tokens,
            clip_low=loss.clip_low,
            clip_high=loss.clip_high,
            tau=loss.tau,
            sigma=loss.sigma,
            gate=loss.gate,  # pyright: ignore[reportArgumentType] (checked in settings.check)
            batch_entropy=None if first is None else first.entropy,
        )

    return objective
