#!/usr/bin/env bash
# Puts a simulator of IAM, with AWS's Service Authorization Reference as data, at HOME/simulator/node_modules, and a way to Node at
# HOME/simulator/node.
#
#   simulator.sh HOME
#
# Needs Node 18 or newer with npm, which a root with apt is given. Packages are pinned with their hashes; none of their scripts is
# run. It is a program of its own, which the tests ask over a socket.
set -euo pipefail

home=$1
here=$(cd "$(dirname "$0")" && pwd)
into=$home/simulator
say() { printf 'setup: %s\n' "$*" >&2; }

is_new_enough() { node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' 2>>"$home/log" && command -v npm >>"$home/log"; }

if ! is_new_enough; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >>"$home/log"; then
    say "installing nodejs and npm"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm; } >>"$home/log" 2>&1
  fi
  is_new_enough || { say "no Node 18 or newer with npm was found; install one (sudo apt-get install nodejs npm)"; exit 1; }
fi
node=$(command -v node)
stamp=$(printf '%s\n' "$node" | cat - "$0" "$here/simulator/package-lock.json" | cksum)
[ "$(cat "$into/stamp" 2>>"$home/log" || :)" = "$stamp" ] && exit 0
say "installing a simulator of IAM"
rm -rf "$into" && mkdir -p "$into"
cp "$here/simulator/package.json" "$here/simulator/package-lock.json" "$into/"
if ! (cd "$into" && npm ci --ignore-scripts --no-audit --no-fund) >>"$home/log" 2>&1; then
  say "npm could not install it; the last lines of $home/log:"
  tail -n 15 "$home/log" >&2
  exit 1
fi
ln -s "$node" "$into/node"
(cd "$into" && ./node --input-type=module -e 'import "@cloud-copilot/iam-simulate"')
printf '%s\n' "$stamp" >"$into/stamp"
