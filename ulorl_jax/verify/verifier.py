"""The generative verifier: a language model that reads two answers to one question and says whether they are the same.

It is the policy's own decoder with a prompt (`verify.verifier_prompt`) and two ways of use. "verdict"
reads the probability of the two verdict words off one forward pass; "reasoned" lets the model write a
justification and reads its last line. Where neither can be read, the outcome is `UNSURE`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ulorl_jax.io.tokenizer import Tokenizer
from ulorl_jax.mesh import Layout
from ulorl_jax.models.qwen3 import Qwen3Config
from ulorl_jax.models.qwen3_params import map_table
from ulorl_jax.processes import to_host
from ulorl_jax.typed import choose, demand
from ulorl_jax.types import PyTree
from ulorl_jax.verify.comparison import DIFFERENT, SAME, UNSURE, Comparison, Pair
from ulorl_jax.verify.prompt_rows import RowShapes, pack_prompts
from ulorl_jax.verify.verdict_model import VerdictModel, logprobs, verdicts
from ulorl_jax.verify.verifier_prompt import VerifierPrompt, one_line

VERDICT = "verdict"  # the probability of the two words after the prompt
REASONED = "reasoned"  # the last line of a decoded justification
_REVISION = 1  # of what this file makes of a model's numbers; goes into `version`
_SHOWN = 120  # characters of a reply in a reason


class Generate(Protocol):
    """Decodes: prompts `[n]` i32 to replies in their order, None where one did not end."""

    max_prompt_tokens: int

    def __call__(self, prompts: Sequence[np.ndarray]) -> list[str | None]: ...


class GenerativeVerifier:
    """Weights as a `Comparer`.

    Args:
      config: the network's shape.
      params: its parameters, laid out as `layout` says.
      layout: in training or decoding; rows are split as the policy's are.
      tokenizer: of the weights.
      prompt: what the weights were trained to answer.
      shapes: of packed rows.
      mode: `VERDICT` or `REASONED`.
      threshold: of P(same) / (P(same) + P(different)): from here on the answers are the same; in (0, 1].
      min_mass: of P(same) + P(different): with less, the model did not answer with a verdict; in [0, 1].
      min_token_p: for `REASONED`: the probability of the least likely token of a reply, encoded anew, its end among
        them; with less, it is a guess. In [0, 1]; of use where a justification can be written in one way only. A row
        must hold prompt and reply; 0 asks for neither.
      generate: decodes, for `REASONED`; see `replies.Replies`.
      identity: of the weights (`Weights.describe()["identity"]`) and, for `REASONED`, of how replies are decoded.

    Attributes:
      version: another one wherever an outcome may be another.

    Raises:
      ValueError: the words of the prompt begin with one token, the prompt cannot be encoded, parameters or tokenizer
        are of another network, there is no `generate` to reason with, or a number is out of range.
    """

    def __init__(
        self,
        config: Qwen3Config,
        params: PyTree,
        layout: Layout,
        tokenizer: Tokenizer,
        prompt: VerifierPrompt,
        shapes: RowShapes,
        *,
        mode: str = VERDICT,
        threshold: float = 0.5,
        min_mass: float = 0.5,
        min_token_p: float = 0.0,
        generate: Generate | None = None,
        identity: str = "",
    ):
        self._judge = choose({VERDICT: self._read, REASONED: self._reason}, mode, "verifier mode")
        demand(0 < threshold <= 1, "verifier threshold must be in (0, 1]", threshold, "0.5 takes the likelier verdict")
        demand(0 <= min_mass <= 1, "verifier min_mass must be in [0, 1]", min_mass, "0.5 wants most of the probability")
        demand(0 <= min_token_p <= 1, "verifier min_token_p must be in [0, 1]", min_token_p, "0 takes every reply")
        for name, value in dataclasses.asdict(shapes).items():
            demand(bool(value) and np.min(value) >= 1, f"verifier {name} must be at least 1", value, "set it to more")
        demand(mode != REASONED or generate is not None, "a reasoned verdict is decoded", generate, "give generate")
        demand(layout.ways("tokens") == 1, "a verifier reads whole rows", layout, "give it the decoding layout")
        layout.sharding("rows", shape=(shapes.rows,))  # refuses rows the mesh cannot split
        _check_fit(config, params, tokenizer)
        self._model, self._params = VerdictModel(config, layout), params
        self._tokenizer, self._prompt, self._shapes, self._generate = tokenizer, prompt, shapes, generate
        self._threshold, self._min_mass, self._min_token_p = threshold, min_mass, min_token_p
        self._verdict_ids = np.array(prompt.verdict_ids(tokenizer), np.int32)
        self._encode(Pair("1", "1", "1"), mode == REASONED)  # refuses what would leave every pair undecided
        decides = [
            _REVISION,
            identity,
            mode,
            threshold,
            min_mass,
            min_token_p,
            dataclasses.asdict(prompt),
            tokenizer.describe(),
        ]
        told = json.dumps([*decides, dataclasses.asdict(config)], sort_keys=True)
        self.version = f"verifier-{hashlib.sha256(told.encode()).hexdigest()[:12]}"

    def compare(self, pairs: Sequence[Pair]) -> list[Comparison]:
        """One comparison per pair, in their order.

        Args:
          pairs: any text.

        Returns:
          `SAME` or `DIFFERENT`; `UNSURE` where an answer is empty, a pair is too long or has no ids, or where the
          model said no verdict.
        """
        return self._judge(pairs)

    def scores(self, pairs: Sequence[Pair]) -> list[float | None]:
        """P(same) / (P(same) + P(different)) after the prompt of `VERDICT`, whatever the mode.

        Args:
          pairs: any text.

        Returns:
          In [0, 1]; None where `compare` would be unsure.
        """
        return [found if isinstance(found, float) else None for found in self._score(pairs)]

    def _read(self, pairs: Sequence[Pair]) -> list[Comparison]:
        def compared(found: float | str) -> Comparison:
            if isinstance(found, str):
                return Comparison(UNSURE, found)
            return Comparison(SAME if found >= self._threshold else DIFFERENT, f"verifier: P(same) = {found:.4f}")

        return [compared(found) for found in self._score(pairs)]

    def _reason(self, pairs: Sequence[Pair]) -> list[Comparison]:
        assert self._generate is not None
        prompts = [self._try_to_encode(pair, True, self._generate.max_prompt_tokens) for pair in pairs]
        asked = [ids for ids in prompts if not isinstance(ids, str)]
        replies = self._generate(asked)
        guesses = self._guesses(asked, replies) if self._min_token_p else {}
        told = iter([(reply, guesses.get(place)) for place, reply in enumerate(replies)])

        def compared(reply: str | None, guess: str | None) -> Comparison:
            if reply is None:
                return Comparison(UNSURE, "verifier: the reply did not end")
            outcome, shown = self._prompt.parse_reasoned(reply), one_line(reply)[-_SHOWN:]
            if guess:
                return Comparison(UNSURE, f"verifier: {guess} in {shown!r}")
            return Comparison(outcome or UNSURE, f"verifier: {'' if outcome else 'no verdict at the end of '}{shown!r}")

        return [Comparison(UNSURE, ids) if isinstance(ids, str) else compared(*next(told)) for ids in prompts]

    def _guesses(self, prompts: Sequence[np.ndarray], replies: Sequence[str | None]) -> dict[int, str]:
        """What makes a reply a guess, by its place."""
        outputs: dict[int, np.ndarray] = {}
        found: dict[int, str] = {}
        for place, reply in enumerate(replies):
            try:
                if reply is not None:
                    outputs[place] = self._tokenizer.encode_output(reply)
            except ValueError as error:  # a model may say what its tokenizer never writes
                found[place] = f"no ids, {error},"
        contexts = {place: np.concatenate([prompts[place], output]) for place, output in outputs.items()}
        longest = max(self._shapes.lengths)
        found |= {place: "more tokens than a row has" for place, ids in contexts.items() if len(ids) > longest}
        kept = {place: ids for place, ids in contexts.items() if place not in found}
        for members, (*arrays, ends) in pack_prompts(kept, self._shapes):
            logp = to_host(logprobs(self._model, self._params, *arrays))
            for (row, number), place in members.items():
                end = ends[row, number] + 1
                least = float(np.exp(np.min(logp[row, end - len(outputs[place]) : end])))
                if not least >= self._min_token_p:  # not a number, too
                    found[place] = f"a token of probability {least:.2f}"
        return found

    def _score(self, pairs: Sequence[Pair]) -> list[float | str]:
        """Of each pair P(same | a verdict), or why there is none."""
        prompts = [self._try_to_encode(pair, False, max(self._shapes.lengths)) for pair in pairs]
        found: list[float | str] = [ids if isinstance(ids, str) else "" for ids in prompts]
        kept = {index: ids for index, ids in enumerate(prompts) if not isinstance(ids, str)}
        for members, arrays in pack_prompts(kept, self._shapes):
            logits, log_mass = to_host(verdicts(self._model, self._params, *arrays, self._verdict_ids))
            for (row, place), index in members.items():
                same, different = logits[row, place].astype(np.float64)
                mass = float(np.exp(log_mass[row, place]))
                if mass >= self._min_mass:
                    found[index] = float(np.exp(-np.logaddexp(0.0, different - same)))
                else:  # not a number, too
                    found[index] = f"verifier: no verdict, P(same) + P(different) = {mass:.4f}"
        return found

    def _try_to_encode(self, pair: Pair, reasoned: bool, limit: int) -> np.ndarray | str:
        """The prompt's ids, or why there are none."""
        empty = [name for name in ("reference", "predicted") if not one_line(getattr(pair, name))]
        if empty:
            return f"verifier: the {empty[0]} answer is empty"
        try:
            ids = self._encode(pair, reasoned)
        except ValueError as error:
            return f"verifier: {error}"
        return ids if len(ids) <= limit else f"verifier: too long, {len(ids)} tokens of at most {limit}"

    def _encode(self, pair: Pair, reasoned: bool) -> np.ndarray:
        return self._prompt.encode(self._tokenizer, pair, reasoned)


def _check_fit(config: Qwen3Config, params: PyTree, tokenizer: Tokenizer) -> None:
    def shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
        return {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}

    wanted, given = shapes(map_table(lambda row: jax.ShapeDtypeStruct(row.shape, jnp.float32), config)), shapes(params)
    names = sorted(wanted.keys() | given)
    differ = {name: (wanted.get(name), given.get(name)) for name in names if wanted.get(name) != given.get(name)}
    demand(not differ, "the verifier's parameters must have its config's shapes", differ, "make (wanted, given) agree")
    sizes = tokenizer.vocab_size, config.vocab_size
    demand(sizes[0] <= sizes[1], "the tokenizer must have no ids that the model lacks", sizes, "use the weights' own")
