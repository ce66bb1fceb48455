"""The tiny job with choices that last: every step of an answer may end in ",", ";" or a blank, all as good.

Setting: as configs/tiny.py, but the teacher ends each step with any of three separators, drawn evenly, so a policy that
has learned everything still has log 3 nats to give away per step, about 0.2 per token. Chains have four digits at
least, so that no held-out question is of a length that the training lacks. 512 held-out questions, two samples of each.
Hardware: 2 CPU cores, 2 GiB.
Command:  python launch/train.py --config=configs/tiny_choices.py --workdir=runs/tiny_choices
"""

import ml_collections

from configs import tiny


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = tiny.get_config()
    c.steps = 300
    c.data.update(generate="chain_sum_choices", heldout_rows=512)
    c.evaluation.update(every=50, samples=2, greedy=False)
    c.checkpoint.every = 50
    return c
