"""Tables 2 and 3, by output limit: the longer the outputs that a policy is trained with, the more accurate it becomes.

Paper: AIME-2025 73.5, 79.9, 81.6, 82.8 for L = 32k, 64k, 96k, 128k: each step up gains, less each time.
Setting: configs/tiny_choices.py, 200 steps from one warm start per seed, L = 40, 80, 120, 160 in segments of 40, each
evaluated at its own L. A chain of n digits takes 4 n + 2 tokens and 2 more for each sum that is checked, n goes up to
24: at 40 long chains cannot be finished, at 80 some, at 120 all but not with every sum checked, at 160 with.
Command:  python launch/ablate.py --config=configs/experiments/t3_output_limit.py --workdir=runs/claims
Expected time: 16 minutes on 2 cores (12 runs of 80 s), and 5 for the warm starts if they are not there yet.
Refuted by: a longer limit is not more accurate: from 40 to 80 by 0.05 in every seed, from there on at all in two of
three.
"""

import ml_collections

from configs.experiments import base

SLOTS = {40: 128, 80: 150, 120: 175, 160: 200}  # at M = L / 40 about as many samples finish in a step


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = base.get_config()
    c.claim = "A longer output limit makes the policy more accurate."
    c.paper = "Tables 2 and 3: AIME-2025 73.5, 79.9, 81.6, 82.8 at L = 32k, 64k, 96k, 128k"
    c.overrides = ("steps=200",)
    c.cells = base.in_order(
        **{
            f"l{limit}": (
                f"rollout.output_limit={limit}",
                f"rollout.segments={limit // 40}",
                f"rollout.slots={slots}",
            )
            for limit, slots in SLOTS.items()
        }
    )
    c.metrics = base.in_order(
        accuracy=base.metric("heldout/sampled", last=2),
        accuracy_start=base.metric("heldout/sampled", first=1),
        truncated=base.metric("heldout/sampled_truncated", last=2),
        length=base.metric("heldout/sampled_len_mean", last=2),
    )
    c.panels = base.in_order(
        bars=base.panel("Final held-out accuracy by L", "share", bars=("accuracy",)),
        accuracy=base.panel("Held-out accuracy, sampled", "share", curve="heldout/sampled"),
        length=base.panel("Length of held-out outputs", "tokens", curve="heldout/sampled_len_mean"),
    )
    c.rules = base.in_order(
        first=base.rule("L = 80 is better than 40", "l80.accuracy", "l40.accuracy", low=0.05),
        second=base.rule("L = 120 is better than 80", "l120.accuracy", "l80.accuracy", low=0.005, seeds=2),
        third=base.rule("L = 160 is better than 120", "l160.accuracy", "l120.accuracy", low=0.005, seeds=2),
    )
    return c
