"""Every key of a verifier's training, with unit and meaning. Other verifier configs start from this one.

A verifier reads a question, its reference answer and a predicted answer, and says whether the two
are the same (paper 3.3). There are no keys besides these, and none without a use.
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """Keys and defaults; weights, pairs and sizes are for a config of your own to fill in."""
    b = base.get_config()
    c = ml_collections.ConfigDict()
    c.seed = 0  # of weights, generated pairs and their order
    c.steps = 1000  # updates
    c.weights = ""  # first weights: a Hugging Face folder or a run's; "": random ones of `model`
    c.model = b.model  # the network where there are no weights; dtype and remat always
    c.mesh = b.mesh
    c.tokenizer = base.tokenizer()

    # What the verifier is asked; written as verifier.json beside its weights. "": the project's own text.
    c.prompt = p = ml_collections.ConfigDict()
    p.template = ""  # with the places {question} (may be left out), {reference}, {predicted}, each on a line of its own
    p.reasoned_template = ""  # the same for a justification that ends with a line "Verdict: same"
    p.chat = True  # as the user's turn of the tokenizer's chat template; False: the prompt is the text alone
    p.thinking = False  # the template's switch
    p.words = ("same", "different")  # the two verdicts
    p.lead = "Verdict: "  # in front of the word in the last line of a justified reply
    p.max_question = 4000  # characters; a longer question is cut in its middle
    p.max_answer = 500  # characters; a longer answer is refused

    # Pairs with their verdicts. Those generated for the test share neither values nor phrasings with the others.
    c.data = d = ml_collections.ConfigDict()
    d.generate = 0  # pairs to learn from
    d.test_generate = 3600  # pairs to measure on
    d.why = "words"  # what justifies generated pairs: "3/4 is not 4/3"; "letters": both side by side, as in "34!"
    d.train = ml_collections.ConfigDict()  # files of pairs (see pair_file), by a name
    d.test = ml_collections.ConfigDict()

    c.updates = u = ml_collections.ConfigDict()
    u.reasoned = 0.0  # share of the pairs, of those with a why, that is learned with it
    u.micro_batches = 1  # per update, which takes as many pairs as they hold
    u.rows = 8  # packed rows per micro-batch
    u.row_length = 2048  # tokens per row; longer pairs are left out
    u.logprob_chunk = 1024  # tokens per row whose logits exist at one time
    u.max_skipped_in_a_row = 5  # non-finite updates in a row after which training stops

    c.optimizer = base.optimizer(learning_rate=1e-5)

    # The rules, the verifier, and the verifier where the rules are unsure, on the test pairs.
    c.evaluation = e = base.asking()
    e.every = 200  # updates between two measurements on part of the test pairs
    e.pairs = 512  # of that part
    e.workers = 2  # processes of the rules
    e.deadline_s = 5.0  # seconds of the rules for one pair

    c.checkpoint = ml_collections.ConfigDict()
    c.checkpoint.every = 500  # updates between checkpoints; one is also written at the end and on SIGTERM
    c.checkpoint.keep = 2  # of the newest checkpoints
    return c


def pair_file(path: str) -> ml_collections.ConfigDict:
    """A file of judged pairs (JSON lines, parquet or ArrayRecord) and the names of its fields."""
    f = ml_collections.ConfigDict()
    f.path = path
    f.question_field = "question"  # "a.b" is the field b of a; "": there is none
    f.reference_field = "reference"
    f.predicted_field = "predicted"
    f.same_field = "same"  # true or false, "same" or "different", yes or no, 1 or 0
    f.category_field = ""  # rows of the report; "": the file's name in the config
    f.why_field = ""  # a justification to learn; "": there is none
    return f
