"""The paper's last row: AIME 2025 with YaRN, beyond the length that was trained (table 3: 85.1 instead of 82.8).

Setting:  YaRN with factor 1.5 over 95,232 tokens, outputs of at most 143,360; else as in aime2025.py: avg@32,
          temperature 0.85, top-p 0.95, top-k 20.
Data:     aime/aime2025.jsonl under $ULORL_DATA (by default data/).
Hardware: for Qwen3-30B-A3B the layout of configs/qwen3_30b.py.
Today:    not measured.
Command:  python launch/evaluate.py --config=configs/evaluation/paper_140k.py --config.weights=FOLDER --workdir=FOLDER
"""

import ml_collections

from configs.evaluation import aime2025


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = aime2025.get_config()
    c.rope_scaling.update(factor=1.5, original_max_position_embeddings=95232)
    c.decoding.output_limit = 143360
    return c
