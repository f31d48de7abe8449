#!/bin/bash
# needs.sh: print what this host offers to tests, as the comma-separated list NEEDS_HAVE wants: a test may be skipped
# only for something that is not in it.
have=()
[ "$(id -u)" = 0 ] && have+=(root)
if [ "$(stat -f -c %T /sys/fs/cgroup 2>/dev/null)" = cgroup2fs ]; then
    have+=(cgroup2)
elif grep -q '^[^ ]* [^ ]* cgroup ' /proc/mounts; then
    have+=(cgroup1)
fi
unshare --user --map-root-user true 2>/dev/null && have+=(userns)
unshare --time true 2>/dev/null && have+=(timens)
grep -q '^Seccomp:' /proc/self/status && have+=(seccomp)
[ -d /run/systemd/system ] && have+=(systemd)
[ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ] && have+=(apparmor)
[ -d /sys/fs/selinux ] && have+=(selinux)
(IFS=,; echo "${have[*]}")
