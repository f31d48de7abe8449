# containerd by its own unit; ctr with the runtime under test, by cgroupfs and by --runc-systemd-cgroup.
. "$(dirname "$0")/begin.sh"
tear_down() {
    local id
    for id in $(timeout 20 /usr/bin/ctr c ls -q); do
        timeout 20 /usr/bin/ctr task kill -s KILL "$id"
        timeout 20 /usr/bin/ctr task delete -f "$id"
        timeout 20 /usr/bin/ctr c delete "$id"
    done >/dev/null 2>&1
    systemctl stop containerd >/dev/null 2>&1
    rm -rf --one-file-system "$work"
}
trap tear_down EXIT
ctr() { timeout -k 5 120 /usr/bin/ctr "$@"; }
limits='cd /sys/fs/cgroup; cat memory.max 2>/dev/null || cat memory/memory.limit_in_bytes'
systemctl start containerd
within 60 ctr version
busybox_root "$work/root"
tar -C "$work/root" -cf "$work/layer.tar" .
oci_image "$work/layer.tar" "$work/image" busybox --config.cmd /bin/sh >"$work/umoci.log" 2>&1
tar -C "$work/image" -cf "$work/image.tar" .
succeeds "ctr: the image is imported" ctr images import --base-name docker.io/local/busybox "$work/image.tar"
image=docker.io/local/busybox:busybox
for driver in cgroupfs systemd; do
    id=$driver-one unit=ctr-$id.scope
    options=(--runc-binary "$RUNTIME" --memory-limit 67108864 --cgroup "/ctr/$id")
    [ $driver = cgroupfs ] || options=(--runc-binary "$RUNTIME" --memory-limit 67108864 --runc-systemd-cgroup --cgroup "system.slice:ctr:$id")
    # The mount of cgroups is not in ctr's own config.
    mount=(--mount type=bind,src=/sys/fs/cgroup,dst=/sys/fs/cgroup,options=rbind:ro)
    ends "ctr run, $driver: the program's exit status" 7 ctr run --rm "${options[@]}" $image $id sh -c 'exit 7'
    succeeds "ctr run -d, $driver" ctr run -d "${options[@]}" "${mount[@]}" $image $id sh -c 'trap "exit 3" TERM; while :; do sleep 0.2; done'
    pid=$(ctr task ls | awk -v id=$id '$1 == id { print $2 }')
    case $cgroups in
    v2) file=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$pid/cgroup")/memory.max ;;
    *) file=/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' "/proc/$pid/cgroup")/memory.limit_in_bytes ;;
    esac
    same "ctr run -d, $driver: the memory limit" 67108864 "$(cat "$file")"
    [ $driver = cgroupfs ] || same "ctr run -d, $driver: its unit" active "$(systemctl is-active $unit)"
    same "ctr task exec, $driver: the exit status" 5 "$(ctr task exec --exec-id e1 $id sh -c 'exit 5' >/dev/null 2>&1; echo $?)"
    has "ctr task metrics, $driver: memory" '^memory\.usage(_in_bytes)?|^memory\.usage' "$(ctr task metrics $id 2>&1 | sed 's/^ *//')"
    succeeds "ctr task pause, $driver" ctr task pause $id
    has "ctr task ls, $driver: paused" "$id +[0-9]+ +PAUSED" "$(ctr task ls)"
    succeeds "ctr task resume, $driver" ctr task resume $id
    succeeds "ctr task kill, $driver" ctr task kill -s TERM $id
    within 30 sh -c "/usr/bin/ctr task ls | grep -q '$id .*STOPPED'"
    succeeds "ctr task delete, $driver" ctr task delete $id
    succeeds "ctr c delete, $driver" ctr c delete $id
    [ $driver = cgroupfs ] || within 15 sh -c "! systemctl is-active -q $unit"
    same "ctr, $driver: no cgroup is left" "" "$(find /sys/fs/cgroup -type d \( -path "/ctr/*" -o -name "$unit" \) 2>/dev/null)"
done
same "ctr: no state of the runtime is left" "" "$(find /run/containerd/runc -mindepth 2 -maxdepth 2 2>/dev/null)"
closing
