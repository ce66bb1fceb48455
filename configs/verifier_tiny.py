"""A verifier from scratch on two CPU cores, in minutes: a byte-level transformer learns to compare answers.

It writes both values side by side, letter by letter, and says "n" where they differ (see data.why).
Setting: generated pairs of 18 categories; measured on pairs whose values and phrasings it has not seen.
Hardware: 2 CPU cores, 2 GiB.
Command:  XLA_FLAGS=--xla_force_host_platform_device_count=2 python launch/train_verifier.py \
              --config=configs/verifier_tiny.py --workdir=runs/verifier_tiny
"""

import ml_collections

from configs import verifier_base


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = verifier_base.get_config()
    c.steps = 11_500
    c.mesh.update(data=-1, fsdp=1)
    c.model.update(
        vocab_size=256,
        hidden_size=128,
        intermediate_size=128,  # what is wanted is copying: more here costs time and brings little
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        rope_theta=100.0,  # answers are short: low frequencies would tell none of their places apart
        tie_word_embeddings=True,
        dtype="float32",
        remat="full",  # on CPU computing again is faster than keeping
    )
    c.tokenizer.update(kind="bytes", eos_ids=(3,))
    # Few bytes: what is not part of the comparison costs as much to learn as what is. So small a network gets nothing
    # out of a question.
    c.prompt.update(
        template="{reference}\n{predicted}\n",
        reasoned_template="{reference}\n{predicted}\n",
        chat=False,
        words=("y", "n"),
        lead="",
        max_answer=60,
    )
    c.data.update(generate=225_000, why="letters")
    # Every pair is learned with its justification: a verdict alone is one bit, from which so small a model learns
    # nothing in minutes.
    c.updates.update(reasoned=1.0, rows=8, row_length=144, logprob_chunk=144)
    c.optimizer.update(
        kind="muon", learning_rate=6e-3, warmup_steps=100, decay_steps=11_500, b2=0.98, weight_decay=0.01
    )
    c.evaluation.update(
        mode="reasoned", every=4000, pairs=720, row_lengths=(144,), rows=20, prompts_per_row=8, output_limit=64
    )
    c.evaluation.update(segment_length=32, slots=64)
    c.checkpoint.every = 2000
    return c
