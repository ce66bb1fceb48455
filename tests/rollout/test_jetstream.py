"""The seam to JetStream: a real subclass, without its dependencies; its own driver as a client nobody here wrote."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.rollout.jetstream_driver import EOS_IDS, MAX_TOKENS
from tests.tiny import make_config, make_params, make_prompts, plain_decode
from ulorl_jax.rollout.engine import PolicyEngine, engine_api
from ulorl_jax.rollout.sampling import Sampling

ROOT = pathlib.Path(__file__).resolve().parents[2]
needs_jetstream = pytest.mark.skipif(
    importlib.util.find_spec("jetstream") is None, reason="google-jetstream is not installed (setup.sh does that)"
)

# An import hook that behaves as if jetstream were not installed.
WITHOUT_JETSTREAM = """
import importlib.util, sys
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "jetstream" else find_spec(name, package)
class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "jetstream":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, NotInstalled())
"""

LOADED = """
import json, sys
from ulorl_jax.rollout.engine import PolicyEngine, engine_api
loaded = {name.partition(".")[0] for name in sys.modules}
print(json.dumps([engine_api.__name__, issubclass(PolicyEngine, engine_api.Engine), sorted(loaded)]))
"""

DECODE = """
import json
import numpy as np
from tests.tiny import make_config, make_layout, make_params, make_prompts
from ulorl_jax.rollout.engine import EngineSpec, PolicyEngine, engine_api
from ulorl_jax.rollout.sampling import Sampling
engine = PolicyEngine(EngineSpec(make_config(), 2, 32, Sampling(0.0), (96,), make_layout("decoding")), 0)
params, state, tokens = make_params(make_config()), engine.init_decode_state(), []
prompt = make_prompts(1)[0].tokens
prefix = engine.prefill(params=params, padded_tokens=np.pad(prompt, (0, 3)), true_length=len(prompt))
state = engine.insert(prefix, state, 1)
for _ in range(6):
    state, result = engine.generate(params, state)
    (row,) = result.data[1:, result.tokens_idx[0]:result.tokens_idx[1]].tolist()
    tokens += row
try:
    engine_api.Engine()
except TypeError as error:
    abstract = str(error)
print(json.dumps([engine_api.__name__, tokens, abstract]))
"""


def run_python(source: str):
    """What a program of its own prints last, from JSON."""
    env = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, env=env, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@needs_jetstream
def test_the_engine_is_a_subclass_of_jetstreams_own_and_has_all_it_wants():
    assert engine_api.__name__ == "jetstream.engine.engine_api"
    assert engine_api.Engine in PolicyEngine.__mro__ and not PolicyEngine.__abstractmethods__
    assert engine_api.Engine.__abstractmethods__ <= set(vars(PolicyEngine))


@needs_jetstream
def test_the_seam_leaves_no_stand_in_behind_and_imports_no_tensorflow():
    name, is_subclass, loaded = run_python(LOADED)
    assert name == "jetstream.engine.engine_api" and is_subclass
    assert not {"seqio", "tensorflow", "torch", "t5"} & set(loaded) and "jetstream" in loaded


def test_where_jetstream_is_missing_the_engine_decodes_the_same():
    name, tokens, abstract = run_python(WITHOUT_JETSTREAM + DECODE)
    assert name == "engine_api" and "abstract" in abstract
    prompt = make_prompts(1)[0].tokens
    wanted = plain_decode(make_params(make_config()), make_config(), {1: prompt}, 6, sampling=Sampling(0.0), eos_ids=())
    assert tokens == wanted[1].tolist()


@needs_jetstream
def test_the_stand_in_asks_for_every_method_that_jetstream_asks_for():
    names = run_python(
        WITHOUT_JETSTREAM
        + "import json\nfrom ulorl_jax.rollout.engine import engine_api\n"
        + "print(json.dumps(sorted(engine_api.Engine.__abstractmethods__)))"
    )
    assert set(names) == set(engine_api.Engine.__abstractmethods__)


@needs_jetstream
def test_results_read_as_jetstream_reads_them():
    data = np.array([[5, 1, 3], [7, 0, 9]])
    slot = engine_api.ResultTokens(data, (0, 1), (1, 2), (2, 3), 1).get_result_at_slot(1)
    assert (slot.tokens.tolist(), slot.valid.tolist(), slot.lengths.tolist()) == ([[7]], [[0]], [9])


@needs_jetstream
def test_jetstreams_own_driver_serves_six_prompts_over_four_slots():
    for needed in ("grpc", "prometheus_client", "shortuuid"):
        pytest.importorskip(needed)
    outputs = run_python(
        "import json\nfrom tests.rollout.jetstream_driver import run_driver\nprint(json.dumps(run_driver()))"
    )
    config = make_config()
    contexts = {prompt.id: np.concatenate([[1], prompt.tokens]) for prompt in make_prompts(6)}  # after its bos id
    free = plain_decode(make_params(config), config, contexts, 12, sampling=Sampling(0.0), eos_ids=EOS_IDS)
    for i, (got, limit) in enumerate(zip(outputs, MAX_TOKENS, strict=True)):
        assert got == [token for token in free[i][:limit].tolist() if token not in EOS_IDS], f"prompt {i}"
