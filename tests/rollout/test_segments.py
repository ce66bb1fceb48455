"""T1 and T2 in the rollout room, and what becomes of the cache when the weights change."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from tests.tiny import (
    VOCAB,
    make_config,
    make_layout,
    make_moe_config,
    make_params,
    make_prompts,
    make_rollout,
    plain_decode,
    run_to_end,
)
from ulorl_jax.mesh import reshard
from ulorl_jax.models.qwen3 import forward_packed, output_head
from ulorl_jax.ops.logprobs import token_logprobs
from ulorl_jax.ops.packing import pack
from ulorl_jax.rollout.engine import PolicyEngine, param_shardings
from ulorl_jax.rollout.sampling import Sampling
from ulorl_jax.types import EOS, LIMIT, Sample

CONFIG = make_config()
PROMPTS = make_prompts(6)
GROUP, L, M = 2, 48, 8
GREEDY, WARM = Sampling(0.0), Sampling(0.85)
EOS_IDS = (10, 43)


def contexts(prompts=PROMPTS, group=GROUP):
    return {prompt.id * group + i: prompt.tokens for prompt in prompts for i in range(group)}


@pytest.fixture(scope="module")
def params():
    return make_params(CONFIG)


@pytest.fixture(scope="module")
def plain(params):
    """Outputs by sample id, for each sampling, drawn without cache, slots or segments."""
    return {s: plain_decode(params, CONFIG, contexts(), L, sampling=s, eos_ids=EOS_IDS) for s in (GREEDY, WARM)}


def assert_same_tokens(samples: dict[int, Sample], wanted: dict[int, np.ndarray]):
    assert samples.keys() == wanted.keys()
    for i, sample in samples.items():
        np.testing.assert_array_equal(sample.output, wanted[i], err_msg=f"sample {i}")


def trainer_logp(params, config, samples, temperature=0.85):
    """Of every token: its log-prob as the trainer computes it, the recorded one, and the policy step that drew it."""
    zeros = np.zeros(len(samples))
    batch = pack(samples, zeros, zeros, lengths=[96], rows_per_micro_batch=12)
    assert batch.num_micro_batches == 1
    logp = _packed_logp(params, config, batch.tokens[0], batch.positions[0], batch.sample_ids[0], temperature)
    mask = batch.mask[0]
    return np.asarray(logp)[mask], batch.rollout_logp[0][mask], batch.policy_step[0][mask]


@functools.partial(jax.jit, static_argnums=1)
def _packed_logp(params, config, tokens, positions, sample_ids, temperature):
    hidden = forward_packed(params, config, tokens, positions, sample_ids)
    return token_logprobs(hidden, output_head(params), tokens, temperature=temperature, chunk_size=40)[0]


@pytest.mark.parametrize(
    ("slots", "segments", "kv", "sampling"),
    [
        (12, 1, "keep", GREEDY),
        (12, M, "keep", GREEDY),
        (7, M, "keep", GREEDY),
        (7, M, "recompute", GREEDY),
        (12, 1, "keep", WARM),
        (12, M, "keep", WARM),
        (12, M, "recompute", WARM),
        (7, M, "keep", WARM),
        (7, 4, "recompute", WARM),
        (4, M, "keep", WARM),
        (4, M, "recompute", WARM),
    ],
)
def test_T1_segments_draw_the_tokens_of_one_piece(params, plain, slots, segments, kv, sampling):
    rollout = make_rollout(
        CONFIG, slots=slots, segments=segments, output_limit=L, kv=kv, sampling=sampling, eos_ids=EOS_IDS
    )
    samples = run_to_end(rollout, params, PROMPTS, GROUP)
    assert_same_tokens(samples, plain[sampling])
    spans = [len(sample.segments) for sample in samples.values()]
    assert max(spans) == segments
    if segments == M and sampling == WARM:
        assert sum(span >= 4 for span in spans) >= 3 and min(spans) < 4


def test_the_yardstick_has_samples_of_both_ends_and_of_many_lengths(plain):
    lengths = [len(output) for output in plain[WARM].values()]
    assert max(lengths) == L and len(set(lengths)) >= 4
    assert {int(output[-1]) for output in plain[WARM].values() if len(output) < L} <= set(EOS_IDS)
    pairs = [(plain[WARM][2 * i], plain[WARM][2 * i + 1]) for i in range(6)]
    assert all(not np.array_equal(a, b) for a, b in pairs)  # the G samples of a prompt differ


@pytest.mark.parametrize("kv", ["keep", "recompute"])
def test_T1_holds_on_eight_devices(devices, params, plain, kv):
    layout = make_layout("decoding", devices, data=2, fsdp=2, tensor=2)
    rollout = make_rollout(
        CONFIG, slots=8, segments=M, output_limit=L, kv=kv, sampling=WARM, eos_ids=EOS_IDS, layout=layout
    )
    spread = reshard(params, param_shardings(rollout.engine.spec))
    assert_same_tokens(run_to_end(rollout, spread, PROMPTS, GROUP), plain[WARM])


def test_T1_holds_through_jetstreams_one_token_verb(params, plain):
    rollout = make_rollout(CONFIG, slots=12, segments=M, output_limit=L, sampling=WARM, eos_ids=EOS_IDS)
    rollout.pool.add_prompts(PROMPTS, GROUP)
    rollout.run(params, 0)  # the first segment through generate_segment, the rest token by token
    outputs = {i: list(plain[WARM][i][: L // M]) for i in plain[WARM]}
    state = rollout.state
    for _ in range(L - L // M):
        state, result = rollout.engine.generate(params, state)
        for slot, (token, valid, _) in enumerate(np.asarray(result.data)):
            if valid:
                outputs[slot].append(int(token))
    for i, output in outputs.items():  # with twelve slots sample i sits in slot i
        np.testing.assert_array_equal(output, plain[WARM][i])


def test_finished_says_how_a_sample_ended(params, plain):
    rollout = make_rollout(CONFIG, slots=7, segments=M, output_limit=L, sampling=WARM, eos_ids=EOS_IDS)
    samples = run_to_end(rollout, params, PROMPTS, GROUP)
    for sample in samples.values():
        assert sample.finished == (EOS if sample.output[-1] in EOS_IDS else LIMIT)
        assert sample.num_tokens == L or sample.finished == EOS
        assert all(len(segment.tokens) == L // M for segment in sample.segments[:-1])
    assert {sample.finished for sample in samples.values()} == {EOS, LIMIT}


@pytest.mark.parametrize(("segments", "kv"), [(1, "keep"), (4, "recompute")])
def test_an_end_token_exactly_at_the_limit_is_an_end(params, segments, kv):
    free = plain_decode(params, CONFIG, contexts(PROMPTS[:2]), 12, eos_ids=())
    chosen = next(i for i, output in free.items() if output[-1] not in output[:-1])
    rollout = make_rollout(CONFIG, slots=4, segments=segments, output_limit=12, kv=kv, eos_ids=(int(free[chosen][-1]),))
    samples = run_to_end(rollout, params, PROMPTS[:2], GROUP)
    assert samples[chosen].num_tokens == 12 and samples[chosen].finished == EOS
    assert any(sample.finished == LIMIT and sample.num_tokens == 12 for sample in samples.values())


@pytest.mark.parametrize("kv", ["keep", "recompute"])
def test_T2_recorded_log_probs_are_the_trainers(params, kv):
    rollout = make_rollout(CONFIG, slots=4, segments=M, output_limit=L, kv=kv, eos_ids=EOS_IDS)
    samples = list(run_to_end(rollout, params, PROMPTS, GROUP).values())
    recomputed, recorded, _ = trainer_logp(params, CONFIG, samples)
    np.testing.assert_allclose(recorded, recomputed, atol=1e-4, rtol=0)
    at_another_temperature, _, _ = trainer_logp(params, CONFIG, samples, temperature=1.0)
    assert np.abs(at_another_temperature - recorded).max() > 0.1  # the bound can tell


def test_T1_and_T2_hold_with_experts():
    config = make_moe_config()
    params, prompts = make_params(config), PROMPTS[:3]
    wanted = plain_decode(params, config, contexts(prompts), L, eos_ids=EOS_IDS)
    rollout = make_rollout(config, slots=4, segments=M, output_limit=L, kv="recompute", eos_ids=EOS_IDS)
    samples = run_to_end(rollout, params, prompts, GROUP)
    assert_same_tokens(samples, wanted)
    recomputed, recorded, _ = trainer_logp(params, config, list(samples.values()))
    np.testing.assert_allclose(recorded, recomputed, atol=1e-4, rtol=0)


def test_T2_holds_in_bfloat16_within_the_bound_measured():
    config = make_config(dtype="bfloat16")
    params = make_params(config)
    rollout = make_rollout(config, slots=4, segments=4, output_limit=L, kv="recompute", eos_ids=EOS_IDS)
    samples = list(run_to_end(rollout, params, PROMPTS, GROUP).values())
    recomputed, recorded, _ = trainer_logp(params, config, samples)
    gap = np.abs(recomputed - recorded)
    # Measured on three seeds: at most 0.065, 0.011 in the mean; each side lies as far from float32 (0.070, 0.013).
    assert gap.max() < 0.1 and gap.mean() < 0.02


class Recorder(PolicyEngine):
    """The engine, keeping the contexts it was asked to prefill."""

    def fill(self, state, slots, contexts, known, computed, *rest):
        self.prefilled = getattr(self, "prefilled", []) + [
            row[:length].tolist()
            for row, length, done in zip(contexts, known, computed, strict=True)
            if done < length - 1
        ]
        return super().fill(state, slots, contexts, known, computed, *rest)


def test_the_samples_of_a_new_prompt_share_one_prefilled_row(params):
    rollout = make_rollout(CONFIG, slots=12, segments=M, output_limit=L, kv="recompute", engine=Recorder)
    rollout.pool.add_prompts(PROMPTS[:3], 4)
    rollout.run(params, 0)
    assert sorted(rollout.engine.prefilled) == sorted(prompt.tokens.tolist() for prompt in PROMPTS[:3])
    outputs = {tuple(sample.output) for _, sample in rollout.pool.occupied}
    assert len(outputs) == len(rollout.pool.occupied) > 8
    rollout.engine.prefilled.clear()
    going_on = [sample.context.tolist() for _, sample in rollout.pool.occupied]
    rollout.run(params, 1)
    assert sorted(rollout.engine.prefilled) == sorted(going_on)  # now each has a context of its own


def test_kept_slots_are_prefilled_once(params):
    rollout = make_rollout(CONFIG, slots=4, segments=M, output_limit=L, kv="keep", engine=Recorder)
    run_to_end(rollout, params, PROMPTS, GROUP)
    # Twelve samples of six prompts: a prompt whose two samples are placed together takes one row.
    assert 6 <= len(rollout.engine.prefilled) <= 12
    assert {tuple(row) for row in rollout.engine.prefilled} == {tuple(prompt.tokens) for prompt in PROMPTS}


@pytest.mark.parametrize(
    ("slots", "segments", "kv", "latency"),
    [(4, M, "keep", 0), (4, M, "recompute", 2), (3, 1, "keep", 16), (7, 4, "keep", 1)],
)
def test_T1_slots_refilled_within_a_segment_draw_the_tokens_of_one_piece(params, plain, slots, segments, kv, latency):
    rollout = make_rollout(
        CONFIG, slots=slots, segments=segments, output_limit=L, kv=kv, eos_ids=EOS_IDS, refill_latency=latency
    )
    samples = run_to_end(rollout, params, PROMPTS, GROUP, refill=True)
    assert_same_tokens(samples, plain[WARM])
    assert all(len(segment.tokens) <= L // segments for sample in samples.values() for segment in sample.segments)


class Watched(PolicyEngine):
    """The engine, keeping what every segment's calls drew."""

    def generate_segment(self, *args):
        state, drawn = super().generate_segment(*args)
        self.calls = [*getattr(self, "calls", []), (np.asarray(drawn.counts), int(drawn.steps), int(drawn.chunks))]
        return state, drawn


@pytest.mark.parametrize("latency", [0, 3])
def test_a_freed_slot_waits_at_most_the_latency_for_its_next_sample(params, latency):
    rollout = make_rollout(
        CONFIG, slots=3, segments=1, output_limit=L, eos_ids=EOS_IDS, engine=Watched, refill_latency=latency
    )
    rollout.pool.add_prompts(PROMPTS, 8)
    _, values = rollout.run(params, 0, lambda: None)
    assert values["rollout/decode_steps"] == L == sum(steps for _, steps, _ in rollout.engine.calls)
    assert values["rollout/refilled"] >= 3 and rollout.pool.waiting
    # A slot drew fewer tokens than a call had steps: it ended and stood empty, or its context was computed first.
    idle = [(steps - counts.min(), chunks) for counts, steps, chunks in rollout.engine.calls]
    assert all(steps <= latency + chunks for steps, chunks in idle) and any(chunks for _, chunks in idle)
    assert all(steps <= latency for steps, chunks in idle if not chunks)
    stepwise = make_rollout(CONFIG, slots=3, segments=1, output_limit=L, eos_ids=EOS_IDS)
    stepwise.pool.add_prompts(PROMPTS, 8)
    _, waiting = stepwise.run(params, 0)
    assert waiting["rollout/slot_use"] < 0.9 and waiting["rollout/refilled"] == 0


def test_prompts_are_asked_for_only_when_a_slot_is_free_and_steps_are_left(params):
    rollout = make_rollout(CONFIG, slots=3, segments=M, output_limit=L, eos_ids=(VOCAB,), refill_latency=0)
    asked = []

    def refill():
        asked.append(len(rollout.pool.free))
        rollout.pool.add_prompts(PROMPTS[3:4], 3)

    rollout.pool.add_prompts(PROMPTS[:1], 3)
    for step in range(M):  # nobody ends before the limit, which is the last segment's last step
        rollout.run(params, step, refill)
    assert asked == [] and rollout.pool.free == [0, 1, 2]


@pytest.mark.parametrize("refill", [False, True], ids=["step", "continuous"])
def test_T1_holds_when_a_cache_serves_two_segments_and_each_sample_counts_its_own(params, plain, refill):
    rollout = make_rollout(
        CONFIG, slots=5, segments=M, output_limit=L, kv="recompute", eos_ids=EOS_IDS, recompute_every=2
    )
    samples = run_to_end(rollout, params, PROMPTS, GROUP, refill)
    assert_same_tokens(samples, plain[WARM])
    for sample in samples.values():
        kinds = [segment.kv for segment in sample.segments]
        assert kinds == ["prefill", *["keep", "recompute"] * M][: len(kinds)]
    assert max(len(sample.segments) for sample in samples.values()) >= 4


def two_segments(params, later, kv, sampling):
    """Samples after a segment by `params` and one by `later`; all go on (no end token can be drawn)."""
    rollout = make_rollout(CONFIG, slots=12, segments=4, output_limit=L, kv=kv, sampling=sampling, eos_ids=(VOCAB,))
    rollout.pool.add_prompts(PROMPTS, GROUP)
    rollout.run(params, 0)
    rollout.run(later, 7)
    return [sample for _, sample in rollout.pool.occupied]


@pytest.fixture(scope="module")
def later(params):
    """The weights after a change that matters."""
    return jax.tree.map(lambda a, b: a + 0.3 * b, params, make_params(CONFIG, seed=1))


@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "at 0.85"])
def test_after_a_weight_change_recompute_draws_what_the_new_weights_draw_from_the_whole_context(
    params, later, sampling
):
    samples = two_segments(params, later, "recompute", sampling)
    before = {sample.id: np.concatenate([sample.prompt.tokens, sample.segments[0].tokens]) for sample in samples}
    wanted = plain_decode(later, CONFIG, before, L // 4, sampling=sampling, eos_ids=(VOCAB,))
    for sample in samples:
        np.testing.assert_array_equal(sample.segments[1].tokens, wanted[sample.id])


def test_after_a_weight_change_keep_mixes_versions_and_the_log_probs_show_it(params, later):
    def gap_of_the_last_segment(kv):
        ended = [dataclasses.replace(sample, finished=LIMIT) for sample in two_segments(params, later, kv, WARM)]
        recomputed, recorded, steps = trainer_logp(later, CONFIG, ended)
        return np.abs(recomputed - recorded)[steps == 7].max()

    assert gap_of_the_last_segment("recompute") < 1e-4
    assert gap_of_the_last_segment("keep") > 1e-2


@pytest.mark.parametrize(("kv", "recorded"), [("keep", ["prefill", "keep"]), ("recompute", ["prefill", "recompute"])])
def test_each_segment_records_its_policy_and_where_its_cache_came_from(params, later, kv, recorded):
    for sample in two_segments(params, later, kv, WARM):
        assert [segment.kv for segment in sample.segments] == recorded
        assert [segment.policy_step for segment in sample.segments] == [0, 7]
        assert sample.policy_steps.tolist() == [0] * 12 + [7] * 12


def test_a_step_decodes_no_longer_than_its_longest_sample(params):
    free = plain_decode(params, CONFIG, contexts(PROMPTS[:2]), 12, eos_ids=())
    eos_ids = tuple({int(output[2]) for output in free.values()})
    rollout = make_rollout(CONFIG, slots=7, segments=1, output_limit=12, eos_ids=eos_ids)
    rollout.pool.add_prompts(PROMPTS[:2], GROUP)
    finished, metrics = rollout.run(params, 0)
    lengths = [sample.num_tokens for sample in finished]
    assert len(finished) == 4 and max(lengths) <= 3
    assert metrics["rollout/decode_steps"] == max(lengths)
    assert metrics["rollout/tokens"] == sum(lengths)
    assert metrics["rollout/slot_use"] == pytest.approx(sum(lengths) / (7 * max(lengths)))


def test_a_step_without_samples_decodes_nothing(params):
    rollout = make_rollout(CONFIG, slots=7, segments=1, output_limit=12)
    finished, metrics = rollout.run(params, 0)
    assert finished == [] and metrics["rollout/tokens"] == metrics["rollout/decode_steps"] == 0


def test_a_sample_moved_to_another_slot_goes_on_with_the_same_tokens(params, plain):
    def make():
        return make_rollout(
            CONFIG, slots=12, segments=M, output_limit=L, kv="recompute", sampling=WARM, eos_ids=EOS_IDS
        )

    first = make()
    first.pool.add_prompts(PROMPTS, GROUP)
    done = {sample.id: sample for sample in first.run(params, 0)[0]}
    second = make()  # as after a resume: nothing but the samples themselves, in the reverse order
    second.pool.waiting.extend(sample for _, sample in reversed(first.pool.occupied))
    assert second.pool.num_tokens == first.pool.num_tokens > 0  # waiting tokens are in the pool too
    assert_same_tokens(done | run_to_end(second, params, [], GROUP), plain[WARM])
