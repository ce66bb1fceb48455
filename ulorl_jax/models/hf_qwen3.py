"""Qwen3 as Hugging Face writes it: config.json, and where every tensor of its files goes in our parameter tree.

No disk here: `io.hf_weights` reads and writes the files, `weights` brings the two together.
Written for transformers 4.51 and newer: configs in both spellings are read (rope_theta and
rope_scaling, or rope_parameters; torch_dtype or dtype; num_experts or num_local_experts), the
older one is written, which the newer library reads too.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ulorl_jax.io.hf_weights import Place
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.models.rope import RopeScaling

ARCHITECTURES = {"qwen3": "Qwen3ForCausalLM", "qwen3_moe": "Qwen3MoeForCausalLM"}
DTYPES = ("float32", "bfloat16", "float16")
_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_EXPERTS = ("num_experts_per_tok", "moe_intermediate_size")
# What this network does not do; the value that Qwen3 has and that means "not used".
_WANTED: dict[str, tuple[Any, ...]] = {
    "attention_bias": (False,),
    "use_sliding_window": (False,),
    "mlp_only_layers": ([],),
    "decoder_sparse_step": (1,),
    "hidden_act": ("silu",),
    "partial_rotary_factor": (1, 1.0),
    "quantization_config": (),
}
_ROPE_KEYS = {
    "type",
    "rope_type",
    "rope_theta",
    "partial_rotary_factor",
    "factor",
    "original_max_position_embeddings",
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "mscale",
    "mscale_all_dim",
    "truncate",
}


def config_from_hf(values: dict[str, Any]) -> Qwen3Config:
    """The network that a config.json describes.

    Args:
      values: the whole file.

    Returns:
      The config; `dtype` is the one recorded, float32 where none is.

    Raises:
      ValueError: another architecture, something this network does not do, or a key that is missing; named.
    """
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        raise ValueError(f"model_type must be one of {sorted(ARCHITECTURES)}, got {kind!r}")
    for key, wanted in _WANTED.items():
        if values.get(key) is not None and values[key] not in wanted:
            raise ValueError(
                f"{key}={values[key]!r} is not supported; "
                + (f"want {wanted[0]!r}" if wanted else "give the weights in bfloat16 or float32")
            )
    if any(layer != "full_attention" for layer in _of_type(list, values, "layer_types") or ()):
        raise ValueError("layer_types other than full_attention are not supported")
    moe = kind == "qwen3_moe"
    unused = "intermediate_size" if moe else ""  # 0 where all layers have experts
    sizes: dict[str, Any] = {name: _size(values, name, least=int(name != unused)) for name in _SIZES}
    if moe:
        sizes |= {name: _size(values, name) for name in _EXPERTS}
        sizes |= {"num_experts": _size(values, "num_experts", "num_local_experts")}
        _need(values, "norm_topk_prob")
        sizes |= {"norm_topk_prob": _of_type(bool, values, "norm_topk_prob")}
    # Qwen3-MoE configs may leave the head's size out; dense ones never do.
    left_out = moe and values.get("head_dim") is None
    head_dim = sizes["hidden_size"] // sizes["num_attention_heads"] if left_out else _size(values, "head_dim")
    theta, scaling = _rope(values)
    return Qwen3Config(
        **sizes,
        num_key_value_heads=_size(values, "num_key_value_heads"),
        head_dim=head_dim,
        rope_theta=theta,
        rope_scaling=scaling,
        rms_norm_eps=_number(values, "rms_norm_eps"),
        tie_word_embeddings=_of_type(bool, values, "tie_word_embeddings") or False,
        dtype=recorded_dtype(values) or "float32",
    )


def recorded_dtype(values: dict[str, Any]) -> str | None:
    """The dtype a config.json says its weights have; None where it says nothing.

    Raises:
      ValueError: it is none of `DTYPES`.
    """
    dtype = values.get("dtype") or values.get("torch_dtype")
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {DTYPES}, got {dtype!r}")
    return dtype


def config_to_hf(config: Qwen3Config, dtype: str, original: dict[str, Any] | None = None) -> dict[str, Any]:
    """The config.json of a network.

    Args:
      config: the network's shape.
      dtype: of the weights it is written with, one of `DTYPES`.
      original: the config.json the weights came with; its other keys are kept.

    Returns:
      What to write; transformers makes the same network of it.
    """
    c = config
    kind = "qwen3_moe" if c.num_experts else "qwen3"
    values = {
        "architectures": [ARCHITECTURES[kind]],
        "model_type": kind,
        **{name: getattr(c, name) for name in _SIZES},
        "num_key_value_heads": c.num_key_value_heads,
        "head_dim": c.head_dim,
        "hidden_act": "silu",
        "attention_bias": False,
        "use_sliding_window": False,
        "rms_norm_eps": c.rms_norm_eps,
        "tie_word_embeddings": c.tie_word_embeddings,
        "rope_theta": c.rope_theta,
        "rope_scaling": _rope_scaling(c.rope_scaling),
        "torch_dtype": dtype,
    }
    if c.num_experts:
        values |= {name: getattr(c, name) for name in (*_EXPERTS, "num_experts", "norm_topk_prob")}
        values |= {"mlp_only_layers": [], "decoder_sparse_step": 1}
    kept = dict(original or {})
    same_rope = bool(original) and _rope(kept) == (c.rope_theta, c.rope_scaling)
    for key in ("rope_parameters", "dtype", "num_local_experts", "quantization_config"):  # the newer spelling
        kept.pop(key, None)
    if c.rope_scaling.factor > 1 and not same_rope:
        # Some releases of transformers take the factor from this ratio and not from rope_scaling.
        length = math.ceil(c.rope_scaling.factor * c.rope_scaling.original_max_position_embeddings)
        values["max_position_embeddings"] = length
    return kept | values


def hf_tensors(config: Qwen3Config) -> dict[str, Place]:
    """Where every tensor of the files goes in the parameter tree.

    Args:
      config: the network's shape.

    Returns:
      HF name -> its place, in the order in which the network uses them. Experts are single tensors, as
      in the files (transformers stacks them when it loads).
    """
    places = {"model.embed_tokens.weight": Place(("embed",))}
    for n in range(config.num_hidden_layers):
        prefix = f"model.layers.{n}."
        for name, (leaf, transposed) in _LAYER.items():
            places[f"{prefix}{name}.weight"] = Place(("layers", leaf), (n,), transposed)
        if config.num_experts:
            places[f"{prefix}mlp.gate.weight"] = Place(("layers", "router"), (n,), True)
            for e in range(config.num_experts):
                for leaf in ("gate", "up", "down"):
                    name = f"{prefix}mlp.experts.{e}.{leaf}_proj.weight"
                    places[name] = Place(("layers", leaf), (n, e), True)
        else:
            for leaf in ("gate", "up", "down"):
                places[f"{prefix}mlp.{leaf}_proj.weight"] = Place(("layers", leaf), (n,), True)
    places["model.norm.weight"] = Place(("final_norm",))
    if config.tie_word_embeddings:
        # Some files hold the head beside the embedding it is tied to.
        places["lm_head.weight"] = Place(("embed",), copy_of="model.embed_tokens.weight")
    else:
        places["lm_head.weight"] = Place(("head",), transposed=True)
    return places


_LAYER = {
    "input_layernorm": ("attention_norm", False),
    "self_attn.q_proj": ("q", True),
    "self_attn.k_proj": ("k", True),
    "self_attn.v_proj": ("v", True),
    "self_attn.q_norm": ("q_norm", False),
    "self_attn.k_norm": ("k_norm", False),
    "self_attn.o_proj": ("o", True),
    "post_attention_layernorm": ("mlp_norm", False),
}


def _need(values: dict[str, Any], *names: str) -> Any:
    for name in names:
        if values.get(name) is not None:
            return values[name]
    raise ValueError(f"{' or '.join(names)} is missing; take the file that came with the weights")


def _size(values: dict[str, Any], *names: str, least: int = 1) -> int:
    size = _need(values, *names)
    if type(size) is not int or size < least:
        raise ValueError(f"{' or '.join(names)} must be a whole number of at least {least}, got {size!r}")
    return size


def _number(values: dict[str, Any], name: str) -> float:
    number = _need(values, name)
    if type(number) not in (int, float) or not 0 < number < math.inf:
        raise ValueError(f"{name} must be a number above 0, got {number!r}")
    return float(number)


def _of_type(kind: type, values: dict[str, Any], name: str) -> Any:
    """The value, or None where there is none."""
    value = values.get(name)
    if value is not None and not isinstance(value, kind):
        raise ValueError(f"{name} must be a {kind.__name__}, got {value!r}")
    return value


def _rope(values: dict[str, Any]) -> tuple[float, RopeScaling]:
    rope = _of_type(dict, values, "rope_scaling") or _of_type(dict, values, "rope_parameters") or {}
    numbers = ("factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim")
    # 0 is "not given" to some that write these files
    rope = rope | {name: _number(rope, name) for name in numbers if rope.get(name) not in (None, 0)}
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind not in ("default", "yarn"):
        raise ValueError(f'rope_type must be "default" or "yarn", got {kind!r}')
    if unknown := sorted(set(rope) - _ROPE_KEYS):
        raise ValueError(f"unknown rope keys {unknown}; supported are {sorted(_ROPE_KEYS)}")
    if rope.get("partial_rotary_factor", 1) != 1 or not rope.get("truncate", True):
        raise ValueError("partial_rotary_factor and truncate=false of the rope are not supported")
    theta = _number(values | rope, "rope_theta")
    if kind == "default":
        return theta, RopeScaling()
    longest = "max_position_embeddings"
    original = _size(rope, f"original_{longest}") if rope.get(f"original_{longest}") else _size(values, longest)
    factor = rope.get("factor") or _size(values, longest) / original
    if factor == 1:
        return theta, RopeScaling()
    formula = RopeScaling(
        factor, original, beta_fast=float(rope.get("beta_fast") or 32), beta_slow=float(rope.get("beta_slow") or 1)
    )
    attention_factor = rope.get("attention_factor")
    if attention_factor is None and rope.get("mscale") and rope.get("mscale_all_dim"):
        scale, all_dim = (1 + 0.1 * rope[name] * math.log(factor) for name in ("mscale", "mscale_all_dim"))
        attention_factor = scale / all_dim
    if attention_factor is None or math.isclose(attention_factor, formula.magnitude):
        return theta, formula
    return theta, dataclasses.replace(formula, attention_factor=float(attention_factor))


def _rope_scaling(scaling: RopeScaling) -> dict[str, Any] | None:
    if scaling.factor == 1:
        return None
    return {
        "rope_type": "yarn",
        "factor": scaling.factor,
        "original_max_position_embeddings": scaling.original_max_position_embeddings,
        "attention_factor": scaling.magnitude,
        "beta_fast": scaling.beta_fast,
        "beta_slow": scaling.beta_slow,
    }
