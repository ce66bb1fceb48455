"""From outputs to rewards: what is 1, what 0, what an error; who is asked, and who remembers."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import base
from tests.processes import children
from tests.tiny import make_layout, make_params
from tests.verifiers import DENSE, TERSE, chain_params
from ulorl_jax.inputs import make_judge
from ulorl_jax.io.checkpoints import Checkpoints
from ulorl_jax.io.tokenizer import ByteTokenizer
from ulorl_jax.rewards import Cached, FirstThen, Judge, to_attempts
from ulorl_jax.sections import VerifySettings
from ulorl_jax.typed import build
from ulorl_jax.types import EOS, LIMIT, Attempt, Prompt, Sample, Segment, Verdict
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Comparison, Pair
from ulorl_jax.verify.final_answer import FinalAnswer
from ulorl_jax.weights import fingerprint


class Table:
    """A comparer that says what it is told to, by the predicted answer, and notes who was asked."""

    version = "table-1"

    def __init__(self, outcomes: dict[str, str]):
        self.outcomes = outcomes
        self.asked: list[Pair] = []

    def compare(self, pairs: Sequence[Pair]) -> list[Comparison]:
        self.asked += pairs
        return [Comparison(self.outcomes[pair.predicted], f"told of {pair.predicted}") for pair in pairs]

    def predicted(self) -> list[str]:
        """What was asked about since the last look."""
        asked, self.asked = [pair.predicted for pair in self.asked], []
        return asked


def pair(predicted: str, reference: str = "r", question: str = "q") -> Pair:
    return Pair(question, reference, predicted)


def outcomes(comparer, *predicted: str) -> list[str]:
    return [comparison.outcome for comparison in comparer.compare([pair(text) for text in predicted])]


# The judge


def test_every_way_an_output_can_end_has_its_reward_whatever_stands_beside_it():
    judge = Judge(Table({"1": SAME, "2": DIFFERENT, "3": UNSURE}), "####")
    attempts = {
        "truncated, though the answer is there": (Attempt("q", "1", "#### 1", truncated=True), 0.0, None),
        "right": (Attempt("q", "1", "so\n#### 1"), 1.0, "1"),
        "no answer at all": (Attempt("q", "1", "I do not know."), 0.0, None),
        "not known": (Attempt("q", "1", "#### 3"), None, "3"),
        "wrong": (Attempt("q", "1", r"that is \boxed{2}"), 0.0, "2"),
        "a reference without an answer": (Attempt("q", " ", "#### 1"), None, None),
        "thought, not said": (Attempt("q", "1", r"<think>\boxed{1}</think>"), 0.0, None),
    }
    for order in (list(attempts.values()), list(attempts.values())[::-1]):
        verdicts = judge([attempt for attempt, _, _ in order])
        assert [(v.reward, v.answer) for v in verdicts] == [(reward, answer) for _, reward, answer in order]
        assert all(v.reason for v in verdicts)
    assert judge([]) == [] and judge.version == "table-1"


def test_a_verdict_says_what_was_read_and_an_error_why_nobody_knows():
    judge = Judge(Table({"1": SAME, "2": DIFFERENT, "3": UNSURE}), "####")
    right, wrong, error = judge([Attempt("q", "#### 7", f"#### {answer}") for answer in "123"])
    assert right.reason == "'1': told of 1" and wrong.reason == "'2', not '7': told of 2"
    assert error == Verdict(None, "told of 3", "3")


@given(st.lists(st.tuples(st.sampled_from([SAME, DIFFERENT, UNSURE]), st.booleans()), max_size=12))
def test_an_error_is_never_a_zero_and_a_zero_never_an_error(members):
    table = Table({str(index): outcome for index, (outcome, _) in enumerate(members)})
    for judge in (Judge(table, "####"), Judge(Cached(table, 4, by_question=True), "####")):
        verdicts = judge([Attempt("q", "r", f"#### {i}", cut) for i, (_, cut) in enumerate(members)])
        wanted = [0.0 if cut else {SAME: 1.0, DIFFERENT: 0.0, UNSURE: None}[outcome] for outcome, cut in members]
        assert [verdict.reward for verdict in verdicts] == wanted


def test_only_answers_that_were_read_reach_the_comparer_with_question_and_reference():
    table = Table({"5": SAME})
    judge = Judge(table, "####")
    judge([Attempt("How many?", "He has\n#### 6", "#### 5"), Attempt("?", "6", ""), Attempt("?", "6", "#### 5", True)])
    assert table.asked == [Pair("How many?", "6", "5")]
    assert judge.reads("He has\n#### 6") and not judge.reads("####")


def test_samples_become_attempts_without_their_end_token():
    def sample(text, finished):
        tokens = np.frombuffer(text.encode(), np.uint8).astype(np.int32)
        segment = Segment(tokens, np.zeros(len(tokens), np.float32), 0, "prefill")
        return Sample(0, Prompt(0, tokens[:1], "7", question="How many?")).append(segment, finished)

    tokenizer = ByteTokenizer(128, (10,))
    assert to_attempts([sample("#7\n", EOS), sample("#7", LIMIT)], tokenizer) == [
        Attempt("How many?", "7", "#7", False),
        Attempt("How many?", "7", "#7", True),
    ]


# The memory


def test_what_is_the_same_or_different_is_asked_once_and_what_is_unsure_again():
    table = Table({"a": SAME, "b": DIFFERENT, "c": UNSURE})
    cached = Cached(table, 10, by_question=False)
    assert outcomes(cached, "a", "b", "a", "c", "c") == [SAME, DIFFERENT, SAME, UNSURE, UNSURE]
    assert table.predicted() == ["a", "b", "c"] and cached.hits == 2
    assert outcomes(cached, "c", "b", "a") == [UNSURE, DIFFERENT, SAME]
    assert table.predicted() == ["c"] and cached.hits == 4
    assert cached.compare([pair("a")]) == [Comparison(SAME, "told of a")]
    assert cached.version == table.version


def test_a_comparer_that_got_well_is_believed_after_it_was_unsure():
    table = Table({"a": UNSURE})
    cached = Cached(table, 10, by_question=False)
    assert outcomes(cached, "a") == [UNSURE]
    table.outcomes["a"] = SAME  # the deadline had passed, now it is in time
    assert outcomes(cached, "a") == [SAME]
    table.outcomes["a"] = UNSURE
    assert outcomes(cached, "a") == [SAME]


def test_the_longest_unused_is_forgotten_first():
    table = Table(dict.fromkeys("abcd", SAME))
    cached = Cached(table, 2, by_question=False)
    for text in "abac":  # b was used longest ago
        outcomes(cached, text)
    assert table.predicted() == ["a", "b", "c"]
    outcomes(cached, "a", "c", "b")
    assert table.predicted() == ["b"]
    forgetful = Cached(table, 0, by_question=False)
    assert outcomes(forgetful, "a", "a") == outcomes(forgetful, "a", "d") == [SAME, SAME]
    assert table.predicted() == ["a", "a", "d"]


@pytest.mark.parametrize("by_question", [True, False])
def test_two_questions_share_what_is_remembered_unless_the_comparer_reads_them(by_question):
    table = Table({"a": SAME})
    cached = Cached(table, 10, by_question=by_question)
    cached.compare([pair("a"), pair("a", question="another")])
    cached.compare([pair("a", reference="other")])
    assert len(table.asked) == (3 if by_question else 2)


# First one, then the other


def test_the_second_is_asked_only_what_the_first_is_unsure_of_and_both_reasons_are_kept():
    first = Table({"a": SAME, "b": UNSURE, "c": DIFFERENT, "d": UNSURE, "e": UNSURE})
    second = Table({"b": SAME, "d": DIFFERENT, "e": UNSURE})
    both = FirstThen(first, second)
    assert outcomes(both, *"abcde") == [SAME, SAME, DIFFERENT, DIFFERENT, UNSURE]
    assert second.predicted() == ["b", "d", "e"]
    (unsure,) = both.compare([pair("e")])
    assert unsure.reason == "told of e; told of e" and both.version == "table-1 then table-1"
    assert both.compare([]) == []


# The judges that settings name


def settings(**changes) -> VerifySettings:
    config = base.verify()
    config.update_from_flattened_dict(changes)
    return build(VerifySettings, config.to_dict())


ASKED = {"rows": 8, "row_lengths": (96, 192), "prompts_per_row": 2, "dtype": "float32"}
VERIFIER = {"verifier.tokenizer.kind": "bytes", "verifier.tokenizer.eos_ids": (3,)} | {
    f"verifier.{name}": value for name, value in ASKED.items()
}


def write_verifier(folder, config, params):
    """A folder as launch/train_verifier.py leaves it."""
    TERSE.save(folder)
    with Checkpoints(folder / "checkpoints", keep=1, fingerprint=fingerprint(config)) as checkpoints:
        checkpoints.save(1, state=params, host={}, arrays={})
    return {"verifier.weights": str(folder)} | VERIFIER


@pytest.fixture(scope="module")
def agreeing(tmp_path_factory):
    """A verifier that takes all answers for the same."""
    return write_verifier(tmp_path_factory.mktemp("agreeing"), *chain_params({"\n": {"s": 9.0, "d": 1.0}}))


def boxed(reference: str, predicted: str, question: str = "How long is it?") -> Attempt:
    return Attempt(question, reference, rf"So it is \boxed{{{predicted}}}.")


def rewards(judge, *pairs: tuple[str, str]) -> list[float | None]:
    return [verdict.reward for verdict in judge([boxed(*pair) for pair in pairs])]


UNKNOWN = ("the reader decides", "it is up to him")  # texts of which no rule can say that they differ


def test_rules_judge_units_numbers_and_words_and_say_what_they_do_not_know():
    judge = make_judge(settings(kind="rules", workers=1), make_layout("decoding"))
    try:
        known = [("27cm", "0.27m"), ("1/2", "0.5"), ("27cm", "27m"), ("3", "3 or 5"), ("1/3", "0.333")]
        assert rewards(judge, *known) == [1.0, 1.0, 0.0, 0.0, 0.0]
        assert judge([boxed("7", "7.0")])[0].answer == judge([boxed("7", "7")])[0].answer
    finally:
        judge.close()


def test_a_closed_judge_leaves_no_process_behind():
    before = children()
    judge = make_judge(settings(kind="rules", workers=2), make_layout("decoding"))
    assert rewards(judge, (r"\sqrt{8}", r"2\sqrt{2}"), ("(x+1)^2", "x^2+2x+1"), ("(x+1)^3", "x^3+1")) == [1.0, 1.0, 0.0]
    assert len(children() - before) == 2
    judge.close()
    assert not children() - before
    judge.close()  # once more does no harm


@pytest.mark.parametrize("mode", ["verdict", "reasoned"])
def test_a_random_verifier_s_weights_are_read_from_its_folder_and_judge(tmp_path, mode):
    found = write_verifier(tmp_path, DENSE, make_params(DENSE))
    changes = {"verifier.mode": mode, "verifier.min_mass": 0.0, "verifier.output_limit": 8, "verifier.slots": 8}
    judge = make_judge(settings(kind="verifier", **(found | changes)), make_layout("decoding"))
    verdicts = judge([boxed("27 cm", str(number)) for number in range(20)] + [boxed("27 cm", "9" * 400)])
    assert verdicts[-1].reward is None and "too long" in verdicts[-1].reason
    if mode == "verdict":
        assert {verdict.reward for verdict in verdicts[:-1]} <= {0.0, 1.0}
        assert all("P(same) = " in verdict.reason for verdict in verdicts[:-1])
    else:  # eight random bytes hold no verdict: an error, never a 0
        assert {verdict.reward for verdict in verdicts} == {None}
    judge.close()


def test_the_verifier_is_asked_where_the_rules_are_unsure_and_nowhere_else(agreeing):
    pairs = [("27cm", "0.27m"), ("27cm", "27m"), UNKNOWN]
    wanted = {"rules": [1.0, 0.0, None], "verifier": [1.0, 1.0, 1.0], "rules_then_verifier": [1.0, 0.0, 1.0]}
    versions = set()
    for kind, expected in wanted.items():
        judge = make_judge(settings(kind=kind, workers=1, **agreeing), make_layout("decoding"))
        assert rewards(judge, *pairs) == expected == rewards(judge, *pairs)
        assert judge.hits == sum(reward is not None for reward in expected)
        versions.add(judge.version)
        judge.close()
    assert len(versions) == 3


def test_a_verifier_s_answer_is_remembered_under_its_question(agreeing):
    judge = make_judge(settings(kind="verifier", **agreeing), make_layout("decoding"))
    judge([boxed("1", "2", "a"), boxed("1", "2", "b"), boxed("1", "2", "a")])
    assert judge.hits == 1
    judge.close()


@pytest.mark.slow
def test_sharded_over_eight_devices_a_verifier_judges_the_same(tmp_path, devices):
    found = write_verifier(tmp_path, DENSE, make_params(DENSE)) | {"verifier.min_mass": 0.0}
    attempts = [boxed("27 cm", str(number)) for number in range(20)]
    one = make_judge(settings(kind="verifier", **found), make_layout("decoding"))
    eight = make_judge(settings(kind="verifier", **found), make_layout("decoding", devices, data=2, fsdp=2, tensor=2))
    assert [v.reward for v in one(attempts)] == [v.reward for v in eight(attempts)]
    assert one.version == eight.version


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "boxed"}, r"verify.kind must be one of .*'final_answer', 'rules', 'rules_then_verifier'"),
        ({"kind": "verifier"}, "verify.verifier.weights is the folder of the verifier's weights; got '': set it"),
        ({"kind": "verifier", "verifier.weights": "nowhere"}, "holds no weights"),
    ],
    ids=str,
)
def test_a_judge_that_cannot_be_made_is_refused_with_what_to_do(changes, message):
    with pytest.raises(ValueError, match=message):
        make_judge(settings(**changes), make_layout("decoding"))


def test_a_verifier_of_a_byte_model_without_its_prompt_is_refused_for_the_common_one_is_a_chat(agreeing, tmp_path):
    with Checkpoints(tmp_path / "checkpoints", keep=1, fingerprint=fingerprint(DENSE)) as checkpoints:
        checkpoints.save(1, state=make_params(DENSE), host={}, arrays={})
    changes = agreeing | {"verifier.weights": str(tmp_path)}
    with pytest.raises(ValueError, match="the byte tokenizer has no chat format"):
        make_judge(settings(kind="verifier", **changes), make_layout("decoding"))


def test_an_empty_marker_is_refused():
    with pytest.raises(ValueError, match="marker is ' '"):
        Judge(FinalAnswer(), " ")([Attempt("", "7", "7")])
