# Pure cgroup v2 with all its controllers, by the cgroupfs driver: every limit, device rules, delegation, namespaces, refusals,
# where relative paths lead. Controllers are handed down from the root cgroup and stay so. orlop's own words are asked for.
. "$(dirname "$0")/begin.sh"
[ $cgroups = v2 ] && ours || { skip "v2" "not pure cgroup v2, or another runtime"; closing; exit; }
cg=/sys/fs/cgroup base=/$tag-$$ ids=()
finish() {
    for id in "${ids[@]}"; do o delete --force "$id" >/dev/null 2>&1; done
    rmdir "$cg$base" 2>/dev/null
    rm -rf --one-file-system "$work"
}
trap finish EXIT

o() { rt "$@"; }
knob() { cat "$dir/$1" 2>&1; }

busybox_root "$work/root"
mkdir "$work/spec"
o spec --bundle "$work/spec" || exit 1

# bundle ID FILTER: the bundle of `orlop spec` without a terminal, changed by a jq filter.
bundle() {
    id=$1 dir=$cg$base/$1 bundle=$work/$1
    ids+=("$id")
    mkdir -p "$bundle"
    jq ".process.terminal=false | .process.args=[\"sleep\",\"300\"] | .root.path=\"$work/root\" | .hostname=\"smoke\"
        | .linux.cgroupsPath=\"$base/$id\" | $2" "$work/spec/config.json" >"$bundle/config.json"
}
# The container keeps its output: a pipe would not end.
create() { bundle "$@"; o create --bundle "$bundle" "$id" >"$work/out" 2>&1 </dev/null; status=$?; output=$(<"$work/out"); }
start() { create "$@"; [ $status = 0 ] && { o start "$id" >"$work/out" 2>&1; status=$?; output=$(<"$work/out"); }; }
run() { bundle "$@"; output=$(o run --bundle "$bundle" "$id" 2>&1 </dev/null); status=$?; }
says() { jq -nc --arg script "$1" '["sh","-c",$script]'; }
status_of() { o state "$1" 2>/dev/null | jq -r .status; }
gone() { [ -e "$cg$base/$1" ] && echo there || echo gone; }

echo "# kernel $(uname -r), controllers: $(<$cg/cgroup.controllers), own cgroup: $(</proc/self/cgroup)"

echo "# life"
create life .
same "create" 0 "$status"
same "state: created" created "$(status_of life)"
o start life
same "state: running" running "$(status_of life)"
same "cgroup.procs: init" "$(o state life | jq -r .pid)" "$(knob cgroup.procs)"
o kill life KILL
for _ in {1..50}; do [ "$(status_of life)" = stopped ] && break; sleep 0.1; done
same "state: stopped" stopped "$(status_of life)"
o delete life
same "delete: status" 0 $?
same "delete: cgroup" gone "$(gone life)"
run exit '.process.args=["sh","-c","exit 7"]'
same "run: exit status" 7 "$status"
same "run: cgroup" gone "$(gone exit)"
start force .
o delete --force force
same "delete --force of a running container: status" 0 $?
same "delete --force of a running container: cgroup" gone "$(gone force)"

echo "# limits"
disk=$(lsblk -dnro MAJ:MIN,TYPE | sed -n 's/ disk$//p' | head -n 1)
weight="{major: ${disk%:*}, minor: ${disk#*:}, weight: 300}"
create unweighed ".linux.resources += {blockIO: {weightDevice: [$weight]}}"
has "a disk without weights" 'weightDevice.*io.cost.qos' "$status $output"
echo "$disk enable=1" >$cg/io.cost.qos
start limits ".linux.resources += {
    memory: {limit: 268435456, reservation: 134217728, swap: 402653184},
    pids: {limit: 77},
    cpu: {shares: 512, quota: 50000, period: 200000, burst: 10000, cpus: \"1\", mems: \"0\"},
    blockIO: {weight: 200,
        weightDevice: [$weight],
        throttleReadBpsDevice: [{major: ${disk%:*}, minor: ${disk#*:}, rate: 1048576}],
        throttleWriteBpsDevice: [{major: ${disk%:*}, minor: ${disk#*:}, rate: 2097152}],
        throttleReadIOPSDevice: [{major: ${disk%:*}, minor: ${disk#*:}, rate: 100}],
        throttleWriteIOPSDevice: [{major: ${disk%:*}, minor: ${disk#*:}, rate: 200}]},
    hugepageLimits: [{pageSize: \"2MB\", limit: 4194304}],
    unified: {\"memory.high\": \"204800000\", \"memory.oom.group\": \"1\", \"cgroup.max.depth\": \"5\", \"memory.min\": \"4096\"}}"
same "create and start with all limits" "0 " "$status $output"
same "memory.limit: memory.max" 268435456 "$(knob memory.max)"
same "memory.reservation: memory.low" 134217728 "$(knob memory.low)"
same "memory.swap: memory.swap.max" 134217728 "$(knob memory.swap.max)"
same "pids.limit: pids.max" 77 "$(knob pids.max)"
same "cpu.shares: cpu.weight" 59 "$(knob cpu.weight)"
same "cpu.quota, cpu.period: cpu.max" "50000 200000" "$(knob cpu.max)"
same "cpu.burst: cpu.max.burst" 10000 "$(knob cpu.max.burst)"
same "cpu.cpus: cpuset.cpus" 1 "$(knob cpuset.cpus)"
same "cpu.cpus: cpuset.cpus.effective" 1 "$(knob cpuset.cpus.effective)"
same "cpu.mems: cpuset.mems" 0 "$(knob cpuset.mems)"
same "blockIO.weight, weightDevice: io.weight" $'default 1920\n'"$disk 2930" "$(knob io.weight)"
same "blockIO.throttle*: io.max" "$disk rbps=1048576 wbps=2097152 riops=100 wiops=200" "$(knob io.max)"
same "hugepageLimits: hugetlb.2MB.max" 4194304 "$(knob hugetlb.2MB.max)"
same "hugepageLimits: hugetlb.2MB.rsvd.max" 4194304 "$(knob hugetlb.2MB.rsvd.max)"
same "unified: memory.high" 204800000 "$(knob memory.high)"
same "unified: memory.oom.group" 1 "$(knob memory.oom.group)"
same "unified: cgroup.max.depth" 5 "$(knob cgroup.max.depth)"
same "unified: memory.min" 4096 "$(knob memory.min)"
same "cgroup.type" domain "$(knob cgroup.type)"
same "nothing handed below the container" "" "$(knob cgroup.subtree_control)"
o delete --force limits
echo "$disk enable=0" >$cg/io.cost.qos
start edges '.linux.resources += {memory: {limit: -1, swap: -1, swappiness: 0}, pids: {limit: -1},
    cpu: {shares: 2048, idle: 1, quota: -1, period: 50000}, unified: {"pids.max": "12"}}'
same "create and start with limits at their edges" "0 " "$status $output"
same "memory.limit -1: memory.max" max "$(knob memory.max)"
same "memory.swap -1: memory.swap.max" max "$(knob memory.swap.max)"
same "unified overrides pids.limit: pids.max" 12 "$(knob pids.max)"
same "cpu.idle: cpu.idle" 1 "$(knob cpu.idle)"
# The least there is: 0, and 1 from kernel 7 on.
has "cpu.idle: cpu.weight has no meaning" '^[01]$' "$(knob cpu.weight)"
same "cpu.quota -1 with a period: cpu.max" "max 50000" "$(knob cpu.max)"
o delete --force edges
start zero '.linux.resources += {memory: {limit: 67108864, swap: 67108864}, pids: {limit: 0}, cpu: {idle: 0, shares: 262144}}'
same "memory.swap = limit: memory.swap.max" 0 "$(knob memory.swap.max)"
same "pids.limit 0: pids.max" 1 "$(knob pids.max)"
same "cpu.shares 262144: cpu.weight" 10000 "$(knob cpu.weight)"
o delete --force zero
run fork ".linux.resources += {pids: {limit: 3}} | .process.args=$(says 'sleep 5 & sleep 5 & sleep 5 & sleep 5 & wait')"
has "pids.limit is felt" "can't fork" "$output"

echo "# devices"
kmsg='.mounts += [{destination: "/dev/kmsg", type: "bind", source: "/dev/kmsg", options: ["bind"]}]'
script=$(says 'echo x >/dev/null && echo null; (echo smoke >/dev/kmsg) && echo kmsg')
run denied "$kmsg | .process.args=$script"
has "devices: /dev/null is allowed" '^null$' "$output"
has "devices: /dev/kmsg is denied" "can't create /dev/kmsg: Operation not permitted" "$output"
run allowed "$kmsg | .process.args=$script | .linux.resources.devices += [{allow: true, type: \"c\", major: 1, minor: 11, access: \"w\"}]"
same "devices: /dev/kmsg is allowed by a rule" $'null\nkmsg' "$output"

echo "# cgroup namespace"
ns='.linux.namespaces |= (map(select(.type != "cgroup")) + [{type: "cgroup"}])'
run view "$ns | .process.args=$(says 'cat /proc/self/cgroup; grep " /sys/fs/cgroup " /proc/mounts; cat /sys/fs/cgroup/memory.max; echo 1 >/sys/fs/cgroup/pids.max') | .linux.resources += {memory: {limit: 67108864}}"
has "cgroup namespace: /proc/self/cgroup" '^0::/$' "$output"
has "cgroup namespace: the mount" '^cgroup2? /sys/fs/cgroup cgroup2 ro,' "$output"
has "cgroup namespace: the mount shows the own cgroup" '^67108864$' "$output"
has "cgroup namespace: the mount is read-only" 'Read-only file system' "$output"
run noview "(.linux.namespaces |= map(select(.type != \"cgroup\"))) | .process.args=$(says "cat /proc/self/cgroup /sys/fs/cgroup$base/noview/memory.max") | .linux.resources += {memory: {limit: 67108864}}"
has "no cgroup namespace: /proc/self/cgroup" "^0::$base/noview\$" "$output"
has "no cgroup namespace: the mount shows all" '^67108864$' "$output"

user='.linux.namespaces += [{type: "user"}] | .linux.uidMappings=[{containerID: 0, hostID: 200000, size: 65536}] | .linux.gidMappings=.linux.uidMappings'
writable='(.mounts[] | select(.type == "cgroup").options) = ["rw","nosuid","noexec","nodev"]'
create owned "$ns | $user | $writable | .linux.resources += {memory: {limit: 134217728}, pids: {limit: 50}} | .process.args=$(says '
    cd /sys/fs/cgroup; mkdir sub leaf && echo made; echo 1 >sub/cgroup.procs && echo moved
    echo +memory +pids >cgroup.subtree_control && echo enabled; cat sub/pids.max
    echo 9 >sub/pids.max && echo limited; echo 5 >pids.max; sleep 300')"
same "delegation: create" "0 " "$status $output"
same "delegation: owner of the directory" 200000 "$(stat -c %u "$dir")"
same "delegation: owner of cgroup.procs" 200000 "$(stat -c %u "$dir/cgroup.procs")"
same "delegation: owner of memory.max" 0 "$(stat -c %u "$dir/memory.max")"
o start owned
for _ in {1..50}; do grep -q 'pids.max: Perm' "$work/out" && break; sleep 0.1; done
seen=$(<"$work/out")
has "delegation: mkdir inside" '^made$' "$seen"
has "delegation: move inside" '^moved$' "$seen"
has "delegation: controllers handed down inside" '^enabled$' "$seen"
has "delegation: limits below" '^limited$' "$seen"
has "delegation: the own limit is out of reach" "pids.max: Permission denied" "$seen"
o delete --force owned
same "delegation: delete --force, status" 0 $?
same "delegation: delete --force with cgroups made inside" gone "$(gone owned)"

echo "# exec, after init has gone elsewhere"
# until_in ID PATH: waits for init of the container to be in the cgroup.
until_in() { for _ in {1..50}; do grep -qxF "0::$2" "/proc/$(o state "$1" | jq -r .pid)/cgroup" && return; sleep 0.1; done; }
start below "$ns | $writable | .linux.resources += {memory: {limit: 134217728}, pids: {limit: 50}} | .process.args=$(says '
    cd /sys/fs/cgroup; mkdir init.scope; echo 1 >init.scope/cgroup.procs; echo +memory +pids >cgroup.subtree_control; sleep 300')"
until_in below "$base/below/init.scope"
for _ in {1..50}; do grep -q pids "$dir/cgroup.subtree_control" && break; sleep 0.1; done
same "init below, controllers handed down: exec" "0::/init.scope" "$(o exec below cat /proc/self/cgroup 2>&1)"
same "init below: exec --cgroup" "0::/other" "$(mkdir "$dir/other"; o exec --cgroup other below cat /proc/self/cgroup 2>&1)"
has "init below: exec --cgroup of the one that takes nobody" 'busy' "$(o exec --cgroup / below true 2>&1)"
o delete --force below
same "init below: delete --force" gone "$(gone below)"
start beside "(.linux.namespaces |= map(select(.type != \"cgroup\"))) | $writable | .process.args=$(says "
    cd /sys/fs/cgroup$base; mkdir beside-init; echo 1 >beside-init/cgroup.procs; rmdir beside; sleep 300")"
until_in beside "$base/beside-init"
for _ in {1..50}; do [ -e "$dir" ] || break; sleep 0.1; done
same "init beside: its own cgroup" gone "$(gone beside)"
same "init beside, the container's cgroup removed: exec" "0::$base/beside-init" "$(o exec beside cat /proc/self/cgroup 2>&1)"
same "init beside: state" running "$(status_of beside)"
o delete --force beside
same "init beside: delete --force" "0 0" "$? $(rmdir "$cg$base/beside-init" 2>&1; echo $?)"

echo "# memory"
run oom '.linux.resources += {memory: {limit: 33554432, swap: 33554432}} | .process.args=["dd","if=/dev/zero","of=/dev/null","bs=100M","count=1"]'
same "memory: run of a program that is OOM-killed" 137 "$status"
create tiny '.linux.resources += {memory: {limit: 4096, swap: 4096}}'
has "memory: a limit too small for the start" 'OOM-killed \(memory limit too low\?\)' "$status $output"
same "memory: a failed create leaves no cgroup" gone "$(gone tiny)"
create check '.linux.resources += {memory: {limit: 4096, checkBeforeUpdate: true}}'
has "memory: checkBeforeUpdate" 'rejecting memory limit 4096' "$status $output"

echo "# namespaces, seccomp"
run mapped "$user | .process.args=$(says 'cat /proc/self/uid_map; echo x >/dev/null && echo null; ls -ldn /proc/1')"
has "user namespace: mapping" '^ *0 +200000 +65536$' "$output"
has "user namespace: /dev/null" '^null$' "$output"
run later '.linux.namespaces += [{type: "time"}] | .linux.timeOffsets={boottime: {secs: 1000000, nanosecs: 0}} | .process.args=["cat","/proc/uptime"]'
has "time namespace: boottime" '^100[0-9]{4}\.' "$output"
profile=/share/integration/seccomp/profiles/docker.json
run filtered ".linux.seccomp=$(<"$profile") | .process.args=$(says 'grep Seccomp: /proc/self/status; unshare -U true')"
has "seccomp: filter mode" '^Seccomp:.*2$' "$output"
has "seccomp: unshare is denied" 'unshare.*Operation not permitted' "$output"

echo "# refusals"
create netcls '.linux.resources += {network: {classID: 1}}'
has "no net_cls controller" 'linux.resources.network.classID.*net_cls cgroup controller is not available' "$status $output"
create strange '.linux.resources += {unified: {"smoke.max": "1"}}'
has "unified: unknown controller" 'controller "smoke" not available' "$status $output"
create nofile '.linux.resources += {unified: {"memory.smoke": "1"}}'
has "unified: unknown file" 'memory\.smoke, openat\)$' "$status $output"
create nodisk '.linux.resources += {blockIO: {throttleReadBpsDevice: [{major: 250, minor: 99, rate: 1}]}}'
has "io.max: no such device" 'no such block device' "$status $output"
create v1only '.linux.resources += {memory: {swappiness: 60}, cpu: {realtimeRuntime: 1000}}'
has "v1 only: swappiness" 'swappiness: has no equivalent in cgroup v2' "$output"
mkdir -p "$cg$base"; mkdir "$cg$base/threads" "$cg$base/threads/t"; echo threaded >"$cg$base/threads/t/cgroup.type"
create thread ".linux.cgroupsPath=\"$base/threads/t/c\" | .linux.resources += {memory: {limit: 67108864}}"
has "a threaded parent gives no memory limit" 'threaded' "$status $output"
create deep ".linux.cgroupsPath=\"$base/threads/t/x/y\" | .linux.resources += {pids: {limit: 5}}"; dir=$cg$base/threads/t/x/y
same "two levels below a threaded one: create, type" "0 threaded 5" "$status $output$(knob cgroup.type) $(knob pids.max)"
same "two levels below a threaded one: the one between" threaded "$(cat "${dir%/y}/cgroup.type" 2>&1)"
o delete --force deep
rmdir "$cg$base/threads/t/x" "$cg$base/threads/t" "$cg$base/threads"
own=$(sed -n 's/^0:://p' /proc/self/cgroup)
if [ "$own" != / ]; then
    # cpu, cpuset and pids would be handed down one by one, at the price of a threaded tree.
    inner() { create "inner$1" ".linux.cgroupsPath=\"$own/inner$1\" | $2"; dir=$cg$own/inner$1; }
    inner 0 .
    same "a parent with processes, no limits: create, type" "0 domain" "$status $output$(knob cgroup.type)"
    o delete --force inner0
    inner 1 '.linux.resources += {memory: {limit: 67108864}}'
    has "a parent with processes, a memory limit" 'linux.resources.memory.limit.*hand down' "$status $output"
    same "a parent with processes, a memory limit: the parent is as it was" domain "$(<"$cg$own/cgroup.type")"
    inner 2 '.linux.resources += {pids: {limit: 5}}'
    same "a parent with processes, a pids limit: create, type" "0 threaded 5" "$status $output$(knob cgroup.type) $(knob pids.max)"
    same "a parent with processes, a pids limit: state" created "$(status_of inner2)"
    o delete --force inner2
    same "a parent with processes: delete --force" "0 gone" "$? $([ -e "$dir" ] && echo there || echo gone)"
    echo -pids >"$cg$own/cgroup.subtree_control"
fi

echo "# where relative and absent paths lead"
start absent 'del(.linux.cgroupsPath) | .linux.resources += {memory: {limit: 67108864}}'
same "cgroupsPath absent" "0 0::${own%/*}/absent" "$status $output$(cat "/proc/$(o state absent | jq -r .pid)/cgroup")"
same "cgroupsPath absent: memory.max" 67108864 "$(cat "$cg${own%/*}/absent/memory.max" 2>&1)"
o delete --force absent
start relative '.linux.cgroupsPath="smoke-relative/one" | .linux.resources += {memory: {limit: 67108864}}'
same "cgroupsPath relative" "0 0::${own%/*}/smoke-relative/one" "$status $output$(cat "/proc/$(o state relative | jq -r .pid)/cgroup")"
same "cgroupsPath relative: memory.max" 67108864 "$(cat "$cg${own%/*}/smoke-relative/one/memory.max" 2>&1)"
o delete --force relative
rmdir "$cg${own%/*}/smoke-relative"

same "no container is left" "" "$(o list --quiet 2>/dev/null)"
same "no cgroup is left" "" "$(ls -d "$cg$base"/*/ 2>/dev/null)"
closing
