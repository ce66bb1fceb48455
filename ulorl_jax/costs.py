"""What a step of Algorithm 1 costs."""

from __future__ import annotations

import dataclasses

from ulorl_jax.typed import demand, demand_least


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a step costs, in seconds.

    Attributes:
      step_s: T, what every step takes beside the rest.
      token_step_s: of one token step of `slots` slots that are all active.
      slots: see there.
      slots_share: part of it that goes with the number of slots, whether active or not.
      active_share: part of it that goes with the active slots. The rest is constant (reading the weights).
      prefill_pass_s: of a pass that computes contexts while nobody decodes. It has room for a chunk of `prefill_rows`
        contexts and takes as long when it is half empty. What is computed beside the others' tokens is part of their
        token steps.
      released_token_s: per token of a released group: judging it, packing it, the update.
    """

    step_s: float
    token_step_s: float
    slots: int
    slots_share: float = 0.0
    active_share: float = 0.0
    prefill_pass_s: float = 0.0
    released_token_s: float = 0.0

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            demand_least(f"cost.{name}", 0, value)
        shares = self.slots_share + self.active_share
        demand(shares <= 1, "cost.slots_share and cost.active_share must add up to at most 1", shares, "lower one")

    def decode_s(self, slots: int, token_steps: float, tokens: float) -> float:
        """Seconds of so many token steps in which so many tokens were drawn."""
        constant = (1 - self.slots_share - self.active_share) * token_steps
        with_slots = self.slots_share * token_steps * slots / self.slots
        return self.token_step_s * (constant + with_slots + self.active_share * tokens / self.slots)
