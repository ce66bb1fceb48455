"""The scripts of launch/tpu, among stubs of what a slice, a cluster and Slurm bring (tests/stub_cluster.py)."""

import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

from tests.stub_cluster import WAITS, Cluster

ROOT = pathlib.Path(__file__).parents[1]
SCRIPTS = [ROOT / "setup.sh", ROOT / ".ci/run", *sorted((ROOT / "launch/tpu").glob("*.sh"))]
COMPILE = """
from jax.experimental import topologies
import jax, jax.numpy as jnp
mesh = topologies.make_mesh(topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2"), (4,), ("x",))
rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
jax.jit(lambda x: x @ x.T).lower(jax.ShapeDtypeStruct((256, 256), jnp.bfloat16, sharding=rows)).compile()
"""


def test_shellcheck_finds_nothing_in_any_script():
    program = pathlib.Path(sys.executable).with_name("shellcheck")
    found = str(program) if program.is_file() else shutil.which("shellcheck")
    assert found, "shellcheck is missing: ./setup.sh test installs it"
    done = subprocess.run([found, "-x", *map(str, SCRIPTS)], capture_output=True, text=True, cwd=ROOT)
    assert not done.stdout and not done.returncode, done.stdout


@pytest.mark.parametrize("name", ["slice.sh", "gke.sh", "host.sh", "slurm.sh"])
def test_a_script_without_arguments_says_what_it_wants_and_starts_nothing(name):
    environment = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": "1"}
    done = subprocess.run(["bash", ROOT / "launch/tpu" / name], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{name}: ") and "missing" in done.stderr.splitlines()[0]


def sourced(**given):
    command = ["bash", "-c", ". launch/tpu/environment.sh && env"]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nowhere"} | given
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    return done, dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def test_what_is_set_already_is_left_as_it_is():
    given = {"LIBTPU_INIT_ARGS": "--mine", "JAX_COMPILATION_CACHE_DIR": "/mine"}
    _, set_to = sourced(**given)
    assert given.items() <= set_to.items()
    _, set_to = sourced(ULORL_ACCELERATOR="cuda", XLA_FLAGS="--mine")
    assert set_to["XLA_FLAGS"] == "--mine" and "LIBTPU_INIT_ARGS" not in set_to


def test_an_unknown_accelerator_is_refused_by_name():
    done, _ = sourced(ULORL_ACCELERATOR="abacus")
    assert done.returncode == 1 and "ULORL_ACCELERATOR=abacus is neither tpu nor cuda" in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_libtpu_knows_every_flag():
    flags = sourced()[1]["LIBTPU_INIT_ARGS"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "XLA_FLAGS": ""}
    environment["LIBTPU_INIT_ARGS"] = flags
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    environment["LIBTPU_INIT_ARGS"] += " --xla_no_such_flag=true"
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert done.returncode != 0 and "xla_no_such_flag" in done.stderr


def test_xla_knows_every_flag_for_gpus():
    flags = sourced(ULORL_ACCELERATOR="cuda")[1]["XLA_FLAGS"]
    for given, status in ((flags, 0), (flags + " --xla_gpu_no_such_flag=true", 1)):
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": given}
        done = subprocess.run([sys.executable, "-c", "import jax; jax.devices()"], env=environment, capture_output=True)
        assert (done.returncode != 0) == status, done.stderr[-2000:]


def test_keep_makes_the_slice_copies_the_commit_and_ends_when_the_run_has_ended(tmp_path):
    cluster = Cluster(tmp_path, "exit 0")
    (cluster.checkout / "mine.py").write_text("pushed nowhere\n")
    cluster.commit("the second")
    assert cluster.run("slice.sh", "keep", "--config=a b'c") == 0, cluster.said
    assert (cluster.host / "ulorl_jax/mine.py").read_text() == "pushed nowhere\n"
    assert cluster.noted("arguments") == [
        *("launch/train.py", "--processes=auto", f"--workdir={cluster.host}/bucket/runs/mine", "--config=a b'c")
    ]
    assert cluster.noted("setup") == ["tpu"] and len(cluster.noted("starts")) == 1
    assert "install -y python3.12 python3.12-venv" in "\n".join(cluster.noted("sudo"))
    (mounted,) = cluster.noted("gcsfuse")
    assert "--rename-dir-limit=200000 --metadata-cache-ttl-secs=0 b " in mounted


@pytest.mark.parametrize("name", ["slice.sh", "gke.sh", "host.sh", "slurm.sh"])
def test_every_script_runs_an_evaluation_where_one_is_asked_for(name, tmp_path):
    cluster = Cluster(tmp_path, "exit 0")
    verb = [] if name == "slurm.sh" else ["keep" if name == "slice.sh" else "run"]
    if verb != ["keep"]:
        cluster.install()
    assert cluster.run(name, *verb, "--config=a b", PROGRAM="launch/evaluate.py") == 0, cluster.said
    if name == "gke.sh":
        assert pod(cluster)[1].wait(timeout=20) == 0
    cluster.wait_for(cluster.record / "arguments", "--config=a b\n")
    given = cluster.noted("arguments")
    assert given[0] == "launch/evaluate.py" and ("--processes=auto" in given) == (name != "host.sh")


def test_setup_says_that_uncommitted_changes_are_not_copied(tmp_path):
    cluster = Cluster(tmp_path, "exit 0")
    assert cluster.run("slice.sh", "setup") == 0 and "not committed" not in cluster.said
    (cluster.checkout / "mine.py").write_text("new\n")
    assert cluster.run("slice.sh", "setup") == 0 and "what is not committed in this checkout" in cluster.said
    assert not (cluster.host / "ulorl_jax/mine.py").exists()


@pytest.mark.parametrize("name", ["slice.sh", "gke.sh"])
def test_of_a_flat_bucket_setup_says_what_may_break_and_the_command_for_another(name, tmp_path):
    cluster = Cluster(tmp_path, "exit 0")
    assert cluster.run(name, "setup") == 0 and "hierarchical" not in cluster.said
    (cluster.record / "folders").write_text("\n")
    assert cluster.run(name, "setup") == 0
    assert "bucket b seems to have no hierarchical namespace" in cluster.said
    assert "--enable-hierarchical-namespace" in cluster.said


def test_stop_reaches_the_trainer_alone_and_leaves_a_status(tmp_path):
    cluster = Cluster(tmp_path, WAITS)
    keep = cluster.start("slice.sh", "keep")
    cluster.wait_for(cluster.record / "ready")
    assert cluster.run("slice.sh", "stop") == 0
    assert keep.wait(timeout=20) == 0, cluster.said
    assert (cluster.host / "ulorl_jax/run.status").read_text() == "0\n"
    assert cluster.noted("signals") == ["TERM"] and len(cluster.noted("starts")) == 1


def test_keep_tries_a_failed_setup_again(tmp_path):
    cluster = Cluster(tmp_path, "exit 0")
    once = 'case "$*" in *scp*) [ -e "$RECORD/tried" ] || { touch "$RECORD/tried"; exit 1; } ;; esac\n'
    (cluster.record / "gcloud_first").write_text(once)
    assert cluster.run("slice.sh", "keep") == 0, cluster.said
    assert "ended with status 1, starts again" in cluster.said and len(cluster.noted("starts")) == 1


def test_keep_starts_a_failed_run_again(tmp_path):
    cluster = Cluster(tmp_path, '[ "$nth" = 3 ] || exit 1')
    assert cluster.run("slice.sh", "keep") == 0, cluster.said
    assert len(cluster.noted("starts")) == 3


def test_keep_gives_up_after_three_quick_failures(tmp_path):
    cluster = Cluster(tmp_path, "exit 1")
    assert cluster.run("slice.sh", "keep") == 1
    assert "gives up: failed 3 times in a row" in cluster.said and len(cluster.noted("starts")) == 3


def test_keep_starts_a_run_again_that_was_killed_without_a_word(tmp_path):
    cluster = Cluster(tmp_path, '[ "$nth" = 1 ] || exit 0\n' + WAITS)
    keep = cluster.start("slice.sh", "keep")
    cluster.wait_for(cluster.record / "ready")
    cluster.kill_host(signal.SIGKILL)
    assert keep.wait(timeout=20) == 0, cluster.said
    assert "is gone without a word" in cluster.said and len(cluster.noted("starts")) == 2


def test_keep_asks_again_for_a_slice_that_was_taken_away(tmp_path):
    cluster = Cluster(tmp_path, '[ "$nth" = 1 ] || exit 0\n' + WAITS)
    keep = cluster.start("slice.sh", "keep")
    cluster.wait_for(cluster.record / "ready")
    (cluster.record / "state").write_text("SUSPENDED\n")
    cluster.kill_host(signal.SIGTERM)
    assert keep.wait(timeout=20) == 0, cluster.said
    asked = "\n".join(cluster.noted("gcloud"))
    assert asked.count("queued-resources create") == 2 and asked.count("queued-resources delete") == 1
    assert len(cluster.noted("starts")) == 2


def test_keep_goes_on_with_a_run_that_saved_because_another_host_is_taken_away(tmp_path):
    cluster = Cluster(tmp_path, """[ "$nth" = 5 ] || by=SIGTERM; echo "  \\"stopped\\": \\"$by\\","; exit 0""")
    assert cluster.run("slice.sh", "keep") == 0, cluster.said
    # Four in a row, and more than three failures: it is none.
    assert len(cluster.noted("starts")) == 5 and cluster.said.count("ended with status 42") == 4


def test_what_an_earlier_run_on_the_host_printed_is_not_taken_for_a_signal(tmp_path):
    said = 'echo "  \\"stopped\\": \\"SIGTERM\\","'
    cluster = Cluster(tmp_path, f'[ "$nth" = 2 ] || {said}; exit 0')  # the summary of an evaluation lacks the word
    assert cluster.run("slice.sh", "keep") == 0, cluster.said
    assert len(cluster.noted("starts")) == 2 and cluster.said.count("ended with status 42") == 1


def test_keep_does_not_take_silence_for_an_absent_slice(tmp_path):
    cluster = Cluster(tmp_path, "exit 0")
    (cluster.record / "state").write_text("ACTIVE\n")
    twice = 'echo >>"$RECORD/asked"; [ "$(wc -l <"$RECORD/asked")" -gt 2 ] || exit 1'
    (cluster.record / "gcloud_first").write_text(f'case "$*" in *describe*mine*) {twice} ;; esac')
    assert cluster.run("slice.sh", "keep") == 0, cluster.said
    assert "mine: UNKNOWN" in cluster.said
    assert "queued-resources create" not in "\n".join(cluster.noted("gcloud"))


def test_a_run_is_not_started_twice_on_a_host(tmp_path):
    cluster = Cluster(tmp_path, WAITS)
    cluster.install()
    assert cluster.run("host.sh", "run", "--config=a") == 0
    cluster.wait_for(cluster.record / "ready")
    assert cluster.run("host.sh", "run", "--config=a") == 0 and "is running already" in cluster.said
    assert cluster.run("host.sh", "stop") == 0
    cluster.wait_for(cluster.checkout / "run.status", "0")
    assert len(cluster.noted("starts")) == 1


def test_on_one_host_a_failed_run_starts_again_with_cuda_flags_until_stop_lets_it_save(tmp_path):
    cluster = Cluster(tmp_path, '[ "$nth" = 2 ] || exit 1\n' + WAITS)
    assert cluster.run("host.sh", "setup") == 0 and cluster.noted("setup") == ["cuda"]
    assert cluster.run("host.sh", "run", "--config=a b") == 0
    cluster.wait_for(cluster.record / "ready")
    assert cluster.noted("arguments") == ["launch/train.py", "--config=a b"]
    assert any(line.startswith("XLA_FLAGS=--xla_gpu") for line in cluster.noted("environment"))
    assert cluster.run("supervise.sh", "status") == 0 and cluster.said.endswith("running\n")
    assert cluster.run("host.sh", "stop") == 0
    cluster.wait_for(cluster.checkout / "run.status", "0")
    assert cluster.noted("signals") == ["TERM"] and len(cluster.noted("starts")) == 2


def test_on_one_host_a_refused_run_is_given_up_with_its_words_in_the_log(tmp_path):
    cluster = Cluster(tmp_path, "echo no such config; exit 1")
    cluster.install()
    assert cluster.run("host.sh", "run", "--config=a") == 0
    cluster.wait_for(cluster.checkout / "run.log", "gives up")
    assert (cluster.checkout / "run.log").read_text().count("no such config\n") == 3


def test_a_stop_that_comes_before_the_trainer_heeds_it_ends_the_run_too(tmp_path):
    cluster = Cluster(tmp_path, 'touch "$RECORD/ready"; sleep 2')
    cluster.install()
    cluster.run("host.sh", "run", "--config=a")
    cluster.wait_for(cluster.record / "ready")
    cluster.run("host.sh", "stop")
    cluster.wait_for(cluster.checkout / "run.status", "0")


def pod(cluster):
    """What xpk makes of the command that gke.sh gives it (core/docker_container.py), in a shell."""
    said = (cluster.record / "xpk").read_text().split("\0")
    (command,) = (word.removeprefix("--command=") for word in said if word.startswith("--command="))
    assert "\n" not in command
    script = f"""_sigterm() (kill -SIGTERM $! 2>/dev/null;);
trap _sigterm SIGTERM;
({command}) & PID=$!;
while kill -0 $PID 2>/dev/null;
    do sleep 0.1;
done;
wait $PID;
exit $?"""
    return said, subprocess.Popen(["bash", "-c", script], cwd=cluster.checkout, env=cluster.environment)


def test_on_gke_the_run_gets_its_flags_whole_in_one_line_and_ends_with_its_status(tmp_path):
    cluster = Cluster(tmp_path, "exit 1")
    given = ["--config=a b.py", '--config.name=it\'s "$5" \\ {all}', "--two=1\n2"]
    assert cluster.run("gke.sh", "run", *given) == 0, cluster.said
    said, shell = pod(cluster)
    assert shell.wait(timeout=20) == 1 and "--restart-on-exit-codes=1" in said
    assert cluster.noted("setup") == ["tpu"]
    text = "\n".join(["launch/train.py", "--processes=auto", "--workdir=/bucket/runs/mine", *given])
    assert (cluster.record / "arguments").read_text() == text + "\n"
    assert "ULORL_DATA=/bucket/data" in cluster.noted("environment")


def test_on_gke_a_pod_that_is_taken_away_lets_the_run_save_and_ends_with_42(tmp_path):
    cluster = Cluster(tmp_path, WAITS)
    assert cluster.run("gke.sh", "run", "--config=a", GRACE_S="77") == 0
    said, shell = pod(cluster)
    assert "--termination-grace-period-seconds=77" in said
    cluster.wait_for(cluster.record / "ready")
    shell.send_signal(signal.SIGTERM)
    assert shell.wait(timeout=20) == 42 and cluster.noted("signals") == ["TERM"]


@pytest.mark.parametrize("gpus, ids", [("8", "0,1,2,3,4,5,6,7"), ("1", "0")])
def test_under_slurm_a_process_is_given_all_gpus_of_its_node(gpus, ids, tmp_path):
    cluster = Cluster(tmp_path, "exit 3")
    cluster.install()
    assert cluster.run("slurm.sh", "--config=a b", SLURM_GPUS_ON_NODE=gpus) == 3
    assert f"JAX_LOCAL_DEVICE_IDS={ids}" in cluster.noted("environment")
    assert cluster.noted("arguments") == ["launch/train.py", "--processes=auto", "--config=a b"]
    assert not cluster.noted("scontrol")


def test_under_slurm_no_gpus_are_refused(tmp_path):
    cluster = Cluster(tmp_path, "exit 0")
    assert cluster.run("slurm.sh", "--config=a", SLURM_GPUS_ON_NODE="") == 1
    assert "SLURM_GPUS_ON_NODE is ''" in cluster.said and not cluster.noted("starts")


def test_under_slurm_a_run_that_saved_when_told_to_go_is_queued_again(tmp_path):
    cluster = Cluster(tmp_path, WAITS)
    cluster.install()
    job = cluster.start("slurm.sh", "--config=a")
    cluster.wait_for(cluster.record / "ready")
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=20) == 0
    assert cluster.noted("signals") == ["TERM"] and cluster.noted("scontrol") == ["requeue 7"]
    assert cluster.noted("scancel") == ["--signal=TERM 7.0"]


def test_under_slurm_a_run_that_hangs_is_queued_again_before_the_notice_is_over(tmp_path):
    cluster = Cluster(tmp_path, "trap '' TERM\n" + WAITS.split("\n", 1)[1])
    cluster.install()
    job = cluster.start("slurm.sh", "--config=a", ULORL_REQUEUE_S="1")
    cluster.wait_for(cluster.record / "ready")
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=6) == 0
    assert cluster.noted("scontrol") == ["requeue 7"] and "did not save within 1 s" in cluster.said
    os.kill(int(cluster.noted("starts")[0]), signal.SIGKILL)


def test_under_slurm_a_run_that_was_stopped_for_good_is_not_queued_again(tmp_path):
    cluster = Cluster(tmp_path, WAITS)
    cluster.install()
    job = cluster.start("slurm.sh", "--config=a")
    cluster.wait_for(cluster.record / "ready")
    os.kill(int(cluster.noted("starts")[0]), signal.SIGTERM)  # scancel --signal=TERM reaches the step alone
    assert job.wait(timeout=20) == 0 and not cluster.noted("scontrol")
