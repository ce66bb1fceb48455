"""When a step's outputs are judged: at once, or while the next segment decodes. And when too many cannot be.

All judging of a run is done by one thread, one batch after the other: the worker processes and
the device work meanwhile, and no two batches meet in a comparer.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from ulorl_jax.io.tokenizer import Tokenizer
from ulorl_jax.rewards import Judge, to_attempts
from ulorl_jax.sections import RewardSettings
from ulorl_jax.types import Sample, Verdict

_OWN = re.compile(r"'[^']*'|\"[^\"]*\"|\d+(?:\.\d+)?")  # what of a reason speaks of one answer alone
_REASONS_SHOWN = 3
_CHARACTERS_SHOWN = 80  # of an answer or a reason


class Judging:
    """The finished samples on their way to a verdict. Also a context manager, which ends the judge.

    Args:
      judge: of attempts.
      tokenizer: ids to text.
      settings: overlap and the limit of errors.

    Attributes:
      samples: being judged. Between two steps there are some only where rewards overlap with decoding.
      recent: of the last `error_window` verdicts on answers, oldest first: what kind of error, or "". An output that
        was truncated or holds no answer is worth 0 without anybody being asked, so it tells nothing of the judge.
      example: the last error, for people.
    """

    def __init__(self, judge: Judge, tokenizer: Tokenizer, settings: RewardSettings):
        self._judge, self._tokenizer, self._settings = judge, tokenizer, settings
        self._thread = ThreadPoolExecutor(1, "judge")
        self._result: Future[tuple[list[Verdict], int]] | None = None
        self.samples: list[Sample] = []
        self.recent: collections.deque[str] = collections.deque(maxlen=settings.error_window)
        self.example = ""

    def __enter__(self) -> Judging:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._judge.close()  # first: a batch that nobody will collect then ends at once
        self._thread.shutdown(cancel_futures=True)

    @property
    def num_tokens(self) -> int:
        """Tokens sampled for the samples being judged."""
        return sum(sample.num_tokens for sample in self.samples)

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        """Verdicts of samples that are not trained on, those of the evaluation."""
        return self._thread.submit(self._verdicts, samples).result()[0]

    def exchange(self, finished: Sequence[Sample]) -> tuple[list[Sample], list[Verdict], dict[str, float]]:
        """Takes the samples that a step finished, gives those that have a verdict now.

        Args:
          finished: the step's.

        Returns:
          Samples and verdicts: the same samples, or, where rewards overlap with decoding, those of the step before.
          And metrics.

        Raises:
          ValueError: too many answers could not be judged.
        """
        samples, verdicts, hits = self._collect()  # without overlap none, unless the run resumed from one with it
        self.submit(finished)
        if not self._settings.overlap:
            now = self._collect()
            samples, verdicts, hits = samples + now[0], verdicts + now[1], hits + now[2]
        self._refuse_too_many_errors(samples, verdicts)
        rewards = [verdict.reward for verdict in verdicts if verdict.reward is not None]
        metrics = {
            "reward/errors": float(len(verdicts) - len(rewards)),
            "reward/error_rate": sum(map(bool, self.recent)) / max(len(self.recent), 1),
            "reward/cache_hits": float(hits),
        }
        return samples, verdicts, metrics | ({"reward/mean": float(np.mean(rewards))} if rewards else {})

    def submit(self, samples: Sequence[Sample]) -> None:
        """Begins to judge samples; those before them must have been given out."""
        assert not self.samples, "two batches are being judged"
        self.samples = list(samples)
        self._result = self._thread.submit(self._verdicts, self.samples)

    def _collect(self) -> tuple[list[Sample], list[Verdict], int]:
        if self._result is None:
            return [], [], 0
        verdicts, hits = self._result.result()
        samples, self.samples, self._result = self.samples, [], None
        return samples, verdicts, hits

    def _verdicts(self, samples: Sequence[Sample]) -> tuple[list[Verdict], int]:
        """In the thread: the verdicts, and how many of them came from memory."""
        before = self._judge.hits
        return self._judge(to_attempts(samples, self._tokenizer)), self._judge.hits - before

    def _refuse_too_many_errors(self, samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> None:
        for sample, verdict in zip(samples, verdicts, strict=True):
            if verdict.reward is None:
                self.recent.append(_short(_OWN.sub("..", verdict.reason)) or "no reason given")
                reference, answer = _short(sample.prompt.reference), _short(verdict.answer or "")
                self.example = f"reference {reference!r}, answer {answer!r}: {' '.join(verdict.reason.split())}"
            elif verdict.answer is not None:
                self.recent.append("")
        s, errors = self._settings, collections.Counter(filter(None, self.recent))
        # A window that is not full yet says little: a run may begin with a hard question.
        if len(self.recent) == s.error_window and errors.total() > s.max_error_rate * s.error_window:
            reasons = ", ".join(f"{reason} ({count} times)" for reason, count in errors.most_common(_REASONS_SHOWN))
            raise ValueError(
                f"{errors.total()} of the last {s.error_window} answers could not be judged, more than "
                f"verify.max_error_rate={s.max_error_rate:g} allows: {reasons}; for example {self.example}. This step "
                f"was not saved: mend the references or choose another verify.kind (rules_then_verifier asks a "
                f"language model where rules are unsure), and start again; the run goes on from its last checkpoint"
            )


def _short(text: str) -> str:
    text = " ".join(text.split())  # what people read of a stop is one line
    return text if len(text) <= _CHARACTERS_SHOWN else text[:_CHARACTERS_SHOWN] + "..."
