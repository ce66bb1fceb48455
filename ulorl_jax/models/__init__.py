"""One transformer for policy and verifier: pure functions over a parameter pytree."""
