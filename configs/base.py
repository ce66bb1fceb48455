"""Every key of a run, with unit, meaning and source. Other configs start from this one.

"Paper" is UloRL (arXiv 2507.19766). A key may be overridden on the command line:
`--config.rollout.segments=1`. There are no keys besides these, and none without a use.
"""

import os

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """The paper's hyper-parameters; model, data and sizes are for a config of your own to fill in."""
    c = ml_collections.ConfigDict()
    c.seed = 0  # of weights, prompt order and every draw
    c.steps = 300  # rollout steps
    # Of every step, whole groups of at least so many samples go to rollouts/, for people (launch/inspect.py), with one
    # forward pass over them; 0 for none.
    c.traces_per_step = 8
    # Of every n-th checkpoint, the groups that the step after it trains on go to groups/, bit for bit, for replay; they
    # stay as long as the checkpoint. 8 bytes a token: at the paper's sizes (1,024 samples of 40,000 tokens) 0.33 GB,
    # beside a checkpoint of 366 GB for 30B parameters. 0: never.
    c.groups_every = 0
    # "RUN/12": no run, but what step 12 of the run in folder RUN did after decoding, once more, from the checkpoint of
    # step 11 and the recorded groups, with this config's loss, optimizer and rows.
    c.replay = ""

    # The network; names as in a Hugging Face config.json.
    c.model = m = ml_collections.ConfigDict()
    m.vocab_size = 151936  # V
    m.hidden_size = 1024  # D
    m.intermediate_size = 3072  # width of the dense SwiGLU
    m.num_hidden_layers = 28
    m.num_attention_heads = 16  # H
    m.num_key_value_heads = 8  # K, divides H
    m.head_dim = 128
    m.rope_theta = 1e6
    m.rope_scaling = yarn()
    m.rms_norm_eps = 1e-6
    m.tie_word_embeddings = True
    m.num_experts = 0  # 0: dense
    m.num_experts_per_tok = 0
    m.moe_intermediate_size = 0  # width of one expert
    m.norm_topk_prob = True  # chosen experts' weights sum to 1
    m.dtype = "bfloat16"  # of activations; parameters are float32
    # What backward recomputes: none, dots (all but matrix products), attention (all but the attention of rows over 256
    # tokens) or full.
    m.remat = "attention"

    # Sizes of the mesh axes; their product is the number of devices, -1 takes what is left.
    c.mesh = ml_collections.ConfigDict()
    c.mesh.data = 1  # replicas of the sharded parameters
    c.mesh.fsdp = -1  # shards of parameters and optimizer
    # Shards of a row's tokens in training, for rows too long for one device; parameters and optimizer are split over
    # them too. Row lengths are multiples of 2 x context; on a TPU of 256 x context, and best of 2048 x context.
    c.mesh.context = 1
    # Owners of the experts in training: tokens go to the owners of their group, instead of all experts' weights to all
    # devices. Divides model.num_experts. For all else more of context: above read context x expert.
    c.mesh.expert = 1
    c.mesh.tensor = 1  # shards of heads, MLP and vocabulary

    c.tokenizer = tokenizer()
    c.prompt = prompt()

    # Files of questions: JSON lines, parquet or ArrayRecord, by their suffix.
    c.data = d = ml_collections.ConfigDict()
    # a task that is made, not found, its files written into the workdir: "stairs", "chain_sum"; "chain_sum_varied",
    # whose worked answers are written as people write a number ("7.0", "seven", "14/2"); or "chain_sum_choices", each
    # of whose steps ends with ",", ";" or a blank, all as good: a choice that nothing decides; from four digits on
    d.generate = ""
    d.train = ml_collections.ConfigDict({"main": source()})  # questions to train on; several are mixed by weight
    d.heldout = question_file()  # questions of the evaluation
    d.supervised = question_file()  # worked answers for the warm start
    d.heldout_rows = 256  # of the held-out file, the first so many
    d.max_prompt_tokens = 1024  # a longer prompt is dropped and counted
    d.shuffle = True

    c.verify = v = verify()
    # Rewards while the next segment decodes: samples are trained one step later (so never with importance=tois, and
    # mismatch/*, of tokens that the newest weights drew, has nothing to measure). It pays where a device decodes and
    # time/verify_s is some percent of a step; on a CPU the two share the cores.
    v.overlap = False
    v.max_error_rate = 0.25  # share of the last error_window answers that may stay without a verdict; 1: any
    v.error_window = 256  # verdicts on answers; before there are so many no run is stopped

    c.rollout = r = ml_collections.ConfigDict()
    r.output_limit = 131072  # L, tokens; longer outputs are truncated, reward 0 (paper 3.5)
    r.segments = 8  # M: a step decodes at most L / M tokens of a sample; 1 is ordinary synchronous RL
    r.samples_per_prompt = 8  # G (paper 4.1)
    r.slots = 1024  # C, samples decoded side by side (paper 4.1: 128 prompts x 8)
    # One pool of keys and values that all slots share, in pages; a sample takes them as it grows. When they run out no
    # more samples are admitted, then the one with the shortest context gives its pages up, waits with its tokens and is
    # prefilled again when there is room (rollout/evicted). 0: every slot has room for its longest context.
    # With kv=keep a run goes on only where the mesh splits the slots into as many parts as before.
    r.pages = p = ml_collections.ConfigDict()
    p.count = 0  # pages; a multiple of the parts the mesh splits slots into, each of them holding one longest context
    p.size = 64  # tokens per page; the G samples of a group share their prompt's full pages
    p.dtype = "model"  # model.dtype, or "int8", a scale for each token and head: log-probs are then off by some 0.01
    # Times count, pages that those in the slots may be predicted to want together at a later time; beyond it samples
    # wait. Lengths are learned from the run. Less: fewer are decoded side by side, and fewer have to leave and are
    # prefilled again; 0: nothing is predicted, who fits now comes in. benchmarks/admission.py shows the trade.
    p.over_provisioning = 1.0
    r.kv = "recompute"  # after an update the cache of an unfinished sample is prefilled again (paper), or "keep"
    # With recompute, the segments that a sample's cache serves before it is prefilled again: 1 is the paper's; with n
    # each sample is prefilled in every n-th step only, and mismatch/* tells what the older cache costs.
    r.recompute_every = 1
    r.refill = "step"  # a free slot gets its next sample at the next step (paper), or "continuous": within the segment
    r.refill_latency = 16  # decode steps that it may stay empty then, so that fewer calls return to the host
    r.finish_groups = False  # waiting samples of the group with the fewest unfinished ones first
    r.temperature = 0.85  # paper 4.1; the trainer uses the same
    r.top_p = 1.0  # paper 4.1; 1 is off. With top-p or top-k, mismatch/* measures what they cut off
    r.top_k = 0  # 0 is off
    r.prefill_rows = 8  # contexts computed side by side, before anybody decodes
    # Tokens of each that one pass of the network computes. With refill=continuous a decode step computes so many of one
    # context (in each part the mesh splits the slots into) beside the others' tokens; where more than one slot in
    # eight waits, of prefill_rows contexts.
    r.prefill_chunk = 512

    c.loss = loss = ml_collections.ConfigDict()
    loss.importance = "pois"  # pois (paper), sais, or tois where segments = 1
    loss.clip_low = 0.2  # the ratio is clipped to [1 - clip_low, 1 + clip_high]; inert under pois with one update
    loss.clip_high = 0.28
    loss.tau = 0.99  # probability from which a token is mastered (paper 4.1)
    loss.sigma = 0.2  # nats: below this entropy mastered positive tokens are left out (paper 4.1); 0 is off
    loss.gate = "sample"  # whose entropy: the sample's (equation 10) or the "batch"'s
    loss.advantage_ddof = 1  # sample standard deviation, as in the framework the authors built on
    loss.advantage_eps = 1e-6

    c.train = t = ml_collections.ConfigDict()
    t.row_lengths = (132096,)  # T, tokens per packed row; the longest holds prompt + L
    t.rows_per_micro_batch = 8  # B, over all devices; 0: one for each part of the mesh that has rows of its own
    t.logprob_chunk = 1024  # tokens per row whose logits exist at one time
    t.updates_per_step = (
        1  # mini-batches per rollout step (paper 4.1: one); pois and gate=batch then look back at its start
    )
    t.max_skipped_in_a_row = 5  # non-finite updates in a row after which the run stops

    c.optimizer = optimizer(learning_rate=1e-6)  # constant (paper 4.1)

    # The first weights: those of a folder (checkpoint) or random, and a supervised stage on top (steps > 0).
    c.warm_start = w = ml_collections.ConfigDict()
    w.checkpoint = ""  # a Hugging Face folder, a run's folder or its warm_start folder; "": random weights
    w.steps = 0  # supervised updates, from there on
    w.answer = "{answer}"  # what is learned, with the place of a supervised row's answer
    w.samples = 32  # worked answers per update
    w.rows = 8  # packed rows per micro-batch
    w.row_length = 2048  # tokens per row; longer rows of data are left out
    w.optimizer = optimizer(learning_rate=1e-5)

    c.evaluation = e = ml_collections.ConfigDict()
    e.every = 10  # steps between evaluations
    e.samples = 1  # k, outputs per question: the score is avg@k
    e.greedy = False  # a greedy score too; a thinking model that decodes greedily may repeat itself up to L
    e.temperature = 0.85  # paper 4.1
    e.top_p = 0.95  # paper 4.1
    e.top_k = 20  # paper 4.1

    c.checkpoint = ml_collections.ConfigDict()
    c.checkpoint.every = 10  # steps between checkpoints; one is also written at the end and on SIGTERM
    c.checkpoint.keep = 2  # of the newest checkpoints
    return c


def yarn() -> ml_collections.ConfigDict:
    """YaRN (arXiv 2309.00071)."""
    y = ml_collections.ConfigDict()
    y.factor = 1.0  # by how much the context is longer than the trained one; 1 is off (paper, 140k evaluation: 1.5)
    y.original_max_position_embeddings = 0  # tokens of context the model was trained on (same: 95,232)
    y.attention_factor = 0.0  # cos and sin are multiplied by it; 0: 0.1 ln(factor) + 1
    y.beta_fast = 32.0  # turns over the trained context from which on a pair keeps its frequency
    y.beta_slow = 1.0  # turns up to which it is slowed down by the whole factor
    return y


def tokenizer() -> ml_collections.ConfigDict:
    """How text becomes ids."""
    t = ml_collections.ConfigDict()
    t.kind = "hf"  # a Hugging Face folder's, or "bytes": one id per UTF-8 byte
    t.path = ""  # hf: folder with tokenizer.json; "" is that of the weights
    t.eos_ids = ()  # ids that end an output, a set; hf: () takes those of generation_config.json
    t.pad_id = 0  # bytes: an id that no text may have
    return t


def prompt() -> ml_collections.ConfigDict:
    """What stands around a question."""
    p = ml_collections.ConfigDict()
    # The instruction is the one that Qwen3's model cards advise.
    p.template = "{question}\n\nPlease reason step by step, and put your final answer within \\boxed{}."
    p.chat = True  # as the user's turn of the tokenizer's chat template; False: the prompt is the text alone
    p.system = ""  # the system's turn; "" for none
    p.thinking = True  # the template's switch
    return p


def verify() -> ml_collections.ConfigDict:
    """How an answer is judged.

    A verifier where rules are unsure: --config.verify.kind=rules_then_verifier --config.verify.verifier.weights=FOLDER
    with the folder of launch/train_verifier.py, or of weights with a verifier.json beside them.
    """
    v = ml_collections.ConfigDict()
    # rules: mathematics, units, words, dates, and "unsure", an error, where they do not know;
    # verifier: a language model; rules_then_verifier: it is asked what the rules are unsure of;
    # final_answer: two numbers, exactly, for data whose every answer is one.
    v.kind = "rules"
    v.marker = "####"  # before a reference's answer, and before an output's that is in no box
    v.workers = 2  # processes of the rules
    v.deadline_s = 5.0  # seconds for one pair, from when a process begins with it; then it is an error
    v.cache = 65536  # verdicts remembered
    v.verifier = asking()  # on the run's mesh, beside the policy
    v.verifier.weights = ""  # a Hugging Face folder or a run's; a verifier.json in it holds its prompt
    v.verifier.dtype = "bfloat16"  # of weights and activations
    v.verifier.tokenizer = tokenizer()  # "" is that of the weights
    return v


def asking() -> ml_collections.ConfigDict:
    """How a generative verifier is asked."""
    m = ml_collections.ConfigDict()
    m.mode = "verdict"  # the probability of the two verdict words, or "reasoned": a justification is decoded first
    m.threshold = 0.5  # verdict: P(same) / (P(same) + P(different)) from which on answers are the same, in (0, 1]
    m.min_mass = 0.5  # verdict: with a smaller P(same) + P(different) it gave no verdict: an error
    # reasoned: a reply with a less likely token is a guess: an error; a row must then hold pair and reply. 0: all count
    m.min_token_p = 0.0
    m.row_lengths = (1024, 4096)  # tokens of a row; a pair goes to the shortest that holds it, a longer one is an error
    m.rows = 8  # of one call; a multiple of the parts that the mesh splits slots into
    m.prompts_per_row = 8  # pairs side by side in a row, at most
    m.output_limit = 512  # reasoned: tokens; a longer justification is an error
    m.segment_length = 64  # reasoned: tokens between two refills of the slots
    m.slots = 64  # reasoned: justifications decoded side by side
    return m


def question_file(
    path: str = "", question: str = "question", answer: str = "answer", id: str = ""
) -> ml_collections.ConfigDict:
    """A file of questions and the names of its fields."""
    f = ml_collections.ConfigDict()
    f.path = path
    f.question_field = question  # "a.b" is the field b of a
    f.answer_field = answer
    f.id_field = id  # shown in traces; "" takes the row's number
    return f


def source(weight: float = 1.0, **fields: str) -> ml_collections.ConfigDict:
    """A file of training questions and its share among the sources."""
    f = question_file(**fields)
    f.weight = weight
    return f


def use_qwen3(c: ml_collections.ConfigDict, name: str) -> None:
    """Starts from a Hugging Face folder; trains on DeepScaleR, evaluates on AIME 2025."""
    data = os.environ.get("ULORL_DATA", "data")
    c.warm_start.checkpoint = os.path.join(os.environ.get("ULORL_WEIGHTS", "weights"), name)
    c.data.train = ml_collections.ConfigDict({"deepscaler": deepscaler(data)})
    c.data.heldout = question_file(os.path.join(data, "aime", "aime2025.jsonl"), question="problem", id="id")


def deepscaler(data: str) -> ml_collections.ConfigDict:
    """DeepScaleR's own parquet file, in the folder of data sets."""
    return source(
        path=os.path.join(data, "deepscaler", "train_10240.parquet"),
        question="extra_info.question",
        answer="reward_model.ground_truth",
        id="extra_info.index",
    )


def optimizer(learning_rate: float) -> ml_collections.ConfigDict:
    """An optimizer's keys."""
    o = ml_collections.ConfigDict()
    o.kind = "adamw"  # or "muon", for the layers' matrices, at AdamW's learning rates
    o.learning_rate = learning_rate  # constant, or the peak where decay_steps > 0
    o.warmup_steps = 0  # updates of linear rise
    o.decay_steps = 0  # updates until a cosine has brought it to a twentieth; 0: constant
    o.b1 = 0.9
    o.b2 = 0.999
    o.eps = 1e-8
    o.weight_decay = 0.0
    o.clip_norm = 1.0  # global norm of the gradient; 0: no clipping
    return o
