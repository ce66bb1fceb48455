"""The text of each token by itself."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ulorl_jax.io.hf_tokenizer import HFTokenizer
from ulorl_jax.io.tokenizer import ByteTokenizer, Tokenizer

BROKEN = "\ufffd"  # what a tokenizer decodes a part of a character to
LONGEST = 64  # ids that are decoded together: beyond it they are no character, but rubbish


class Pieces:
    """Cuts the text of an output into that of its tokens.

    Args:
      tokenizer: the run's; None shows ids.

    Attributes:
      texts: of every id met so far that is text by itself.
    """

    def __init__(self, tokenizer: Tokenizer | None):
        self.texts: dict[int, str] = {}
        self._parts: set[int] = set()  # ids that hold a part of a character
        self._tokenizer = tokenizer

    def exceptions(self, ids: Sequence[int]) -> dict[int, str]:
        """The texts of the tokens of an output that `texts` does not have.

        Args:
          ids: of an output.

        Returns:
          Text by position. A character stands at the last of its tokens, the others have "": joined in order, with
          those of `texts`, they are the text of all ids.
        """
        found: dict[int, str] = {}
        start, done = 0, 0  # of the ids since then, so many characters are told
        open_ids = False
        for i, number in enumerate(ids):
            if self._is_text(number):
                if open_ids:  # what came before can no longer become a character
                    found[i - 1] += self._decode(ids[start:i])[done:]
                    open_ids = False
                continue
            if not open_ids:
                start, done, open_ids = i, 0, True
            text = self._decode(ids[start : i + 1])
            told = text if i + 1 - start >= LONGEST else text.rstrip(BROKEN)
            found[i] = told[done:]
            done = len(told)
            open_ids = done < len(text)
        if open_ids:
            found[len(ids) - 1] += self._decode(ids[start:])[done:]
        return found

    def _is_text(self, number: int) -> bool:
        if number not in self.texts and number not in self._parts:
            text = self._decode([number])
            if BROKEN in text:
                self._parts.add(number)
            else:
                self.texts[number] = text
        return number in self.texts

    def _decode(self, ids: Sequence[int]) -> str:
        if self._tokenizer is None:
            return "".join(f"\u27e8{number}\u27e9" for number in ids)
        return self._tokenizer.decode(ids)


def tokenizer_of(folder: str | os.PathLike[str], config: Mapping[str, Any]) -> Tokenizer | None:
    """The tokenizer of a run.

    Args:
      folder: its workdir.
      config: its config.json.

    Returns:
      The tokenizer, or None where the run's Hugging Face folder is no longer there.

    Raises:
      ValueError: the folder is there and cannot be read.
    """
    about = config["tokenizer"]
    if about["kind"] == "bytes":
        return ByteTokenizer(config["model"]["vocab_size"], tuple(about["eos_ids"]), about["pad_id"])
    named, first_weights = about["path"], config["warm_start"]["checkpoint"]
    places = [named, os.path.join(folder, "hf"), first_weights]  # the order in which the run looks
    found = [place for place in places if place and (pathlib.Path(place) / "tokenizer.json").is_file()]
    return HFTokenizer(found[0], tuple(about["eos_ids"])) if found else None
