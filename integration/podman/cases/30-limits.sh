# Limits: read back from the cgroup of the container (cgroup v1, as on the host of these tests) and from inside.
if [ ! -d /sys/fs/cgroup/memory ]; then
    skip "podman limits: all" "the memory hierarchy of cgroup v1 is missing"
    return
fi
hold --memory 64m --memory-swap 96m --memory-reservation 32m --memory-swappiness 10 --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 \
    --cpuset-mems 0 --pids-limit 40 --oom-score-adj 500 --ulimit nofile=256:512 --ulimit nproc=500:600 --ulimit core=0 limits
same "podman run --memory: the limit" 67108864 "$(cgroup_file limits memory memory.limit_in_bytes)"
if [ -e /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes ]; then
    same "podman run --memory-swap: the limit" 100663296 "$(cgroup_file limits memory memory.memsw.limit_in_bytes)"
else
    skip "podman run --memory-swap: the limit" "no swap accounting"
fi
same "podman run --memory-reservation: the soft limit" 33554432 "$(cgroup_file limits memory memory.soft_limit_in_bytes)"
same "podman run --memory-swappiness: the value" 10 "$(cgroup_file limits memory memory.swappiness)"
same "podman run --cpus: the quota" 50000 "$(cgroup_file limits cpu cpu.cfs_quota_us)"
same "podman run --cpus: the period" 100000 "$(cgroup_file limits cpu cpu.cfs_period_us)"
same "podman run --cpu-shares: the shares" 512 "$(cgroup_file limits cpu cpu.shares)"
same "podman run --cpuset-cpus: the CPUs" 0 "$(cgroup_file limits cpuset cpuset.cpus)"
same "podman run --cpuset-cpus: what the program may use" 0 "$(podman exec limits sed -n 's/^Cpus_allowed_list:.//p' /proc/1/status)"
same "podman run --cpuset-mems: the nodes" 0 "$(cgroup_file limits cpuset cpuset.mems)"
same "podman run --pids-limit: the limit" 40 "$(cgroup_file limits pids pids.max)"
same "podman run --oom-score-adj: the value" 500 "$(podman exec limits cat /proc/1/oom_score_adj)"
has "podman run --ulimit: open files" '^Max open files +256 +512' "$(podman exec limits cat /proc/1/limits)"
has "podman run --ulimit: core" '^Max core file size +0 +0' "$(podman exec limits cat /proc/1/limits)"
same "podman exec: the limit on open files too" 256 "$(podman exec limits sh -c 'ulimit -n')"
has "podman stats: the limit on memory" '/ 67.11MB' "$(podman stats --no-stream --format '{{.MemUsage}}' limits)"
succeeds "podman update: it changes limits" podman update --memory 80m --memory-swap 120m --cpu-shares 700 --cpus 0.25 limits
same "podman update: memory" 83886080 "$(cgroup_file limits memory memory.limit_in_bytes)"
same "podman update: CPU shares" 700 "$(cgroup_file limits cpu cpu.shares)"
same "podman update: CPU quota" 25000 "$(cgroup_file limits cpu cpu.cfs_quota_us)"
same "podman update: what was not named stays" 40 "$(cgroup_file limits pids pids.max)"
podman rm -f -t 1 limits >"$work/log" 2>&1

ends "podman run --memory: too much is killed" 137 run --name oom --memory 24m --memory-swap 24m $image \
    sh -c 'head -c 200000000 /dev/zero | tail -c 190000000 >/dev/null & wait; x=$(yes | head -c 100000000); echo survived'
# conmon writes the file `oom` into the directory in which podman was called; Podman 4.3 looks for it beside config.json.
if [ "$(inspect '{{.State.OOMKilled}}' oom)" = true ]; then
    ok "podman run --memory: conmon hears of the kill"
else
    same "podman run --memory: conmon hears of the kill" oom "$(ls oom 2>&1)"
fi
same "podman inspect: OOMKilled is false after another end" false "$(run --name fine $image true; inspect '{{.State.OOMKilled}}' fine)"
ends "podman run --pids-limit: a fork too many" 2 run --rm --pids-limit 5 $image \
    sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 2 & done ' ; has "podman run --pids-limit: the sentence" fork "$output" 
ends "podman run --memory: a tiny limit is enough for true" 0 run --rm --memory 6m $image true
device=$(findmnt -no SOURCE -T "$here" | sed 's/\[.*//')
if [ -b "$device" ]; then
    hold --device-read-bps "$device:1mb" --memory 60m --oom-kill-disable --cpu-period 20000 --cpu-quota 15000 slow
    same "podman run --device-read-bps: the limit" "$(printf '%d:%d 1048576' "0x$(stat -c %t "$device")" "0x$(stat -c %T "$device")")" \
        "$(cgroup_file slow blkio blkio.throttle.read_bps_device)"
else
    hold --memory 60m --oom-kill-disable --cpu-period 20000 --cpu-quota 15000 slow
    skip "podman run --device-read-bps: the limit" "no block device here"
fi
has "podman run --oom-kill-disable: it is" '^oom_kill_disable 1$' "$(cgroup_file slow memory memory.oom_control)"
same "podman run --cpu-period, --cpu-quota: the period and the quota" "20000 15000" \
    "$(cgroup_file slow cpu cpu.cfs_period_us) $(cgroup_file slow cpu cpu.cfs_quota_us)"

ends "podman run --cgroups=disabled: it runs" 0 podman run --rm --cgroups=disabled $image true
podman run -d --name without --cgroups=disabled $image sh -c 'trap "exit 0" TERM; while :; do sleep 0.1; done' >"$work/log" 2>&1
same "podman run --cgroups=disabled: the caller's cgroup" "$(cat /proc/self/cgroup)" "$(cat "/proc/$(inspect '{{.State.Pid}}' without)/cgroup")"
same "podman exec: without cgroups" 0 "$(podman exec without id -u 2>&1)"
succeeds "podman stop: without cgroups" podman stop -t 5 without
hold --cgroups=no-conmon lonely
has "podman run --cgroups=no-conmon: the container's own cgroup" "/$tag/" "$(cat "/proc/$(inspect '{{.State.Pid}}' lonely)/cgroup")"
same "podman run --cgroupns=private: the root of its cgroups" / "$(run --rm --cgroupns private $image sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)"
has "podman run --cgroupns=host: the host's path" "^/$tag/" "$(run --rm --cgroupns host $image sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)"
