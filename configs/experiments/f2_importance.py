"""Figure 2: POIS has the entropy and accuracy of TOIS; with SAIS entropy collapses and accuracy falls behind.

Paper: Qwen3-30B-A3B, L = 4k, 32k and 64k.
Setting: configs/tiny_choices.py from one warm start per seed, without DMMPT, 60 steps of about 512 samples. M = 16 for
POIS and SAIS, so that a sample's segments are of policies that differ, M = 1 for TOIS; the tiny job's learning rate,
5e-4, and 1e-3 (_fast). The spread of the ratio to the policy that drew a token is shown. The cell pois4, M = 4, has no
rule: it was added when the others had been seen.
Command:  python launch/ablate.py --config=configs/experiments/f2_importance.py --workdir=runs/claims
Expected time: 55 minutes on 1 core (21 runs of 150 s), and 5 for the warm starts if they are not there yet.
Refuted by: at either rate POIS ends more than 0.05 nats from TOIS in a seed, or 0.03 below its accuracy; or at 1e-3
SAIS does not end 0.05 nats under POIS in every seed, and 0.02 less accurate in two. Where under 1% of SAIS's tokens lie
outside the clip range at 1e-3, staleness is too small for the two to differ; where TOIS itself does not gain 0.1, steps
are too large: then this scale cannot tell.
Tried before these rules were written, seed 0. 128 samples a step, 1e-3: TOIS and POIS unlearn what they had, of SAIS's
tokens 0.5% (M = 8) and 1% (M = 16) are outside. 512 samples, 45 steps: at 1e-3 the training reward of TOIS rises to
0.86, that of SAIS to 0.77 with 1.5% outside, that of POIS falls to 0.28; at 2e-3 they are 0.83, 0.1 with 5%, and 0.
"""

import ml_collections

from configs.experiments import arms, base


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = base.get_config()
    c.claim = "POIS tracks TOIS, SAIS collapses."
    c.paper = "Figure 2: entropy and accuracy over the steps, L = 4k, 32k, 64k"
    c.cells = base.in_order(
        tois=arms.TOIS,
        pois4=arms.POIS_4,
        pois=arms.POIS,
        sais=arms.SAIS,
        tois_fast=arms.TOIS_FAST,
        pois_fast=arms.POIS_FAST,
        sais_fast=arms.SAIS_FAST,
    )
    c.metrics = base.in_order(
        entropy_start=base.metric("entropy/mean", first=5),
        entropy=base.metric("entropy/mean", last=15),
        accuracy_start=base.metric("heldout/sampled", first=1),
        accuracy=base.metric("heldout/sampled", last=1),
        outside=base.metric("ratio/outside_frac"),
        clipped=base.metric("ratio/clip_frac"),
        ratio_p01=base.metric("staleness/ratio_p01"),
        ratio_p99=base.metric("staleness/ratio_p99"),
        staleness_kl=base.metric("staleness/kl"),
        age_steps=base.metric("staleness/steps"),
    )
    c.panels = base.in_order(
        entropy=base.panel("Entropy", "nats per token", curve="entropy/mean"),
        accuracy=base.panel("Held-out accuracy, sampled", "share", curve="heldout/sampled"),
        outside=base.panel("Tokens outside the clip range", "share", curve="ratio/outside_frac"),
        clipped=base.panel("Tokens whose gradient is clipped", "share", curve="ratio/clip_frac"),
        low=base.panel("Newest to drawing policy: 1st percentile", "ratio", curve="staleness/ratio_p01"),
        high=base.panel("Newest to drawing policy: 99th percentile", "ratio", curve="staleness/ratio_p99"),
        staleness=base.panel("Staleness: KL to the drawing policies", "nats per token", curve="staleness/kl"),
        reward=base.panel("Training reward", "share correct", curve="reward/mean"),
    )
    c.rules = base.in_order(
        stale=base.rule("1% of SAIS's tokens outside, fast", "sais_fast.outside", low=0.01, role="condition"),
        learns=base.rule("TOIS learns", "tois.accuracy", "tois.accuracy_start", low=0.1, role="condition"),
        learns_fast=base.rule("fast, too", "tois_fast.accuracy", "tois_fast.accuracy_start", low=0.1, role="condition"),
        entropy=base.rule("POIS ends with TOIS's entropy", "pois.entropy", "tois.entropy", low=-0.05, high=0.05),
        accuracy=base.rule("POIS is as accurate as TOIS", "pois.accuracy", "tois.accuracy", low=-0.03),
        entropy_fast=base.rule("fast: the same", "pois_fast.entropy", "tois_fast.entropy", low=-0.05, high=0.05),
        accuracy_fast=base.rule("fast: the same", "pois_fast.accuracy", "tois_fast.accuracy", low=-0.03),
        collapse=base.rule("fast SAIS: less entropy than POIS", "sais_fast.entropy", "pois_fast.entropy", high=-0.05),
        behind=base.rule("and it falls behind", "sais_fast.accuracy", "pois_fast.accuracy", high=-0.02, seeds=2),
    )
    return c
