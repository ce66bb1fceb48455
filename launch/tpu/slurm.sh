#!/usr/bin/env bash
# A run on GPUs under Slurm: sbatch --nodes=4 launch/tpu/slurm.sh --config=... --workdir=/shared/runs/mine
#
# One process per node holds all of its GPUs. Before the time is up, or when the node is wanted for somebody else, Slurm
# sends SIGTERM: the run saves and exits, and the job is queued again and goes on from there. Set up once, on the shared
# file system: ./setup.sh cuda. Without Slurm, on one host with several GPUs, launch/train.py alone takes them all.
# Watch: tail -F ulorl-JOBID.log. Stop for good: scancel --signal=TERM --full JOBID; scancel JOBID.
#SBATCH --job-name=ulorl
#SBATCH --output=ulorl-%j.log
#SBATCH --open-mode=append
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --requeue
#SBATCH --signal=B:TERM@300
set -uo pipefail

[ -n "${SLURM_JOB_ID:-}" ] || {
  echo "slurm.sh: is for sbatch; on a single host run launch/train.py itself" >&2
  exit 1
}
[ $# -gt 0 ] || {
  echo "slurm.sh: the flags of launch/train.py are missing, such as --config=configs/qwen3_4b.py --workdir=FOLDER" >&2
  exit 1
}
cd "${SLURM_SUBMIT_DIR:?}" || exit 1
export ULORL_ACCELERATOR=cuda
# shellcheck source=launch/tpu/environment.sh
. launch/tpu/environment.sh

taken_away=
srun --kill-on-bad-exit=1 .venv/bin/python launch/train.py --processes=auto "$@" &
step=$!
# The batch shell gets the signal and passes it on to the processes of all nodes.
trap 'taken_away=1; scancel --signal=TERM "$SLURM_JOB_ID.0"' TERM
wait "$step"
status=$?
while kill -0 "$step" 2>/dev/null; do # a trapped signal ends a wait before the process does
  wait "$step"
  status=$?
done
[ -z "$taken_away" ] || scontrol requeue "$SLURM_JOB_ID"
exit "$status"
