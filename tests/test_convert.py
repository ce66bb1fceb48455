"""Conversion there and back: the same bits, a folder that transformers loads, one line for what is wrong."""

import json
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests import hf_folders, runs
from tests.tiny import make_config, make_moe_config, make_params
from ulorl_jax.convert import convert
from ulorl_jax.io.checkpoints import Checkpoints
from ulorl_jax.models.rope import RopeScaling
from ulorl_jax.weights import fingerprint, open_weights

KINDS = pytest.mark.parametrize("kind", hf_folders.KINDS)
TOKENIZER = {"tokenizer.json": '{"a": 1}', "tokenizer_config.json": "{}", "chat_template.jinja": "{{ x }}"}


def there_and_back(source: pathlib.Path, folder: pathlib.Path, **options) -> pathlib.Path:
    """HF -> orbax -> HF."""
    convert(open_weights(source), folder / "orbax", "orbax")
    convert(open_weights(folder / "orbax"), folder / "back", "hf", **options)
    return folder / "back"


@KINDS
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_comes_back_is_bitwise_what_transformers_wrote_and_transformers_loads_it(tmp_path, kind, dtype):
    source = hf_folders.write(tmp_path / "hf", kind, dtype=dtype, shard="40KB")
    back = there_and_back(source, tmp_path, max_shard_bytes=30_000)
    assert len(list(back.glob("model-*.safetensors"))) > 1
    assert hf_folders.tensors(back) == hf_folders.tensors(source)
    tokens = np.random.default_rng(0).integers(0, 96, 256)
    one, other = (hf_folders.logits(hf_folders.load(folder), tokens) for folder in (source, back))
    np.testing.assert_array_equal(one, other)


def test_the_tokenizers_files_and_the_other_keys_of_the_config_go_along(tmp_path):
    source = hf_folders.write(tmp_path / "hf", "dense, tied", dtype="bfloat16")
    for name, text in TOKENIZER.items():
        (source / name).write_text(text)
    config = json.loads((source / "config.json").read_text()) | {"of_their_own": 1}
    (source / "config.json").write_text(json.dumps(config))
    (source / "optimizer.pt").write_text("not ours")
    back = there_and_back(source, tmp_path)
    assert sorted(path.name for path in back.iterdir()) == sorted(
        ["config.json", "generation_config.json", "model.safetensors", *TOKENIZER]
    )
    assert all((back / name).read_text() == text for name, text in TOKENIZER.items())
    assert (back / "generation_config.json").read_bytes() == (source / "generation_config.json").read_bytes()
    written = json.loads((back / "config.json").read_text())
    changed = {key for key in config.keys() | written.keys() if config.get(key) != written.get(key)}
    assert changed == {"dtype", "torch_dtype", "rope_parameters", "rope_theta"}  # the older spelling
    assert sorted(path.name for path in (tmp_path / "orbax").iterdir()) == ["0", "hf"]


def test_files_of_another_folder_take_the_place_of_those_kept(tmp_path):
    source = hf_folders.write(tmp_path / "hf", "dense, tied")
    (source / "tokenizer.json").write_text("theirs")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "tokenizer.json").write_text("mine")
    (tmp_path / "mine" / "config.json").write_text('{"model_type": "llama"}')
    back = there_and_back(source, tmp_path, tokenizer=tmp_path / "mine")
    assert (back / "tokenizer.json").read_text() == "mine" and not (back / "generation_config.json").exists()
    assert json.loads((back / "config.json").read_text())["model_type"] == "qwen3"


def test_the_dtype_is_the_one_the_weights_came_in_unless_another_is_asked_for(tmp_path):
    source = hf_folders.write(tmp_path / "hf", "dense, tied", dtype="bfloat16")
    assert convert(open_weights(source), tmp_path / "orbax", "orbax") == "float32"
    kept = open_weights(tmp_path / "orbax")
    assert set(kept.saved.layout.values()) and all(text.startswith("float32") for text in kept.saved.layout.values())
    assert convert(kept, tmp_path / "a", "hf") == "bfloat16"
    assert convert(kept, tmp_path / "b", "hf", dtype="float32") == "float32"
    assert convert(open_weights(source), tmp_path / "c", "hf", dtype="float16") == "float16"
    for name, dtype in (("a", "bfloat16"), ("b", "float32"), ("c", "float16")):
        assert {kind for kind, *_ in hf_folders.tensors(tmp_path / name).values()} == {f"torch.{dtype}"}
        assert open_weights(tmp_path / name).config.dtype == dtype


@pytest.mark.parametrize(
    "config",
    [make_config(), make_moe_config(tie_word_embeddings=False), make_config(rope_scaling=RopeScaling(1.5, 64))],
    ids=["dense", "experts", "YaRN"],
)
def test_weights_trained_from_nothing_become_a_folder_that_transformers_loads(tmp_path, config):
    params = make_params(config)
    with Checkpoints(tmp_path / "warm_start", keep=1, fingerprint=fingerprint(config)) as checkpoints:
        checkpoints.save(9, state=params, host={}, arrays={})
    assert convert(open_weights(tmp_path / "warm_start"), tmp_path / "hf", "hf") == "float32"
    from tests.test_weights import load, logits

    again = open_weights(tmp_path / "hf")
    assert again.config == config
    for one, other in zip(jax.tree.leaves(load(again)), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(one, other)
    tokens = np.random.default_rng(0).integers(0, 96, 128)
    wanted = hf_folders.logits(hf_folders.load(tmp_path / "hf"), tokens)
    assert np.abs(np.asarray(logits(params, config, tokens)) - wanted).max() <= 2e-4


def test_a_conversion_that_fails_leaves_nothing_and_one_that_is_done_stays(tmp_path):
    source = hf_folders.write(tmp_path / "hf", "dense, tied", shard="40KB")
    damaged = shutil.copytree(source, tmp_path / "damaged")
    path = max(damaged.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])
    for to in ("hf", "orbax"):
        with pytest.raises(ValueError, match="is truncated"):
            convert(open_weights(damaged), tmp_path / "out", to)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "hf"]
    for to in ("hf", "orbax"):
        with pytest.raises(ValueError, match="is there already and not an empty folder"):
            convert(open_weights(source), damaged, to)


def command(*arguments) -> subprocess.CompletedProcess:
    """What a user types and reads."""
    line = [sys.executable, "launch/convert.py", *map(str, arguments)]
    return subprocess.run(
        line, cwd=runs.ROOT, env=runs.environment(), capture_output=True, text=True, timeout=runs.DEADLINE
    )


def test_the_command_line_converts_there_and_back_and_refuses_in_one_line(tmp_path):
    source = hf_folders.write(tmp_path / "hf", "experts, weights renormalised", dtype="bfloat16")
    for arguments in (
        [source, tmp_path / "orbax", "--to=orbax"],
        [tmp_path / "orbax", tmp_path / "back", "--to=hf", "--shard_gb=0.00003", "--step=0"],
    ):
        done = command(*arguments)
        assert done.returncode == 0, done.stderr
        assert "weights: 75/75" in done.stdout and "-> " in done.stdout and "--tokenizer=FOLDER" in done.stdout
    assert hf_folders.tensors(tmp_path / "back") == hf_folders.tensors(source)
    assert len(list((tmp_path / "back").glob("*.safetensors"))) > 2

    done = command(tmp_path / "orbax", tmp_path / "back", "--to=hf")
    assert done.returncode == 1 and done.stderr.startswith(f"error: {tmp_path / 'back'} is there already")
    assert done.stderr.count("\n") == 1
    done = command(tmp_path, tmp_path / "new", "--to=hf")
    assert done.returncode == 1 and done.stderr.startswith(f"error: {tmp_path} holds no weights")
    assert not (tmp_path / "new").exists()


def test_a_folder_without_a_tokenizer_is_not_taken_for_one(tmp_path):
    source = hf_folders.write(tmp_path / "hf", "dense, tied")
    with pytest.raises(ValueError, match="nothere holds no tokenizer"):
        convert(open_weights(source), tmp_path / "out", "hf", tokenizer=tmp_path / "nothere")
    assert not (tmp_path / "out").exists()
