#!/usr/bin/env bash
# A run on one host with one or several GPUs, without Slurm: launch/tpu/host.sh VERB [flags of launch/train.py]
#
#   setup    installs this checkout (setup.sh cuda)
#   run      starts launch/train.py on all GPUs; it goes on without this terminal, and where it left off. Starts again
#            when it fails, until it fails three times in a row within ten minutes each
#   watch    shows what it prints (run.log)
#   stop     asks the run to save and exit (SIGTERM)
#
# After the host itself was started anew, say run again, with the same flags. PROGRAM=launch/evaluate.py is for an
# evaluation. For example:
#   launch/tpu/host.sh run --config=configs/qwen3_4b.py --workdir=runs/mine
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/tpu/common.sh
. "$here/common.sh"

[ $# -gt 0 ] || fail "a verb is missing
$(usage)"
verb=$1
shift

setup() { "$here/../../setup.sh" cuda; }

run() {
  [ $# -gt 0 ] || fail "the flags of the run are missing, such as --config=configs/qwen3_4b.py --workdir=FOLDER"
  ULORL_ACCELERATOR=cuda "$here/supervise.sh" start --again "$@"
}

watch() { tail -n 50 -F "$here/../../run.log"; }

stop() { "$here/supervise.sh" stop; }

case $verb in
  setup | run | watch | stop) "$verb" "$@" ;;
  *) fail "unknown verb '$verb'
$(usage)" ;;
esac
