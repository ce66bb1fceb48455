"""The rule for references that end in a marker and a number, as "#### 42" in GSM8K."""

import dataclasses
import re
from decimal import Decimal
from typing import ClassVar

from ulorl_jax.types import Verdict

# Longer text is no number here: it bounds what hostile output can cost.
MAX_CHARACTERS = 100
# ASCII digits with at most thousands commas, a dollar sign and a closing period. No exponent, no NaN, no
# infinity: every match is a finite Decimal that is cheap to compare.
NUMBER = re.compile(r"(?P<sign>[-+]?)\$?(?P<digits>(\d{1,3}(,\d{3})+|\d+)(\.\d+)?|\.\d+)\.?", re.ASCII)


@dataclasses.dataclass(frozen=True)
class FinalAnswerVerifier:
    """Compares the number after the last marker with the reference's.

    Attributes:
      marker: stands before the answer: "#" in the tiny task, "####" in GSM8K.
      version: of the rule, for records; another verdict for any pair is another version.

    Raises:
      ValueError: the marker is empty.
    """

    marker: str
    version: ClassVar[str] = "final_answer-1"

    def __post_init__(self):
        if not self.marker:
            raise ValueError('marker is empty, so no answer could be found; give what stands before it, e.g. "####"')

    def __call__(self, output: str, reference: str) -> Verdict:
        """Right when both answers are the same number, however it is written.

        Args:
          output: the sample's text without its end token. All that follows its last
            marker must be the answer: "#7" is an answer, "#7x" is none.
          reference: the answer after its last marker, or the bare answer.

        Returns:
          1.0 or 0.0 with what was read, and the number as the answer; None, an error, when
          the reference holds no number, for then no output can be judged.
        """
        wanted = reference.rpartition(self.marker)[2].strip()
        truth = _number(wanted)
        if truth is None:
            return Verdict(None, f"the reference's answer {_short(wanted)} is not a number")
        _, found, answer = output.rpartition(self.marker)
        answer = answer.strip()
        if not found:
            return Verdict(0.0, f"no {self.marker!r} in the output")
        prediction = _number(answer)
        if prediction is None:
            return Verdict(0.0, f"{_short(answer)} after the last {self.marker!r} is not a number")
        if prediction != truth:
            return Verdict(0.0, f"{_short(answer)}, not {_short(wanted)}", _plain(prediction))
        return Verdict(1.0, _short(answer), _plain(prediction))


def _number(text: str) -> Decimal | None:
    if len(text) > MAX_CHARACTERS:
        return None
    match = NUMBER.fullmatch(text)
    return Decimal(match["sign"] + match["digits"].replace(",", "")) if match else None


def _plain(number: Decimal) -> str:
    """One spelling for every number: no sign before 0, no zeros at its end."""
    text = f"{abs(number) if number == 0 else number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "...")
