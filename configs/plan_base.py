"""Every key of a plan of segments, with unit, meaning and source. Other plans start from this one.

    launch/plan.py segments --config=configs/plan_base.py --workdir=FOLDER [--run=FOLDER]

`--run` names a run of launch/train.py: what stands in `given` is then that run's own, measured. Take one that prefills
unfinished samples again (M > 1): the passes of prompts alone, which begin every context, tell less of what these cost.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """The paper's 128k setting and lengths; a constant cost of a token step."""
    c = ml_collections.ConfigDict()
    # What is tried: every combination.
    c.segments = (1, 2, 4, 8, 16)  # M
    c.slots = ()  # C; () tries given.slots
    c.refill = ("step", "continuous")  # rollout.refill
    c.refill_latency = 16  # decode steps, rollout.refill_latency
    c.steps = 200  # steps counted, after 8 M others; more where there are few slots
    c.seed = 0  # of the lengths

    # What of a token step's seconds goes with the slots (an engine that computes every slot), what with the active
    # slots (reading their caches). The rest is constant: reading the weights. Both 0 is the paper's T + D / M.
    c.slots_share = 0.0
    c.active_share = 0.0

    c.given = g = ml_collections.ConfigDict()
    g.output_limit = 131072  # L, tokens
    g.samples_per_prompt = 8  # G
    g.slots = 1024  # C at which token_step_s holds
    g.kv = "recompute"  # rollout.kv
    g.prefill_rows = 8  # rollout.prefill_rows
    g.prefill_chunk = 512  # rollout.prefill_chunk
    g.prompt_tokens = 256
    # Lengths of outputs are log-normal, cut at L. "80% within half"; a heavier tail is mean 0.2 with p80 0.3.
    g.length_mean = 0.32  # share of L, after the cut
    g.length_p80 = 0.49  # share of L within which 80% lie
    g.step_s = 300.0  # T: seconds of a step beside what follows
    g.token_step_s = 0.013  # seconds of a token step with all of `slots` active
    g.prefill_pass_s = 0.0  # seconds of a pass of prefill: a chunk of up to prefill_rows contexts, full or not
    g.released_token_s = 0.0  # seconds per token trained or dropped with its group: judging, packing, update
    return c
