"""Pairs per second of the rules and of a verifier: python benchmarks/verify.py [--weights=runs/verifier_tiny]

Pairs are generated ones, none twice, so nothing is remembered. The rules are asked with one and with two
worker processes, and without any (what they decide in the run's own process is the share "at once"). The
verifier is a folder's, or random weights of configs/verifier_tiny.py. Prints one table, writes verify.json.
"""

import argparse
import contextlib
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax

from configs import verifier_tiny
from ulorl_jax.data.answer_pairs import generate_pairs
from ulorl_jax.inputs import make_tokenizer, verifier_of
from ulorl_jax.mesh import Layout, make_mesh
from ulorl_jax.models.qwen3_params import init_params, map_table
from ulorl_jax.verifier_data import to_pair
from ulorl_jax.verifier_settings import VerifierSettings
from ulorl_jax.verify.comparison import Pair
from ulorl_jax.verify.rules import Rules, decide_quickly
from ulorl_jax.weights import open_weights

WARM_UP = 200  # pairs asked first: processes start, programs compile


def rules_rate(pairs: list[Pair], workers: int) -> float:
    """Pairs per second of the rules once their processes run."""
    with contextlib.closing(Rules(workers=workers, deadline_s=5.0)) as rules:
        rules.compare(pairs[:WARM_UP])
        began = time.perf_counter()
        rules.compare(pairs[WARM_UP:])
        return (len(pairs) - WARM_UP) / (time.perf_counter() - began)


def verifier_rate(pairs: list[Pair], mode: str, weights: str) -> float:
    """Pairs per second of a verifier once its programs are compiled."""
    settings = VerifierSettings.from_dict(verifier_tiny.get_config().to_dict())
    layout = Layout(make_mesh(data=1, fsdp=1, tensor=1), "decoding")
    model = open_weights(weights).config if weights else settings.model
    shardings = map_table(lambda row: layout.sharding(*row.axes, shape=row.shape), model)
    params = open_weights(weights).load(shardings) if weights else init_params(jax.random.key(0), model)
    tokenizer = make_tokenizer(settings.tokenizer, model.vocab_size, None)
    asking = settings.evaluation.__class__(**(vars(settings.evaluation) | {"mode": mode}))
    verifier = verifier_of(asking, model, params, layout, tokenizer, settings.prompt, weights, "evaluation")
    verifier.compare(pairs[:WARM_UP])
    began = time.perf_counter()
    verifier.compare(pairs[WARM_UP:])
    return (len(pairs) - WARM_UP) / (time.perf_counter() - began)


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3800)
    parser.add_argument("--weights", default="", help="folder of a verifier; random weights without")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("verify.json"))
    given = parser.parse_args()
    pairs = [to_pair(pair) for pair in generate_pairs(given.pairs, seed=1, split="test")]
    began = time.perf_counter()
    at_once = sum(decide_quickly(pair.reference, pair.predicted) is not None for pair in pairs) / len(pairs)
    rates = {"rules, quick decisions alone": len(pairs) / (time.perf_counter() - began)}
    rates |= {f"rules, {n} worker{'s' * (n > 1)}": rules_rate(pairs, n) for n in (1, 2)}
    rates |= {f"verifier, {mode}": verifier_rate(pairs, mode, given.weights) for mode in ("verdict", "reasoned")}
    print(f"{'':<32}{'pairs / s':>12}   ({len(pairs) - WARM_UP} pairs; {at_once:.1%} decided at once)")
    for name, rate in rates.items():
        print(f"{name:<32}{rate:>12.0f}")
    given.out.write_text(json.dumps({"pairs_per_second": rates, "decided_at_once": at_once}, indent=2) + "\n")


if __name__ == "__main__":
    main()
