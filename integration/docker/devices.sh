# devices.sh, sourced: devices given to a container, with their rights, and the rules of the devices cgroup.

# rights [OPTION...]: what a container may do with 10:229 (fuse), which no default rule names. The cgroup answers EPERM
# before a driver is asked, so the host needs no such device.
mkdir -p "$work/nodes" && mknod -m 600 "$work/nodes/fuse" c 10 229 && chown 44 "$work/nodes/fuse"
rights() {
    run "$@" $image sh -c '
        [ -e /dev/given ] || mknod /dev/given c 10 229 2>/dev/null
        sh -c "exec 3</dev/given" 2>&1 | grep -q "not permitted" || echo read
        sh -c "exec 3>/dev/given" 2>&1 | grep -q "not permitted" || echo write
        mknod /tmp/made c 10 229 2>/dev/null && echo mknod' 2>&1 | tr '\n' ' '
}
same "docker run: a device that was not given" "mknod " "$(rights)"
same "docker run --device: all rights" "read write mknod " "$(rights --device "$work/nodes/fuse:/dev/given")"
same "docker run --device :r" "read mknod " "$(rights --device "$work/nodes/fuse:/dev/given:r")"
same "docker run --device :w" "write mknod " "$(rights --device "$work/nodes/fuse:/dev/given:w")"
same "docker run --device :rw" "read write mknod " "$(rights --device "$work/nodes/fuse:/dev/given:rw")"
same "docker run --device-cgroup-rule: a made node may be used" "read write mknod " "$(rights --device-cgroup-rule 'c 10:229 rwm')"
same "docker run --device-cgroup-rule: any minor" "read mknod " "$(rights --device-cgroup-rule 'c 10:* r')"
same "docker run --privileged: every device" "read write mknod " "$(rights --privileged)"
same "docker run --device: of a missing right" 125 "$(run --device "$work/nodes/fuse:/dev/given:x" $image true >/dev/null 2>&1; echo $?)"
mkdir -p "$work/several" && mknod "$work/several/one" c 1 5 && mknod "$work/several/two" c 1 7
same "docker run --device: a directory of devices" "one two" "$(run --device "$work/several:/dev/many" $image sh -c 'cd /dev/many && echo *' 2>&1)"
has "docker run --device: its owner and mode" '^character special file 600 44$' \
    "$(run --device "$work/nodes/fuse:/dev/given" $image stat -c '%F %a %u' /dev/given)"
output=$(run $image sh -c 'ls /dev; for f in null zero full random urandom tty; do stat -c "%n %t:%T" /dev/$f; done')
has "docker run: /dev/null" '^/dev/null 1:3$' "$output"
has "docker run: /dev/tty" '^/dev/tty 5:0$' "$output"
lacks "docker run: no disk" '^(vda|sda|kmsg|mem)$' "$output"
has "docker run --privileged: the host's devices" '^kmsg$' "$(run --privileged $image ls /dev)"
docker run -d --name device $image sleep 1000 >/dev/null
same "docker exec: the device rules hold there too" "refused" \
    "$(docker exec device sh -c 'mknod /tmp/n c 10 229; sh -c "exec 3</tmp/n" 2>&1 | grep -q "not permitted" && echo refused')"
remove device
