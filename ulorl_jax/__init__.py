"""ulorl_jax: reinforcement learning of language models with ultra-long outputs, in JAX.

Start reading at `loop.py`; import `ulorl_jax.ops` to reuse the losses elsewhere.
"""

__version__ = "0.1.0"
