"""Milliseconds of one supervised update on this machine: python benchmarks/linear.py

The verifier of configs/verifier_tiny.py, its rows full; the weight gradient as autodiff writes it
and as models/linear.py does, each with every kind of rematerialisation. The arms take turns, so
that a busy moment hits all of them; the table has medians and the floor: the matrix products
alone at the speed at which this machine multiplies two large matrices.
"""

import dataclasses
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.update import product_speed
from configs.verifier_tiny import get_config
from ulorl_jax.mesh import Layout, make_mesh
from ulorl_jax.models import linear as linear_maps
from ulorl_jax.models import qwen3, qwen3_params
from ulorl_jax.models.linear import linear
from ulorl_jax.supervised import RowSettings, Supervised, worked_sample
from ulorl_jax.train.state import init_state
from ulorl_jax.verifier_settings import VerifierSettings

ROUNDS = 12


def main() -> None:
    """Prints the table."""
    settings = VerifierSettings.from_dict(get_config().to_dict())
    u, layout = settings.updates, Layout(make_mesh(**dataclasses.asdict(settings.mesh)), "training")
    rows = RowSettings(u.rows, u.row_length, u.logprob_chunk, u.max_skipped_in_a_row)
    rng = np.random.default_rng(0)
    half = u.row_length // 2
    samples = [
        worked_sample(i, *(rng.integers(1, 255, half).astype(np.int32) for _ in range(2))) for i in range(u.rows)
    ]
    updates, states = {}, {}
    for gradient, function in (("autodiff", jnp.matmul), ("linear", linear)):
        for remat in qwen3.REMAT:
            model = dataclasses.replace(settings.model, remat=remat)
            supervised = Supervised(model, settings.optimizer, layout, rows, "optimizer")
            qwen3.linear = linear_maps.linear = function  # read when the update is traced: by the first call
            state = init_state(jax.random.key(0), model, supervised.optimizer, layout)
            updates[gradient, remat] = supervised.update
            states[gradient, remat] = supervised.update(state, samples)[0]
    qwen3.linear = linear_maps.linear = linear
    times = {arm: [] for arm in updates}
    for _ in range(ROUNDS):
        for arm, update in updates.items():
            began = time.perf_counter()
            states[arm], _ = update(states[arm], samples)
            jax.block_until_ready(states[arm])
            times[arm].append(time.perf_counter() - began)
    tokens = u.rows * u.row_length
    print(f"{'gradient':<10}{'remat':<8}{'ms':>8}{'tokens/s':>10}")
    for (gradient, remat), seconds in times.items():
        median = statistics.median(seconds)
        print(f"{gradient:<10}{remat:<8}{1e3 * median:>8.0f}{tokens / median:>10.0f}")
    print(f"floor: {1e3 * floor_s(settings.model, tokens):.0f} ms")


def floor_s(model: qwen3.Qwen3Config, tokens: int) -> float:
    """Six operations per weight and token, at the speed of one large product."""
    weights = sum(int(np.prod(row.shape)) for row in jax.tree.leaves(qwen3_params.map_table(lambda row: row, model)))
    return 6 * weights * tokens / product_speed()


if __name__ == "__main__":
    main()
