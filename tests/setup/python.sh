#!/usr/bin/env bash
# Makes a private Python with the pinned packages of requirements.txt.
#
#   python.sh HOME
#
# Afterwards `HOME/python/bin/python` runs with them. Done once for each content of
# requirements.txt and each version of Python; a run that was cut off is started afresh.
set -euo pipefail

home=$1
here=$(cd "$(dirname "$0")" && pwd)
into=$home/python
say() { printf 'setup: %s\n' "$*" >&2; }

for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.10; do
  [ -n "$candidate" ] || continue
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>>"$home/log"; then
    python=$candidate
    break
  fi
done
if [ -z "${python:-}" ]; then
  say "no Python 3.10 or newer was found; install one, or name it: PYTHON=/path/to/python3 tests/run"
  exit 1
fi

stamp=$("$python" -c 'import sys; print(sys.version)' | cat - "$here/requirements.txt" "$0" | cksum)
if [ -x "$into/bin/python" ] && [ "$(cat "$into/stamp" 2>>"$home/log" || :)" = "$stamp" ]; then
  exit 0
fi
rm -rf "$into"

# With a virtual environment where the machine can make one. Debian and Ubuntu keep
# `ensurepip` in a package of its own, so there are two more ways.
venv() { "$python" -m venv "$into" && "$into/bin/python" -m pip --version; }
target() {
  rm -rf "$into" && mkdir -p "$into/bin" "$into/lib" || return 1
  "$python" -m pip --version || return 1
  printf '#!/bin/sh\nPYTHONPATH=%q exec %q "$@"\n' "$into/lib" "$(command -v "$python")" >"$into/bin/python"
  chmod +x "$into/bin/python"
}
with_apt() {
  [ "$(id -u)" = 0 ] && command -v apt-get || return 1
  say "installing python3-venv (this machine's Python came without pip)"
  apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv
  rm -rf "$into"
  python=/usr/bin/python3
  venv
}

say "making a private Python in $into ($("$python" --version))"
to_target=()
if ! venv >>"$home/log" 2>&1; then
  if target >>"$home/log" 2>&1; then
    to_target=(--target "$into/lib")
  elif ! with_apt >>"$home/log" 2>&1; then
    say "this Python can make no virtual environment and has no pip; install python3-venv (sudo apt-get install python3-venv)"
    exit 1
  fi
fi

say "installing the packages of tests/setup/requirements.txt"
if ! "$into/bin/python" -m pip install --disable-pip-version-check --no-input --only-binary :all: \
  "${to_target[@]}" -r "$here/requirements.txt" >>"$home/log" 2>&1; then
  say "pip could not install them; the last lines of $home/log:"
  tail -n 15 "$home/log" >&2
  exit 1
fi
"$into/bin/python" -c 'import moto.route53, moto.s3, moto.secretsmanager, moto.sts, moto.server, dnslib, cryptography, h2.connection'
printf '%s\n' "$stamp" >"$into/stamp"
