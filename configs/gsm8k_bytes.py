"""Real problems through the same door: GSM8K, byte by byte, with a small model from scratch.

Nothing is expected to be solved. What can be seen in a minute or two is every phase on
real text: a short supervised stage on the worked solutions, segment rollouts with
M = 4, verdicts on the number after `####`, groups dropped as uninformative.
Data:     train.jsonl and test.jsonl of GSM8K (MIT), as its authors publish them, in
          the folder gsm8k under $ULORL_DATA (by default data/gsm8k).
Hardware: 2 CPU cores, 2 GiB.
Command:  ULORL_DATA=... python launch/train.py --config=configs/gsm8k_bytes.py --workdir=runs/gsm8k
"""

import os

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """See the module's text."""
    c = base.get_config()
    folder = os.path.join(os.environ.get("ULORL_DATA", "data"), "gsm8k")
    c.steps = 5
    c.model.update(
        vocab_size=256,
        hidden_size=96,
        intermediate_size=288,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=24,
        rope_theta=1e4,
        tie_word_embeddings=True,
        dtype="float32",
        remat="none",
    )
    c.tokenizer.update(kind="bytes", eos_ids=(255,))  # 0xFF occurs in no UTF-8 text
    c.prompt.update(template="{question}\n", chat=False)
    train = os.path.join(folder, "train.jsonl")
    c.data.train.main.path = train
    c.data.heldout.path = os.path.join(folder, "test.jsonl")
    c.data.supervised.path = train
    c.data.update(heldout_rows=8, max_prompt_tokens=384)
    c.verify.kind = "final_answer"
    c.rollout.update(output_limit=384, segments=4, samples_per_prompt=4, slots=32, prefill_rows=8, prefill_chunk=64)
    c.train.update(row_lengths=(768,), rows_per_micro_batch=2, logprob_chunk=768)
    c.optimizer.learning_rate = 1e-4
    c.warm_start.update(steps=100, samples=6, rows=2, row_length=768)
    c.warm_start.optimizer.update(learning_rate=3e-3, warmup_steps=10, decay_steps=100)
    c.evaluation.update(every=5, greedy=True)
    c.checkpoint.every = 5
    return c
