#!/usr/bin/env bash
# Makes a Python at HOME/cloudformation with what judges stack.yaml: cfn-lint, and moto with its CloudFormation.
#
#   cloudformation.sh HOME
#
# After python.sh, whose Python it uses. Apart from the world's own packages, which the overlay patches.
set -euo pipefail

home=$1
here=$(cd "$(dirname "$0")" && pwd)
into=$home/cloudformation
say() { printf 'setup: %s\n' "$*" >&2; }

stamp=$("$home/python/bin/python" -c 'import sys; print(sys.version)' | cat - "$here/cloudformation.txt" "$0" | cksum)
if [ "$(cat "$into/stamp" 2>>"$home/log" || :)" = "$stamp" ]; then
  exit 0
fi
say "installing cfn-lint, and moto's CloudFormation"
rm -rf "$into" && mkdir -p "$into/bin"
if ! "$home/python/bin/python" -m pip install --disable-pip-version-check --no-input --only-binary :all: \
  --target "$into/lib" -r "$here/cloudformation.txt" >>"$home/log" 2>&1; then
  say "pip could not install them; the last lines of $home/log:"
  tail -n 15 "$home/log" >&2
  exit 1
fi
printf '#!/bin/sh\nPYTHONPATH=%q exec %q "$@"\n' "$into/lib" "$home/python/bin/python" >"$into/bin/python"
chmod +x "$into/bin/python"
"$into/bin/python" -c 'import cfnlint, moto.cloudformation.models'
printf '%s\n' "$stamp" >"$into/stamp"
