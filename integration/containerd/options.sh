# options.sh, sourced: the options of `ctr run` that end in config.json: privileges, mounts, devices, namespaces.

part_options() {
    capabilities
    filters
    mounts
    devices
    namespaces
    user_namespace
    other_sources
    nothing_left "containerd after the options"
}

# A row of /proc/self/status of a container with these options.
row() {
    local key=$1
    shift
    run --rm "$@" row grep "^$key:" /proc/self/status | awk '{ print $2 }'
}
# A hexadecimal mask has the bit.
bit() { echo $((0x$1 >> $2 & 1)); }

capabilities() {
    same "ctr run: ctr's fourteen capabilities" 00000000a80425fb "$(row CapEff)"
    same "ctr run --cap-add: the capability is there" 1 "$(bit "$(row CapEff --cap-add=CAP_SYS_ADMIN)" 21)"
    same "ctr run --cap-add: bounding too" 1 "$(bit "$(row CapBnd --cap-add=CAP_SYS_ADMIN)" 21)"
    same "ctr run --cap-drop: the capability is not there" 0 "$(bit "$(row CapEff --cap-drop=CAP_CHOWN)" 0)"
    same "ctr run --cap-drop: bounding neither" 0 "$(bit "$(row CapBnd --cap-drop=CAP_CHOWN)" 0)"
    same "ctr run: no new privileges" 1 "$(row NoNewPrivs)"
    same "ctr run --allow-new-privs: new privileges" 0 "$(row NoNewPrivs --allow-new-privs)"
    same "ctr run --privileged: all the capabilities that the host has" \
        "$(awk '/^CapPrm/ { print $2 }' /proc/self/status)" "$(row CapEff --privileged)"
    ends "ctr run --privileged: sysfs can be written" 0 run --rm --privileged private test -w /sys/kernel
    has "ctr run --privileged: nothing is masked" '^0 masks' \
        "$(run --rm --privileged private sh -c 'echo "$(grep -c " /proc/" /proc/self/mountinfo) masks"')"
    same "ctr run: paths in /proc and /sys are masked" "0 0" \
        "$(run --rm masked sh -c 'wc -c </proc/timer_list; ls -A /sys/firmware | wc -l' | xargs)"
    ends "ctr run: /proc/sys is read-only" 1 run --rm masked sh -c 'echo 1 >/proc/sys/kernel/domainname'
}

filters() {
    same "ctr run: no filter" 0 "$(row Seccomp)"
    same "ctr run --seccomp: the default profile is loaded" 2 "$(row Seccomp --seccomp)"
    ends "ctr run --seccomp: a user namespace is denied" 1 run --rm --seccomp filter unshare -U true
    ends "ctr run --seccomp: what the profile allows works" 0 run --rm --seccomp filter sh -c 'mkdir /tmp/a && ls /tmp | cat'
    cat >"$work/profile.json" <<JSON
{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
  {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}
JSON
    output=$(run --rm --seccomp "--seccomp-profile=$work/profile.json" profile mkdir /tmp/a 2>&1)
    has "ctr run --seccomp-profile: the profile's errno" 'Operation not supported' "$output"
}

mounts() {
    mkdir -p "$work/bound"
    echo text >"$work/bound/file"
    local bind=type=bind,src=$work/bound,dst=/new/place
    same "ctr run --mount: a bind on a path that is not there" text \
        "$(run --rm "--mount=$bind,options=rbind:rw" bind cat /new/place/file)"
    ends "ctr run --mount: it can be written" 0 run --rm "--mount=$bind,options=rbind:rw" bind touch /new/place/made
    succeeds "ctr run --mount: what it wrote is on the host" test -e "$work/bound/made"
    output=$(run --rm "--mount=$bind,options=rbind:ro" bind touch /new/place/other 2>&1)
    has "ctr run --mount: a read-only bind" 'Read-only file system' "$output"
    has "ctr run --mount: a tmpfs with its options" 'tmpfs.* size=1024k|tmpfs .*size=1024k' \
        "$(run --rm --mount=type=tmpfs,dst=/fresh,options=size=1m:nosuid tmpfs grep ' /fresh ' /proc/self/mounts)"
    has "ctr run --mount: flags of a bind" ' /new/place ([^ ]*,)?nosuid,nodev,noexec' \
        "$(run --rm "--mount=$bind,options=bind:nosuid:nodev:noexec" bind grep ' /new/place ' /proc/self/mountinfo)"
    output=$(run --rm --read-only still touch /file 2>&1)
    has "ctr run --read-only: the root cannot be written" 'Read-only file system' "$output"
    ends "ctr run --read-only: /dev/shm can be written" 0 run --rm --read-only still touch /dev/shm/file
    has "ctr run --rootfs-propagation: shared" ' / / .* shared:' \
        "$(run --rm --rootfs-propagation=shared spread cat /proc/self/mountinfo)"
    lacks "ctr run: the root is not shared" ' / / .* shared:' \
        "$(run --rm quiet cat /proc/self/mountinfo)"
    ends "ctr run --no-pivot: the program runs" 0 run --rm --no-pivot unmoved true
}

devices() {
    same "ctr run: /dev/null, zero, full, random, urandom, tty" 6 \
        "$(run --rm dev sh -c 'ls -l /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty' | grep -c ^crw-rw-rw-)"
    # 1:11 is the kernel's log: no list of defaults has it.
    mknod "$work/device" c 1 11
    has "ctr run --device: the device is there" '^c.* 1, +11 ' \
        "$(run --rm "--device=$work/device" device ls -l "$work/device")"
    ends "ctr run --device: it can be opened" 0 run --rm "--device=$work/device" device sh -c ": >>'$work/device'"
    output=$(run --rm --cap-add=CAP_MKNOD device sh -c 'mknod /tmp/log c 1 11 && : >>/tmp/log' 2>&1)
    has "ctr run: another device cannot be opened" 'Operation not permitted' "$output"
}

namespaces() {
    local kind
    for kind in ipc mnt net pid uts; do
        lacks "ctr run: a $kind namespace of its own" "$(readlink "/proc/self/ns/$kind" | tr '[]' '..')" \
            "$(run --rm own readlink "/proc/self/ns/$kind")"
    done
    same "ctr run --net-host: the host's network" "$(readlink /proc/self/ns/net)" \
        "$(run --rm --net-host nethost readlink /proc/self/ns/net)"
    ip netns add "$tag"
    ip -n "$tag" link add orlop0 type bridge
    has "ctr run --with-ns: a named network namespace is joined" 'orlop0' \
        "$(run --rm "--with-ns=network:/run/netns/$tag" joined ip link)"
    ip netns delete "$tag"
    run -d friend sleep 1000
    local pid
    pid=$(pid_of friend)
    for kind in ipc pid uts; do
        same "ctr run --with-ns: another container's $kind namespace" "$(readlink "/proc/$pid/ns/$kind")" \
            "$(run --rm "--with-ns=$kind:/proc/$pid/ns/$kind" guest readlink "/proc/self/ns/$kind")"
    done
    has "ctr run --with-ns: the other's processes are seen" 'sleep 1000' \
        "$(run --rm "--with-ns=pid:/proc/$pid/ns/pid" guest ps)"
    same "ctr run --with-ns: the end of a guest leaves the other running" RUNNING "$(status_of friend)"
    remove friend
    output=$(run --rm --with-ns=network:/no/such/namespace lost true 2>&1)
    has "ctr run --with-ns: a namespace that is not there is named" '/no/such/namespace' "$output"
    remove lost
}

user_namespace() {
    local map=(--uidmap=0:100000:65536 --gidmap=0:200000:65536)
    run -d "${map[@]}" mapped sleep 1000
    local pid
    pid=$(pid_of mapped)
    same "ctr run --uidmap: the program's uid on the host" 100000 "$(stat -c %u "/proc/$pid")"
    same "ctr run --gidmap: the program's gid on the host" 200000 "$(stat -c %g "/proc/$pid")"
    same "ctr run --uidmap: the map" "0 100000 65536" "$(xargs <"/proc/$pid/uid_map")"
    same "ctr run --uidmap: it is root inside" 0 "$(ctr task exec --exec-id m mapped id -u)"
    ends "ctr run --uidmap: root's files are its own" 0 ctr task exec --exec-id n mapped touch /root/file
    remove mapped
}

other_sources() {
    succeeds "ctr run --rootfs: a directory as root" ctr run --rm --runc-binary "$RUNTIME" --runc-root "$work/runtime" \
        --cgroup "/$tag/folder" --rootfs "$work/busybox" folder /bin/id -un
    same "ctr run --rootfs: the program ran" root "$output"
    spec_file byspec sh -c 'hostname; cat /proc/self/oom_score_adj; ulimit -n; ulimit -Hn'
    succeeds "ctr run --config: a config.json as the runtime's spec writes it" ctr run --rm --runc-binary "$RUNTIME" \
        --runc-root "$work/runtime" --config "$work/byspec.json" byspec
    same "ctr run --config: hostname, OOM score, limits of files" "by-spec 777 333 444" "$(xargs <<<"$output")"
    output=$(ctr run --rm --runc-binary "$RUNTIME" --runc-root "$work/runtime" --runc-systemd-cgroup \
        --cgroup "system.slice:orlop:unit" "$image" unit true 2>&1)
    same "ctr run --runc-systemd-cgroup: refused where systemd does not run" 1 $?
    has "ctr run --runc-systemd-cgroup: the refusal names systemd" 'systemd' "$output"
    ctr c delete unit 2>/dev/null
}
