#!/usr/bin/env bash
# Unpacks one Debian or Ubuntu package into a folder of its own: no root, nothing installed.
#
#   package.sh HOME PACKAGE [SUITE]
#
# The files land in `HOME/PACKAGE/…`. The mirror, and the keys it is checked with, are those
# this machine's own apt uses; SUITE (such as `sid`) asks for another release from that
# mirror. Package lists are kept in HOME, so the machine's own are neither needed nor touched.
# Where the machine cannot give SUITE (exit code 3), the caller may do without it.
set -euo pipefail

home=$1 package=$2 suite=${3:-}
say() { printf 'setup: %s\n' "$*" >&2; }

if ! command -v apt-get >>"$home/log" || ! command -v dpkg >>"$home/log"; then
  say "$package is taken from Debian's or Ubuntu's packages, and this machine has no apt"
  exit 3
fi

apt=$home/apt/${suite:-own}
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/etc"
options=(-o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o "APT::Sandbox::User=root" -q)

if [ -n "$suite" ]; then
  # The archive from which apt takes the Debian release that this machine runs; its URI ends in that release.
  # shellcheck source=/dev/null
  . /etc/os-release
  mirror=
  if [ "${ID:-}" = debian ]; then
    mirror=$(apt-get "${options[@]}" --print-uris update 2>>"$home/log" |
      sed -n "s|^'\\([^']*\\)/dists/${VERSION_CODENAME:-}/InRelease'.*|\\1|p" | head -n 1)
  fi
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  if [ -z "$mirror" ] || [ ! -r "$keyring" ]; then
    say "this machine's apt has no Debian mirror to take $package from $suite"
    exit 3
  fi
  printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite" >"$apt/etc/sources.list"
  options+=(-o "Dir::Etc::SourceList=$apt/etc/sources.list" -o "Dir::Etc::SourceParts=-")
fi

say "fetching $package${suite:+ from $suite} into $home/$package"
if ! apt-get "${options[@]}" update >>"$home/log" 2>&1; then
  # One unreachable archive of several is no obstacle as long as the package is there.
  say "apt could not read every archive (see $home/log), going on with what it has"
fi
unpacked=$home/$package.new
rm -rf "$unpacked" && mkdir -p "$unpacked"
if ! (cd "$unpacked" && apt-get "${options[@]}" download "$package") >>"$home/log" 2>&1; then
  say "apt could not download $package${suite:+ from $suite}; the last lines of $home/log:"
  tail -n 5 "$home/log" >&2
  exit 3
fi
dpkg -x "$unpacked"/*.deb "$unpacked"
rm -rf "${home:?}/$package" && mv "$unpacked" "$home/$package"
