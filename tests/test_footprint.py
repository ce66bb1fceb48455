"""Memory by hand count: against published parameter counts, and against the arrays a real run allocates."""

import dataclasses
import subprocess
import sys

import jax
import numpy as np
import pytest

from configs import qwen3_0p6b, qwen3_4b, qwen3_8b, qwen3_30b
from tests import runs
from tests.tiny import make_params
from tests.verifiers import DENSE
from ulorl_jax.footprint import describe, held, memory_terms, parameter_count
from ulorl_jax.io.checkpoints import Checkpoints
from ulorl_jax.mesh import Layout, make_mesh
from ulorl_jax.rollout.engine import EngineSpec, PolicyEngine, param_shardings
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.settings import Settings
from ulorl_jax.train.state import init_state, make_optimizer
from ulorl_jax.weights import fingerprint

# Parameters of the checkpoints on the Hugging Face hub, as their pages say.
PUBLISHED = {
    "qwen3_0p6b": (qwen3_0p6b, 596_049_920),
    "qwen3_4b": (qwen3_4b, 4_022_468_096),
    "qwen3_8b": (qwen3_8b, 8_190_735_360),
    "qwen3_30b": (qwen3_30b, 30_532_122_624),
}


@pytest.mark.parametrize(("config", "count"), PUBLISHED.values(), ids=PUBLISHED)
def test_a_config_has_the_parameters_that_its_model_was_published_with(config, count):
    assert parameter_count(Settings.from_dict(config.get_config().to_dict()).model)[0] == count


def test_a_token_of_30b_a3b_meets_3_35_billion_parameters():
    model = Settings.from_dict(qwen3_30b.get_config().to_dict()).model
    experts_not_met = 48 * 120 * 3 * 2048 * 768
    assert parameter_count(model)[1] == 30_532_122_624 - experts_not_met


def test_a_token_of_30b_a3b_costs_96_kib_of_cache():
    config = qwen3_30b.get_config()
    config.rollout.pages.count = 0
    term = {term.name: term for term in memory_terms(Settings.from_dict(config.to_dict()))}["KV cache"]
    assert term.total == 1024 * 132_096 * 96 * 1024 and term.note == "96 KiB per token"


@pytest.mark.parametrize(("dtype", "each"), [("model", 4 * 16), ("int8", 16 + 4)])
def test_the_hand_count_of_pages_is_what_the_pool_takes(dtype, each, devices):
    mesh = {"data": 2, "fsdp": 2, "tensor": 2}
    pages = {"rollout.pages.count": 96, "rollout.pages.size": 8, "rollout.pages.dtype": dtype}
    settings = runs.settings({f"mesh.{axis}": size for axis, size in mesh.items()} | pages)
    r = settings.rollout
    layout = Layout(make_mesh(**mesh), "decoding")
    spec = EngineSpec(settings.model, r.slots, settings.context_limit, r.sampling, (10,), layout, r.pages)
    cache = PolicyEngine(spec, 0).init_decode_state().cache
    pool = jax.tree.leaves((cache.pages, cache.scales))
    term = {term.name: term for term in memory_terms(settings)}["KV cache"]
    # 96 pages of 8 tokens, one layer, two heads' keys and values; in four parts, with one head each on a device.
    assert term.total == 96 * 8 * 1 * 4 * each == sum(leaf.nbytes for leaf in pool)
    assert term.per_device == sum(leaf.addressable_shards[0].data.nbytes for leaf in pool) == term.total / 8
    assert "room for 768 tokens" in term.note


@pytest.mark.parametrize(
    ("mesh", "experts"),
    [
        ({"data": 1, "fsdp": 8, "tensor": 1}, 0),
        ({"data": 2, "fsdp": 2, "tensor": 2}, 0),
        ({"fsdp": 1, "expert": 4, "tensor": 2}, 4),
    ],
)
def test_the_hand_count_is_what_the_arrays_of_a_run_take(mesh, experts, devices):
    shape = {"num_experts": experts, "num_experts_per_tok": experts // 2, "moe_intermediate_size": 24}
    sizes = {f"mesh.{axis}": size for axis, size in mesh.items()}
    settings = runs.settings(sizes | {f"model.{name}": size for name, size in shape.items()})
    layouts = {phase: Layout(make_mesh(**mesh), phase) for phase in ("training", "decoding")}
    terms = {term.name: term for term in memory_terms(settings)}
    state = init_state(jax.random.key(0), settings.model, make_optimizer(settings.optimizer), layouts["training"])
    spec = EngineSpec(
        settings.model,
        settings.rollout.slots,
        settings.context_limit,
        settings.rollout.sampling,
        (10,),
        layouts["decoding"],
    )
    cache = PolicyEngine(spec, 0).init_decode_state().cache
    decoder = jax.device_put(state.params, param_shardings(spec))
    moments = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim]
    arrays = {"parameters": state.params, "optimizer": moments, "decoder's weights": decoder, "KV cache": cache}
    for name, tree in arrays.items():
        leaves = jax.tree.leaves(tree)
        assert terms[name].total == sum(leaf.nbytes for leaf in leaves), name
        on_one = sum(np.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves)
        assert terms[name].per_device == on_one, name
    assert terms["gradients"].total == terms["parameters"].total


def test_the_hand_count_of_a_verifier_is_what_its_arrays_take_beside_the_policy_s(tmp_path, devices):
    folder = tmp_path / "verifier"
    with Checkpoints(folder / "checkpoints", keep=1, fingerprint=fingerprint(DENSE)) as checkpoints:
        checkpoints.save(1, state=make_params(DENSE), host={}, arrays={})
    asked = {"mode": "reasoned", "weights": str(folder), "dtype": "bfloat16", "row_lengths": (16, 48), "slots": 8}
    mesh = {"data": 2, "fsdp": 2, "tensor": 2}
    changes = {f"mesh.{axis}": size for axis, size in mesh.items()} | {"verify.kind": "rules_then_verifier"}
    settings = runs.settings(changes | {f"verify.verifier.{name}": value for name, value in asked.items()})
    terms = {term.name: term for term in memory_terms(settings)}

    layout, verifier = Layout(make_mesh(**mesh), "decoding"), settings.verify.verifier
    model = dataclasses.replace(DENSE, dtype=verifier.dtype)
    spec = EngineSpec(model, verifier.slots, 48 + verifier.output_limit, Sampling(0.0), (10,), layout)
    cast = jax.tree.map(lambda x: x.astype(verifier.dtype), make_params(DENSE))
    cache = PolicyEngine(spec, 0).init_decode_state().cache
    arrays = {"verifier's weights": jax.device_put(cast, param_shardings(spec)), "verifier's KV cache": cache}
    beyond = {"verifier's KV cache": 640 / 560}  # the last of its five blocks of 128
    for name, tree in arrays.items():
        leaves, more = jax.tree.leaves(tree), beyond.get(name, 1)
        assert more * terms[name].total == sum(leaf.nbytes for leaf in leaves), name
        assert more * terms[name].per_device == sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves), name
    assert held(list(terms.values()), "decode")["verifier's KV cache"] == terms["verifier's KV cache"].per_device
    assert "verifier's weights" not in {term.name for term in memory_terms(runs.settings())}


def test_where_the_mesh_takes_what_is_left_only_totals_are_said():
    text = describe(runs.settings({"mesh.fsdp": -1}))
    assert "give all of mesh.data, mesh.fsdp, mesh.context and mesh.tensor a number" in text
    assert [term.per_device for term in memory_terms(runs.settings({"mesh.fsdp": -1}))].count(None) > 3


def test_a_dry_run_prints_config_and_counts_and_starts_nothing(tmp_path):
    line = [
        sys.executable,
        "launch/train.py",
        "--config=configs/qwen3_30b.py",
        "--dry_run",
        "--config.rollout.slots=64",
        "--config.rollout.pages.count=0",
        "--config.mesh.fsdp=4",
    ]
    done = subprocess.run(line, cwd=runs.ROOT, env=runs.environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert '"slots": 64' in done.stdout
    assert "30,532,122,624 (3,353,032,704 active per token)" in done.stdout
    assert "64 samples x 16,384 tokens = 1,048,576" in done.stdout
    assert "KV cache                    774.00       12.09" in done.stdout


def test_a_device_has_logits_of_no_more_tokens_than_are_its_own():
    def logits(**changes):
        settings = runs.settings({"train.row_lengths": (4096,), "mesh.fsdp": 1, "mesh.context": 8} | changes)
        return {term.name: term.per_device for term in memory_terms(settings)}["logits of a chunk"]

    own = 4096 // 8
    assert logits(**{"train.logprob_chunk": own}) == logits(**{"train.logprob_chunk": 4096})
    assert logits(**{"train.logprob_chunk": own // 2}) == logits(**{"train.logprob_chunk": own}) / 2
