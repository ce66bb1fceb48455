"""The paper's Table 1 (Qwen3-30B-A3B, L = 64k, 128 prompts x 8): 1240, 774, 601 s per step with M = 1, 2, 4.

Assumed: a step takes T + D / M. Of 1,024 outputs one always reaches L, so a step has L / M token steps, and a token
step takes the same however many slots are active. T and D are solved from the rows of M = 1 and 4; that of M = 2 is
predicted.
Command: python launch/plan.py segments --config=configs/plan_table1.py --workdir=runs/table1
"""

import ml_collections

from configs import plan_base


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = plan_base.get_config()
    c.segments = (1, 2, 4, 8)
    # 1,792 slots at M = 4 finish about as many samples per step as 1,024 at M = 1, whose mini-batch the paper names.
    c.slots = (1024, 1792)
    c.refill = ("step",)
    decode_s = (1240 - 601) / (1 - 1 / 4)  # D: 852 s
    c.given.update(output_limit=65536, step_s=1240 - decode_s, token_step_s=decode_s / 65536)
    return c
