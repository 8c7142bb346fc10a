#!/usr/bin/env bash
# Puts what the tests of the unit and the user data need at HOME/ground/bin: `aws` and `systemd-analyze`.
#
#   ground.sh HOME
#
# After python.sh, with whose Python the AWS CLI runs. Nothing outside HOME is touched; no root.
set -euo pipefail

home=$1
here=$(cd "$(dirname "$0")" && pwd)
into=$home/ground
awscli='awscli==1.46.3'
say() { printf 'setup: %s\n' "$*" >&2; }

main() {
  stamp=$(cat "$0" "$here/closure.sh" "$home/python/stamp" | cksum)
  if [ "$(cat "$into/stamp" 2>>"$home/log" || :)" = "$stamp" ]; then
    return
  fi
  rm -rf "$into" && mkdir -p "$into/bin"
  aws_cli
  systemd_analyze
  printf '%s\n' "$stamp" >"$into/stamp"
}

# The AWS CLI, which Amazon Linux brings along and the user data uses where it is there.
aws_cli() {
  say "installing $awscli"
  if ! "$home/python/bin/python" -m pip install --disable-pip-version-check --no-input --only-binary :all: \
    --target "$into/aws-cli" "$awscli" >>"$home/log" 2>&1; then
    say "pip could not install it; the last lines of $home/log:"
    tail -n 15 "$home/log" >&2
    exit 1
  fi
  wrapper aws env PYTHONPATH="$into/aws-cli" "$home/python/bin/python" -m awscli
  "$into/bin/aws" --version >>"$home/log" 2>&1
}

# systemd-analyze of this distribution: a container has no systemd.
systemd_analyze() {
  bash "$here/closure.sh" "$home" "$into/systemd" systemd -- usr/bin/systemd-analyze
  ln -sf ../systemd/bin/systemd-analyze "$into/bin/systemd-analyze"
  "$into/bin/systemd-analyze" --version >>"$home/log"
}

# wrapper NAME COMMAND…: a program of that name that runs the command.
wrapper() {
  printf '#!/bin/sh\nexec %s "$@"\n' "$(printf '%q ' "${@:2}")" >"$into/bin/$1"
  chmod +x "$into/bin/$1"
}

main
