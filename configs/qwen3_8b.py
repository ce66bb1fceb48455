"""Qwen3-8B with UloRL: one of the two dense models of the entropy studies (figures 4 and 5).

Paper:    L = 128k, M = 8, 128 prompts x 8 samples, temperature 0.85, AdamW 1e-6, tau 0.99, sigma 0.2.
Hardware: TPU v5p-64 (32 chips of 95 GiB), mesh fsdp 8 x tensor 4.
Today:    1024 slots at L = 128k need pages (rollout.pages.count) instead of a dense cache. Shorter limits run, for
          example --config.rollout.output_limit=8192 with row lengths of 9216.
Command:  python launch/train.py --config=configs/qwen3_8b.py --workdir=runs/qwen3_8b
          (first with --dry_run: parameters, tokens per step and memory by hand count, in seconds)
Needs:    the Hugging Face folder Qwen3-8B under $ULORL_WEIGHTS (by default weights/), and
          deepscaler/train_10240.parquet and aime/aime2025.jsonl under $ULORL_DATA (by default data/).
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = base.get_config()
    base.use_qwen3(c, "Qwen3-8B")
    c.model.update(
        hidden_size=4096,
        intermediate_size=12288,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=False,
    )
    c.mesh.update(data=1, fsdp=8, tensor=4)
    c.evaluation.update(every=50, samples=32)
    return c
