"""Every key of a cleaning of questions, with unit, meaning and source. Other configs start from this one.

"Paper" is UloRL (arXiv 2507.19766, section 3.4), whose six steps these are. They run in the
order in which they stand under `steps`. The last two read records of launch/evaluate.py: so
clean once without them, evaluate on the train file that comes out, and clean that file again
with them, for a record counts only for the very question and reference it was made with.

A key may be overridden on the command line: `--config.steps.too_easy=True`. There are no keys
besides these, and none without a use.
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """The steps that need no evaluation and no language model."""
    c = ml_collections.ConfigDict()
    c.seed = 0  # of the decisions that --show draws

    c.data = base.question_file()  # path (.jsonl, .parquet, .array_record) and the names of its fields
    c.data.source = ""  # name of the data set, for the column "source"; "" takes the file's
    c.data.extra_fields = ()  # fields carried along as they are; "a.b" becomes the column b

    c.steps = s = ml_collections.ConfigDict()
    s.sub_questions = True  # drops questions in several parts
    s.short_answers = True  # takes the short answer out of a worked reference
    s.question_form = True  # turns multiple-choice, true/false and proof questions into short-answer form
    s.long_references = True  # drops references that are too long: matrices, tables, prose
    s.too_easy = False  # drops what the start policy gets right in every try
    s.wrong_references = False  # drops references that several models agree against

    c.long_references = ml_collections.ConfigDict()
    c.long_references.max_characters = 100  # of a reference, LaTeX and all

    c.too_easy = ml_collections.ConfigDict()
    c.too_easy.record = ""  # folder of the start policy's evaluation, or its record.jsonl
    c.too_easy.tries = 8  # fewer outputs say nothing (paper: 8 of 8)

    c.wrong_references = ml_collections.ConfigDict()
    c.wrong_references.records = ()  # folders of evaluations of different strong models
    c.wrong_references.agree = 2  # models whose majority answers are the same and wrong

    # A language model for what the rules are unsure of.
    c.ask = a = ml_collections.ConfigDict()
    a.kind = "none"  # such rows go aside; or "endpoint", or "engine": weights of ours

    a.endpoint = e = ml_collections.ConfigDict()
    e.url = "http://localhost:8000/v1"  # of an OpenAI-compatible endpoint, before /chat/completions
    e.model = "default"  # its name for the model
    e.key_variable = ""  # environment variable that holds the key; "" sends none
    e.temperature = 0.0
    e.max_tokens = 8192  # of one reply, thinking included
    e.deadline_s = 600.0  # seconds of one request
    e.retries = 4  # attempts after the first, on status 429 or 5xx, a lost connection or a missed deadline
    e.pause_s = 1.0  # seconds before the second attempt; doubled each time
    e.workers = 16  # requests under way at one time

    a.engine = g = ml_collections.ConfigDict()
    g.weights = ""  # a Hugging Face folder, one of launch/convert.py, a run's folder or its warm_start folder
    g.dtype = "bfloat16"  # of weights and activations
    g.mesh = ml_collections.ConfigDict()
    g.mesh.data = 1  # shards of the slots
    g.mesh.fsdp = 1  # the same: decoding splits no weights over it
    g.mesh.tensor = -1  # shards of heads, MLP and vocabulary
    g.tokenizer = ml_collections.ConfigDict()
    g.tokenizer.kind = "hf"  # a Hugging Face folder's, or "bytes": one id per UTF-8 byte
    g.tokenizer.path = ""  # hf: folder with tokenizer.json; "" is that of the weights
    g.tokenizer.eos_ids = ()  # ids that end a reply; hf: () takes those of generation_config.json
    g.tokenizer.pad_id = 0  # bytes: an id that no text may have
    g.prompt = ml_collections.ConfigDict()
    g.prompt.template = "{question}"  # around what is asked
    g.prompt.chat = True  # as the user's turn of the tokenizer's chat template
    g.prompt.system = ""  # the system's turn; "" for none
    g.prompt.thinking = True  # the template's switch
    g.seed = 0  # of every draw
    g.temperature = 0.6  # Qwen3's advice for thinking; 0 is greedy
    g.top_p = 0.95  # Qwen3's advice; 1 is off
    g.top_k = 20  # Qwen3's advice; 0 is off
    g.output_limit = 8192  # tokens; a longer reply is none
    g.max_prompt_tokens = 4096  # a longer prompt gets no reply
    g.slots = 64  # replies decoded side by side
    g.segment_length = 512  # tokens between two refills
    g.prefill_rows = 8  # contexts computed side by side
    g.prefill_chunk = 512  # tokens of each that one pass of the network computes

    c.output = ml_collections.ConfigDict()
    c.output.format = "parquet"  # of train and dropped: parquet, array_record or jsonl
    c.output.examples = 3  # rows shown per reason in the report
    return c
