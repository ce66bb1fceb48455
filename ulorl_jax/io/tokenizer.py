"""Text to token ids and back: the only room besides verify/ that knows text."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np


class Tokenizer(Protocol):
    """What the rest of the project asks of a tokenizer.

    Attributes:
      vocab_size: the tokenizer's own ids are 0 <= id < vocab_size; a model may have more.
      eos_ids: the SET of ids that end an output, ascending.
      pad_id: fills what holds no token; never produced by `encode`.
    """

    @property
    def vocab_size(self) -> int: ...

    @property
    def eos_ids(self) -> tuple[int, ...]: ...

    @property
    def pad_id(self) -> int: ...

    def encode(self, text: str) -> np.ndarray:
        """`[n]` i32 of plain text: a control token spelled out in it stays text, unless it stands in the config's
        part of a `TrustedText`. ValueError where it cannot."""
        ...

    def encode_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        thinking: bool,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> np.ndarray:
        """`[n]` i32 of a conversation up to where the assistant speaks. ValueError where there is no chat format."""
        ...

    def encode_output(self, text: str) -> np.ndarray:
        """`[n]` i32 of a worked answer to learn from, with its end token; control tokens in it are meant as such."""
        ...

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of ALL ids, control tokens among them."""
        ...

    def decode_output(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text before the first end token."""
        ...

    def describe(self) -> dict[str, Any]:
        """What decides its ids, as JSON, for the records of a run."""
        ...


class TrustedText(str):
    """A text of the config's with data in its place: for tokenizers that tell control tokens from data.

    Args:
      template: control tokens spelled out in it are meant as such.
      place: what stands in the template for the data, "{question}" for example; "" for no data.
      data: control tokens spelled out in it stay text.

    Attributes:
      parts: pairs of a text and whether it is data; joined they are this text.
    """

    parts: list[tuple[str, bool]]

    def __new__(cls, template: str, place: str = "", data: str = ""):
        return cls.fill(template, {place: data} if place else {})

    @classmethod
    def fill(cls, template: str, data: Mapping[str, str]) -> "TrustedText":
        """A template with several places.

        Args:
          template: as above.
          data: of each place its text; a place spelled out in a text is data and is not filled.

        Returns:
          The text.
        """
        places = "|".join(map(re.escape, data))
        pieces = re.split(f"({places})", template) if places else [template]
        parts = [(data.get(piece, piece), piece in data) for piece in pieces]
        text = super().__new__(cls, "".join(part for part, _ in parts))
        text.parts = parts
        return text


def to_utf8(text: str) -> bytes:
    """The bytes of a text.

    Args:
      text: any.

    Returns:
      UTF-8.

    Raises:
      ValueError: half of a surrogate pair; names its position.
    """
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"character {text[error.start]!r} at position {error.start} is not UTF-8") from error


def before_end(ids: Sequence[int] | np.ndarray, eos_ids: Sequence[int]) -> np.ndarray:
    """The ids before the first end token.

    Args:
      ids: `[n]` int.
      eos_ids: ids that end an output.

    Returns:
      `[m]` i64, m <= n; all of them where none ends the output.
    """
    ids = np.asarray(ids, np.int64)
    ends = np.flatnonzero(np.isin(ids, eos_ids))
    return ids[: ends[0]] if ends.size else ids


@dataclasses.dataclass(frozen=True)
class ByteTokenizer:
    """One id per byte of the text's UTF-8: id 97 is "a".

    Attributes:
      vocab_size: ids are 0 <= id < vocab_size; 128 holds ASCII, 256 every byte.
      eos_ids: ids that end an output, at least one; kept ascending, without repeats.
      pad_id: fills what holds no token.

    Raises:
      ValueError: an id outside the vocabulary, no end token, or a pad id that ends an output.
    """

    vocab_size: int
    eos_ids: tuple[int, ...]
    pad_id: int = 0

    def __post_init__(self):
        object.__setattr__(self, "eos_ids", tuple(sorted(set(self.eos_ids))))
        if not self.eos_ids:
            raise ValueError("eos_ids is empty: no output could ever end; give at least one id, e.g. [10] for newline")
        outside = [i for i in (*self.eos_ids, self.pad_id) if not 0 <= i < self.vocab_size]
        if outside:
            raise ValueError(f"eos and pad ids must be in 0..{self.vocab_size - 1} (vocab_size - 1), got {outside}")
        if self.pad_id in self.eos_ids:
            raise ValueError(f"pad id {self.pad_id} is one of the eos ids {list(self.eos_ids)}; choose another")

    def encode(self, text: str) -> np.ndarray:
        """Bytes of the text as ids.

        Args:
          text: without end tokens; whoever wants one appends its id.

        Returns:
          `[n]` i32.

        Raises:
          ValueError: a byte outside the vocabulary, or one that is an end or pad id;
            names the character and its position.
        """
        data = to_utf8(text)
        ids = np.frombuffer(data, np.uint8).astype(np.int32)
        reserved = np.isin(ids, [*self.eos_ids, self.pad_id])
        bad = np.flatnonzero(reserved | (ids >= self.vocab_size))
        if bad.size:
            first = int(bad[0])
            position = len(data[:first].decode("utf-8", errors="ignore"))
            what = "is an end or pad id" if reserved[first] else f"is outside the vocabulary of {self.vocab_size}"
            raise ValueError(f"character {text[position]!r} at position {position}: byte {ids[first]} {what}")
        return ids

    def encode_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        thinking: bool,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> np.ndarray:
        """Refuses.

        Raises:
          ValueError: always.
        """
        raise ValueError(
            "the byte tokenizer has no chat format; write the prompt as plain text, or take a Hugging Face tokenizer"
        )

    def encode_output(self, text: str) -> np.ndarray:
        """Ids of a worked answer, and the first end token.

        Args:
          text: as for `encode`.

        Returns:
          `[n]` i32.

        Raises:
          ValueError: as `encode`.
        """
        return np.append(self.encode(text), np.int32(self.eos_ids[0]))

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of all ids, end tokens among them.

        Args:
          ids: `[n]` int.

        Returns:
          Text; bytes that are not UTF-8 and ids that are no bytes become U+FFFD.
        """
        ids = np.asarray(ids, np.int64)
        is_byte = (ids >= 0) & (ids < 256)
        return np.where(is_byte, ids, 0xFF).astype(np.uint8).tobytes().decode("utf-8", errors="replace")

    def decode_output(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of the ids before the first end token.

        Args:
          ids: `[n]` int.

        Returns:
          Text, as `decode` gives it.
        """
        return self.decode(before_end(ids, self.eos_ids))

    def describe(self) -> dict[str, Any]:
        """What decides its ids.

        Returns:
          JSON-able dict.
        """
        return {"kind": "bytes", **dataclasses.asdict(self), "eos_ids": list(self.eos_ids)}
