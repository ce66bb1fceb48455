"""Every phase of a real run on a CPU: Qwen3's own vocabulary, tokenizer and chat template, DeepScaleR's problems.

A Qwen3 of 20M parameters, nearly all of them the embedding of 151,936 ids, starts from
random weights, learns in a short supervised stage to write a boxed guess, and is trained
for five steps with M = 4 segments. It solves nothing; common answers are hit often
enough that groups are informative and updates are made. The result is exported with
`launch/convert.py runs/deepscaler_20m exported --to=hf`.
Data:     deepscaler/train_10240.parquet, math500/test.jsonl and qwen3_tokenizer/ (tokenizer.json,
          tokenizer_config.json) in the folder $ULORL_DATA (by default data/).
Hardware: 2 CPU cores, 4 GiB, a few minutes.
Command:  ULORL_DATA=... python launch/train.py --config=configs/deepscaler_20m.py --workdir=runs/deepscaler_20m
"""

import os

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = base.get_config()
    data = os.environ.get("ULORL_DATA", "data")
    c.steps = 5
    c.model.update(
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        tie_word_embeddings=True,
        dtype="float32",
        remat="none",
    )
    c.tokenizer.path = os.path.join(data, "qwen3_tokenizer")
    c.prompt.thinking = False
    c.data.train = ml_collections.ConfigDict({"deepscaler": base.deepscaler(data)})
    c.data.supervised = base.question_file(
        path=c.data.train.deepscaler.path, question="extra_info.question", answer="reward_model.ground_truth"
    )
    c.data.heldout = base.question_file(os.path.join(data, "math500", "test.jsonl"), question="problem", id="id")
    c.data.update(heldout_rows=32, max_prompt_tokens=128)
    c.rollout.update(output_limit=64, segments=4, samples_per_prompt=8, slots=128, prefill_rows=8, prefill_chunk=64)
    c.train.update(row_lengths=(192,), rows_per_micro_batch=4, logprob_chunk=64)
    c.optimizer.learning_rate = 1e-4
    c.warm_start.update(steps=100, samples=4, rows=2, row_length=192, answer="\\boxed{{answer}}")
    c.warm_start.optimizer.update(learning_rate=3e-3, warmup_steps=10, decay_steps=100)
    c.evaluation.update(every=5, samples=2)
    c.checkpoint.every = 5
    return c
