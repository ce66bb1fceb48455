"""The tokenizer of a Hugging Face folder, without the transformers library."""

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ulorl_jax.io.chat_template import ChatTemplate, ControlTokens
from ulorl_jax.io.tokenizer import TrustedText, before_end, to_utf8

FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json", "config.json")
# A token with one of these flags takes text beside it along, or is looked for in normalized text only.
FLAGS = ("lstrip", "rstrip", "single_word", "normalized")
NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class HFTokenizer:
    """A `Tokenizer` (see io.tokenizer) whose ids and chat text are those of transformers' AutoTokenizer.

    It differs where data spells a control token, which here is any added token (<|im_end|>, <think>): in
    plain text, and in what users, system and tools say, it stays text.

    Args:
      folder: with tokenizer.json, tokenizer_config.json and, for chats, a template in the latter or in
        chat_template.jinja.
      eos_ids: ids that end an output; none takes those of generation_config.json, else of config.json,
        else the eos_token of tokenizer_config.json.

    Attributes:
      vocab_size: one more than the largest id; the model's is often padded to a larger one.
      eos_ids: ids that end an output, ascending.
      pad_id: of the pad_token, else the first of eos_ids. It may be one of eos_ids, as it is for Qwen3.

    Raises:
      ValueError: a file is missing or broken, no end token is known, or a token is of a kind that is not
        supported.
    """

    def __init__(self, folder: str | os.PathLike[str], eos_ids: Sequence[int] = ()):
        self._folder = pathlib.Path(folder)
        description = self._needed_json("tokenizer.json")
        config = self._needed_json("tokenizer_config.json")
        added = description.get("added_tokens") or []
        self._check_added(added, config)
        self._controls: dict[str, int] = {token["content"]: token["id"] for token in added}
        self._whole = self._build(description)
        self._plain = self._build(description | {"added_tokens": []})
        self._check_pieces()
        ids = list(self._whole.get_vocab(with_added_tokens=True).values())
        self.vocab_size: int = max(ids) + 1
        self._is_known = np.zeros(self.vocab_size, bool)
        self._is_known[ids] = True
        names = {name: _content(config[name]) for name in NAMED if config.get(name)}
        self.eos_ids: tuple[int, ...] = tuple(sorted({int(i) for i in eos_ids or self._end_tokens(names)}))
        unknown = [i for i in self.eos_ids if not (0 <= i < self.vocab_size and self._is_known[i])]
        if unknown:
            raise ValueError(f"eos_ids must be ids of the tokenizer in {self._folder}, got {unknown}")
        named = self._id_of(names["eos_token"]) if "eos_token" in names else None
        self._end_id: int = named if named in self.eos_ids else self.eos_ids[0]
        self.pad_id: int = self._id_of(names["pad_token"]) if "pad_token" in names else self.eos_ids[0]
        source = self._template_source(config)
        self._cutter = ControlTokens(list(self._controls))
        self._template = None if source is None else ChatTemplate(source, names, self._cutter)

    def encode(self, text: str) -> np.ndarray:
        """Ids of plain text.

        Args:
          text: control tokens spelled out in it are text like any other; in the config's part of a
            `TrustedText` they are control tokens.

        Returns:
          `[n]` i32, without begin and end tokens.

        Raises:
          ValueError: a character that is not UTF-8 (half of a surrogate pair).
        """
        to_utf8(text)
        if isinstance(text, TrustedText):
            mark = self._cutter.choose_mark(text)
            return self._to_ids(self._cutter.cut(self._cutter.mark(text, mark), mark))
        return np.array(self._plain.encode(text, add_special_tokens=False).ids, np.int32)

    def encode_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        thinking: bool,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> np.ndarray:
        """Ids of a conversation up to where the assistant speaks.

        Args:
          messages: dicts with "role" ("system", "user", "assistant", "tool") and "content". The
            assistant's messages are trusted: control tokens in them are control tokens.
          thinking: the template's switch `enable_thinking`.
          tools: JSON schemas of functions.

        Returns:
          `[n]` i32. Control tokens among them were written by the template or the assistant.

        Raises:
          ValueError: the folder has no chat template, or `ChatTemplate.render` refuses.
        """
        return self._to_ids(self._pieces(messages, thinking, tools))

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        thinking: bool,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        """The text whose ids `encode_chat` gives, for people: it does not tell control tokens from data.

        Args:
          messages: as for `encode_chat`.
          thinking: the same.
          tools: the same.

        Returns:
          The text.

        Raises:
          ValueError: the same.
        """
        return "".join(text for text, _ in self._pieces(messages, thinking, tools))

    def encode_output(self, text: str) -> np.ndarray:
        """Ids of a worked answer, and the end token that closes a turn.

        Args:
          text: trusted: control tokens in it, such as <think>, are control tokens.

        Returns:
          `[n]` i32; the last is the eos_token of tokenizer_config.json where that is one of `eos_ids`.

        Raises:
          ValueError: an end token within the text, or a character that is not UTF-8.
        """
        to_utf8(text)
        ids = self._whole.encode(text, add_special_tokens=False).ids
        if ends := sorted(set(ids) & set(self.eos_ids)):
            raise ValueError(f"the answer holds the end token {self.decode(ends)!r}; it must come after it, and once")
        return np.array([*ids, self._end_id], np.int32)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of all ids, control tokens among them.

        Args:
          ids: `[n]` int.

        Returns:
          Text; incomplete UTF-8 and ids the tokenizer does not have become U+FFFD.
        """
        ids = np.asarray(ids, np.int64)
        inside = (ids >= 0) & (ids < self.vocab_size)
        known = inside & self._is_known[np.where(inside, ids, 0)]
        # The library leaves unknown ids out without a word: they are cut out here, and shown.
        runs = np.split(np.where(known, ids, -1), np.flatnonzero(~known))
        texts = [self._whole.decode(run[run >= 0].tolist(), skip_special_tokens=False) for run in runs]
        return "\ufffd".join(texts)

    def decode_output(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text before the first end token; other control tokens such as <think> are in it.

        Args:
          ids: `[n]` int.

        Returns:
          Text, as `decode` gives it.
        """
        return self.decode(before_end(ids, self.eos_ids))

    def describe(self) -> dict[str, Any]:
        """What decides its ids: the SHA-256 of the files, the end tokens and the chat template.

        Returns:
          JSON-able dict.
        """
        files = [self._folder / name for name in FILES if (self._folder / name).is_file()]
        return {
            "kind": "hf",
            "vocab_size": self.vocab_size,
            "eos_ids": list(self.eos_ids),
            "pad_id": self.pad_id,
            "sha256": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
            "chat_template": self._template.source if self._template else None,
        }

    def _to_ids(self, pieces: Sequence[tuple[str, bool]]) -> np.ndarray:
        parts = [[self._controls[text]] if is_control else self.encode(text) for text, is_control in pieces]
        return np.concatenate([np.empty(0, np.int32), *parts]).astype(np.int32)

    def _pieces(
        self,
        messages: Sequence[Mapping[str, Any]],
        thinking: bool,
        tools: Sequence[Mapping[str, Any]] | None,
    ) -> list[tuple[str, bool]]:
        if self._template is None:
            raise ValueError(
                f"{self._folder} has no chat template (tokenizer_config.json or chat_template.jinja); add one, "
                "or write the prompt as plain text"
            )
        return self._template.render(messages, thinking=thinking, tools=tools)

    def _check_added(self, added: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> None:
        """Refuses tokens for which cutting the text at control tokens would not be what the tokenizer does."""
        for token in added:
            text, flags = token["content"], [flag for flag in FLAGS if token.get(flag)]
            if flags or len(text) < 2 or text != text.strip():
                what = f"the flags {flags}" if flags else "white space at an end, or fewer than two characters"
                raise ValueError(f"{self._folder}: the added token {text!r} has {what}, which is not supported")
        elsewhere = {_content(token) for token in (config.get("added_tokens_decoder") or {}).values()}
        missing = sorted(elsewhere - {token["content"] for token in added})
        if missing:
            raise ValueError(
                f"{self._folder}: tokenizer_config.json adds tokens that tokenizer.json lacks: {missing}; save the "
                "tokenizer again, so that tokenizer.json has them"
            )

    def _check_pieces(self) -> None:
        for text, number in self._controls.items():
            if number in self._plain.encode(text, add_special_tokens=False).ids:
                raise ValueError(f"{self._folder}: the added token {text!r} is also one of plain text; not supported")
            words = "user\nHow much is 1 + 1?\n"
            plain = self._plain.encode(words, add_special_tokens=False).ids
            if self._whole.encode(text + words + text, add_special_tokens=False).ids != [number, *plain, number]:
                raise ValueError(f"{self._folder}: text beside {text!r} is read otherwise than alone; not supported")

    def _build(self, description: Mapping[str, Any]) -> Any:
        import tokenizers

        try:
            tokenizer = tokenizers.Tokenizer.from_str(json.dumps(description))
        except Exception as error:  # the library raises nothing more precise
            raise ValueError(f"{self._folder / 'tokenizer.json'}: {_line(error)}") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def _end_tokens(self, names: Mapping[str, str]) -> list[int]:
        for file in ("generation_config.json", "config.json"):
            found = (self._json(file) or {}).get("eos_token_id")
            if found is not None:
                return found if isinstance(found, list) else [found]
        if "eos_token" not in names:
            raise ValueError(
                f"{self._folder} names no end token (generation_config.json, config.json or the eos_token of "
                "tokenizer_config.json): no output could ever end; give eos_ids"
            )
        return [self._id_of(names["eos_token"])]

    def _id_of(self, token: str) -> int:
        number = self._whole.token_to_id(token)
        if number is None:
            raise ValueError(f"{self._folder}: {token!r} of tokenizer_config.json is no token of tokenizer.json")
        return number

    def _template_source(self, config: Mapping[str, Any]) -> str | None:
        file = self._folder / "chat_template.jinja"
        source = file.read_text(encoding="utf-8") if file.is_file() else config.get("chat_template")
        if source is not None and not isinstance(source, str):
            raise ValueError(f"{self._folder}: want one chat template, got {_line(json.dumps(source))[:60]}")
        return source

    def _needed_json(self, name: str) -> dict[str, Any]:
        content = self._json(name)
        if content is None:
            raise ValueError(f"no such file: {self._folder / name}; want the folder of a Hugging Face tokenizer")
        return content

    def _json(self, name: str) -> dict[str, Any] | None:
        path = self._folder / name
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: not JSON ({error})") from error
        if not isinstance(content, dict):
            raise ValueError(f"{path}: want a JSON object, got {type(content).__name__}")
        return content


def _content(token: str | Mapping[str, Any]) -> str:
    return token if isinstance(token, str) else token["content"]


def _line(error: object) -> str:
    return " ".join(str(error).split())[:200]
