"""Weights wherever they lie: what transformers wrote computes here what it computes there; every folder is known."""

import functools
import hashlib
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import hf_folders
from tests.tiny import make_config, make_layout, make_moe_config, make_params, make_rollout, run_to_end
from ulorl_jax.io.checkpoints import Checkpoints
from ulorl_jax.models.qwen3 import forward_packed, output_head
from ulorl_jax.models.qwen3_params import map_table
from ulorl_jax.models.rope import RopeScaling
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.train.state import OptimizerSettings, make_optimizer, start_state
from ulorl_jax.types import Prompt
from ulorl_jax.weights import copy_side_files, fingerprint, open_weights

KINDS = pytest.mark.parametrize("kind", hf_folders.KINDS)


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """kind -> a folder written by transformers in several shards, once."""
    return functools.cache(lambda kind: hf_folders.write(tmp_path_factory.mktemp("hf") / "model", kind, shard="40KB"))


def load(weights, layout=None, dtype=jnp.float32):
    layout = layout or make_layout("training")
    return weights.load(map_table(lambda row: layout.sharding(*row.axes, shape=row.shape), weights.config), dtype)


@functools.partial(jax.jit, static_argnums=1)
def logits(params, config, tokens):
    hidden = forward_packed(params, config, tokens[None], jnp.arange(len(tokens))[None], jnp.ones_like(tokens)[None])
    return hidden[0] @ output_head(params)


def bits(tree):
    return [(np.asarray(x).tobytes(), x.shape, str(x.dtype)) for x in jax.tree.leaves(tree)]


def contents(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@KINDS
def test_logits_over_512_tokens_are_those_of_transformers(folder_of, kind):
    weights = open_weights(folder_of(kind))
    tokens = np.random.default_rng(0).integers(0, 96, 512)
    wanted = hf_folders.logits(hf_folders.load(folder_of(kind)), tokens)
    assert np.abs(wanted).max() > 2
    assert np.abs(np.asarray(logits(load(weights), weights.config, tokens)) - wanted).max() <= 2e-4


@KINDS
def test_64_greedy_tokens_are_those_of_transformers(folder_of, kind):
    """By the decoder of the runs: prefill, then a token at a time from a cache. YaRN's trained length is exceeded."""
    weights = open_weights(folder_of(kind))
    prompt = np.random.default_rng(1).integers(1, 96, 100).astype(np.int32)
    wanted = hf_folders.generate(hf_folders.load(folder_of(kind)), prompt, 64)
    rollout = make_rollout(
        weights.config, slots=2, segments=4, output_limit=64, sampling=Sampling(0.0), eos_ids=(96,), prompt_limit=100
    )
    (sample,) = run_to_end(rollout, load(weights), [Prompt(0, prompt, "")], 1).values()
    assert sample.output.tolist() == wanted and len(set(wanted)) > 4


def test_under_eight_devices_the_weights_are_the_same_bits(folder_of):
    weights = open_weights(folder_of("dense, untied"))
    spread = load(weights, make_layout("training", jax.devices(), fsdp=4, tensor=2))
    assert any(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(spread))
    assert bits(spread) == bits(load(weights))


def test_the_recorded_dtype_becomes_the_one_it_is_computed_in(tmp_path):
    assert open_weights(hf_folders.write(tmp_path / "hf", "dense, tied", dtype="bfloat16")).config.dtype == "bfloat16"


# Orbax: a run and a folder of parameters alone.

CONFIGS = {
    "dense": make_config(),
    "experts": make_moe_config(tie_word_embeddings=False),
    "YaRN": make_config(rope_scaling=RopeScaling(1.5, 64)),
}


def save(folder, config, step=5, params=None, **of_run):
    params = make_params(config) if params is None else params
    state = params
    if of_run:
        optimizer = make_optimizer(OptimizerSettings("adamw", 1e-3, 0, 0, 0.9, 0.999, 1e-8, 0.0, 1.0))
        copy = jax.tree.map(lambda x: x + 0, params)
        state = start_state(copy, config, optimizer, make_layout("training"))
    with Checkpoints(folder, keep=3, fingerprint=fingerprint(config) | of_run) as checkpoints:
        checkpoints.save(step, state=state, host={}, arrays={})
    return params


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("given", ["", "checkpoints"])
def test_the_parameters_are_taken_out_of_a_runs_train_state(tmp_path, config, given):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")  # a run's own, not of Hugging Face
    params = save(tmp_path / "run" / "checkpoints", config, seed=3, kv="keep", **{"data.train": "x"})
    before = contents(tmp_path / "run")
    weights = open_weights(tmp_path / "run" / given)
    assert weights.config == config and weights.step == 5 and weights.files is None
    assert weights.path == tmp_path / "run" / "checkpoints" / "5"
    assert bits(load(weights)) == bits(params)
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_warm_start_folder_of_parameters_alone_is_read(tmp_path, config):
    params = save(tmp_path / "run" / "warm_start", config)
    weights = open_weights(tmp_path / "run" / "warm_start")
    assert weights.config == config and bits(load(weights)) == bits(params)
    low = load(weights, dtype="bfloat16")
    assert bits(low) == bits(jax.tree.map(lambda x: x.astype(jnp.bfloat16), params))


def test_any_step_can_be_asked_for_and_the_newest_is_the_default(tmp_path):
    config = CONFIGS["dense"]
    older = save(tmp_path, config, 1)
    newer = save(tmp_path, config, 2, make_params(config, 1))
    assert bits(load(open_weights(tmp_path))) == bits(newer)
    assert bits(load(open_weights(tmp_path, 1))) == bits(older)
    with pytest.raises(ValueError, match=r"no checkpoint of step 3 .* holds the steps \[1, 2\]"):
        open_weights(tmp_path, 3)


def test_side_files_lie_in_hf_beside_a_runs_checkpoints_or_inside_a_converted_folder(tmp_path):
    config = CONFIGS["dense"]
    save(tmp_path / "run" / "checkpoints", config, seed=0)
    save(tmp_path / "run" / "warm_start", config)
    save(tmp_path / "converted", config)
    for folder in (tmp_path / "run" / "hf", tmp_path / "converted" / "hf", tmp_path / "hf"):
        folder.mkdir()
        (folder / "tokenizer.json").write_text(str(folder))
    (tmp_path / "run" / "hf" / "of_nobody.txt").write_text("")
    run = tmp_path / "run"
    for path in (run, run / "checkpoints", run / "warm_start"):
        assert open_weights(path).files == run / "hf"
    assert open_weights(tmp_path / "converted").files == tmp_path / "converted" / "hf"
    copy_side_files(open_weights(run), tmp_path / "to" / "there")
    assert [path.name for path in (tmp_path / "to" / "there").iterdir()] == ["tokenizer.json"]
    shutil.rmtree(run / "hf")
    copy_side_files(open_weights(run), tmp_path / "nowhere")
    assert open_weights(run).files is None and not (tmp_path / "nowhere").exists()


def test_a_description_tells_weights_apart_and_not_where_they_lie(tmp_path, folder_of):
    one = open_weights(folder_of("dense, tied")).describe()
    shutil.copytree(folder_of("dense, tied"), tmp_path / "moved")
    moved = open_weights(tmp_path / "moved").describe()
    assert one["kind"] == "hf" and one["identity"] == moved["identity"] and one["path"] != moved["path"]
    path = next((tmp_path / "moved").glob("*-00002-of-*.safetensors"))
    path.write_bytes(path.read_bytes()[:-4] + b"1234")
    assert open_weights(tmp_path / "moved").describe()["identity"] != one["identity"]

    config = CONFIGS["dense"]
    save(tmp_path / "a", config)
    save(tmp_path / "b", config, params=make_params(config, 1))
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    a, b, c = (open_weights(tmp_path / name).describe() for name in "abc")
    assert a["kind"] == "orbax" and a["step"] == 5 and a["identity"] == c["identity"] != b["identity"]
    json.dumps([one, a], allow_nan=False)


def test_a_fingerprint_older_than_yarn_is_read_and_one_without_a_network_is_refused(tmp_path):
    config = CONFIGS["dense"]
    assert "rope_scaling" not in fingerprint(config)
    with Checkpoints(tmp_path, keep=1, fingerprint={"hidden_size": 32}) as checkpoints:
        checkpoints.save(1, state=make_params(config), host={}, arrays={})
    with pytest.raises(ValueError, match="does not tell the shape of its network: .*'head_dim'"):
        open_weights(tmp_path)


def test_a_folder_without_weights_is_answered_with_what_is_wanted(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    with pytest.raises(ValueError, match=r"holds no weights; give a Hugging Face folder .* a run's folder"):
        open_weights(tmp_path)
    with pytest.raises(ValueError, match="holds no weights"):
        open_weights(tmp_path / "nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_hugging_face_folder_of_another_kind_is_named_with_its_file(tmp_path, folder_of):
    folder = shutil.copytree(folder_of("dense, tied"), tmp_path / "hf")
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"model_type": "llama"}))
    with pytest.raises(ValueError, match=f"{folder}/config.json: model_type must be one of"):
        open_weights(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=f"{folder}/config.json cannot be read as JSON"):
        open_weights(folder)
    with pytest.raises(ValueError, match="has no step 3"):
        open_weights(folder, 3)
