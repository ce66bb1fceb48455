"""Settings: the configs of the project are read whole, and every refusal names a value that works."""

import copy
import dataclasses
import json

import pytest

from configs import base, gsm8k_bytes, qwen3_0p6b, qwen3_4b, qwen3_8b, qwen3_30b, tiny, tiny_stairs, tiny_varied
from ulorl_jax.settings import Settings, check_mesh, on_devices

PAPER = {"qwen3_4b": qwen3_4b, "qwen3_8b": qwen3_8b, "qwen3_30b": qwen3_30b}
CONFIGS = {"base": base, "tiny": tiny, "tiny_varied": tiny_varied, "tiny_stairs": tiny_stairs}
CONFIGS |= {"gsm8k_bytes": gsm8k_bytes, "qwen3_0p6b": qwen3_0p6b} | PAPER


def values_of(config=tiny) -> dict:
    """The config as launch/train.py hands it on."""
    return config.get_config().to_dict()


def changed(changes: dict, config=tiny) -> dict:
    """The config's values with some, named by dotted path, replaced."""
    values = values_of(config)
    for path, value in changes.items():
        *sections, key = path.split(".")
        section = values
        for name in sections:
            section = section[name]
        assert key in section, path
        section[key] = value
    return values


def plain(value):
    """Dataclasses to dicts, tuples to lists: what JSON would say."""
    return json.loads(json.dumps(dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_key_of_a_config_is_read_and_none_is_made_up(config):
    values = values_of(config)
    assert plain(Settings.from_dict(values)) == plain(values)
    again = json.loads(json.dumps(values))  # as in a run's config.json, where tuples are lists
    assert Settings.from_dict(again) == Settings.from_dict(values)


def test_reading_a_config_leaves_it_as_it_was():
    values = values_of()
    before = copy.deepcopy(values)
    Settings.from_dict(values)
    assert values == before


@pytest.mark.parametrize("config", [base, *PAPER.values()], ids=["base", *PAPER])
def test_the_paper_s_numbers_stand_in_the_configs_of_its_models(config):
    s = Settings.from_dict(values_of(config))
    r = s.rollout
    assert (r.output_limit, r.segments, r.segment_length) == (131072, 8, 16384)
    assert (r.slots, r.samples_per_prompt, r.sampling.temperature, r.sampling.top_p, r.sampling.top_k) == (
        1024,
        8,
        0.85,
        1,
        0,
    )
    assert (s.loss.tau, s.loss.sigma, s.loss.importance, s.optimizer.learning_rate) == (0.99, 0.2, "pois", 1e-6)
    assert s.context_limit == s.data.max_prompt_tokens + r.output_limit


# What the messages below count with, whatever the tiny config says.
SIZES = {
    "model.vocab_size": 128,
    "data.max_prompt_tokens": 49,
    "rollout.output_limit": 160,
    "rollout.segments": 4,
    "rollout.prefill_chunk": 64,
    "train.row_lengths": (209,),
    "warm_start.steps": 700,
}

SIX_EXPERTS = {"model.num_experts": 6, "model.num_experts_per_tok": 2, "model.moe_intermediate_size": 8}

# What is wrong, what the message must say (the key, the value got), and the value it names.
REFUSALS = [
    ({"steps": 0}, ["steps must be at least 1", "got 0"], {"steps": 1}),
    ({"rollout.segments": 0}, ["rollout.segments", "got 0"], {"rollout.segments": 1}),
    ({"rollout.output_limit": 0}, ["rollout.output_limit", "got 0", "1 or more"], {"rollout.output_limit": 4}),
    ({"rollout.slots": 0}, ["rollout.slots", "got 0"], {"rollout.slots": 1}),
    (
        {"rollout.samples_per_prompt": 1},
        ["rollout.samples_per_prompt", "at least 2", "got 1"],
        {"rollout.samples_per_prompt": 2},
    ),
    ({"rollout.prefill_rows": 0}, ["rollout.prefill_rows", "got 0"], {"rollout.prefill_rows": 1}),
    ({"data.max_prompt_tokens": 0}, ["data.max_prompt_tokens", "got 0"], {"data.max_prompt_tokens": 1}),
    ({"train.rows_per_micro_batch": -1}, ["train.rows_per_micro_batch", "got -1"], {"train.rows_per_micro_batch": 0}),
    ({"train.logprob_chunk": 0}, ["train.logprob_chunk", "got 0"], {"train.logprob_chunk": 1}),
    ({"train.updates_per_step": 0}, ["train.updates_per_step", "got 0"], {"train.updates_per_step": 1}),
    ({"train.max_skipped_in_a_row": 0}, ["train.max_skipped_in_a_row", "got 0"], {"train.max_skipped_in_a_row": 1}),
    ({"warm_start.steps": -1}, ["warm_start.steps", "at least 0", "got -1"], {"warm_start.steps": 0}),
    ({"evaluation.every": 0}, ["evaluation.every", "got 0"], {"evaluation.every": 1}),
    ({"checkpoint.every": 0}, ["checkpoint.every", "got 0"], {"checkpoint.every": 1}),
    ({"checkpoint.keep": 0}, ["checkpoint.keep", "got 0"], {"checkpoint.keep": 1}),
    ({"traces_per_step": -1}, ["traces_per_step", "got -1"], {"traces_per_step": 0}),
    (
        {"rollout.segments": 3},
        ["rollout.output_limit (L)", "multiple of rollout.segments (M = 3)", "got 160", "159 or 162 would work"],
        {"rollout.output_limit": 159},
    ),
    (
        {"rollout.output_limit": 2},
        ["rollout.output_limit", "M = 4", "got 2", "got 2: 4 would work"],
        {"rollout.output_limit": 4},
    ),
    (
        {"train.row_lengths": (100, 208)},
        ["train.row_lengths", "49 + 160", "got (100, 208)", "add 209"],
        {"train.row_lengths": (100, 209)},
    ),
    ({"train.row_lengths": (0, 209)}, ["train.row_lengths", "at least 1", "got 0"], {"train.row_lengths": (209,)}),
    ({"seed": -1}, ["seed", "got -1"], {"seed": 0}),
    ({"loss.clip_low": -0.5}, ["loss.clip_low", "got -0.5"], {"loss.clip_low": 0.0}),
    ({"evaluation.top_p": 0.0}, ["evaluation", "top_p", "0.0"], {"evaluation.top_p": 1.0}),
    (
        {"rollout.top_k": 5, "loss.importance": "sais"},
        ["loss.importance=sais", "got (1.0, 5)", "rollout.top_k=0"],
        {"rollout.top_k": 0},
    ),
    ({"train.row_lengths": ()}, ["train.row_lengths", "got ()", "add 209"], {"train.row_lengths": (209,)}),
    (
        {"rollout.kv": "keep", "rollout.recompute_every": 2},
        ["rollout.recompute_every", "with 'keep' it must be 1", "got 2"],
        {"rollout.recompute_every": 1},
    ),
    ({"rollout.prefill_chunk": 0}, ["rollout.prefill_chunk", "got 0"], {"rollout.prefill_chunk": 1}),
    ({"rollout.pages.count": -1}, ["rollout.pages.count", "got -1", "0 or more"], {"rollout.pages.count": 0}),
    ({"rollout.pages.size": 0}, ["rollout.pages.size", "got 0", "1 or more"], {"rollout.pages.size": 1}),
    (
        {"rollout.pages.over_provisioning": -0.5},
        ["rollout.pages.over_provisioning", "got -0.5", "0 or more"],
        {"rollout.pages.over_provisioning": 0},
    ),
    (
        {"rollout.pages.over_provisioning": float("nan")},
        ["rollout.pages.over_provisioning", "got nan"],
        {"rollout.pages.over_provisioning": 1.5},
    ),
    ({"rollout.finish_groups": 1}, ["rollout.finish_groups", "got 1", "bool"], {"rollout.finish_groups": True}),
    ({"rollout.pages.dtype": "int4"}, ["rollout.pages.dtype", "got 'int4'", "model"], {"rollout.pages.dtype": "int8"}),
    (
        {"rollout.pages.count": 799, "rollout.segments": 1, "loss.importance": "tois"},
        ["loss.importance=tois", "under 800", "got 799", "0 (no pages)"],  # 200 slots of 209 tokens, pages of 64
        {"rollout.pages.count": 800, "rollout.segments": 1, "loss.importance": "tois"},
    ),
    ({"rollout.kv": "flush"}, ["rollout.kv must be 'keep' or 'recompute'", "got 'flush'"], {"rollout.kv": "recompute"}),
    ({"rollout.refill": "now"}, ["rollout.refill must be one of", "got 'now'", "step"], {"rollout.refill": "step"}),
    ({"rollout.refill_latency": -1}, ["rollout.refill_latency", "got -1"], {"rollout.refill_latency": 0}),
    (
        {"rollout.refill": "continuous", "rollout.segments": 1, "loss.importance": "tois"},
        ["loss.importance=tois", "got (1, 'continuous')", "rollout.refill=step"],
        {"rollout.refill": "step", "rollout.segments": 1, "loss.importance": "tois"},
    ),
    (
        {"mesh.expert": 2},
        ["mesh.expert", "(0: the model is dense)", "got 2: 1 would work"],
        {"mesh.expert": 1},
    ),
    (
        {"mesh.expert": 4} | SIX_EXPERTS,
        ["mesh.expert", "must divide model.num_experts (6)", "got 4", "1 or 2 or 3 or 6 would work"],
        {"mesh.expert": 3},
    ),
    ({"mesh.expert": -1} | SIX_EXPERTS, ["mesh.expert", "got -1", "1 or 2 or 3 or 6"], {"mesh.expert": 6}),
    ({"optimizer.kind": "sgd"}, ["optimizer.kind must be one of", "got 'sgd'", "adamw"], {"optimizer.kind": "adamw"}),
    ({"warm_start.optimizer.kind": ""}, ["warm_start.optimizer.kind"], {"warm_start.optimizer.kind": "muon"}),
    ({"rollout.temperature": 0.0}, ["rollout.temperature", "got 0.0", "0.85"], {"rollout.temperature": 0.85}),
    ({"rollout.temperature": float("nan")}, ["rollout.temperature", "got nan"], {"rollout.temperature": 0.85}),
    ({"loss.tau": 1.5}, ["loss.tau", "got 1.5", "0.99"], {"loss.tau": 0.99}),
    ({"loss.tau": 0.0}, ["loss.tau", "got 0.0", "0.99"], {"loss.tau": 0.99}),
    ({"loss.sigma": -0.1}, ["loss.sigma", "got -0.1", "0.2"], {"loss.sigma": 0.2}),
    ({"loss.gate": "token"}, ["loss.gate", "got 'token'", "sample"], {"loss.gate": "sample"}),
    (
        {"loss.importance": "tois"},
        ["loss.importance=tois", "got (4, 'step')", "rollout.segments=1"],
        {"rollout.segments": 1},
    ),
    ({"loss.importance": "tois"}, ["loss.importance=pois or sais"], {"loss.importance": "pois"}),
    (
        {"tokenizer.eos_ids": ()},
        ["tokenizer.eos_ids", "model.vocab_size (128)", "got ()"],
        {"tokenizer.eos_ids": (127,)},
    ),
    (
        {"tokenizer.eos_ids": (10, 128)},
        ["tokenizer.eos_ids", "under model.vocab_size (128)", "got (10, 128)"],
        {"tokenizer.eos_ids": (10,)},
    ),
    ({"prompt.chat": True}, ["prompt.chat", "tokenizer.kind=hf", "got 'bytes'"], {"prompt.chat": False}),
    ({"prompt.system": "Think."}, ["prompt.system", "got 'Think.'"], {"prompt.system": ""}),
    ({"warm_start.answer": "42"}, ["warm_start.answer", "{answer}", "got '42'"], {"warm_start.answer": "{answer}"}),
    ({"data.train.main.weight": 0.0}, ["data.train", "got {'main': 0.0}"], {"data.train.main.weight": 0.5}),
    ({"data.train": {}}, ["data.train", "at least one source", "got {}"], {"data.train": values_of()["data"]["train"]}),
    ({"verify.workers": 0}, ["verify.workers", "at least 1", "got 0"], {"verify.workers": 1}),
    ({"verify.cache": -1}, ["verify.cache", "at least 0", "got -1"], {"verify.cache": 0}),
    ({"verify.deadline_s": 0.0}, ["verify.deadline_s", "got 0.0", "5.0"], {"verify.deadline_s": 5.0}),
    ({"verify.marker": " "}, ["verify.marker", "got ' '", "####"], {"verify.marker": "####"}),
    ({"verify.verifier.rows": 0}, ["verify.verifier.rows", "at least 1", "got 0"], {"verify.verifier.rows": 8}),
    (
        {"verify.verifier.row_lengths": ()},
        ["verify.verifier.row_lengths", "got ()", "(1024, 4096)"],
        {"verify.verifier.row_lengths": (1024, 4096)},
    ),
    ({"verify.max_error_rate": 25.0}, ["verify.max_error_rate", "got 25.0", "1.0"], {"verify.max_error_rate": 1.0}),
    ({"verify.error_window": 0}, ["verify.error_window", "got 0", "256"], {"verify.error_window": 256}),
    (
        {"verify.overlap": True, "loss.importance": "tois", "rollout.segments": 1},
        ["loss.importance=tois", "verify.overlap on those of a step before", "got True"],
        {"verify.overlap": False},
    ),
    (
        {"verify.overlap": True, "loss.importance": "tois", "rollout.segments": 1},
        ["loss.importance=pois or sais"],
        {"loss.importance": "pois"},
    ),
    ({"evaluation.samples": 0}, ["evaluation.samples", "got 0"], {"evaluation.samples": 1}),
    (
        {"optimizer.warmup_steps": 5, "optimizer.decay_steps": 5},
        ["optimizer.decay_steps", "optimizer.warmup_steps (5)", "got 5", "6 or more, or 0"],
        {"optimizer.decay_steps": 6},
    ),
]


@pytest.mark.parametrize(("wrong", "said", "remedy"), REFUSALS, ids=[str(case[0]) for case in REFUSALS])
def test_a_refusal_names_the_key_the_value_and_one_that_works(wrong, said, remedy):
    with pytest.raises(ValueError) as refusal:
        Settings.from_dict(changed(SIZES | wrong))
    message = str(refusal.value)
    assert all(part in message for part in said), message
    assert "\n" not in message
    Settings.from_dict(changed(SIZES | wrong | remedy))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"steps": 1.5}, "config key steps is of type int; got 1.5 (float)"),
        ({"steps": True}, "config key steps is of type int; got True (bool)"),
        ({"loss.tau": "high"}, "config key loss.tau is of type float; got 'high' (str)"),
        ({"loss.tau": True}, "config key loss.tau is of type float; got True (bool)"),
        ({"data.shuffle": 1}, "config key data.shuffle is of type bool; got 1 (int)"),
        ({"data.train": None}, "config key data.train is a section of keys; got None"),
        ({"data.train.main.path": None}, "config key data.train.main.path is of type str; got None (NoneType)"),
        ({"data.train": {"a": 1}}, "config key data.train.a is a section of keys; got 1"),
        ({"train.row_lengths": 209}, "config key train.row_lengths is a list of int; got 209"),
        ({"train.row_lengths": (209, "x")}, "config key train.row_lengths is of type int; got 'x' (str)"),
        ({"rollout": 4}, "config key rollout is a section of keys; got 4"),
        ({"warm_start.optimizer.b1": "0.9"}, "config key warm_start.optimizer.b1 is of type float; got '0.9' (str)"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_path(wrong, said):
    with pytest.raises(ValueError) as refusal:
        Settings.from_dict(changed(wrong))
    assert str(refusal.value) == said


def test_a_whole_number_may_stand_for_a_float():
    assert Settings.from_dict(changed({"loss.sigma": 0, "rollout.temperature": 1})).loss.sigma == 0.0


@pytest.mark.parametrize("section", ["", "rollout", "warm_start.optimizer"])
def test_an_unknown_and_a_missing_key_are_both_named_with_their_section(section):
    values = values_of()
    place = values
    for name in filter(None, section.split(".")):
        place = place[name]
    gone = next(iter(place))
    kept = place.pop(gone)
    place["temprature"] = 1.0
    with pytest.raises(ValueError) as refusal:
        Settings.from_dict(values)
    message = str(refusal.value)
    assert f"config section {section or 'top level'!r}" in message
    assert "unknown keys ['temprature']" in message and f"missing keys ['{gone}']" in message
    del place["temprature"]
    place[gone] = kept
    Settings.from_dict(values)


def test_a_network_that_cannot_be_built_is_refused_before_anything_else():
    with pytest.raises(ValueError, match=r"num_attention_heads \(4\) must be a multiple of num_key_value_heads \(3\)"):
        Settings.from_dict(changed({"model.num_key_value_heads": 3}))


@pytest.mark.parametrize(
    ("wrong", "ways", "said", "remedy"),
    [
        ({"train.rows_per_micro_batch": 12}, (8, 4), ["multiple of 8", "got 12", "16 would work"], 16),
        ({"warm_start.rows": 6}, (4, 4), ["multiple of 4", "got 6", "8 would work"], 8),
        ({"rollout.slots": 201}, (4, 8), ["multiple of 8", "got 201", "208 would work"], 208),
        ({"warm_start.row_length": 210}, (4, 4, 4), ["multiple of 8", "got 210", "216 would work"], 216),
        ({"train.row_lengths": (216, 220)}, (4, 4, 4), ["multiple of 8", "got 220", "224 would work"], (216, 224)),
        # On a TPU: blocks of 128 in rows too long for all scores at once, and in every part of a row.
        (
            {"train.row_lengths": (216, 300)},
            (4, 4, 1, 128),
            ["multiple of 128", "got 300", "384 would work"],
            (216, 384),
        ),
        ({"warm_start.row_length": 1000}, (4, 4, 1, 128), ["multiple of 128", "got 1000", "1024 would work"], 1024),
        ({"rollout.pages.count": 3}, (4, 1), ["at least 4", "209 tokens", "got 3", "4 would work"], 4),
        ({"rollout.pages.count": 30}, (4, 8), ["multiple of 8", "at least 32", "got 30", "32 would work"], 32),
        ({"rollout.pages.count": 33}, (4, 8), ["multiple of 8", "at least 32", "got 33", "40 would work"], 40),
    ],
)
def test_what_the_mesh_cannot_split_is_refused_with_the_next_size_it_can(wrong, ways, said, remedy):
    fits = {"train.rows_per_micro_batch": 8, "warm_start.rows": 8, "rollout.slots": 8}
    fits |= {"train.row_lengths": (216,), "warm_start.row_length": 216}
    (key,) = wrong
    with pytest.raises(ValueError) as refusal:
        check_mesh(Settings.from_dict(changed(fits | wrong)), *ways)
    assert all(part in str(refusal.value) for part in [key, *said]), refusal.value
    check_mesh(Settings.from_dict(changed(fits | {key: remedy})), *ways)


def test_on_a_tpu_each_part_of_a_row_is_of_whole_blocks():
    long = {"train.row_lengths": (8256,), "warm_start.row_length": 8192, "warm_start.rows": 4}
    with pytest.raises(ValueError, match="train.row_lengths must be a multiple of 2048.*got 8256.*10240 would work"):
        check_mesh(Settings.from_dict(changed(long)), 1, 1, 16, 128)
    check_mesh(Settings.from_dict(changed(long | {"train.row_lengths": (10240,)})), 1, 1, 16, 128)


def test_on_so_many_devices_the_mesh_has_sizes_and_every_part_with_rows_of_its_own_has_one():
    values = {"mesh.fsdp": -1, "mesh.context": 4, "mesh.data": 2, "train.rows_per_micro_batch": 0}
    settings = Settings.from_dict(changed(values))
    there = on_devices(settings, 32)
    assert dataclasses.asdict(there.mesh) == {"data": 2, "fsdp": 4, "context": 4, "expert": 1, "tensor": 1}
    assert there.train.rows_per_micro_batch == 8
    assert on_devices(there, 32) == there
    with pytest.raises(ValueError, match="needs 32 devices, there are 16"):
        on_devices(there, 16)
