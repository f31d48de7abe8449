# Rootful Podman as its host has it: systemd makes the cgroups (and once cgroupfs), AppArmor's profile is loaded, networks
# are netavark's.
. "$(dirname "$0")/begin.sh"
tear_down() {
    timeout 60 /usr/bin/podman rm -fa -t 0 >/dev/null 2>&1
    timeout 60 /usr/bin/podman pod rm -fa -t 0 >/dev/null 2>&1
    umount /etc/containers/containers.conf
    rm -rf --one-file-system "$work"
}
trap tear_down EXIT
sed "s|\"/usr/local/bin/orlop\", \"/usr/bin/orlop\"|\"$RUNTIME\"|; s|^orlop = |$runtime = |; s|\"orlop\"|\"$runtime\"|; s|\"cgroupfs\"|\"systemd\"|" \
    "$here/../../podman/containers.conf" | sed 's|^\[engine\]$|[engine]\nevents_logger = "file"|' >"$work/containers.conf"
# Where systemd's timers of health checks find it too.
mount --bind "$work/containers.conf" /etc/containers/containers.conf
image=localhost/busybox
podman() { timeout -k 5 180 /usr/bin/podman "$@"; }
inspect() { podman inspect --format "$1" "$2" 2>&1; }
# limits: a script that prints memory, pids and cpu limits of its own cgroup, whatever the version.
limits='cd /sys/fs/cgroup; cat memory.max pids.max cpu.max 2>/dev/null ||
    cat memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us'
case $cgroups in v2) wanted="67108864 33 50000 100000" ;; *) wanted="67108864 33 50000" ;; esac

busybox_root "$work/root"
tar -C "$work/root" -cf "$work/image.tar" .
succeeds "podman: the image is imported" podman import --quiet --change 'CMD ["/bin/sh"]' "$work/image.tar" $image
has "podman info: the runtime, its cgroups" "^$runtime systemd" "$(podman info --format '{{.Host.OCIRuntime.Name}} {{.Host.CgroupManager}}' 2>&1)"
for manager in systemd cgroupfs; do
    same "podman run, $manager: memory, pids and cpu limits" "$wanted" \
        "$(podman --cgroup-manager $manager run --rm --network none --memory 64m --pids-limit 33 --cpus 0.5 $image sh -c "$limits" 2>&1 | xargs)"
done
ends "podman run: the program's exit status" 7 podman run --rm --network none $image sh -c 'exit 7'
ends "podman run: memory that runs out" 137 podman run --rm --network none --memory 32m --memory-swap 32m $image dd if=/dev/zero of=/dev/null bs=100M count=1

succeeds "podman run -d: with a network" podman run -d --name held --memory 64m $image sh -c 'echo begun; trap "exit 3" TERM; while :; do sleep 0.2; done'
id=$(inspect '{{.Id}}' held)
unit=libpod-$id.scope
same "podman run -d: its unit" active "$(systemctl is-active "$unit")"
[ $cgroups = v2 ] && memory=MemoryMax || memory=MemoryLimit
same "podman run -d: the unit's memory limit" 67108864 "$(systemctl show "$unit" -p $memory --value)"
if [ -e /sys/module/apparmor/parameters/enabled ] && grep -q Y /sys/module/apparmor/parameters/enabled; then
    has "podman run -d: AppArmor's profile" '^containers-default-.*\(enforce\)' "$(cat "/proc/$(inspect '{{.State.Pid}}' held)/attr/current")"
    has "podman exec: AppArmor's profile" '^containers-default-.*\(enforce\)' "$(podman exec held cat /proc/self/attr/current 2>&1)"
else
    skip "podman run -d: AppArmor's profile" "no AppArmor"
fi
has "podman exec: the network" 'eth0' "$(podman exec held ls /sys/class/net 2>&1)"
same "podman exec: the exit status" 5 "$(podman exec held sh -c 'exit 5'; echo $?)"
has "podman exec: the container's cgroup" "$id" "$(podman exec -d held sleep 77 && pid=$(pgrep -f '^sleep 77') && cat "/proc/$pid/cgroup")"
has "podman stats: memory and its limit" '/ 67\.11MB' "$(podman stats --no-stream --format '{{.MemUsage}}' held 2>&1)"
has "podman logs: the output" '^begun$' "$(podman logs held 2>&1)"
systemctl daemon-reload
same "systemctl daemon-reload: the limit stays" 67108864 "$(podman exec held sh -c "$limits" 2>&1 | head -n 1)"
succeeds "podman pause: it pauses" podman pause held
same "podman pause: podman says paused" paused "$(inspect '{{.State.Status}}' held)"
succeeds "podman unpause: it goes on" podman unpause held
succeeds "podman stop: TERM is enough" podman stop -t 30 held
same "podman stop: the program's status" 3 "$(inspect '{{.State.ExitCode}}' held)"
within 15 eval '[ "$(systemctl show "$unit" -p LoadState --value)" = not-found ]'
same "podman stop: the unit is gone" not-found "$(systemctl show "$unit" -p LoadState --value)"
succeeds "podman rm" podman rm held

succeeds "podman run --health-cmd: it begins" podman run -d --network none --name well --health-cmd 'test -e /well' --health-interval 2s --health-retries 1 $image sh -c 'sleep 1; touch /well; sleep 300'
well() { [ "$(podman inspect --format '{{.State.Health.Status}}' well 2>/dev/null || podman inspect --format '{{.State.Healthcheck.Status}}' well)" = healthy ]; }
within 60 well
well
same "podman run --health-cmd: systemd's timer finds it healthy" 0 $?
podman rm -f -t 0 well >/dev/null 2>&1

succeeds "podman pod create" podman pod create --name crew --infra-image $image --infra-command 'sleep 1000' --network none
succeeds "podman run --pod: the first" podman run -d --pod crew --name one $image sleep 500
succeeds "podman run --pod: the second" podman run -d --pod crew --name two $image sleep 500
same "podman run --pod: one ipc namespace" "$(podman exec one readlink /proc/self/ns/ipc)" "$(podman exec two readlink /proc/self/ns/ipc)"
has "podman run --pod: in the pod's slice" 'machine-libpod_pod_.*\.slice' "$(cat "/proc/$(inspect '{{.State.Pid}}' one)/cgroup")"
succeeds "podman pod rm -f" podman pod rm -f -t 0 crew

has "podman run --userns=auto: the mapping" '^ *0 +[1-9][0-9]+ +1000$' "$(podman run --rm --network none --userns=auto:size=1000 $image cat /proc/self/uid_map 2>&1)"
same "podman run --userns=auto: root owns its files" "0 0" "$(podman run --rm --network none --userns=auto:size=1000 $image sh -c 'stat -c "%u %g" /bin/busybox; touch /x' 2>&1 | xargs)"
ends "podman run: a missing program" 127 podman run --rm --network none $image /no/such
ends "podman run: not executable" 126 podman run --rm --network none $image /etc/passwd
if [ $runtime != runc ]; then
    same "podman run --cgroups=disabled" ok "$(podman run --rm --network none --cgroups=disabled $image echo ok 2>&1)"
fi
tear_down_units() { systemctl list-units --all --no-legend 'libpod-*' | grep -v 'machine.slice\|conmon' | xargs; }
within 15 eval '[ -z "$(tear_down_units)" ]'
same "podman: no unit is left" "" "$(tear_down_units)"
same "podman: no state of the runtime is left" "" "$(ls "/run/$runtime" 2>/dev/null)"
closing
