"""Plans a run before it is paid for.

python launch/plan.py segments --config=configs/plan_table1.py --workdir=FOLDER

Simulates Algorithm 1 for every M, number of slots and refill of the config, and says which trains most tokens per
second. --run=FOLDER takes lengths and seconds from a run of launch/train.py instead of the config's `given`, and
says how well the simulation tells that run's own step. Writes plan.json and plan.png into the workdir.

python launch/plan.py compile --config=configs/qwen3_30b.py --topology=v5p:4x4x4[,v6e:16x16] --workdir=FOLDER

Compiles the run's programs for slices that need not exist (it takes libtpu, no TPU, and minutes each), and says of each
slice whether they fit its memory, what they send, and the seconds that a step cannot be faster than; or why the run's
mesh cannot lie on it. Writes compiled.json into the workdir.
"""

import json
import os
import pathlib
import subprocess
import sys

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])  # not launch/: its inspect.py is not Python's
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags, logging
from ml_collections import config_flags

from launch.cli import ROOT, errors_for_people, make_parser

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file; any key: --config.slots=128,256", lock_config=True
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for plan.json and plan.png, or compiled.json.")
RUN = flags.DEFINE_string("run", None, "Folder of a run of launch/train.py: its lengths and seconds, not the config's.")
TOPOLOGY = flags.DEFINE_list("topology", None, "compile: slices, such as v5p:4x4x4,v6e:16x16.")
PROGRAMS = flags.DEFINE_list("programs", None, "compile: some of train, decode, prefill, reshard; all by default.")

COLUMNS = {
    "segments": "M",
    "slots": "slots",
    "refill": "refill",
    "step_s": "s / step",
    "trained_tokens_per_s": "trained tokens / s",
    "decode_s_per_1k_trained": "decode s / 1k trained",
    "idle_slots": "idle slots",
    "reprefill_share": "re-prefill share",
    "reprefill_per_token": "re-prefilled / drawn",
    "age_steps": "age, steps",
    "finished": "finished / step",
}
COMPARED = (
    "step_s",
    "decode_s",
    "prefill_s",
    "token_steps",
    "tokens",
    "prefill_tokens",
    "prefill_passes",
    "finished",
    "trained_tokens",
)


def main(argv: list[str]) -> None:
    """Resolves the config, does what the verb says."""
    verbs = {"segments": plan_segments, "compile": compile_slices}
    if argv[1:] not in [[verb] for verb in verbs]:
        raise app.UsageError(
            f"want one argument, of {list(verbs)}; got {argv[1:]}; overrides look like --config.slots=128,256"
        )
    logging.set_verbosity(logging.WARNING)
    verbs[argv[1]](CONFIG.value.to_dict(), pathlib.Path(str(WORKDIR.value)))


def plan_segments(resolved: dict, workdir: pathlib.Path) -> None:
    """Simulates, prints the tables, writes the files."""
    # Heavy imports after the flags are parsed: a typo is answered at once.
    with errors_for_people():
        from ulorl_jax.io.files import write_atomically
        from ulorl_jax.io.plots import plot_plan
        from ulorl_jax.io.run_record import read_run
        from ulorl_jax.io.tables import print_table
        from ulorl_jax.plan_inputs import PlanSettings, make_plan

        settings = PlanSettings.from_dict(resolved)
        made = make_plan(settings, None if RUN.value is None else read_run(RUN.value))
        write_atomically(
            workdir / "plan.json", json.dumps({"config": resolved, "run": RUN.value} | made, indent=2) + "\n"
        )
        plot_plan(made["rows"], made["best"][0], workdir / "plan.png")
    print(*made["assumptions"], sep="\n")
    print_table("Steady state of Algorithm 1, simulated", made["rows"], COLUMNS, made["best"])
    if "measured" in made:
        measured, predicted = made["measured"], made["predicted"]
        rows = [
            {
                "what": name,
                "measured": measured[name],
                "simulated": predicted[name],
                "off": _off(predicted, measured, name),
            }
            for name in COMPARED
            if name in measured
        ]
        title = f"The run itself (M = {predicted['segments']}, {predicted['slots']:,} slots), per step"
        print_table(title, rows, {name: name for name in rows[0]})
    for best in made["best"]:
        print(
            f"Refill {best['refill']}: most trained tokens per second with M = {best['segments']} and "
            f"{best['slots']:,} slots: {best['trained_tokens_per_s']:,.1f}, {best['step_s']:.4g} s per step."
        )
    print(f"Picture: {workdir / 'plan.png'}")


def compile_slices(resolved: dict, workdir: pathlib.Path) -> None:
    """Compiles every program for every slice, prints a table for each, writes the file."""
    with errors_for_people():
        from ulorl_jax.ahead import PROGRAMS as ALL
        from ulorl_jax.ahead import compile_apart
        from ulorl_jax.io.files import write_atomically
        from ulorl_jax.io.progress import Progress
        from ulorl_jax.io.tables import print_table
        from ulorl_jax.settings import Settings, on_devices
        from ulorl_jax.slices import (
            assess,
            chip_count,
            chip_of,
            describe_choice,
            describe_collectives,
            describe_slice,
            table_of,
        )
        from ulorl_jax.typed import choose

        settings = Settings.from_dict(resolved)
        if not TOPOLOGY.value:
            raise app.UsageError("compile wants --topology, such as --topology=v5p:4x4x4")
        names = [choose(dict(zip(ALL, ALL, strict=True)), name, "--programs") for name in PROGRAMS.value or ALL]
        os.environ.setdefault("LIBTPU_INIT_ARGS", _run_flags())
        counts = {topology: chip_count(topology) for topology in TOPOLOGY.value if chip_of(topology)}
        slices, refused = [], {}
        with Progress(len(counts) * len(names), "compiling") as progress:
            for number, (topology, count) in enumerate(counts.items()):
                made = {}
                try:
                    on_devices(settings, count)
                    for name in names:
                        made[name] = compile_apart(resolved, topology, name)
                        done = number * len(names) + len(made)
                        progress.update(done, {f"{topology} {name}": made[name]["seconds"]})
                    slices.append(assess(settings, topology, made))
                except ValueError as error:  # of a mesh that this slice cannot have: the others can be told
                    refused[topology] = error
        if not slices:
            raise next(iter(refused.values()))
        reasons = {topology: str(error) for topology, error in refused.items()}
        record = {"config": resolved, "slices": slices, "refused": reasons}
        write_atomically(workdir / "compiled.json", json.dumps(record, indent=2) + "\n")
    for assessed in slices:
        rows = table_of(assessed)
        print_table(f"{assessed['topology']}: GiB on one chip", rows, {name: name for name in rows[0]})
        print("by hand count; +: lies beside the program; in brackets: is part of what the compiler adds")
        print(*describe_collectives(assessed), *describe_slice(assessed), sep="\n")
    for topology, reason in reasons.items():
        print(f"{topology}: refused: {reason}")
    if len(counts) > 1:
        print(describe_choice(slices, len(counts)))


def _run_flags() -> str:
    """What the scripts of launch/tpu give libtpu: it changes what is compiled."""
    line = '. launch/tpu/environment.sh && printf %s "$LIBTPU_INIT_ARGS"'
    environment = os.environ | {"ULORL_ACCELERATOR": "tpu"}
    return subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def _off(predicted: dict, measured: dict, name: str) -> str:
    return f"{predicted[name] / measured[name] - 1:+.1%}" if measured[name] else ""


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main, flags_parser=make_parser(CONFIG, "configs/plan_base.py"))
