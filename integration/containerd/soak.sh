#!/bin/bash
# soak.sh [N=500]: N times `ctr run --rm`, one after the other, then everything is counted: nothing may grow.
set -uo pipefail
. "$(dirname "$0")/../lib/begin.sh"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/daemon.sh"
times=${1:-500}
begin soak containerd

stop_client() { stop_containerd; }
start_containerd || { not_ok "soak: containerd starts" "$(tail "$work/containerd.log")"; closing; exit; }
make_images

# count: name and number of everything that a container takes on the host.
count() {
    echo "mounts $(wc -l </proc/self/mountinfo)"
    echo "cgroups $(left_cgroups | wc -l)"
    echo "cgroups of the host $(find /sys/fs/cgroup -type d | wc -l)"
    echo "network namespaces $(ls /run/netns 2>/dev/null | wc -l)"
    echo "shims $(left_processes containerd-shim | wc -l)"
    echo "processes $(ls -d /proc/[0-9]* | wc -l)"
    echo "state $(left_state | wc -l)"
    echo "bundles $(ls "$work/state/io.containerd.runtime.v2.task/default" 2>/dev/null | wc -l)"
    echo "snapshots $(ctr snapshots ls | wc -l)"
    echo "containers $(ctr c ls -q | wc -l)"
    echo "descriptors of containerd $(ls "/proc/$containerd/fd" | wc -l)"
    echo "files in /run $(find /run | wc -l)"
    echo "files in /dev/shm $(find /dev/shm | wc -l)"
}
field() { sed -n "s|^$1 \([0-9]*\)$|\1|p"; }

# The first runs fill containerd's caches.
for k in 1 2 3 4 5; do run --rm "warm$k" true; done
within 10 clean
before=$(count)
memory=$(awk '/^VmRSS/ { print $2 }' "/proc/$containerd/status")
begun=$EPOCHREALTIME bad=0
for k in $(seq "$times"); do
    status=0
    text=$(run --rm "soak$k" echo "run $k" 2>&1) || status=$?
    [ "$status $text" = "0 run $k" ] || { bad=$((bad + 1)); last="run $k: exit status $status, $text"; }
done
spent=$(bc <<<"scale=1; ($EPOCHREALTIME - $begun) / 1" 2>/dev/null || echo $((${EPOCHREALTIME%.*} - ${begun%.*})))
within 20 clean
sleep 1
after=$(count)
same "soak: every run ends well" 0 "$bad${last+, the last: $last}"
while read -r line; do
    name=${line% *} more=0
    case $name in
    # The host's other users come and go.
    "cgroups of the host") continue ;;
    # containerd's pool of connections breathes.
    "descriptors of containerd") more=5 ;;
    esac
    if [ "$(field "$name" <<<"$after")" -le $((${line##* } + more)) ]; then ok "soak: $name: no more than before"; else
        not_ok "soak: $name: no more than before" "$line, then $(field "$name" <<<"$after")"; fi
done <<<"$before"
echo "# $times runs in $spent s; containerd's resident memory $memory kB, then $(awk '/^VmRSS/ { print $2 }' "/proc/$containerd/status") kB"
paste -d'|' <(echo "$before") <(echo "$after" | sed 's/.* //') | sed 's/^/# /; s/|/ then /'
closing
