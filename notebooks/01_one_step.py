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
# # One step of UloRL, array by array
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/)
#
# UloRL (Du et al., 2025, arXiv 2507.19766) trains a language model by reinforcement learning when its outputs are very
# long. This notebook runs **Algorithm 1 once, by hand**, on a model of 107 thousand parameters that adds digits, and
# prints every array beside its equation. The functions are those that `ulorl_jax/loop.py` calls, in the same order.
# Then two more steps show what happens to a sample that was drawn by several policies. The last part uses the loss
# functions alone, from plain JAX, without any model of this project.
#
# It needs no accelerator and takes about a minute on two CPU cores. Equation numbers are the paper's.
#
# **In Colab:** the badge asks for the address of the repository in which you read this, and opens the notebook from
# there. Get the project first, in a cell above this one: `!git clone` with that address, or upload its folder. The next
# cell finds it, in the working directory, above it, or right below it. It installs only what Colab lacks and leaves
# Colab's jax as it is. Elsewhere it installs nothing: `./setup.sh notebooks` has done so.

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
import textwrap
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

np.set_printoptions(precision=3, suppress=True, linewidth=110, threshold=60)
plt.rcParams.update({"figure.dpi": 100, "axes.spines.top": False, "axes.spines.right": False, "font.size": 9})
BLUE, ORANGE, GREEN, RED, GREY = "#3b6fb6", "#e08a1e", "#3a9b6a", "#c8443c", "#b4b4b4"
began = time.perf_counter()


def show(name, array, unit=""):
    """An array's name, shape, type and unit, and its values under them."""
    array = np.asarray(array)
    print(f"{name}  {list(array.shape)} {array.dtype}{', ' + unit if unit else ''}")
    print(textwrap.indent(np.array2string(array), "    "))


# %% [markdown]
# ## 0. Settings
#
# `configs/tiny.py` is the configuration of the project's small run. A config is a tree of plain values: change what you
# like here. What contradicts itself is refused before anything compiles.
#
# | | |
# |---|---|
# | $L$ | limit of an output, in tokens |
# | $M$ | segments per output; a step decodes at most $S = L / M$ tokens of a sample |
# | $G$ | samples per prompt, the group over which the advantage is taken |
# | $C$ | slots: samples decoded side by side |

# %%
from configs import tiny
from ulorl_jax.parts import make_parts
from ulorl_jax.settings import Settings

config = tiny.get_config()
config.seed = 0
config.rollout.slots = 64  # C: 8 prompts x G
config.train.rows_per_micro_batch = 24  # room for every step below, so that one shape is compiled
config.loss.sigma = 0.2  # nats; the paper's. configs/tiny.py has 0.12, for a longer warm start
config.optimizer.update(learning_rate=1e-3, warmup_steps=1)  # large, so that one update can be seen
config.warm_start.update(steps=300, samples=22, rows=8)  # short: right about two times in five
config.warm_start.optimizer.update(learning_rate=8e-3, decay_steps=300)

workdir = pathlib.Path(tempfile.mkdtemp(prefix="ulorl-"))
settings = Settings.from_dict(config.to_dict())
parts = make_parts(settings, workdir)
tokenizer = parts.tokenizer
L, M, S = settings.rollout.output_limit, settings.rollout.segments, settings.rollout.segment_length
G, C = settings.rollout.samples_per_prompt, settings.rollout.slots
print(f"L = {L} tokens, M = {M}, S = {S} tokens, G = {G}, C = {C}; jax {jax.__version__} on {jax.devices()}")


def text(ids):
    """Token ids as text; the end token, a newline, is shown as $, padding as a dot."""
    return "".join({10: "$", 0: "·"}.get(int(i), chr(int(i))) for i in ids)


# %% [markdown]
# ## The first weights
#
# The task: labelled digits in, label, digit and running sum modulo 10 out, then `#` and the last sum. Reinforcement
# learning needs a policy that is right sometimes and wrong sometimes. So the model first learns from worked answers by
# a teacher who is right about every other time, by cross entropy over the answers' tokens:
#
# $$\mathcal{L}_\text{supervised} = -\frac{1}{N}\sum_{i,t} \log \pi_\theta(o_{i,t})$$

# %%
from ulorl_jax.clock import StopRequest
from ulorl_jax.io.metrics import read_metrics
from ulorl_jax.warm_start import first_params, supervised_samples

example = supervised_samples(parts)[0][0]
print(f"a question: {text(example.prompt.tokens)}\nthe teacher: {text(example.output)}\n")
first_weights = first_params(parts, StopRequest())

rows = read_metrics(workdir / "warm_start_metrics" / "metrics.jsonl")
fig, ax = plt.subplots(figsize=(5.5, 2.4), layout="constrained")
ax.plot([row["step"] for row in rows], [row["loss/supervised"] for row in rows], color=BLUE, marker="o", markersize=3)
ax.set(xlabel="supervised update", ylabel="nats per token", title="Warm start: cross entropy", ylim=(0, None))
plt.show()

# %% [markdown]
# ## 1. Take prompts
#
# The pool of unfinished samples has $C$ slots. Every free slot wants a new sample; a prompt brings $G$ of them. The
# order of the prompts is fixed by the seed, so where a run stands in it is one integer, the cursor.

# %%
from ulorl_jax.rollout.pools import ExperiencePool, Ledger
from ulorl_jax.rollout.segments import SegmentRollout

rollout = SegmentRollout(parts.engine, settings.rollout.segment_settings)  # the slots and the unfinished pool
experience = ExperiencePool(G)
ledger = Ledger()
cursor = 0

prompts, cursor = parts.prompts.take(cursor, -(-rollout.pool.missing // G))
rollout.pool.add_prompts(prompts, G)
for prompt in prompts:
    print(f"prompt {prompt.id:2d}  reference {prompt.reference}  {text(prompt.tokens)}")
show("\ntokens of prompt 0", prompts[0].tokens, "ids: one per byte")

# %% [markdown]
# ## 2. Segment rollout
#
# Every sample is decoded by at most $S$ more tokens with the **current** weights. Each token is drawn at the rollout's
# temperature, and its log-probability is recorded as it is drawn. `policy_step` counts the updates that the sampling
# weights have seen: it is $f(i)$ of equation (8).

# %%
from ulorl_jax.mesh import reshard
from ulorl_jax.rollout.engine import param_shardings
from ulorl_jax.train.state import start_state

state = start_state(first_weights, settings.model, parts.optimizer, parts.training)
policy = reshard(state.params, param_shardings(parts.engine.spec))  # the decoder's copy of the weights

finished, values = rollout.run(policy, policy_step=int(state.step))
ledger.sampled += int(values["rollout/tokens"])


def show_sample(sample):
    """A sample's prompt, and its segments one under the other."""
    print(f"sample {sample.id}, finished: {sample.finished or 'no'}; prompt {text(sample.prompt.tokens)}")
    for number, segment in enumerate(sample.segments, start=1):
        print(f"  segment {number}, policy step {segment.policy_step}: {text(segment.tokens)}")
        print(textwrap.indent(f"logp, nats: {np.array2string(segment.logp, threshold=8)}", "    "))


watched = rollout.pool.occupied[0][1].id if rollout.pool.occupied else finished[0].id
for _, sample in rollout.pool.occupied[:1]:
    show_sample(sample)
show_sample(finished[0])

# %% [markdown]
# ## 3. Split: finished and unfinished
#
# A sample that drew the end token, or reached $L$, is finished. The others keep their slot and go on in the next step
# with the next weights. Nobody waits for the longest output.

# %%
unfinished = [sample for _, sample in rollout.pool.occupied]
print(f"{len(finished)} finished, {len(unfinished)} unfinished after one segment of at most {S} tokens")
show("lengths of finished samples", [sample.num_tokens for sample in finished], "tokens")
show("lengths of unfinished samples", [sample.num_tokens for sample in unfinished], "tokens")

# %% [markdown]
# ## 4. Verify
#
# $$R_i = \begin{cases}1 & \text{the answer equals the reference}\\
# 0 & \text{it does not, or the output was truncated at } L\end{cases}$$
#
# A third outcome, *error*, is for answers that nobody could judge. It is counted and never trained as a 0.

# %%
from ulorl_jax.rewards import to_attempts

verdicts = parts.judge(to_attempts(finished, tokenizer))
for sample, verdict in list(zip(finished, verdicts, strict=True))[:6]:
    print(f"R = {verdict.reward:.0f}  {text(sample.prompt.tokens)} -> {text(sample.output)}  ({verdict.reason})")
show("\nR", [verdict.reward for verdict in verdicts], "0 or 1")

# %% [markdown]
# ## 5. The experience pool
#
# The advantage needs all $G$ rewards of a prompt. So finished samples wait until the last of their group is finished.
# A complete group is released. It is *informative* if $0 < \sum_i R_i < G$; the others have no gradient and are
# dropped.

# %%
experience.add(finished, verdicts)
released = experience.release()
for kind, groups in (("informative", released.informative), ("uninformative", released.uninformative)):
    for group in groups:
        print(f"{kind:13s} group of prompt {group.prompt_id:2d}, rewards {group.rewards.astype(int)}")
print(f"{len(experience.entries)} finished samples wait for the rest of their group")
if not released.informative:
    raise RuntimeError("no group of this step is informative; choose another config.seed in section 0")

# %% [markdown]
# ## 6. Advantages
#
# $$A_i = \frac{R_i - \operatorname{mean}(R_1, \dots, R_G)}{\operatorname{std}(R_1, \dots, R_G) + \epsilon} \tag{4}$$
#
# The standard deviation is that of a sample (divided by $G - 1$). All tokens of a sample share its advantage.

# %%
from ulorl_jax.ops.advantages import group_advantages

samples = [sample for group in released.informative for sample in group.samples]
R = np.concatenate([group.rewards for group in released.informative])
group_id = np.repeat(
    [group.prompt_id for group in released.informative], [len(g.samples) for g in released.informative]
)
advantages_of = jax.jit(group_advantages)
A = np.asarray(advantages_of(R, group_id))

first = group_id == group_id[0]
show(f"R of the group of prompt {group_id[0]}", R[first])
show("A of the same samples (4)", A[first], "standard deviations")
print(f"by hand: mean {R[first].mean():.3f}, std {R[first].std(ddof=1):.3f}; the sum of A is {A[first].sum():.6f}")

# %% [markdown]
# ## 7. Pack
#
# Samples of ragged length become arrays $[B, T]$ of static shape. Each sample lies whole in one row, behind its prompt.
# `sample_ids` tells the samples of a row apart (attention does not cross them), `positions` restarts in each, and
# `mask` is True where a *sampled* token is trained. Index $t$ of every array speaks of token $t$.

# %%
from ulorl_jax.ops.packing import fill_ratio, pack

batch = pack(
    samples, A, R, lengths=settings.train.row_lengths, rows_per_micro_batch=settings.train.rows_per_micro_batch
)


def one_piece(batch):
    """The micro-batches [A, B, T] as one [A * B, T]: the loss does not depend on the split (theorem T3)."""
    return jax.tree.map(lambda x: jnp.asarray(x).reshape(-1, x.shape[-1]) if np.ndim(x) == 3 else x, batch)


flat = one_piece(batch)
num_rows, T = flat.tokens.shape
print(f"{len(samples)} samples in {int((flat.sample_ids[:, 0] > 0).sum())} of {num_rows} rows of {T} tokens")
print(f"filled: {fill_ratio(batch):.0%}; the rest is padding, for the shape is static")
print(f"num_tokens = {int(batch.num_tokens)} response tokens: the one denominator of the loss\n\nrow 0, every token:")


def lines(*named, width=105):
    """Strings of one length, one under the other, wrapped at the same place."""
    for start in range(0, len(named[0][1]), width):
        for name, string in named:
            print(f"{name:>11} {string[start : start + width]}")
        print()


lines(
    ("tokens", text(flat.tokens[0])),
    ("sample_ids", "".join(str(int(i) % 10) for i in flat.sample_ids[0])),
    ("positions", "".join(str(int(i) % 10) for i in flat.positions[0])),
    ("mask", "".join(".#"[int(m)] for m in flat.mask[0])),
)
print("(positions: last digit; mask: # is trained; sample_ids 0 is padding)")

# %% [markdown]
# ## 8a. The trainer's log-probabilities and entropies
#
# $$\log p_{i,t} = \log \pi_\theta(o_{i,t} \mid q, o_{i,<t}), \qquad
# H_{i,t} = -\sum_v \pi_\theta(v \mid \cdot)\,\log \pi_\theta(v \mid \cdot)$$
#
# Both are of the distribution that was sampled from: of logits divided by the temperature. With unchanged weights the
# trainer must find the very log-probs that the decoder recorded, although it computes them in one packed pass and not
# token by token over a cache. What is left is rounding (theorem T2).

# %%
from ulorl_jax.models.qwen3 import forward_packed, output_head
from ulorl_jax.ops.logprobs import token_logprobs


@jax.jit
def logp_and_entropy(params, rows):
    """[B, T] log-probs and entropies, in nats."""
    hidden = forward_packed(params, settings.model, rows.tokens, rows.positions, rows.sample_ids)
    return token_logprobs(hidden, output_head(params), rows.tokens, temperature=settings.rollout.temperature)


logp, entropy = logp_and_entropy(state.params, flat)
mask = np.asarray(flat.mask)
at = slice(int(mask[0].argmax()), int(mask[0].argmax()) + 12)  # the first response tokens of row 0
print(f"row 0, tokens {text(flat.tokens[0, at])}")
show("rollout_logp, recorded by the decoder", flat.rollout_logp[0, at], "nats")
show("logp, by the trainer", logp[0, at], "nats")
show("entropy", entropy[0, at], "nats")
gap = np.abs(np.asarray(logp - flat.rollout_logp))[mask]
print(f"the gap over all {mask.sum()} response tokens: mean {gap.mean():.1e}, largest {gap.max():.1e} nats (T2: 1e-4)")

# %% [markdown]
# ## 8b. Which policy is in the denominator
#
# $$r_{i,t} = \exp(\log p_{i,t} - \text{old\_logp}_{i,t})$$
#
# | | old_logp |
# |---|---|
# | TOIS | as recorded; the whole output was drawn by one policy ($M = 1$) |
# | SAIS (8) | as recorded, segment by segment: $\log \pi_{f(i)}$ |
# | POIS | the newest policy's, for every token: $\operatorname{stop\_gradient}(\log p)$ |
#
# In this first step all tokens were drawn by the newest policy, so all ratios are 1. Section 10 has older tokens.

# %%
from ulorl_jax.ops.importance import pseudo_on_policy, segment_aware

for name, old_logp_of in (("SAIS", segment_aware), ("POIS", pseudo_on_policy)):
    ratio = jnp.exp(logp - old_logp_of(logp, flat.rollout_logp))
    show(f"r, {name} (8)" if name == "SAIS" else f"r, {name}", ratio[0, at])

# %% [markdown]
# ## 8c. DMMPT: which tokens are left out
#
# A well-mastered positive token (MPT) is one of a right answer that the policy is already sure of:
#
# $$\text{MPT}_{i,t} = \big[\,p_{i,t} \ge \tau\,\big] \wedge \big[\,R_i = 1\,\big] \tag{9}$$
#
# It is left out of the loss while the sample's mean entropy is below the threshold $\sigma$:
#
# $$I^\text{mask}_{i,t} = \big[\,H_i < \sigma\,\big] \wedge \text{MPT}_{i,t}, \qquad
# H_i = \frac{1}{|o_i|}\sum_t H_{i,t} \tag{10}$$
#
# (The paper prints $H_i$ without the minus sign of the entropy; the test would then always hold.)

# %%
from ulorl_jax.ops.masked import sample_mean
from ulorl_jax.ops.mastered import dynamic_mask, mastered_positive_mask

tau, sigma = settings.loss.tau, settings.loss.sigma
mpt = mastered_positive_mask(logp, flat.reward, flat.mask, tau=tau)
H = sample_mean(entropy, flat.mask, flat.sample_ids)
left_out = dynamic_mask(logp, entropy, flat.reward, flat.mask, flat.sample_ids, tau=tau, sigma=sigma)

print(f"tau = {tau}, sigma = {sigma} nats\n\nrow sample  R      A   |o|  H_i    H_i < sigma  MPT  left out")
places = [(row, i) for row in range(len(mask)) for i in range(1, 1 + int(flat.sample_ids[row].max()))]
for row, i in places[:14]:
    of = mask[row] & (np.asarray(flat.sample_ids[row]) == i)
    t = of.argmax()
    print(
        f"{row:3d} {i:6d} {float(flat.reward[row, t]):2.0f} {float(flat.advantage[row, t]):6.2f} {of.sum():5d}  "
        f"{float(H[row, t]):.3f}  {'yes' if H[row, t] < sigma else 'no':11s} {int(mpt[row][of].sum()):4d} "
        f"{int(left_out[row][of].sum()):9d}"
    )
N = int(batch.num_tokens)
print(f"... of {len(places)} samples")
print(f"all: {int(mpt.sum()) / N:.1%} of the tokens are MPTs, {int(left_out.sum()) / N:.1%} are left out")


# %% [markdown]
# The right answers with the lowest and the highest mean entropy. The bars are the policy's probability of each token.

# %%
answers = [(row, np.flatnonzero(mask[row] & (np.asarray(flat.sample_ids[row]) == i))) for row, i in places]
right = [(row, t) for row, t in answers if flat.reward[row, t[0]] > 0]
right.sort(key=lambda answer: float(H[answer[0], answer[1][0]]))
chosen = [right[0], right[-1]]  # the lowest and the highest entropy: a released group has a right answer

fig, axes = plt.subplots(2, 1, figsize=(9.5, 4.2), layout="constrained")
for ax, (row, t) in zip(axes, chosen, strict=True):
    p, out = np.exp(np.asarray(logp[row, t])), np.asarray(left_out[row, t])
    ax.bar(range(len(t)), p, color=np.where(out, RED, np.where(p >= tau, ORANGE, BLUE)), width=0.8)
    ax.axhline(tau, color="0.4", linewidth=0.8, linestyle="--")
    ax.set_xticks(range(len(t)), list(text(flat.tokens[row, t])), family="monospace")
    ax.set(ylabel="p(token)", ylim=(0, 1.05))
    side, says = (
        ("<", "mastered tokens left out (red)") if H[row, t[0]] < sigma else (">=", "mastered tokens trained (orange)")
    )
    ax.set_title(f"H_i = {float(H[row, t[0]]):.3f} {side} sigma = {sigma}: {says}; dashed: tau", loc="left", fontsize=9)
plt.show()

# %% [markdown]
# ## 8d. The loss and its gradient
#
# $$\mathcal{J}(\theta) = \frac{1}{\sum_i |o_i|} \sum_i \sum_t (1 - I^\text{mask}_{i,t})\,
# \min\!\big(r_{i,t} A_i,\ \operatorname{clip}(r_{i,t}, 1 - \epsilon_\text{low}, 1 + \epsilon_\text{high}) A_i\big)
# \tag{7, 10}$$
#
# The loss is $-\mathcal{J}$. Tokens left out stay in the denominator. Under POIS $r = 1$, so the loss's *value* says
# little; its gradient is the policy gradient.

# %%
from ulorl_jax.ops.losses import ulorl_loss


def loss_of(params, rows, old_logp_of=pseudo_on_policy):
    """Equation (10) of packed rows, as a function of the parameters."""
    logp, entropy = logp_and_entropy(params, rows)
    return ulorl_loss(
        logp, old_logp_of(logp, rows.rollout_logp), entropy, rows.advantage, rows.reward, rows.mask, rows.sample_ids,
        num_tokens=rows.num_tokens, clip_low=settings.loss.clip_low, clip_high=settings.loss.clip_high,
        tau=tau, sigma=sigma,
    )  # fmt: skip


(loss, metrics), gradient = jax.jit(jax.value_and_grad(loss_of, has_aux=True))(state.params, flat)
by_hand = -np.sum(np.asarray(flat.advantage)[mask & ~np.asarray(left_out)]) / N
norm = float(jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient))))
# Metrics are sums over N, so those of micro-batches add up; ratios are of the tokens left in.
print(f"loss (10): {float(loss):.6f};  -sum of A over the tokens left in, over {N}: {by_hand:.6f}")
print(f"norm of the gradient: {norm:.6f}\n")
for name, value in metrics.items():
    print(f"{name:20s} {float(value):8.4f}")

# %% [markdown]
# ## 8e. The update
#
# The project's own train step does all of 8a to 8d for every micro-batch, adds the gradients, clips their norm, and
# makes one AdamW update:
#
# $$\theta \leftarrow \theta - \eta\, \text{AdamW}(\nabla_\theta \mathcal{L})$$
#
# Its loss and gradient norm are the ones above.

# %%
from ulorl_jax.train.step import batch_shardings

shardings = batch_shardings(parts.training)
state, metrics = parts.train_step(state, jax.device_put(batch, shardings), None)  # the old state is given away
ledger.trained += N
ledger.uninformative += sum(sample.num_tokens for group in released.uninformative for sample in group.samples)

for name, value in metrics.items():
    print(f"{name:20s} {float(value):9.2g}" + (f"   (above: {norm:.2g})" if name == "train/grad_norm" else ""))
print(f"\nupdates: {int(state.step)}")

# %% [markdown]
# What the update did to the tokens it saw: those of samples with $A > 0$ should have become more likely, those of
# samples with $A < 0$ less.

# %%
change = np.asarray(logp_and_entropy(state.params, flat)[0] - logp)
for sign, which in (("> 0", mask & (np.asarray(flat.advantage) > 0)), ("< 0", mask & (np.asarray(flat.advantage) < 0))):
    print(f"A {sign}: mean change of logp {change[which].mean():+.4f} nats over {which.sum()} tokens")
product = (change * np.asarray(flat.advantage))[mask].mean()
print(f"mean of A times the change: {product:+.4f}")

# %% [markdown]
# ## 9. The new weights go to the decoder
#
# Parameters are an argument of every decode call, so the weight sync is to pass the new ones, laid out for decoding.
# That is the whole step. Every sampled token is now in exactly one place (theorem T8): trained, dropped with its
# uninformative group, or in one of the two pools.

# %%
policy = reshard(state.params, param_shardings(parts.engine.spec))
in_pools = rollout.pool.num_tokens + experience.num_tokens
print(ledger, f"\nin the pools: {in_pools}; sampled = trained + uninformative + in the pools:", end=" ")
print(f"{ledger.sampled} = {ledger.trained} + {ledger.uninformative} + {in_pools}")
ledger.check(in_pools)  # raises where the books do not balance

# %% [markdown]
# ## 10. The next steps: samples of several policies
#
# The same lines once more, in one function, called twice. The sample that was unfinished above goes on, with newer
# weights: its segments carry different policy steps. For the samples trained in these steps SAIS and POIS differ.


# %%
def next_step():
    """Algorithm 1 once; returns the samples that finished, and the batch with its log-probs before the update."""
    global state, policy, cursor
    policy_step = int(state.step)
    prompts, cursor = parts.prompts.take(cursor, -(-rollout.pool.missing // G))  # 1
    rollout.pool.add_prompts(prompts, G)
    finished, values = rollout.run(policy, policy_step)  # 2, 3
    ledger.sampled += int(values["rollout/tokens"])
    experience.add(finished, parts.judge(to_attempts(finished, tokenizer)))  # 4
    released = experience.release()  # 5
    ledger.uninformative += sum(sample.num_tokens for group in released.uninformative for sample in group.samples)
    if not released.informative:
        return finished, None
    samples = [sample for group in released.informative for sample in group.samples]
    rewards = np.concatenate([group.rewards for group in released.informative])
    ids = np.repeat(np.arange(len(released.informative)), [len(group.samples) for group in released.informative])
    advantages = np.asarray(advantages_of(rewards, ids))  # 6
    batch = pack(
        samples, advantages, rewards, lengths=settings.train.row_lengths,
        rows_per_micro_batch=settings.train.rows_per_micro_batch,
    )  # fmt: skip # 7
    rows = one_piece(batch)
    logp = logp_and_entropy(state.params, rows)[0]
    state, metrics = parts.train_step(state, jax.device_put(batch, shardings), None)  # 8
    ledger.trained += int(batch.num_tokens)
    policy = reshard(state.params, param_shardings(parts.engine.spec))  # 9
    ledger.check(rollout.pool.num_tokens + experience.num_tokens)
    age = "  ".join(f"{n} of age {a}" for a, n in enumerate(np.bincount(policy_step - rows.policy_step[rows.mask])))
    print(
        f"policy step {policy_step}: {len(finished)} finished, {len(samples)} trained, tokens {age}; "
        f"entropy {metrics['entropy/mean']:.3f}, left out {metrics['dmmpt/masked_frac']:.1%}"
    )
    return finished, (rows, np.asarray(logp), policy_step)


trained = []
for _ in range(2):
    finished, seen = next_step()
    trained += [seen] if seen else []
    for sample in finished:
        if sample.id == watched:
            show_sample(sample)
for _, sample in rollout.pool.occupied:
    if sample.id == watched:
        show_sample(sample)

# %% [markdown]
# The ratios of all tokens of these two updates, by the age of the policy that drew them. POIS puts the newest policy
# in the denominator: $r = 1$ for every token, nothing is clipped. SAIS keeps the policy that drew the token: the older
# it is, the further $r$ strays from 1, and outside the clip range the gradient is lost.


# %%
def ratios(old_logp_of):
    """r of every trained token of both updates."""
    return np.concatenate([np.exp(logp - old_logp_of(logp, rows.rollout_logp))[rows.mask] for rows, logp, _ in trained])


sais, pois = ratios(segment_aware), ratios(pseudo_on_policy)
age = np.concatenate([step - rows.policy_step[rows.mask] for rows, _, step in trained])
low, high = 1 - settings.loss.clip_low, 1 + settings.loss.clip_high

print("age  tokens   SAIS: mean |r - 1|  outside the clip range   POIS: mean |r - 1|")
for a in np.unique(age):
    r, one = sais[age == a], pois[age == a]
    outside = np.mean((r < low) | (r > high))
    print(f"{a:3d} {len(r):7d} {np.abs(r - 1).mean():20.5f} {outside:23.1%} {np.abs(one - 1).mean():20.5f}")

fig, (left, right) = plt.subplots(1, 2, figsize=(9.5, 2.8), layout="constrained", width_ratios=(3, 2))
rows, logp, step = max(trained, key=lambda seen: int((seen[2] - seen[0].policy_step)[seen[0].mask].sum()))
row, token = np.unravel_index(np.argmax(np.where(rows.mask, step - rows.policy_step, -1)), rows.mask.shape)
t = np.flatnonzero(rows.mask[row] & (rows.sample_ids[row] == rows.sample_ids[row, token]))
drawn_by = np.asarray(rows.policy_step[row, t])
left.axhspan(low, high, color=GREY, alpha=0.25, linewidth=0, label="clip range")
left.plot(
    np.exp(logp[row, t] - np.asarray(rows.rollout_logp[row, t])),
    color=ORANGE,
    marker="o",
    markersize=2.5,
    linewidth=0.8,
    label="SAIS",
)
left.axhline(1, color=BLUE, linewidth=1.5, label="POIS")
for border in np.flatnonzero(np.diff(drawn_by)):
    left.axvline(border + 0.5, color="0.4", linestyle="--", linewidth=0.8)
left.set(
    xlabel="token of the output",
    ylabel="ratio r",
    title=f"One sample, drawn by the policies {np.unique(drawn_by).tolist()}",
)
left.legend(frameon=False, fontsize=8)
bins = np.linspace(-0.6, 0.6, 61)
for a, color in zip(np.unique(age), (BLUE, ORANGE, RED, GREEN), strict=False):
    right.hist(
        np.clip(np.log(sais[age == a]), -0.6, 0.6), bins, density=True, histtype="step", color=color, label=f"age {a}"
    )
right.axvspan(np.log(low), np.log(high), color=GREY, alpha=0.25, linewidth=0)
right.set(
    xlabel="log r under SAIS, nats (cut off at 0.6)",
    ylabel="density",
    yscale="log",
    title="All tokens by the age of their policy",
)
right.legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# ## 11. The loss functions alone, from plain JAX
#
# `ulorl_jax.ops` is pure functions of arrays. It needs jax and nothing else, and knows no config and no model. Here is
# a policy in one line: a table of logits, with a row per previous token. There are four outputs of one prompt, made by
# hand; token 0 is the prompt.

# %%
from ulorl_jax.ops import advantages, importance, logprobs, losses, mastered

tokens = jnp.array([[0, 1, 2, 3, 1, 4], [0, 1, 2, 3, 2, 4], [0, 1, 3, 3, 1, 4], [0, 1, 3, 1, 3, 4]])
reward = jnp.array([1.0, 1.0, 0.0, 0.0])
table = 0.5 * jax.random.normal(jax.random.key(0), (5, 5)) + 4.0 * jnp.eye(5)[jnp.array([1, 2, 0, 1, 4])]
table = table * jnp.array([1.0, 1.0, 0.1, 0.1, 1.0])[:, None]  # sure after tokens 0 and 1, unsure after 2 and 3


@jax.jit
def policy_of(table):
    """logp and entropy, [4, 6] each, in nats: the hidden state is the token's row, the head is the identity."""
    return logprobs.token_logprobs(table[tokens], jnp.eye(5), tokens)


toy_mask = jnp.arange(6) > 0 * tokens
toy_ids = jnp.ones_like(tokens)
per_token = jnp.ones(tokens.shape)
toy_R = reward[:, None] * per_token
toy_A = advantages.group_advantages(reward, jnp.zeros(4, int))[:, None] * per_token
logp, entropy = policy_of(table)
show("p(token)", jnp.exp(logp))
show("entropy", entropy, "nats")
show("A (4)", toy_A[:, 0])

# %% [markdown]
# **POIS is REINFORCE.** With $r = 1$ everywhere, $\nabla r = \nabla \log p$, so the gradient of (10) without masks is
# that of $-\frac{1}{N}\sum_{i,t} A_i \log p_{i,t}$ (theorem T5). SAIS with older recorded log-probs is not.


# %%
def toy_loss(table, *, old_logp_of=importance.pseudo_on_policy, rollout_logp=None, sigma=0.0, tau=0.9):
    """Equation (10) for the toy policy."""
    logp, entropy = policy_of(table)
    old_logp = old_logp_of(logp, rollout_logp)
    return losses.ulorl_loss(
        logp, old_logp, entropy, toy_A, toy_R, toy_mask, toy_ids,
        num_tokens=toy_mask.sum(), clip_low=0.2, clip_high=0.28, tau=tau, sigma=sigma,
    )  # fmt: skip


def reinforce(table):
    return -jnp.sum(toy_A * policy_of(table)[0] * toy_mask) / toy_mask.sum()


toy_gradient = jax.jit(jax.grad(toy_loss, has_aux=True), static_argnames="old_logp_of")
of_pois = toy_gradient(table)[0]
of_reinforce = jax.jit(jax.grad(reinforce))(table)
older = policy_of(table + 0.3 * jax.random.normal(jax.random.key(1), table.shape))[
    0
]  # as an older policy would have drawn
of_sais, metrics = toy_gradient(table, old_logp_of=importance.segment_aware, rollout_logp=older)
show("gradient, POIS", of_pois, "per logit of the table")
for name, gradient in (("POIS", of_pois), ("SAIS", of_sais)):
    print(f"{name}: largest difference to REINFORCE's gradient {jnp.abs(gradient - of_reinforce).max():.1e}")
print(f"SAIS: the clip removed the gradient of {metrics['ratio/clip_frac']:.0%} of the tokens")

# %% [markdown]
# **$\sigma$ is the switch of DMMPT.** $\sigma = 0$ never masks, $\sigma = \infty$ masks every MPT, and between them the
# samples with $H_i < \sigma$ lose theirs. ($\tau = 0.9$ in this part: with five tokens nobody is as sure as 0.99.)
#
# Look at the row of token 0. All four outputs go on with token 1. Right and wrong ones pull at it equally, and the
# gradient of that row is 0. When the right ones are left out, the wrong ones are alone: the update takes probability
# away from a token that the policy was sure of, and its entropy rises. So masking is a means against collapse, and one
# to be switched off in time.

# %%
show("H_i", jnp.sum(entropy * toy_mask, axis=1) / toy_mask.sum(axis=1), "nats")
show("MPT (9)", mastered.mastered_positive_mask(logp, toy_R, toy_mask, tau=0.9))
for sigma in (0.0, 0.5, 0.8, 1.2, jnp.inf):
    gradient, metrics = toy_gradient(table, sigma=sigma)
    print(f"sigma {sigma:4}: {metrics['dmmpt/masked_frac']:4.0%} left out; row 0: {1000 * gradient[0]} thousandths")

# %% [markdown]
# **Try an idea.** Change the marked line, or another. Shown: the gate per *token* instead of per sample.


# %%
def my_loss(table):
    logp, entropy = policy_of(table)
    mpt = mastered.mastered_positive_mask(logp, toy_R, toy_mask, tau=0.9)
    leave_out = mpt & (entropy < 0.3)  # <- change this line
    return losses.clipped_surrogate_loss(
        logp, importance.pseudo_on_policy(logp, logp), toy_A, toy_mask & ~leave_out,
        num_tokens=toy_mask.sum(), clip_low=0.2, clip_high=0.28,
    )  # fmt: skip


gradient, metrics = jax.jit(jax.grad(my_loss, has_aux=True))(table)
show("gradient, my loss", gradient, "per logit of the table")
print(f"loss {metrics['loss/policy']:.4f}, norm of the gradient {jnp.linalg.norm(gradient):.4f}")
print(f"\nthe notebook took {time.perf_counter() - began:.0f} s from its imports on")
