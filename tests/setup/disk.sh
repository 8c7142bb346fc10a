#!/usr/bin/env bash
# Puts the library by which a process sees its disk fail at HOME/faulty-disk.so.
#
#   tests/setup/disk.sh HOME
set -euo pipefail

source=$(cd "$(dirname "$0")/../world/disk" && pwd)/shim.c
library=$1/faulty-disk.so
if [ ! -e "$library" ] || [ "$source" -nt "$library" ]; then
  cc -shared -fPIC -O1 -Wall -Wextra -Werror -o "$library.new" "$source" -ldl && mv -f "$library.new" "$library"
fi
