"""What a run reads and judges text with, made from its settings: tokenizer, prompts, judge."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ulorl_jax.io.hf_tokenizer import HFTokenizer
from ulorl_jax.io.prompts import Source
from ulorl_jax.io.tokenizer import ByteTokenizer, Tokenizer, TrustedText
from ulorl_jax.mesh import Layout
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.models.qwen3_params import map_table
from ulorl_jax.replies import Replies
from ulorl_jax.rewards import Cached, Dealt, FirstThen, Judge
from ulorl_jax.rollout.engine import EngineSpec, PolicyEngine
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.rollout.segments import KEEP, SegmentSettings
from ulorl_jax.sections import (
    AskingSettings,
    FileSettings,
    GenerativeSettings,
    PromptSettings,
    TokenizerSettings,
    VerifySettings,
)
from ulorl_jax.sections.checks import check_asking
from ulorl_jax.typed import choose
from ulorl_jax.types import PyTree
from ulorl_jax.verify.comparison import Comparer
from ulorl_jax.verify.final_answer import FinalAnswer
from ulorl_jax.verify.rules import Rules
from ulorl_jax.verify.verifier import REASONED, GenerativeVerifier, RowShapes
from ulorl_jax.verify.verifier_prompt import FILE as PROMPT
from ulorl_jax.verify.verifier_prompt import VerifierPrompt
from ulorl_jax.weights import open_weights


def make_tokenizer(settings: TokenizerSettings, vocab_size: int, folder: Path | None) -> Tokenizer:
    """The tokenizer of the settings.

    Args:
      settings: its kind and what it needs.
      vocab_size: V, of the model.
      folder: with the files of a Hugging Face tokenizer; None where there is none.

    Returns:
      The tokenizer.

    Raises:
      ValueError: it needs a folder, or has ids that the model does not.
    """

    def from_folder() -> Tokenizer:
        if folder is None:
            raise ValueError(
                "tokenizer.kind=hf needs a folder with tokenizer.json; set tokenizer.path, or tokenizer.kind=bytes"
            )
        return HFTokenizer(folder, settings.eos_ids)

    kinds = {"bytes": lambda: ByteTokenizer(vocab_size, settings.eos_ids, settings.pad_id), "hf": from_folder}
    tokenizer = choose(kinds, settings.kind, "tokenizer.kind")()
    if tokenizer.vocab_size > vocab_size:
        raise ValueError(
            f"the tokenizer of {folder} has {tokenizer.vocab_size} ids, the model model.vocab_size={vocab_size}; "
            f"use the tokenizer that the model was made with"
        )
    return tokenizer


def make_encode(settings: PromptSettings, tokenizer: Tokenizer) -> Callable[[str], np.ndarray]:
    """From a question's text to the ids of its prompt, through template and chat.

    Args:
      settings: what stands around the question.
      tokenizer: turns the text into ids; nothing in a question can become a control token.

    Returns:
      A function of the question.

    Raises:
      ValueError: the template has no place for the question.
    """
    place = "{question}"
    if place not in settings.template:
        raise ValueError(f"prompt.template {settings.template!r} has no {place}, the place of the question")

    def encode(question: str) -> np.ndarray:
        text = TrustedText(settings.template, place, question)
        if not settings.chat:
            return tokenizer.encode(text)
        system = [{"role": "system", "content": TrustedText(settings.system)}] if settings.system else []
        return tokenizer.encode_chat([*system, {"role": "user", "content": text}], thinking=settings.thinking)

    return encode


def make_judge(settings: VerifySettings, layout: Layout) -> Judge:
    """The judge that the settings name.

    Args:
      settings: of its kind, and of what it is made of.
      layout: of decoding, on the run's mesh; a generative verifier lives on it beside the policy.

    Returns:
      The judge; its worker processes start when it is first asked, and end when it is closed.

    Raises:
      ValueError: the verifier's weights cannot be used as the settings say.
    """
    with contextlib.ExitStack() as held:

        def rules() -> Comparer:
            rules = contextlib.closing(Rules(workers=settings.workers, deadline_s=settings.deadline_s))
            return Dealt(held.enter_context(rules))

        def verifier() -> Comparer:
            return make_verifier(settings.verifier, layout)

        kinds: dict[str, Callable[[], Comparer]] = {
            "final_answer": FinalAnswer,
            "rules": rules,
            "verifier": verifier,
            "rules_then_verifier": lambda: FirstThen(rules(), verifier()),
        }
        comparer = choose(kinds, settings.kind, "verify.kind")()
        cached = Cached(comparer, settings.cache, by_question=settings.asks_a_model)
        return Judge(cached, settings.marker, held.pop_all())


def make_verifier(settings: GenerativeSettings, layout: Layout) -> GenerativeVerifier:
    """A generative verifier with its weights on the device.

    Args:
      settings: weights, and how they are asked.
      layout: of decoding.

    Returns:
      The verifier; without a verifier.json beside the weights it is asked with the project's own prompt.

    Raises:
      ValueError: weights, prompt or tokenizer cannot be used, or a setting is out of range.
    """
    s = settings
    weights = open_weights(s.folder)
    model = dataclasses.replace(weights.config, dtype=s.dtype)
    folder = Path(s.tokenizer.path) if s.tokenizer.path else weights.files
    tokenizer = make_tokenizer(s.tokenizer, model.vocab_size, folder)
    params = weights.load(map_table(lambda row: layout.sharding(*row.axes, shape=row.shape), model), model.dtype)
    prompt = VerifierPrompt.load(s.weights) if (Path(s.weights) / PROMPT).is_file() else VerifierPrompt()
    identity = weights.describe()["identity"]
    return verifier_of(s, model, params, layout, tokenizer, prompt, identity, "verify.verifier")


def verifier_of(
    settings: AskingSettings,
    model: Qwen3Config,
    params: PyTree,
    layout: Layout,
    tokenizer: Tokenizer,
    prompt: VerifierPrompt,
    identity: str,
    section: str,
) -> GenerativeVerifier:
    """A generative verifier of weights that are on the device.

    Args:
      settings: how they are asked.
      model, params, layout: the network, laid out for decoding.
      tokenizer, prompt: of the weights.
      identity: of the weights.
      section: of the config that holds the settings, for messages.

    Returns:
      The verifier.

    Raises:
      ValueError: a setting is out of range, or something does not fit the rest.
    """
    s = settings
    check_asking(s, section)
    generate = None
    if s.mode == REASONED:
        # Greedy, so that a verdict does not depend on what was asked before.
        spec = EngineSpec(model, s.slots, s.width, Sampling(0.0), tokenizer.eos_ids, layout)
        segments = SegmentSettings(s.segment_length, s.output_limit, KEEP, s.rows, min(s.row_lengths), refill_latency=0)
        generate = Replies(PolicyEngine(spec, seed=0), params, segments, tokenizer.decode_output)
        identity = f"{identity}, greedy, at most {s.output_limit} tokens"
    return GenerativeVerifier(
        model,
        params,
        layout,
        tokenizer,
        prompt,
        RowShapes(s.row_lengths, s.rows, s.prompts_per_row),
        mode=s.mode,
        threshold=s.threshold,
        min_mass=s.min_mass,
        min_token_p=s.min_token_p,
        generate=generate,
        identity=identity,
    )


def make_source(name: str, file: FileSettings, weight: float = 1.0) -> Source:
    """A file of the settings as `Prompts.read` takes it."""
    return Source(name, file.path, weight, file.question_field, file.answer_field, file.id_field or None)
