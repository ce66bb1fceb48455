"""Converts weights: python launch/convert.py SOURCE DESTINATION --to=hf

SOURCE is a Hugging Face folder, a run's folder, its warm_start folder, or a folder that this
script wrote. --to=hf writes safetensors shards that transformers loads, with config and
tokenizer files; --to=orbax a checkpoint that warm_start.checkpoint can start from. Works in
the host's memory: the parameters in the dtype that is written, and one tensor at a time.
"""

import os
import pathlib
import sys

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])  # not launch/: its inspect.py is not Python's
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags, logging

from launch.cli import errors_for_people

TO = flags.DEFINE_enum("to", None, ["hf", "orbax"], "What to write.")
DTYPE = flags.DEFINE_enum(
    "dtype",
    None,
    ["float32", "bfloat16", "float16"],
    "Of the weights written. Default: for orbax float32, what training keeps; for hf that of the config.json which "
    "the weights came with, float32 where there was none.",
)
STEP = flags.DEFINE_integer("step", None, "Which checkpoint of a run; default: the newest.")
TOKENIZER = flags.DEFINE_string(
    "tokenizer", None, "Folder whose tokenizer and generation files are written, not those kept with the weights."
)
SHARD_GB = flags.DEFINE_float("shard_gb", 5.0, "hf: a file is at most so many GB.", lower_bound=0.0)


def main(argv: list[str]) -> None:
    """Opens the source, converts it, says what was written."""
    if len(argv) != 3:
        raise app.UsageError("want two arguments: SOURCE and DESTINATION")
    logging.set_verbosity(logging.WARNING)
    source, destination = argv[1], pathlib.Path(argv[2])
    import jax

    jax.config.update("jax_platforms", "cpu")  # an accelerator has less memory, and a run may be using it
    from ulorl_jax.convert import convert
    from ulorl_jax.weights import open_weights

    with errors_for_people():
        weights = open_weights(source, STEP.value)
        dtype = convert(
            weights,
            destination,
            str(TO.value),
            dtype=DTYPE.value,
            tokenizer=None if TOKENIZER.value is None else pathlib.Path(TOKENIZER.value),
            max_shard_bytes=int(SHARD_GB.value * 1e9),
        )
    print(f"{weights.path} -> {destination} ({TO.value}, {dtype})")
    if not list(destination.glob("**/tokenizer.json")):
        print("note: no tokenizer was kept with these weights; --tokenizer=FOLDER adds one")


if __name__ == "__main__":
    flags.mark_flags_as_required(["to"])
    app.run(main)
