# A busybox bundle with what the runtime's own `spec` prints: the first thing everyone tries.
"$top/hack/need.sh" busybox-static
RUNTIME=$RUNTIME "$top/hack/bundle.sh" "$work/busybox" sh -c 'echo "$$ $(id -u) $(hostname)"; ls -d /proc/1 /sys/kernel /dev/null; exit 7'
run "$work/busybox"
same "busybox: exit status of the program" 7 "$status"
has "busybox: is pid 1, uid 0 and has a host name" '^1 0 [a-z]+$' "$output"
has "busybox: has /proc, /sys and /dev" '^/sys/kernel$' "$output"

bundle life "$work/busybox/rootfs" -- sh -c 'trap "exit 3" TERM; echo up; while :; do sleep 0.1; done'
create "$work/life" --pid-file "$work/pid"
if [ $status = 0 ]; then
    ok "busybox: create"
    has "busybox: state says created" '"status": ?"created"' "$(rt state "$id")"
    same "busybox: nothing runs before start" "" "$(cat "$work/out")"
    rt start "$id" && wait_status "$id" running
    has "busybox: state says running" '"status": ?"running"' "$(rt state "$id")"
    has "busybox: list names it" "^$id +$(cat "$work/pid") +running" "$(rt list)"
    # The signal must not come before the shell has set its trap.
    for _ in $(seq 100); do grep -q up "$work/out" && break; sleep 0.05; done
    output=$(rt delete "$id" 2>&1) && not_ok "busybox: delete of a running container is refused" "$output" ||
        ok "busybox: delete of a running container is refused"
    rt kill "$id" TERM
    if wait_status "$id" stopped; then ok "busybox: TERM ends it"; else not_ok "busybox: TERM ends it" "$(rt state "$id")"; fi
    if output=$(rt delete "$id" 2>&1); then ok "busybox: delete"; else not_ok "busybox: delete" "$output"; fi
    lacks "busybox: state knows it no more" '"id"' "$(rt state "$id" 2>/dev/null)"
else
    not_ok "busybox: create" "$(cat "$work/out")"
fi
