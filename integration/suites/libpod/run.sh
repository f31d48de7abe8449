#!/bin/bash
# run.sh [FILE...]: libpod's own system tests (test/system/*.bats of the source package of Debian 12), as root, on the
# installed Podman with $RUNTIME below it. Without arguments all files run that files.txt does not leave out; FAST=1
# takes those it marks as close to the runtime. $BUDGET is the time for all of them in seconds; files that find it used
# up are skipped. $FILTER names single cases by a regular expression. TAP lines, then `N passed, N failed, N skipped`.
#
# expected.txt has the cases that cannot pass here, `RUNTIME|PATTERN|reason`: see ../expect.sh.
set -uo pipefail
. "$(dirname "$0")/../../lib/begin.sh"
. "$(dirname "$0")/../source.sh"
. "$(dirname "$0")/../expect.sh"
. "$(dirname "$0")/image.sh"
BUDGET=${BUDGET:-720}

before_namespaces() {
    debian_source bookworm libpod >/dev/null || { not_ok "libpod: the source can be fetched"; return 1; }
}
begin libpod podman crun runc conmon netavark catatonit iptables bats jq curl openssl skopeo docker-registry socat netcat-openbsd

# Nothing of the host's configuration and storage is used or touched.
chmod 755 "$work"
mkdir -p "$work"/{tmp,build-tmp}
chmod 1777 "$work/tmp"
mount -t tmpfs none /etc/containers
mount -t tmpfs -o mode=1777 none /dev/shm
mount -t tmpfs -o mode=1777 none /var/tmp
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >/etc/containers/policy.json
cat >/etc/containers/registries.conf <<TOML
[[registry]]
prefix = "quay.io"
location = "127.0.0.1:5999"
insecure = true
TOML
# A path that the cases take for one.
mkdir /run/runtime
cp "$RUNTIME" "/run/runtime/$runtime"
RUNTIME=/run/runtime/$runtime
# Cases that bring a containers.conf of their own get Podman's default runtime: it is ours as well.
for path in /usr/bin/crun /usr/bin/runc; do
    mount --bind "$RUNTIME" "$path"
done

# configure NAME: under this name Podman knows the runtime.
# The limits are what any host allows; Podman 4.3 swaps soft and hard of a pod, so they are the same.
configure() {
    cat >/etc/containers/containers.conf <<TOML
[engine]
runtime = "$1"
runtime_supports_json = ["orlop", "crun", "runc"]
runtime_supports_nocgroup = ["orlop", "crun"]
runtime_supports_nocgroups = ["orlop", "crun"]
cgroup_manager = "cgroupfs"
events_logger = "file"
network_backend = "netavark"
[engine.runtimes]
$1 = ["$RUNTIME"]
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=16384:16384", "nproc=16384:16384"]
TOML
}
configure "$runtime"

stop_client() {
    local id pid
    {
        podman pod rm -fa -t 0
        podman rm -fa -t 0
    } >"$work/end.log" 2>&1
    # Podman has one parent for all on this host; what is ours below it stands in our events.
    for id in $(cat /run/libpod/events/* /var/lib/containers/storage/libpod/*/events* 2>/dev/null | grep -oE '"ID":"[0-9a-f]{64}"' | cut -d '"' -f 4 | sort -u); do
        find /sys/fs/cgroup -depth \( -fstype cgroup -o -fstype cgroup2 \) -type d -path "*/libpod*$id*" -exec rmdir {} \; 2>/dev/null
    done
    if [ -n "${registry-}" ]; then kill "$registry"; fi
}

succeeds "libpod: a registry stands in for quay.io" start_registry
test_image >"$work/image.log" 2>&1 && ok "libpod: the test image is made" ||
    { not_ok "libpod: the test image is made" "$(tail "$work/image.log")"; closing; exit; }

export TMPDIR=$work/tmp LANG=C.UTF-8 PODMAN_TIMEOUT=${PODMAN_TIMEOUT:-40} BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-90}
unset XDG_RUNTIME_DIR CONTAINERS_CONF
cp -r "$(debian_source bookworm libpod)/test" "$work/test"
cd "$work/test/system" || exit

# bats_file NAME: runs the file and turns bats' lines into ours.
bats_file() {
    local name=$1 line="" text="" case="" state="" why="" after=""
    # A case that lost the image would take all the others with it.
    podman image exists quay.io/libpod/testimage:20220615 || podman pull -q quay.io/libpod/testimage:20220615 >/dev/null
    timeout -k 10 "${FILE_SECONDS:-300}" bats --tap ${FILTER:+--filter "$FILTER"} "$name.bats" >"$work/tap" 2>"$work/bats.log" </dev/null
    grep -q '^1\.\.' "$work/tap" || echo "not ok 0 the file can be run" >>"$work/tap"
    while IFS= read -r line; do
        if [[ $line =~ ^(not )?ok\ [0-9]+\ (.*)$ ]]; then
            [ -z "$case" ] || verdict "libpod $name: $case" "$state" "$text" "$why"
            state=ok text="" why="" after="" case=${BASH_REMATCH[2]}
            [ -z "${BASH_REMATCH[1]}" ] || state=fail
            if [[ $case =~ ^(.*)\ \#\ skip\ ?(.*)$ ]]; then case=${BASH_REMATCH[1]} state=skip why=${BASH_REMATCH[2]}; fi
            case=${case%% \# timeout*}
        elif [[ $line == '# # [teardown]'* ]]; then
            after=1
        elif [[ $line == '# '* && -z $after && $line != '# setup()'* && $line != '# Deleted: '* ]]; then
            text+=${line#\# }$'\n'
        fi
    done <"$work/tap"
    [ -z "$case" ] || verdict "libpod $name: $case" "$state" "$text" "$why"
    local planned seen
    planned=$(sed -n 's/^1\.\.//p' "$work/tap") seen=$(grep -cE '^(not )?ok [1-9]' "$work/tap")
    [ "$planned" = "$seen" ] || not_ok "libpod $name: all cases of the file end" "$seen of $planned; $(tail -n 5 "$work/bats.log")"
}

# files.txt: `FILE|fast`, `FILE|out|reason`, `FILE|as crun`: some cases run only below a runtime of that name.
marked() { grep -qE "^$1\|$2" "$here/files.txt"; }
files=("${arguments[@]}")
if [ ${#files[@]} = 0 ]; then
    for path in *.bats; do
        name=${path%.bats}
        if [ "${FAST-}" != 1 ] || marked "$name" fast; then files+=("$name"); fi
    done
fi
for name in "${files[@]}"; do
    began=$SECONDS
    if marked "$name" out; then
        skip "libpod $name: the file" "$(sed -n "s/^$name|out|//p" "$here/files.txt")"
    elif [ "$SECONDS" -gt "$BUDGET" ]; then
        skip "libpod $name: the file" "the time of $BUDGET s is used up"
    else
        if marked "$name" 'as crun' && [ "$runtime" = orlop ]; then configure crun; else configure "$runtime"; fi
        bats_file "$name"
        echo "# $name: $((SECONDS - began)) s"
    fi
done
closing
