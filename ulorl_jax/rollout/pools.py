"""What waits between steps: unfinished samples, finished ones of incomplete groups, and the books.

Algorithm 1 (paper, 3.1) keeps two pools; nothing decoded is ever lost between them.
The ledger counts every sampled token into exactly one place (theorem T8).
"""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ulorl_jax.types import Group, Prompt, Sample, Verdict


class UnfinishedPool:
    """Samples being decoded, each in its slot, and started groups' samples waiting for one.

    Args:
      slots: C.
      finish_groups: waiting samples of the group that has the fewest unfinished ones are placed first, for it is the
        nearest to its release. Nobody waits for ever: a group that is started later has no fewer, until it has
        got slots, and it gets them behind those who wait.
    """

    def __init__(self, slots: int, finish_groups: bool = False):
        self.finish_groups = finish_groups
        self.slots: list[Sample | None] = [None] * slots
        self.waiting: deque[Sample] = deque()

    @property
    def free(self) -> list[int]:
        """Slots without a sample, lowest first."""
        return [slot for slot, sample in enumerate(self.slots) if sample is None]

    @property
    def missing(self) -> int:
        """New samples wanted: free slots that no waiting sample will take."""
        return max(len(self.free) - len(self.waiting), 0)

    @property
    def occupied(self) -> list[tuple[int, Sample]]:
        """Slots with a sample, lowest first."""
        return [(slot, sample) for slot, sample in enumerate(self.slots) if sample is not None]

    @property
    def num_tokens(self) -> int:
        """Tokens sampled for the samples in the pool."""
        placed = [sample for _, sample in self.occupied]
        return sum(sample.num_tokens for sample in [*placed, *self.waiting])

    def add_prompts(self, prompts: Iterable[Prompt], samples_per_prompt: int) -> None:
        """Queues G new samples of each prompt."""
        for prompt in prompts:
            first = prompt.id * samples_per_prompt
            self.waiting.extend(Sample(first + index, prompt) for index in range(samples_per_prompt))

    def place(self, admit: Callable[[int, Sample], bool] = lambda slot, sample: True) -> list[int]:
        """Moves waiting samples into free slots, both in order; returns the slots filled.

        With `finish_groups` the order is by the group's unfinished samples, all of which are in this pool.

        Args:
          admit: whether a slot has room for a sample. Nobody overtakes one that must wait for room.
        """
        if self.finish_groups and len(self.waiting) > 1:
            placed = [sample for _, sample in self.occupied]
            unfinished = Counter(sample.prompt.id for sample in [*placed, *self.waiting])
            self.waiting = deque(sorted(self.waiting, key=lambda sample: unfinished[sample.prompt.id]))
        filled = []
        for slot in self.free:
            if self.waiting and admit(slot, self.waiting[0]):
                self.slots[slot] = self.waiting.popleft()
                filled.append(slot)
        return filled

    def withdraw(self, samples: dict[int, Sample]) -> None:
        """Takes samples out of their slots; they wait before all others, of these the longest context first.

        Args:
          samples: slot -> the sample as it waits.
        """
        for slot in samples:
            self.slots[slot] = None
        order = sorted(samples.values(), key=lambda sample: -sample.context_length)
        self.waiting.extendleft(reversed(order))


@dataclasses.dataclass(frozen=True, eq=False)
class Released:
    """Complete groups that left the experience pool.

    Attributes:
      informative: groups with 0 < number correct < size: they are trained.
      uninformative: groups that carry no advantage: all right, all wrong, or a single sample.
      errors: samples that nobody could judge; they left their group.
      verdicts: by the id of every sample.
    """

    informative: list[Group]
    uninformative: list[Group]
    errors: list[Sample]
    verdicts: dict[int, Verdict]


class ExperiencePool:
    """Finished samples, by group, until the group's last one is finished.

    Args:
      samples_per_prompt: G.
    """

    def __init__(self, samples_per_prompt: int):
        self.samples_per_prompt = samples_per_prompt
        self.groups: dict[int, list[tuple[Sample, Verdict]]] = {}

    @property
    def entries(self) -> list[tuple[Sample, Verdict]]:
        """All samples in the pool with their verdicts, group by group."""
        return [entry for group in self.groups.values() for entry in group]

    @property
    def num_tokens(self) -> int:
        """Tokens sampled for the samples in the pool."""
        return sum(sample.num_tokens for sample, _ in self.entries)

    def add(self, samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> None:
        """Files finished samples under their prompt."""
        for sample, verdict in zip(samples, verdicts, strict=True):
            assert sample.finished, f"sample {sample.id} is not finished"
            self.groups.setdefault(sample.prompt.id, []).append((sample, verdict))

    def release(self) -> Released:
        """Takes out every complete group, lowest prompt id first.

        An uninformative group would add tokens to the denominator and nothing to the
        gradient: it is dropped (dynamic sampling). A sample with an error verdict
        leaves its group; the others are judged among themselves.
        """
        out = Released([], [], [], {})
        for prompt_id in sorted(key for key, group in self.groups.items() if len(group) == self.samples_per_prompt):
            entries = sorted(self.groups.pop(prompt_id), key=lambda entry: entry[0].id)
            out.verdicts.update((sample.id, verdict) for sample, verdict in entries)
            judged = [(sample, verdict.reward) for sample, verdict in entries if verdict.reward is not None]
            out.errors.extend(sample for sample, verdict in entries if verdict.reward is None)
            if not judged:
                continue
            rewards = np.array([reward for _, reward in judged], np.float32)
            group = Group(prompt_id, tuple(sample for sample, _ in judged), rewards)
            (out.informative if rewards.min() < rewards.max() else out.uninformative).append(group)
        return out


@dataclasses.dataclass
class Ledger:
    """Sampled tokens, counted over the whole run, by where they ended.

    Attributes:
      sampled: drawn by the decoder.
      trained: were in the batch of an update that was applied.
      uninformative: were dropped with their group.
      error: were dropped with a sample that could not be judged.
      skipped: were in the batch of an update that was skipped as non-finite.
    """

    sampled: int = 0
    trained: int = 0
    uninformative: int = 0
    error: int = 0
    skipped: int = 0

    def check(self, in_pools: int) -> None:
        """Every sampled token is in exactly one place: the four above, a pool, or with a sample that is being judged.

        Args:
          in_pools: tokens of the samples in both pools and of those being judged.

        Raises:
          RuntimeError: the books do not balance: tokens were lost or counted twice.
        """
        settled = self.trained + self.uninformative + self.error + self.skipped
        if self.sampled != settled + in_pools:
            raise RuntimeError(
                f"the token ledger does not balance: {self.sampled} sampled, but {settled} settled and {in_pools} in "
                f"the pools ({dataclasses.asdict(self)}); please report this with the run's config"
            )
