# Docker as its host has it: dockerd by its own unit, cgroups by systemd's driver, docker-default of AppArmor.
. "$(dirname "$0")/begin.sh"
tear_down() {
    timeout 60 /usr/bin/docker rm -f $(timeout 30 /usr/bin/docker ps -aq) >/dev/null 2>&1
    systemctl stop docker.socket docker containerd >/dev/null 2>&1
    rm -rf --one-file-system "$work" /etc/docker/daemon.json
}
trap tear_down EXIT
docker() { timeout -k 5 180 /usr/bin/docker "$@"; }
inspect() { docker inspect -f "$1" "$2" 2>&1; }
# daemon DRIVER: dockerd with that cgroup driver and the runtime under test for every container.
daemon() {
    mkdir -p /etc/docker
    jq -n --arg path "$RUNTIME" --arg driver "$1" \
        '{"default-runtime": "tested", runtimes: {tested: {path: $path}}, "exec-opts": ["native.cgroupdriver=" + $driver]}' \
        >/etc/docker/daemon.json
    systemctl restart docker
    within 60 docker version
}
limits='cd /sys/fs/cgroup; cat memory.max pids.max cpu.max 2>/dev/null ||
    cat memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us'
case $cgroups in v2) wanted="67108864 33 50000 100000" version=2 ;; *) wanted="67108864 33 50000" version=1 ;; esac
apparmor=$(grep -c Y /sys/module/apparmor/parameters/enabled 2>/dev/null)

daemon systemd
same "docker info: cgroup driver and version" "systemd $version tested" "$(docker info --format '{{.CgroupDriver}} {{.CgroupVersion}} {{.DefaultRuntime}}' 2>&1)"
busybox_root "$work/root"
succeeds "docker import" sh -c "tar -C $work/root -c . | /usr/bin/docker import --change 'ENV PATH=/usr/bin:/bin' - busybox"
same "docker run: memory, pids and cpu limits" "$wanted" "$(docker run --rm --memory 64m --pids-limit 33 --cpus 0.5 busybox sh -c "$limits" 2>&1 | xargs)"
ends "docker run: the program's exit status" 7 docker run --rm busybox sh -c 'exit 7'
ends "docker run: a missing program" 127 docker run --rm busybox /no/such
ends "docker run: not executable" 126 docker run --rm busybox /etc/passwd
ends "docker run: memory that runs out" 137 docker run --rm --memory 32m --memory-swap 32m busybox dd if=/dev/zero of=/dev/null bs=100M count=1

succeeds "docker run -d" docker run -d --name held --memory 64m --cpus 0.5 busybox sh -c 'echo begun; trap "exit 3" TERM; while :; do sleep 0.2; done'
id=$(inspect '{{.Id}}' held)
unit=docker-$id.scope
[ $cgroups = v2 ] && memory=MemoryMax || memory=MemoryLimit
same "docker run -d: its unit" "active system.slice" "$(systemctl is-active "$unit") $(systemctl show "$unit" -p Slice --value)"
same "docker run -d: the unit's limits" "67108864 500ms" "$(systemctl show "$unit" -p $memory --value) $(systemctl show "$unit" -p CPUQuotaPerSecUSec --value)"
if [ "$apparmor" = 1 ]; then
    same "docker run -d: AppArmor's profile" "docker-default (enforce)" "$(cat "/proc/$(inspect '{{.State.Pid}}' held)/attr/current")"
    same "docker exec: AppArmor's profile" "docker-default (enforce)" "$(docker exec held cat /proc/self/attr/current 2>&1)"
    has "docker run: AppArmor denies what capabilities allow" 'Permission denied' \
        "$(docker run --rm --cap-add SYS_ADMIN --security-opt seccomp=unconfined busybox mount -t tmpfs none /tmp 2>&1)"
    same "docker run: apparmor=unconfined lets it" "" \
        "$(docker run --rm --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined busybox mount -t tmpfs none /tmp 2>&1)"
else
    skip "docker run -d: AppArmor's profile" "no AppArmor"
fi
same "docker exec: the exit status" 5 "$(docker exec held sh -c 'exit 5'; echo $?)"
has "docker stats: the limit" '/ 64MiB' "$(docker stats --no-stream --format '{{.MemUsage}}' held 2>&1)"
succeeds "docker update: memory and cpus" docker update --memory 96m --memory-swap 192m --cpus 0.25 held
same "docker update: the unit's limits" "100663296 250ms" "$(systemctl show "$unit" -p $memory --value) $(systemctl show "$unit" -p CPUQuotaPerSecUSec --value)"
systemctl daemon-reload
same "systemctl daemon-reload: the limit stays" 100663296 "$(docker exec held sh -c "$limits" 2>&1 | head -n 1)"
ends "docker exec: devices stay forbidden" 1 docker exec held sh -c 'mknod /x c 1 11 && : </x'
succeeds "docker pause" docker pause held
same "docker pause: docker says so" paused "$(inspect '{{.State.Status}}' held)"
succeeds "docker unpause" docker unpause held
succeeds "docker stop" docker stop -t 60 held
same "docker stop: the program's status" 3 "$(inspect '{{.State.ExitCode}}' held)"
within 15 eval '[ "$(systemctl show "$unit" -p LoadState --value)" = not-found ]'
same "docker stop: the unit is gone" not-found "$(systemctl show "$unit" -p LoadState --value)"
succeeds "docker start: again" docker start held
succeeds "docker rm -f" docker rm -f held
same "docker run --privileged: all capabilities, no profile" "unconfined" \
    "$(docker run --rm --privileged busybox sh -c 'cat /proc/self/attr/current 2>/dev/null || echo unconfined' 2>&1)"
same "docker run --cgroup-parent: in that slice" "active
held.slice" \
    "$(docker run -d --rm --name sliced --cgroup-parent held.slice busybox sleep 100 >"$work/id" 2>&1; systemctl is-active "docker-$(cat "$work/id").scope"; systemctl show "docker-$(cat "$work/id").scope" -p Slice --value)"
docker rm -f sliced >/dev/null 2>&1
if [ $cgroups = v2 ]; then
    same "docker run --cgroupns host: the whole tree" there "$(docker run --rm --cgroupns host busybox sh -c 'test -d /sys/fs/cgroup/system.slice && echo there' 2>&1)"
fi

daemon cgroupfs
same "docker info: the other driver" cgroupfs "$(docker info --format '{{.CgroupDriver}}' 2>&1)"
same "docker run, cgroupfs: memory, pids and cpu limits" "$wanted" "$(docker run --rm --memory 64m --pids-limit 33 --cpus 0.5 busybox sh -c "$limits" 2>&1 | xargs)"
left() { systemctl list-units --all --no-legend 'docker-*.scope' | xargs; find /sys/fs/cgroup -type d -path '*docker*' -name '[0-9a-f]*' | grep -E '[0-9a-f]{64}'; }
within 15 eval '[ -z "$(left)" ]'
same "docker: no unit and no cgroup is left" "" "$(left)"
same "docker: no state of the runtime is left" "" "$(find /run/docker/runtime-*/moby -mindepth 1 -maxdepth 1 2>/dev/null)"
closing
