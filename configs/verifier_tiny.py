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
    c.steps = 2000
    c.model.update(
        vocab_size=256,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        rope_theta=1e4,
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
        max_question=24,
        max_answer=60,
    )
    c.data.generate = 200_000
    c.updates.update(pairs=64, rows=16, row_length=160, logprob_chunk=160)
    c.optimizer.update(learning_rate=2e-3, warmup_steps=50, decay_steps=2000, b2=0.98, weight_decay=0.01)
    c.evaluation.update(row_lengths=(160,), rows=16, prompts_per_row=8, output_limit=96, segment_length=32)
    c.checkpoint.every = 1000
    return c
