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
# # Segments: what M and the number of slots are worth
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/)
#
# Outputs of one batch differ in length, and ordinary reinforcement learning waits for the longest. UloRL (arXiv
# 2507.19766, 3.1, Algorithm 1) cuts an output of at most $L$ tokens into $M$ segments of $S = L / M$. A step decodes
# every sample by at most $S$ more tokens, trains on what is finished, and goes on with the rest in the next step:
#
#     for step in 1, 2, ...
#         free slots get new samples                          (C slots, samples decoded side by side)
#         decode every sample by at most S more tokens with the newest weights
#         finished samples leave their slots; the others keep them
#         update the weights on the groups of G samples that are complete
#
# This notebook counts what that does with real outputs, checks that the planner's simulation counts the same, and asks
# the planner about the paper's Table 1 and about other settings. It needs no accelerator and takes about half a minute
# on two quiet CPU cores.
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
import dataclasses

import jax
import matplotlib.pyplot as plt
import numpy as np

from ulorl_jax.programs import keep_programs

keep_programs()  # what jax compiles is kept on disk: the second time this notebook is quicker
plt.rcParams.update({"figure.dpi": 100, "axes.spines.top": False, "axes.spines.right": False, "font.size": 9})
BLUE, ORANGE, GREEN, RED, GREY = "#3b6fb6", "#e08a1e", "#3a9b6a", "#c8443c", "#b4b4b4"

# %% [markdown]
# ## 1. Real outputs
#
# A network with random weights, which stay as they are: what is decoded does not matter here, only how long it gets.
# Six of its 128 tokens are end tokens, so every token may be the last, with about the same probability, and lengths
# have a long tail. $L = 96$, $C = 32$ slots. The decoder is that of every run of this project.

# %%
from configs import tiny_stairs
from ulorl_jax.models.qwen3_params import init_params
from ulorl_jax.parts import make_parts
from ulorl_jax.rollout.segments import SegmentRollout
from ulorl_jax.settings import Settings

config = tiny_stairs.get_config()
config.tokenizer.eos_ids = tuple(range(1, 7))
config.rollout.update(output_limit=96, slots=32, prefill_rows=32, prefill_chunk=100)
config.train.row_lengths = (100,)
settings = Settings.from_dict(config.to_dict())
parts = make_parts(settings, pathlib.Path(tempfile.mkdtemp(prefix="ulorl-")))
params = init_params(jax.random.key(0), settings.model)
L, C, G = settings.rollout.output_limit, settings.rollout.slots, settings.rollout.samples_per_prompt


def decode(M, steps):
    """Algorithm 1 without the update: samples by id, and counts and seconds of every step."""
    own = dataclasses.replace(settings.rollout, segments=M)
    rollout, cursor, samples, rows = SegmentRollout(parts.engine, own.segment_settings), 0, {}, []
    for step in range(steps):
        prompts, cursor = parts.prompts.take(cursor, -(-rollout.pool.missing // G))
        rollout.pool.add_prompts(prompts, G)
        finished, values = rollout.run(params, policy_step=step)
        samples |= {sample.id: sample for sample in [*finished, *(s for _, s in rollout.pool.occupied)]}
        names = {"token_steps": "rollout/decode_steps", "tokens": "rollout/tokens"}
        names |= {"decode_s": "time/decode_s", "prefill_s": "time/prefill_s", "passes": "rollout/prefill_passes"}
        rows.append({name: values[key] for name, key in names.items()} | {"finished": len(finished)})
    return samples, {name: np.array([row[name] for row in rows]) for name in rows[0]}


STEPS = {1: 16, 2: 14, 4: 16}  # of M = 1 enough to know all samples that the others will meet
decoded = {M: decode(M, steps) for M, steps in STEPS.items()}
whole = decoded[1][0]
lengths = np.array([whole[i].num_tokens for i in sorted(whole)])
print(
    f"{len(lengths)} outputs: mean {lengths.mean():.1f} tokens, 80% within {np.percentile(lengths, 80):.0f}, ", end=""
)
print(f"longest {lengths.max()} of L = {L}")

# %% [markdown]
# A row is a sample, a dashed line the end of a step: the moment of the update. Tokens of different steps have different
# colours, for different weights will have drawn them in a real run. With $M = 1$ all wait for the longest; with $M = 4$
# a slot waits for the end of a short segment.

# %%
fig, axes = plt.subplots(2, 1, figsize=(9.5, 5.2), layout="constrained", sharex=True)
for ax, M in zip(axes, (1, 4), strict=True):
    samples, counts = decoded[M]
    starts = np.concatenate([[0], np.cumsum(counts["token_steps"])])
    shown = [samples[i] for i in sorted(samples)][: 2 * C]
    for row, sample in enumerate(shown):
        for segment in sample.segments:
            color = (BLUE, ORANGE, GREEN, RED)[segment.policy_step % 4]
            ax.barh(row, len(segment.tokens), left=starts[segment.policy_step], height=0.9, color=color)
    ax.vlines(starts[starts <= 2 * L], -1, len(shown), color="0.4", linestyle="--", linewidth=0.7)
    ax.set(ylabel="sample", title=f"M = {M}: at most {L // M} tokens per step", xlim=(0, 2 * L), ylim=(len(shown), -1))
axes[1].set_xlabel("token steps (one token of every active slot)")
plt.show()

# %% [markdown]
# ## 2. The simulation counts the same
#
# `ulorl_jax.planning.simulate` runs Algorithm 1 without a network, from lengths alone. Draws are a function of (seed,
# sample, position), so with frozen weights a sample is the same whatever $M$ is (theorem T1). The lengths that $M = 1$
# found must then tell what $M = 2$ and $4$ do: step for step, exactly.

# %%
from ulorl_jax.costs import Cost
from ulorl_jax.planning import Schedule, Workload, describe, simulate

prompt_tokens = len(next(iter(whole.values())).prompt.tokens)
shape = settings.rollout.prefill_chunk, settings.rollout.prefill_rows
schedules, simulated = {M: Schedule(M, C, None, *shape) for M in STEPS}, {}
for M, steps in STEPS.items():
    left = iter(lengths)

    def draw(count, left=left):
        return np.array([next(left) for _ in range(count)], np.int64), np.full(count, prompt_tokens)

    simulated[M] = simulate(schedules[M], draw, L, G, steps)
    samples, counts = decoded[M]
    of_both = sorted(i for i in samples if samples[i].finished)
    assert all((samples[i].output == whole[i].output).all() for i in of_both), "T1"
    for name in ("token_steps", "tokens", "finished"):
        assert (getattr(simulated[M], name) == counts[name]).all(), name
    total = {name: values.sum() for name, values in counts.items()}
    finished = total["finished"]
    print(
        f"M = {M}, per step {total['token_steps'] / steps:4.1f} token steps, {finished / steps:4.1f} samples finished; "
        f"per finished sample {total['token_steps'] / finished:.2f} token steps; "
        f"idle {1 - total['tokens'] / (total['token_steps'] * C):.0%}"
    )

# %% [markdown]
# Token steps per finished sample are the gain. Its denominator is fair, and
# "seconds per step" is not: with fixed slots a step of a segmented run finishes fewer samples.
#
# ## 3. Seconds
#
# `Cost` prices the counts: seconds of a token step and of a pass of prefill, here those of the run with $M = 4$
# (medians, for a machine may be busy). With them the decoding and the prefill of the other runs are predicted, per
# finished sample. The first $2M$ steps are left out: they compile, and all samples begin together.

# %%
work = Workload(lengths, np.full(len(lengths), prompt_tokens), L, G, recompute=True)


def price(M, seconds, count):
    """Median seconds per token step or pass of prefill."""
    counts = decoded[M][1]
    return float(np.median((counts[seconds] / counts[count])[2 * M :]))


cost = Cost(
    step_s=0.0,
    token_step_s=price(4, "decode_s", "token_steps"),
    slots=C,
    prefill_pass_s=price(4, "prefill_s", "passes"),
)
print(f"a token step {1e3 * cost.token_step_s:.2f} ms, a pass of prefill {1e3 * cost.prefill_pass_s:.2f} ms\n")
print("M   ms per finished sample: decode measured   predicted   prefill measured   predicted")
for M in STEPS:
    counts, told = decoded[M][1], describe(schedules[M], simulated[M], work, cost, 2 * M)
    per_sample = {name: counts[name][2 * M :].sum() / counts["finished"][2 * M :].sum() for name in counts}
    decode_ms = 1e3 * price(M, "decode_s", "token_steps") * per_sample["token_steps"]
    prefill_ms = 1e3 * price(M, "prefill_s", "passes") * per_sample["passes"]
    print(
        f"{M} {decode_ms:41.2f} {1e3 * told['decode_s'] / told['finished']:11.2f} {prefill_ms:18.2f} "
        f"{1e3 * told['prefill_s'] / told['finished']:11.2f}"
    )

# %% [markdown]
# Decoding gets cheaper with $M$. What it costs is prefill: with `kv = "recompute"` the tokens that an unfinished sample
# has already go through the new network once more at every step. It is priced by passes, each with room for
# `prefill_chunk` tokens of `prefill_rows` contexts and as dear when it is half empty; here one pass holds all contexts
# of a step. A simulation is as good as its prices: `benchmarks/segments.py` measures them with care.
#
# ## 4. The paper's Table 1
#
# Qwen3-30B-A3B, $L = 64$k, 128 prompts with 8 samples: 1240, 774, 601 s per step for $M = 1, 2, 4$. One of a thousand
# outputs always reaches $L$, so a step has $L / M$ token steps. If a token step costs the same however many slots are
# active (reading the weights is what takes the time), then
#
# $$\text{seconds per step} = T + D / M$$
#
# `configs/plan_table1.py` solves $T$ and $D$ from the rows of $M = 1$ and $4$; the row of $M = 2$ is then a prediction.

# %%
from configs import plan_base, plan_table1
from ulorl_jax.plan_inputs import PlanSettings, make_plan


def plan(config, **changes):
    """The rows of launch/plan.py segments."""
    config.update(changes)
    return make_plan(PlanSettings.from_dict(config.to_dict()), None)["rows"]


PAPER = {1: 1240, 2: 774, 4: 601}
table = plan(plan_table1.get_config(), slots=(1024,), steps=8)
print("M   s per step: paper   T + D / M   trained tokens per s   idle slots   age of a trained token, steps")
for row in table:
    M, tokens_per_s = row["segments"], row["trained_tokens_per_s"]
    print(
        f"{M} {PAPER.get(M, '')!s:>19} {row['step_s']:11.0f} {tokens_per_s:22,.0f} {row['idle_slots']:12.0%} "
        f"{row['age_steps']:31.2f}"
    )

# %% [markdown]
# Look at the columns side by side. Per step $M = 4$ is twice as fast, and $M = 8$ faster still. Per trained token, with
# the same 1,024 slots, the gain is far smaller, and at $M = 8$ it is gone: $T$, which every step pays, is spread over
# fewer samples. Whoever wants the paper's factor per trained token gives $M = 4$ more slots, so that a step finishes as
# many samples as one of $M = 1$ (`configs/plan_table1.py` has 1,792).
#
# ## 5. Which M, how many slots
#
# A setting like the paper's 128k: 300 s per step beside the decoding, 13 ms per token step. Two shapes of lengths: 80%
# within half of $L$, and a heavier tail. Refill `step` fills a free slot at the next step (the paper), `continuous` at
# once, within the segment.

# %%
SEGMENTS = (1, 2, 4, 8, 16)
tails = {"mean 0.32 L, 80% within 0.49 L": (0.32, 0.49), "mean 0.20 L, 80% within 0.30 L": (0.20, 0.30)}
fig, axes = plt.subplots(1, 3, figsize=(10.5, 2.8), layout="constrained")
titles = {"trained_tokens_per_s": "Trained tokens / s, over M = 1", "idle_slots": "Idle slots"}
titles["age_steps"] = "Age of a trained token, steps"
for (name, (mean, p80)), color in zip(tails.items(), (BLUE, ORANGE), strict=True):
    config = plan_base.get_config()
    config.given.update(length_mean=mean, length_p80=p80)
    rows = plan(config, segments=SEGMENTS, slots=(64,), steps=16)
    base = next(row["trained_tokens_per_s"] for row in rows if row["segments"] == 1)
    for refill, line in (("step", "-o"), ("continuous", "--s")):
        chosen = [row for row in rows if row["refill"] == refill]
        for ax, key in zip(axes, titles, strict=True):
            scale = base if key == "trained_tokens_per_s" else 1
            values = [row[key] / scale for row in chosen]
            ax.plot(range(len(SEGMENTS)), values, line, color=color, markersize=3, label=f"{name}, {refill}")
for ax, title in zip(axes, titles.values(), strict=True):
    ax.set_xticks(range(len(SEGMENTS)), SEGMENTS)
    ax.set(title=title, xlabel="M", ylim=(0, None))
axes[0].legend(frameon=False, fontsize=6)
plt.show()

# %% [markdown]
# * With refill `step`, segments gain, and more with a heavier tail, up to the $M$ at which $T$ is all that is left.
#   What they cost is age: a token is trained steps after it was drawn, by another policy. That is what POIS is about
#   (notebook 04).
# * With `continuous` no slot is ever idle, whatever $M$ is, and a larger $M$ only pays $T$ more often: $M = 1$ trains
#   most tokens per second. Where an engine can refill within a segment, $M$ is no longer about speed; it says how often
#   the weights that decode are renewed. (Prefill costs nothing in `plan_base`; price yours with
#   `given.prefill_pass_s`.)
#
# How many slots? While a token step costs the same for all of them (reading the weights is what takes the time), as
# many as memory holds. Where it goes with the slots (a CPU, or caches that take longer to read than the weights),
# decoding is no cheaper with more of them; they only spread $T$ over more samples:

# %%
print("token step         slots   trained tokens per s: M = 1      M = 4   gain of M = 4")
for share, what in ((0.0, "costs the same"), (1.0, "goes with slots")):
    config = plan_base.get_config()
    rows = plan(config, segments=(1, 4), slots=(16, 64, 256), refill=("step",), steps=16, slots_share=share)
    at = {(row["slots"], row["segments"]): row["trained_tokens_per_s"] for row in rows}
    for slots in (16, 64, 256):
        one, four = at[slots, 1], at[slots, 4]
        print(f"{what:18s} {slots:5d} {one:28,.0f} {four:10,.0f} {four / one:15.2f}")

# %% [markdown]
# In the last three rows decoding is little beside $T$, and cutting it into segments gains nothing: a step of $M = 4$
# pays the same $T$ for fewer samples. Segments are for runs whose steps wait for the longest output.
#
# All of section 5 is simulated: lengths are drawn from a log-normal and depend on nothing, and memory holds every slot.
# For your own run, take its lengths and seconds instead:
#
#     launch/plan.py segments --config=configs/plan_base.py --run=runs/tiny --workdir=runs/plan
