"""Trainers that benchmarks/update.py compares: ours, and what a user would take instead.

Each starts from the same Hugging Face folder and makes policy-gradient updates on the same finished samples: every
output token's log-probability at the sampler's temperature, times its sample's advantage, averaged over the output
tokens of the batch; the gradient clipped to a norm of 1; AdamW. Each runs in a process of its own, this file, so that
its memory can be told from the others'; nothing is imported that it does not need.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import sys
import time
from typing import Any, Protocol

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np

TEMPERATURE = 0.85
# Not the paper's 1e-6: the second update shall start from weights that have moved.
ADAMW = {"learning_rate": 3e-4, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "clip_norm": 1.0}
ROW = 1792  # tokens of a row: a third of the batch; at 1088, the longest sample, XLA's products are half as fast
WORK = "work.json"


@dataclasses.dataclass(frozen=True, eq=False)
class Work:
    """The finished samples that are trained on.

    Attributes:
      prompts: `[N, P]` i32; no id is 0, which others take for padding.
      outputs: N arrays `[length]` i32, of at most `limit` tokens, of such ids.
      rewards: `[N]` f32 in {0, 1}.
      limit: L, tokens of the longest output that there may be.
    """

    prompts: np.ndarray
    outputs: list[np.ndarray]
    rewards: np.ndarray
    limit: int

    @property
    def advantages(self) -> np.ndarray:
        """`[N]` f32: all samples answer one question."""
        return ((self.rewards - self.rewards.mean()) / self.rewards.std(ddof=1)).astype(np.float32)

    @property
    def tokens(self) -> int:
        """Of prompts and outputs."""
        return self.prompts.size + sum(len(output) for output in self.outputs)

    def write(self, folder: pathlib.Path) -> None:
        """Puts it beside the weights."""
        values = {
            "prompts": self.prompts.tolist(),
            "outputs": [output.tolist() for output in self.outputs],
            "rewards": self.rewards.tolist(),
            "limit": self.limit,
        }
        (folder / WORK).write_text(json.dumps(values))

    @classmethod
    def read(cls, folder: pathlib.Path) -> Work:
        """Takes it from there."""
        values = json.loads((folder / WORK).read_text())
        outputs = [np.array(output, np.int32) for output in values["outputs"]]
        prompts, rewards = np.array(values["prompts"], np.int32), np.array(values["rewards"], np.float32)
        return cls(prompts, outputs, rewards, values["limit"])


class Trainer(Protocol):
    """Samples in, updated weights and the norm of their gradient out."""

    def update(self, work: Work) -> float:
        """One update on all samples, from lists of ids on.

        Args:
          work: what is trained on.

        Returns:
          The global norm of the gradient, before it is clipped.
        """
        ...


class Ours:
    """Packed rows, one after the other, and the objective of configs/base.py: POIS and DMMPT.

    Args:
      folder: of the weights.
      work: what is trained on.
    """

    def __init__(self, folder: pathlib.Path, work: Work):
        import jax

        from ulorl_jax.mesh import Layout, make_mesh
        from ulorl_jax.train.state import make_optimizer, start_state, state_shardings
        from ulorl_jax.train.step import StepSettings, batch_shardings, make_train_step
        from ulorl_jax.trainer import make_objective
        from ulorl_jax.weights import open_weights

        s = run_settings(folder, work)
        layout = Layout(make_mesh(devices=jax.devices()[:1]), "training")
        optimizer = make_optimizer(s.optimizer)
        params = open_weights(folder).load(state_shardings(s.model, optimizer, layout).params)
        self._state = start_state(params, s.model, optimizer, layout)
        step = StepSettings(s.rollout.temperature, s.train.logprob_chunk)
        self._step = make_train_step(s.model, make_objective(s), optimizer, layout, step)
        self._shardings, self._train = batch_shardings(layout), s.train

    def update(self, work: Work) -> float:
        """See `Trainer`."""
        from ulorl_jax.ops.packing import pack
        from ulorl_jax.processes import put
        from ulorl_jax.types import EOS, Prompt, Sample, Segment

        samples = [
            # Recorded log-probs of 0: POIS does not read them.
            Sample(i, Prompt(i, prompt, "")).append(Segment(out, np.zeros(len(out), np.float32), 0, "prefill"), EOS)
            for i, (prompt, out) in enumerate(zip(work.prompts, work.outputs, strict=True))
        ]
        shape = {"lengths": self._train.row_lengths, "rows_per_micro_batch": self._train.rows_per_micro_batch}
        batch = put(pack(samples, work.advantages, work.rewards, **shape), self._shardings)
        self._state, metrics = self._step(self._state, batch, None)
        norm = float(metrics["train/grad_norm"])
        assert not metrics["train/skipped"] and not metrics["dmmpt/masked_frac"], "not the update that was meant"
        return norm


def run_settings(folder: pathlib.Path, work: Work) -> Any:
    """The settings of a run of ours: those of configs/base.py, with this network and these sizes."""
    from configs.base import get_config
    from ulorl_jax.settings import Settings
    from ulorl_jax.weights import open_weights

    prompt = work.prompts.shape[1]
    length = -(-(prompt + work.limit) // ROW) * ROW
    values = get_config().to_dict()
    for section, changes in {
        "model": dataclasses.asdict(open_weights(folder).config) | {"dtype": "float32", "remat": "attention"},
        "data": {"generate": "chain_sum", "max_prompt_tokens": prompt},  # there must be some; none is read
        "rollout": {"output_limit": work.limit, "segments": 1, "temperature": TEMPERATURE},
        "train": {"row_lengths": (length,), "rows_per_micro_batch": 1, "logprob_chunk": 256},
        "optimizer": ADAMW,
    }.items():
        values[section] |= changes
    return Settings.from_dict(values)


class Transformers:
    """A network of transformers under torch: micro-batches of samples as they come.

    Args:
      folder: of the weights.
      work: what is trained on.
      trim: every micro-batch is padded to its own longest sample; otherwise to the longest of all, as trl pads.
      rows: samples of a micro-batch.
    """

    def __init__(self, folder: pathlib.Path, work: Work, trim: bool = False, rows: int = 4):
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(len(os.sched_getaffinity(0)))  # as many as XLA takes
        self._network = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").train()
        a = ADAMW
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(), a["learning_rate"], (a["b1"], a["b2"]), a["eps"], a["weight_decay"]
        )
        self._trim, self._rows = trim, rows

    def update(self, work: Work) -> float:
        """See `Trainer`."""
        import torch

        total = sum(len(output) for output in work.outputs)
        for start in range(0, len(work.outputs), self._rows):
            part = slice(start, start + self._rows)
            width = max(len(output) for output in (work.outputs[part] if self._trim else work.outputs))
            outputs, mask = padded(work.outputs[part], width)
            prompts, targets = torch.tensor(work.prompts[part]).long(), torch.tensor(outputs).long()
            tokens, live = torch.cat([prompts, targets], dim=1), torch.tensor(mask)
            seen = torch.cat([torch.ones_like(prompts), live.long()], dim=1)
            logits = self._network(tokens, attention_mask=seen, use_cache=False, logits_to_keep=width + 1).logits
            logits = logits[:, :-1] / TEMPERATURE
            logp = logits.gather(-1, targets[..., None])[..., 0] - logits.logsumexp(dim=-1)
            ratio = torch.exp(logp - logp.detach())
            advantage = torch.tensor(work.advantages[part])[:, None]
            (-(ratio * advantage * live).sum() / total).backward()
            del logits, logp, ratio
        norm = torch.nn.utils.clip_grad_norm_(self._network.parameters(), ADAMW["clip_norm"])
        self._optimizer.step()
        self._optimizer.zero_grad()
        return float(norm)


class Tunix:
    """The trainer of tunix with its GRPO loss: all samples at once, every output padded to the limit, as its learner
    pads them.

    Args:
      folder: of the weights.
      work: what is trained on.
    """

    def __init__(self, folder: pathlib.Path, work: Work):
        # Not among the project's requirements: installed where it is to be compared with.
        from tunix.models.qwen3.params import create_model_from_safe_tensors  # pyright: ignore[reportMissingImports]
        from tunix.rl.algo_core import grpo_loss_fn  # pyright: ignore[reportMissingImports]
        from tunix.rl.grpo.grpo_learner import GRPOConfig  # pyright: ignore[reportMissingImports]
        from tunix.sft.peft_trainer import PeftTrainer, TrainingConfig  # pyright: ignore[reportMissingImports]

        from benchmarks.decoders import tunix_config
        from ulorl_jax.train.state import OptimizerSettings, make_optimizer

        optimizer = make_optimizer(OptimizerSettings("adamw", warmup_steps=0, decay_steps=0, **ADAMW))
        model = create_model_from_safe_tensors(str(folder), tunix_config(folder))
        algorithm = GRPOConfig(num_generations=len(work.outputs), beta=0.0, loss_agg_mode="token-mean")
        algorithm.temperature = TEMPERATURE  # as its learner sets it
        trainer = PeftTrainer(model, optimizer, TrainingConfig(eval_every_n_steps=1, max_steps=None))
        trainer.with_loss_fn(
            lambda model, example: grpo_loss_fn(model, example, algorithm, pad_id=0, eos_id=-1), has_aux=True
        )
        trainer.with_gen_model_input_fn(lambda example: {"example": example})
        self._step, _ = trainer.jit_train_and_eval_step()

    def update(self, work: Work) -> float:
        """See `Trainer`."""
        import jax.numpy as jnp
        from tunix.rl.grpo.grpo_learner import TrainExample  # pyright: ignore[reportMissingImports]

        outputs, mask = padded(work.outputs, work.limit)
        prompts = jnp.asarray(work.prompts)
        example = TrainExample(
            prompt_ids=prompts,
            prompt_mask=jnp.ones_like(prompts),
            completion_ids=jnp.asarray(outputs),
            completion_mask=jnp.asarray(mask.astype(np.int32)),
            advantages=jnp.asarray(work.advantages),
            ref_per_token_logps=None,
            old_per_token_logps=None,
        )
        return float(self._step(example)[2])


def padded(outputs: list[np.ndarray], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids `[N, width]` i32, 0 after an output's end, and `[N, width]` bool, which of them are outputs'."""
    ids, mask = np.zeros((len(outputs), width), np.int32), np.zeros((len(outputs), width), bool)
    for row, output in enumerate(outputs):
        ids[row, : len(output)], mask[row, : len(output)] = output, True
    return ids, mask


ARMS = {
    "ours": Ours,
    "transformers": Transformers,
    "transformers_trimmed": functools.partial(Transformers, trim=True),
    "tunix": Tunix,
}


def status(name: str) -> int:
    """Bytes that the kernel counts for this process: VmRSS now, VmHWM at most so far."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name + ":"))


def serve(arm: str, folder: pathlib.Path) -> None:
    """Makes an update for every line of standard input; answers each, and the start, with a line of JSON."""
    answers = sys.stdout

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    with contextlib.redirect_stdout(sys.stderr):
        work = Work.read(folder)
        try:
            trainer = ARMS[arm](folder, work)
        except ImportError as error:
            answer(left_out=f"not installed ({error})")
            return
        answer(at_rest=status("VmRSS"))
        for _ in sys.stdin:
            began = time.perf_counter()
            norm = trainer.update(work)
            answer(seconds=time.perf_counter() - began, grad_norm=norm, peak=status("VmHWM"))


if __name__ == "__main__":
    serve(sys.argv[1], pathlib.Path(sys.argv[2]))
