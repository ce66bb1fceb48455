#!/usr/bin/env bash
# A run on a Cloud TPU slice, by gcloud: launch/tpu/slice.sh VERB [flags of launch/train.py]
#
#   create   asks for the slice and waits until it is there
#   setup    copies this checkout to every host, installs it (setup.sh tpu), mounts the bucket
#   run      starts launch/train.py on every host; it goes on without this terminal, and where it left off
#   watch    shows what host 0 prints
#   keep     all of the above, again whenever the slice is taken away, until the run ends
#   stop     asks the run to save and exit (SIGTERM)
#   delete   gives the slice back
#
# Set: NAME of the slice, ZONE, BUCKET (a Cloud Storage bucket that becomes ~/bucket on every host: the run's folder,
# weights and data lie there). May be set: ACCELERATOR (v5p-128), SPOT=1 for capacity that can be taken away,
# REPOSITORY and BRANCH instead of this checkout's origin and commit.
# For example:
#   NAME=ulorl ZONE=us-east5-a BUCKET=my-bucket SPOT=1 launch/tpu/slice.sh keep --config=configs/qwen3_30b.py
set -euo pipefail

fail() {
  printf 'slice.sh: %s\n' "$*" >&2
  exit 1
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
usage=$(sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}")
[ $# -gt 0 ] || fail "a verb is missing
$usage"
verb=$1
shift
: "${NAME:?names the slice}" "${ZONE:?is where the slice is, such as us-east5-a}"
ACCELERATOR=${ACCELERATOR:-v5p-128}

# The system image goes with the generation.
runtime() {
  case $ACCELERATOR in
    v4-*) echo tpu-ubuntu2204-base ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v6e-*) echo v2-alpha-tpuv6e ;;
    *) fail "ACCELERATOR=$ACCELERATOR is not known; want one such as v4-64, v5p-128, v5litepod-256, v6e-256" ;;
  esac
}

queued() { gcloud compute tpus queued-resources "$1" "$NAME" --zone="$ZONE" "${@:2}"; }

state() { queued describe --format='value(state.state)' 2>/dev/null || echo ABSENT; }

# One command on a host or on all of them.
on() { gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker="$1" --command="$2"; }

create() {
  local now image capacity=()
  now=$(state)
  # What was taken away, refused or has expired stays listed, and its name taken.
  case $now in SUSPENDED | SUSPENDING | FAILED) delete && now=ABSENT ;; esac
  if [ "$now" = ABSENT ]; then
    image=$(runtime)
    [ -z "${SPOT:-}" ] || capacity=(--spot)
    queued create --node-id="$NAME" --accelerator-type="$ACCELERATOR" --runtime-version="$image" "${capacity[@]}"
  fi
  until [ "$(state)" = ACTIVE ]; do
    case $(state) in FAILED | SUSPENDED) fail "$NAME was not granted: $(state)" ;; esac
    echo "$(date +%T) $NAME: $(state)"
    sleep 30
  done
}

delete() { queued delete --force --quiet; }

setup() {
  : "${BUCKET:?is the bucket in which the run lies}"
  local repository=${REPOSITORY:-} branch=${BRANCH:-}
  [ -n "$repository" ] || repository=$(git -C "$here" remote get-url origin)
  [ -n "$branch" ] || branch=$(git -C "$here" rev-parse HEAD)
  on all "set -e
    [ -d ulorl_jax ] || git clone -q '$repository' ulorl_jax
    cd ulorl_jax && git fetch -q && git checkout -q '$branch'
    command -v gcsfuse >/dev/null || {
      release=gcsfuse-\$(lsb_release -c -s)
      sudo install -d /etc/apt/keyrings
      curl -fsSL https://packages.cloud.google.com/apt/doc/apt-key.gpg | sudo tee /etc/apt/keyrings/gcsfuse.asc >/dev/null
      echo \"deb [signed-by=/etc/apt/keyrings/gcsfuse.asc] https://packages.cloud.google.com/apt \$release main\" |
        sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
      sudo apt-get -qq update && sudo apt-get -qq install -y gcsfuse
    }
    mkdir -p ~/bucket && { mountpoint -q ~/bucket || gcsfuse --implicit-dirs '$BUCKET' ~/bucket; }
    ./setup.sh tpu"
}

run() {
  local arguments
  printf -v arguments ' %q' "$@"
  # A host that still runs refuses a second start: two runs cannot share the chips.
  on all "set -e
    cd ulorl_jax
    if [ -f run.pid ] && kill -0 \"\$(cat run.pid)\" 2>/dev/null; then echo 'is running already'; exit 0; fi
    . launch/tpu/environment.sh
    export ULORL_WEIGHTS=~/bucket/weights ULORL_DATA=~/bucket/data JAX_COMPILATION_CACHE_DIR=~/bucket/compiled
    rm -f run.status
    setsid nohup bash -c '.venv/bin/python launch/train.py --processes=auto --workdir=\"\$HOME/bucket/runs/$NAME\"$arguments
      echo \$? > run.status' > run.log 2>&1 < /dev/null &
    echo \$! > run.pid"
}

watch() { on 0 'tail -n 50 -F ulorl_jax/run.log'; }

# The shell that waits for the trainer leads its session; the trainer itself gets the signal.
# shellcheck disable=SC2016 # it is the host that looks into its file
stop() { on all 'pkill -TERM -s "$(cat ulorl_jax/run.pid)" -f launch/train.py || true'; }

# The status with which host 0 ended; nothing while it runs or cannot be asked.
status() { on 0 'cat ulorl_jax/run.status' 2>/dev/null || true; }

keep() {
  local ended
  while true; do
    create && setup && run "$@"
    while [ "$(state)" = ACTIVE ]; do
      ended=$(status)
      [ "$ended" != 0 ] || { echo "$NAME: the run has ended" && return; }
      # A host has stopped: so have the others. Started again, the run goes on from its last checkpoint.
      [ -z "$ended" ] || { echo "$NAME: ended with status $ended, starts again" && sleep 60 && run "$@"; }
      sleep 60
    done
    echo "$(date +%T) $NAME: $(state), asks for it again"
  done
}

case $verb in
  create | setup | run | watch | keep | stop | delete) "$verb" "$@" ;;
  *) fail "unknown verb '$verb'
$usage" ;;
esac
