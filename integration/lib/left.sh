# left.sh, sourced: what a client has left behind of its containers.

# The cgroups below the client's parent /$tag, in any hierarchy; the parent itself is ours.
left_cgroups() {
    find /sys/fs/cgroup \( -fstype cgroup -o -fstype cgroup2 \) -type d -path "*/$tag/*" 2>/dev/null
}

# Mount points below a directory.
left_mounts() {
    awk -v dir="$1" '$5 == dir || index($5, dir "/") == 1 { print $5 }' /proc/self/mountinfo
}

# Processes whose command line matches the extended regular expression. Inside our pid namespace all are the client's.
left_processes() {
    local pid
    for pid in /proc/[0-9]*; do
        { tr '\0' ' ' <"$pid/cmdline"; } 2>/dev/null | grep -E -- "$1" | sed "s|^|${pid#/proc/} |"
    done
}

remove_cgroups() {
    # A monitor of the client's may be on its way out.
    for _ in $(seq 20); do
        find /sys/fs/cgroup -depth \( -fstype cgroup -o -fstype cgroup2 \) -type d \
            \( -path "*/$tag" -o -path "*/$tag/*" \) -exec rmdir {} \; 2>/dev/null
        [ -n "$(find /sys/fs/cgroup \( -fstype cgroup -o -fstype cgroup2 \) -type d -name "$tag" 2>/dev/null)" ] || return 0
        sleep 0.1
    done
}

umount_below() {
    local point
    while read -r point; do
        umount -l "$point" 2>/dev/null
    done < <(left_mounts "$1" | tac)
}
