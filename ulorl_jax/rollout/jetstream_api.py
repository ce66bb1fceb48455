"""The seam to JetStream: its abstract `Engine` and `ResultTokens`, without its dependencies.

google-jetstream 0.2.2 names two classes of seqio, which would bring TensorFlow along
(3.8 GB, 5 s of import) for a tokenizer this project does not use. A stand-in with the
two names is put in place while jetstream is imported and is taken away again. Where
jetstream is not installed, an abstract class with the same methods takes its place.
"""

from __future__ import annotations

import abc
import importlib.util
import sys
import types
from typing import Any

_METHODS = ("prefill", "generate", "insert", "load_params", "get_prefix_destination_sharding", "get_tokenizer")
_PROPERTIES = ("max_concurrent_decodes", "samples_per_slot", "max_prefill_length", "mesh", "colocated_cpus")


def import_engine_api() -> Any:
    """`jetstream.engine.engine_api`, or a module of the same form where jetstream is missing.

    Returns:
      A module with `Engine` and `ResultTokens`.
    """
    if importlib.util.find_spec("jetstream") is None:
        return _own_api()
    missing = importlib.util.find_spec("seqio") is None
    if missing:
        vocabularies = types.ModuleType("seqio.vocabularies")
        vocabularies.Vocabulary = type("Vocabulary", (), {})  # pyright: ignore[reportAttributeAccessIssue]
        vocabularies.SentencePieceVocabulary = type(  # pyright: ignore[reportAttributeAccessIssue]
            "SentencePieceVocabulary", (), {}
        )
        seqio = types.ModuleType("seqio")
        seqio.vocabularies = vocabularies  # pyright: ignore[reportAttributeAccessIssue]
        sys.modules.update({"seqio": seqio, "seqio.vocabularies": vocabularies})
    try:
        from jetstream.engine import engine_api
    finally:
        if missing:
            del sys.modules["seqio"], sys.modules["seqio.vocabularies"]
    return engine_api


def _own_api() -> types.ModuleType:
    def abstract(self, *args, **kwargs):
        raise TypeError("abstract")

    members: dict[str, Any] = {name: abc.abstractmethod(abstract) for name in (*_METHODS, "init_decode_state")}
    members |= {name: property(abc.abstractmethod(abstract)) for name in _PROPERTIES}

    class ResultTokens:
        """One `[C, 3]` array with token, validity and length per slot."""

        def __init__(self, data, tokens_idx, valid_idx, length_idx, samples_per_slot):
            self.data, self.samples_per_slot = data, samples_per_slot
            self.tokens_idx, self.valid_idx, self.length_idx = tokens_idx, valid_idx, length_idx

    api = types.ModuleType("engine_api")
    api.Engine = abc.ABCMeta("Engine", (), members)  # pyright: ignore[reportAttributeAccessIssue]
    api.ResultTokens = ResultTokens  # pyright: ignore[reportAttributeAccessIssue]
    return api
