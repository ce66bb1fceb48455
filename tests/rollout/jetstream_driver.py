"""JetStream's own driver serves six prompts over four slots of our engine; prints their outputs as JSON.

A process of its own (see test_jetstream.py): the driver starts threads, ends the
process when one of them fails, and turns the root logger up.
"""

import asyncio
import json
import logging

import jax

from tests.tiny import SEED, make_config, make_layout, make_params, make_prompts
from ulorl_jax.rollout.engine import EngineSpec, PolicyEngine, engine_api
from ulorl_jax.rollout.sampling import Sampling

EOS_IDS = (10, 43)
# What each request asks for; the second stops long before its sample would.
MAX_TOKENS = (12, 2, 12, 12, 7, 12)


def run_driver() -> list[list[int]]:
    """The ids the driver streams back for each prompt."""
    jax.tree_map = jax.tree.map  # gone from jax, still called by the driver
    from jetstream.core import orchestrator
    from jetstream.core.proto import jetstream_pb2
    from jetstream.engine import tokenizer_api, tokenizer_pb2

    logging.getLogger().setLevel(logging.WARNING)
    assert issubclass(PolicyEngine, engine_api.Engine) and engine_api.__name__ == "jetstream.engine.engine_api"

    class Ids(tokenizer_api.Tokenizer):
        """Token ids in, token ids out."""

        pad_id, eos_id, bos_id = 0, EOS_IDS[0], 1

        @property
        def stop_tokens(self):
            return set(EOS_IDS)

        def encode(self, s, **kwargs):
            raise AssertionError("no text is sent")

        def decode(self, token_ids, **kwargs):
            raise AssertionError("no text is asked for")

    class Served(PolicyEngine):
        """Our engine, with what only a server needs."""

        def get_tokenizer(self):
            return tokenizer_pb2.TokenizerParameters(path="ids")

        def build_tokenizer(self, metadata):
            return Ids()

    config = make_config()
    # The width is one of JetStream's own prefill lengths.
    engine = Served(EngineSpec(config, 4, 64, Sampling(0.0), EOS_IDS, make_layout("decoding")), SEED)
    params = engine.load_params(make_params(config))
    driver = orchestrator.Driver(
        prefill_engines=[engine],
        generate_engines=[engine],
        prefill_params=[params],
        generate_params=[params],
        interleaved_mode=True,
    )
    client = orchestrator.LLMOrchestrator(driver=driver)

    async def ask(prompt, max_tokens):
        # The driver puts a bos id before what it is sent.
        content = jetstream_pb2.DecodeRequest.TokenContent(token_ids=prompt.tokens.tolist())
        request = jetstream_pb2.DecodeRequest(
            session_cache="", token_content=content, priority=1, max_tokens=max_tokens
        )
        return [i async for reply in client.Decode(request) for i in reply.stream_content.samples[0].token_ids]

    async def ask_all():
        asked = zip(make_prompts(6), MAX_TOKENS, strict=True)
        return await asyncio.wait_for(asyncio.gather(*(ask(*each) for each in asked)), timeout=100)

    # A thread of JetStream's closes each reply's channel a moment after its last token: the loop must still be open.
    loop = asyncio.new_event_loop()
    outputs = loop.run_until_complete(ask_all())
    driver.stop()
    loop.close()
    return outputs


if __name__ == "__main__":
    print(json.dumps(run_driver()))
