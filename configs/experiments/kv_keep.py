"""Beyond the paper: carrying the KV cache over an update saves the prefill and costs no accuracy.

Paper: an unfinished sample is prefilled again by the new weights ("recompute"); it has no other.
Setting: configs/tiny_choices.py, M = 4, 60 steps of about 512 samples from one warm start per seed: recompute (cell
pois4 of f2_importance) against rollout.kv=keep. mismatch is the gap between the sampler's and the trainer's log-probs
of tokens that the newest policy drew: rounding with recompute, older caches with keep.
Command:  python launch/ablate.py --config=configs/experiments/kv_keep.py --workdir=runs/claims
Expected time: 13 minutes on 1 core (6 runs of 130 s; 3 of them are f2_importance's), and 5 for the warm starts. Seconds
per step want a quiet machine and --jobs=1; prefill's share of a step does not.
Refuted by: in a seed, keep ends 0.03 under recompute's accuracy, or its prefill is not a smaller share of a step by
0.03. Where its mismatch is not ten times recompute's, the caches are hardly older, and this scale cannot tell.
Tried before, three seeds, M = 16, where POIS itself unlearns (f2_importance): accuracy 0.58 with recompute and 0.43
with keep; prefill 25% and 2% of a step.
"""

import ml_collections

from configs.experiments import arms, base


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = base.get_config()
    c.claim = "Keeping the KV cache saves the prefill and costs no accuracy."
    c.paper = "none: it prefills again"
    c.cells = base.in_order(pois4=arms.POIS_4, keep4=arms.KEEP_4)
    c.metrics = base.in_order(
        mismatch_kl=base.metric("mismatch/kl"),
        mismatch_max=base.metric("mismatch/max", reduce="max"),
        entropy=base.metric("entropy/mean", last=15),
        accuracy=base.metric("heldout/sampled", last=1),
        step_s=base.metric("measured/step_s"),
        prefill_s=base.metric("measured/prefill_s"),
        prefill_share=base.metric("measured/prefill_s", per="measured/step_s"),
        s_per_1k=base.metric("measured/step_s", per="measured/trained_tokens", scale=1e3),
    )
    c.panels = base.in_order(
        mismatch=base.panel("Sampler to trainer", "KL, nats per token", curve="mismatch/kl"),
        accuracy=base.panel("Held-out accuracy, sampled", "share", curve="heldout/sampled"),
        entropy=base.panel("Entropy", "nats per token", curve="entropy/mean"),
        step=base.panel("Seconds per step", "s", bars=("step_s",)),
        prefill=base.panel("of it prefill", "s", bars=("prefill_s",)),
    )
    c.rules = base.in_order(
        older=base.rule(
            "keep's caches are older",
            "keep4.mismatch_kl",
            "pois4.mismatch_kl",
            relation="ratio",
            low=10.0,
            role="condition",
        ),
        accuracy=base.rule("keep is as accurate", "keep4.accuracy", "pois4.accuracy", low=-0.03),
        prefill=base.rule("it prefills less", "keep4.prefill_share", "pois4.prefill_share", high=-0.03),
    )
    return c
