"""Drawing tokens: what a draw depends on, and that the frequencies are the probabilities."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ulorl_jax.rollout.sampling import BLOCK, Sampling, draw_tokens, invert_cdf, truncate, uniforms

KEY = jax.random.key(0)
D = 8
draw = jax.jit(draw_tokens, static_argnums=5)
invert = jax.jit(lambda *given: invert_cdf(*given)[0])


@functools.cache
def head(vocab: int) -> jax.Array:
    return jax.random.normal(jax.random.key(vocab), (D, vocab))


def hiddens(count: int, seed: int = 1) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (count, D))


def probabilities(hidden, vocab, temperature):
    """[C, V] in float64."""
    logits = np.asarray(hidden, np.float64) @ np.asarray(head(vocab), np.float64) / temperature
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def sparse(vocab, seed):
    """A distribution with nine of ten tokens at 0, first and last among them."""
    rng = np.random.default_rng(seed)
    probs = np.where(rng.random(vocab) < 0.9, 0, rng.exponential(size=vocab) ** 3)
    probs[0] = probs[-1] = 0
    probs[vocab // 2] = 1
    return (probs / probs.sum()).astype(np.float32)


def kept_set(probs, sampling):
    """Ids inside top-k, then inside top-p of what is left, by sorting."""
    order = np.argsort(-probs)[: sampling.top_k or None]
    before = np.concatenate([[0], np.cumsum(probs[order] / probs[order].sum())[:-1]])
    return set(order[before < sampling.top_p].tolist())


def test_a_draw_depends_on_seed_sample_and_position_and_on_nothing_else():
    hidden, ids, positions = hiddens(12), jnp.arange(12) * 7 + 3, jnp.arange(12) % 5 + 100
    sampling = Sampling(0.85)
    tokens, logp = draw(hidden, head(96), KEY, ids, positions, sampling)
    order = np.random.default_rng(0).permutation(12)
    shuffled, shuffled_logp = draw(hidden[order], head(96), KEY, ids[order], positions[order], sampling)
    np.testing.assert_array_equal(shuffled, tokens[order])
    np.testing.assert_allclose(shuffled_logp, logp[order], atol=1e-6)
    for slot in (0, 11):  # alone in the batch
        one = slice(slot, slot + 1)
        assert draw(hidden[one], head(96), KEY, ids[one], positions[one], sampling)[0][0] == tokens[slot]


def test_another_seed_sample_or_position_is_another_number():
    ids, positions = jnp.repeat(jnp.arange(40), 40), jnp.tile(jnp.arange(40), 40)
    numbers = np.asarray(uniforms(KEY, ids, positions))
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert len(np.unique(numbers)) > 1590  # of 1600 draws of 23 bits a few may coincide by chance
    assert (np.asarray(uniforms(jax.random.key(1), ids, positions)) != numbers).mean() > 0.99
    square = numbers.reshape(40, 40)  # [sample, position]
    assert np.diag(square == square.T).all() and (square == square.T).sum() < 50
    # Neighbours in either direction are uncorrelated; 0.13 is five standard deviations.
    for a, b in ((square[:, :-1], square[:, 1:]), (square[:-1], square[1:])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.13


@pytest.mark.parametrize("vocab", [96, 1200])
def test_frequencies_are_the_probabilities_at_the_temperature_asked_for(vocab):
    count, temperature = 6000, 0.85
    hidden = jnp.broadcast_to(hiddens(1, seed=2), (count, D))
    tokens, _ = draw(hidden, head(vocab), KEY, jnp.arange(count) % 77, jnp.arange(count) // 77, Sampling(temperature))
    seen = np.bincount(tokens, minlength=vocab)

    def chi_square_is_plausible(probs):
        expected = probs * count
        often = expected >= 5
        observed = np.r_[seen[often], seen[~often].sum()]
        expected = np.r_[expected[often], expected[~often].sum()]
        freedom = len(observed) - 1
        return ((observed - expected) ** 2 / expected).sum() < freedom + 4 * np.sqrt(2 * freedom)

    assert chi_square_is_plausible(probabilities(hidden[:1], vocab, temperature)[0])
    # The bound is sharp enough to see each of these: no temperature, the temperature twice, neighbours' tokens.
    assert not chi_square_is_plausible(probabilities(hidden[:1], vocab, 1.0)[0])
    assert not chi_square_is_plausible(probabilities(hidden[:1], vocab, temperature**2)[0])
    assert not chi_square_is_plausible(np.roll(probabilities(hidden[:1], vocab, temperature)[0], 1))


@pytest.mark.parametrize("vocab", [5, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_evenly_spaced_numbers_give_every_token_its_share(vocab):
    count = 4000
    probs = np.random.default_rng(vocab).dirichlet(np.full(vocab, 0.1)).astype(np.float32)
    grid = (np.arange(count, dtype=np.float32) + 0.5) / count
    tokens = np.asarray(invert(jnp.broadcast_to(probs, (count, vocab)), grid))
    assert (np.diff(tokens) >= 0).all()  # the cumulative distribution, in the order of the ids
    # A stretch of length p holds p * count points of the grid, give or take one at each end.
    assert np.abs(np.bincount(tokens, minlength=vocab) - probs * count).max() <= 1.01


@pytest.mark.parametrize("vocab", [100, 600, 2000])
def test_a_token_of_probability_0_is_never_drawn_wherever_the_number_falls(vocab):
    for seed in range(8):
        probs = sparse(vocab, seed)
        # Rounding matters at the edges between tokens: the running sums as the sampler adds them, and what lies next.
        edges = np.asarray(jnp.cumsum(jnp.asarray(probs)))
        below, above = np.nextafter(edges, np.float32(0)), np.nextafter(edges, np.float32(2))
        numbers = np.concatenate([edges, below, above, [0, np.nextafter(np.float32(1), np.float32(0))]])
        numbers = np.resize(numbers[numbers < 1], 3 * vocab + 2).astype(np.float32)  # one shape, one compilation
        tokens = np.asarray(invert(jnp.broadcast_to(probs, (len(numbers), vocab)), numbers))
        assert (probs[tokens] > 0).all(), f"seed {seed}"


def test_the_smallest_number_draws_the_first_token_with_weight_and_the_largest_the_last():
    for vocab in (100, 600, 2000):
        probs = sparse(vocab, 0)
        inside = np.flatnonzero(probs)
        numbers = jnp.array([0.0, np.nextafter(np.float32(1), np.float32(0))])
        tokens = invert(jnp.broadcast_to(probs, (2, vocab)), numbers)
        assert tokens.tolist() == [inside[0], inside[-1]]


def test_weights_need_not_sum_to_one():
    probs = jnp.array([[0.0, 3.0, 0.0, 1.0]] * 4)
    tokens, total = invert_cdf(probs, jnp.array([0.0, 0.74, 0.76, 0.999]))
    assert tokens.tolist() == [1, 1, 3, 3] and total.tolist() == [4.0] * 4


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(0.85, top_k=1),
        Sampling(0.85, top_k=7),
        Sampling(0.85, top_p=0.3),
        Sampling(0.85, top_p=0.95),
        Sampling(0.85, top_p=0.95, top_k=20),
        Sampling(0.85, top_p=0.5, top_k=5),
        Sampling(0.85, top_k=5000),
        Sampling(0.85, top_p=1e-6),
    ],
    ids=str,
)
def test_top_k_and_top_p_keep_exactly_the_tokens_a_sort_keeps(sampling):
    hidden = hiddens(20, seed=3)
    probs = probabilities(hidden, 96, sampling.temperature)
    kept = np.isfinite(truncate(jnp.log(jnp.asarray(probs, jnp.float32)), sampling))
    for row in range(20):
        assert set(np.flatnonzero(kept[row]).tolist()) == kept_set(probs[row], sampling)


def test_top_p_counts_what_is_left_of_top_k_as_the_whole():
    logits = jnp.log(jnp.array([[0.4, 0.2, 0.2, 0.1, 0.1]]))
    # Of the top three, renormalised to 0.5, 0.25, 0.25, the first alone reaches 0.5; of all five it would not.
    assert np.isfinite(truncate(logits, Sampling(1.0, top_p=0.5, top_k=3)))[0].tolist() == [True] + [False] * 4
    assert np.isfinite(truncate(logits, Sampling(1.0, top_p=0.5)))[0].tolist() == [True, True, True, False, False]


def test_ties_with_the_last_token_kept_are_kept_too():
    logits = jnp.log(jnp.array([[0.4, 0.2, 0.2, 0.2]]))
    assert np.isfinite(truncate(logits, Sampling(1.0, top_k=2)))[0].all()


@pytest.mark.parametrize(
    "sampling", [Sampling(0.85), Sampling(0.85, 0.9, 20), Sampling(1.0, top_k=3), Sampling(0.3, 0.5)]
)
def test_the_recorded_log_prob_is_that_of_the_distribution_drawn_from(sampling):
    count, vocab = 400, 1200
    hidden = hiddens(count, seed=4)
    tokens, logp = (
        np.asarray(x) for x in draw(hidden, head(vocab), KEY, jnp.arange(count), jnp.arange(count), sampling)
    )
    for token, got, probs in zip(tokens, logp, probabilities(hidden, vocab, sampling.temperature), strict=True):
        inside = kept_set(probs, sampling)
        assert token in inside
        assert got == pytest.approx(np.log(probs[token] / probs[list(inside)].sum()), abs=2e-5)


def test_greedy_is_the_most_likely_token_with_log_prob_0():
    hidden = hiddens(50, seed=5)
    tokens, logp = draw(hidden, head(1200), KEY, jnp.arange(50), jnp.arange(50), Sampling(0.0))
    np.testing.assert_array_equal(tokens, probabilities(hidden, 1200, 1.0).argmax(-1))
    assert tokens.dtype == jnp.int32 and (logp == 0).all()


def test_top_k_of_1_draws_what_greedy_draws_with_log_prob_0():
    hidden, slots = hiddens(50, seed=6), jnp.arange(50)
    tokens, logp = draw(hidden, head(96), KEY, slots, slots, Sampling(0.85, top_k=1))
    np.testing.assert_array_equal(tokens, draw(hidden, head(96), KEY, slots, slots, Sampling(0.0))[0])
    np.testing.assert_allclose(logp, 0, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"temperature": -0.1}, {"top_p": 0.0}, {"top_p": 1.01}, {"top_k": -1}])
def test_settings_outside_their_range_are_refused(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"sampling wants .*{name}={value}"):
        Sampling(**({"temperature": 0.85} | wrong))
