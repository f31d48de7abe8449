# An ordinary user's containers: maps, setgroups, devices, /sys/fs/cgroup; without cgroups, with delegated ones, by the
# user's systemd; from a login session, a unit of the user's, another user namespace. `tester` has subordinate ids and lingers.
[ "$(id -u)" != 0 ] || {
    # A login session (PAM, logind): its scope lies beside user@1000.service, in a slice of root's.
    exec su -l tester -c "RUNTIME=${RUNTIME-} WORK_BELOW=/home/tester exec bash $(realpath "$0")"
}
. "$(dirname "$0")/begin.sh"
stray_cgroups() { find /sys/fs/cgroup/user.slice -name "*rl-$$-*" 2>/dev/null; }
finish() {
    [ -z "${hog-}" ] || kill "$hog"
    for id in $("$RUNTIME" --root "$work/state" list -q 2>/dev/null); do
        rt delete --force "$id" >/dev/null 2>&1 || in_unit delete --force "$id" >/dev/null 2>&1
    done
    chmod -R u+rwX "$work" 2>/dev/null
    rm -rf --one-file-system "$work"
}
trap finish EXIT

says() { jq -nc --arg script "$1" '["sh","-c",$script]'; }
# runc warns of much on stderr; with a log only what ends it comes there.
asked=("$RUNTIME" --root "$work/state")
[ "$runtime" != runc ] || asked+=(--log "$work/log")
rt() { timeout -k 5 120 "${asked[@]}" "$@"; }
# The same runtime in a unit of the user's manager, below user@1000.service.
in_unit() { systemd-run --user --pipe --wait --quiet --collect -E "PATH=$PATH" -- "${asked[@]}" "$@"; }
# In a user namespace of podman's, as its root.
in_namespace() { podman unshare "${asked[@]}" "$@"; }
in_scope() { systemd-run --user --scope --quiet -p Delegate=yes -- "${asked[@]}" "$@"; }
# run NAME FILTER [OPTION...]: of `spec --rootless`; $output and $status.
spec_options=--rootless
run() {
    local name=$1 filter=$2
    shift 2
    bundle "$name" "$filter" && output=$(rt "$@" run --bundle "$work/$name" "rl-$$-$name" 2>&1 </dev/null)
    status=$?
}
# up HOW NAME FILTER [OPTION...]: a detached container. HOW: rt, in_unit, in_scope, in_namespace.
up() {
    local how=$1 name=$2 filter=$3
    shift 3
    id=rl-$$-$name
    bundle "$name" "$filter" &&
        "$how" "$@" run --detach --bundle "$work/$name" "$id" >"$work/up.log" 2>&1 </dev/null
    status=$?
    output=$(<"$work/up.log")
}
cgroup_of() { sed -n 's/^0:://p' "/proc/$(pid_of "$1")/cgroup"; }
knob() { cat "/sys/fs/cgroup$path/$1" 2>&1; }
one_line() { if [ "$(grep -c . <<<"$2")" = 1 ]; then ok "$1: one line"; else not_ok "$1: one line" "$2"; fi; }

echo "# $(id), own cgroup: $(</proc/self/cgroup)"
busybox_root "$work/rootfs"

echo "# the bundle of spec --rootless"
run plain ".process.args=$(says 'id -u; cat /proc/self/setgroups; cat /proc/self/uid_map; stat -c %F /dev/null; echo x >/dev/null && echo written; head -c 4 /dev/urandom | wc -c; ls -d /sys/kernel; id -G')"
same "spec --rootless, run: exit status" 0 "$status"
has "spec --rootless: root inside" '^0$' "$output"
has "spec --rootless: setgroups is denied" '^deny$' "$output"
has "spec --rootless: one id is mapped" '^ *0 +1000 +1$' "$output"
has "spec --rootless: /dev/null is a device" '^character special file$' "$output"
has "spec --rootless: /dev/null takes a write" '^written$' "$output"
has "spec --rootless: /dev/urandom gives" '^4$' "$output"
has "spec --rootless: sysfs is there" '^/sys/kernel$' "$output"
run binds ".process.args=$(says 'grep -c " /dev/null " /proc/self/mountinfo; echo x >/sys/fs/cgroup/cgroup.procs; find /sys/fs/cgroup -writable -type f 2>/dev/null | head -n 3; mount -t tmpfs t /mnt')"
has "devices are bind mounts" '^1$' "$output"
lacks "no file of the host's cgroups can be written" '^/sys/fs/cgroup/' "$output"
run groups '.process.user.additionalGids=[5] | .process.args=["true"]'
same "additional groups without a range of ids: refused" no "$([ "$status" = 0 ] && echo yes || echo no)"
run cannot '.process.user.uid=5 | .process.args=["true"]'
same "a user without a mapping: refused" no "$([ "$status" = 0 ] && echo yes || echo no)"
has "a user without a mapping: what is said" 'unmapped|map' "$output"
! ours || run default ".process.args=$(says 'echo default')"
if ours; then
    ("$RUNTIME" run --bundle "$work/default" "rl-$$-root" >"$work/out" 2>&1 </dev/null)
    same "the default state root: a run" default "$(tail -n 1 "$work/out")"
    same "the default state root: below XDG_RUNTIME_DIR, private, sticky" "drwx-----T" "$(stat -c %A "$XDG_RUNTIME_DIR/orlop" 2>&1)"
    output=$(env -u XDG_RUNTIME_DIR "$RUNTIME" list 2>&1)
    has "no XDG_RUNTIME_DIR: what is said" 'XDG_RUNTIME_DIR.*--root' "$output"
fi

echo "# without cgroups"
life() {
    local name=$1
    shift
    up rt "${name// /-}" '.process.args=["sh","-c","trap \"exit 0\" TERM; sleep 600 & wait"]' "$@"
    same "$name: run --detach" "0 " "$status $output"
    same "$name: state" running "$(rt "$@" state "$id" | jq -r .status)"
    has "$name: list" "$id +[0-9]+ +running" "$(rt "$@" list)"
    same "$name: exec" "0 deny" "$(rt "$@" exec "$id" sh -c 'echo $(id -u) $(cat /proc/self/setgroups)' 2>&1 </dev/null)"
}
leave() {
    rt kill "$id" KILL
    same "$1: kill" 0 $?
    within 10 eval "[ \"\$(rt state $id | jq -r .status)\" = stopped ]"
    same "$1: delete" "0 " "$? $(rt delete "$id" 2>&1)"
    same "$1: no cgroup is left" "" "$(stray_cgroups)"
}
life "no rights"
same "no rights: the caller's cgroup" "$(sed -n 's/^0:://p' /proc/self/cgroup)" "$(cgroup_of "$id")"
if output=$(rt pause "$id" 2>&1); then not_ok "no rights: pause is refused" "$output"; else ok "no rights: pause is refused"; fi
! ours || { has "no rights: pause, what is said" 'no freezer cgroup' "$output"; one_line "no rights: pause" "$output"; }
if ours; then
    output=$(rt ps "$id" 2>&1)
    has "no rights: ps" 'sleep 600' "$output"
    output=$(rt update --pids-limit 9 "$id" 2>&1)
    has "no rights: update, what is said" 'has no cgroup' "$output"
    one_line "no rights: update" "$output"
    rt exec --detach "$id" sleep 601 >/dev/null 2>&1 </dev/null
    rt kill --all "$id" TERM
    if within 10 eval '[ "$(rt ps --format json "$id")" = "[]" ]'; then ok "no rights: kill --all"; else not_ok "no rights: kill --all" "$(rt ps "$id")"; fi
    rt delete --force "$id"
    life "no rights"
fi
leave "no rights"
run limit '.linux.resources={pids:{limit:9}} | .process.args=["true"]'
if ours; then
    same "no rights, a limit: refused" 1 "$status"
    has "no rights, a limit: what is said" 'rootless needs no limits' "$output"
    one_line "no rights, a limit" "$output"
fi
if [ "$runtime" != runc ]; then
    life disabled --cgroup-manager disabled
    leave disabled
else
    skip disabled "runc has no --cgroup-manager"
fi

echo "# subordinate ids"
ranged='.linux.uidMappings=[{containerID:0,hostID:1000,size:1},{containerID:1,hostID:100000,size:65536}]
    | .linux.gidMappings=.linux.uidMappings'
run range "$ranged | .process.user={uid:1000,gid:1000,additionalGids:[5,2000]} | .process.args=$(says 'id -u; id -G; cat /proc/self/setgroups; touch /tmp/$$ && stat -c "%u %g" /tmp/$$; rm /tmp/$$')"
same "two ranges: user, groups, setgroups, file" $'1000\n1000 5 2000\nallow\n1000 1000' "$output"
run caps "$ranged | .process.capabilities.bounding=[\"CAP_CHOWN\",\"CAP_FOWNER\"] | .process.capabilities.effective=.process.capabilities.bounding | .process.capabilities.permitted=.process.capabilities.bounding
    | .process.args=$(says 'touch /tmp/c; chown 77:78 /tmp/c; stat -c "%u %g" /tmp/c; rm /tmp/c')"
same "two ranges: chown inside" "77 78" "$output"
run split '.linux.uidMappings=[{containerID:0,hostID:1000,size:1},{containerID:1,hostID:100000,size:10}] | .process.args=["id","-G"]'
same "a range of users, one group" 0 "$output"
bundle beyond '.linux.uidMappings=[{containerID:0,hostID:1000,size:1},{containerID:1,hostID:300000,size:10}] | .process.args=["true"]'
output=$(rt run --bundle "$work/beyond" "rl-$$-beyond" 2>&1 </dev/null)
same "a range that is not granted: refused" no "$([ $? = 0 ] && echo yes || echo no)"
if ours; then
    has "a range that is not granted: what is said" '300000.*linux.uidMappings.*/etc/subuid' "$output"
    one_line "a range that is not granted" "$output"
    mkdir "$work/empty"
    output=$(PATH=$work/empty "$RUNTIME" --root "$work/state" run --bundle "$work/range" "rl-$$-missing" 2>&1 </dev/null)
    has "newgidmap is missing: what is said" 'newgidmap.*linux.gidMappings.*uidmap' "$output"
    one_line "newgidmap is missing" "$output"
fi

echo "# keys"
# Others hold all keyrings that the user may have, until they are killed; the holders die with who made them.
hog() {
    python3 -c 'import ctypes, os, signal
libc = ctypes.CDLL(None)
while True:
    back, ready = os.pipe()
    child = os.fork()
    if child == 0:
        libc.prctl(1, signal.SIGKILL)
        os.write(ready, b"+" if libc.syscall(250, 1, b"_ses.hog%d" % os.getpid()) >= 0 else b"-")
        while True:
            signal.pause()
    if os.read(back, 1) == b"-":
        break
print("full", flush=True)
while True:
    signal.pause()' >"$work/hog" 2>&1 &
    hog=$!
    within 120 grep -q full "$work/hog"
}
if ours; then
    hog
    bundle keys '.process.args=["true"]'
    output=$(rt run --bundle "$work/keys" "rl-$$-keys" 2>&1 </dev/null)
    same "no key is left of the quota: refused" 1 $?
    has "no key is left of the quota: what is said" 'keyring.*(quota|maxkeys)' "$output"
    one_line "no key is left of the quota" "$output"
    succeeds "no key is left of the quota: --no-new-keyring" rt run --no-new-keyring --bundle "$work/keys" "rl-$$-keys"
    pkill -P $hog
    kill $hog
    wait $hog 2>/dev/null
    hog=
    succeeds "keys are free again" rt run --bundle "$work/keys" "rl-$$-keys"
fi

same "no container is left" "" "$(rt list -q)"

echo "# the user's systemd"
if [ $cgroups != v2 ]; then
    run v1 '.process.args=["true"]' --systemd-cgroup
    ! ours || has "cgroup v1: what is said" 'cgroup v2' "$output"
    closing
    exit
fi
limited='.linux.resources={memory:{limit:67108864},pids:{limit:33},cpu:{quota:50000,period:100000,cpus:"0"}}'
for how in rt in_unit in_namespace; do
    case $how in
    rt) from="systemd, from the session" filter="$ranged | $limited" ;;
    in_unit) from="systemd, from a unit" filter="$ranged | $limited" ;;
    # Its root maps ids that it has: the subordinate ones are 1 and up.
    in_namespace) from="systemd, from podman's namespace" filter=".linux.uidMappings=[{containerID:0,hostID:0,size:1},{containerID:1,hostID:1,size:60000}] | .linux.gidMappings=.linux.uidMappings | $limited" ;;
    esac
    up $how "sd-$how" "$filter" --systemd-cgroup
    same "$from: run --detach" "0 " "$status $output"
    [ "$status" = 0 ] || continue
    path=$(cgroup_of "$id") unit=$(basename "$path")
    # crun has a cgroup of its own below the scope.
    [ "$runtime" != crun ] || unit=$(basename "${path%/*}")
    has "$from: a scope of the user's manager" '^/user\.slice/user-1000\.slice/user@1000\.service/(user|app)\.slice/[^/]*\.scope' "$path"
    same "$from: memory, pids, cpu, cpuset" "67108864 33 50000 100000 0" "$(echo $(knob memory.max) $(knob pids.max) $(knob cpu.max) $(knob cpuset.cpus))"
    same "$from: exec" "0::/" "$($how exec "$id" cat /proc/self/cgroup 2>&1 </dev/null)"
    same "$from: exec from the session" 0 "$(rt exec "$id" id -u 2>&1 </dev/null)"
    same "$from: exec from a unit" 0 "$(in_unit exec "$id" id -u 2>&1 </dev/null)"
    same "$from: exec --detach lands in the cgroup" "0 2" "$(rt exec --detach "$id" sleep 600 >/dev/null 2>&1 </dev/null; echo $? $(grep -c . "/sys/fs/cgroup$path/cgroup.procs"))"
    same "$from: pause" "0 1 paused" "$($how pause "$id" 2>&1; echo $? $(sed -n 's/^frozen //p' "/sys/fs/cgroup$path/cgroup.events") $(rt state "$id" | jq -r .status))"
    same "$from: resume" "0 0" "$($how resume "$id" 2>&1; echo $? $(sed -n 's/^frozen //p' "/sys/fs/cgroup$path/cgroup.events"))"
    same "$from: update" "0 44 134217728" "$($how update --pids-limit 44 --memory 134217728 "$id" 2>&1; echo $? $(knob pids.max) $(knob memory.max))"
    if [ "$runtime" != crun ]; then
        same "$from: update reaches the unit" "TasksMax=44" "$(systemctl --user show -p TasksMax "$unit")"
        has "$from: events --stats" '"pids":\{"current":2' "$($how events --stats "$id" 2>&1)"
    fi
    same "$from: ps" 2 "$($how ps --format json "$id" 2>&1 | jq length)"
    same "$from: kill" 0 "$($how kill "$id" KILL 2>&1; echo $?)"
    within 10 eval "[ \"\$(rt state $id | jq -r .status)\" = stopped ]"
    same "$from: delete" "0 " "$($how delete --force "$id" 2>&1; echo "$? ")"
    within 15 eval '[ "$(systemctl --user show -p LoadState "$unit")" = LoadState=not-found ]'
    same "$from: the unit is gone" "LoadState=not-found" "$(systemctl --user show -p LoadState "$unit")"
    same "$from: no cgroup is left" "" "$(stray_cgroups)"
done
up rt slice "$ranged | .linux.cgroupsPath=\"app-boxes.slice:rl:$$-slice\"" --systemd-cgroup
has "a slice of the user's" "/user@1000.service/app.slice/app-boxes.slice/rl-$$-slice.scope" "$(cgroup_of "$id")"
rt delete --force "$id"
run oom "$ranged | .linux.resources={memory:{limit:16777216,swap:16777216}} | .process.args=$(says 'tail /dev/zero')" --systemd-cgroup
same "out of memory: the exit status" 137 "$status"
if ours; then
    output=$(DBUS_SESSION_BUS_ADDRESS= XDG_RUNTIME_DIR=$work/empty rt --systemd-cgroup run --bundle "$work/slice" "rl-$$-nobus" 2>&1 </dev/null)
    has "no bus of the user's: what is said" 'connect to systemd.*enable-linger' "$output"
    one_line "no bus of the user's" "$output"
    up rt watched "$ranged | .linux.resources={memory:{limit:16777216,swap:16777216}}" --systemd-cgroup
    rt events --interval 1s "$id" >"$work/events" 2>&1 </dev/null &
    watcher=$!
    # What comes before it watches is not told of.
    told() { rt exec "$id" tail /dev/zero </dev/null; sleep 1; grep -q '"type":"oom"' "$work/events"; }
    if within 30 told; then ok "events: out of memory"; else not_ok "events: out of memory" "$(tail -n 3 "$work/events")"; fi
    kill $watcher 2>/dev/null
    rt delete --force "$id"
fi

echo "# a delegated cgroup, without systemd's help"
up in_scope fs "$ranged | .linux.resources={pids:{limit:25}}"
same "delegated: run --detach" "0 " "$status $output"
path=$(cgroup_of "$id")
same "delegated: pids.max" 25 "$(knob pids.max)"
same "delegated: exec from the session" 0 "$(rt exec "$id" id -u 2>&1 </dev/null)"
same "delegated: exec from a unit" 0 "$(in_unit exec "$id" id -u 2>&1 </dev/null)"
same "delegated: pause, resume" "0 paused 0" "$(rt pause "$id" 2>&1; echo $? $(rt state "$id" | jq -r .status) $(rt resume "$id" 2>&1; echo $?))"
same "delegated: update" "0 26" "$(rt update --pids-limit 26 "$id" 2>&1; echo $? $(knob pids.max))"
same "delegated: delete --force" "0 " "$(rt delete --force "$id" 2>&1; echo "$? ")"
same "delegated: no cgroup is left" "" "$(stray_cgroups)"
same "no container is left at the end" "" "$(rt list -q)"
closing
