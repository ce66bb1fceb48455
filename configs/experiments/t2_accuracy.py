"""Tables 2 and 3, with and without DMMPT: masking mastered tokens below sigma makes the final policy more accurate.

Paper: UloRL 128k, AIME-2025 82.8 with DMMPT and 78.6 without, BeyondAIME 60.2 and 57.1.
Setting: configs/tiny_choices.py, 300 steps from one warm start per seed; sigma below the entropy of the start, as
the paper's. Accuracy is the mean of the last two evaluations, 512 held-out questions, two samples each, the same draws
for both: the standard error of a score is about 0.01.
Command:  python launch/ablate.py --config=configs/experiments/t2_accuracy.py --workdir=runs/claims
Expected time: 12 minutes on 2 cores (6 runs of 115 s, all of them f5_dmmpt's), and 5 for the warm starts.
Refuted by: the gain is less than 0.02 in more than one seed, or a loss in any. Where the policy without DMMPT is right
more than 95 times of 100, nothing is left to gain. Tried before, seed 0, on chains from two digits on: 0.80 without,
0.97 with masking always at step 200; the former had unlearned two digits, of which there are no longer any.
"""

import ml_collections

from configs.experiments import arms, base
from configs.experiments.f4_mastered_tokens import entropy_metrics, entropy_panels


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = base.get_config()
    c.claim = "DMMPT makes the final policy more accurate."
    c.paper = "Tables 2 and 3: AIME-2025 78.6 -> 82.8, BeyondAIME 57.1 -> 60.2"
    c.cells = base.in_order(plain=arms.PLAIN, sample_low=arms.LOW)
    c.metrics = entropy_metrics()
    c.panels = entropy_panels(arms.SIGMA_LOW)
    c.panels.bars = base.panel("Final held-out accuracy", "share", bars=("accuracy",))
    c.rules = base.in_order(
        room=base.rule("something is left to gain", "plain.accuracy", high=0.95, role="condition"),
        gain=base.rule("DMMPT gains 0.02", "sample_low.accuracy", "plain.accuracy", low=0.02, seeds=2),
        no_loss=base.rule("and loses nowhere", "sample_low.accuracy", "plain.accuracy", low=0.0),
    )
    return c
