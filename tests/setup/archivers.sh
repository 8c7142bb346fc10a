#!/usr/bin/env bash
# Puts what people make archives with at HOME/archivers/bin: `zip` (Info-ZIP), `7zz` (7-Zip) and `bsdtar` (libarchive).
#
#   archivers.sh HOME
set -euo pipefail

home=$1
here=$(cd "$(dirname "$0")" && pwd)
into=$home/archivers
stamp=$(cat "$0" "$here/closure.sh" | cksum)
[ "$(cat "$into/stamp" 2>>"$home/log" || :)" = "$stamp" ] && exit 0
rm -rf "$into" && mkdir -p "$into"
bash "$here/closure.sh" "$home" "$into" zip 7zip libarchive-tools -- usr/bin/zip usr/bin/7zz usr/bin/bsdtar
{ "$into/bin/zip" -v && "$into/bin/7zz" i && "$into/bin/bsdtar" --version; } >>"$home/log" 2>&1
printf '%s\n' "$stamp" >"$into/stamp"
