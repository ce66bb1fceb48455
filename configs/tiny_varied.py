"""The tiny run with answers in varied forms ("seven", "07", "$\\frac{14}{2}$"), judged by a verifier alone.

Setting: configs/tiny.py, its worked answers written in varied forms; every reward is the verdict of the verifier
that configs/verifier_tiny.py trains. Its guesses are errors and no rewards (min_token_p): else the policy learns to
write what it mistakes (README, Results). With --config.verify.kind=rules the same run has exact rewards.
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
    v.update(mode="reasoned", min_token_p=0.7, row_lengths=(144,), rows=8, prompts_per_row=8, output_limit=64)
    v.update(segment_length=8, slots=32)
    return c
