#!/usr/bin/env bash
# The trainer on one host, for slice.sh, gke.sh and host.sh: launch/tpu/supervise.sh VERB [flags of PROGRAM]
#
#   attend   runs PROGRAM, launch/train.py unless it is set, and ends with its status
#   start    starts `attend` without this terminal; `start --again` anew whenever it fails. Prints into run.log
#   status   prints running, gone (killed, or the host was started anew), or the status with which the run ended
#   stop     asks the run to save and exit (SIGTERM); it then ends with 0
#
# Status 42 says that the run saved and exited because a host is taken away, and is to be gone on with.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
supervise=launch/tpu/supervise.sh

# Process 0 ends with a summary; the signal in it may have come to any process of the run. The first $1
# bytes of the log are of earlier runs.
stopped_by_signal() { [ -f run.log ] && tail -c "+$(($1 + 1))" run.log | grep '"stopped":' | grep -q SIG; }

attend() {
  local trainer status taken_away='' printed=0
  [ ! -f run.log ] || printed=$(wc -c <run.log)
  # shellcheck source=launch/tpu/environment.sh
  . launch/tpu/environment.sh
  .venv/bin/python "${PROGRAM:-launch/train.py}" "$@" &
  trainer=$!
  echo "$trainer" >run.pid
  # `stop` speaks to the trainer; to this shell comes what is meant for the whole host or pod.
  trap 'taken_away=1; kill -TERM "$trainer"' TERM
  [ ! -e run.stop ] || kill -TERM "$trainer" # it came before there was a trainer
  wait "$trainer"
  status=$?
  while kill -0 "$trainer" 2>/dev/null; do # a trapped signal ends a wait before the process does
    wait "$trainer"
    status=$?
  done
  # 143: before it heeds SIGTERM, the trainer dies of it.
  if [ "$status" = 143 ] || { [ "$status" = 0 ] && { [ -n "$taken_away" ] || stopped_by_signal "$printed"; }; }; then
    status=42
    [ ! -e run.stop ] || status=0
  fi
  echo "$status" >run.status
  exit "$status"
}

again() {
  # shellcheck source=launch/tpu/common.sh
  . launch/tpu/common.sh
  until_done "$supervise" attend "$@"
}

# The lock is held by all that runs, and gone with it: other than a process's number it cannot become another's.
running() { ! flock --nonblock run.lock true; }

start() {
  local verb=attend
  [ "${1:-}" != --again ] || { verb=again && shift; }
  exec 9>run.lock
  # Two runs cannot share the chips.
  flock --timeout 0.5 9 || { echo 'is running already' && return; }
  rm -f run.pid run.status run.stop
  setsid nohup "$supervise" "$verb" "$@" >>run.log 2>&1 </dev/null &
}

status() {
  if running; then echo running; elif [ -s run.status ]; then cat run.status; else echo gone; fi
}

stop() {
  touch run.stop
  if running && [ -s run.pid ]; then kill -TERM "$(cat run.pid)" 2>/dev/null; fi
}

case ${1:-} in
  attend | again | start | status | stop) "$@" ;;
  *)
    echo "supervise.sh: want attend, start, status or stop, got '${1:-}'" >&2
    exit 1
    ;;
esac
