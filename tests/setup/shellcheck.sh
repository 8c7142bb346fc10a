#!/usr/bin/env bash
# Puts shellcheck, which judges the user data's script, at HOME/shellcheck/usr/bin/shellcheck.
#
#   tests/setup/shellcheck.sh HOME
set -euo pipefail

home=$1
here=$(cd "$(dirname "$0")" && pwd)
shellcheck=$home/shellcheck/usr/bin/shellcheck

runs() { [ -x "$shellcheck" ] && "$shellcheck" --version >>"$home/log" 2>&1; }

runs && exit 0
bash "$here/package.sh" "$home" shellcheck && runs && exit 0
if given=$(command -v shellcheck); then
  rm -rf "$home/shellcheck" && mkdir -p "${shellcheck%/*}" && ln -s "$given" "$shellcheck"
  exit 0
fi
printf 'setup: shellcheck could not be had; put one on the PATH (sudo apt-get install shellcheck)\n' >&2
exit 1
