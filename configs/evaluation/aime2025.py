"""AIME 2025: 30 competition problems with whole numbers as answers, 32 outputs each.

Setting:  the paper's, see base.py: avg@32, temperature 0.85, top-p 0.95, top-k 20, outputs of at most 128k tokens.
Data:     aime/aime2025.jsonl under $ULORL_DATA (by default data/), with the fields problem, answer and id.
Hardware: for Qwen3-30B-A3B the layout of configs/qwen3_30b.py; for a small model or a short limit anything.
Command:  python launch/evaluate.py --config=configs/evaluation/aime2025.py --config.weights=FOLDER --workdir=FOLDER
"""

import ml_collections

from configs.base import question_file
from configs.evaluation import base


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = base.get_config()
    c.data = question_file(base.data_file("aime", "aime2025.jsonl"), question="problem", id="id")
    return c
