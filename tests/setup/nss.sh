#!/usr/bin/env bash
# Puts what changes the CAs of browsers at HOME/nss/bin: `certutil` of NSS.
#
#   nss.sh HOME
set -euo pipefail

home=$1
here=$(cd "$(dirname "$0")" && pwd)
into=$home/nss
stamp=$(cat "$0" "$here/closure.sh" | cksum)
[ "$(cat "$into/stamp" 2>>"$home/log" || :)" = "$stamp" ] && exit 0
rm -rf "$into" && mkdir -p "$into"
bash "$here/closure.sh" "$home" "$into" libnss3-tools -- usr/bin/certutil
mkdir "$into/probe"
"$into/bin/certutil" -N --empty-password -d "sql:$into/probe" >>"$home/log" 2>&1
rm -rf "$into/probe"
printf '%s\n' "$stamp" >"$into/stamp"
