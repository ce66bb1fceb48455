"""The losses: by hand, against an independent implementation, and T3: independent of how the batch is laid out."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ulorl_jax.ops.importance import pseudo_on_policy, segment_aware
from ulorl_jax.ops.logprobs import token_logprobs
from ulorl_jax.ops.losses import clipped_surrogate_loss, supervised_loss, ulorl_loss
from ulorl_jax.ops.packing import pack
from ulorl_jax.types import EOS, Prompt, Sample, Segment

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "advantages_and_loss.json").read_text())["cases"]
CLIP = {"clip_low": 0.2, "clip_high": 0.28}


# By hand, and against others ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "advantage, ratio, objective, gradient, clipped, outside",
    [  # with the range [0.8, 1.28]; the gradient of the objective for logp is r A, or 0 where the clip removed it
        (2.0, 0.5, 1.0, 1.0, 0, 1),  # good token, made rarer: it is pulled back with all force
        (2.0, 1.1, 2.2, 2.2, 0, 0),
        (2.0, 1.5, 2.56, 0.0, 1, 1),  # good token, likelier than 1.28 times: enough
        (-2.0, 0.5, -1.6, 0.0, 1, 1),  # bad token, rarer than 0.8 times: enough
        (-2.0, 1.1, -2.2, -2.2, 0, 0),
        (-2.0, 1.5, -3.0, -3.0, 0, 1),  # bad token, made likelier: no limit to the penalty
        (0.0, 1.5, 0.0, 0.0, 0, 1),
    ],
)
def test_one_token_in_every_region_of_the_clip(advantage, ratio, objective, gradient, clipped, outside):
    old_logp = jnp.full((1, 1), jnp.log(0.4))
    logp = old_logp + jnp.log(ratio)

    def loss(x):
        a, mask = jnp.full((1, 1), advantage), jnp.full((1, 1), True)
        return clipped_surrogate_loss(x, old_logp, a, mask, num_tokens=4, **CLIP)

    (value, metrics), slope = jax.value_and_grad(loss, has_aux=True)(logp)
    np.testing.assert_allclose(value, -objective / 4, rtol=1e-6)
    np.testing.assert_allclose(slope, [[-gradient / 4]], rtol=1e-6)
    np.testing.assert_allclose(metrics["loss/policy"], -objective / 4, rtol=1e-6)
    np.testing.assert_allclose(metrics["ratio/mean"], ratio / 4, rtol=1e-6)
    assert (metrics["ratio/clip_frac"], metrics["ratio/outside_frac"]) == (clipped / 4, outside / 4)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_clipped_loss_and_its_gradient_agree_with_verl(name):
    case = GOLDEN[name]
    logp, old_logp = jnp.array(case["logp"]), jnp.array(case["old_logp"])
    mask = jnp.array(case["mask"], bool)
    advantage = jnp.broadcast_to(jnp.array(case["advantage"])[:, None], logp.shape)
    numbers = {"num_tokens": mask.sum(), "clip_low": case["clip_low"], "clip_high": case["clip_high"]}

    def surrogate(x):
        return clipped_surrogate_loss(x, old_logp, advantage, mask, **numbers)

    def ulorl_without_dmmpt(x):
        reward, ids = jnp.ones(logp.shape), jnp.ones(logp.shape, int)
        return ulorl_loss(x, old_logp, -logp, advantage, reward, mask, ids, tau=0.99, sigma=0.0, **numbers)

    for function in (surrogate, ulorl_without_dmmpt):
        (loss, metrics), gradient = jax.value_and_grad(function, has_aux=True)(logp)
        np.testing.assert_allclose(loss, case["loss"], atol=1e-5)
        np.testing.assert_allclose(gradient, case["grad_logp"], atol=1e-5)
        np.testing.assert_allclose(metrics["ratio/clip_frac"], case["clip_frac"], atol=1e-5)


def ulorl_by_loops(logp, old_logp, entropy, advantage, reward, mask, ids, *, num_tokens, tau, sigma):
    """Equation (10), token by token in float64: loss, gradient for logp, share of tokens left out."""
    loss, gradient, left_out = 0.0, np.zeros(logp.shape), 0
    for b, t in np.argwhere(mask):
        mine = mask[b] & (ids[b] == ids[b, t])
        if reward[b, t] == 1 and np.exp(np.float64(logp[b, t])) >= tau and np.float64(entropy[b])[mine].mean() < sigma:
            left_out += 1
            continue
        ratio = np.exp(np.float64(logp[b, t]) - old_logp[b, t])
        unclipped = ratio * advantage[b, t]
        clipped = min(max(ratio, 1 - CLIP["clip_low"]), 1 + CLIP["clip_high"]) * advantage[b, t]
        loss -= min(unclipped, clipped) / num_tokens
        gradient[b, t] = -unclipped / num_tokens if unclipped <= clipped else 0.0
    return loss, gradient, left_out / num_tokens


def random_arrays(seed, shape=(2, 12)):
    """What ulorl_loss takes, as NumPy, for rows of three samples and padding."""
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.integers(0, 4, shape), axis=1)[:, ::-1]  # in one piece each; 0 last
    ids = np.where(ids > 0, 4 - ids, 0).astype(np.int32)
    of_sample = rng.integers(0, 2, (shape[0], 4)), rng.normal(size=(shape[0], 4)), rng.uniform(0.1, 0.5, (shape[0], 4))
    reward, advantage, level = (np.take_along_axis(x, ids, axis=1).astype(np.float32) for x in of_sample)
    logp = -rng.exponential(0.3, shape).astype(np.float32)
    old_logp = (logp + rng.normal(0, 0.4, shape)).astype(np.float32)
    entropy = (level * rng.uniform(0.5, 1.5, shape)).astype(np.float32)
    mask = (rng.random(shape) < 0.7) & (ids > 0)
    return logp, old_logp, entropy, advantage, reward, mask, ids


NUMBERS = {"num_tokens": 9.0, "tau": 0.8, "sigma": 0.3}


def value_and_gradients(arrays, num_gradients=1):
    def loss(*differentiable):
        return ulorl_loss(*differentiable, *arrays[num_gradients:], **NUMBERS, **CLIP)

    return jax.value_and_grad(loss, argnums=tuple(range(num_gradients)), has_aux=True)(*arrays[:num_gradients])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_equation_10_equals_a_loop_over_its_tokens(seed):
    arrays = random_arrays(seed)
    want, want_gradient, want_left_out = ulorl_by_loops(*arrays, **NUMBERS)
    (loss, metrics), (gradient,) = value_and_gradients(arrays)
    np.testing.assert_allclose(loss, want, atol=1e-6)
    np.testing.assert_allclose(gradient, want_gradient, atol=1e-6)
    np.testing.assert_allclose(metrics["dmmpt/masked_frac"], want_left_out, atol=1e-6)
    np.testing.assert_allclose(metrics["entropy/mean"], arrays[2][arrays[5]].sum() / NUMBERS["num_tokens"], atol=1e-6)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", range(5), ids=["logp", "old_logp", "entropy", "advantage", "reward"])
@pytest.mark.parametrize("seed", [0, 1])
def test_whatever_lies_in_the_padding_is_inert_in_value_metrics_and_every_gradient(which, poison, seed):
    arrays = random_arrays(seed)
    mask = arrays[5]
    assert mask.any() and not mask.all()
    poisoned = list(arrays)
    poisoned[which] = np.where(mask, arrays[which], np.float32(poison))
    clean, dirty = value_and_gradients(arrays, 5), value_and_gradients(poisoned, 5)
    for got, want in zip(jax.tree.leaves(dirty), jax.tree.leaves(clean), strict=True):
        np.testing.assert_array_equal(got, want)
    assert np.any(dirty[1][0])
    assert not np.any(np.asarray(dirty[1][0])[~mask])


def test_the_supervised_loss_is_the_mean_over_its_tokens_and_poison_outside_is_inert():
    mask = jnp.array([[False, True, True, False]])
    logp = jnp.array([[jnp.nan, -1.0, -3.0, jnp.inf]])
    (loss, metrics), gradient = jax.value_and_grad(lambda x: supervised_loss(x, mask, num_tokens=8), has_aux=True)(logp)
    assert loss == metrics["loss/supervised"] == 0.5
    np.testing.assert_array_equal(gradient, [[0.0, -0.125, -0.125, 0.0]])


# T3: packing, padding, micro-batches, devices -------------------------------------------------------------------------
#
# A bigram policy, hidden = embedding[token], whose log-prob of a token depends on the token before it alone: the
# smallest thing with parameters whose loss could depend on the layout only through our code.

VOCABULARY, WIDTH, TEMPERATURE = 13, 4, 0.85
TAU, SIGMA = 0.3, 1.6  # where some samples of this policy pass the gate and some do not


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(0)
    return {
        "embedding": jnp.asarray(rng.normal(size=(VOCABULARY, WIDTH)), jnp.float32),
        "head": jnp.asarray(rng.normal(size=(WIDTH, VOCABULARY)), jnp.float32),
    }


@pytest.fixture(scope="module")
def experience():
    """Sixteen judged samples of one to three segments, with their advantages and rewards."""
    rng = np.random.default_rng(1)
    samples = []
    for i in range(16):
        sample = Sample(i, Prompt(i // 4, rng.integers(0, VOCABULARY, rng.integers(1, 5)).astype(np.int32), ""))
        segments = rng.integers(1, 4)
        for s in range(segments):
            n = rng.integers(1, 6)
            tokens, logp = rng.integers(0, VOCABULARY, n).astype(np.int32), -rng.exponential(2.0, n).astype(np.float32)
            sample = sample.append(Segment(tokens, logp, s, "prefill"), EOS if s == segments - 1 else "")
        samples.append(sample)
    return samples, rng.normal(size=16).astype(np.float32), (np.arange(16) % 3 > 0).astype(np.float32)


def policy_logprobs(params, tokens):
    hidden = params["embedding"][tokens]
    return token_logprobs(hidden, params["head"], tokens, temperature=TEMPERATURE, chunk_size=7)


def micro_batch_loss(params, rows, *, num_tokens, importance, gate, batch_entropy):
    logp, entropy = policy_logprobs(params, rows["tokens"])
    old_logp = importance(logp, rows["rollout_logp"])
    return ulorl_loss(
        logp,
        old_logp,
        entropy,
        rows["advantage"],
        rows["reward"],
        rows["mask"],
        rows["sample_ids"],
        num_tokens=num_tokens,
        tau=TAU,
        sigma=SIGMA,
        gate=gate,
        batch_entropy=batch_entropy,
        **CLIP,
    )


value_and_grad = jax.jit(jax.value_and_grad(micro_batch_loss, has_aux=True), static_argnames=("importance", "gate"))
ROWS = ("tokens", "rollout_logp", "advantage", "reward", "mask", "sample_ids")


def whole_loss(params, experience, *, order, lengths, rows_per_micro_batch, importance, gate="sample"):
    """Loss, metrics and gradients of the experience, summed over its micro-batches."""
    samples, advantages, rewards = experience
    batch = pack(
        [samples[i] for i in order],
        advantages[order],
        rewards[order],
        lengths=lengths,
        rows_per_micro_batch=rows_per_micro_batch,
    )
    entropy = policy_logprobs(params, batch.tokens.reshape(-1, batch.tokens.shape[-1]))[1].reshape(batch.mask.shape)
    batch_entropy = jnp.sum(jnp.where(batch.mask, entropy, 0.0)) / batch.num_tokens
    total = None
    for a in range(int(batch.num_micro_batches)):
        rows = {name: getattr(batch, name)[a] for name in ROWS}
        part = value_and_grad(
            params,
            rows,
            num_tokens=batch.num_tokens,
            importance=importance,
            gate=gate,
            batch_entropy=batch_entropy if gate == "batch" else None,
        )
        total = part if total is None else jax.tree.map(jnp.add, total, part)
    return total


def assert_same(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(g, w, atol=2e-6, rtol=1e-5)


IN_ORDER = np.arange(16)
SHUFFLED = np.random.default_rng(5).permutation(16)


@pytest.fixture(scope="module")
def one_sample_a_row(params, experience):
    """The plainest layout: no packing at all, one micro-batch per sample."""
    samples, advantages, rewards = experience
    num_tokens = sum(sample.num_tokens for sample in samples)

    def total(importance):
        parts = []
        for sample, advantage, reward in zip(samples, advantages, rewards, strict=True):
            alone = pack([sample], [advantage], [reward], lengths=[24], rows_per_micro_batch=1)
            rows = {name: getattr(alone, name)[0] for name in ROWS}
            parts.append(
                value_and_grad(
                    params, rows, num_tokens=num_tokens, importance=importance, gate="sample", batch_entropy=None
                )
            )
        return jax.tree.map(lambda *x: sum(x), *parts)

    return {importance: total(importance) for importance in (segment_aware, pseudo_on_policy)}


@pytest.mark.parametrize("importance", [segment_aware, pseudo_on_policy])
@pytest.mark.parametrize(
    "order, lengths, rows_per_micro_batch",
    [
        (IN_ORDER, [24], 1),
        (IN_ORDER, [24], 4),
        (SHUFFLED, [24], 4),
        (SHUFFLED[::-1], [40], 2),
        (SHUFFLED, [256], 1),  # every sample in one row
        (IN_ORDER, [256], 3),  # the same, and two rows of nothing but padding
    ],
)
def test_loss_metrics_and_gradients_do_not_depend_on_packing_padding_or_micro_batches(
    params, experience, one_sample_a_row, importance, order, lengths, rows_per_micro_batch
):
    got = whole_loss(
        params,
        experience,
        order=order,
        lengths=lengths,
        rows_per_micro_batch=rows_per_micro_batch,
        importance=importance,
    )
    (_, metrics), gradients = got
    assert 0.0 < metrics["dmmpt/masked_frac"] < metrics["dmmpt/mpt_frac"] < 1.0  # the gate opens for some only
    assert importance is pseudo_on_policy or metrics["ratio/clip_frac"] > 0.0
    assert all(np.any(gradient) for gradient in jax.tree.leaves(gradients))
    assert_same(got, one_sample_a_row[importance])


def test_with_the_gate_of_the_batch_they_do_not_depend_on_it_either(params, experience):
    options = {"importance": segment_aware, "gate": "batch"}
    whole = whole_loss(params, experience, order=IN_ORDER, lengths=[256], rows_per_micro_batch=1, **options)
    split = whole_loss(params, experience, order=SHUFFLED, lengths=[24], rows_per_micro_batch=2, **options)
    assert whole[0][1]["dmmpt/masked_frac"] == whole[0][1]["dmmpt/mpt_frac"] > 0.0  # the gate is open
    assert_same(split, whole)


@pytest.mark.parametrize("importance", [segment_aware, pseudo_on_policy])
def test_eight_devices_give_what_one_gives(params, experience, one_sample_a_row, importance, devices):
    samples, advantages, rewards = experience
    batch = pack(samples, advantages, rewards, lengths=[24], rows_per_micro_batch=16)
    rows = {name: getattr(batch, name)[0] for name in ROWS}
    mesh = Mesh(np.array(devices).reshape(len(devices)), ("rows",))
    sharded = jax.device_put(rows, NamedSharding(mesh, PartitionSpec("rows")))
    replicated = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
    assert len(sharded["tokens"].sharding.device_set) == 8
    assert {shard.data.shape for shard in sharded["tokens"].addressable_shards} == {(2, 24)}
    options = {"num_tokens": batch.num_tokens, "importance": importance, "gate": "sample", "batch_entropy": None}
    on_eight = value_and_grad(replicated, sharded, **options)
    assert on_eight[1]["head"].sharding.device_set == set(devices)
    assert_same(on_eight, value_and_grad(params, rows, **options))
    assert_same(on_eight, one_sample_a_row[importance])
