#!/bin/bash
# soak.sh [N]: N (default 500) `docker run --rm` by $RUNTIME, two at a time, then what is left of them: mounts, cgroups,
# network namespaces and interfaces, shims, state directories, zombies, descriptors of dockerd and containerd.
set -uo pipefail
. "$(dirname "$0")/../lib/begin.sh"
begin docker-soak docker.io iptables
. "$here/daemon.sh"
total=${arguments[0]-500}

daemon_files
busybox_tar
start_dockerd || { not_ok "dockerd: it starts" "$(tail "$work/dockerd.log")"; closing; exit; }
succeeds "docker import: an image from a tar" import_busybox

# many N, in a subshell: prints the run numbers whose output was not what it should be.
many() {
    local lane
    for lane in 0 1; do
        (for ((i = lane; i < $1; i += 2)); do
            [ "$(run $image echo "run $i" 2>&1)" = "run $i" ] || echo "$i"
        done) &
    done
    wait
}
containerd_pid() { left_processes 'containerd --config' | head -n 1 | cut -d ' ' -f 1; }
count() { "$@" | wc -l; }
zombies() { grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null; }
# figures: one line a thing, counted.
figures() {
    echo "mounts $(wc -l </proc/self/mountinfo)"
    echo "cgroups $(count left_cgroups)"
    # Of processes; one that is only mounted is in the line above.
    echo "network-namespaces $(readlink /proc/[0-9]*/ns/net | sort -u | wc -l)"
    echo "interfaces $(count ls /sys/class/net)"
    echo "shims $(count left_processes containerd-shim)"
    echo "states $(count find "$work"/exec/runtime-*/moby -mindepth 1 -maxdepth 1)"
    echo "layers $(count ls "$work/data/overlay2")"
    echo "zombies $(count zombies)"
    echo "dockerd-descriptors $(count ls "/proc/$dockerd/fd")"
    echo "containerd-descriptors $(count ls "/proc/$(containerd_pid)/fd")"
}
settled() { [ -z "$(left_processes containerd-shim)" ] && [ -z "$(docker ps -aq)" ]; }

# The daemons open what they keep for good.
wrong=$(many 20)
within 20 settled; sleep 2
figures >"$work/before"
began=$SECONDS
wrong=$wrong$(many "$total")
took=$((SECONDS - began))
within 30 settled; sleep 2
figures >"$work/after"
same "docker run: every one of many has its output" "" "$wrong"
while read -r thing before; do
    after=$(sed -n "s/^$thing //p" "$work/after")
    echo "# soak | $thing | $before | $after"
    case $thing in
    # Connections come and go.
    *-descriptors) same "docker run: many leave no $thing" yes "$([ "$after" -le $((before + 5)) ] && echo yes || echo "$before before, $after after")" ;;
    *) same "docker run: many leave no $thing" "$before" "$after" ;;
    esac
done <"$work/before"
echo "# soak | $total runs in $took s, $((took * 1000 / (total ? total : 1))) ms each, two at a time"
closing
