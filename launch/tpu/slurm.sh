#!/usr/bin/env bash
# A run on GPUs under Slurm: sbatch --nodes=4 launch/tpu/slurm.sh --config=... --workdir=/shared/runs/mine
#
# One process per node holds all of its GPUs. Before the time is up, or when the node is wanted for somebody else, Slurm
# sends SIGTERM: the run finishes its step, saves and exits, and the job is queued again and goes on from there. Set up
# once, on the shared file system: ./setup.sh cuda. Without Slurm, on one host: launch/tpu/host.sh. For an
# evaluation: PROGRAM=launch/evaluate.py sbatch ...
#
# The notice, 1800 s below, must exceed a step and a save; change it with ULORL_REQUEUE_S, which is when the job is
# queued again whatever the run does, and must be shorter by a minute:
#   ULORL_REQUEUE_S=3540 sbatch --signal=B:TERM@3600 --nodes=4 launch/tpu/slurm.sh ...
# A partition that preempts gives its GraceTime, if that is less, and queues the job again itself.
# Watch: tail -F ulorl-JOBID.log. Stop for good: scancel --signal=TERM JOBID, which reaches the run and not this script:
# the run saves and exits, and the job ends. scancel without the signal would not wait for that.
#SBATCH --job-name=ulorl
#SBATCH --output=ulorl-%j.log
#SBATCH --open-mode=append
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --requeue
#SBATCH --signal=B:TERM@1800
set -uo pipefail

fail() {
  printf 'slurm.sh: %s\n' "$*" >&2
  exit 1
}

[ -n "${SLURM_JOB_ID:-}" ] || fail "is for sbatch; on a single host: launch/tpu/host.sh"
[ $# -gt 0 ] ||
  fail "the flags of the run are missing, such as --config=configs/qwen3_4b.py --workdir=FOLDER"
[[ ${SLURM_GPUS_ON_NODE:-} =~ ^[1-9][0-9]*$ ]] ||
  fail "SLURM_GPUS_ON_NODE is '${SLURM_GPUS_ON_NODE:-}', want a number of GPUs; ask for some: sbatch --gpus-per-node=8"
ULORL_REQUEUE_S=${ULORL_REQUEUE_S:-1740}
cd "${SLURM_SUBMIT_DIR:?}" || exit 1
export ULORL_ACCELERATOR=cuda
# shellcheck source=launch/tpu/environment.sh
. launch/tpu/environment.sh
# Under Slurm jax gives a process the one GPU of its number on the node, unless it is told otherwise: all, 0,1,2 and so
# on. The same on every node, as --gpus-per-node is.
JAX_LOCAL_DEVICE_IDS=$(seq -s , 0 $((SLURM_GPUS_ON_NODE - 1)))
export JAX_LOCAL_DEVICE_IDS

srun --kill-on-bad-exit=1 .venv/bin/python "${PROGRAM:-launch/train.py}" --processes=auto "$@" &
step=$!
deadline=
# The batch shell gets the signal and passes it on to the processes of all nodes.
trap 'deadline=${deadline:-$((SECONDS + ULORL_REQUEUE_S))}; scancel --signal=TERM "$SLURM_JOB_ID.0"' TERM
while kill -0 "$step" 2>/dev/null; do
  sleep "${ULORL_POLL_S:-1}"
  # When the notice is over, Slurm ends this script before it could queue the job again.
  if [ -n "$deadline" ] && [ "$SECONDS" -ge "$deadline" ]; then
    echo "slurm.sh: the run did not save within $ULORL_REQUEUE_S s; it goes on from the checkpoint before" >&2
    break
  fi
done
if [ -n "$deadline" ]; then
  scontrol requeue "$SLURM_JOB_ID"
  exit
fi
wait "$step"
