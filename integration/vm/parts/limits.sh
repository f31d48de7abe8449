# Every limit of linux.resources, read back from the kernel and from systemd's properties: by the cgroupfs driver and by
# systemd's, on the machine's layout of cgroups (v1, hybrid, v2); then update, pause, events, out of memory, deletion.
. "$(dirname "$0")/begin.sh"
disk=$(lsblk -dnro MAJ:MIN,TYPE | sed -n 's/ disk$//p' | head -n 1)
device="major: ${disk%:*}, minor: ${disk#*:}"
tear_down() {
    for name in "${names[@]}"; do rt delete --force "$name" >/dev/null 2>&1; done
    find /sys/fs/cgroup -depth -type d -path "*/$tag*" -exec rmdir {} \; 2>/dev/null
    rm -rf --one-file-system "$work"
}
trap tear_down EXIT
names=()

# begin DRIVER NAME RESOURCES [FILTER]: a running container with these resources.
begin() {
    driver=$1 name=$2
    names+=("$name")
    unit=$tag-$name.scope path=$tag.slice:$tag:$name options=(--systemd-cgroup)
    [ "$driver" = systemd ] || path=/$tag/$name options=()
    bundle "$name" ".linux.cgroupsPath = \"$path\" | .linux.resources += $3 | ${4:-.}" && start "${options[@]}" "$name"
}
begun() { if begin "$@"; then ok "$driver, $name: it runs"; else not_ok "$driver, $name: it runs" "$(cat "$work/start.log")"; fi; }

# knob CONTROLLER FILE: without line ends.
knob() { local dir; dir=$(cgroup_dir "$name" "$1") && cat "$dir/$2" 2>&1 | xargs; }
# v1 FIELD CONTROLLER FILE VALUE, v2 FIELD FILE VALUE: only where the host has the controller there.
v1() { [ -z "$(sed -n "/:\([a-z_,]*,\)\?$2[,:]/p" /proc/self/cgroup)" ] || same "$driver, $name: $1: $3" "$4" "$(knob "$2" "$3")"; }
v2() { [ $cgroups != v2 ] || same "$driver, $name: $1: $2" "$3" "$(knob '' "$2")"; }
# shown PROPERTY VALUE [VERSION]: what systemd says of the unit.
shown() { [ "$driver" != systemd ] || same "$driver, $name: property $1" "$2" "$(systemctl show "$unit" -p "$1" --value)"; }
shown2() { [ $cgroups != v2 ] || shown "$@"; }
shown1() { [ $cgroups = v2 ] || shown "$@"; }

all='{memory: {limit: 268435456, reservation: 134217728, swap: 402653184}, pids: {limit: 77},
    cpu: {shares: 512, quota: 50000, period: 200000, cpus: "1", mems: "0"},
    blockIO: {throttleReadBpsDevice: [{'$device', rate: 1048576}], throttleWriteBpsDevice: [{'$device', rate: 2097152}],
        throttleReadIOPSDevice: [{'$device', rate: 100}], throttleWriteIOPSDevice: [{'$device', rate: 200}]},
    hugepageLimits: [{pageSize: "2MB", limit: 4194304}],
    devices: [{allow: false, access: "rwm"}, {allow: true, type: "c", major: 10, minor: 229, access: "rw"}]}'

read_all() {
    v1 memory.limit memory memory.limit_in_bytes 268435456
    v1 memory.reservation memory memory.soft_limit_in_bytes 134217728
    v1 memory.swap memory memory.memsw.limit_in_bytes 402653184
    v1 pids.limit pids pids.max 77
    v1 cpu.shares cpu cpu.shares 512
    v1 cpu.quota cpu cpu.cfs_quota_us 50000
    v1 cpu.period cpu cpu.cfs_period_us 200000
    v1 cpu.cpus cpuset cpuset.cpus 1
    v1 cpu.mems cpuset cpuset.mems 0
    v1 throttleReadBpsDevice blkio blkio.throttle.read_bps_device "$disk 1048576"
    v1 throttleWriteBpsDevice blkio blkio.throttle.write_bps_device "$disk 2097152"
    v1 throttleReadIOPSDevice blkio blkio.throttle.read_iops_device "$disk 100"
    v1 throttleWriteIOPSDevice blkio blkio.throttle.write_iops_device "$disk 200"
    v1 hugepageLimits hugetlb hugetlb.2MB.limit_in_bytes 4194304
    v1 hugepageLimits hugetlb hugetlb.2MB.rsvd.limit_in_bytes 4194304
    v2 memory.limit memory.max 268435456
    v2 memory.reservation memory.low 134217728
    v2 memory.swap memory.swap.max 134217728
    v2 pids.limit pids.max 77
    v2 cpu.shares cpu.weight 59
    v2 cpu.quota,period cpu.max "50000 200000"
    v2 cpu.cpus cpuset.cpus 1
    v2 cpu.mems cpuset.mems 0
    v2 throttle io.max "$disk rbps=1048576 wbps=2097152 riops=100 wiops=200"
    v2 hugepageLimits hugetlb.2MB.max 4194304
    v2 hugepageLimits hugetlb.2MB.rsvd.max 4194304
}

show_all() {
    shown2 MemoryMax 268435456
    shown2 MemoryLow 134217728
    shown2 MemorySwapMax 134217728
    shown2 CPUWeight 59
    shown2 AllowedCPUs 1
    shown2 AllowedMemoryNodes 0
    shown1 MemoryLimit 268435456
    shown1 CPUShares 512
    shown TasksMax 77
    shown CPUQuotaPerSecUSec 250ms
    shown CPUQuotaPeriodUSec 200ms
    shown DevicePolicy strict
    shown Delegate yes
    shown Slice "$tag.slice"
    ! ours || shown NeedDaemonReload no
}

updates() {
    succeeds "$driver, $name: update by options" rt update --memory 209715200 --memory-swap 314572800 --pids-limit 55 \
        --cpu-share 1024 --cpuset-cpus 0-1 "$name"
    v1 "update" memory memory.limit_in_bytes 209715200
    v1 "update" memory memory.memsw.limit_in_bytes 314572800
    v1 "update" pids pids.max 55
    v1 "update" cpu cpu.shares 1024
    v1 "update" cpuset cpuset.cpus 0-1
    v1 "update leaves" cpu cpu.cfs_quota_us 50000
    v2 "update" memory.max 209715200
    v2 "update" memory.swap.max 104857600
    v2 "update" pids.max 55
    v2 "update" cpu.weight 100
    v2 "update" cpuset.cpus 0-1
    v2 "update leaves" cpu.max "50000 200000"
    shown2 MemoryMax 209715200
    shown1 MemoryLimit 209715200
    shown TasksMax 55
    ! ours || one_of_two
    # The quota alone: the period is the one it has.
    succeeds "$driver, $name: update of the quota alone" rt update --cpu-quota 100000 "$name"
    v1 "update of the quota alone" cpu cpu.cfs_quota_us 100000
    v2 "update of the quota alone" cpu.max "100000 200000"
    shown CPUQuotaPerSecUSec 500ms
    echo '{"memory": {"limit": 104857600, "swap": 209715200}, "pids": {"limit": -1}, "cpu": {"quota": -1}}' >"$work/resources"
    succeeds "$driver, $name: update by a file" rt update --resources "$work/resources" "$name"
    v1 "update by a file" memory memory.limit_in_bytes 104857600
    v1 "update by a file" pids pids.max max
    v1 "update by a file" cpu cpu.cfs_quota_us -1
    v2 "update by a file" memory.max 104857600
    v2 "update by a file" pids.max max
    [ "$driver" = systemd ] || v2 "update by a file" cpu.max "max 200000"
    shown TasksMax infinity
    shown CPUQuotaPerSecUSec infinity
    [ "$driver" != systemd ] || systemctl daemon-reload
    v1 "after daemon-reload" memory memory.limit_in_bytes 104857600
    v1 "after daemon-reload" cpuset cpuset.cpus 0-1
    v2 "after daemon-reload" memory.max 104857600
    # Without a quota, systemd 252 writes a period of its own.
    [ $cgroups != v2 ] || has "$driver, $name: after daemon-reload: cpu.max" '^max [12]00000$' "$(knob '' cpu.max)"
    v2 "after daemon-reload" cpuset.cpus 0-1
    ends "$driver, $name: update to less than nothing is refused" 1 rt update --cpuset-cpus 77 "$name"
    v1 "a refused update leaves" cpuset cpuset.cpus 0-1
    v2 "a refused update leaves" cpuset.cpus 0-1
    ends "$driver, $name: a device that has no rule" 1 rt exec "$name" sh -c 'mknod /dev/kmsg2 c 1 11 && echo x >/dev/kmsg2'
    succeeds "$driver, $name: a device that is always there" rt exec "$name" sh -c 'echo x >/dev/null'
}

# one_of_two: what is not asked for stays: memory, or memory and swap together.
one_of_two() {
    succeeds "$driver, $name: update of the swap alone" rt update --memory-swap 419430400 "$name"
    v1 "update of the swap alone" memory memory.memsw.limit_in_bytes 419430400
    v2 "update of the swap alone" memory.max 209715200
    v2 "update of the swap alone" memory.swap.max 209715200
    succeeds "$driver, $name: update of the memory alone" rt update --memory 314572800 "$name"
    v1 "update of the memory alone" memory memory.memsw.limit_in_bytes 419430400
    v2 "update of the memory alone" memory.max 314572800
    v2 "update of the memory alone" memory.swap.max 104857600
    shown2 MemorySwapMax 104857600
    ends "$driver, $name: memory above memory and swap" 1 rt update --memory 524288000 "$name"
}

freezes() {
    succeeds "$driver, $name: pause" rt pause "$name"
    v1 pause freezer freezer.state FROZEN
    [ $cgroups != v2 ] || has "$driver, $name: pause: cgroup.events" 'frozen 1' "$(knob '' cgroup.events)"
    same "$driver, $name: state" paused "$(rt state "$name" | jq -r .status)"
    succeeds "$driver, $name: resume" rt resume "$name"
    v1 resume freezer freezer.state THAWED
    [ $cgroups != v2 ] || has "$driver, $name: resume: cgroup.events" 'frozen 0' "$(knob '' cgroup.events)"
}

# deleted: by --force and without the driver's option, as containerd's shim does.
deleted() {
    local dirs left=''
    dirs=$(find /sys/fs/cgroup -type d \( -name "$name" -o -name "$unit" \))
    succeeds "$driver, $name: delete --force" rt delete --force "$name"
    # systemd lets go of a unit in its own time.
    within 10 sh -c "! systemctl is-active -q $unit"
    for dir in $dirs; do [ ! -d "$dir" ] || left+="$dir "; done
    same "$driver, $name: no cgroup is left" "" "$left"
    [ "$driver" != systemd ] || same "$driver, $name: no unit is left" not-found "$(systemctl show "$unit" -p LoadState --value)"
}

# Too little for the runtime's own part of init. The scope goes with init, at any step of ours.
starved() {
    local said
    if begin $driver starved '{memory: {limit: 4096}}'; then not_ok "$driver, starved: it does not run"; fi
    said=$(<"$work/start.log")
    same "$driver, starved: one line" 1 "$(wc -l <<<"$said")"
    has "$driver, starved: the field" 'linux\.resources\.memory\.limit' "$said"
    deleted
}

events() {
    local stats
    stats=$(rt events --stats "$name" 2>&1)
    for key in '.cpu.usage.total > 0' '.memory.usage.usage > 0' '.memory.usage.limit == 104857600' '.pids.current == 1' '.memory.raw | length > 10'; do
        same "$driver, $name: events --stats: $key" true "$(jq -r ".data | $key" <<<"$stats" 2>&1)"
    done
    if [ $cgroups = v2 ] && ours; then
        # The most that was used, which is not the limit.
        for key in '.memory.swap.max == 0' '.hugetlb."2MB".max == 0'; do
            same "$driver, $name: events --stats: $key" true "$(jq -r ".data | $key" <<<"$stats" 2>&1)"
        done
        for key in cpu memory blkio; do
            same "$driver, $name: events --stats: pressure of $key" number "$(jq -r ".data.$key.psi.some.avg10 | type" <<<"$stats" 2>&1)"
        done
    fi
}

# memory_runs_out: the program is killed, and events tells.
memory_runs_out() {
    local status=0
    begun "$1" oom '{memory: {limit: 33554432, swap: 33554432}}' \
        '.process.args = ["sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.1; done; dd if=/dev/zero of=/dev/null bs=100M count=1; sleep 600"]'
    rt events --interval 1h "$name" >"$work/events" 2>&1 &
    local watcher=$!
    sleep 2
    touch "$work/rootfs/tmp/go"
    within 20 grep -q '"oom"' "$work/events"
    has "$1, oom: events tells it" '"type":"oom"' "$(cat "$work/events")"
    rm "$work/rootfs/tmp/go"
    deleted
    within 20 sh -c "! kill -0 $watcher"
    same "$1, oom: events ends with the cgroup" 1 "$(! kill -0 $watcher 2>/dev/null && echo 1)"
    kill $watcher 2>/dev/null
    wait $watcher 2>/dev/null
}

# taken_back: an update that fails at its last file leaves nothing of itself, neither in the files nor with systemd.
taken_back() {
    begun $driver taken-back '{memory: {limit: 268435456}, cpu: {quota: 50000, period: 200000}}'
    ends "$driver, taken-back: an update of which one part is refused" 1 rt update --memory 209715200 --cpu-quota 70000 --cpuset-cpus 0-999 "$name"
    for _ in once again; do
        v1 "a failed update" memory memory.limit_in_bytes 268435456
        v1 "a failed update" cpu cpu.cfs_quota_us 50000
        v2 "a failed update" memory.max 268435456
        v2 "a failed update" cpu.max "50000 200000"
        v2 "a failed update" cpuset.cpus ""
        shown2 MemoryMax 268435456
        shown1 MemoryLimit 268435456
        shown CPUQuotaPerSecUSec 250ms
        # Systemd writes all that it knows of a controller when it is told one thing.
        succeeds "$driver, taken-back: the next update" rt update --memory-reservation 104857600 --cpu-share 512 "$name"
    done
    deleted
}

# remembered: what systemd writes by itself later is what was asked for.
remembered() {
    begun $driver remembered '{unified: {"memory.max": "1G ", "memory.oom.group": "1", "cpu.idle": "1"}, cpu: {quota: 15500, period: 100000}}'
    succeeds "$driver, remembered: update of something else" rt update --memory-reservation 104857600 "$name"
    v2 "after another update" memory.max 1073741824
    v2 "after another update" memory.oom.group 1
    shown MemoryMax 1073741824
    # Systemd has steps of one percent.
    v2 "an odd quota" cpu.max "$([ $driver = systemd ] && echo 16000 || echo 15500) 100000"
    echo '{"cpu": {"idle": 0}}' >"$work/resources"
    succeeds "$driver, remembered: no longer idle" rt update --resources "$work/resources" "$name"
    succeeds "$driver, remembered: update of the quota" rt update --cpu-period 100000 --cpu-quota 20000 "$name"
    [ $driver != systemd ] || systemctl daemon-reload
    v2 "after daemon-reload" cpu.idle 0
    v2 "after daemon-reload" cpu.max "20000 100000"
    # Before 253 systemd cannot be told, and writes a 0.
    [ $driver != systemd ] || [ "$(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p')" -lt 253 ] ||
        v2 "after daemon-reload" memory.oom.group 1
    v2 "after daemon-reload" memory.max 1073741824
    deleted
}

# weighed: a device's own weight, which asks for a disk that has such.
weighed() {
    if ! echo "$disk enable=1" 2>/dev/null >/sys/fs/cgroup/io.cost.qos; then
        skip "$driver, weighed" "the kernel has no io.cost"
        return
    fi
    begun $driver weighed "{blockIO: {weight: 200, weightDevice: [{$device, weight: 300}]}}"
    v2 blockIO.weightDevice io.weight "default 1920 $disk 2930"
    shown IODeviceWeight "/dev/block/$disk 2930"
    [ $driver != systemd ] || systemctl daemon-reload
    v2 "after daemon-reload" io.weight "default 1920 $disk 2930"
    deleted
    echo "$disk enable=0" >/sys/fs/cgroup/io.cost.qos
}

# weighed_v1: likewise of v1, where only the bfq scheduler has weights, in files of its own name.
weighed_v1() {
    local queue=/sys/dev/block/$disk/queue/scheduler blkio=/sys/fs/cgroup/blkio/$tag file scheduler
    modprobe -q bfq
    mkdir -p "$blkio"
    file=$(cd "$blkio" 2>/dev/null && ls | grep -m 1 -xE 'blkio(\.bfq)?\.weight')
    scheduler=$(sed 's/.*\[\(.*\)\].*/\1/' "$queue")
    if [ -z "$file" ] || ! echo bfq 2>/dev/null >"$queue"; then
        skip "$driver, weighed" "the kernel has no weights of disks"
        return
    fi
    begun $driver weighed "{blockIO: {weight: 200, weightDevice: [{$device, weight: 300}]}}"
    v1 blockIO.weight blkio "$file" 200
    has "$driver, weighed: blockIO.weightDevice" "(^| )$disk 300( |\$)" "$(knob blkio "${file}_device")"
    shown BlockIOWeight 200
    shown BlockIODeviceWeight "/dev/block/$disk 300"
    deleted
    echo "$scheduler" >"$queue"
}

# realtime: whoever lies above must have a budget first.
realtime() {
    local dir=/sys/fs/cgroup/cpu above=$tag step
    if [ ! -e $dir/cpu.rt_runtime_us ]; then
        skip "$driver, realtime" "the kernel has no cpu.rt_runtime_us (CONFIG_RT_GROUP_SCHED)"
        return
    fi
    [ $driver != systemd ] || above="${tag%-*}.slice $tag.slice"
    for step in $above; do
        dir+=/$step
        mkdir -p "$dir" && echo 100000 >"$dir/cpu.rt_runtime_us"
    done
    begun $driver realtime '{cpu: {realtimePeriod: 500000, realtimeRuntime: 20000}}'
    v1 cpu.realtimePeriod cpu cpu.rt_period_us 500000
    v1 cpu.realtimeRuntime cpu cpu.rt_runtime_us 20000
    deleted
}

# scarce: misc and rdma, for the first resource that the kernel has of each.
scarce() {
    local resource adapter
    resource=$(sed -n '1s/ .*//p' /sys/fs/cgroup/misc.capacity 2>/dev/null)
    if [ -n "$resource" ]; then
        begun $driver misc "{unified: {\"misc.max\": \"$resource 5\"}}"
        has "$driver, misc: unified: misc.max" "(^| )$resource 5( |\$)" "$(knob '' misc.max)"
        deleted
    else
        skip "$driver, misc" "the kernel has no resource of misc"
    fi
    adapter=$(ls /sys/class/infiniband 2>/dev/null | head -n 1)
    if [ -n "$adapter" ]; then
        begun $driver rdma "{rdma: {\"$adapter\": {hcaHandles: 3, hcaObjects: 10000}}}"
        has "$driver, rdma: rdma.max" "(^| )$adapter hca_handle=3 hca_object=10000( |\$)" "$(knob rdma rdma.max)"
        deleted
    else
        skip "$driver, rdma" "the kernel has no RDMA device"
    fi
}

# strangers: a create that fails stops no unit of somebody else's.
strangers() {
    local other=$work/other slice=$tag-busy.slice
    driver=systemd
    begun systemd theirs '{}'
    bundle second ".linux.cgroupsPath = \"$tag-b.slice:$tag:theirs\""
    ends "systemd, strangers: a unit of that name in another slice" 1 \
        "$RUNTIME" --root "$other" --systemd-cgroup create --bundle "$work/second" theirs
    same "systemd, strangers: the other's container runs on" running "$(rt state theirs | jq -r .status)"
    same "systemd, strangers: its unit too" active "$(systemctl is-active "$unit")"
    systemd-run --quiet --unit "$tag-work" --slice "$slice" sleep 600
    bundle third ".linux.cgroupsPath = \"$tag.slice::$slice\""
    ends "systemd, strangers: a slice with others in it" 1 \
        "$RUNTIME" --root "$other" --systemd-cgroup create --bundle "$work/third" third
    same "systemd, strangers: they work on" active "$(systemctl is-active "$tag-work")"
    bundle fourth ".linux.cgroupsPath = \"::$slice\""
    ends "systemd, strangers: a slice that lies elsewhere" 1 \
        "$RUNTIME" --root "$other" --systemd-cgroup create --bundle "$work/fourth" fourth
    same "systemd, strangers: they still work" active "$(systemctl is-active "$tag-work")"
    systemctl stop "$tag-work"
    name=theirs
    deleted
}

for driver in cgroupfs systemd; do
    begun $driver all "$all"
    read_all
    show_all
    updates
    freezes
    events
    deleted
    begun $driver edges '{memory: {limit: -1, swap: -1}, pids: {limit: -1}, cpu: {shares: 2, quota: -1, period: 50000}}'
    v1 "memory.limit -1" memory memory.limit_in_bytes 9223372036854771712
    v1 "pids.limit -1" pids pids.max max
    v1 "cpu.quota -1" cpu cpu.cfs_quota_us -1
    v2 "memory.limit -1" memory.max max
    v2 "memory.swap -1" memory.swap.max max
    v2 "pids.limit -1" pids.max max
    v2 "cpu.shares 2" cpu.weight 1
    v2 "cpu.quota -1 with a period" cpu.max "max 50000"
    deleted
    ! ours || for _ in 1 2 3 4; do starved; done
    if ours && [ -z "$(find /sys/fs/cgroup -maxdepth 3 -name cpu.idle -print -quit)" ]; then
        skip "$driver, idle" "the kernel has no cpu.idle (5.15)"
    elif ours; then
        begun $driver idle '{pids: {limit: 0}, cpu: {idle: 1, burst: 10000, quota: 20000, period: 100000}}'
        v1 "pids.limit 0" pids pids.max 1
        v1 cpu.idle cpu cpu.idle 1
        v1 cpu.burst cpu cpu.cfs_burst_us 10000
        v2 "pids.limit 0" pids.max 1
        v2 cpu.idle cpu.idle 1
        v2 cpu.burst cpu.max.burst 10000
        shown2 CPUWeight idle
        shown TasksMax 1
        deleted
    fi
    if [ $cgroups = v2 ]; then
        begun $driver unified '{unified: {"memory.high": "204800000", "memory.min": "4096", "memory.oom.group": "1", "pids.max": "12", "cpu.weight": "77"}, blockIO: {weight: 200}}'
        v2 unified memory.high 204800000
        v2 unified memory.min 4096
        v2 unified memory.oom.group 1
        v2 unified pids.max 12
        v2 unified cpu.weight 77
        v2 blockIO.weight io.weight "default 1920"
        shown MemoryHigh 204800000
        shown MemoryMin 4096
        shown CPUWeight 77
        if ours && [ "$driver" = systemd ]; then
            shown IOWeight 1920
            systemctl daemon-reload
            v2 "after daemon-reload" io.weight "default 1920"
        fi
        deleted
        ! ours || weighed
    else
        begun $driver v1only '{memory: {swappiness: 60, disableOOMKiller: true}, network: {classID: 1048577, priorities: [{name: "lo", priority: 7}]}}'
        v1 memory.swappiness memory memory.swappiness 60
        v1 memory.disableOOMKiller memory memory.oom_control "oom_kill_disable 1 under_oom 0 oom_kill 0"
        v1 network.classID net_cls net_cls.classid 1048577
        has "$driver, v1only: network.priorities" 'lo 7' "$(knob net_prio net_prio.ifpriomap)"
        deleted
        ! ours || weighed_v1
        ! ours || realtime
    fi
    if ours; then
        scarce
        taken_back
        [ $cgroups != v2 ] || remembered
    fi
    memory_runs_out $driver
done
! ours || strangers
same "limits: no container is left" "" "$(rt list -q 2>/dev/null)"
closing
