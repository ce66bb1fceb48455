"""GSM8K: 1,319 word problems with numbers as answers, one output each.

Setting:  sampled as in the paper (see base.py), outputs of at most 16k tokens.
Data:     gsm8k/test.jsonl under $ULORL_DATA (by default data/), as its authors publish it.
Hardware: one GPU of 80 GB for Qwen3-0.6B; for a smaller model or a shorter limit anything.
Command:  python launch/evaluate.py --config=configs/evaluation/gsm8k.py --config.weights=FOLDER --workdir=FOLDER
"""

import ml_collections

from configs.base import question_file
from configs.evaluation import base


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = base.get_config()
    c.data = question_file(base.data_file("gsm8k", "test.jsonl"))
    c.decoding.update(samples=1, output_limit=16384)
    c.scoring.pass_at = (1,)
    return c
