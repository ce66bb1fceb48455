"""A verifier from scratch on two CPU cores, in minutes: a byte-level transformer learns to compare answers.

Setting: generated pairs of 18 categories; measured on pairs whose values and phrasings it has not seen.
Hardware: 2 CPU cores, 2 GiB.
Command:  python launch/train_verifier.py --config=configs/verifier_tiny.py --workdir=runs/verifier_tiny
"""

import ml_collections

from configs import verifier_base


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = verifier_base.get_config()
    c.steps = 1800
    c.model.update(
        vocab_size=256,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        rope_theta=100.0,  # answers are short: low frequencies would tell none of their places apart
        tie_word_embeddings=True,
        dtype="float32",
        remat="none",
    )
    c.tokenizer.update(kind="bytes", eos_ids=(3,))
    # Few bytes: every one of them costs a tenth of a millisecond of training.
    c.prompt.update(
        template="{question}\n{reference}\n{predicted}\n",
        reasoned_template="{question}\n{reference}\n{predicted}\n?\n",
        chat=False,
        words=("y", "n"),
        max_question=8,
        max_answer=60,
    )
    c.data.generate = 72_000
    # Every pair is learned with its justification: a verdict alone is one bit, from which so small a model learns
    # nothing in minutes.
    c.updates.update(pairs=40, reasoned=1.0, rows=20, row_length=144, logprob_chunk=144)
    c.optimizer.update(learning_rate=4e-3, warmup_steps=50, decay_steps=1800, b2=0.98, weight_decay=0.01)
    c.evaluation.update(
        mode="reasoned", every=600, pairs=360, row_lengths=(144,), rows=20, prompts_per_row=8, output_limit=64
    )
    c.evaluation.update(segment_length=32, slots=64)
    c.checkpoint.every = 600
    return c
