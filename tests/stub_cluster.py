"""A cluster of stubs: the real scripts of launch/tpu between programs that note what they are asked.

`gcloud ssh` runs its command on this machine, in a folder that stands for the host's home; the trainer is a few lines
of bash. Nothing but the stubs and the plain tools below is found, so no real gcloud, xpk or Slurm can be reached.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import time

ROOT = pathlib.Path(__file__).parents[1]
TOOLS = (
    "bash cat chmod cp basename date dirname env flock git grep head mkdir mktemp nohup rm sed seq setsid sleep tail"
)
TOOLS += " touch tr true wc"

# One line per start of the trainer, and the pid: the nth start does what `trainer` says.
TRAINER = """#!/usr/bin/env bash
echo "$$" >>"$RECORD/starts"
printf '%s\\n' "$@" >"$RECORD/arguments"
env >"$RECORD/environment"
nth=$(wc -l <"$RECORD/starts")
. "$RECORD/trainer"
"""
# Until SIGTERM comes; not forever, should a test fail before it sends one.
WAITS = """trap 'echo TERM >>"$RECORD/signals"; exit 0' TERM
touch "$RECORD/ready"
for ((i = 0; i < 400; i++)); do sleep 0.02; done
exit 9
"""
SETUP = """#!/usr/bin/env bash
cd "${BASH_SOURCE%/*}" && mkdir -p .venv/bin && cp "$RECORD/python" .venv/bin/python && echo "$@" >>"$RECORD/setup"
"""
# `gcloud_first` may change the answer of a call, or refuse it.
GCLOUD = """#!/usr/bin/env bash
[ ! -f "$RECORD/gcloud_first" ] || . "$RECORD/gcloud_first"
case "$*" in
  *"queued-resources describe"*) cat "$RECORD/state" 2>/dev/null || { echo "ERROR: NOT_FOUND" >&2; exit 1; } ;;
  *"queued-resources create"*) echo ACTIVE >"$RECORD/state" ;;
  *"queued-resources delete"*) rm -f "$RECORD/state" ;;
  *"storage buckets describe"*) cat "$RECORD/folders" ;;
  *"tpu-vm scp"*) cp "$5" "$HOST/${6#*:}" ;;
  *"tpu-vm ssh"*) cd "$HOST" && command=${*: -1} && env -u PROGRAM bash -c "${command#--command=}" ;;
esac
"""
NOTES = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$RECORD/${0##*/}"
"""


class Cluster:
    """The stubs, a checkout with the real scripts and a small setup.sh, and what was noted.

    Args:
      folder: an empty one.
      trainer: bash that stands for the trainer; `$nth` is which start it is, from 1.
    """

    def __init__(self, folder: pathlib.Path, trainer: str):
        self.record, self.checkout, self.host = (folder / name for name in ("record", "checkout", "host"))
        self.programs = folder / "programs"
        for path in (self.record, self.checkout / "launch", self.host, self.programs):
            path.mkdir(parents=True)
        for tool in TOOLS.split():
            found = shutil.which(tool)
            assert found, f"{tool} is missing on this machine"
            (self.programs / tool).symlink_to(found)
        for name in ("kubectl", "gcsfuse", "sudo", "scontrol"):
            self.program(name, NOTES)
        for name in ("mountpoint", "python3"):
            self.program(name, "#!/usr/bin/env bash\nexit 1\n")
        self.program("lsb_release", "#!/usr/bin/env bash\necho jammy\n")
        self.program("gcloud", GCLOUD.replace("\n[", '\nprintf "%s\\n" "$*" >>"$RECORD/gcloud"\n[', 1))
        self.program("xpk", '#!/usr/bin/env bash\nprintf "%s\\0" "$@" >"$RECORD/xpk"\n')
        self.program("srun", '#!/usr/bin/env bash\nshift\nexec "$@"\n')
        self.program("scancel", NOTES + 'kill -TERM "$(tail -n 1 "$RECORD/starts")"\n')
        (self.record / "python").write_text(TRAINER)
        (self.record / "python").chmod(0o755)
        (self.record / "trainer").write_text(trainer)
        (self.record / "folders").write_text("True\n")
        shutil.copytree(ROOT / "launch/tpu", self.checkout / "launch/tpu")
        (self.checkout / "setup.sh").write_text(SETUP)
        (self.checkout / "setup.sh").chmod(0o755)
        shutil.copy(ROOT / ".gitignore", self.checkout)
        self.git("init", "-q")
        self.commit("the first")
        self.environment = {
            "PATH": str(self.programs),
            "RECORD": str(self.record),
            "HOST": str(self.host),
            "HOME": str(self.host),
            "ULORL_POLL_S": "0.1",
            **dict(NAME="mine", ZONE="z", BUCKET="b", CLUSTER="c", PROJECT="p"),
            **dict(SLURM_JOB_ID="7", SLURM_GPUS_ON_NODE="8", SLURM_SUBMIT_DIR=str(self.checkout)),
        }

    def program(self, name: str, text: str) -> None:
        """Puts a program beside the tools."""
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def git(self, *arguments: str) -> None:
        """Git in the checkout."""
        line = ["git", "-c", "user.name=n", "-c", "user.email=e", *arguments]
        subprocess.run(line, cwd=self.checkout, check=True, capture_output=True)

    def commit(self, message: str) -> None:
        """Commits all there is."""
        self.git("add", "--all")
        self.git("commit", "-qm", message)

    def install(self) -> None:
        """What setup.sh does on a host where the checkout itself is run."""
        subprocess.run([self.checkout / "setup.sh", "cuda"], env=self.environment, check=True)

    def start(self, script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """A script of launch/tpu in the checkout; its output goes to `said`."""
        with (self.record / "output").open("a") as output:
            return subprocess.Popen(
                ["bash", f"launch/tpu/{script}", *arguments],
                cwd=self.checkout,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                text=True,
            )

    def run(self, script: str, *arguments: str, **environment: str) -> int:
        """The same, until it has ended: its status."""
        return self.start(script, *arguments, **environment).wait(timeout=30)

    @property
    def said(self) -> str:
        """All that the scripts printed."""
        return (self.record / "output").read_text()

    def noted(self, name: str) -> list[str]:
        """The lines of a note; none where there is no such note."""
        path = self.record / name
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, path: pathlib.Path, text: str = "") -> None:
        """Until there is a file with this in it."""
        end = time.monotonic() + 10
        while not (path.exists() and text in path.read_text()):
            assert time.monotonic() < end, f"no {path.name} with '{text}' after 10 s; the scripts said: {self.said}"
            time.sleep(0.02)

    def kill_host(self, number: int) -> None:
        """The signal reaches all that runs on the host, as when it is switched off."""
        os.killpg(os.getpgid(int(self.noted("starts")[-1])), number)
