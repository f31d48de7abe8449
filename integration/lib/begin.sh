# begin.sh, sourced first by each client's run.sh:  . ../lib/begin.sh; begin NAME PACKAGE...
#
# What follows `begin` runs in mount, network and pid namespaces of its own, as pid 1, with an empty /run and empty
# /var/lib/{cni,containers}: a client cannot meet another client's sockets, networks and state or the host's, and whatever
# it starts ends with the script. The mounts are shared among themselves, as on a host that systemd has started.
# Packages are installed before, while there is still a network.
#
# $RUNTIME  the runtime under test, absolute; $runtime its base name
# $work     a temporary folder, removed at the end
# $tag      a name for the cgroup parent of all that the client runs, e.g. /$tag
# $known_file: see report.sh
lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$lib/../.." && pwd)
export PATH="$top/target/integration/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH"
. "$lib/report.sh"
. "$lib/images.sh"
. "$lib/left.sh"

begin() {
    client=$1
    shift
    here=$(cd "$(dirname "$0")" && pwd)
    known_file=$here/known.txt
    RUNTIME=${RUNTIME:-$top/target/x86_64-unknown-linux-gnu/release/orlop}
    RUNTIME=$(realpath "$(command -v "$RUNTIME" || echo "$RUNTIME")")
    runtime=$(basename "$RUNTIME")
    export RUNTIME
    if [ "${INTEGRATION_INSIDE-}" != "$client" ]; then
        begin_outside "$@"
    fi
    begin_inside
}

begin_outside() {
    if [ "$(id -u)" != 0 ]; then
        skip "$client" "not root"
        closing
        exit
    fi
    if ! "$top/hack/need.sh" busybox-static umoci util-linux iproute2 python3 "$@"; then
        not_ok "$client: its packages can be installed"
        closing
        exit
    fi
    # before_namespaces: what a client wants to fetch while the network is still there.
    if declare -F before_namespaces >/dev/null; then before_namespaces || exit 1; fi
    local view=()
    [ "$runtime" != crun ] || view=("$top/hack/crun-view.sh")
    INTEGRATION_INSIDE=$client exec "${view[@]}" unshare --mount --net --pid --fork --kill-child --mount-proc \
        --propagation private -- "$(realpath "$0")" "${arguments[@]}"
}

begin_inside() {
    work=$(mktemp -d -t "orlop-$client-XXXXXX")
    tag=orlop-$client-$$-$RANDOM
    trap finish EXIT
    mount -t tmpfs -o mode=755 none /run
    mkdir -p /run/lock /var/lib/cni /var/lib/containers
    for path in /var/lib/cni /var/lib/containers; do mount -t tmpfs none $path; done
    mount --make-rshared /
    ip link set lo up
}

# finish: `stop_client` is the client's own; then nothing of it may be left.
finish() {
    trap - EXIT
    if declare -F stop_client >/dev/null; then stop_client; fi
    # As pid 1 of our own namespace this reaches nobody else's processes.
    [ $$ != 1 ] || kill -KILL -1 2>/dev/null
    remove_cgroups
    umount_below "$work"
    rm -rf --one-file-system "$work"
}
# typed [--size ROWSxCOLS] [STEP...] -- COMMAND...: the command on a terminal of its own, see terminal.py. Terminals on the
# way turn a line's end into \r\n or \r\r\n: carriage returns are taken out.
typed() { timeout -k 2 60 python3 "$lib/terminal.py" "$@" 2>&1 | tr -d '\r'; }

arguments=("$@")
