# What dockerd writes: seccomp, limits, masked paths, every namespace, bind mounted files, sysctls, a prestart hook.
"$top/hack/need.sh" busybox-static libc6-dev
rootfs=$work/docker-root
mkdir -p "$rootfs"/{bin,dev,etc,proc,root,sys,tmp} "$work/files"
cp "$(command -v busybox)" "$rootfs/bin/busybox"
for applet in $(busybox --list); do [ "$applet" = busybox ] || ln -sf busybox "$rootfs/bin/$applet"; done
for name in resolv.conf hostname hosts; do echo "from outside: $name" >"$work/files/$name"; done

bundle docker --like docker --files "$work/files" --hook "cat >$work/hook" "$rootfs" -- sh -c '
    trap "echo the end" EXIT
    grep -E "^(CapEff|Seccomp|NoNewPrivs):" /proc/self/status
    cat /etc/hosts
    echo "kcore $(head -c 1 /proc/kcore | wc -c) firmware $(ls /sys/firmware | wc -l)"
    echo 1 >/proc/sys/kernel/hostname && echo sys-writable
    echo "port $(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)"
    mount -t tmpfs none /tmp && echo mounted
    unshare -m true && echo unshared
    chown 5:5 /tmp && echo chowned
    mknod /tmp/null c 1 3 && echo x >/tmp/null && echo null-usable
    mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem && echo mem-readable
    rm -f /tmp/null /tmp/mem
    cat /proc/self/cgroup
    df -P /dev/shm | tail -n 1
    ip link show lo
    i=0; while [ $i -lt 100 ]; do sleep 5 & i=$((i + 1)); done'
run "$work/docker"
has "docker: the program runs to its end" '^the end$' "$output"
has "docker: its 14 capabilities" '^CapEff:.00000000a80425fb$' "$output"
has "docker: a filter is loaded" '^Seccomp:.2$' "$output"
has "docker: privileges may still be gained" '^NoNewPrivs:.0$' "$output"
has "docker: a file is bind mounted" '^from outside: hosts$' "$output"
has "docker: masked paths" '^kcore 0 firmware 0$' "$output"
lacks "docker: /proc/sys cannot be written" 'sys-writable' "$output"
has "docker: sysctl" '^port 0$' "$output"
lacks "docker: mount and unshare are filtered" '^(mounted|unshared)$' "$output"
has "docker: chown is allowed" '^chowned$' "$output"
has "docker: device rules allow null" 'null-usable' "$output"
lacks "docker: device rules deny mem" 'mem-readable' "$output"
has "docker: own cgroup namespace" '^[0-9]+:[^:]*:/$' "$output"
has "docker: /dev/shm" '^shm .* /dev/shm$' "$output"
has "docker: loopback is up" '^1: lo:.*UP' "$output"
has "docker: pids limit" "can't fork" "$output"
has "docker: the hook got the state" '"id": ?"bundles-' "$(cat "$work/hook" 2>&1)"

bundle limits --like docker --files "$work/files" "$rootfs" -- sleep 1000
create "$work/limits"
if [ $status = 0 ]; then
    ok "docker: create"
    find /sys/fs/cgroup -path "*$id*" -name 'memory.limit_in_bytes' -o -path "*$id*" -name memory.max >"$work/found"
    if [ -s "$work/found" ]; then
        same "docker: memory limit" 536870912 "$(cat "$(head -n 1 "$work/found")")"
    else
        skip "docker: memory limit" "no memory controller"
    fi
    rt delete --force "$id" && same "docker: delete --force leaves no cgroup" "" "$(left_cgroups | grep "$id\$")"
else
    not_ok "docker: create" "$(cat "$work/out")"
fi
