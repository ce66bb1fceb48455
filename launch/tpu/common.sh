# What slice.sh, gke.sh and host.sh share; sourced by them.
# shellcheck shell=bash

script=$(basename "$0")

fail() {
  printf '%s: %s\n' "$script" "$*" >&2
  exit 1
}

# The comment at the top of a script is its usage.
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"; }

# Runs a command until it ends with 0. 42 says that the machine was taken away: that is no failure. Who fails three
# times in a row, each time within ten minutes, would go on to: a wrong flag, or memory that does not suffice.
until_done() {
  local status began failures=0
  while true; do
    began=$SECONDS status=0
    "$@" || status=$?
    [ "$status" != 0 ] || return 0
    if [ "$status" = 42 ] || [ $((SECONDS - began)) -ge 600 ]; then failures=0; else failures=$((failures + 1)); fi
    [ "$failures" -lt 3 ] ||
      fail "gives up: failed 3 times in a row within 10 minutes each, lastly with status $status;" \
        "what it printed says why: mend that and start it again, the run goes on from its last checkpoint"
    echo "$(date +%T) $script: ended with status $status, starts again in ${ULORL_POLL_S:-60} s"
    sleep "${ULORL_POLL_S:-60}"
  done
}

# A checkpoint is complete when its folder gets its final name. Only a bucket with a hierarchical namespace renames a
# folder at once; in a flat one every file is copied, and an end in between leaves half a checkpoint under that name. No
# more than a warning, as gcloud may say it otherwise one day.
look_for_folders() {
  local folders
  folders=$(gcloud storage buckets describe "gs://$1" --raw --format='value(hierarchicalNamespace.enabled)')
  [[ $folders == [Tt]rue ]] || echo "$script: bucket $1 seems to have no hierarchical namespace" \
    "(hierarchicalNamespace.enabled is '$folders', not True): an end of the run in the midst of a save could leave half" \
    "a checkpoint. None can be added later; another bucket has one: gcloud storage buckets create gs://NEW" \
    "--location=REGION --uniform-bucket-level-access --enable-hierarchical-namespace" >&2
}
