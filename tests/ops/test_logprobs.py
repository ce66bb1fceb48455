"""T7: chunked log-probs and entropies equal the dense form, in value, gradient and not in memory."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ulorl_jax.ops.logprobs import scaled_logits, token_logprobs

B, T, D, V = 2, 11, 4, 13  # ten predicted positions
TEMPERATURE = 0.85
CHUNK_SIZES = [1, 3, 5, 10, 64]  # 5 and 10 divide ten, 3 and 64 do not


def dense(hidden, head, tokens, temperature=TEMPERATURE):
    """The definition, slowly, in float64."""
    hidden, head = np.asarray(hidden, np.float64), np.asarray(head, np.float64)
    logp, entropy = np.zeros(tokens.shape), np.zeros(tokens.shape)
    for b in range(tokens.shape[0]):
        for t in range(1, tokens.shape[1]):
            z = hidden[b, t - 1] @ head / temperature
            z = z - z.max()
            log_p = z - np.log(np.exp(z).sum())
            logp[b, t] = log_p[tokens[b, t]]
            entropy[b, t] = -(np.exp(log_p) * log_p).sum()
    return logp, entropy


def numeric_gradients(objective, *arrays, step=1e-5):
    """Central differences of a float64 scalar function, one element at a time."""
    gradients = []
    for which, array in enumerate(arrays):
        gradient = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            ends = []
            for sign in (1, -1):
                moved = [np.array(a, np.float64) for a in arrays]
                moved[which][index] += sign * step
                ends.append(objective(*moved))
            gradient[index] = (ends[0] - ends[1]) / (2 * step)
        gradients.append(gradient)
    return gradients


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(B, T, D)).astype(np.float32)
    head = rng.normal(size=(D, V)).astype(np.float32)
    tokens = rng.integers(0, V, (B, T)).astype(np.int32)
    weights = rng.normal(size=(2, B, T)).astype(np.float32)  # of logp and of entropy in the scalar differentiated
    return hidden, head, tokens, weights


@pytest.fixture(scope="module")
def expected_gradients(inputs):
    """Of the weighted sum of logp, and of logp and entropy, for hidden and head."""
    hidden, head, tokens, (of_logp, of_entropy) = inputs

    def objective(h, w, with_entropy):
        logp, entropy = dense(h, w, tokens)
        return (of_logp * logp).sum() + with_entropy * (of_entropy * entropy).sum()

    return {
        flag: numeric_gradients(functools.partial(objective, with_entropy=flag), hidden, head) for flag in (False, True)
    }


def chunked_gradients(hidden, head, tokens, weights, **options):
    def objective(h, w):
        logp, entropy = token_logprobs(h, w, tokens, temperature=TEMPERATURE, **options)
        return jnp.sum(weights[0] * logp) + jnp.sum(weights[1] * entropy)

    return jax.jit(jax.grad(objective, argnums=(0, 1)))(hidden, head)


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_values_equal_the_dense_form(inputs, chunk_size):
    hidden, head, tokens, _ = inputs
    logp, entropy = token_logprobs(hidden, head, tokens, temperature=TEMPERATURE, chunk_size=chunk_size)
    assert logp.dtype == entropy.dtype == jnp.float32
    want_logp, want_entropy = dense(hidden, head, tokens)
    np.testing.assert_allclose(logp, want_logp, atol=1e-5)
    np.testing.assert_allclose(entropy, want_entropy, atol=1e-5)


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
@pytest.mark.parametrize("entropy_grad", [False, True])
def test_gradients_equal_those_of_the_dense_form(inputs, expected_gradients, chunk_size, entropy_grad):
    got = chunked_gradients(*inputs, chunk_size=chunk_size, entropy_grad=entropy_grad)
    for gradient, want in zip(got, expected_gradients[entropy_grad], strict=True):
        np.testing.assert_allclose(gradient, want, atol=1e-4)


def test_without_entropy_grad_the_entropy_passes_on_exactly_nothing(inputs):
    hidden, head, tokens, weights = inputs
    only_entropy = np.stack([np.zeros_like(weights[0]), weights[1]])
    for gradient in chunked_gradients(hidden, head, tokens, only_entropy, chunk_size=3):
        assert not np.any(gradient)
    assert np.any(chunked_gradients(hidden, head, tokens, only_entropy, chunk_size=3, entropy_grad=True)[0])


def test_a_traced_temperature_gives_the_same_and_takes_no_gradient(inputs):
    hidden, head, tokens, weights = inputs

    def objective(temperature):
        logp, _ = token_logprobs(hidden, head, tokens, temperature=temperature, chunk_size=3)
        return jnp.sum(weights[0] * logp)

    value, gradient = jax.jit(jax.value_and_grad(objective))(TEMPERATURE)
    np.testing.assert_allclose(value, (weights[0] * dense(hidden, head, tokens)[0]).sum(), rtol=1e-5)
    assert gradient == 0.0


def test_index_t_speaks_of_token_t_and_index_0_is_zero(inputs):
    hidden, head, tokens, _ = inputs
    k = 5
    base = token_logprobs(hidden, head, tokens, chunk_size=3)
    other_token = tokens.copy()
    other_token[:, k] = (tokens[:, k] + 1) % V
    other_hidden = hidden.copy()
    other_hidden[:, k] += 1.0
    token_moved = token_logprobs(hidden, head, other_token, chunk_size=3)
    hidden_moved = token_logprobs(other_hidden, head, tokens, chunk_size=3)

    def changed(after, before):
        return np.flatnonzero(np.any(np.asarray(after) != np.asarray(before), axis=0)).tolist()

    assert not np.any(base[0][:, 0]) and not np.any(base[1][:, 0])
    assert changed(token_moved[0], base[0]) == [k] and changed(token_moved[1], base[1]) == []
    assert changed(hidden_moved[0], base[0]) == [k + 1] and changed(hidden_moved[1], base[1]) == [k + 1]


@pytest.mark.parametrize("length", [0, 1])
def test_a_row_without_a_predicted_token_is_all_zero(length):
    hidden, tokens = jnp.ones((2, length, D)), jnp.zeros((2, length), int)
    logp, entropy = token_logprobs(hidden, jnp.ones((D, V)), tokens)
    assert logp.shape == entropy.shape == (2, length)
    assert not np.any(logp) and not np.any(entropy)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("entropy_grad", [False, True])
def test_a_poisoned_hidden_state_without_gradient_reaches_nothing_else(inputs, poison, entropy_grad):
    hidden, head, tokens, weights = inputs
    live = np.ones((B, T), bool)
    live[0, 4] = live[1, 8:] = False  # token t is read from hidden[t - 1]; the last hidden state predicts nothing

    def gradients(dead_value):
        h = hidden.copy()
        h[:, :-1][~live[:, 1:]] = dead_value
        h[:, -1] = dead_value

        def objective(h, w):
            logp, entropy = token_logprobs(
                h, w, tokens, temperature=TEMPERATURE, chunk_size=3, entropy_grad=entropy_grad
            )
            return jnp.sum(jnp.where(live, weights[0] * logp + weights[1] * entropy, 0.0))

        return jax.jit(jax.value_and_grad(objective, argnums=(0, 1)))(h, head)

    for got, want in zip(jax.tree.leaves(gradients(poison)), jax.tree.leaves(gradients(0.0)), strict=True):
        np.testing.assert_array_equal(got, want)


def test_bf16_hidden_is_rounded_once_and_everything_after_it_is_fp32(inputs):
    hidden, head, tokens, weights = inputs
    low = jnp.asarray(hidden, jnp.bfloat16)
    rounded_hidden = np.asarray(low, np.float32)
    rounded_head = np.asarray(jnp.asarray(head, jnp.bfloat16), np.float32)
    logp, entropy = token_logprobs(low, head, tokens, temperature=TEMPERATURE, chunk_size=3)
    assert logp.dtype == entropy.dtype == jnp.float32
    # Against the dense form of the rounded inputs: fp32's accuracy.
    want_logp, want_entropy = dense(rounded_hidden, rounded_head, tokens)
    np.testing.assert_allclose(logp, want_logp, atol=2e-5)
    np.testing.assert_allclose(entropy, want_entropy, atol=2e-5)
    # Against the unrounded inputs: both factors are off by at most u = 2^-8 relative, so each logit
    # by (2u + u^2) sum |h w| / temperature, and a log-prob by twice the largest of them.
    u = 2.0**-8
    logit_bound = (2 * u + u * u) * (np.abs(hidden[:, :-1]) @ np.abs(head)).max(-1) / TEMPERATURE
    exact, _ = dense(hidden, head, tokens)
    assert np.all(np.abs(np.asarray(logp) - exact)[:, 1:] <= 2 * logit_bound + 2e-5)

    # Gradients: fp32 for the head; for the hidden states rounded to bf16 once, at the end.
    def objective(h, w):
        values = dense(h, w, tokens)
        return (weights[0] * values[0]).sum() + (weights[1] * values[1]).sum()

    d_hidden, d_head = chunked_gradients(low, rounded_head, tokens, weights, chunk_size=3, entropy_grad=True)
    want_hidden, want_head = numeric_gradients(objective, rounded_hidden, rounded_head)
    assert d_hidden.dtype == jnp.bfloat16 and d_head.dtype == jnp.float32
    np.testing.assert_allclose(d_head, want_head, atol=1e-4)
    np.testing.assert_allclose(np.asarray(d_hidden, np.float32), want_hidden, rtol=2.0**-8, atol=1e-4)


@pytest.mark.parametrize("rows, length", [(4, 65), (1, 9)])
@pytest.mark.parametrize("scale", [1.0, 30.0, 100.0])
def test_the_entropy_of_a_sure_policy_is_never_negative(scale, rows, length):
    # A negative mean would slip under sigma = 0, the setting that turns DMMPT off.
    rng = np.random.default_rng(0)
    hidden = (scale * rng.normal(size=(rows, length, 8))).astype(np.float32)
    head = rng.normal(size=(8, 50)).astype(np.float32)
    tokens = np.pad(np.argmax(hidden @ head, axis=-1)[:, :-1], ((0, 0), (1, 0)))  # the likeliest ones
    logp, entropy = token_logprobs(hidden, head, tokens, temperature=TEMPERATURE, chunk_size=32)
    assert np.all(np.asarray(entropy) >= 0.0)
    assert np.all(np.asarray(logp) <= 0.0)
    # A logit of some hundreds has an fp32 error of some 1e-5 of its own.
    want_logp, want_entropy = dense(hidden, head, tokens)
    np.testing.assert_allclose(entropy, want_entropy, atol=1e-5 * scale)
    np.testing.assert_allclose(logp, want_logp, atol=1e-5 * scale)


def test_an_offset_of_all_logits_does_not_wear_off_on_the_entropy(inputs):
    # p and log p do not change when every logit is 1000 higher; fp32 holds such a logit to 6e-5.
    hidden, head, tokens, _ = inputs
    lifted_hidden = np.concatenate([hidden, np.full((B, T, 1), 1000.0 * TEMPERATURE, np.float32)], axis=-1)
    lifted_head = np.concatenate([head, np.ones((1, V), np.float32)])
    logp, entropy = token_logprobs(lifted_hidden, lifted_head, tokens, temperature=TEMPERATURE, chunk_size=3)
    want_logp, want_entropy = dense(hidden, head, tokens)
    np.testing.assert_allclose(logp, want_logp, atol=5e-4)
    np.testing.assert_allclose(entropy, want_entropy, atol=5e-4)


def test_the_sampler_and_the_trainer_share_one_temperature(inputs):
    hidden, head, tokens, _ = inputs
    z = scaled_logits(jnp.asarray(hidden), jnp.asarray(head), TEMPERATURE)
    assert z.dtype == jnp.float32
    np.testing.assert_allclose(z, hidden.astype(np.float64) @ head / TEMPERATURE, atol=1e-5)
    log_p = jnp.take_along_axis(jax.nn.log_softmax(z[:, :-1]), tokens[:, 1:, None], axis=-1)[..., 0]
    logp, _ = token_logprobs(hidden, head, tokens, temperature=TEMPERATURE, chunk_size=4)
    np.testing.assert_allclose(logp[:, 1:], log_p, atol=1e-5)


def compile_value_and_grad(function, length, width, vocabulary):
    def objective(hidden, head, tokens):
        logp, entropy = function(hidden, head, tokens)
        return jnp.sum(logp) + jnp.sum(entropy)

    shapes = (
        jax.ShapeDtypeStruct((1, length, width), jnp.float32),
        jax.ShapeDtypeStruct((width, vocabulary), jnp.float32),
        jax.ShapeDtypeStruct((1, length), jnp.int32),
    )
    return jax.jit(jax.value_and_grad(objective, argnums=(0, 1))).lower(*shapes).compile()


def largest_array(compiled) -> int:
    """Elements of the largest array in the compiled program."""
    shapes = re.findall(r"\b(?:f|bf|s|u|pred)\d*\[([\d,]+)\]", compiled.as_text())
    return max(math.prod(map(int, shape.split(","))) for shape in shapes)


def test_memory_does_not_grow_with_T_times_V():
    width, vocabulary, chunk_size, short, long = 8, 4096, 128, 512, 4096

    def chunked(hidden, head, tokens):
        return token_logprobs(hidden, head, tokens, chunk_size=chunk_size, entropy_grad=True)

    def at_once(hidden, head, tokens):
        log_p = jax.nn.log_softmax(hidden @ head)
        return jnp.take_along_axis(log_p, tokens[..., None], axis=-1), jnp.sum(jnp.exp(log_p) * log_p, axis=-1)

    temp, largest = {}, {}
    for name, function in {"chunked": chunked, "at_once": at_once}.items():
        for length in (short, long):
            compiled = compile_value_and_grad(function, length, width, vocabulary)
            temp[name, length] = compiled.memory_analysis().temp_size_in_bytes
            largest[name, length] = largest_array(compiled)
    one_array = 4 * (long - short) * vocabulary  # bytes a [T, V] array would add
    assert temp["chunked", long] - temp["chunked", short] < one_array / 50
    assert largest["chunked", long] == largest["chunked", short] == chunk_size * vocabulary
    # The same two measures do see the array where there is one.
    assert temp["at_once", long] - temp["at_once", short] >= one_array
    assert largest["at_once", long] == long * vocabulary


@pytest.mark.slow
def test_at_131072_tokens_and_151936_words_the_temporaries_are_three_blocks_of_logits_and_what_each_token_adds():
    width, vocabulary, chunk_size, short, long = 64, 151_936, 1024, 16_384, 131_072

    def chunked(hidden, head, tokens):
        return token_logprobs(hidden, head, tokens, chunk_size=chunk_size)

    temp = {
        length: compile_value_and_grad(chunked, length, width, vocabulary).memory_analysis().temp_size_in_bytes
        for length in (short, long)
    }
    print({length: f"{size / 2**20:.0f} MiB" for length, size in temp.items()})
    of_a_token = 4 * (2 * width + 8)  # hidden state and its gradient in chunks, and a few numbers
    assert 0 <= temp[long] - temp[short] <= of_a_token * (long - short) < 4 * (long - short) * vocabulary / 1000
    block, gradient = 4 * chunk_size * vocabulary, 4 * width * vocabulary
    assert temp[long] <= 3 * block + gradient + of_a_token * long
    assert temp[long] < 4 * long * vocabulary / 40  # 74 GiB


@pytest.mark.parametrize(
    "hidden, head, tokens",
    [((2, 5, 4), (3, 7), (2, 5)), ((2, 5, 4), (4, 7), (2, 6)), ((2, 5, 4), (4, 7), (1, 5))],
)
def test_shapes_that_do_not_fit_are_refused_with_the_shapes(hidden, head, tokens):
    with pytest.raises(ValueError, match=re.escape(f"hidden {hidden}, head {head}, tokens {tokens}")):
        token_logprobs(jnp.zeros(hidden), jnp.zeros(head), jnp.zeros(tokens, int))


def test_a_chunk_of_no_tokens_is_refused(inputs):
    with pytest.raises(ValueError, match="chunk_size must be at least 1, got 0"):
        token_logprobs(*inputs[:3], chunk_size=0)
