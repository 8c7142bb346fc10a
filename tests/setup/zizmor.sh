#!/usr/bin/env bash
# Puts zizmor, which audits the workflow for GitHub Actions, at HOME/zizmor/bin/zizmor.
#
#   zizmor.sh HOME
#
# After python.sh, by whose pip it is fetched.
set -euo pipefail

home=$1
zizmor='zizmor==1.32.0'
into=$home/zizmor

[ -x "$into/bin/zizmor" ] && [ "$(cat "$into/stamp" 2>>"$home/log" || :)" = "$zizmor" ] && exit 0
printf 'setup: installing %s\n' "$zizmor" >&2
rm -rf "$into"
if ! "$home/python/bin/python" -m pip install --disable-pip-version-check --no-input --no-deps --only-binary :all: \
  --target "$into" "$zizmor" >>"$home/log" 2>&1; then
  printf 'setup: pip could not install it; the last lines of %s:\n' "$home/log" >&2
  tail -n 15 "$home/log" >&2
  exit 1
fi
printf '%s\n' "$zizmor" >"$into/stamp"
