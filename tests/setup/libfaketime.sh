#!/usr/bin/env bash
# Puts libfaketime, by which a process sees another time of day than the machine has, at HOME/libfaketime.so.
#
#   tests/setup/libfaketime.sh HOME
set -euo pipefail

home=$1
here=$(cd "$(dirname "$0")" && pwd)
library=$home/libfaketime.so

works() { [ -e "$library" ] && [ "$(LD_PRELOAD=$library FAKETIME='@2001-02-03 12:00:00' date +%Y)" = 2001 ]; }

put() { [ -n "$1" ] && ln -sf "$1" "$library" && works; }

works && exit 0
if bash "$here/package.sh" "$home" libfaketime; then
  put "$(find "$home/libfaketime" -name libfaketime.so.1 -print -quit)" && exit 0
fi
put "$(find /usr/lib /usr/local/lib -name libfaketime.so.1 -print -quit)" && exit 0
printf 'setup: libfaketime could not be had; install it (sudo apt-get install libfaketime)\n' >&2
exit 1
