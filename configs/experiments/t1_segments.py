"""Table 1: a step is 1.6 times faster with two segments and 2.06 times with four.

Paper: Qwen3-30B-A3B, L = 64k: 1240, 774 and 601 s per step with M = 1, 2, 4; 128 prompts x 8 in all.
Setting: configs/tiny_choices.py, 60 steps from one warm start per seed, 64 slots for all M. Beside the seconds of a
step stand those per 1,000 trained tokens, for with as many slots a step of a segmented run trains fewer; what they
are made of; and what launch/plan.py's simulation says of all, given the lengths and seconds of M = 4. Steps that
compile something and evaluations are not counted. Where a token step costs the same whatever it holds, and nothing is
trained: benchmarks/segments.py.
Command:  python launch/ablate.py --config=configs/experiments/t1_segments.py --workdir=runs/claims
Expected time: 8 minutes on 2 cores (12 runs of 35 s), and 5 for the warm starts if they are not there yet. Keep the
machine quiet and --jobs=1.
Refuted by: a step with M = 2 is less than 1.4 times faster, or one with M = 4 less than 1.8 times; or a trained token
with M = 4 less than 1.5 times. Where decoding takes less than two thirds of a step with M = 1 (in the paper 69%, if
a step takes T + D / M), segments have too little to shorten, and this scale cannot tell.
"""

import ml_collections

from configs.experiments import base

_PARTS = ("decode", "prefill", "released", "rest")


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = base.get_config()
    c.claim = "A step is 1.6 times faster with M = 2 and 2.06 times with M = 4."
    c.paper = "Table 1: 1240, 774, 601 s per step with M = 1, 2, 4"
    c.overrides = ("steps=60", "evaluation.every=60", "data.heldout_rows=64", "rollout.slots=64")
    c.cells = base.in_order(**{f"m{m}": (f"rollout.segments={m}",) for m in (1, 2, 4, 8)})
    c.predict_from = "m4"
    c.metrics = base.in_order(
        step_s=base.metric("measured/step_s"),
        step_simulated=base.metric("predicted/step_s"),
        **{f"{part}_s": base.metric(f"measured/{part}_s") for part in _PARTS},
        s_per_1k=_per_trained("measured/step_s"),
        s_per_1k_simulated=base.metric("predicted/step_s", per="predicted/trained_tokens", scale=1e3),
        **{f"{part}_per_1k": _per_trained(f"measured/{part}_s") for part in _PARTS},
        decode_share=base.metric("measured/decode_s", per="measured/step_s"),
        idle_slots=base.metric("measured/idle_slots"),
    )
    c.panels = base.in_order(
        step=base.panel("Seconds per step", "s", bars=tuple(f"{part}_s" for part in _PARTS), marks="step_simulated"),
        token=base.panel(
            "Seconds per 1,000 trained tokens",
            "s",
            bars=tuple(f"{part}_per_1k" for part in _PARTS),
            marks="s_per_1k_simulated",
        ),
        idle=base.panel("Idle slots", "share of slots x token steps", bars=("idle_slots",)),
    )
    c.rules = base.in_order(
        decode=base.rule("decoding is two thirds of a step", "m1.decode_share", low=2 / 3, role="condition"),
        two=base.rule("a step with M = 2", "m1.step_s", "m2.step_s", relation="ratio", low=1.4),
        four=base.rule("a step with M = 4", "m1.step_s", "m4.step_s", relation="ratio", low=1.8),
        token=base.rule("a trained token with M = 4", "m1.s_per_1k", "m4.s_per_1k", relation="ratio", low=1.5),
    )
    return c


def _per_trained(column: str) -> ml_collections.ConfigDict:
    return base.metric(column, per="measured/trained_tokens", scale=1e3)
