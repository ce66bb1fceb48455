"""Small random checkpoints, written by transformers itself; and what it computes with them."""

import pathlib

import numpy as np
import pytest

SMALL = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 1024,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 1.5, "original_max_position_embeddings": 128}
KINDS = {
    "dense, tied": {"tie_word_embeddings": True},
    "dense, untied": {"tie_word_embeddings": False},
    "experts, weights renormalised": EXPERTS | {"norm_topk_prob": True},
    "experts, weights as they are": EXPERTS | {"norm_topk_prob": False},
    "YaRN, beyond the trained length": {"tie_word_embeddings": True, "rope_parameters": YARN},
    "YaRN with a magnitude of its own": {"rope_parameters": YARN | {"attention_factor": 1.3, "beta_fast": 16}},
}


def make_network(kind: str, seed: int = 0):
    """transformers' network with weights that matter: its own initial ones are so small that all logits are alike."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers", minversion="5")
    changes = KINDS[kind]
    if "num_experts" in changes:
        network = transformers.Qwen3MoeForCausalLM(transformers.Qwen3MoeConfig(**(SMALL | changes)))
    else:
        network = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**(SMALL | changes)))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "norm" in name:
                weight.uniform_(0.5, 1.5, generator=generator)
            else:
                # Layers that say more than the token itself, or a tied network repeats its input for ever.
                loud = 4 if "o_proj" in name or "down_proj" in name else 1
                weight.normal_(0, loud * weight.shape[-1] ** -0.5, generator=generator)
    return network.eval()


def write(folder: pathlib.Path, kind: str, *, dtype: str = "float32", shard: str = "5GB") -> pathlib.Path:
    """A checkpoint as transformers saves it.

    Args:
      folder: where to.
      kind: of `KINDS`.
      dtype: of the files.
      shard: size of the largest file.

    Returns:
      The folder.
    """
    torch = pytest.importorskip("torch")
    make_network(kind).to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=shard)
    return folder


def load(folder: pathlib.Path):
    """What transformers makes of a folder, in float32; every tensor of it found and used."""
    transformers = pytest.importorskip("transformers", minversion="5")
    network, info = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32", output_loading_info=True)
    assert not any(info.get(what) for what in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")), (
        info
    )
    return network.eval()


def logits(network, tokens: np.ndarray) -> np.ndarray:
    """`[T, V]` of one sample."""
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        return network(torch.tensor(tokens)[None]).logits[0].numpy()


def generate(network, tokens: np.ndarray, count: int) -> list[int]:
    """Greedy tokens after a prompt, past end tokens."""
    torch = pytest.importorskip("torch")
    prompt = torch.tensor(tokens)[None]
    out = network.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=count, min_new_tokens=count, do_sample=False
    )
    return out[0, len(tokens) :].tolist()


def tensors(folder: pathlib.Path) -> dict[str, tuple]:
    """Name -> dtype, shape and bytes of every tensor of a folder, as the library reads them."""
    safetensors = pytest.importorskip("safetensors")
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safetensors.safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a dict)
                tensor = file.get_tensor(name)
                found[name] = (str(tensor.dtype), tuple(tensor.shape), tensor.float().numpy().tobytes())
    return found
