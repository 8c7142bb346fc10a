#!/usr/bin/env bash
# Puts what the tests of the unit and the user data need at HOME/ground/bin: `aws` and `systemd-analyze`.
#
#   ground.sh HOME
#
# After python.sh, with whose Python the AWS CLI runs. Nothing outside HOME is touched; no root.
set -euo pipefail

home=$1
into=$home/ground
awscli='awscli==1.46.3'
say() { printf 'setup: %s\n' "$*" >&2; }

main() {
  stamp=$(cat "$0" "$home/python/stamp" | cksum)
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

# systemd-analyze of this distribution, unpacked beside its libraries and started by its own loader. A container has no
# systemd, and with an empty list of what is installed apt brings everything that it needs.
systemd_analyze() {
  say "fetching systemd-analyze"
  local apt=$into/apt tree=$into/systemd options loader libraries package
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$tree"
  : >"$apt/status"
  options=(-qq -o "Dir::State::status=$apt/status" -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache"
    -o APT::Install-Recommends=false -o APT::Sandbox::User=root -o Debug::NoLocking=true)
  apt-get "${options[@]}" update >>"$home/log" 2>&1 || say "apt could not read every archive (see $home/log), going on with what it has"
  if ! apt-get "${options[@]}" --yes --download-only install systemd >>"$home/log" 2>&1; then
    say "apt could not download systemd; the last lines of $home/log:"
    tail -n 5 "$home/log" >&2
    exit 1
  fi
  for package in "$apt"/cache/archives/*.deb; do
    dpkg -x "$package" "$tree"
  done
  rm -rf "$apt"
  loader=$(find "$tree" -name 'ld-linux-*.so.*' -print -quit)
  libraries=$(find "$tree" -name '*.so*' -printf '%h\n' | grep -E '/lib/[^/]+(/systemd)?$' | sort -u | paste -sd:)
  wrapper systemd-analyze "$loader" --library-path "$libraries" "$tree/usr/bin/systemd-analyze"
  "$into/bin/systemd-analyze" --version >>"$home/log"
}

# wrapper NAME COMMAND…: a program of that name that runs the command.
wrapper() {
  printf '#!/bin/sh\nexec %s "$@"\n' "$(printf '%q ' "${@:2}")" >"$into/bin/$1"
  chmod +x "$into/bin/$1"
}

main
