"""Qwen3-30B-A3B with UloRL: the main run of the paper (tables 2 and 3: AIME-2025 82.8 at L = 128k).

Paper:    L = 128k, M = 8, 128 prompts x 8 samples, temperature 0.85, AdamW 1e-6, tau 0.99, sigma 0.2.
Hardware: TPU v5p-128 (64 chips of 95 GiB), mesh fsdp 4 x context 4 x tensor 4.
Today:    1024 slots at L = 128k need pages (rollout.pages.count) instead of a dense cache. Shorter limits run, for
          example --config.rollout.output_limit=8192 with row lengths of 16384.
Command:  python launch/train.py --config=configs/qwen3_30b.py --workdir=runs/qwen3_30b
          (first with --dry_run: parameters, tokens per step and memory by hand count, in seconds)
Needs:    the Hugging Face folder Qwen3-30B-A3B under $ULORL_WEIGHTS (by default weights/), and
          deepscaler/train_10240.parquet and aime/aime2025.jsonl under $ULORL_DATA (by default data/).
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = base.get_config()
    base.use_qwen3(c, "Qwen3-30B-A3B")
    c.model.update(
        hidden_size=2048,
        intermediate_size=6144,
        num_hidden_layers=48,
        num_attention_heads=32,
        num_key_value_heads=4,
        head_dim=128,
        tie_word_embeddings=False,
        num_experts=128,
        num_experts_per_tok=8,
        moe_intermediate_size=768,
        norm_topk_prob=True,
    )
    c.mesh.update(data=1, fsdp=4, context=4, tensor=4)
    c.rollout.prefill_rows = 16
    # 17 x 8,192: a whole sample, in chunks of 17 blocks of 1,024 tokens
    c.train.update(row_lengths=(139264,), rows_per_micro_batch=4)
    c.warm_start.rows = 16
    c.evaluation.update(every=50, samples=32)
    return c
