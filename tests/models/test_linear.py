import jax
import jax.numpy as jnp
import numpy as np

from ulorl_jax.models.linear import linear


def test_value_and_both_gradients_are_those_of_autodiff():
    rng = np.random.default_rng(0)
    x, w, weights = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((2, 5, 3), (3, 4), (2, 5, 4)))

    def loss(function):
        return lambda x, w: jnp.sum(jnp.tanh(function(x, w)) * weights)

    np.testing.assert_allclose(linear(x, w), x @ w, rtol=1e-6)
    got, wanted = (jax.grad(loss(function), argnums=(0, 1))(x, w) for function in (linear, jnp.matmul))
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_weight_gradient_copies_no_transposed_cotangent():
    x, w = jnp.ones((2, 5, 3)), jnp.ones((3, 4))
    program = str(jax.make_jaxpr(jax.grad(lambda w: jnp.sum(linear(x, w) ** 2)))(w))
    assert "f32[3,4] = dot_general" in program and "f32[4,3] = dot_general" not in program
    plain = str(jax.make_jaxpr(jax.grad(lambda w: jnp.sum((x @ w) ** 2)))(w))
    assert "f32[4,3] = dot_general" in plain  # what it avoids


def test_bfloat16_stays_bfloat16():
    x, w = jnp.ones((1, 2, 3), jnp.bfloat16), jnp.ones((3, 4), jnp.bfloat16)
    d_x, d_w = jax.grad(lambda x, w: jnp.sum(linear(x, w).astype(jnp.float32)), argnums=(0, 1))(x, w)
    assert linear(x, w).dtype == d_x.dtype == d_w.dtype == jnp.bfloat16
