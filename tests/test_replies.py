"""Token prompts in, replies out: those of the plain decoder, in order; what did not end is none."""

import dataclasses
import functools

import numpy as np
import pytest

from tests import tiny
from ulorl_jax.replies import Replies
from ulorl_jax.rollout.engine import EngineSpec, PolicyEngine
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.rollout.segments import KEEP, SegmentSettings

CONFIG = tiny.make_config()
LIMIT = 24
EOS_IDS = tuple(range(10, 18))  # many, so that random replies end
PROMPTS = [prompt.tokens for prompt in tiny.make_prompts(5) for _ in range(3)]  # shapes of tests/test_evaluate.py


def words(ids: np.ndarray) -> str:
    return " ".join(map(str, ids.tolist()))


def make_replies(slots: int = 4, **changes) -> Replies:
    spec = EngineSpec(CONFIG, slots, 20 + LIMIT, Sampling(0.85), EOS_IDS, tiny.make_layout("decoding"))
    settings = dataclasses.replace(SegmentSettings(6, LIMIT, KEEP, 4, 8, refill_latency=0), **changes)
    return Replies(PolicyEngine(spec, tiny.SEED), tiny.make_params(CONFIG), settings, words)


@functools.cache
def plain_replies() -> list[str | None]:
    contexts = dict(enumerate(PROMPTS))
    drawn = tiny.plain_decode(
        tiny.make_params(CONFIG), CONFIG, contexts, LIMIT, sampling=Sampling(0.85), eos_ids=EOS_IDS
    )
    ended = {i: words(ids) for i, ids in drawn.items() if ids[-1] in EOS_IDS}
    return [ended.get(i) for i in range(len(PROMPTS))]


def test_replies_are_the_plain_decoders_in_order_and_none_where_they_did_not_end():
    wanted = plain_replies()
    assert make_replies()(PROMPTS) == wanted
    assert 2 < sum(reply is None for reply in wanted) < 13 and len(set(wanted)) > 3


def test_two_calls_and_prompts_left_out_draw_what_one_call_of_all_draws():
    replies = make_replies()
    left_out = [None if i in (1, 5) else tokens for i, tokens in enumerate(PROMPTS)]
    wanted = [None if i in (1, 5) else reply for i, reply in enumerate(plain_replies())]
    assert replies(left_out[:4]) + replies([]) + replies(left_out[4:]) == wanted
    assert wanted != plain_replies()


def test_a_prompt_that_does_not_fit_is_refused():
    replies = make_replies()
    assert replies.max_prompt_tokens == 20
    for tokens in (np.ones(21, np.int32), np.ones(0, np.int32)):
        with pytest.raises(ValueError, match=f"1 to 20 tokens; got {len(tokens)}"):
            replies([PROMPTS[0], tokens])
    assert replies(PROMPTS) == plain_replies()  # nothing was left in a slot, no number was used


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output_limit": 44}, "wider than"),
    ],
)
def test_shapes_that_hold_no_prompt_are_refused_before_anything_is_asked(changes, message):
    with pytest.raises(ValueError, match=message):
        make_replies(**changes)
