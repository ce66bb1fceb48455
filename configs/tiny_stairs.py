"""The smallest run there is, for notebooks and for trying an idea: a 23k-parameter transformer learns to climb stairs.

Setting: strides of one or two, at times one back, to a given stair (data/stairs.py), so there are many right ways.
The warm start learns from a teacher that is right two times in three; then UloRL with M = 4 segments, POIS and DMMPT.
Hardware: 2 CPU cores, 2 GiB.
Command:  python launch/train.py --config=configs/tiny_stairs.py --workdir=runs/tiny_stairs
"""

import ml_collections

from configs import tiny


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = tiny.get_config()
    c.steps = 40
    c.model.update(hidden_size=32, intermediate_size=64, num_attention_heads=2, num_key_value_heads=1)
    c.data.update(generate="stairs", max_prompt_tokens=4, heldout_rows=128)
    c.rollout.update(output_limit=48, slots=96, prefill_rows=96, prefill_chunk=52)
    c.loss.sigma = 0.3  # the policy is less sure than that of configs/tiny.py: many ways are right
    c.train.update(row_lengths=(52,), rows_per_micro_batch=48, logprob_chunk=52)
    c.optimizer.learning_rate = 1e-3
    c.warm_start.update(steps=150, samples=32, rows=16, row_length=52)
    c.warm_start.optimizer.update(learning_rate=8e-3, decay_steps=150)
    c.evaluation.update(every=20, greedy=False)
    c.checkpoint.every = 20
    return c
