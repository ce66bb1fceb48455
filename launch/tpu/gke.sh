#!/usr/bin/env bash
# A run on TPUs in Google Kubernetes Engine, by xpk: launch/tpu/gke.sh VERB [flags of launch/train.py]
#
#   create   makes the cluster, with one slice
#   setup    makes the bucket a volume of the cluster
#   run      starts the run; what is taken away starts again by itself, and goes on from its last checkpoint
#   watch    shows what host 0 prints
#   stop     ends the run
#   delete   gives the cluster back
#
# Set: CLUSTER, PROJECT, ZONE, BUCKET (a Cloud Storage bucket that becomes /bucket on every host). May be set: NAME of
# the run (ulorl), ACCELERATOR (v5p-128), SPOT=1, RESTARTS (100), IMAGE (python:3.12): what the checkout is put upon.
# Run it from the checkout: xpk packs that folder into the image.
set -euo pipefail

fail() {
  printf 'gke.sh: %s\n' "$*" >&2
  exit 1
}

usage=$(sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}")
[ $# -gt 0 ] || fail "a verb is missing
$usage"
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
  xpk storage attach "$NAME-bucket" "${at[@]}" --type=gcsfuse --bucket="$BUCKET" --mount-point=/bucket \
    --readonly=false --auto-mount=true --size=1000
}

run() {
  local arguments
  printf -v arguments ' %q' "$@"
  xpk workload create "${at[@]}" "${slice[@]}" --workload="$NAME" --base-docker-image="${IMAGE:-python:3.12}" \
    --script-dir="$PWD" --max-restarts="${RESTARTS:-100}" --command="set -e
      ./setup.sh tpu
      . launch/tpu/environment.sh
      export ULORL_WEIGHTS=/bucket/weights ULORL_DATA=/bucket/data JAX_COMPILATION_CACHE_DIR=/bucket/compiled
      exec .venv/bin/python launch/train.py --processes=auto --workdir=/bucket/runs/$NAME$arguments"
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
$usage" ;;
esac
