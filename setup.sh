#!/usr/bin/env bash
# Installs the project's needs: ./setup.sh [test] [parity] [notebooks] [tpu] [cuda]
#
# They go into .venv beside this file, whatever environment is active, so that
# .venv/bin/python is always the interpreter to call. Two variables change that:
#   PYTHON       the interpreter a new environment is made with
#   ULORL_VENV   the environment's folder; an active one: ULORL_VENV="$VIRTUAL_ENV"
# With everything in place a call returns at once.
set -euo pipefail
unset CDPATH

fail() {
  printf 'setup.sh: %s\n' "$*" >&2
  exit 1
}

# A candidate has to run (version managers leave shims that do not) and to be able to make an environment.
usable() { "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
  if [ -n "${PYTHON:-}" ]; then
    usable "$PYTHON" || fail "PYTHON=$PYTHON is not a working Python >= 3.11 with the venv module; name another or unset it"
    printf '%s\n' "$PYTHON"
    return
  fi
  local candidate
  for candidate in python3.12 python3.13 python3.11 python3; do
    if usable "$candidate"; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  fail "no Python >= 3.11 with the venv module found (python3 is $(python3 --version 2>&1 | head -n 1));" \
    "install one, or name it: PYTHON=/path/to/python3.12 ./setup.sh"
}

start=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"
venv=${ULORL_VENV:-$PWD/.venv}
case $venv in /*) ;; *) venv=$start/$venv ;; esac
case ${PYTHON:-} in */*) case $PYTHON in /*) ;; *) PYTHON=$start/$PYTHON ;; esac ;; esac

plain=(requirements.txt)
for extra in "$@"; do
  case $extra in
    test | parity | notebooks | tpu | cuda) plain+=("requirements-$extra.txt") ;;
    *) fail "unknown extra '$extra'; known are: test parity notebooks tpu cuda" ;;
  esac
done

# The stamp has one line per requirements file that was installed: checksum, size, name.
stamp=$venv/ulorl_jax.installed
sums=$(cksum requirements-jetstream.txt "${plain[@]}")
if [ -x "$venv/bin/python" ] && [ -f "$stamp" ] && ! grep -qvxFf "$stamp" <<<"$sums"; then
  exit 0
fi

if ! "$venv/bin/python" -c 'import pip' >/dev/null 2>&1; then
  if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ]; then
    fail "$venv is there and is not a virtual environment; name another folder with ULORL_VENV"
  fi
  python=$(find_python)
  echo "setup.sh: making $venv with $("$python" --version)"
  "$python" -m venv --clear "$venv"
fi

install() { "$venv/bin/python" -m pip install -qq --disable-pip-version-check "$@" </dev/null; }
echo "setup.sh: installing ${plain[*]} (about a minute)"
rm -f "$stamp"
install "${plain[@]/#/--requirement=}"
echo "setup.sh: installing requirements-jetstream.txt"
install --no-deps --requirement=requirements-jetstream.txt
printf '%s\n' "$sums" >"$stamp"
echo "setup.sh: done, in $venv"
