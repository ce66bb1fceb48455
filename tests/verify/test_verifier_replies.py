"""The generative verifier that reasons: verdicts are read from replies, and a guess or a doubt is unsure."""

import dataclasses
import itertools

import pytest

from tests import tiny
from tests.verifiers import (
    BYTES,
    DENSE,
    EOS,
    PAIR,
    PAIRS,
    TERSE,
    Spoken,
    chain_params,
    make_verifier,
)  # fmt: skip
from ulorl_jax.io.tokenizer import ByteTokenizer
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.replies import Replies
from ulorl_jax.rollout.engine import EngineSpec, PolicyEngine
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.rollout.segments import KEEP, SegmentSettings
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Pair
from ulorl_jax.verify.verifier import (
    REASONED,
    GenerativeVerifier,
)
from ulorl_jax.verify.verifier_prompt import one_line


def test_a_reply_that_its_tokenizer_cannot_write_is_unsure_and_leaves_the_others_alone():
    generate = Spoken(["\x00a\nVerdict: same", "b\nVerdict: same"])
    found = make_verifier(*chain_params({}), mode=REASONED, generate=generate, min_token_p=0.003).compare([PAIR] * 2)
    assert [comparison.outcome for comparison in found] == [UNSURE, SAME] and "no ids" in found[0].reason


def test_a_reply_with_a_token_less_likely_than_wanted_is_a_guess_and_no_verdict():
    replies = ["Equal.\nVerdict: same", None, "x" * 90 + "\nVerdict: same", "No.\nVerdict: different"]

    def outcomes(params, min_token_p):
        config, params = params
        generate = Spoken(replies)
        found = make_verifier(config, params, mode=REASONED, generate=generate, min_token_p=min_token_p).compare(
            [PAIR] * 4
        )
        return [(comparison.outcome, comparison.reason) for comparison in found]

    uniform = chain_params({})  # every token has probability 1 / 256 = 0.0039
    assert [outcome for outcome, _ in outcomes(uniform, 0.0)] == [SAME, UNSURE, SAME, DIFFERENT]
    some = outcomes(uniform, 0.0038)
    assert [outcome for outcome, _ in some] == [SAME, UNSURE, UNSURE, DIFFERENT]
    assert "more tokens than a row has" in some[2][1]
    none = outcomes(uniform, 0.0040)
    assert [outcome for outcome, _ in none] == [UNSURE] * 4 and "a token of probability 0.00" in none[0][1]
    # After "q" comes "u" with e^5 / (e^5 + 255) = 0.37, anything else with 0.0025; no other reply has a "q".
    unlikely = chain_params({"q": {"u": 5.0}, ".": {"\n": 9.0}})
    assert [outcome for outcome, _ in outcomes(unlikely, 0.0038)] == [SAME, UNSURE, UNSURE, DIFFERENT]
    assert [outcome for outcome, _ in outcomes(chain_params({"q": {"x": 5.0}}), 0.0030)][0] == UNSURE


def test_reasoned_verdicts_are_read_from_replies_in_order_and_the_unreadable_are_unsure():
    replies = ["27 cm is 0.27 m.\nVerdict: same", None, "Same.", "No.\nVerdict: different", "It says\nVerdict: same\n."]
    spoken = Spoken(replies)
    pairs = [PAIR, PAIRS[0], Pair("", "1", ""), PAIRS[1], PAIRS[2], Pair("", "1", "z" * 90), PAIRS[3]]
    found = make_verifier(mode=REASONED, generate=spoken).compare(pairs)
    wanted = [SAME, UNSURE, UNSURE, UNSURE, DIFFERENT, UNSURE, UNSURE]
    assert [comparison.outcome for comparison in found] == wanted
    parts = [
        "27 cm is 0.27 m. Verdict: same",
        "did not end",
        "is empty",
        "no verdict at the end of 'Same.'",
        "Verdict: d",
    ]
    for comparison, part in zip(found, [*parts, "too long, 95 tokens of at most 90", "no verdict"], strict=True):
        assert part in comparison.reason
    asked = [PAIR, PAIRS[0], *PAIRS[1:4]]
    assert [BYTES.decode(ids) for ids in spoken.prompts] == [str(TERSE.render(pair, True)) for pair in asked]


REPLY_BYTES = ByteTokenizer(256, (EOS, *range(128, 256)))  # so that random replies end
WORDS = dataclasses.replace(TERSE, words=("sup", "wok"))  # no letter twice in a reply: a chain can say it


def engine_replies(config: Qwen3Config, params) -> Replies:
    spec = EngineSpec(config, 4, 96 + 24, Sampling(1.0), REPLY_BYTES.eos_ids, tiny.make_layout("decoding"))
    settings = SegmentSettings(8, 24, KEEP, 4, 32, refill_latency=0)
    return Replies(PolicyEngine(spec, tiny.SEED), params, settings, REPLY_BYTES.decode_output)


def reasoning(config: Qwen3Config, params) -> GenerativeVerifier:
    generate = engine_replies(config, params)
    return make_verifier(config, params, tokenizer=REPLY_BYTES, prompt=WORDS, mode=REASONED, generate=generate)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("why\nVerdict: sup", SAME),
        ("bf\nVerdict: wok", DIFFERENT),
        ("sup", UNSURE),
        ("Verdict: s", UNSURE),
    ],
)
def test_what_our_engine_decodes_is_the_verdict(reply, outcome):
    chain = "?" + reply + chr(EOS)
    config, params = chain_params({before: {after: 99.0} for before, after in itertools.pairwise(chain)})
    found = reasoning(config, params).compare([PAIR, Pair("", "", ""), *PAIRS[:5]])
    assert [comparison.outcome for comparison in found] == [outcome, UNSURE, *[outcome] * 5]
    assert repr(one_line(reply)) in found[0].reason


def test_what_a_random_network_decodes_is_unsure_or_its_last_line():
    config = dataclasses.replace(DENSE, tie_word_embeddings=False)
    params = tiny.make_params(config)
    replies = engine_replies(config, params)([WORDS.encode(REPLY_BYTES, pair, True) for pair in PAIRS[:12]])
    found = reasoning(config, params).compare(PAIRS[:12])
    wanted = [(reply and WORDS.parse_reasoned(reply)) or UNSURE for reply in replies]
    assert [comparison.outcome for comparison in found] == wanted and len(set(replies)) > 3
