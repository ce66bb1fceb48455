"""MATH-500: 500 problems of the MATH test set, 4 outputs each.

Setting:  sampled as in the paper (see base.py), outputs of at most 32k tokens. About half of the answers are
          whole numbers; of the others some leave the rules unsure (see errors in the summary), which
          --config.verify.kind=rules_then_verifier gives to a language model.
Data:     math500/test.jsonl under $ULORL_DATA (by default data/), with the fields problem, answer and id.
Hardware: one GPU of 80 GB for Qwen3-0.6B; for a smaller model or a shorter limit anything.
Command:  python launch/evaluate.py --config=configs/evaluation/math500.py --config.weights=FOLDER --workdir=FOLDER
"""

import ml_collections

from configs.base import question_file
from configs.evaluation import base


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = base.get_config()
    c.data = question_file(base.data_file("math500", "test.jsonl"), question="problem", id="id")
    c.decoding.update(samples=4, output_limit=32768)
    c.scoring.pass_at = (1, 4)
    return c
