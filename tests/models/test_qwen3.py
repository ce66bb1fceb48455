"""The network against a slow one in NumPy, its three faces against each other, packing against one sample alone."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tiny import make_config, make_moe_config, make_params
from ulorl_jax.models.qwen3 import REMAT, Qwen3Config, forward_cached, forward_packed, output_head
from ulorl_jax.models.qwen3_params import init_params, map_table, parameter_table
from ulorl_jax.models.rms_norm import rms_norm
from ulorl_jax.ops.logprobs import token_logprobs
from ulorl_jax.rollout.kv_cache import init_cache, make_attend
from ulorl_jax.rollout.lanes import Chunk, Lanes

DENSE = make_config()
MOE = make_moe_config()
NETWORKS = {
    "dense, tied": DENSE,
    "dense, untied": make_config(tie_word_embeddings=False),
    "one key head, eps and theta of their own": make_config(num_key_value_heads=1, rms_norm_eps=1e-2, rope_theta=50.0),
    "experts, tied": MOE,
    "experts, untied, weights not renormalised": make_moe_config(
        num_experts=5, num_experts_per_tok=3, norm_topk_prob=False, tie_word_embeddings=False
    ),
}
NAMED = pytest.mark.parametrize("config", NETWORKS.values(), ids=NETWORKS)
BOTH = pytest.mark.parametrize("config", [DENSE, MOE], ids=["dense", "experts"])
packed = jax.jit(forward_packed, static_argnums=1)


# The reference: float64, one sample, one token, one head at a time.


def reference_logits(params, c: Qwen3Config, tokens: np.ndarray) -> np.ndarray:
    """[T, V] logits of one sample."""
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    x = params["embed"][tokens]
    for n in range(c.num_hidden_layers):
        w = {name: stacked[n] for name, stacked in params["layers"].items()}
        x = x + reference_attention(reference_norm(x, w["attention_norm"], c.rms_norm_eps), w, c)
        h = reference_norm(x, w["mlp_norm"], c.rms_norm_eps)
        x = x + (np.stack([reference_experts(row, w, c) for row in h]) if c.num_experts else swiglu(h, w))
    head = params["embed"].T if c.tie_word_embeddings else params["head"]
    return reference_norm(x, params["final_norm"], c.rms_norm_eps) @ head


def reference_norm(x, scale, eps):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * scale


def rotate(x, position, theta):
    """Half-rotation RoPE of one head, as a product of complex numbers."""
    half = len(x) // 2
    turned = (x[:half] + 1j * x[half:]) * np.exp(1j * position * theta ** (-np.arange(half) / half))
    return np.concatenate([turned.real, turned.imag])


def reference_attention(h, w, c):
    length = len(h)
    q, k, v = ((h @ w[name]).reshape(length, -1, c.head_dim) for name in "qkv")
    q, k = reference_norm(q, w["q_norm"], c.rms_norm_eps), reference_norm(k, w["k_norm"], c.rms_norm_eps)
    out = np.zeros_like(q)
    for head in range(c.num_attention_heads):
        kv = head // (c.num_attention_heads // c.num_key_value_heads)
        for t in range(length):
            query = rotate(q[t, head], t, c.rope_theta)
            scores = np.array([query @ rotate(k[s, kv], s, c.rope_theta) for s in range(t + 1)]) / np.sqrt(c.head_dim)
            weights = np.exp(scores - scores.max())
            out[t, head] = weights / weights.sum() @ v[: t + 1, kv]
    return out.reshape(length, -1) @ w["o"]


def swiglu(h, w):
    gate = h @ w["gate"]
    return (gate / (1 + np.exp(-gate)) * (h @ w["up"])) @ w["down"]


def reference_experts(row, w, c):
    logits = row @ w["router"]
    probs = np.exp(logits - logits.max())
    probs /= probs.sum()
    chosen = np.argsort(-probs)[: c.num_experts_per_tok]
    weights = probs[chosen] / (probs[chosen].sum() if c.norm_topk_prob else 1)
    experts = [{m: w[m][e] for m in ("gate", "up", "down")} for e in chosen]
    return sum(p * swiglu(row, expert) for p, expert in zip(weights, experts, strict=True))


def alone(params, config, tokens):
    """[T, D] hidden states of one sample in a row of its own."""
    tokens = jnp.asarray(tokens)[None]
    return packed(params, config, tokens, jnp.arange(tokens.shape[1])[None], jnp.ones_like(tokens))[0]


def two_rows(rng):
    """Five samples in two rows with padding at the end: tokens, positions, sample_ids, and the samples' places."""
    tokens, positions, sample_ids = (np.zeros((2, 24), np.int32) for _ in range(3))
    places = []
    for row, sizes in enumerate([(7, 1, 9), (12, 8)]):
        start = 0
        for number, size in enumerate(sizes, start=1):
            place = slice(start, start + size)
            tokens[row, place] = rng.integers(0, 96, size)
            positions[row, place] = np.arange(size)
            sample_ids[row, place] = number
            places.append((row, place))
            start += size
    return tokens, positions, sample_ids, places


@NAMED
def test_logits_agree_with_a_plain_network_in_float64(config):
    params = make_params(config)
    tokens = np.random.default_rng(1).integers(0, config.vocab_size, 13)
    logits = np.asarray(alone(params, config, tokens) @ output_head(params))
    wanted = reference_logits(params, config, tokens)
    assert np.abs(wanted).max() > 1
    np.testing.assert_allclose(logits, wanted, atol=1e-4, rtol=0)


@BOTH
def test_a_sample_packed_beside_others_has_the_hidden_states_it_has_alone(config):
    params = make_params(config)
    tokens, positions, sample_ids, places = two_rows(np.random.default_rng(2))
    hidden = packed(params, config, tokens, positions, sample_ids)
    lone = np.zeros((3, len(places), tokens.shape[1]), np.int32)  # tokens, positions, sample_ids: a row per sample
    for n, (row, place) in enumerate(places):
        size = place.stop - place.start
        lone[:, n, :size] = np.stack([tokens[row, place], np.arange(size), np.ones(size)])
    wanted = packed(params, config, *lone)
    for n, (row, place) in enumerate(places):
        np.testing.assert_allclose(hidden[row, place], wanted[n, : place.stop - place.start], atol=1e-5)


@BOTH
def test_what_stands_in_padding_changes_nothing(config):
    params = make_params(config)
    rng = np.random.default_rng(3)
    tokens, positions, sample_ids, _ = two_rows(rng)
    padding = sample_ids == 0
    assert padding.any()
    garbage = np.where(padding, rng.integers(0, 96, tokens.shape), tokens).astype(np.int32)
    elsewhere = np.where(padding, rng.integers(0, 999, tokens.shape), positions).astype(np.int32)
    clean = np.asarray(packed(params, config, tokens, positions, sample_ids))
    dirty = np.asarray(packed(params, config, garbage, elsewhere, sample_ids))
    assert np.isfinite(clean).all() and np.isfinite(dirty).all()
    np.testing.assert_array_equal(clean[~padding], dirty[~padding])
    assert (clean[padding] != dirty[padding]).any()


@BOTH
def test_a_later_token_changes_no_earlier_hidden_state(config):
    params = make_params(config)
    tokens = np.random.default_rng(4).integers(0, 96, 12)
    changed = np.r_[tokens[:-1], (tokens[-1] + 1) % 96]
    before, after = alone(params, config, tokens), alone(params, config, changed)
    np.testing.assert_array_equal(before[:-1], after[:-1])
    assert (before[-1] != after[-1]).any()


@BOTH
def test_prefill_and_decode_give_the_hidden_states_of_the_packed_forward(config):
    params = make_params(config)
    rng = np.random.default_rng(5)
    lengths, width, total = np.array([3, 8, 6]), 8, 14
    tokens = rng.integers(0, 96, (3, total)).astype(np.int32)
    wanted = np.stack([alone(params, config, row) for row in tokens])

    every = jnp.arange(3, dtype=jnp.int32)

    @functools.partial(jax.jit, static_argnums=0, donate_argnums=3)
    def step(lanes, new, at, cache):  # at [3] or [3, width]
        chunk = Chunk(every, at, at < lengths[:, None]) if lanes.rows else None
        attend = make_attend(lanes, at if chunk is None else lengths, every >= 0, chunk, None)
        hidden, cache = forward_cached(params, config, new.reshape(-1, 1), at.reshape(-1, 1), attend, cache)
        return hidden.reshape(*at.shape, -1), cache

    # Rows are padded to one width with ids that leave no trace.
    context = np.where(np.arange(width) < lengths[:, None], tokens[:, :width], 95).astype(np.int32)
    places = jnp.broadcast_to(jnp.arange(width), (3, width))
    hidden, cache = step(Lanes(1, 0, 3, width), context, places, init_cache(config, 3, total, unstacked=False))
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(hidden[row, :length], wanted[row, :length], atol=1e-5)
    rows = np.arange(3)
    for i in range(total - lengths.max()):
        at = lengths + i
        hidden, cache = step(Lanes(1, 3), tokens[rows, at], jnp.asarray(at), cache)
        np.testing.assert_allclose(hidden, wanted[rows, at], atol=1e-5)


def test_what_is_kept_for_the_backward_pass_does_not_change_the_gradient():
    config = DENSE
    tokens, positions, sample_ids, _ = two_rows(np.random.default_rng(6))
    params = make_params(config)

    def loss(params, config):
        hidden = forward_packed(params, config, tokens, positions, sample_ids)
        return token_logprobs(hidden, output_head(params), tokens)[0].mean()

    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    grads = {policy: gradient(params, dataclasses.replace(config, remat=policy)) for policy in REMAT}
    assert all(float(jnp.abs(leaf).max()) > 1e-6 for leaf in jax.tree.leaves(grads["none"]))
    for policy in ("dots", "full"):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), grads["none"], grads[policy])


@NAMED
def test_parameters_are_what_the_table_says(config):
    shapes = map_table(lambda row: jax.ShapeDtypeStruct(row.shape, jnp.bfloat16), config)
    params = init_params(jax.random.key(0), config, jnp.bfloat16)
    assert jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params) == shapes
    assert ("head" in params) != config.tie_word_embeddings

    def starts_as_declared(row, leaf):
        assert len(row.axes) == len(row.shape)
        leaf = np.asarray(leaf, np.float32)
        if row.std is None:
            assert (leaf == 1).all()
        else:
            assert abs(leaf.std() / row.std - 1) < 0.15 and abs(leaf.mean()) < 0.2 * row.std

    jax.tree.map(starts_as_declared, map_table(lambda row: row, config), params)


def test_two_parameters_of_one_shape_start_with_different_values():
    params = init_params(jax.random.key(0), DENSE)["layers"]
    assert params["k"].shape == params["v"].shape and (params["k"] != params["v"]).mean() > 0.99
    assert (params["k"][0] != params["k"][1]).mean() > 0.99


def test_activations_have_the_configured_dtype_and_parameters_keep_theirs():
    config = make_config(dtype="bfloat16")
    params = make_params(config)
    hidden = alone(params, config, np.arange(9))
    assert hidden.dtype == jnp.bfloat16 and params["embed"].dtype == jnp.float32
    wanted = alone(params, DENSE, np.arange(9))
    np.testing.assert_allclose(hidden.astype(jnp.float32), wanted, atol=0.1)


def test_rms_norm_is_taken_in_float32_whatever_comes_in():
    x = jnp.full((1, 4), 300.0, jnp.float16)  # the square of 300 is beyond float16
    assert rms_norm(x, jnp.full(4, 2.0), 1e-6).tolist() == [[2.0] * 4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_key_value_heads": 3}, r"num_attention_heads \(4\) must be a multiple of num_key_value_heads \(3\)"),
        ({"head_dim": 15}, "head_dim must be even for RoPE, got 15; try 16"),
        ({"num_experts": 4}, r"num_experts_per_tok must be in 1..num_experts \(4\), got 0"),
        ({"num_experts": 4, "num_experts_per_tok": 5}, "got 5"),
        ({"dtype": "bf16"}, "dtype must be one of .*'bfloat16'.*, got 'bf16'"),
        ({"remat": "some"}, "remat must be one of .*'dots', 'full', 'none'.*, got 'some'"),
    ],
)
def test_a_shape_that_cannot_be_built_is_refused_with_its_reason(change, message):
    with pytest.raises(ValueError, match=message):
        make_config(**change)


def test_every_matrix_of_the_table_names_the_axes_it_is_split_along():
    for config in (DENSE, MOE):
        table = parameter_table(config)
        for name, row in (table | table["layers"]).items():
            if name != "layers" and not name.endswith("norm"):
                assert "embed" in row.axes, name


# Against the implementation the weights were made for.


def to_torch(params, config: Qwen3Config):
    """Our parameters under Hugging Face's names."""
    torch = pytest.importorskip("torch")
    turned = {"q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj"}
    straight = {
        "attention_norm": "input_layernorm",
        "mlp_norm": "post_attention_layernorm",
        "q_norm": "self_attn.q_norm",
        "k_norm": "self_attn.k_norm",
    }
    state = {"model.embed_tokens.weight": params["embed"], "model.norm.weight": params["final_norm"]}
    state["lm_head.weight"] = output_head(params).T
    for n in range(config.num_hidden_layers):
        w, prefix = {name: stacked[n] for name, stacked in params["layers"].items()}, f"model.layers.{n}."
        state |= {f"{prefix}{theirs}.weight": w[ours].T for ours, theirs in turned.items()}
        state |= {f"{prefix}{theirs}.weight": w[ours] for ours, theirs in straight.items()}
        if config.num_experts:
            state[f"{prefix}mlp.gate.weight"] = w["router"].T
            # transformers 5 keeps the experts stacked, gate above up.
            state[f"{prefix}mlp.experts.gate_up_proj"] = np.concatenate([w["gate"], w["up"]], axis=2).swapaxes(1, 2)
            state[f"{prefix}mlp.experts.down_proj"] = w["down"].swapaxes(1, 2)
        else:
            state |= {f"{prefix}mlp.{m}_proj.weight": w[m].T for m in ("gate", "up", "down")}
    return {name: torch.tensor(np.array(value, np.float32)) for name, value in state.items()}


@NAMED
def test_logits_agree_with_hugging_face(config):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers", minversion="5")
    shape = {
        name: value
        for name, value in dataclasses.asdict(config).items()
        if name not in ("dtype", "remat", "rope_theta", "rope_scaling") and (config.num_experts or "expert" not in name)
    }
    shape |= {"rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta}, "attention_bias": False}
    if config.num_experts:
        theirs = transformers.Qwen3MoeForCausalLM(transformers.Qwen3MoeConfig(**shape, mlp_only_layers=[]))
    else:
        theirs = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**shape))
    params = make_params(config)
    assert not theirs.load_state_dict(to_torch(params, config)).missing_keys
    tokens = np.random.default_rng(7).integers(0, config.vocab_size, 17)
    with torch.no_grad():
        wanted = theirs.eval()(torch.tensor(tokens)[None]).logits[0].numpy()
    logits = np.asarray(alone(params, config, tokens) @ output_head(params))
    np.testing.assert_allclose(logits, wanted, atol=1e-4, rtol=0)
