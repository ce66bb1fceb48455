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
# # TOIS, SAIS, POIS: which policy stands in the denominator
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/)
#
# When outputs are drawn in segments, a sample's first tokens are older than its last: other weights drew them. UloRL
# (arXiv 2507.19766, 3.1.2) names three ways to treat them, and its Figure 2 says that one of them, POIS, trains as if
# nothing were old, while another, SAIS, collapses. This notebook takes **the same samples** and looks at what the three
# make of them: ratios, clipping, gradients, and how all that changes while the samples grow stale.
#
# $$r_{i,t} = \exp(\log p_{i,t} - \text{old\_logp}_{i,t}), \qquad
# \mathcal{J} = \frac{1}{N}\sum_{i,t} \min\!\big(r_{i,t} A_i,\ \operatorname{clip}(r_{i,t}, 1 - \epsilon_\text{low},
# 1 + \epsilon_\text{high}) A_i\big) \tag{7}$$
#
# | | old_logp | |
# |---|---|---|
# | TOIS | as recorded; the whole output was drawn by the newest policy ($M = 1$) | the yardstick |
# | SAIS (8) | as recorded, whatever policy drew the token | honest ratios; far ones are clipped |
# | POIS | $\operatorname{stop\_gradient}(\log p)$: as if the newest policy had drawn it | $r = 1$; nothing is clipped |
#
# What it does not show is Figure 2 itself, which takes hundreds of steps and several seeds. It needs no accelerator and
# takes about half a minute on two quiet CPU cores.
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
# ## 1. What a token's gradient is worth
#
# Every token pulls at its own log-prob with the weight $-\partial \mathcal{L} / \partial \log p$. Where the ratio is
# inside the clip range it is $r A / N$. Outside, it depends on the side: a token of a good answer ($A > 0$) that has
# become much likelier already is let go, and so is one of a bad answer that has become much rarer. The other two sides
# are not clipped, and there the ratio multiplies the pull.

# %%
from ulorl_jax.ops.importance import on_policy, pseudo_on_policy, segment_aware
from ulorl_jax.ops.losses import clipped_surrogate_loss

LOW, HIGH = 0.2, 0.28  # the clip range, 1 - 0.2 .. 1 + 0.28: the paper's framework's


@jax.jit
def pull(logp, old_logp, advantage):
    """-d loss / d logp of tokens, times their number."""

    def loss(logp):
        mask = jnp.ones_like(logp, bool)
        return clipped_surrogate_loss(
            logp, old_logp, advantage, mask, num_tokens=1, clip_low=LOW, clip_high=HIGH
        )[0]  # fmt: skip

    return -jax.grad(loss)(logp)


log_ratio = jnp.linspace(-1, 1, 401)[None]
fig, axes = plt.subplots(1, 2, figsize=(9, 2.5), layout="constrained", sharex=True)
for ax, sign in zip(axes, (1.0, -1.0), strict=True):
    A = jnp.full_like(log_ratio, sign)
    ax.axvspan(np.log(1 - LOW), np.log(1 + HIGH), color=GREY, alpha=0.25, linewidth=0, label="clip range")
    ax.plot(log_ratio[0], pull(log_ratio, 0 * log_ratio, A)[0], color=ORANGE, label="SAIS")
    ax.plot(log_ratio[0], pull(log_ratio, log_ratio, A)[0], color=BLUE, label="POIS")
    ax.set(xlabel="log(p now / p when drawn), nats", ylabel="pull at log p", title=f"A = {sign:+.0f}")
axes[0].legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# ## 2. Samples of a small policy
#
# The policy of `configs/tiny_stairs.py` climbs to a stair: `kq7=` wants an answer that ends in `#7`, by strides of one
# or two, at times one back. Its warm start learns from a teacher that oversteps one time in three. Its first weights,
# $\theta_0$, now draw 8 answers to each of 12 questions, whole ($M = 1$).

# %%
import contextlib
import io

from configs import tiny_stairs
from ulorl_jax.clock import StopRequest
from ulorl_jax.parts import make_engine, make_parts
from ulorl_jax.settings import Settings
from ulorl_jax.train.state import start_state
from ulorl_jax.warm_start import first_params

config = tiny_stairs.get_config()
config.rollout.segments = 1
config.loss.update(importance="pois", sigma=0.0)  # no DMMPT here
config.optimizer.warmup_steps = 0
settings = Settings.from_dict(config.to_dict())
parts = make_parts(settings, pathlib.Path(tempfile.mkdtemp(prefix="ulorl-")))
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):  # progress
    first_weights = first_params(parts, StopRequest())
state = start_state(first_weights, settings.model, parts.optimizer, parts.training)

# %%
from ulorl_jax.batches import pack_groups
from ulorl_jax.mesh import reshard
from ulorl_jax.models.qwen3 import forward_packed, output_head
from ulorl_jax.ops.logprobs import token_logprobs
from ulorl_jax.rewards import to_attempts
from ulorl_jax.rollout.engine import param_shardings
from ulorl_jax.rollout.pools import ExperiencePool
from ulorl_jax.rollout.segments import SegmentRollout

G = settings.rollout.samples_per_prompt
QUESTIONS = settings.rollout.slots // G
cursor = 0


def draw(params, policy_step, prompts, seed=0):
    """G whole answers to each prompt, judged and packed: a batch as the trainer gets it."""
    engine = make_engine(settings, parts.tokenizer, parts.decoding, settings.rollout.sampling, seed)
    rollout = SegmentRollout(engine, settings.rollout.segment_settings)
    rollout.pool.add_prompts(prompts, G)
    finished, _ = rollout.run(reshard(params, param_shardings(parts.engine.spec)), policy_step)
    experience = ExperiencePool(G)
    experience.add(finished, parts.judge(to_attempts(finished, parts.tokenizer)))
    released = experience.release()
    return pack_groups(released.informative, settings), finished


def flat(batch):
    """The one micro-batch of a small batch: arrays [B, T]."""
    assert batch.num_micro_batches == 1
    return jax.tree.map(lambda x: jnp.asarray(x)[0] if np.ndim(x) == 3 else x, batch)


prompts, cursor = parts.prompts.take(cursor, QUESTIONS)
batch, finished = draw(state.params, 0, prompts)
rows = flat(batch)
mask = np.asarray(rows.mask)
for sample in finished[:4]:
    print(parts.tokenizer.decode(sample.prompt.tokens), parts.tokenizer.decode_output(sample.output))
print(f"{len(finished)} answers; those of {int(batch.num_tokens)} tokens have an advantage and are trained")

# %% [markdown]
# ## 3. Fresh samples: the three are one
#
# With the weights that drew them, every ratio is 1 and the three gradients are the same: that of REINFORCE.


# %%
@jax.jit
def logp_of(params, rows):
    """[B, T], nats: of each token under these weights."""
    hidden = forward_packed(params, settings.model, rows.tokens, rows.positions, rows.sample_ids)
    return token_logprobs(hidden, output_head(params), rows.tokens, temperature=settings.rollout.temperature)[0]


@jax.jit
def gradient(params, rows, old_logp):
    """The gradient of -J (7) as one long vector, and the loss's metrics."""

    def loss(params):
        return clipped_surrogate_loss(
            logp_of(params, rows), old_logp, rows.advantage, rows.mask,
            num_tokens=rows.num_tokens, clip_low=LOW, clip_high=HIGH,
        )  # fmt: skip

    grads, metrics = jax.grad(loss, has_aux=True)(params)
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(grads)]), metrics


def cosine(a, b):
    """1: the same direction; 0: nothing in common."""
    return float(a @ b / (jnp.linalg.norm(a) * jnp.linalg.norm(b)))


WAYS = {"TOIS": on_policy, "SAIS": segment_aware, "POIS": pseudo_on_policy}
logp = logp_of(state.params, rows)
fresh = {name: gradient(state.params, rows, old(logp, rows.rollout_logp)) for name, old in WAYS.items()}
for name, (vector, metrics) in fresh.items():
    print(
        f"{name}: norm {jnp.linalg.norm(vector):.4f}, cosine to TOIS {cosine(vector, fresh['TOIS'][0]):.6f}, "
        f"mean ratio {metrics['ratio/mean']:.6f}, clipped {metrics['ratio/clip_frac']:.1%}"
    )

# %% [markdown]
# ## 4. The samples grow stale
#
# Now the policy trains on, each step with fresh samples of other questions and the project's own `train_step`. The
# first samples stay as they are. After $k$ updates they are what the first segment of a long output is to the last one:
# drawn by $\theta_0$, trained under $\theta_k$.

# %%
from ulorl_jax.train.step import batch_shardings

UPDATES = 8
history, stale_logp = [], {}
for k in range(UPDATES + 1):
    logp = logp_of(state.params, rows)
    stale_logp[k] = np.asarray(logp)
    sais, seen = gradient(state.params, rows, segment_aware(logp, rows.rollout_logp))
    pois, _ = gradient(state.params, rows, pseudo_on_policy(logp, rows.rollout_logp))
    shift = np.abs(np.asarray(logp - rows.rollout_logp))[mask]
    history.append(
        {
            "updates since drawn": k,
            "|log r|, 90%": np.percentile(shift, 90),
            "outside": float(seen["ratio/outside_frac"]),
            "clipped": float(seen["ratio/clip_frac"]),
            "norm SAIS": float(jnp.linalg.norm(sais)),
            "norm POIS": float(jnp.linalg.norm(pois)),
            "cosine": cosine(sais, pois),
        }
    )
    if k < UPDATES:
        prompts, cursor = parts.prompts.take(cursor, QUESTIONS)
        newest, _ = draw(state.params, k, prompts)
        state, _ = parts.train_step(state, jax.device_put(newest, batch_shardings(parts.training)), None)

print("  ".join(history[0]))
for row in history:
    print("  ".join(f"{value:{len(name)}.3g}" for name, value in row.items()))

# %% [markdown]
# *outside*: share of tokens whose ratio left the clip range. *clipped*: share of tokens whose gradient is gone. Fewer
# than outside, for on two of the four sides nothing is clipped (section 1).

# %%
fig, (left, middle, right) = plt.subplots(1, 3, figsize=(10.5, 2.7), layout="constrained")
bins = np.linspace(-1.5, 1.5, 61)
for k, color in ((1, GREEN), (UPDATES // 2, ORANGE), (UPDATES, RED)):
    log_r = np.clip((stale_logp[k] - np.asarray(rows.rollout_logp))[mask], -1.5, 1.5)
    left.hist(log_r, bins, histtype="step", color=color, label=f"{k} updates old")
left.axvspan(np.log(1 - LOW), np.log(1 + HIGH), color=GREY, alpha=0.25, linewidth=0)
left.set(xlabel="log r under SAIS, nats (cut off at 1.5)", ylabel="tokens", yscale="log", title="Ratios")
left.legend(frameon=False, fontsize=8)
age = [row["updates since drawn"] for row in history]
for name, color in (("outside", ORANGE), ("clipped", RED)):
    middle.plot(age, [row[name] for row in history], color=color, marker="o", markersize=3, label=name)
middle.axhline(0, color=BLUE, linewidth=1.5, label="both, POIS")
middle.set(xlabel="updates since drawn", title="Share of tokens, SAIS")
middle.legend(frameon=False, fontsize=8)
right.plot(age, [row["cosine"] for row in history], color=GREY, marker="o", markersize=3, label="cosine of the two")
for name, color in (("norm SAIS", ORANGE), ("norm POIS", BLUE)):
    right.plot(age, [row[name] for row in history], color=color, marker="o", markersize=3, label=name)
right.set(xlabel="updates since drawn", title="Gradients of the same samples", ylim=(0, None))
right.legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# ## 5. Which one is nearer to the truth?
#
# The yardstick is TOIS: fresh answers of $\theta_8$ to the same questions. Its gradient is a sample too, so more draws,
# each with a seed of its own, show how much honest estimates agree. Nothing can be expected to agree better than that.

# %%
asked = {sample.prompt.id: sample.prompt for sample in finished}
draws = [flat(draw(state.params, UPDATES, list(asked.values()), seed)[0]) for seed in range(1, 7)]
truth = [gradient(state.params, fresh, fresh.rollout_logp)[0] for fresh in draws]
among = [cosine(a, b) for i, a in enumerate(truth) for b in truth[:i]]
print(f"two fresh draws:   cosine {np.mean(among):+.2f} in the mean, from {min(among):+.2f} to {max(among):+.2f}")
for name, stale in (("SAIS", sais), ("POIS", pois)):
    to = [cosine(stale, t) for t in truth]
    print(f"{name} and a fresh: cosine {np.mean(to):+.2f} in the mean, from {min(to):+.2f} to {max(to):+.2f}")

# %% [markdown]
# With a dozen questions and one set of stale samples this is no ranking: read the first line before the others. Neither
# of the two is the true gradient: SAIS weighs a token by its own ratio, not by that of all tokens before it, and
# POIS does not weigh it at all.
#
# What can be seen here without noise is the mechanism. SAIS lets go of tokens, the more the staler the samples: of good
# answers those that became likely, of bad ones those that became rare. What remains are the pulls in the opposite
# directions. POIS keeps all. The paper's explanation of Figure 2 begins here; the collapse itself shows, if at all,
# over hundreds of steps.
#
# **Try.** `config.optimizer.learning_rate`: at `1e-4` less leaves the clip range, and SAIS and POIS are nearly the same
# method. `LOW, HIGH = 0.02, 0.02`: the range is left at once.
