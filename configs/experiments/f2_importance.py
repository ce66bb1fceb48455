"""Figure 2: POIS has the entropy and accuracy of TOIS; with SAIS entropy collapses and accuracy falls behind.

Paper: Qwen3-30B-A3B, L = 4k, 32k and 64k.
Setting: configs/tiny_choices.py from one warm start per seed, without DMMPT, 200 steps. The learning rate is 2e-3,
four times the tiny job's, and M = 8 for POIS and SAIS, so that a sample's segments are of policies that differ; TOIS
is M = 1. As many samples finish in a step of each.
Command:  python launch/ablate.py --config=configs/experiments/f2_importance.py --workdir=runs/claims
Expected time: 18 minutes on 2 cores (9 runs of 85 s), and 4 for the warm starts if they are not there yet.
Refuted by: POIS ends more than 0.05 nats from TOIS in a seed, or 0.03 below its accuracy; or SAIS does not end 0.05
nats under POIS in every seed. Where under 2% of SAIS's tokens lie outside the clip range, staleness is too small for
the two to differ, and this scale cannot tell.
"""

import ml_collections

from configs.experiments import arms, base


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = base.get_config()
    c.claim = "POIS tracks TOIS, SAIS collapses."
    c.paper = "Figure 2: entropy and accuracy over the steps, L = 4k, 32k, 64k"
    c.cells = base.in_order(tois=arms.TOIS, pois=arms.POIS, sais=arms.SAIS)
    c.metrics = base.in_order(
        entropy_start=base.metric("entropy/mean", first=10),
        entropy=base.metric("entropy/mean", last=50),
        accuracy=base.metric("heldout/sampled", last=2),
        outside=base.metric("ratio/outside_frac"),
        clipped=base.metric("ratio/clip_frac"),
        staleness_kl=base.metric("staleness/kl"),
        age_steps=base.metric("staleness/steps"),
    )
    c.panels = base.in_order(
        entropy=base.panel("Entropy", "nats per token", curve="entropy/mean"),
        accuracy=base.panel("Held-out accuracy, sampled", "share", curve="heldout/sampled"),
        outside=base.panel("Tokens outside the clip range", "share", curve="ratio/outside_frac"),
        clipped=base.panel("Tokens whose gradient is clipped", "share", curve="ratio/clip_frac"),
        staleness=base.panel("Staleness: KL to the drawing policies", "nats per token", curve="staleness/kl"),
        reward=base.panel("Training reward", "share correct", curve="reward/mean"),
    )
    c.rules = base.in_order(
        stale=base.rule("2% of SAIS's tokens lie outside the clip range", "sais.outside", low=0.02, role="condition"),
        entropy=base.rule("POIS ends with TOIS's entropy", "pois.entropy", "tois.entropy", low=-0.05, high=0.05),
        accuracy=base.rule("POIS is as accurate as TOIS", "pois.accuracy", "tois.accuracy", low=-0.03),
        collapse=base.rule("SAIS ends with less entropy than POIS", "sais.entropy", "pois.entropy", high=-0.05),
        behind=base.rule("SAIS falls behind", "sais.accuracy", "pois.accuracy", high=-0.02, seeds=2),
    )
    return c
