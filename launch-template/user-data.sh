#!/bin/bash
# spothost user data: makes a fresh instance the host of its site. cloud-init runs it as root at the first boot; it can
# be run again, and leaves alone what is as it should be. `launch-template/render` fills in what stands between @ signs.
#
# Needs bash, coreutils, systemd and curl >= 7.76 as found on Amazon Linux 2023, Debian 12 and 13 and Ubuntu 24.04.
# SPOTHOST_ROOT places the files below another folder. A failing step is repeated for SPOTHOST_PATIENCE seconds, an hour by
# default, and reported after a thirtieth of it.
set -euo pipefail
umask 022

readonly bucket='@BUCKET@'
readonly root=${SPOTHOST_ROOT:-} patience=${SPOTHOST_PATIENCE:-3600}
readonly imds=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
region='' instance='' changed=''

main() {
    say 'begins'
    command -v curl >/dev/null || fail 'curl is missing. Use an image that has it.'
    region=$(retry imds placement/region) || fail 'IMDS did not tell the region.'
    instance=$(retry imds instance-id) || fail 'IMDS did not tell the instance id.'

    choose_binary
    prepare_binary
    configuration >"$work/spothost.toml"
    service >"$work/spothost.service"
    socket >"$work/spothost.socket"
    app_service >"$work/spothost-app@.service"
    app_socket >"$work/spothost-app.socket"

    # Nothing is placed before everything is there and was checked.
    place spothost.toml 644 /etc/spothost/spothost.toml
    place spothost.service 644 /etc/systemd/system/spothost.service
    place spothost.socket 644 /etc/systemd/system/spothost.socket
    place spothost-app@.service 644 /etc/systemd/system/spothost-app@.service
    place spothost-app.socket 644 /etc/systemd/system/spothost-app.socket
    place spothost 755 /usr/local/bin/spothost
    start
    say "is done: spothost runs on $instance"
    console "spothost user data: is done on $instance"
}

# The object in the bucket and its SHA-256, by the architecture of this instance.
choose_binary() {
    case $(uname -m) in
        x86_64) key='@X86_64_KEY@' sha256='@X86_64_SHA256@' ;;
        aarch64) key='@ARM64_KEY@' sha256='@ARM64_SHA256@' ;;
        *) key='' sha256='' ;;
    esac
    [[ -n $key ]] || fail "there is no binary for $(uname -m). Render the template with one, or use another instance type."
}

# Has the binary that belongs here in $work/spothost, verified: the one that is installed already, or the bucket's.
prepare_binary() {
    if is_genuine "$root/usr/local/bin/spothost"; then
        cp "$root/usr/local/bin/spothost" "$work/spothost"
        return
    fi
    retry download "$key" "$work/spothost" >/dev/null ||
        fail "s3://$bucket/$key could not be fetched. Is it there, and may the instance profile s3:GetObject it?"
    is_genuine "$work/spothost" ||
        fail "s3://$bucket/$key is not the binary this template was rendered for (SHA-256 $sha256). Nothing was installed. Upload the right one, or render the template again."
    chmod 755 "$work/spothost"
    "$work/spothost" --version >>"$work/log" 2>&1 ||
        fail "s3://$bucket/$key does not run on this system; the reason stands above. Was it built for a newer one?"
}

is_genuine() {
    [[ -f $1 ]] && echo "$sha256  $1" | sha256sum --check --status
}

# place FILE MODE PATH: the file from $work at its place in one step (a rename), unless the same is there already.
place() {
    local path=$root$3
    if cmp -s "$work/$1" "$path" && [[ $(stat -c %a "$path") == "$2" ]]; then
        return
    fi
    { mkdir -p "${path%/*}" && install -m "$2" "$work/$1" "$path.new" && sync "$path.new" && mv -f "$path.new" "$path"; } ||
        fail "$path could not be written. Is the disk full or read-only?"
    say "wrote $path"
    changed+=" $1"
}

# `restart` and `start` come back when the agent says that it is ready, or when it has failed.
start() {
    local verb=start units=(spothost.service)
    if [[ -n $changed ]]; then
        systemctl daemon-reload || fail 'systemd did not read its units again.'
        verb=restart
    fi
    # The ports stay open meanwhile, unless it is they that have changed.
    [[ $changed != *spothost.socket* ]] || units+=(spothost.socket)
    if ! { systemctl enable spothost.socket spothost.service && systemctl "$verb" "${units[@]}"; } 2>>"$work/log"; then
        journalctl --unit spothost --lines 40 --no-pager >>"$work/log" 2>/dev/null || true
        fail 'spothost.service did not start; its last lines stand above. Code 64 means that the configuration is refused.'
    fi
}

# retry COMMAND…: repeats it until it succeeds, 1, 2, 4 … 60 seconds apart, and prints what it printed. A fresh instance
# has no route, no name server or no permission for some seconds. What takes longer is reported and goes on being repeated:
# a person may be able to cure it meanwhile.
retry() {
    local answer delay=1 began=$SECONDS reported=''
    until answer=$("$@" 2>&1); do
        say "$* failed: ${answer:-no answer}"
        ((SECONDS - began < patience)) || return 1
        if [[ -z $reported ]] && ((SECONDS - began >= patience / 30)); then
            report "$1 has been failing for $((SECONDS - began)) seconds and is being repeated."
            reported=yes
        fi
        sleep "$delay"
        delay=$((delay < 30 ? delay * 2 : 60))
    done
    printf '%s' "$answer"
}

# imds PATH: one answer below /latest/meta-data, by IMDSv2. Secrets go through stdin, where `ps` does not show them.
imds() {
    local ask=(curl --config - --silent --show-error --fail --noproxy '*' --connect-timeout 1 --max-time 5) token
    token=$("${ask[@]}" --request PUT --header 'x-aws-ec2-metadata-token-ttl-seconds: 60' "$imds/latest/api/token" </dev/null) &&
        "${ask[@]}" "$imds/latest/meta-data/$1" <<<"header = \"x-aws-ec2-metadata-token: $token\""
}

# download KEY FILE: by the AWS CLI where there is one, and by curl where there is none or it fails.
download() {
    rm -f "$2"
    s3_cli cp "s3://$bucket/$1" "$2" || s3_curl "$1" --output "$2" || {
        # S3's own words for a refusal came in the place of the object.
        grep --text --only-matching '<Code>.*</Message>' "$2" 2>/dev/null | head -c 600
        return 1
    }
}

upload() {
    s3_cli cp "$1" "s3://$bucket/$2" || s3_curl "$2" --upload-file "$1"
}

s3_cli() {
    command -v aws >/dev/null &&
        AWS_USE_DUALSTACK_ENDPOINT=true AWS_MAX_ATTEMPTS=1 aws s3 "$@" --region "$region" --only-show-errors \
            --cli-connect-timeout 5 --cli-read-timeout 30
}

# s3_curl KEY OPTION…: one request, signed by curl with the instance profile's credentials (AWS Signature Version 4).
# The path style works for bucket names with dots too, and the dual-stack end point from instances without IPv4.
s3_curl() {
    local role keys there
    there=$(bucket_region)
    role=$(imds iam/security-credentials/) && keys=$(imds "iam/security-credentials/${role%%[[:space:]]*}") || return
    curl --config - --silent --show-error --fail-with-body --connect-timeout 5 --speed-limit 1024 --speed-time 30 \
        --max-time 600 --aws-sigv4 "aws:amz:$there:s3" --header 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "${@:2}" \
        "$(s3_service "$there")/$bucket/$1" <<END
user = "$(field AccessKeyId "$keys"):$(field SecretAccessKey "$keys")"
header = "x-amz-security-token: $(field Token "$keys")"
END
}

s3_service() {
    echo "${AWS_ENDPOINT_URL_S3:-${AWS_ENDPOINT_URL:-https://s3.dualstack.$1.amazonaws.com}}"
}

# The region of the bucket, which S3 tells anybody; where it does not, that of the instance. (The AWS CLI finds it itself.)
bucket_region() {
    local told
    told=$(curl --silent --head --connect-timeout 5 --max-time 10 "$(s3_service "$region")/$bucket" |
        sed -n 's/^x-amz-bucket-region: *\([a-z0-9-]*\).*/\1/Ip') || true
    echo "${told:-$region}"
}

# field NAME JSON: the string NAME of a flat JSON object. What IMDS gives as credentials needs no escapes.
field() {
    sed -n 's/.*"'"$1"'" *: *"\([^"\\]*\)".*/\1/p' <<<"$2"
}

say() {
    printf 'spothost user data: %s\n' "$*" | tee -a "$work/log" >&2
}

# fail SENTENCE: says it where a person sees it, and ends.
fail() {
    say "FAILED: $*"
    report "$*"
    exit 1
}

# report SENTENCE: to the console (`aws ec2 get-console-output`) and, with the log, to failed/ in the bucket. Best effort.
report() {
    local name pause
    name=failed/${instance:-unknown-$(uname -n)}-$(date -u +%Y%m%dT%H%M%SZ).txt
    console "spothost user data: FAILED: $*"
    { printf '%s\n\n' "$*" && tail -c 32768 "$work/log"; } >"$work/report"
    for pause in 1 4 0; do
        [[ -n $region ]] || break
        if upload "$work/report" "$name" >>"$work/log" 2>&1; then
            return
        fi
        sleep "$pause"
    done
    console "spothost user data: s3://$bucket/$name could not be written either"
}

console() {
    printf '%s\n' "$*" 2>/dev/null >>"$root/dev/console" || true
}

configuration() {
    cat <<'END_OF_FILE'
@CONFIGURATION@
END_OF_FILE
}

service() {
    cat <<'END_OF_FILE'
@SERVICE@
END_OF_FILE
}

socket() {
    cat <<'END_OF_FILE'
@SOCKET@
END_OF_FILE
}

app_service() {
    cat <<'END_OF_FILE'
@APP_SERVICE@
END_OF_FILE
}

app_socket() {
    cat <<'END_OF_FILE'
@APP_SOCKET@
END_OF_FILE
}

main
