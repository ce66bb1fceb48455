"""Qwen3-0.6B: the smallest of the family, for trying things out on one GPU.

Paper:    has no run of this size; hyper-parameters are the paper's, but L = 8k with M = 4, and 4 prompts x 8 samples
          side by side (paper: 128 x 8).
Hardware: one GPU of 80 GB.
Today:    not measured on a GPU yet.
Command:  python launch/train.py --config=configs/qwen3_0p6b.py --workdir=runs/qwen3_0p6b
          (first with --dry_run: parameters, tokens per step and memory by hand count, in seconds)
Needs:    the Hugging Face folder Qwen3-0.6B under $ULORL_WEIGHTS (by default weights/), and
          deepscaler/train_10240.parquet and aime/aime2025.jsonl under $ULORL_DATA (by default data/).
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = base.get_config()
    base.use_qwen3(c, "Qwen3-0.6B")
    c.model.update(
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
    )
    c.mesh.update(data=1, fsdp=1, tensor=1)
    c.rollout.update(output_limit=8192, segments=4, slots=32, prefill_rows=4)
    c.train.update(row_lengths=(9216,), rows_per_micro_batch=1, logprob_chunk=1024)
    c.warm_start.update(rows=1)
    c.evaluation.update(every=20, samples=4)
    return c
