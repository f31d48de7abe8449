#!/bin/bash
# needs.sh: print what this host offers to tests, as the comma-separated list NEEDS_HAVE wants: a test may be skipped
# only for something that is not in it. The words are those of tests/contract/harness/needs.rs.
have=()
offers() { # WORD COMMAND...
    local word=$1
    shift
    "$@" >/dev/null 2>&1 && have+=("$word")
}
kernel_at_least() {
    printf '%s\n%s\n' "$1" "$(uname -r)" | sort -CV
}
effective() { # bit number of a capability
    local mask
    mask=$(sed -n 's/^CapEff:\s*//p' /proc/self/status)
    (((16#$mask >> $1) & 1))
}

offers root test "$(id -u)" = 0
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    have+=(cgroup2 cgroup:freezer cgroup:devices)
    for name in $(cat /sys/fs/cgroup/cgroup.controllers); do have+=("cgroup:$name"); done
else
    for controllers in $(awk '$3 == "cgroup" { print $4 }' /proc/mounts); do
        for name in ${controllers//,/ }; do
            case $name in cpu | cpuacct | cpuset | memory | devices | freezer | blkio | pids) have+=("cgroup1:$name" "cgroup:$name") ;; esac
            [ "$name" != memory ] || have+=(cgroup1)
        done
    done
fi
offers userns unshare --user --map-root-user true
offers timens test -e /proc/self/ns/time
offers seccomp test -e /proc/sys/kernel/seccomp/actions_avail
offers overlay grep -qw overlay /proc/filesystems
offers idmap kernel_at_least 5.12
offers mountsetattr kernel_at_least 5.12
offers ipv6 test -d /proc/sys/net/ipv6
offers resource effective 24
offers systemd test -d /run/systemd/system
offers apparmor grep -q Y /sys/module/apparmor/parameters/enabled
offers selinux test -e /sys/fs/selinux/enforce
for tool in strace python3 busybox; do
    offers $tool command -v $tool
done
(IFS=,; echo "${have[*]}")
