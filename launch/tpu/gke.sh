#!/usr/bin/env bash
# A run on TPUs in Google Kubernetes Engine, by xpk: launch/tpu/gke.sh VERB [flags of launch/train.py]
#
#   create   makes the cluster, with one slice
#   setup    makes the bucket a volume of the cluster
#   run      starts the run; what fails or is taken away starts again by itself, and goes on from its last checkpoint
#   watch    shows what host 0 prints
#   stop     ends the run; it has GRACE_S to finish its step and save
#   delete   gives the cluster back
#
# Set: CLUSTER, PROJECT, ZONE, BUCKET (a Cloud Storage bucket with a hierarchical namespace, without which a checkpoint
# is not renamed at once; it becomes /bucket on every host). May be set: NAME of the run (ulorl), ACCELERATOR
# (v5p-128), SPOT=1, RESTARTS (100), GRACE_S (1800, which must exceed a step and a save; a spot node waits for 30 s
# whatever is asked, and the run then goes on from the checkpoint before), IMAGE (python:3.12): what the checkout is put
# upon, PROGRAM=launch/evaluate.py for an evaluation, which wants a NAME of its own. Run it from the checkout: xpk
# packs that folder into the image.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/tpu/common.sh
. "$here/common.sh"

[ $# -gt 0 ] || fail "a verb is missing
$(usage)"
verb=$1
shift
: "${CLUSTER:?names the cluster}" "${PROJECT:?is the Google Cloud project}" "${ZONE:?is where the cluster is}"
NAME=${NAME:-ulorl}
at=(--cluster="$CLUSTER" --project="$PROJECT" --zone="$ZONE")
slice=(--tpu-type="${ACCELERATOR:-v5p-128}" --num-slices=1)

create() {
  local capacity=(--on-demand)
  [ -z "${SPOT:-}" ] || capacity=(--spot)
  # The driver lets pods mount buckets.
  xpk cluster create "${at[@]}" "${slice[@]}" "${capacity[@]}" --enable-workload-identity --enable-gcsfuse-csi-driver
}

setup() {
  : "${BUCKET:?is the bucket in which the run lies}"
  look_for_folders "$BUCKET"
  # A host sees at once what another has written.
  xpk storage attach "$NAME-bucket" "${at[@]}" --type=gcsfuse --bucket="$BUCKET" --mount-point=/bucket \
    --readonly=false --auto-mount=true --size=1000 \
    --mount-options=implicit-dirs,rename-dir-limit=200000,metadata-cache:ttl-secs:0
}

run() {
  local arguments command
  printf -v arguments ' %q' "$@"
  # One line: xpk puts it into a block of YAML, and does not indent the lines after the first.
  command='./setup.sh tpu'
  command+=' && export ULORL_WEIGHTS=/bucket/weights ULORL_DATA=/bucket/data JAX_COMPILATION_CACHE_DIR=/bucket/compiled'
  command+=" PROGRAM=${PROGRAM:-launch/train.py}"
  command+=" && exec launch/tpu/supervise.sh attend --processes=auto --workdir=/bucket/runs/$NAME$arguments"
  # xpk starts a run again that ended with 42 (its pod was taken away: supervise.sh) or by a signal. 1 is what the
  # others end with when one is lost; a refusal ends with 1, too, so look (watch) whether it has begun.
  xpk workload create "${at[@]}" "${slice[@]}" --workload="$NAME" --base-docker-image="${IMAGE:-python:3.12}" \
    --script-dir="$PWD" --max-restarts="${RESTARTS:-100}" --restart-on-exit-codes=1 \
    --termination-grace-period-seconds="${GRACE_S:-1800}" --command="$command"
}

watch() {
  kubectl logs --follow --tail=50 \
    --selector="jobset.sigs.k8s.io/jobset-name=$NAME,batch.kubernetes.io/job-completion-index=0"
}

stop() { xpk workload delete "${at[@]}" --workload="$NAME"; }

delete() { xpk cluster delete "${at[@]}"; }

case $verb in
  create | setup | run | watch | stop | delete) "$verb" "$@" ;;
  *) fail "unknown verb '$verb'
$(usage)" ;;
esac
