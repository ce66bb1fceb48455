"""Writes advantages_and_loss.json: verl's group advantages and clipped loss on random inputs.

    python tests/golden/write_advantages_and_loss.py --verl=PATH_OF_A_CLONE

PATH_OF_A_CLONE is a git clone of https://github.com/volcengine/verl whose own
requirements are installed (at the commit in the JSON: torch, tensordict, ray,
transformers<5, codetiming, hydra-core, pandas). The tests read only the JSON.

What is compared, and what is kept out of the way:
  * advantages: GRPO's, with the sample standard deviation and epsilon 1e-6. Groups
    have at least two samples: verl leaves the reward of a lone sample as it is,
    we give it advantage 0.
  * loss: the token mean of the clipped surrogate. verl clips a negative advantage
    a second time, at clip_ratio_c: set so high here that it never acts. It also
    limits the log-ratio to +-20, far outside these inputs.
Everything runs in float64, so that the numbers are the formula's and not a precision's.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import torch

NO_DUAL_CLIP = 1e9
CASES = {
    "binary rewards, symmetric clip": dict(seed=1, binary=True, clip_low=0.2, clip_high=0.2),
    "real rewards, clip higher": dict(seed=2, binary=False, clip_low=0.2, clip_high=0.28),
}
GROUPS = [7, 3, 3, 11, 7, 11, 3, 7, 11, 7]  # neither sorted nor dense, of 4, 3 and 3 samples
LENGTH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verl", required=True, type=pathlib.Path, help="a git clone of verl")
    clone = parser.parse_args().verl.resolve()
    sys.path.insert(0, str(clone))
    import verl
    from verl.trainer.ppo import core_algos

    if not pathlib.Path(core_algos.__file__).is_relative_to(clone):
        raise SystemExit(f"verl was imported from {core_algos.__file__}, not from {clone}: uninstall the other one")
    commit = subprocess.run(["git", "-C", clone, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    golden = {
        "written_by": "tests/golden/write_advantages_and_loss.py",
        "verl_version": verl.__version__,
        "verl_commit": commit.stdout.strip(),
        "torch_version": torch.__version__,
        "cases": {name: run_case(core_algos, **case) for name, case in CASES.items()},
    }
    path = pathlib.Path(__file__).with_name("advantages_and_loss.json")
    path.write_text(to_json(golden))
    print(f"wrote {path.name}: verl {verl.__version__} at {golden['verl_commit']}, torch {torch.__version__}")


def run_case(core_algos, *, seed: int, binary: bool, clip_low: float, clip_high: float) -> dict:
    """One set of inputs and what verl makes of it, as lists."""
    rng = np.random.default_rng(seed)
    samples = len(GROUPS)
    reward = rng.integers(0, 2, samples).astype(float) if binary else rng.normal(size=samples).round(3)
    lengths = rng.integers(2, LENGTH + 1, samples)
    mask = np.arange(LENGTH) < lengths[:, None]
    old_logp = -rng.exponential(1.0, (samples, LENGTH)).round(3)
    logp = np.minimum(old_logp + rng.normal(0, 0.4, old_logp.shape), -0.001).round(3)

    scores = torch.zeros(samples, LENGTH, dtype=torch.float64)
    scores[torch.arange(samples), torch.tensor(lengths - 1)] = torch.tensor(reward)  # the reward, at the last token
    weight = torch.tensor(mask, dtype=torch.float64)
    per_token, _ = core_algos.compute_grpo_outcome_advantage(scores, weight, np.array(GROUPS), epsilon=1e-6)
    leaf = torch.tensor(logp, requires_grad=True)
    loss, clip_frac, _, dual_clip_frac = core_algos.compute_policy_loss(
        torch.tensor(old_logp),
        leaf,
        per_token,
        weight,
        cliprange_low=clip_low,
        cliprange_high=clip_high,
        clip_ratio_c=NO_DUAL_CLIP,
        loss_agg_mode="token-mean",
    )
    assert dual_clip_frac == 0 and 0 < clip_frac < 1
    loss.backward()
    return {
        "reward": reward.tolist(),
        "group_id": GROUPS,
        "advantage": per_token[:, 0].tolist(),
        "logp": logp.tolist(),
        "old_logp": old_logp.tolist(),
        "mask": mask.astype(int).tolist(),
        "clip_low": clip_low,
        "clip_high": clip_high,
        "loss": loss.item(),
        "clip_frac": clip_frac.item(),
        "grad_logp": leaf.grad.tolist(),
    }


def to_json(golden: dict) -> str:
    """JSON with one row of numbers per line: short, and readable in a diff."""
    text = json.dumps(golden, indent=1)
    return re.sub(r"\[[^\[\]]*\]", lambda row: " ".join(row.group().split()), text) + "\n"


if __name__ == "__main__":
    main()
