# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A loss of your own, in the real loop
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/)
#
# You have an idea for another objective. This notebook writes one, checks it on arrays small enough to read, and trains
# a policy with it: the loop, the decoder, the rewards and the update are those of every other run. You need to know JAX
# (`jnp`, `jax.grad`, `stop_gradient`) and nothing else: no model, no mesh, no framework.
#
# It needs no accelerator and takes about half a minute on two quiet CPU cores.
#
# **In Colab:** the badge asks for the address of the repository in which you read this, and opens the notebook from
# there. Get the project first, in a cell above this one: `!git clone` with that address, or upload its folder. The next
# cell finds it, and installs only what Colab lacks. Elsewhere it installs nothing: `./setup.sh notebooks` has done so.

# %%
import importlib.metadata
import pathlib
import re
import subprocess
import sys
import tempfile

here = pathlib.Path.cwd()
found = [folder for folder in (here, *here.parents, *here.glob("*/")) if (folder / "ulorl_jax" / "loop.py").is_file()]
if not found:
    raise FileNotFoundError(
        f"no folder with ulorl_jax/loop.py in, above or right below {here}; clone or upload it there"
    )
root = found[0]
sys.path.insert(0, str(root))

try:
    import google.colab  # noqa: F401
except ModuleNotFoundError:
    print(f"not in Colab; the project is in {root.name}/")
else:
    have = {re.sub(r"[-_.]+", "-", dist.name).lower(): dist.version for dist in importlib.metadata.distributions()}

    def lacking(file):
        """The file's requirements that are not installed; never jax, which Colab brings for its own hardware."""
        lines = [line.partition("#")[0].strip() for line in (root / file).read_text().splitlines()]
        names = {line: re.split(r"[^\w.-]", line)[0].replace("_", "-").lower() for line in lines if line}
        return [line for line, name in names.items() if name not in {*have, "jax", "jaxlib"}]

    # What is installed may ask for another jax: the constraint makes pip refuse instead.
    constraint = pathlib.Path(tempfile.mkdtemp()) / "constraint.txt"
    constraint.write_text("".join(f"{name}=={have[name]}\n" for name in ("jax", "jaxlib") if name in have))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", f"--constraint={constraint}"]
    if wanted := lacking("requirements.txt"):
        subprocess.run([*pip, *wanted], check=True)
    if wanted := lacking("requirements-jetstream.txt"):
        subprocess.run([*pip, "--no-deps", *wanted], check=True)

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from ulorl_jax.programs import keep_programs

keep_programs()  # what jax compiles is kept on disk: the second time this notebook is quicker
np.set_printoptions(precision=3, suppress=True, linewidth=110)
plt.rcParams.update({"figure.dpi": 100, "axes.spines.top": False, "axes.spines.right": False, "font.size": 9})
BLUE, ORANGE, GREEN, RED, GREY = "#3b6fb6", "#e08a1e", "#3a9b6a", "#c8443c", "#b4b4b4"

# %% [markdown]
# ## 1. The idea
#
# UloRL leaves a token of a right answer out of its loss when the policy is already sure of it, $p \ge \tau$ (DMMPT).
# That is a step: a token of $p = 0.989$ counts in full, one of $p = 0.991$ not at all. What if a token counted less and
# less the surer the policy is of it?
#
# $$\mathcal{J}(\theta) = \frac{1}{N} \sum_{i,t} w_{i,t}\, A_i \log p_{i,t}, \qquad
# w_{i,t} = (1 - p_{i,t})^{\gamma}$$
#
# | | |
# |---|---|
# | $p_{i,t}$ | probability that the policy gives to token $t$ of answer $i$ |
# | $A_i$ | advantage: positive where the answer was better than others to the same question |
# | $N$ | tokens of all answers of the batch |
# | $\gamma$ | 0: every token counts the same, which is REINFORCE; larger: sure tokens count less |
#
# The weight is the *focal* one that Lin et al. (2017) gave to cross entropy; here no gradient goes through it. Nobody
# has shown that this is a good idea. It is one that can be written down in a minute, which is what this notebook is
# about.

# %%
p = np.linspace(0.5, 1, 400)
fig, ax = plt.subplots(figsize=(5.2, 2.5), layout="constrained")
for gamma, color in ((0, GREY), (0.25, ORANGE), (1, RED)):
    ax.plot(p, (1 - p) ** gamma, color=color, label=f"focal, gamma = {gamma}")
ax.plot(p, p < 0.99, color=BLUE, linestyle="--", label="DMMPT, tau = 0.99, right answers")
ax.set(xlabel="p of the token", ylabel="weight in the loss", ylim=(0, 1.1))
ax.legend(frameon=False, fontsize=8, loc="lower left")
plt.show()

# %% [markdown]
# ## 2. The function
#
# An objective is a function of four things. Packed rows hold several answers side by side, $B$ rows of $T$ tokens:
#
# | | | |
# |---|---|---|
# | `logp` | `[B, T]` | $\log p_{i,t}$ in nats, under the weights being trained: the gradient flows through it |
# | `entropy` | `[B, T]` | nats, of the distribution each token was drawn from; no gradient |
# | `micro` | | what is known of each token: `micro.advantage`, `reward`, `mask`, `sample_ids`, `rollout_logp`, ... |
# | `first` | | `None`; where a step makes several updates, `first.logp` is that of the step's first weights |
#
# It returns the loss, a scalar to be made *smaller*, and a dict of scalars that the run will record. Two rules:
#
# * Read and add up where `micro.mask` is True only: at the tokens that the policy drew. What prompts and padding hold
#   means nothing, and may be NaN. `jnp.where` in front, `masked_sum` at the end.
# * Divide by `micro.num_tokens`, which is $N$ of the **whole** batch, and not by what you see. A batch is split
#   into micro-batches when memory is short, and their losses, gradients and metrics are added up.

# %%
from ulorl_jax.ops.masked import masked_sum

GAMMA = 0.25


def focal(logp, entropy, micro, first):
    """-J: sure tokens count less."""
    logp = jnp.where(micro.mask, logp, 0.0)
    weight = jax.lax.stop_gradient((1 - jnp.exp(logp)) ** GAMMA)
    loss = -masked_sum(weight * micro.advantage * logp, micro.mask) / micro.num_tokens
    metrics = {
        "loss/focal": loss,
        "focal/weight": masked_sum(weight, micro.mask) / micro.num_tokens,
        "entropy/mean": masked_sum(entropy, micro.mask) / micro.num_tokens,
    }
    return loss, jax.lax.stop_gradient(metrics)


# %% [markdown]
# ## 3. Is it right?
#
# Two rows with two answers each, made by hand. A dot is a prompt, an underscore padding; padding holds NaN on purpose.

# %%
from ulorl_jax.types import Batch

NAN = np.nan
probabilities = jnp.array([[NAN, 0.5, 0.9, 0.99, NAN, 0.6, 0.8, NAN], [NAN, 0.7, NAN, 0.2, 0.95, NAN, NAN, NAN]])
layout = ["." "aaa" "." "bb" "_", "." "c" "." "dd" "___"]  # fmt: skip
advantage_of = {"a": 1.0, "b": -1.0, "c": 0.5, "d": -0.5, ".": 0.0, "_": 0.0}

letters = np.array([list(row) for row in layout])
mask = ~np.isin(letters, [".", "_"])
per_token = np.vectorize(advantage_of.get)(letters)
hand_made = Batch(
    mask=mask,
    advantage=per_token,
    num_tokens=float(mask.sum()),
    # What this loss does not read.
    tokens=None, positions=None, sample_ids=None, rollout_logp=None, policy_step=None, reward=None,
    num_micro_batches=None,
)  # fmt: skip
logp = jnp.log(probabilities)
entropy = jnp.where(mask, 0.1, NAN)


def loss_of(logp, rows=slice(None)):
    """The loss of some of the rows, as the trainer would call it for a micro-batch."""
    part = Batch(**vars(hand_made) | {"mask": mask[rows], "advantage": per_token[rows]})
    return focal(logp[rows], entropy[rows], part, None)


(loss, metrics), gradient = jax.value_and_grad(loss_of, has_aux=True)(logp)
print(f"loss {loss:.4f}", {name: round(float(value), 4) for name, value in metrics.items()})
print("gradient by logp, where the mask is:", np.asarray(gradient)[mask])

by_hand = -((1 - np.asarray(probabilities)) ** GAMMA) * per_token / mask.sum()
print("-w A / N by hand:                   ", by_hand[mask])

# %% [markdown]
# Three things to check of any objective. The gradient is the one wanted. What the mask hides is inert: its gradient is
# 0, although there is NaN. And the parts add up: the gradients of two micro-batches are the gradient of both rows.

# %%
halves = [jax.grad(lambda logp, rows=rows: loss_of(logp, rows)[0])(logp) for rows in (slice(0, 1), slice(1, 2))]
checks = {
    "the gradient is -w A / N": np.allclose(np.asarray(gradient)[mask], by_hand[mask]),
    "hidden tokens have none": bool((np.asarray(gradient)[~mask] == 0).all()),
    "micro-batches add up": np.allclose(halves[0] + halves[1], gradient),
}
print(checks)
assert all(checks.values())

# %% [markdown]
# The second check is the one that fails in practice, and in the dark: `masked_sum` alone hides a NaN in the value,
# while $0 \cdot \text{NaN} = \text{NaN}$ comes back in the gradient. So the first line of `focal` cleans what goes in.
# The other trap is the power: where $p = 1$ exactly, the derivative of a power below 1 is infinite, and without
# `stop_gradient` it would be in the gradient.

# %%
x, where = jnp.array([NAN, -0.5]), jnp.array([False, True])
print("cleaned at the end only:", jax.grad(lambda x: masked_sum(jnp.exp(x) * x, where))(x))
print("cleaned in front, too:  ", jax.grad(lambda x: masked_sum(jnp.exp(y := jnp.where(where, x, 0.0)) * y, where))(x))

sure = jnp.array([0.0, -0.5])  # p = 1, and p = 0.61
print("weight not stopped:     ", jax.grad(lambda x: jnp.sum((1 - jnp.exp(x)) ** GAMMA * x))(sure))
print(
    "weight stopped:         ", jax.grad(lambda x: jnp.sum(jax.lax.stop_gradient((1 - jnp.exp(x)) ** GAMMA) * x))(sure)
)

# %% [markdown]
# ## 4. In the real loop
#
# `configs/tiny_stairs.py` is the smallest run of this project: a policy of 23 thousand parameters climbs to a given
# stair by strides of one or two, at times one back, and says where it ends. `kq7=` wants an answer that ends in `#7`,
# and many ways lead there. The supervised warm start shows it a teacher that oversteps the stair about one time in
# three.
#
# The only line that has to do with your objective is the last one: `make_parts` takes it.

# %%
import contextlib
import io

from configs import tiny_stairs
from ulorl_jax.io.metrics import read_metrics
from ulorl_jax.loop import run
from ulorl_jax.parts import make_parts
from ulorl_jax.settings import Settings

STEPS = 20
folder = pathlib.Path(tempfile.mkdtemp(prefix="ulorl-"))
config = tiny_stairs.get_config()
config.steps = STEPS
config.evaluation.every = STEPS  # and before the first step


def train(name, objective=None):
    """A whole run of `loop.run`, as launch/train.py starts it; its metrics, a dict per step."""
    parts = make_parts(Settings.from_dict(config.to_dict()), folder / name, objective)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):  # progress
        summary = run(parts)
    start, end = summary["heldout/sampled_start"], summary["heldout/sampled"]
    print(f"{name}: held-out {start:.3f} -> {end:.3f} in {summary['updates']} updates, {summary['wall_s']:.0f} s")
    return read_metrics(folder / name / "metrics.jsonl")


ulorl = train("ulorl")  # the config's own: equation (10), POIS, DMMPT
config.warm_start.update(steps=0, checkpoint=str(folder / "ulorl" / "warm_start"))  # the same first weights
own = train("focal", focal)

# %% [markdown]
# Whatever your function returns as metrics stands in `metrics.jsonl` of the run, and in TensorBoard.

# %%
last = [row for row in own if "loss/focal" in row][-1]
print({name: round(last[name], 4) for name in ("loss/focal", "focal/weight", "entropy/mean", "train/grad_norm")})

fig, axes = plt.subplots(1, 3, figsize=(9.5, 2.5), layout="constrained")
panels = {"heldout/sampled": "Held-out accuracy", "entropy/mean": "Entropy, nats", "train/grad_norm": "Gradient norm"}
for ax, (name, title) in zip(axes, panels.items(), strict=True):
    for rows, color, label in ((ulorl, BLUE, "UloRL"), (own, ORANGE, f"focal, gamma = {GAMMA}")):
        points = [(row["step"], row[name]) for row in rows if name in row]
        ax.plot(*zip(*points, strict=True), color=color, marker="o", markersize=2.5, label=label)
    ax.set(title=title, xlabel="step")
axes[0].legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# **What this shows, and what not.** The objective runs in the real loop, and the policy learns with it. It says nothing
# about which of the two is better: there is one run of each, and 128 held-out questions leave a standard
# error of about 0.04. For an answer, run several seeds of each for a few hundred steps, with the learning rate chosen
# for each.
#
# ## 5. From here
#
# * **The ratio and the clip.** `ulorl_jax.ops.losses.clipped_surrogate_loss` is equation (7); `ops.importance` has
#   three choices of its denominator, and `micro.rollout_logp` is what was recorded when the token was drawn.
# * **Per answer instead of per token.** `ops.masked.sample_mean(entropy, micro.mask, micro.sample_ids)` gives every
#   token the mean over its own answer.
# * **Several updates per step.** `config.train.updates_per_step = 4`: then `first.logp` holds the log-probs before the
#   first of them.
# * **A bonus on the entropy** cannot be written this way: `entropy` carries no gradient, for computing it needs the
#   logits of the whole vocabulary once more.
# * **Larger.** The same line with another config: `make_parts(settings, workdir, objective=focal)`. The update is
#   compiled with your function in it, on whatever mesh the config names.
