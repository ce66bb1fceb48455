"""Pure functions of arrays: log-probs, importance, masks, advantages, losses, packing, scores.

Nothing here knows a config, a model, a mesh, a file or a clock, and nothing but
jax and numpy is needed to import it. Index t of every per-token array speaks of
token t; all log-probs and entropies are in nats and of logits / temperature.
"""

from ulorl_jax.ops import advantages, importance, logprobs, losses, masked, mastered, packing, scores

__all__ = ["advantages", "importance", "logprobs", "losses", "masked", "mastered", "packing", "scores"]
