"""Our own engine as the language model that is asked: a small random network with a real folder of weights."""

import contextlib
import io
import pathlib

import jax
import numpy as np
import pytest

from configs import prepare_base
from tests import tiny
from ulorl_jax.ask import AskSettings, EngineAsk, make_ask
from ulorl_jax.data.cleaning import SUB, clean
from ulorl_jax.data.decisions import ASIDE, Row
from ulorl_jax.data.sub_questions import sub_questions
from ulorl_jax.io.endpoint import Endpoint
from ulorl_jax.io.hf_weights import write_hf_weights
from ulorl_jax.models.hf_qwen3 import config_to_hf, hf_tensors
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.models.qwen3_params import init_params
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.typed import build

SHAPE = Qwen3Config(
    vocab_size=128, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=8, rope_theta=1e4,
)  # fmt: skip
EOS_IDS = tuple(range(11, 32))  # many, so that random replies end
SMALL = {
    "kind": "engine",
    "engine.dtype": "float32",
    "engine.mesh.data": -1,
    "engine.mesh.tensor": 1,
    "engine.seed": tiny.SEED,
    "engine.tokenizer.kind": "bytes",
    "engine.tokenizer.eos_ids": EOS_IDS,
    "engine.prompt.chat": False,
    "engine.temperature": 1.0,
    "engine.top_p": 1.0,
    "engine.top_k": 0,
    "engine.output_limit": 48,
    "engine.max_prompt_tokens": 16,
    "engine.slots": 8,
    "engine.segment_length": 4,
    "engine.prefill_rows": 8,
    "engine.prefill_chunk": 16,
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("weights") / "hf"
    params = init_params(jax.random.key(0), SHAPE)
    with contextlib.redirect_stdout(io.StringIO()):
        write_hf_weights(folder, hf_tensors(SHAPE), params, dtype="float32", config=config_to_hf(SHAPE, "float32"))
    return folder


def settings(folder: pathlib.Path, /, **changes) -> AskSettings:
    """As launch/prepare_data.py makes them; changes are of the engine."""
    config = prepare_base.get_config().ask
    of_engine = {f"engine.{name}": value for name, value in changes.items()}
    config.update_from_flattened_dict(SMALL | {"engine.weights": str(folder)} | of_engine)
    return build(AskSettings, config.to_dict())


def make_engine(folder: pathlib.Path, **changes) -> EngineAsk:
    return EngineAsk(settings(folder, **changes).engine)


PROMPTS = [f"prompt {i}" for i in range(20)]


def test_replies_are_those_of_the_plain_decoder_whatever_the_slots(weights):
    ask = make_engine(weights)
    replies = ask(PROMPTS)
    contexts = {i: np.frombuffer(prompt.encode(), np.uint8).astype(np.int32) for i, prompt in enumerate(PROMPTS)}
    params = init_params(jax.random.key(0), SHAPE)
    drawn = tiny.plain_decode(params, SHAPE, contexts, 48, sampling=Sampling(1.0), eos_ids=EOS_IDS)
    for i, reply in enumerate(replies):
        ids = drawn[i].tolist()
        assert reply == (bytes(ids[:-1]).decode() if ids[-1] in EOS_IDS else None)
    ended = [reply for reply in replies if reply is not None]
    assert len(ended) > 10 and len(set(ended)) > 10
    assert make_engine(weights, slots=16, segment_length=16, prefill_rows=16)(PROMPTS) == replies


def test_two_calls_share_no_random_numbers_and_go_on_where_one_call_would(weights):
    ask = make_engine(weights)
    replies = ask(["the same"] * 6) + ask(["the same"] * 6)
    assert replies == make_engine(weights)(["the same"] * 12) and len(set(replies)) > 6


def test_what_cannot_be_asked_or_does_not_end_has_no_reply_and_is_counted(weights):
    ask = make_engine(weights, output_limit=1)
    replies = ask(["x" * 17, "café", *PROMPTS])
    assert replies[:2] == [None, None]
    unended = sum(reply is None for reply in replies[2:])
    assert ask.failures == {
        "the prompt was longer than ask.engine.max_prompt_tokens": 1,
        "the prompt cannot be encoded": 1,
        "the reply was longer than ask.engine.output_limit": unended,
    }
    assert 0 < unended < len(PROMPTS) and ask([]) == []


def test_what_a_random_network_says_of_a_row_puts_it_aside(weights):
    ask = make_engine(weights, max_prompt_tokens=1536, prefill_chunk=512)
    rows = [Row(str(i), f"file:{i}", "test", f"What is {i}+1? What is {i}+2?", "3") for i in range(6)]
    cleaned = clean(rows, {SUB: sub_questions}, ask)
    assert cleaned.kept == [] and [d.row for _, d in cleaned.ended(ASIDE)] == rows
    reasons = {d.reason for _, d in cleaned.ended(ASIDE)}
    assert "several question marks: the model's reply could not be read" in reasons
    assert reasons <= {
        "several question marks: the model's reply could not be read",
        "several question marks: the model gave no answer",
    }


def test_the_settings_choose_who_is_asked(weights):
    config = prepare_base.get_config().ask.to_dict()
    assert make_ask(build(AskSettings, config)) is None
    assert isinstance(make_ask(build(AskSettings, config | {"kind": "endpoint"})), Endpoint)
    assert isinstance(make_ask(settings(weights)), EngineAsk)
    with pytest.raises(ValueError, match=r"ask.kind must be one of \['endpoint', 'engine', 'none'\]; got 'friend'"):
        make_ask(build(AskSettings, config | {"kind": "friend"}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": ""}, "ask.engine.weights is the folder"),
        ({"weights": "nowhere"}, "nowhere holds no weights"),
        ({"prefill_chunk": 0}, "ask.engine.prefill_chunk must be at least 1"),
        ({"slots": 0}, "ask.engine.slots must be at least 1"),
        ({"tokenizer.kind": "hf"}, "tokenizer"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_asked(weights, changes, message):
    with pytest.raises(ValueError, match=message):
        make_ask(settings(weights, **changes))
