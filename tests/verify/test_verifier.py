"""The generative verifier: its numbers are the dense network's, whatever the packing and the mesh; doubt is unsure."""

import dataclasses
import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from tests.verifiers import (
    DENSE,
    EOS,
    EXPERTS,
    HOSTILE,
    PAIR,
    PAIRS,
    TERSE,
    Spoken,
    chain_verifier,
    make_verifier,
)  # fmt: skip
from ulorl_jax.io.checkpoints import Checkpoints
from ulorl_jax.io.hf_tokenizer import HFTokenizer
from ulorl_jax.io.tokenizer import ByteTokenizer
from ulorl_jax.models.qwen3 import Qwen3Config, forward_packed, output_head
from ulorl_jax.models.qwen3_params import init_params, map_table
from ulorl_jax.train.state import OptimizerSettings, make_optimizer, start_state
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Pair
from ulorl_jax.verify.prompt_rows import RowShapes
from ulorl_jax.verify.verdict_model import VerdictModel, compiled_programs
from ulorl_jax.verify.verifier import REASONED
from ulorl_jax.verify.verifier_prompt import VerifierPrompt, one_line
from ulorl_jax.weights import fingerprint, open_weights


def dense_answers(config: Qwen3Config, pairs: list[Pair]) -> list[tuple[float, float]]:
    """Of each pair P(same | same or different) and P(same or different), from logits at every token, a prompt a row."""
    prompts = [f"{p.question}\n{p.reference}\n{p.predicted}\n".encode() for p in pairs]
    tokens = np.zeros((len(prompts), 96), np.int32)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = list(prompt)
    positions = np.broadcast_to(np.arange(96), tokens.shape)
    params = tiny.make_params(config)
    forward: Any = jax.jit(forward_packed, static_argnums=1)
    hidden = forward(params, config, tokens, positions, np.ones_like(tokens))
    logits = np.asarray(hidden @ output_head(params), np.float64)
    answers = []
    for row, prompt in enumerate(prompts):
        odds = np.exp(logits[row, len(prompt) - 1])
        same, different = odds[ord("s")], odds[ord("d")]
        answers.append((same / (same + different), (same + different) / odds.sum()))
    return answers


@pytest.mark.parametrize("config", [DENSE, EXPERTS], ids=["dense", "experts"])
def test_scores_of_packed_prompts_are_those_of_full_logits(config):
    answers = dense_answers(config, PAIRS)
    scores = make_verifier(config).scores(PAIRS)
    np.testing.assert_allclose(np.array(scores, float), [score for score, _ in answers], atol=1e-5)
    assert np.ptp([score for score, _ in answers]) > 0.1


def test_the_module_gives_logits_at_the_ends_and_says_of_padding_that_it_holds_nothing():
    config = DENSE
    rng = np.random.default_rng(1)
    tokens = rng.integers(1, 256, (2, 11)).astype(np.int32)
    sample_ids = np.array([[1, 1, 1, 2, 2, 2, 2, 3, 3, 0, 0], [1] * 11])
    positions = np.array([[0, 1, 2, 0, 1, 2, 3, 0, 1, 0, 0], range(11)])
    ends = np.array([[2, 6, 8], [10, -1, -1]])
    params = tiny.make_params(config)
    module: Any = jax.jit(VerdictModel(config).apply)
    forward: Any = jax.jit(forward_packed, static_argnums=1)
    logits, mass = module({"params": params}, tokens, positions, sample_ids, ends, np.array([7, 200]))
    full = np.asarray(forward(params, config, tokens, positions, sample_ids) @ output_head(params), np.float64)
    for row, place in itertools.product(range(2), range(3)):
        if ends[row, place] < 0:
            assert logits[row, place].tolist() == [0, 0] and mass[row, place] == -np.inf
            continue
        wanted = full[row, ends[row, place]]
        np.testing.assert_allclose(logits[row, place], wanted[[7, 200]], atol=1e-5)
        chosen = np.exp(wanted[[7, 200]]).sum() / np.exp(wanted).sum()
        np.testing.assert_allclose(np.exp(mass[row, place]), chosen, rtol=1e-5)


def test_no_array_holds_logits_of_every_token():
    config = dataclasses.replace(DENSE, vocab_size=251)
    batch, length, places = 2, 37, 3
    whole = np.zeros((batch, length), np.int32)
    apply = VerdictModel(config).apply
    arguments = (
        {"params": init_params(jax.random.key(0), config)},
        whole,
        whole,
        whole,
        np.zeros((batch, places), int),
    )
    text = str(jax.make_jaxpr(apply)(*arguments, np.array([1, 2])))
    assert "f32[2,3,251]" in text and "37,251]" not in text


def test_variables_are_the_policys_parameters():
    for config in (DENSE, EXPERTS):
        ids = jnp.zeros((1, 4), jnp.int32)
        init: Any = VerdictModel(config).init
        variables = jax.eval_shape(init, jax.random.key(0), ids, ids, ids, ids, jnp.array([1, 2]))
        wanted = jax.eval_shape(functools.partial(init_params, config=config), jax.random.key(0))
        assert variables.keys() == {"params"}
        assert jax.tree.structure(variables["params"]) == jax.tree.structure(wanted)
        assert jax.tree.map(jnp.shape, variables["params"]) == jax.tree.map(jnp.shape, wanted)


def test_a_pair_alone_scores_as_it_does_among_fifty_in_any_shapes_and_order():
    verifier = make_verifier()
    scores = np.array(verifier.scores(PAIRS), float)
    alone = [verifier.scores([pair])[0] for pair in PAIRS[:8]]
    np.testing.assert_allclose(np.array(alone, float), scores[:8], atol=1e-5)
    np.testing.assert_allclose(np.array(verifier.scores(PAIRS[::-1]), float), scores[::-1], atol=1e-5)
    among_hostile = verifier.scores([Pair("", "7", text) for text in HOSTILE] + PAIRS)
    np.testing.assert_allclose(np.array(among_hostile[len(HOSTILE) :], float), scores, atol=1e-5)
    other = make_verifier(shapes=RowShapes(lengths=(288,), rows=1, prompts_per_row=16))
    np.testing.assert_allclose(np.array(other.scores(PAIRS), float), scores, atol=1e-5)
    assert verifier.compare([]) == [] and verifier.scores([]) == []


@pytest.mark.parametrize(("config", "phase"), [(DENSE, "decoding"), (EXPERTS, "training")])
def test_eight_devices_score_as_one(devices, config, phase):
    layout = tiny.make_layout(phase, devices, data=2, fsdp=2, tensor=2)
    shardings = map_table(lambda row: layout.sharding(*row.axes, shape=row.shape), config)
    spread = jax.device_put(tiny.make_params(config), shardings)
    assert not jax.tree.leaves(spread)[0].sharding.is_fully_replicated
    scores = make_verifier(config, spread, layout, RowShapes((96,), 4, 3)).scores(PAIRS)
    np.testing.assert_allclose(np.array(scores, float), np.array(make_verifier(config).scores(PAIRS), float), atol=1e-5)


@pytest.mark.parametrize("phase", ["training", "decoding"])
def test_each_device_computes_its_own_rows(devices, phase):
    layout = tiny.make_layout(phase, devices, data=2, fsdp=2, tensor=2)
    params = jax.device_put(
        tiny.make_params(DENSE), map_table(lambda row: layout.sharding(*row.axes, shape=row.shape), DENSE)
    )
    whole, ends = np.zeros((8, 24), np.int32), np.zeros((8, 3), np.int32)
    arguments = ({"params": params}, whole, whole, whole, ends, np.array([1, 2]))
    program = jax.jit(VerdictModel(DENSE, layout).apply).lower(*arguments).compile().as_text() or ""
    # 8 rows four ways, 256 logits two ways.
    assert "f32[2,24,32]" in program and "f32[2,3,128]" in program
    assert "f32[8,24,32]" not in program and "[8,3,256]" not in program


def test_programs_are_one_per_row_length_whatever_is_compared():
    config = dataclasses.replace(DENSE, rope_theta=2e4)  # no other test's
    before = compiled_programs()
    for seed, count in enumerate((1, 7, 50)):
        make_verifier(config, tiny.make_params(config, seed), threshold=0.1 + 0.1 * seed).compare(PAIRS[:count])
    assert compiled_programs() - before == 2


def test_a_score_is_worked_out_by_hand_and_the_threshold_belongs_to_same():
    # exp(log 3) against exp(0), and 254 other tokens of exp(-30).
    certain = dict.fromkeys(map(chr, range(256)), -30.0)
    three_to_one = chain_verifier(certain | {"s": math.log(3), "d": 0.0})
    (score,) = three_to_one.scores([PAIR])
    assert score == pytest.approx(0.75, abs=1e-6)
    (found,) = three_to_one.compare([PAIR])
    assert (found.outcome, found.reason) == (SAME, "verifier: P(same) = 0.7500")
    even = certain | {"s": 0.0, "d": 0.0}
    outcomes = {t: chain_verifier(even, threshold=t).compare([PAIR])[0].outcome for t in (0.4, 0.5, 0.51)}
    assert outcomes == {0.4: SAME, 0.5: SAME, 0.51: DIFFERENT}
    one_to_three = chain_verifier(certain | {"s": 0.0, "d": math.log(3)})
    assert one_to_three.compare([PAIR])[0].outcome == DIFFERENT
    assert one_to_three.scores([PAIR]) == [pytest.approx(0.25, abs=1e-6)]


def test_a_model_that_says_something_else_is_unsure_not_wrong():
    other = chain_verifier({"s": 0.0, "d": 0.0, "x": 40.0})
    (found,) = other.compare([PAIR])
    assert found.outcome == UNSURE and "no verdict, P(same) + P(different) = 0.0000" in found.reason
    assert other.scores([PAIR]) == [None]
    # e^2 for both words and 254 others of 1: together 2 e^2 / (2 e^2 + 254) = 0.0550.
    logits = {"s": 2.0, "d": 2.0}
    assert chain_verifier(logits, min_mass=0.054).compare([PAIR])[0].outcome == SAME
    assert chain_verifier(logits, min_mass=0.056).compare([PAIR])[0].outcome == UNSURE


def test_weights_that_are_not_numbers_leave_every_pair_unsure():
    params = jax.tree.map(lambda x: x * jnp.nan, tiny.make_params(DENSE))
    for found in make_verifier(params=params).compare(PAIRS[:3]):
        assert found.outcome == UNSURE and "nan" in found.reason


def test_what_cannot_be_asked_is_unsure_with_the_reason_and_leaves_the_others_alone():
    verifier = make_verifier(prompt=dataclasses.replace(TERSE, max_answer=60))
    asked = {
        "the predicted answer is empty": Pair("", "1", " \n\u200b"),
        "the reference answer is empty": Pair("", "\x00", "1"),
        "the predicted answer has 61 characters, more than 60": Pair("", "1", "x" * 61),
        "too long, 123 tokens of at most 96": Pair("", "é" * 30, "y" * 60),
        "is not UTF-8": Pair("", "1", "\ud800"),
    }
    found = verifier.compare([PAIR, *asked.values(), PAIR])
    for part, comparison in zip(asked, found[1:-1], strict=True):
        assert comparison.outcome == UNSURE and part in comparison.reason
    assert found[0] == found[-1] == verifier.compare([PAIR])[0]
    assert verifier.scores(list(asked.values())) == [None] * len(asked)


def test_hostile_answers_get_an_outcome_each_and_never_an_error():
    says_different = chain_verifier({"d": 40.0})
    for field in ("question", "reference", "predicted"):
        pairs = [dataclasses.replace(PAIR, **{field: text}) for text in HOSTILE]
        outcomes = [found.outcome for found in says_different.compare(pairs)]
        assert set(outcomes) <= {DIFFERENT, UNSURE} and outcomes.count(DIFFERENT) >= len(HOSTILE) - 3


def test_another_version_wherever_an_outcome_may_be_another():
    def version(**changes):
        return make_verifier(**changes).version

    first = version(identity="a")
    assert version(identity="a", shapes=RowShapes((96,), 2, 2)) == first  # the numbers are the same
    others = [
        version(identity="b"),
        version(identity="a", threshold=0.6),
        version(identity="a", min_mass=0.1),
        version(identity="a", min_token_p=0.1),
        version(identity="a", prompt=dataclasses.replace(TERSE, max_question=100)),
        version(identity="a", prompt=dataclasses.replace(TERSE, template="?" + TERSE.template)),
        version(identity="a", tokenizer=ByteTokenizer(256, (4,))),
        version(identity="a", config=dataclasses.replace(DENSE, dtype="bfloat16")),
        version(identity="a", mode=REASONED, generate=Spoken([])),
    ]
    assert len({first, *others}) == 10 and first.startswith("verifier-")


def test_a_runs_checkpoint_is_a_verifiers_weights(tmp_path):
    optimizer = make_optimizer(OptimizerSettings("adamw", 1e-3, 0, 0, 0.9, 0.999, 1e-8, 0.0, 1.0))
    state = start_state(tiny.make_params(DENSE), DENSE, optimizer, tiny.make_layout("training"))
    with Checkpoints(tmp_path / "checkpoints", keep=1, fingerprint=fingerprint(DENSE)) as checkpoints:
        checkpoints.save(3, state=state, host={}, arrays={})
    weights, layout = open_weights(tmp_path), tiny.make_layout("decoding")
    loaded = weights.load(map_table(lambda row: layout.sharding(*row.axes, shape=row.shape), weights.config))
    verifier = make_verifier(weights.config, loaded, layout)
    np.testing.assert_array_equal(verifier.scores(PAIRS[:8]), make_verifier().scores(PAIRS[:8]))


def test_qwens_chat_prompt_is_judged_too(data_dir):
    tokenizer = HFTokenizer(data_dir / "qwen3_tokenizer")
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "head_dim": 4}
    config = tiny.make_config(vocab_size=151936, **small)
    verifier = make_verifier(
        config,
        init_params(jax.random.key(0), config),
        None,
        RowShapes((768,), 1, 3),
        tokenizer=tokenizer,
        prompt=VerifierPrompt(),
    )
    pairs = [Pair("How much?", "7", text) for text in HOSTILE if one_line(text)]
    assert [found.outcome in (SAME, DIFFERENT) for found in verifier.compare(pairs)] == [True] * (len(HOSTILE) - 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "guess"}, "verifier mode must be one of"),
        ({"mode": REASONED}, "give generate"),
        ({"threshold": 0.0}, "threshold"),
        ({"min_mass": 1.1}, "min_mass"),
        ({"min_token_p": -0.1}, "min_token_p"),
        ({"shapes": RowShapes((), 1, 1)}, "lengths"),
        ({"shapes": RowShapes((8, 0), 1, 1)}, "lengths"),
        ({"shapes": RowShapes((8,), 0, 1)}, "rows"),
        ({"shapes": RowShapes((8,), 1, 0)}, "prompts_per_row"),
        ({"tokenizer": ByteTokenizer(260, (EOS,))}, "no ids that the model lacks"),
        ({"tokenizer": ByteTokenizer(256, (10,))}, "is an end or pad id"),
        ({"prompt": VerifierPrompt()}, "no chat format"),
        ({"prompt": dataclasses.replace(TERSE, words=("so", "see"))}, "begin with one token"),
        ({"config": EXPERTS, "params": {"embed": np.zeros((256, 8))}}, r"\['embed'\].: \(\(256, 32\), \(256, 8\)\)"),
    ],
)
def test_a_verifier_that_could_decide_nothing_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_verifier(**changes)


def test_rows_that_the_mesh_cannot_split_are_refused(devices):
    layout = tiny.make_layout("decoding", devices, data=8, fsdp=1)
    with pytest.raises(ValueError, match="cannot be split 8 ways"):
        make_verifier(layout=layout)
