"""What each section of the settings refuses, whatever it is a section of."""

from __future__ import annotations

from ulorl_jax.sections import AskingSettings, PromptSettings, RewardSettings, TokenizerSettings, VerifySettings
from ulorl_jax.train.state import KINDS, OptimizerSettings
from ulorl_jax.typed import demand, demand_least


def check_asking(asking: AskingSettings, section: str) -> None:
    """Refuses shapes in which a generative verifier cannot be asked.

    Args:
      asking: how it is asked.
      section: of the config, for messages.

    Raises:
      ValueError: what was wrong, the value got, a value that works.
    """
    for name in ("rows", "prompts_per_row", "output_limit", "segment_length", "slots"):
        demand_least(f"{section}.{name}", 1, getattr(asking, name))
    lengths = asking.row_lengths
    demand(min(lengths, default=0) >= 1, f"{section}.row_lengths must name tokens of a row", lengths, "(1024, 4096)")


def check_experts(owners: int, experts: int) -> None:
    """Refuses a mesh axis expert that a model's experts cannot be split over.

    Args:
      owners: mesh.expert.
      experts: E; 0 of a dense model.

    Raises:
      ValueError: what was wrong, the value got, values that work.
    """
    able = [n for n in range(1, experts + 1) if experts % n == 0] or [1]
    demand(
        owners in able,
        f"mesh.expert owners share a mixture's experts evenly, so it must divide model.num_experts ({experts}"
        f"{'' if experts else ': the model is dense'})",
        owners,
        f"{' or '.join(map(str, able))} would work",
    )


def check_optimizer(optimizer: OptimizerSettings, section: str) -> None:
    """Refuses an optimizer that there is not, and a learning rate that falls before it has risen.

    Args:
      optimizer: its settings.
      section: of the config, for messages.

    Raises:
      ValueError: what was wrong, the value got, a value that works.
    """
    o = optimizer
    demand(o.kind in KINDS, f"{section}.kind must be one of {KINDS}", o.kind, "adamw is the usual one")
    for name in ("learning_rate", "clip_norm"):
        demand_least(f"{section}.{name}", 0, getattr(o, name))
    demand(
        o.decay_steps == 0 or o.decay_steps > o.warmup_steps,
        f"{section}.decay_steps counts the warm-up, so it must be more than {section}.warmup_steps ({o.warmup_steps})",
        o.decay_steps,
        f"{o.warmup_steps + 1} or more, or 0 for a constant rate",
    )


def check_verify(verify: VerifySettings) -> None:
    """Refuses a judge that cannot work.

    Raises:
      ValueError: what was wrong, the value got, a value that works.
    """
    for name, least, remedy in (("workers", 1, "one per core to spare"), ("cache", 0, "0 remembers nothing")):
        demand_least(f"verify.{name}", least, getattr(verify, name), remedy)
    demand(verify.deadline_s > 0, "verify.deadline_s is in seconds, more than 0", verify.deadline_s, "5.0 is usual")
    demand(bool(verify.marker.strip()), "verify.marker stands before an answer", verify.marker, 'try "####"')
    check_asking(verify.verifier, "verify.verifier")
    if isinstance(verify, RewardSettings):
        rate, window = verify.max_error_rate, verify.error_window
        demand(0 <= rate <= 1, "verify.max_error_rate is a share, from 0 to 1", rate, "1.0 never stops a run")
        demand(window >= 1, "verify.error_window counts verdicts, at least 1", window, "256 is a good start")


def check_prompt(prompt: PromptSettings, tokenizer: TokenizerSettings) -> None:
    """Refuses a prompt that the tokenizer has no form for.

    Raises:
      ValueError: a chat without a chat template, or a system's turn without a chat.
    """
    demand(
        not (prompt.chat and tokenizer.kind == "bytes"),
        "prompt.chat needs the chat template of tokenizer.kind=hf",
        tokenizer.kind,
        "set prompt.chat=False",
    )
    demand(
        prompt.chat or not prompt.system,
        "prompt.system is a turn of the chat template, so prompt.chat must be on",
        prompt.system,
        "set prompt.chat=True, or write it into prompt.template",
    )
