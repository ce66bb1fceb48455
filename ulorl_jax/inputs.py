"""What a run reads text with, made from its settings: tokenizer, prompts, verifier."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from ulorl_jax.io.hf_tokenizer import HFTokenizer
from ulorl_jax.io.prompts import Source
from ulorl_jax.io.tokenizer import ByteTokenizer, Tokenizer, TrustedText
from ulorl_jax.sections import FileSettings, PromptSettings, TokenizerSettings, VerifySettings
from ulorl_jax.typed import choose
from ulorl_jax.types import Verdict
from ulorl_jax.verify.boxed import BoxedVerifier
from ulorl_jax.verify.final_answer import FinalAnswerVerifier

VERIFIERS = {"boxed": BoxedVerifier, "final_answer": FinalAnswerVerifier}


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


class Verifier(Protocol):
    """(output text, reference) to a verdict; `version` changes when its verdicts may."""

    version: str

    def __call__(self, output: str, reference: str) -> Verdict: ...


def make_verifier(settings: VerifySettings) -> Verifier:
    """The rule that the settings name."""
    return choose(VERIFIERS, settings.kind, "verify.kind")(settings.marker)


def make_source(name: str, file: FileSettings, weight: float = 1.0) -> Source:
    """A file of the settings as `Prompts.read` takes it."""
    return Source(name, file.path, weight, file.question_field, file.answer_field, file.id_field or None)
