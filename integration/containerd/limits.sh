# limits.sh, sourced: cgroup limits given to `ctr run`, read back from the kernel; out of memory; metrics.

part_limits() {
    run -d --memory-limit=33554432 --cpus=0.5 limited sleep 1000
    same "ctr run --memory-limit: the kernel's value" 33554432 \
        "$(limit limited memory memory.limit_in_bytes memory.max)"
    case $(limit limited cpu cpu.cfs_quota_us cpu.max) in
    50000 | "50000 100000") ok "ctr run --cpus: half a processor is half a period" ;;
    *) not_ok "ctr run --cpus: half a processor is half a period" "$(limit limited cpu cpu.cfs_quota_us cpu.max)" ;;
    esac
    same "ctr run: all the container's processes are in its memory cgroup" "$(pid_of limited)" \
        "$(cat "$(cgroup_of limited memory)/cgroup.procs")"
    metrics
    remove limited
    run -d --cpu-shares=512 --cpu-period=50000 --cpu-quota=20000 shares sleep 1000
    has "ctr run --cpu-shares: the kernel's value" '^(512|20)$' "$(limit shares cpu cpu.shares cpu.weight)"
    has "ctr run --cpu-quota --cpu-period: the quota" '^20000' "$(limit shares cpu cpu.cfs_quota_us cpu.max)"
    has "ctr run --cpu-quota --cpu-period: the period" '(^| )50000$' "$(limit shares cpu cpu.cfs_period_us cpu.max)"
    remove shares
    spec_file many sleep 1000
    ctr run -d --runc-binary "$RUNTIME" --runc-root "$work/runtime" --config "$work/many.json" many
    same "ctr run --config: the limit of processes" 55 "$(limit many pids pids.max pids.max)"
    remove many
    out_of_memory
    events
    nothing_left "containerd after the limits"
}

metrics() {
    local json
    json=$(ctr task metrics --format json limited)
    same "ctr task metrics: memory, processor time, limit and processes" "yes yes 33554432 1" "$(python3 -c '
import json, sys
data = json.load(sys.stdin)
memory, cpu, pids = data["memory"], data["cpu"], data["pids"]
used = memory["usage"]["usage"] if isinstance(memory["usage"], dict) else memory["usage"]
limit = memory["usage"]["limit"] if isinstance(memory["usage"], dict) else memory["usage_limit"]
time = cpu["usage"]["total"] if "usage" in cpu else cpu["usage_usec"]
print("yes" if used > 0 else used, "yes" if time > 0 else time, limit, pids["current"])' <<<"$json" 2>&1)"
    has "ctr task metrics: the table has the container's name" '^limited ' "$(ctr task metrics limited)"
}

# What takes 100 MB within 32 MB is killed; its parent is left and says so.
hungry='dd if=/dev/zero of=/dev/null bs=100M count=1 2>/dev/null; echo ended $?'

# heard: whether the listener is told of what happens.
heard() { run --rm early true; grep -q early "$work/events"; }

out_of_memory() {
    ctr events >"$work/events" 2>/dev/null &
    local listener=$!
    within 20 heard
    same "ctr run --memory-limit: what takes more is killed" "ended 137" \
        "$(run --rm --memory-limit=33554432 hungry sh -c "$hungry; sleep 1")"
    ends "ctr run --memory-limit: a killed pid 1 is exit status 137" 137 \
        run --rm --memory-limit=33554432 hungry2 dd if=/dev/zero of=/dev/null bs=100M count=1
    # The shim watches only when the program runs already: who is hungry again and again will be noticed.
    run -d --memory-limit=33554432 hungry3 sh -c "while :; do $hungry; sleep 1; done"
    within 30 grep -q '/tasks/oom .*hungry3' "$work/events"
    remove hungry3
    run -d nap sleep 1000
    ctr task exec --exec-id nod nap true
    ctr task pause nap
    ctr task resume nap
    remove nap
    run --rm brief sh -c 'exit 3'
    within 15 grep -q '/tasks/delete.*brief' "$work/events"
    kill $listener
    wait $listener 2>/dev/null
}

events() {
    local topic
    for topic in containers/create tasks/create tasks/start tasks/exit tasks/delete; do
        has "ctr events: /$topic" "/$topic .*brief" "$(cat "$work/events")"
    done
    for topic in exec-added exec-started paused resumed; do
        has "ctr events: /tasks/$topic" "/tasks/$topic .*nap" "$(cat "$work/events")"
    done
    has "ctr events: the exit has the exit status" '/tasks/exit .*brief.*"exit_status":3' "$(cat "$work/events")"
    has "ctr events: /tasks/oom" '/tasks/oom .*hungry' "$(cat "$work/events")"
    lacks "ctr events: no /tasks/oom for who keeps its limit" '/tasks/oom .*brief' "$(cat "$work/events")"
}
