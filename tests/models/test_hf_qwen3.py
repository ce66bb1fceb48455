"""config.json both ways, and the table of tensors against what transformers writes."""

import dataclasses
import json

import jax
import pytest

from tests import hf_folders
from tests.tiny import make_config, make_moe_config
from ulorl_jax.models.hf_qwen3 import config_from_hf, config_to_hf, hf_tensors, recorded_dtype
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.models.qwen3_params import map_table
from ulorl_jax.models.rope import RopeScaling

# As published with Qwen3-0.6B and Qwen3-30B-A3B: the keys that say what the network is.
QWEN3_0P6B = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 1024,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "max_position_embeddings": 40960,
    "max_window_layers": 28,
    "model_type": "qwen3",
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.51.0",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
EXPERTS = {
    "model_type": "qwen3_moe",
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "moe_intermediate_size": 768,
    "norm_topk_prob": True,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "tie_word_embeddings": False,
}
YARN = RopeScaling(1.5, 95_232)


def test_the_config_of_qwen3_0p6b_is_read():
    assert config_from_hf(QWEN3_0P6B) == Qwen3Config(
        vocab_size=151936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        rope_theta=1e6,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
        dtype="bfloat16",
    )


def test_both_spellings_of_a_config_say_the_same():
    old = QWEN3_0P6B | EXPERTS | {"rope_scaling": {"type": "yarn", "factor": 4.0}, "max_position_embeddings": 1000}
    new = {key: value for key, value in old.items() if key not in ("rope_theta", "rope_scaling", "torch_dtype")}
    new["num_local_experts"] = new.pop("num_experts")
    rope = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 1000}
    new |= {"rope_parameters": rope, "dtype": "bfloat16"}
    config = config_from_hf(old)
    assert config == config_from_hf(new)
    assert config.rope_scaling == RopeScaling(4.0, 1000) and config.num_experts == 128 and config.dtype == "bfloat16"


@pytest.mark.parametrize(
    ("rope", "wanted"),
    [
        ({"factor": 2.0}, RopeScaling(2.0, 40960)),
        ({"factor": 2.0, "original_max_position_embeddings": 64}, RopeScaling(2.0, 64)),
        ({"factor": None, "original_max_position_embeddings": 20480}, RopeScaling(2.0, 20480)),
        ({"factor": 2.0, "attention_factor": 1.2}, RopeScaling(2.0, 40960, 1.2)),
        ({"factor": 2.0, "attention_factor": 1.0693147180559945}, RopeScaling(2.0, 40960)),
        ({"factor": 2.0, "beta_fast": 16, "beta_slow": 2}, RopeScaling(2.0, 40960, 0.0, 16.0, 2.0)),
        ({"factor": 2.0, "mscale": 1.0, "mscale_all_dim": 1.0}, RopeScaling(2.0, 40960, 1.0)),
        ({"factor": 1.0}, RopeScaling()),
        ({"rope_type": "default"}, RopeScaling()),
    ],
)
def test_the_spellings_of_yarn_are_read(rope, wanted):
    assert config_from_hf(QWEN3_0P6B | {"rope_scaling": {"rope_type": "yarn"} | rope}).rope_scaling == wanted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "llama"}, r"model_type must be one of \['qwen3', 'qwen3_moe'\], got 'llama'"),
        ({"attention_bias": True}, "attention_bias=True is not supported; want False"),
        ({"use_sliding_window": True}, "use_sliding_window=True is not supported"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types other than full_attention"),
        ({"mlp_only_layers": [0]}, r"mlp_only_layers=\[0\] is not supported; want \[\]"),
        ({"decoder_sparse_step": 2}, "decoder_sparse_step=2 is not supported; want 1"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu' is not supported; want 'silu'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5"),
        ({"quantization_config": {"quant_method": "fp8"}}, "quantization_config=.* bfloat16 or float32"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "rope_type must be .* got 'linear'"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "short_factor": [1]}}, r"unknown rope keys \['short"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "truncate": False}}, "truncate=false"),
        ({"torch_dtype": "float8_e4m3fn"}, "dtype must be one of .* got 'float8_e4m3fn'"),
        ({"head_dim": None}, "head_dim is missing"),
        ({"rope_theta": None}, "rope_theta is missing"),
        ({"model_type": "qwen3_moe"}, "num_experts_per_tok is missing"),
        ({"model_type": ["qwen3"]}, "model_type must be one of"),
        ({"hidden_size": "1024"}, "hidden_size must be a whole number of at least 1, got '1024'"),
        ({"num_key_value_heads": 0}, "num_key_value_heads must be a whole number of at least 1, got 0"),
        ({"num_hidden_layers": 28.0}, "num_hidden_layers must be a whole number"),
        ({"rms_norm_eps": [1e-6]}, "rms_norm_eps must be a number above 0"),
        ({"rope_theta": float("nan")}, "rope_theta must be a number above 0, got nan"),
        ({"tie_word_embeddings": "false"}, "tie_word_embeddings must be a bool, got 'false'"),
        ({"layer_types": 28}, "layer_types must be a list, got 28"),
        ({"rope_scaling": "yarn"}, "rope_scaling must be a dict, got 'yarn'"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "attention_factor": []}}, "attention_factor must be"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_this_network_does_not_do_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        config_from_hf(QWEN3_0P6B | change)


CONFIGS = {
    "dense, tied": make_config(),
    "dense, untied": make_config(tie_word_embeddings=False, dtype="bfloat16"),
    "experts": make_moe_config(norm_topk_prob=False, intermediate_size=0),
    "YaRN": make_config(rope_scaling=YARN),
    "YaRN with a magnitude": make_config(rope_scaling=dataclasses.replace(YARN, attention_factor=1.2, beta_slow=2.0)),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_config_written_and_read_is_the_same(config):
    assert config_from_hf(json.loads(json.dumps(config_to_hf(config, config.dtype)))) == config


def test_what_the_original_config_says_besides_is_kept_and_what_has_changed_is_not():
    original = QWEN3_0P6B | {"dtype": "float32", "of_their_own": [1]}
    config = dataclasses.replace(config_from_hf(original), rope_scaling=YARN)
    values = config_to_hf(config, "bfloat16", original)
    assert values["of_their_own"] == [1] and values["eos_token_id"] == 151645 and "dtype" not in values
    assert recorded_dtype(values) == "bfloat16" and config_from_hf(values) == dataclasses.replace(
        config, dtype="bfloat16"
    )
    # Some releases of transformers take the factor from the ratio of the two lengths.
    assert values["max_position_embeddings"] == 142_848 == 1.5 * 95_232
    unchanged = config_to_hf(config_from_hf(original), "bfloat16", original)
    assert unchanged["max_position_embeddings"] == 40960


@pytest.mark.parametrize("kind", hf_folders.KINDS)
def test_transformers_reads_a_written_config_as_the_network_it_was(kind):
    network = hf_folders.make_network(kind)
    transformers = pytest.importorskip("transformers", minversion="5")
    config = config_from_hf(json.loads(network.config.to_json_string()))
    kind_of_config = transformers.CONFIG_MAPPING["qwen3_moe" if config.num_experts else "qwen3"]
    theirs = kind_of_config.from_dict(config_to_hf(config, "float32"))
    for name in dataclasses.asdict(config):
        if name not in ("dtype", "remat", "rope_theta", "rope_scaling") and (config.num_experts or "exp" not in name):
            assert getattr(theirs, name, None) == getattr(network.config, name, None), name
    # What was left to the formula is written out, so that every release takes the same.
    wanted = network.config.rope_parameters
    assert {key: theirs.rope_parameters[key] for key in wanted} == wanted


@pytest.mark.parametrize("kind", hf_folders.KINDS)
def test_the_table_names_exactly_the_tensors_that_transformers_writes(tmp_path, kind):
    folder = hf_folders.write(tmp_path / "hf", kind)
    config = config_from_hf(json.loads((folder / "config.json").read_text()))
    places = hf_tensors(config)
    assert {name for name, place in places.items() if not place.copy_of} == set(hf_folders.tensors(folder))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_tensors_fill_every_leaf_exactly_once(config):
    shapes = map_table(lambda row: row.shape, config)
    seen = {}
    for place in hf_tensors(config).values():
        if not place.copy_of:
            seen.setdefault(place.path, []).append(place.index)
    leaves, _ = jax.tree_util.tree_flatten_with_path(shapes, is_leaf=lambda x: isinstance(x, tuple))
    assert {tuple(key.key for key in path) for path, _ in leaves} == set(seen)
    for path, shape in leaves:
        indices = seen[tuple(key.key for key in path)]
        ends = {len(index) for index in indices}
        assert len(ends) == 1 and len(set(indices)) == len(indices)
        count = 1
        for size in shape[: ends.pop()]:
            count *= size
        assert len(indices) == count
