"""Host memory of conversions against the largest tensor: python benchmarks/convert_memory.py [--out=FILE.json]

Makes random eight-shard checkpoints of the Qwen3 shape in a temporary folder and converts
each in processes of their own. Memory is a process's own (RssAnon of /proc: arrays, buffers,
what the allocator keeps), sampled every two milliseconds, above what the process had when
all was imported and nothing read. Pages of files are not in it: nothing is mapped, and the
kernel's cache of read files is not the process's. Prints one table:

  result    bytes of the parameters in memory
  tensor    bytes of the largest tensor, as it lies in the files
  peak      highest own memory while converting
  beyond    (peak - result) / tensor

To tell what grows with the model from what does not, run it with --layers=24 and --layers=48.
Where the blocks of orbax's files are read and written, glibc keeps freed memory per thread.
A conversion asks it not to; for reading alone, as a run does, MALLOC_MMAP_THRESHOLD_=4000000
in the environment does the same.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
SHARDS = 8
# Many layers in one stacked leaf: a leaf is far larger than a tensor, of which the embedding is the largest.
NETWORK = {
    "model_type": "qwen3",
    "vocab_size": 16384,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "rope_theta": 1e6,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
}


def make_checkpoint(folder: pathlib.Path, dtype: str, layers: int) -> None:
    """Random weights in eight shards."""
    import jax
    import jax.numpy as jnp

    from ulorl_jax.io.hf_weights import write_hf_weights
    from ulorl_jax.models.hf_qwen3 import config_from_hf, hf_tensors
    from ulorl_jax.models.qwen3_params import init_params

    values = NETWORK | {"torch_dtype": dtype, "num_hidden_layers": layers}
    config = config_from_hf(values)
    params = init_params(jax.random.key(0), config, jnp.dtype(dtype))
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    limit = size // SHARDS + (1 << 20)
    write_hf_weights(folder, hf_tensors(config), params, dtype=dtype, config=values, max_shard_bytes=limit)


class Watch(threading.Thread):
    """The highest RssAnon of this process while it runs."""

    def __init__(self):
        super().__init__(daemon=True)
        self.start_bytes = self.peak = own_bytes()
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            self.peak = max(self.peak, own_bytes())
            time.sleep(0.002)


def own_bytes() -> int:
    """RssAnon."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))


def measure(what: str, source: pathlib.Path, destination: pathlib.Path, dtype: str) -> dict[str, float]:
    """One conversion in this process."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import SingleDeviceSharding

    from ulorl_jax.convert import convert
    from ulorl_jax.models.qwen3_params import map_table
    from ulorl_jax.weights import open_weights

    weights = open_weights(source)
    jax.block_until_ready(jnp.zeros(8) + 1)
    watch = Watch()
    watch.start()
    began = time.monotonic()
    if what.endswith("arrays"):
        here = SingleDeviceSharding(jax.devices()[0])
        jax.block_until_ready(weights.load(map_table(lambda row: here, weights.config), dtype))
    else:
        convert(weights, destination, what.split()[-1], dtype=dtype)
    seconds = time.monotonic() - began
    watch.done.set()
    watch.join()
    sizes = map_table(lambda row: jax.ShapeDtypeStruct(row.shape, dtype).size, weights.config)
    result = sum(jax.tree.leaves(sizes)) * jnp.dtype(dtype).itemsize
    peak = watch.peak - watch.start_bytes
    return {"result": result, "peak": peak, "seconds": seconds}


def in_a_process(*arguments: str) -> dict[str, float]:
    """Runs this file again, to do one thing."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    line = [sys.executable, __file__, *arguments]
    done = subprocess.run(line, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--out", type=pathlib.Path, help="a JSON file")
    parser.add_argument("--do", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.do:
        what, *rest = options.do
        if what == "make":
            make_checkpoint(pathlib.Path(rest[0]), rest[1], int(rest[2]))
            print("{}")
        else:
            print(json.dumps(measure(what, pathlib.Path(rest[0]), pathlib.Path(rest[1]), rest[2])))
        return
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for files in ("bfloat16", "float32"):
            hf, orbax = folder / f"hf_{files}", folder / f"orbax_{files}"
            in_a_process("--do", "make", str(hf), files, str(options.layers))
            itemsize = 2 if files == "bfloat16" else 4
            tensor = NETWORK["vocab_size"] * NETWORK["hidden_size"] * itemsize
            for what, source, destination, dtype in (
                ("hf -> arrays", hf, folder, "float32"),
                ("hf -> arrays", hf, folder, "bfloat16"),
                ("hf -> orbax", hf, orbax, "float32"),
                ("orbax -> arrays", orbax, folder, "float32"),
                ("orbax -> hf", orbax, folder / f"again_{files}", files),
            ):
                row = in_a_process("--do", what, str(source), str(destination), dtype)
                row |= {"what": what, "files": files, "arrays": dtype, "tensor": tensor}
                row["beyond"] = (row["peak"] - row["result"]) / tensor
                rows.append(row)
                print_row(row, first=len(rows) == 1)
    if options.out:
        options.out.write_text(
            json.dumps({"network": NETWORK | {"num_hidden_layers": options.layers}, "rows": rows}, indent=2) + "\n"
        )


def print_row(row: dict, first: bool) -> None:
    """A line of the table."""
    if first:
        print(f"{'':<16}{'files':<10}{'arrays':<10}{'result':>10}{'tensor':>10}{'peak':>10}{'beyond':>8}{'s':>7}")
    sizes = "".join(f"{row[name] / 1e6:>7,.0f} MB" for name in ("result", "tensor", "peak"))
    print(f"{row['what']:<16}{row['files']:<10}{row['arrays']:<10}{sizes}{row['beyond']:>8.2f}{row['seconds']:>7.1f}")


if __name__ == "__main__":
    main()
