#!/usr/bin/env bash
# Brings three real sites, each of another kind, for the benchmarks of `spothost publish`:
#
#   python-docs   a documentation of many pages, made by Sphinx (Debian's python3.11-doc)
#   jupyterlab    an application, made by webpack (the wheel of PyPI)
#   handbook      a book with pictures in five languages (Debian's debian-handbook)
#
#   sites.sh FOLDER
#
# Needs apt, pip and Python, each with its usual archive; nothing is installed, and no root is needed.
set -euo pipefail

into=$(realpath -m "$1")
mkdir -p "$into"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

apt-get download -qq python3.11-doc debian-handbook
for package in *.deb; do
  dpkg -x "$package" tree
done
# Debian's links lead to other packages.
find tree -xtype l -delete
rm -rf "$into"/python-docs "$into"/jupyterlab "$into"/handbook
cp -rL tree/usr/share/doc/python3.11/html "$into/python-docs"
mkdir "$into/handbook"
for language in en-US de-DE fr-FR ja-JP es-ES; do
  cp -rL "tree/usr/share/doc/debian-handbook/html/$language" "$into/handbook/$language"
done
printf '<!doctype html><title>Handbook</title><a href=en-US/>English</a>\n' >"$into/handbook/index.html"

python3 -m pip download --quiet --no-deps --dest . jupyterlab==4.2.5
python3 -m zipfile -e jupyterlab-*.whl wheel
cp -r wheel/jupyterlab-*.data/data/share/jupyter/lab/static "$into/jupyterlab"
for site in python-docs jupyterlab handbook; do
  printf '%s: %s files, %s\n' "$site" "$(find "$into/$site" -type f | wc -l)" "$(du -sh "$into/$site" | cut -f1)"
done
