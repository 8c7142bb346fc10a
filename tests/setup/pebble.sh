#!/usr/bin/env bash
# Puts Pebble, Let's Encrypt's small ACME server for tests, at HOME/pebble/usr/bin/pebble.
#
#   pebble.sh HOME
#
# Debian's unstable release has one with renewal information (RFC 9773) and profiles; where
# that cannot be had, or does not run on this machine, the release's own does for all but these.
set -euo pipefail

home=$1
here=$(cd "$(dirname "$0")" && pwd)
pebble=$home/pebble/usr/bin/pebble
say() { printf 'setup: %s\n' "$*" >&2; }

# Pebble asked for help answers with code 0 or 2; a loader that lacks a library with 1 or 127.
runs() {
  [ -x "$pebble" ] || return 1
  local code=0
  "$pebble" -help >>"$home/log" 2>&1 || code=$?
  [ "$code" = 0 ] || [ "$code" = 2 ]
}

runs && exit 0
for suite in sid ''; do
  if bash "$here/package.sh" "$home" pebble $suite && runs; then
    exit 0
  fi
done
if given=$(command -v pebble); then
  say "using the Pebble of this machine, $given"
  rm -rf "$home/pebble" && mkdir -p "${pebble%/*}" && ln -s "$given" "$pebble"
  exit 0
fi
say "Pebble could not be had; put one on the PATH (go install github.com/letsencrypt/pebble/v2/cmd/pebble@latest)"
exit 1
