"""Qwen3-30B-A3B with UloRL: the main run of the paper (tables 2 and 3: AIME-2025 82.8 at L = 128k).

Paper:    L = 128k, M = 8, 128 prompts x 8 samples, temperature 0.85, AdamW 1e-6, tau 0.99, sigma 0.2.
Hardware: TPU v5p-128 (64 chips of 95 GiB): mesh fsdp 4 x context 16. Other slices of as many chips as 16 divides take
          the same file, with as many pages as they hold (v5p-64: fsdp 2, half of them). On 256 chips
          --config.mesh.tensor=2: 128 experts are not split 256 ways.
          --config.mesh.context=4 --config.mesh.expert=4 gives every expert an owner among four chips in training, too:
          93 GiB per micro-batch come out of a chip's collectives instead of 150.
Memory:   python launch/plan.py compile --config=configs/qwen3_30b.py --topology=v5p:4x4x4 --workdir=runs/plan
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
    c.mesh.update(data=1, fsdp=-1, context=16, tensor=1)
    c.rollout.prefill_rows = 64
    c.rollout.pages.update(count=655_360, size=64)  # 1,024 slots x 40,960 tokens on average: 60 GiB on each of 64 chips
    # 17 x 8,192: a whole sample
    c.train.update(row_lengths=(139264,), rows_per_micro_batch=0)
    c.warm_start.rows = 16
    c.evaluation.update(every=50, samples=32)
    c.checkpoint.every = 1  # a step takes minutes, and a slice that is wanted back gives half a minute's notice
    return c
