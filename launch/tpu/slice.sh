#!/usr/bin/env bash
# A run on a Cloud TPU slice, by gcloud: launch/tpu/slice.sh VERB [flags of launch/train.py]
#
#   create   asks for the slice and waits until it is there
#   setup    copies the commit of this checkout to every host, installs it (setup.sh tpu), mounts the bucket
#   run      starts launch/train.py on every host; it goes on without this terminal, and where it left off
#   watch    shows what host 0 prints
#   keep     all of the above, again whenever the slice is taken away or the run fails, until it ends or is stopped;
#            gives up when it fails three times in a row within ten minutes each
#   stop     asks the run to save and exit (SIGTERM)
#   delete   gives the slice back
#
# Set: NAME of the slice, ZONE, BUCKET (a Cloud Storage bucket with a hierarchical namespace, without which a checkpoint
# is not renamed at once; it becomes ~/bucket on every host: the run's folder, weights and data lie there). May be set:
# ACCELERATOR (v5p-128), SPOT=1 for capacity that can be taken away, PROGRAM=launch/evaluate.py for an evaluation,
# which wants a --workdir of its own among the flags, and names ~/bucket in full as the run's are: /home/ME/bucket.
# For example:
#   NAME=ulorl ZONE=us-east5-a BUCKET=my-bucket SPOT=1 launch/tpu/slice.sh keep --config=configs/qwen3_30b.py
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/tpu/common.sh
. "$here/common.sh"

[ $# -gt 0 ] || fail "a verb is missing
$(usage)"
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

# What Google says of the slice, ABSENT where there is none, UNKNOWN where Google cannot be asked.
state() {
  local said
  if said=$(queued describe --format='value(state.state)' 2>&1); then
    tail -n 1 <<<"$said"
  elif [[ $said == *NOT_FOUND* ]]; then
    echo ABSENT
  else
    echo UNKNOWN
  fi
}

# One command on a host or on all of them.
on() { gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker="$1" --command="$2"; }

create() {
  local now image capacity=()
  now=$(state)
  # What was taken away, refused or has expired stays listed, and its name taken.
  case $now in
    SUSPENDED | SUSPENDING | FAILED)
      delete
      now=ABSENT
      ;;
  esac
  if [ "$now" = ABSENT ]; then
    image=$(runtime)
    [ -z "${SPOT:-}" ] || capacity=(--spot)
    queued create --node-id="$NAME" --accelerator-type="$ACCELERATOR" --runtime-version="$image" "${capacity[@]}"
  fi
  while true; do
    now=$(state)
    case $now in
      ACTIVE) return ;;
      FAILED | SUSPENDED) fail "$NAME was not granted: $now" ;;
    esac
    echo "$(date +%T) $NAME: $now"
    sleep "${ULORL_POLL_S:-30}"
  done
}

delete() { queued delete --force --quiet; }

setup() {
  : "${BUCKET:?is the bucket in which the run lies}"
  look_for_folders "$BUCKET"
  [ -z "$(git -C "$here" status --porcelain)" ] ||
    echo "slice.sh: what is not committed in this checkout is not copied: git status" >&2
  # A bundle needs no server that the hosts could reach, and holds commits that were pushed nowhere.
  bundle=$(mktemp)
  trap 'rm -f "$bundle"' EXIT
  git -C "$here" bundle create -q "$bundle" HEAD
  gcloud compute tpus tpu-vm scp "$bundle" "$NAME:ulorl_jax.bundle" --zone="$ZONE" --worker=all
  # The images are Ubuntu 22.04: its python3 is 3.10, and its python3.11 a release candidate.
  # An image that has just started installs its updates, and holds the lock of apt.
  on all "set -eo pipefail
    apt() { sudo apt-get -o DPkg::Lock::Timeout=600 -qq \"\$@\"; }
    [ -d ulorl_jax ] || git init -q ulorl_jax
    cd ulorl_jax
    git fetch -q ../ulorl_jax.bundle HEAD
    git checkout -q --force --detach FETCH_HEAD
    if ! python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' && ! command -v python3.12; then
      sudo add-apt-repository -y ppa:deadsnakes/ppa
      apt update
      apt install -y python3.12 python3.12-venv
    fi
    if ! command -v gcsfuse >/dev/null; then
      release=gcsfuse-\$(lsb_release -c -s)
      sudo install -d /etc/apt/keyrings
      packages=https://packages.cloud.google.com/apt
      curl -fsSL \$packages/doc/apt-key.gpg | sudo tee /etc/apt/keyrings/gcsfuse.asc >/dev/null
      echo \"deb [signed-by=/etc/apt/keyrings/gcsfuse.asc] \$packages \$release main\" |
        sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
      apt update
      apt install -y gcsfuse
    fi
    mkdir -p ~/bucket
    # A host sees at once what another has written.
    mountpoint -q ~/bucket ||
      gcsfuse --implicit-dirs --rename-dir-limit=200000 --metadata-cache-ttl-secs=0 '$BUCKET' ~/bucket
    ./setup.sh tpu"
}

run() {
  local arguments
  printf -v arguments ' %q' "$@"
  on all "set -e
    cd ulorl_jax
    export ULORL_WEIGHTS=~/bucket/weights ULORL_DATA=~/bucket/data JAX_COMPILATION_CACHE_DIR=~/bucket/compiled
    export PROGRAM=${PROGRAM:-launch/train.py}
    launch/tpu/supervise.sh start --processes=auto --workdir=\"\$HOME\"/bucket/runs/$NAME$arguments"
}

watch() { on 0 'tail -n 50 -F ulorl_jax/run.log'; }

stop() { on all 'ulorl_jax/launch/tpu/supervise.sh stop'; }

# Ends as the run on host 0 does; all hosts end together.
await() {
  local now ended
  while true; do
    sleep "${ULORL_POLL_S:-60}"
    now=$(state)
    case $now in
      ACTIVE) ;;
      UNKNOWN) continue ;;
      *)
        echo "$(date +%T) $NAME: $now, asks for it again"
        return 42
        ;;
    esac
    # A host that cannot be asked may be running.
    ended=$(on 0 'ulorl_jax/launch/tpu/supervise.sh status || echo gone' | tail -n 1) || continue
    case $ended in
      running) ;;
      [0-9]*) return "$ended" ;;
      gone) fail "the run on $NAME is gone without a word: killed, or its host was started anew" ;;
      *) fail "host 0 of $NAME answers '$ended', want running, gone or a status" ;;
    esac
  done
}

round() {
  create
  setup
  run "$@"
  await
}

# Each round is a process of its own, which ends where a step of it fails.
keep() {
  until_done "$here/slice.sh" round "$@"
  echo "$NAME: the run has ended"
}

case $verb in
  create | setup | run | watch | keep | stop | delete | round) "$verb" "$@" ;;
  *) fail "unknown verb '$verb'
$(usage)" ;;
esac
