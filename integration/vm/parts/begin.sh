# begin.sh, sourced first by each part: where things are in the machine, and how a part reports.
#
# $RUNTIME: orlop, or a peer by its name. $work: an empty folder, removed at the end. $tag: a name for the part's cgroups.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lib=$here/../../lib
top=$here/../../..
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
. "$lib/report.sh"
. "$lib/images.sh"
part=$(basename "$0" .sh)
runtime=${RUNTIME:-orlop}
RUNTIME=$(command -v "$runtime")
known_file=$here/known.txt
# Runtimes chown their stdio to the container's user; in a sticky /tmp root could not open such a file again.
work=$(mktemp -d "${WORK_BELOW:-/var/lib}/orlop-$part-XXXXXX")
chmod 755 "$work"
tag=orlop-$part
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then cgroups=v2
elif [ -d /sys/fs/cgroup/unified ]; then cgroups=hybrid
else cgroups=v1; fi
trap 'rm -rf --one-file-system "$work"' EXIT

ours() { [ "$runtime" = orlop ]; }

# bundle NAME [JQ-FILTER]: $work/NAME with a busybox root that all bundles share, and the runtime's own spec, changed.
bundle() {
    [ -d "$work/rootfs" ] || busybox_root "$work/rootfs"
    mkdir -p "$work/$1"
    rm -f "$work/$1/config.json"
    "$RUNTIME" spec ${spec_options-} --bundle "$work/$1" &&
        jq ".process.terminal = false | .process.args = [\"sleep\", \"600\"] | .root = {path: \"$work/rootfs\"} | ${2:-.}" \
            "$work/$1/config.json" >"$work/$1/new.json" && mv "$work/$1/new.json" "$work/$1/config.json"
}

rt() { timeout -k 5 120 "$RUNTIME" --root "$work/state" "$@"; }

# start [OPTION...] NAME: create and start; a container keeps its output, so that must be a file.
start() { rt "${@:1:$#-1}" run --detach --bundle "$work/${*: -1}" "${*: -1}" >"$work/start.log" 2>&1 </dev/null; }
pid_of() { rt state "$1" | jq .pid; }

# cgroup_dir NAME [CONTROLLER]: its cgroup as a folder, in v1's hierarchy of the controller or in v2's.
cgroup_dir() {
    local pid path controller=${2-}
    pid=$(pid_of "$1")
    if [ -n "$controller" ]; then
        path=$(sed -n "s/^[0-9]*:\([a-z_,]*,\)\?$controller\(,[a-z_,]*\)\?://p" "/proc/$pid/cgroup")
        [ -z "$path" ] || { echo "/sys/fs/cgroup/$controller$path" && return; }
    fi
    path=$(sed -n 's/^0:://p' "/proc/$pid/cgroup")
    if [ $cgroups = v2 ]; then echo "/sys/fs/cgroup$path"; else echo "/sys/fs/cgroup/unified$path"; fi
}
