#!/usr/bin/env bash
# Publishes a folder from any CI that has a shell: fetches spothost from the bucket, holds it against its SHA-256, and
# publishes, once the owner of the name serves it or a host has said why not.
#
#   publish.sh FOLDER [ARGUMENTS OF SPOTHOST PUBLISH]
#
# The environment says what is meant; credentials come from where the AWS SDKs look for them:
#
#   AWS_REGION         any region of the partition, best that of the bucket
#   SPOTHOST_PLACE     where hosts look for packages, such as s3://example-sites/www/
#   SPOTHOST_PROGRAM   the program in the bucket, such as s3://example-sites/spothost/HASH/spothost-x86_64
#   SPOTHOST_SHA256    SHA-256 of the program, as launch-template/render says it
#
# Ends with 0 when the owner serves it; 1 refused, with the reasons; 5 a newer publication was there first; 65 the site has
# problems; 75 try again.
set -euo pipefail

main() {
  local folder=${1:?which folder? publish.sh FOLDER}
  shift
  : "${AWS_REGION:?}" "${SPOTHOST_PLACE:?}" "${SPOTHOST_PROGRAM:?}" "${SPOTHOST_SHA256:?}"
  local program=${XDG_CACHE_HOME:-$HOME/.cache}/spothost/program/$SPOTHOST_SHA256
  [ -x "$program" ] || fetch "$program"
  "$program" publish "$folder" --to "$SPOTHOST_PLACE" --wait "$@"
}

# fetch FILE: the program, if it is the one that is meant.
fetch() {
  mkdir -p "$(dirname "$1")"
  aws s3 cp --only-show-errors "$SPOTHOST_PROGRAM" "$1.new"
  printf '%s  %s\n' "$SPOTHOST_SHA256" "$1.new" | sha256sum --check --quiet
  chmod 755 "$1.new"
  mv "$1.new" "$1"
}

main "$@"
