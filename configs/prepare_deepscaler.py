"""Cleans DeepScaleR's 10,240 questions by rules alone.

Data:     deepscaler/train_10240.parquet in the folder $ULORL_DATA (by default data/).
Hardware: 1 CPU core, 1 GiB, seconds.
Command:  ULORL_DATA=... python launch/prepare_data.py --config=configs/prepare_deepscaler.py --workdir=data/cleaned
"""

import os

import ml_collections

from configs import prepare_base


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = prepare_base.get_config()
    c.data.update(
        path=os.path.join(os.environ.get("ULORL_DATA", "data"), "deepscaler", "train_10240.parquet"),
        source="deepscaler",
        question_field="extra_info.question",
        answer_field="reward_model.ground_truth",
        id_field="extra_info.index",
    )
    return c
