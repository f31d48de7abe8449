# remap.sh, sourced: a second dockerd with --userns-remap: every container in a user namespace of its own.

grep -q '^orlopmap:' /etc/passwd || {
    # Our own view of the files: the mount namespace is ours alone.
    for file in passwd group subuid subgid; do
        cp "/etc/$file" "$work/$file" 2>/dev/null || : >"$work/$file"
        [ -e "/etc/$file" ] || touch "/etc/$file"
    done
    echo 'orlopmap:x:4711:4711::/nonexistent:/bin/false' >>"$work/passwd"
    echo 'orlopmap:x:4711:' >>"$work/group"
    echo 'orlopmap:700000:65536' >>"$work/subuid"
    echo 'orlopmap:700000:65536' >>"$work/subgid"
    for file in passwd group subuid subgid; do mount --bind "$work/$file" "/etc/$file"; done
}
# The remapped root must be able to reach its files.
chmod 755 "$work"
stop_dockerd
start_dockerd --userns-remap orlopmap || not_ok "dockerd --userns-remap: it starts" "$(tail "$work/dockerd.log")"
succeeds "dockerd --userns-remap: an image is imported" import_busybox
ends "dockerd --userns-remap: a container runs" 0 run $image cat /proc/self/uid_map
has "dockerd --userns-remap: its user namespace" '^ +0 +700000 +65536$' "$output"
docker run -d --name mapped --memory 64m --pids-limit 20 -p 127.0.0.1:18099:80 -v kept:/data $image sh -c 'id -u; touch /data/x; exec sleep 1000' >/dev/null 2>&1
within 15 logged mapped '^0$'
same "dockerd --userns-remap: root inside" 0 "$(docker logs mapped 2>&1)"
same "dockerd --userns-remap: not root outside" 700000 "$(stat -c %u "/proc/$(inspect mapped '{{.State.Pid}}')" 2>&1)"
same "dockerd --userns-remap: a limit" 67108864 "$(cgroup mapped memory memory.limit_in_bytes memory.max)"
same "dockerd --userns-remap: exec" "0 /" "$(docker exec mapped sh -c 'echo $(id -u) $(pwd)' 2>&1)"
same "dockerd --userns-remap: exec of a user" 1000 "$(docker exec --user keeper mapped id -u 2>&1)"
has "dockerd --userns-remap: devices" '^/dev/null 1:3$' "$(docker exec mapped stat -c '%n %t:%T' /dev/null 2>&1)"
same "dockerd --userns-remap: a volume's files belong to the mapped root" 700000 \
    "$(stat -c %u "$(docker volume inspect -f '{{.Mountpoint}}' kept)/x" 2>&1)"
has "dockerd --userns-remap: a terminal" '^/dev/pts/0$' "$(run -t $image tty | tr -d '\r')"
same "dockerd --userns-remap: a sysctl of the network" 1 "$(run --sysctl net.ipv4.ip_forward=1 $image cat /proc/sys/net/ipv4/ip_forward 2>&1)"
ends "dockerd --userns-remap: the exit status" 7 run $image sh -c 'exit 7'
ends "dockerd --userns-remap: a missing binary" 127 run $image no-such-binary
same "docker run --userns=host: not remapped" "0 4294967295" "$(run --userns host $image sh -c 'read a b c </proc/self/uid_map; echo $b $c' 2>&1)"
ends "dockerd --userns-remap: --privileged is refused by the daemon" 125 run --privileged $image true
remove mapped
docker volume rm kept >/dev/null 2>&1
stop_dockerd
start_dockerd || not_ok "dockerd: it starts without --userns-remap" "$(tail "$work/dockerd.log")"
