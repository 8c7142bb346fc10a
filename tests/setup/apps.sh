#!/usr/bin/env bash
# Puts the servers of real applications, and the clients that ask them, at HOME/apps/bin: gunicorn, uvicorn and granian with Django,
# FastAPI and websockets (`python` finds them), node with Express (HOME/apps/node), puma and ruby with Rails, websocketd, curl and
# chromium.
#
#   apps.sh HOME
#
# After python.sh, whose Python it uses, and simulator.sh, whose Node it uses. Nothing outside HOME is touched, but for Chromium:
# its sandbox finds itself by its path, so a machine without one is given Debian's, if this is root's run.
set -euo pipefail

home=$1
here=$(cd "$(dirname "$0")" && pwd)
into=$home/apps
say() { printf 'setup: %s\n' "$*" >&2; }

main() {
  stamp=$(cat "$0" "$here/closure.sh" "$here/apps.txt" "$here/apps/package-lock.json" "$home/python/stamp" "$home/simulator/stamp" | cksum)
  if [ "$(cat "$into/stamp" 2>>"$home/log" || :)" = "$stamp" ] && [ -x "$into/bin/chromium" ]; then
    return
  fi
  rm -rf "$into" && mkdir -p "$into/bin"
  python_servers
  node_server
  ruby_server
  browser
  printf '%s\n' "$stamp" >"$into/stamp"
}

python_servers() {
  say "installing the packages of tests/setup/apps.txt"
  if ! "$home/python/bin/python" -m pip install --disable-pip-version-check --no-input --no-deps --only-binary :all: --require-hashes \
    --target "$into/python" -r "$here/apps.txt" >>"$home/log" 2>&1; then
    failed "pip could not install them"
  fi
  wrapper python env PYTHONPATH="$into/python" "$home/python/bin/python"
  for module in gunicorn uvicorn granian; do
    wrapper "$module" "$into/bin/python" -m "$module"
    "$into/bin/$module" --version >>"$home/log"
  done
  "$into/bin/python" -c 'import django, fastapi, websockets'
}

node_server() {
  say "installing Express"
  mkdir "$into/node"
  cp "$here/apps/package.json" "$here/apps/package-lock.json" "$into/node/"
  if ! (cd "$into/node" && npm ci --ignore-scripts --no-audit --no-fund) >>"$home/log" 2>&1; then
    failed "npm could not install it"
  fi
  # A script of another folder finds the modules by this variable.
  wrapper node env NODE_PATH="$into/node/node_modules" "$(readlink -f "$home/simulator/node")"
  "$into/bin/node" -e 'require("express"); require("ws")'
}

# Ruby looks for its libraries where Debian installs them; the variables name them below the folder they are unpacked in.
ruby_server() {
  local debian=$into/debian tree=$into/debian/tree
  bash "$here/closure.sh" "$home" "$debian" puma ruby ruby-railties ruby-actionpack websocketd curl -- usr/bin/ruby usr/bin/websocketd usr/bin/curl
  local libraries gems
  libraries=$(folders "$tree"/usr/lib/ruby/vendor_ruby "$tree"/usr/lib/*/ruby/vendor_ruby/[0-9]* "$tree"/usr/lib/ruby/[0-9]* "$tree"/usr/lib/*/ruby/[0-9]*)
  gems=$(folders "$tree"/usr/share/rubygems-integration/* "$tree"/usr/lib/*/rubygems-integration/* "$tree"/usr/lib/ruby/gems/*)
  wrapper ruby env RUBYLIB="$libraries" GEM_PATH="$gems" "$debian/bin/ruby"
  wrapper puma "$into/bin/ruby" "$tree/usr/bin/puma"
  ln -s ../debian/bin/websocketd ../debian/bin/curl "$into/bin/"
  { "$into/bin/puma" --version && "$into/bin/ruby" -e 'require "action_controller/railtie"' && "$into/bin/websocketd" --version &&
    "$into/bin/curl" --version; } >>"$home/log"
}

browser() {
  local chromium
  if ! chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome) && [ "$(id -u)" = 0 ] &&
    command -v apt-get >>"$home/log"; then
    say "installing chromium"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >>"$home/log" 2>&1 || :
    chromium=$(command -v chromium || :)
  fi
  if [ -z "$chromium" ]; then
    say "no Chromium was found; install one (sudo apt-get install chromium)"
    exit 1
  fi
  ln -s "$chromium" "$into/bin/chromium"
}

# folders PATH…: those that are folders, joined by colons.
folders() {
  for path in "$@"; do
    if [ -d "$path" ]; then printf '%s\n' "$path"; fi
  done | paste -sd:
}

# wrapper NAME COMMAND…: a program of that name that runs the command.
wrapper() {
  printf '#!/bin/sh\nexec %s "$@"\n' "$(printf '%q ' "${@:2}")" >"$into/bin/$1"
  chmod +x "$into/bin/$1"
}

failed() {
  say "$1; the last lines of $home/log:"
  tail -n 15 "$home/log" >&2
  exit 1
}

main
