"""Every key of an evaluation, with unit, meaning and source. The other configs of this folder start from this one.

Setting:  the paper's (UloRL, arXiv 2507.19766, section 4.1): k = 32, temperature 0.85, top-p 0.95, top-k 20,
          outputs of at most 128k tokens. The questions are for another config to name.
Hardware: as much as the weights, and a cache of slots x (prompt + output) tokens, ask for.
Command:  python launch/evaluate.py --config=configs/evaluation/aime2025.py --config.weights=FOLDER --workdir=FOLDER
          Killed and started again, it goes on; --rescore=FOLDER computes the scores of its record again.

A key may be overridden on the command line: `--config.decoding.samples=4`. There are no keys besides these,
and none without a use.
"""

import os

import ml_collections

from configs.base import prompt, question_file, tokenizer, verify, yarn


def get_config() -> ml_collections.ConfigDict:
    """The paper's setting; weights and questions are for the command line and a config of your own to name."""
    c = ml_collections.ConfigDict()
    c.seed = 0  # of every draw, and of the bootstrap

    # What is evaluated; the shape of the network comes with the weights.
    c.weights = ""  # a Hugging Face folder, one of launch/convert.py, a run's folder or its warm_start folder
    c.dtype = "bfloat16"  # of weights and activations while decoding
    c.rope_scaling = yarn()  # factor 1: as the folder of the weights says

    # Sizes of the mesh axes; their product is the number of devices, -1 takes what is left.
    c.mesh = ml_collections.ConfigDict()
    c.mesh.data = 1  # shards of the slots
    c.mesh.fsdp = -1  # the same, and shards of a mixture's experts
    c.mesh.tensor = 1  # shards of heads, MLP and vocabulary

    c.tokenizer = tokenizer()
    c.prompt = prompt()
    c.data = question_file()  # path (.jsonl, .parquet, .array_record) and the names of its fields

    c.verify = verify()

    c.decoding = d = ml_collections.ConfigDict()
    d.samples = 32  # k, outputs per question (paper 4.1: avg@32)
    d.temperature = 0.85  # paper 4.1; 0 is greedy
    d.top_p = 0.95  # paper 4.1; 1 is off
    d.top_k = 20  # paper 4.1; 0 is off
    d.output_limit = 131072  # tokens; a longer output is truncated and wrong (paper 3.5)
    d.max_prompt_tokens = 2048  # a longer prompt is left out and counted
    # How, not what: none of the following is in the record, and none changes more of it than rounding does.
    d.slots = 128  # outputs decoded side by side
    d.segment_length = 1024  # tokens between two refills: the longest that a freed slot waits
    d.commit_every = 16  # segments between two points that a killed run goes on from; each costs a prefill of all slots
    d.prefill_rows = 8  # contexts computed side by side
    d.prefill_chunk = 512  # tokens of each that one pass of the network computes

    c.scoring = s = ml_collections.ConfigDict()
    s.pass_at = (1, 8, 32)  # pass@k for these k, at most decoding.samples
    s.bootstrap = 1000  # draws of the problems behind each 95% interval
    return c


def data_file(*parts: str) -> str:
    """A file under $ULORL_DATA, by default data/."""
    return os.path.join(os.environ.get("ULORL_DATA", "data"), *parts)
