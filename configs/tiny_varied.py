"""The tiny run with answers in varied forms ("seven", "07", "$\\frac{14}{2}$"), judged by a verifier alone.

Setting: configs/tiny.py, its worked answers written in varied forms; every reward is the verdict of the verifier
that configs/verifier_tiny.py trains. The policy learns to write what that one mistakes (README, Results); with
--config.verify.kind=rules the same run has exact rewards.
Hardware: 2 CPU cores, 2 GiB.
Command:  python launch/train.py --config=configs/tiny_varied.py \\
              --config.verify.verifier.weights=runs/verifier_tiny --workdir=runs/tiny_varied
"""

import ml_collections

from configs import tiny


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = tiny.get_config()
    c.data.generate = "chain_sum_varied"
    c.verify.kind = "verifier"
    v = c.verify.verifier
    v.dtype = "float32"
    v.tokenizer.update(kind="bytes", eos_ids=(3,))
    # An answer of this task is a digit: its comparison is one letter, and most have been judged before.
    v.update(
        mode="reasoned", row_lengths=(144,), rows=8, prompts_per_row=8, output_limit=64, segment_length=8, slots=32
    )
    return c
