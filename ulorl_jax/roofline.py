"""Seconds that no implementation can beat, counted by hand: operations of the update, bytes of a decode step."""

from __future__ import annotations

import dataclasses
import math

from ulorl_jax.footprint import parameter_count
from ulorl_jax.rollout.segments import RECOMPUTE
from ulorl_jax.settings import Settings

TERA, GIGA = 1e12, 1e9
BANDWIDTH_REACHED, FLOPS_REACHED = 0.6, 0.45  # what this project aims at; no accelerator has shown it yet


@dataclasses.dataclass(frozen=True)
class Chip:
    """A kind of accelerator.

    Attributes:
      memory: bytes of HBM that a program can use.
      flops: bfloat16 operations per second at most.
      bandwidth: bytes per second of HBM at most.
    """

    memory: float
    flops: float
    bandwidth: float


# Figures of cloud.google.com/tpu/docs; memory is what the compiler lets a program have.
CHIPS = {
    "v4": Chip(31.75 * 2**30, 275 * TERA, 1228 * GIGA),
    "v5e": Chip(15.75 * 2**30, 197 * TERA, 819 * GIGA),
    "v5p": Chip(95.74 * 2**30, 459 * TERA, 2765 * GIGA),
    "v6e": Chip(31.25 * 2**30, 918 * TERA, 1640 * GIGA),
}

# The same by the names that jax gives devices. Of GPUs the dense figures of NVIDIA's data sheets.
KINDS = {
    "TPU v4": CHIPS["v4"],
    "TPU v5 lite": CHIPS["v5e"],
    "TPU v5e": CHIPS["v5e"],
    "TPU v5": CHIPS["v5p"],
    "TPU v5p": CHIPS["v5p"],
    "TPU v6 lite": CHIPS["v6e"],
    "TPU v6e": CHIPS["v6e"],
    "NVIDIA A100-SXM4-80GB": Chip(80.0 * 2**30, 312 * TERA, 2039 * GIGA),
    "NVIDIA H100 80GB HBM3": Chip(79.6 * 2**30, 989 * TERA, 3350 * GIGA),
    "NVIDIA H200": Chip(140.4 * 2**30, 989 * TERA, 4800 * GIGA),
}


def live_tokens(settings: Settings) -> float:
    """Tokens of context in the slots when they are half full, or as many as the pages hold."""
    r = settings.rollout
    half = r.slots * settings.context_limit / 2
    return min(half, r.pages.count * r.pages.size) if r.pages.count else half


def update_flops(settings: Settings, tokens: float, length: float) -> float:
    """Operations of forward and backward pass over packed samples; recomputing for memory's sake is not counted.

    Args:
      settings: the run's.
      tokens: of all samples.
      length: of each: attention costs with its square.
    """
    m = settings.model
    products = 6 * (parameter_count(m)[1] - (0 if m.tie_word_embeddings else m.vocab_size * m.hidden_size))
    # Two products of queries with half of the keys, forward once and backward twice as much.
    attention = 6 * length * m.num_attention_heads * m.head_dim * m.num_hidden_layers
    return tokens * (products + attention)


def token_step_bytes(settings: Settings, live_tokens: float) -> float:
    """Bytes that a decode step of all slots reads, on all chips together: each weight once, all keys and values.

    Args:
      settings: the run's.
      live_tokens: in the slots.
    """
    m, width = settings.model, 2 if settings.model.dtype != "float32" else 4
    kv = 2 * m.num_hidden_layers * m.num_key_value_heads * m.head_dim
    kv *= 1 + 4 / m.head_dim if settings.rollout.pages.dtype == "int8" else width
    total, _ = parameter_count(m)
    if m.num_experts:  # those that no token of the step meets are not read
        met = 1 - math.pow(1 - m.num_experts_per_tok / m.num_experts, settings.rollout.slots)
        experts = 3 * m.num_hidden_layers * m.num_experts * m.hidden_size * m.moe_intermediate_size
        total -= experts * (1 - met)
    return total * width + live_tokens * kv


def roofline(settings: Settings, chip: Chip, chips: int, live_tokens: float) -> dict[str, float]:
    """What a step must read and compute, by hand count, and the seconds that it cannot take less than.

    Args:
      settings: the run's.
      chip: of a slice.
      chips: how many it has.
      live_tokens: tokens of context in the slots, on average; samples are as long as one slot's, too.

    Returns:
      "live_tokens"; "token_step_bytes" of all chips, "token_step_s", "decode_s" of a segment; "drawn_tokens" of a
      segment with all slots at work, which is what a step trains on in the long run, "update_flop" of them, "update_s";
      "prefill_flop" and "prefill_s" of the contexts in the slots, a step's share, 0 where the cache is kept; "step_s"
      and "trained_token_s" of all this; "expected_step_s", at the shares `BANDWIDTH_REACHED` and `FLOPS_REACHED`.
    """
    slots, r = settings.rollout.slots, settings.rollout
    length, drawn = live_tokens / slots, float(slots * r.segment_length)
    read = token_step_bytes(settings, live_tokens)
    update = update_flops(settings, drawn, length)
    # Forward alone is a third of forward and backward.
    prefill = update_flops(settings, live_tokens, length) / 3 / r.recompute_every if r.kv == RECOMPUTE else 0.0
    token_step_s = read / (chips * chip.bandwidth)
    decode_s = token_step_s * r.segment_length
    update_s, prefill_s = update / (chips * chip.flops), prefill / (chips * chip.flops)
    step_s = decode_s + update_s + prefill_s
    return {
        "live_tokens": live_tokens,
        "token_step_bytes": read,
        "token_step_s": token_step_s,
        "decode_s": decode_s,
        "drawn_tokens": drawn,
        "update_flop": update,
        "update_s": update_s,
        "prefill_flop": prefill,
        "prefill_s": prefill_s,
        "step_s": step_s,
        "trained_token_s": step_s / drawn,
        "expected_step_s": decode_s / BANDWIDTH_REACHED + (update_s + prefill_s) / FLOPS_REACHED,
    }


def describe_floor(floor: dict[str, float]) -> list[str]:
    """The same for people.

    Args:
      floor: from `roofline`.
    """
    tokens, drawn, read = (floor[name] for name in ("live_tokens", "drawn_tokens", "token_step_bytes"))
    return [
        f"by hand count, with {tokens:,.0f} tokens in the slots: a token step reads {read / 1e9:,.4g} GB; an update of "
        f"the {drawn:,.0f} tokens that a segment draws takes {floor['update_flop'] / 1e15:,.4g} PFLOP, contexts "
        f"prefilled again {floor['prefill_flop'] / 1e15:,.4g}",
        f"a step takes at least {floor['step_s']:,.4g} s: a segment {floor['decode_s']:.3g} s "
        f"({1e3 * floor['token_step_s']:.3g} ms per token step), its update {floor['update_s']:.3g} s, prefill "
        f"{floor['prefill_s']:.3g} s; {1e6 * floor['trained_token_s']:.3g} us per trained token",
        f"expect {floor['expected_step_s']:,.4g} s or more: {BANDWIDTH_REACHED:.0%} of the memory's bandwidth in "
        f"decoding and {FLOPS_REACHED:.0%} of the operations in products are good figures",
    ]
