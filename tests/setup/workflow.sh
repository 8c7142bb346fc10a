#!/usr/bin/env bash
# Puts what judges the workflow for GitHub Actions at HOME/workflow/bin: `check-jsonschema`, with the schema of workflows.
#
#   workflow.sh HOME
#
# After python.sh, whose Python it uses.
set -euo pipefail

home=$1
here=$(cd "$(dirname "$0")" && pwd)
into=$home/workflow
say() { printf 'setup: %s\n' "$*" >&2; }

stamp=$("$home/python/bin/python" -c 'import sys; print(sys.version)' | cat - "$here/workflow.txt" "$0" | cksum)
[ "$(cat "$into/stamp" 2>>"$home/log" || :)" = "$stamp" ] && exit 0
say "installing check-jsonschema"
rm -rf "$into" && mkdir -p "$into/bin"
if ! "$home/python/bin/python" -m pip install --disable-pip-version-check --no-input --no-deps --only-binary :all: \
  --target "$into/lib" -r "$here/workflow.txt" >>"$home/log" 2>&1; then
  say "pip could not install it; the last lines of $home/log:"
  tail -n 15 "$home/log" >&2
  exit 1
fi
printf '#!/bin/sh\nPYTHONPATH=%q exec %q -m check_jsonschema "$@"\n' "$into/lib" "$home/python/bin/python" >"$into/bin/check-jsonschema"
chmod +x "$into/bin/check-jsonschema"
"$into/bin/check-jsonschema" --version >>"$home/log"
printf '%s\n' "$stamp" >"$into/stamp"
