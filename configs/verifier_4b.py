"""A verifier from Qwen3-4B: a chat model learns to justify and judge, on generated pairs and on your own.

Setting: ULORL_WEIGHTS/Qwen3-4B; half of the pairs that have a justification are learned with it, so the
verifier can be used in both modes. Rows of your own: c.data.train = {"name": verifier_base.pair_file(PATH)}.
Hardware: 8 devices of 80 GB; not run yet.
Command:  python launch/train_verifier.py --config=configs/verifier_4b.py --workdir=runs/verifier_4b
"""

import os

import ml_collections

from configs import verifier_base


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = verifier_base.get_config()
    c.weights = os.path.join(os.environ.get("ULORL_WEIGHTS", "weights"), "Qwen3-4B")
    c.steps = 2000
    c.data.generate = 200_000
    c.updates.update(reasoned=0.5, micro_batches=4, rows=8, row_length=2048)
    c.optimizer.update(learning_rate=1e-5, warmup_steps=50, decay_steps=2000, weight_decay=0.01)
    return c
