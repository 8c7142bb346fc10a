#!/usr/bin/env bash
# Puts mdBook, which makes a site of the manual, at HOME/mdbook/bin/mdbook.
#
#   mdbook.sh HOME
#
# After python.sh, by whose pip it is fetched. Debian has no mdBook for its stable releases and building it takes minutes, so it is a
# wheel that its authors did not make: pinned by the hash of what was looked at.
set -euo pipefail

home=$1
here=$(cd "$(dirname "$0")" && pwd)
into=$home/mdbook
say() { printf 'setup: %s\n' "$*" >&2; }

stamp=$(cat "$0" "$here/mdbook.txt" | cksum)
[ -x "$into/bin/mdbook" ] && [ "$(cat "$into/stamp" 2>>"$home/log" || :)" = "$stamp" ] && exit 0
say "installing mdBook"
rm -rf "$into"
if ! "$home/python/bin/python" -m pip install --disable-pip-version-check --no-input --no-deps --only-binary :all: --require-hashes \
  --target "$into" -r "$here/mdbook.txt" >>"$home/log" 2>&1; then
  say "pip could not install it; the last lines of $home/log:"
  tail -n 15 "$home/log" >&2
  exit 1
fi
"$into/bin/mdbook" --version >>"$home/log"
printf '%s\n' "$stamp" >"$into/stamp"
