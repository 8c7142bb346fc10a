#!/usr/bin/env bash
# Unpacks programs of this distribution beside all their libraries: no root, nothing installed, whatever the machine lacks.
#
#   closure.sh HOME INTO PACKAGE… -- PROGRAM…
#
# Afterwards INTO/bin/NAME runs each PROGRAM (a path such as usr/bin/zip), started by the loader that came with it: with an
# empty list of what is installed apt brings everything that it needs.
set -euo pipefail

home=$1 into=$2
shift 2
packages=()
while [ "$1" != -- ]; do
  packages+=("$1")
  shift
done
shift
say() { printf 'setup: %s\n' "$*" >&2; }

say "fetching ${packages[*]}"
apt=$into/apt tree=$into/tree
rm -rf "$apt" "$tree"
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$tree" "$into/bin"
: >"$apt/status"
options=(-qq -o "Dir::State::status=$apt/status" -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache"
  -o APT::Install-Recommends=false -o APT::Sandbox::User=root -o Debug::NoLocking=true)
apt-get "${options[@]}" update >>"$home/log" 2>&1 || say "apt could not read every archive (see $home/log), going on with what it has"
if ! apt-get "${options[@]}" --yes --download-only install "${packages[@]}" >>"$home/log" 2>&1; then
  say "apt could not download ${packages[*]}; the last lines of $home/log:"
  tail -n 5 "$home/log" >&2
  exit 1
fi
for package in "$apt"/cache/archives/*.deb; do
  dpkg -x "$package" "$tree"
done
rm -rf "$apt"
loader=$(find "$tree" -name 'ld-linux-*.so.*' -print -quit)
libraries=$(find "$tree" -name '*.so*' -printf '%h\n' | grep -E '/lib/[^/]+(/systemd)?$' | sort -u | paste -sd:)
for program in "$@"; do
  name=${program##*/}
  printf '#!/bin/sh\nexec %q --library-path %q %q "$@"\n' "$loader" "$libraries" "$tree/$program" >"$into/bin/$name"
  chmod +x "$into/bin/$name"
done
