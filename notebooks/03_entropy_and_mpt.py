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
# # Entropy, and the tokens a policy is already sure of
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/)
#
# A policy that is trained on right answers becomes sure of itself. Too sure, and it stops trying anything: its entropy
# collapses. UloRL (arXiv 2507.19766, 3.2) blames the *well-mastered positive tokens* (MPT), those of right answers that
# the policy gives a probability of 0.99 or more, and leaves them out of the loss while the entropy is low (DMMPT):
#
# $$\text{MPT}_{i,t} = [\,p_{i,t} \ge \tau\,] \wedge [\,R_i = 1\,] \tag{9}$$
# $$I^\text{mask}_{i,t} = [\,H_i < \sigma\,] \wedge \text{MPT}_{i,t}, \qquad
# H_i = \frac{1}{|o_i|}\sum_t H_{i,t}, \qquad H_{i,t} = -\sum_v p_v \log p_v \tag{10}$$
#
# This notebook looks at real answers of a small policy: which tokens those are, what leaving them out does to the
# gradient and to the entropy, and what the gate does. It is not the paper's Figures 4 and 5, which are 300 steps of
# models more than a hundred thousand times as large. It needs no accelerator and takes about half a minute on two quiet
# CPU cores.
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
plt.rcParams.update({"figure.dpi": 100, "axes.spines.top": False, "axes.spines.right": False, "font.size": 9})
BLUE, ORANGE, GREEN, RED, GREY = "#3b6fb6", "#e08a1e", "#3a9b6a", "#c8443c", "#b4b4b4"

# %% [markdown]
# ## 1. A policy, and its answers
#
# The policy of `configs/tiny_stairs.py` climbs to a stair: `kq7=` wants an answer that ends in `#7`, by strides of one
# or two, at times one back. Many ways are right, so there is something to be unsure of; the commas leave no choice. The
# warm start learns from a teacher that oversteps the stair one time in three. Then 12 questions get 8 answers each.

# %%
import contextlib
import io

from configs import tiny_stairs
from ulorl_jax.batches import pack_groups
from ulorl_jax.clock import StopRequest
from ulorl_jax.mesh import reshard
from ulorl_jax.parts import make_parts
from ulorl_jax.rewards import to_attempts
from ulorl_jax.rollout.engine import param_shardings
from ulorl_jax.rollout.pools import ExperiencePool
from ulorl_jax.rollout.segments import SegmentRollout
from ulorl_jax.settings import Settings
from ulorl_jax.warm_start import first_params

config = tiny_stairs.get_config()
config.rollout.segments = 1  # answers are drawn whole
settings = Settings.from_dict(config.to_dict())
folder = pathlib.Path(tempfile.mkdtemp(prefix="ulorl-"))
parts = make_parts(settings, folder)
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):  # progress
    first_weights = first_params(parts, StopRequest())
weights = first_weights

G = settings.rollout.samples_per_prompt
rollout = SegmentRollout(parts.engine, settings.rollout.segment_settings)
prompts, _ = parts.prompts.take(0, rollout.pool.missing // G)
rollout.pool.add_prompts(prompts, G)
finished, _ = rollout.run(reshard(first_weights, param_shardings(parts.engine.spec)), policy_step=0)
experience = ExperiencePool(G)
experience.add(finished, parts.judge(to_attempts(finished, parts.tokenizer)))
released = experience.release()
batch = pack_groups(released.informative, settings)  # groups with right and wrong answers: those that are trained
assert batch.num_micro_batches == 1
rows = jax.tree.map(lambda x: jnp.asarray(x)[0] if np.ndim(x) == 3 else x, batch)  # its one micro-batch, [B, T]
mask, N = np.asarray(rows.mask), int(batch.num_tokens)

rewards = np.concatenate([group.rewards for group in released.informative])
print(f"{len(finished)} answers, {len(released.informative)} groups with right and wrong ones: {len(rewards)} answers,")
print(f"{rewards.mean():.0%} of them right, {N} tokens")

# %% [markdown]
# ## 2. Probabilities and entropies, token by token
#
# The bars are the policy's probability of the token that it drew. Red: $p \ge \tau$ in a right answer, an MPT. Grey: as
# sure, but the answer is wrong. The line is the entropy $H_{i,t}$ of the distribution it was drawn from. The policy is
# unsure where there is a choice, of the next stride, and sure of what follows from it.

# %%
from ulorl_jax.models.qwen3 import forward_packed, output_head
from ulorl_jax.ops.logprobs import token_logprobs
from ulorl_jax.ops.masked import sample_mean
from ulorl_jax.ops.mastered import dynamic_mask, mastered_positive_mask


@jax.jit
def logp_and_entropy(params, rows):
    """[B, T] log-probs and entropies, in nats."""
    hidden = forward_packed(params, settings.model, rows.tokens, rows.positions, rows.sample_ids)
    return token_logprobs(hidden, output_head(params), rows.tokens, temperature=settings.rollout.temperature)


tau = settings.loss.tau
logp, entropy = logp_and_entropy(weights, rows)
p = np.exp(np.asarray(logp))
mpt = np.asarray(mastered_positive_mask(logp, rows.reward, rows.mask, tau=tau))  # (9)
H = np.asarray(sample_mean(entropy, rows.mask, rows.sample_ids))  # H_i, at each token of sample i
sure = mask & (np.asarray(logp) >= np.log(tau))

places = [
    (row, mask[row] & (ids == rows.sample_ids[row]))
    for row in range(len(mask))
    for ids in range(1, 1 + int(rows.sample_ids[row].max()))
]
answers = [(row, np.flatnonzero(of)) for row, of in places]
right = [answer for answer in answers if rows.reward[answer[0], answer[1][0]] > 0]
wrong = [answer for answer in answers if rows.reward[answer[0], answer[1][0]] == 0]
right.sort(key=lambda answer: H[answer[0], answer[1][0]])

fig, axes = plt.subplots(3, 1, figsize=(9, 5.6), layout="constrained")
for ax, (row, t), kind in zip(
    axes, (right[0], right[-1], wrong[0]), ("right, surest", "right, least sure", "wrong"), strict=True
):
    ax.bar(range(len(t)), p[row, t], color=np.where(mpt[row, t], RED, np.where(sure[row, t], GREY, BLUE)), width=0.8)
    ax.plot(range(len(t)), np.asarray(entropy)[row, t], color="0.2", marker="o", markersize=2.5, linewidth=0.8)
    drawn = [chr(i) if i != 10 else "end" for i in np.asarray(rows.tokens[row, t])]
    ax.set_xticks(range(len(t)), drawn, family="monospace")
    ax.set(ylim=(0, 1.9), xlim=(-0.7, 25.5), ylabel="p; nats")
    start = int(t[0]) - len(prompts[0].tokens)
    question = "".join(map(chr, np.asarray(rows.tokens[row, start : t[0]])))
    ax.set_title(
        f"{question}  {kind}: H_i = {H[row, t[0]]:.3f} nats, {mpt[row, t].mean():.0%} MPTs", loc="left", fontsize=9
    )
plt.show()

# %%
kinds = {"comma": ",", "mark #": "#", "end": "\n", "stair": "0123456789"}
drawn = np.vectorize(chr)(np.asarray(rows.tokens))
print("token    share of tokens   mean p   mean entropy   of right answers: MPTs")
for name, letters in kinds.items():
    at = mask & np.isin(drawn, list(letters))
    good = at & (np.asarray(rows.reward) > 0)
    nats = np.asarray(entropy)[at].mean()
    print(f"{name:8s} {at.sum() / N:15.1%} {p[at].mean():8.3f} {nats:14.3f} {mpt[good].mean():23.1%}")
print(f"all: {mpt.sum() / N:.1%} of the tokens are MPTs; {(sure & ~mpt).sum() / N:.1%} are as sure, in wrong answers")

# %% [markdown]
# ## 3. What they do to the gradient, and to the entropy
#
# The gradient of the loss is a sum over tokens, so it can be taken apart: the MPTs' share, and the rest. And what a
# share does to the entropy can be tried out: take a small step along it, and compute the entropy of the same tokens
# again.
#
# $$\Delta H = \bar H(\theta - \eta\, g / \lVert g_\text{all} \rVert) - \bar H(\theta), \qquad
# g = \nabla_\theta\, \mathcal{L} \text{ over some of the tokens}$$
#
# The steps are as long as the shares are: divided by the norm of the whole gradient. POIS: every ratio is 1.

# %%
from ulorl_jax.ops.importance import pseudo_on_policy
from ulorl_jax.ops.losses import clipped_surrogate_loss


@jax.jit
def gradient(params, rows, trained):
    """Of the loss (7) over the tokens of `trained`; all tokens stay in the denominator."""

    def loss(params):
        logp = logp_and_entropy(params, rows)[0]
        return clipped_surrogate_loss(
            logp, pseudo_on_policy(logp, rows.rollout_logp), rows.advantage, trained,
            num_tokens=rows.num_tokens, clip_low=0.2, clip_high=0.28,
        )[0]  # fmt: skip

    return jax.grad(loss)(params)


def norm_of(tree):
    return float(jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))))


def mean_entropy(params):
    return float(np.asarray(logp_and_entropy(params, rows)[1])[mask].mean())


shares = {
    "all tokens (no mask)": mask,
    "all but MPTs (masked)": mask & ~mpt,
    "MPTs alone": mpt,
    "as sure, wrong answers": sure & ~mpt,
    "unsure tokens": mask & ~sure,
}
step, before = 0.02, mean_entropy(weights)
whole = norm_of(gradient(weights, rows, mask))
print(f"mean entropy {before:.4f} nats\n\n{'trained':24s} tokens   norm of gradient   change of the entropy, nats")
changes = {}
for name, trained in shares.items():
    g = gradient(weights, rows, trained)
    moved = jax.tree.map(lambda w, d: w - step * d / whole, weights, g)
    changes[name] = mean_entropy(moved) - before
    print(f"{name:24s} {trained.sum():6d} {norm_of(g):18.4f} {changes[name]:+29.6f}")

fig, ax = plt.subplots(figsize=(6.5, 2.2), layout="constrained")
ax.barh(list(changes), list(changes.values()), color=[GREY, BLUE, RED, ORANGE, GREEN])
ax.axvline(0, color="0.3", linewidth=0.8)
ax.invert_yaxis()
ax.set(xlabel=f"change of the mean entropy by a step of {step}, nats")
plt.show()

# %% [markdown]
# How to read it. A token of which the policy is sure has a small gradient: $\partial \log p / \partial z$ shrinks as
# $1 - p$. So the MPTs are many and pull little, and at this size **most of what happens to the entropy comes from the
# unsure tokens**. The two rows in the middle pull in opposite directions: MPTs make the sure surer, the sure tokens of
# wrong answers make them less sure, and where right and wrong answers share a token they work against each other. Leave
# the MPTs out, and the second is alone. That is how masking raises entropy.
#
# In a model with 150 thousand tokens and answers of many thousands of tokens most of all tokens are MPTs, and small
# pulls of one sign add up. Here there are few. The numbers above are this policy's and no more.
#
# ## 4. The gate
#
# $\sigma$ decides who is left out. Per sample, as (10) is written, the share grows as the $H_i$ are passed one by one.
# With `loss.gate="batch"` all MPTs go at once, when the mean entropy of the batch is below $\sigma$.

# %%
sigmas = np.linspace(0, 1, 101)
share = {
    gate: [
        float(
            dynamic_mask(
                logp, entropy, rows.reward, rows.mask, rows.sample_ids, tau=tau, sigma=s, gate=gate
            ).sum() / N
        )
        for s in sigmas
    ]
    for gate in ("sample", "batch")
}  # fmt: skip
fig, ax = plt.subplots(figsize=(5.5, 2.4), layout="constrained")
for gate, color in (("sample", RED), ("batch", BLUE)):
    ax.plot(sigmas, share[gate], color=color, label=f'gate="{gate}"')
ax.plot([H[row, t[0]] for row, t in right], np.full(len(right), -0.02), "|", color="0.4", label="H_i of right answers")
MIDST = float(np.median([H[row, t[0]] for row, t in right]))
ax.axvline(MIDST, color=GREY, linestyle="--", label=f"their median, {MIDST:.2f}")
ax.set(xlabel="sigma, nats", ylabel="tokens left out")
ax.legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# ## 5. Several updates
#
# The gradient of section 3 and the run's optimizer, with $\sigma = 0$ (never), one in the midst of the $H_i$, and
# $\infty$ (always), each from the same weights and with this one batch again and again. So nothing differs but the
# mask, and there is no noise of sampling. It is not training: that draws fresh answers after each update.

# %%
import optax

UPDATES = 24
gate = jax.jit(dynamic_mask, static_argnames="tau")
update = jax.jit(parts.optimizer.update)
curves = {}
for sigma in (0.0, MIDST, float("inf")):
    params, optimizer_state, curves[sigma] = weights, parts.optimizer.init(weights), []
    for _ in range(UPDATES):
        logp, entropy = logp_and_entropy(params, rows)
        left_out = gate(logp, entropy, rows.reward, rows.mask, rows.sample_ids, tau=tau, sigma=sigma)
        curves[sigma].append({"entropy": np.asarray(entropy)[mask].mean(), "left out": int(left_out.sum()) / N})
        g = gradient(params, rows, rows.mask & ~left_out)
        updates, optimizer_state = update(g, optimizer_state, params)
        params = optax.apply_updates(params, updates)

fig, axes = plt.subplots(1, 2, figsize=(9, 2.6), layout="constrained")
for ax, name, title in zip(axes, ("entropy", "left out"), ("Mean entropy, nats", "Tokens left out"), strict=True):
    for (sigma, curve), color in zip(curves.items(), (GREY, ORANGE, RED), strict=True):
        ax.plot([at[name] for at in curve], color=color, label=f"sigma = {sigma:.2f}")
    ax.set(title=title, xlabel="updates")
axes[0].legend(frameon=False, fontsize=8)
plt.show()
for sigma, curve in curves.items():
    first, last = (curve[i]["entropy"] for i in (0, -1))
    print(f"sigma {sigma:4.2f}: entropy {first:.4f} -> {last:.4f} nats in {UPDATES - 1} updates")

# %% [markdown]
# When this was written the entropy went up and down in all three alike, and stayed a little higher the more was left
# out. That is the paper's direction and a small effect: the unsure tokens, which no $\sigma$ touches, decide. The
# paper's curves part over 300 steps, and its baseline falls. A few updates of a tiny policy neither confirm nor refute
# them; for that, train with `--config.loss.sigma=0`, `0.2` and `inf` for hundreds of steps and several seeds:
#
#     launch/train.py --config=configs/tiny.py --config.loss.sigma=inf --config.steps=300 --workdir=runs/sigma_inf
