"""The decoder's programs: where they stop, what they leave alone, what a slot remembers of its last sample."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tiny import SEED, VOCAB, make_config, make_layout, make_moe_config, make_params, make_prompts, plain_decode
from ulorl_jax.models.qwen3_params import unstack_layers
from ulorl_jax.rollout import decoding
from ulorl_jax.rollout.engine import EngineSpec, PolicyEngine, param_shardings
from ulorl_jax.rollout.sampling import Sampling

CONFIG = make_config()
WIDTH, LIMIT = 40, 16
NEVER = (VOCAB,)  # an id no sample can draw


def make_engine(config=CONFIG, slots=4, temperature=0.85, eos_ids=NEVER, layout=None):
    layout = layout or make_layout("decoding")
    return PolicyEngine(EngineSpec(config, slots, WIDTH, Sampling(temperature), eos_ids, layout), SEED)


def fill(engine, params, contexts, slots, ids, state=None, limit=LIMIT):
    """Contexts put into slots and computed."""
    state = put(engine, contexts, slots, ids, engine.init_decode_state() if state is None else state, limit)
    return engine.prefill_slots(params, state, 2, 8)[0]


def put(engine, contexts, slots, ids, state, limit=LIMIT, computed=0, turns=0, leader=None):
    """Contexts put into slots; it is left to others to compute them."""
    lengths = np.array([len(context) for context in contexts], np.int32)
    tokens = np.zeros((len(contexts), WIDTH), np.int32)
    for row, context in enumerate(contexts):
        tokens[row, : len(context)] = context
    zeros, ids = np.zeros(len(contexts), np.int32), np.array(ids, np.int32)
    order = zeros + turns, zeros + (engine.spec.slots if leader is None else leader)
    return engine.fill(state, np.array(slots), tokens, lengths, zeros + computed, *order, ids, lengths + limit)


def rows_of(drawn):
    """The real tokens of every slot."""
    return [row[:count].tolist() for row, count in zip(np.asarray(drawn.tokens), np.asarray(drawn.counts), strict=True)]


@pytest.fixture(scope="module")
def params():
    return make_params(CONFIG)


@pytest.fixture(scope="module")
def contexts():
    return [prompt.tokens for prompt in make_prompts(4)]


@pytest.fixture(scope="module")
def outputs(params, contexts):
    """Of samples 0..3, by the plain decoder, each as long as the limit."""
    found = plain_decode(params, CONFIG, dict(enumerate(contexts)), LIMIT, eos_ids=NEVER)
    return [found[i].tolist() for i in range(4)]


def cut(output, eos_ids):
    """The output up to and with the first end token."""
    ends = [i for i, token in enumerate(output) if token in eos_ids]
    return output[: ends[0] + 1] if ends else output


def test_a_segment_is_what_the_plain_decoder_draws(params, contexts, outputs):
    engine = make_engine()
    state, drawn = engine.generate_segment(params, fill(engine, params, contexts, range(4), range(4)), 6)
    assert rows_of(drawn) == [output[:6] for output in outputs]
    assert int(drawn.steps) == 6 and np.asarray(state.active).all()
    assert np.asarray(state.lengths).tolist() == [len(context) - 1 + 6 for context in contexts]
    state, drawn = engine.generate_segment(params, state, 6)
    assert rows_of(drawn) == [output[6:12] for output in outputs]


def test_each_of_several_end_tokens_ends_a_sample_and_the_call_ends_with_the_last_one(params, contexts, outputs):
    eos_ids = (outputs[0][3], outputs[1][7], outputs[2][5], outputs[3][6])
    wanted = [cut(output, eos_ids) for output in outputs]
    ended_by = {output[-1] for output in wanted}
    assert len(ended_by) > 1 and max(map(len, wanted)) < LIMIT
    engine = make_engine(eos_ids=eos_ids)
    state, drawn = engine.generate_segment(params, fill(engine, params, contexts, range(4), range(4)), LIMIT)
    assert rows_of(drawn) == wanted
    assert int(drawn.steps) == max(map(len, wanted)) and not np.asarray(state.active).any()
    _, nothing = engine.generate_segment(params, state, LIMIT)
    assert int(nothing.steps) == 0 and np.asarray(nothing.counts).tolist() == [0] * 4


def test_a_sample_stops_at_its_own_limit(params, contexts, outputs):
    engine = make_engine()
    lengths = np.array([len(context) for context in contexts])
    state = fill(engine, params, contexts, range(4), range(4))
    state = dataclasses.replace(state, limits=jnp.asarray(lengths + [1, 4, 16, 9], jnp.int32))
    state, drawn = engine.generate_segment(params, state, LIMIT)
    assert rows_of(drawn) == [output[:n] for output, n in zip(outputs, [1, 4, 16, 9], strict=True)]
    assert int(drawn.steps) == 16 and not np.asarray(state.active).any()


def test_a_limit_at_the_very_end_of_the_slot_is_reached(params, contexts, outputs):
    context = np.concatenate([contexts[0], outputs[0]])[:20]
    engine = make_engine()
    state = fill(engine, params, [context], [2], [0], limit=WIDTH - 20)
    _, drawn = engine.generate_segment(params, state, WIDTH)
    wanted = plain_decode(params, CONFIG, {0: context}, WIDTH - 20, eos_ids=NEVER)[0]
    assert len(wanted) == WIDTH - 20 and rows_of(drawn)[2] == wanted.tolist()


def test_slots_that_are_not_active_change_nothing_and_are_not_changed(params, contexts, outputs):
    engine = make_engine()
    state = fill(engine, params, contexts, range(4), range(4))
    state = dataclasses.replace(state, active=jnp.array([True, False, True, False]))
    before = jax.tree.map(np.asarray, dataclasses.replace(state, key=None))
    state, drawn = engine.generate_segment(params, state, 6)
    assert rows_of(drawn) == [outputs[0][:6], [], outputs[2][:6], []]
    for slot in (1, 3):
        for name in ("contexts", "known", "lengths", "limits", "sample_ids", "drawn"):
            np.testing.assert_array_equal(getattr(state, name)[slot], getattr(before, name)[slot], name)
        held = int(before.lengths[slot])
        (k, v), (old_k, old_v) = state.cache.whole(), before.cache.whole()
        np.testing.assert_array_equal(k[:, slot, :held], old_k[:, slot, :held])
        np.testing.assert_array_equal(v[:, slot, :held], old_v[:, slot, :held])
    # Woken up, they go on as if nothing had happened.
    state = dataclasses.replace(state, active=jnp.array([False, True, False, True]))
    assert rows_of(engine.generate_segment(params, state, 6)[1])[1::2] == [outputs[1][:6], outputs[3][:6]]


@pytest.mark.parametrize("parts", [1, 2])
def test_where_slots_are_refilled_and_few_decode_the_others_are_left_out_and_the_tokens_are_the_same(
    params, contexts, outputs, devices, parts
):
    engine = make_engine(slots=16, layout=make_layout("decoding", devices[:parts], data=parts))
    params = engine.load_params(params)
    slots, lengths = np.array([3, 14, 9, 0]), np.array([2, 16, 6, 11])  # 4 slots of 16, 2 of each part's 8: a quarter
    state = fill(engine, params, contexts, slots, range(4), limit=lengths)
    lowered = decoding.generate_segment.lower(engine.spec, unstack_layers(params), state, LIMIT, 1, 8, LIMIT, LIMIT)
    logits = {int(n) for n in re.findall(rf"tensor<(\d+)x{VOCAB}xf32>", lowered.as_text())}
    assert logits >= {16, 4}, "of all slots, and of a quarter"
    state, drawn = engine.generate_segment(params, state, LIMIT, rows=1, chunk=8)
    rows = rows_of(drawn)
    assert [rows[slot] for slot in slots] == [output[:n] for output, n in zip(outputs, lengths, strict=True)]
    assert sum(map(len, rows)) == sum(lengths) and int(drawn.steps) == 16 and not np.asarray(state.active).any()


def test_a_used_slot_gives_its_next_sample_what_a_fresh_one_gives(params, contexts):
    engine = make_engine()
    used = fill(engine, params, contexts, range(4), range(4))
    used, _ = engine.generate_segment(params, used, LIMIT)
    held = np.abs(np.asarray(used.cache.whole()[1]))
    assert held[:, :, 20:30].max() > 0.1  # the old samples were longer than the new prompts
    short = [context[:3] for context in contexts]
    results = []
    for state in (used, None):
        state = fill(engine, params, short, [3, 1, 0, 2], [7, 8, 9, 10], state)
        _, drawn = engine.generate_segment(params, state, LIMIT)
        results.append(drawn)
    np.testing.assert_array_equal(results[0].tokens, results[1].tokens)
    np.testing.assert_array_equal(results[0].logp, results[1].logp)


def test_one_computed_context_goes_to_many_slots_which_then_draw_for_themselves(params, contexts):
    engine = make_engine()
    state = put(engine, contexts[:1], [2], [2], engine.init_decode_state())
    state = put(engine, contexts[:1] * 3, [0, 1, 3], [0, 1, 3], state, computed=len(contexts[0]) - 1)
    state, _ = engine.prefill_slots(params, state, 2, 8)
    state = engine.copy_slots(state, np.array([2, 2, 2, 0]), np.array([0, 1, 3, 4]))  # slot 4 is padding
    rows = rows_of(engine.generate_segment(params, state, 8)[1])
    wanted = plain_decode(params, CONFIG, dict.fromkeys(range(4), contexts[0]), 8, eos_ids=NEVER)
    assert rows == [wanted[i].tolist() for i in range(4)]
    assert len({tuple(row) for row in rows}) == 4


@pytest.mark.parametrize("chunk", [1, 4, 8, 20])
def test_a_context_computed_beside_the_others_tokens_draws_what_one_computed_alone_does(
    params, contexts, outputs, chunk
):
    engine = make_engine()
    state = fill(engine, params, contexts[:2], [3, 0], [0, 1])
    state, first = engine.generate_segment(params, state, LIMIT, 3)
    state = put(engine, contexts[2:], [1, 2], [2, 3], state)
    state, second = engine.generate_segment(params, state, 40, rows=1, chunk=chunk)
    before, after = rows_of(first), rows_of(second)
    assert [before[slot] + after[slot] for slot in (3, 0, 1, 2)] == outputs
    needed = sum(-(-(len(context) - 1) // chunk) for context in contexts[2:])  # passes, of one context at a time
    assert int(second.chunks) == needed and int(second.steps) == max(LIMIT - 3, needed + LIMIT)
    assert not np.asarray(state.active).any()


def test_a_context_is_computed_after_those_of_an_earlier_turn(params, contexts, outputs):
    engine = make_engine()
    state = put(engine, contexts[:1], [0], [0], engine.init_decode_state(), turns=3)
    state = put(engine, contexts[1:2], [1], [1], state, turns=2)
    state, drawn = engine.generate_segment(params, state, LIMIT, 4, rows=1, chunk=5)
    first = -(-(len(contexts[1]) - 1) // 5)
    second = -(-(len(contexts[0]) - 1) // 5)
    assert 0 < first < 4 < first + second
    assert rows_of(drawn) == [[], outputs[1][: 4 - first], [], []]


def test_where_many_wait_their_contexts_are_computed_side_by_side(params, contexts, outputs):
    engine = make_engine()
    state = put(engine, contexts, range(4), range(4), engine.init_decode_state())
    _, drawn = engine.generate_segment(params, state, 40, rows=4, chunk=20)
    assert rows_of(drawn) == outputs and (int(drawn.chunks), int(drawn.steps)) == (1, 1 + LIMIT)


def test_a_context_waits_for_the_one_whose_keys_and_values_it_shares(params, contexts, outputs):
    engine = make_engine()
    state = put(engine, contexts[:1], [2], [2], engine.init_decode_state(), turns=1)
    state = put(engine, contexts[1:2], [1], [1], state, leader=2)
    state, drawn = engine.generate_segment(params, state, 40, rows=4, chunk=5)
    first, second = (-(-(len(context) - 1) // 5) for context in contexts[:2])
    assert int(drawn.chunks) == first + second and rows_of(drawn)[1] == outputs[1]


def test_a_context_for_a_slot_that_does_not_exist_is_dropped(params, contexts):
    engine = make_engine()
    state = fill(engine, params, contexts[:2], [1, 4], [5, 6])
    assert np.asarray(state.active).tolist() == [False, True, False, False]
    assert np.asarray(state.sample_ids).tolist() == [0, 5, 0, 0]


def test_jetstreams_one_token_verb_draws_the_same_tokens(params, contexts, outputs):
    eos_ids = (outputs[0][3], outputs[1][7])
    engine = make_engine(eos_ids=eos_ids)
    state = fill(engine, params, contexts, range(4), range(4))
    rows = [[] for _ in range(4)]
    for step in range(LIMIT):
        state, result = engine.generate(params, state)
        data = np.asarray(result.data)
        for slot, (token, valid, length) in enumerate(data):
            if valid:
                rows[slot].append(int(token))
                assert length == step + 1  # tokens generated, what JetStream holds against max_tokens
    assert rows == [cut(output, eos_ids) for output in outputs]
    assert not np.asarray(engine.generate(params, state)[1].data)[:, 1].any()


def test_an_existing_prefix_is_continued_exactly(params, contexts, outputs):
    engine = make_engine(temperature=0.0)
    whole = np.concatenate([contexts[0], outputs[0]])[:14]
    pieces, prefix = (whole[:5], whole[5:]), None
    for piece in pieces:  # each padded, with ids that must not be seen
        padded = np.concatenate([piece, np.full(10 - len(piece), 77)]).astype(np.int32)
        prefix = engine.prefill(params=params, existing_prefix=prefix, padded_tokens=padded, true_length=len(piece))
    straight = engine.prefill(params=params, padded_tokens=whole.astype(np.int32), true_length=14)
    assert int(prefix.length) == 13 and int(prefix.token) == whole[-1]
    (k, v), (wanted_k, wanted_v) = prefix.cache.whole(), straight.cache.whole()
    np.testing.assert_allclose(k[:, :, :14], wanted_k, atol=1e-5)
    np.testing.assert_allclose(v[:, :, :14], wanted_v, atol=1e-5)
    state = engine.insert(prefix, engine.init_decode_state(), 1)
    wanted = plain_decode(params, CONFIG, {1: whole}, 8, sampling=Sampling(0.0), eos_ids=NEVER)[1]
    assert rows_of(engine.generate_segment(params, state, 8)[1])[1] == wanted.tolist()


def test_a_context_longer_than_a_slot_is_refused(params):
    with pytest.raises(ValueError, match="a context of 41 padded tokens does not fit a slot of 40"):
        make_engine().prefill(params=params, padded_tokens=np.zeros(41, np.int32), true_length=3)


def test_slots_the_mesh_cannot_split_are_refused_before_anything_compiles(devices):
    with pytest.raises(ValueError, match="axis 'slots' of size 4 cannot be split 8 ways"):
        make_engine(layout=make_layout("decoding", devices, data=2, fsdp=4))


def test_weights_and_cache_lie_where_the_decoding_layout_says(devices):
    config = make_moe_config()
    engine = make_engine(config, layout=make_layout("decoding", devices, data=2, fsdp=2, tensor=2))
    params = engine.load_params(make_params(config))
    gate = params["layers"]["gate"]
    assert gate.sharding == param_shardings(engine.spec)["layers"]["gate"]
    assert gate.addressable_shards[0].data.size * 4 == gate.size  # experts 2 ways, their width 2 ways
    cache = engine.init_decode_state().cache.v
    assert cache[0][0].addressable_shards[0].data.shape == (1, 1, 1, 1, WIDTH, 16)  # slots 4 ways, key heads 2 ways
