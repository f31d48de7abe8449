# limits.sh, sourced: limits given to docker run: in the cgroup files, and felt by the program.

docker run -d --name limited --memory 64m --memory-swap 96m --memory-reservation 32m --cpus 0.5 --cpu-shares 256 \
    --cpuset-cpus 0 --cpuset-mems 0 --pids-limit 40 --oom-score-adj 500 --ulimit nofile=512:1024 --ulimit core=0 \
    $image sleep 1000 >"$work/limited" 2>&1
same "docker run: with all limits" running "$(inspect limited '{{.State.Status}}')"
same "docker run --memory: the cgroup's limit" 67108864 "$(cgroup limited memory memory.limit_in_bytes memory.max)"
same "docker run --memory-swap: the cgroup's limit" "$(v2 && echo 33554432 || echo 100663296)" \
    "$(cgroup limited memory memory.memsw.limit_in_bytes memory.swap.max)"
same "docker run --memory-reservation: the cgroup's value" 33554432 "$(cgroup limited memory memory.soft_limit_in_bytes memory.low)"
same "docker run --cpus: the cgroup's quota" "$(v2 && echo 50000 100000 || echo 50000)" "$(cgroup limited cpu cpu.cfs_quota_us cpu.max)"
same "docker run --cpu-shares: the cgroup's value" "$(v2 && echo 10 || echo 256)" "$(cgroup limited cpu cpu.shares cpu.weight)"
same "docker run --cpuset-cpus: the program sees one" 1 "$(docker exec limited nproc)"
has "docker run --cpuset-mems: the program may use" '^Mems_allowed_list:.0$' "$(docker exec limited cat /proc/1/status)"
same "docker run --pids-limit: the cgroup's limit" 40 "$(cgroup limited pids pids.max)"
same "docker run --oom-score-adj: the program's" 500 "$(docker exec limited cat /proc/1/oom_score_adj)"
has "docker run --ulimit nofile: soft and hard" '^Max open files +512 +1024 ' "$(docker exec limited cat /proc/1/limits)"
has "docker run --ulimit core: none" '^Max core file size +0 +0 ' "$(docker exec limited cat /proc/1/limits)"
has "docker exec: the container's ulimits" '^Max open files +512 +1024 ' "$(docker exec limited cat /proc/self/limits)"
same "docker exec: the container's OOM score" 500 "$(docker exec limited cat /proc/self/oom_score_adj)"
remove limited

output=$(run --pids-limit 12 $image sh -c 'i=0; while [ $i -lt 30 ]; do sleep 2 & i=$((i+1)); done; echo all' 2>&1)
has "docker run --pids-limit: a fork is refused" "can't fork" "$output"
# `times` ends with what the children spent.
output=$(run --cpus 0.3 $image sh -c 'timeout 2 sh -c "while :; do :; done"; times' 2>/dev/null)
has "docker run --cpus: a program that is busy for two seconds is held back" '^0m0\.[0-9]+s 0m0\.[0-9]+s$' "$(tail -n 1 <<<"$output")"
docker run -d --name unlimited $image sleep 1000 >/dev/null
same "docker run: without limits no pids limit" max "$(cgroup unlimited pids pids.max)"
remove unlimited

if v2 || [ -e /sys/fs/cgroup/blkio/blkio.weight ] || [ -e /sys/fs/cgroup/blkio/blkio.bfq.weight ]; then
    succeeds "docker run --blkio-weight: it runs" run --blkio-weight 300 $image true
else
    output=$(run --blkio-weight 300 $image echo ran 2>&1)
    has "docker run --blkio-weight: dropped by the daemon where the host has none" '^ran$' "$output"
fi
disk=$(lsblk -dno PATH 2>/dev/null | head -n 1)
if [ -b "$disk" ] && ! v2 && [ -e /sys/fs/cgroup/blkio/blkio.throttle.read_bps_device ]; then
    docker run -d --name throttled --device-read-bps "$disk:1mb" --device-write-iops "$disk:100" $image sleep 1000 >"$work/throttled" 2>&1
    number=$(printf '%d:%d' "0x$(stat -c %t "$disk")" "0x$(stat -c %T "$disk")")
    same "docker run --device-read-bps: the cgroup's value" "$number 1048576" "$(cgroup throttled blkio blkio.throttle.read_bps_device)"
    same "docker run --device-write-iops: the cgroup's value" "$number 100" "$(cgroup throttled blkio blkio.throttle.write_iops_device)"
    remove throttled
else
    skip "docker run --device-read-bps: the cgroup's value" "no disk or no throttling"
fi
if v2; then
    skip "docker run --oom-kill-disable: the cgroup's value" "cgroup v1 only"
else
    docker run -d --name unkilled --memory 20m --oom-kill-disable $image sleep 1000 >/dev/null 2>&1
    has "docker run --oom-kill-disable: the cgroup's value" '^oom_kill_disable 1$' "$(cgroup unkilled memory memory.oom_control)"
    remove unkilled
    docker run -d --name calm --memory 20m --memory-swappiness 10 --kernel-memory 0 $image sleep 1000 >/dev/null 2>&1 || remove calm
    docker inspect calm >/dev/null 2>&1 || docker run -d --name calm --memory 20m --memory-swappiness 10 $image sleep 1000 >/dev/null 2>&1
    same "docker run --memory-swappiness: the cgroup's value" 10 "$(cgroup calm memory memory.swappiness)"
    remove calm
fi
output=$(run --cgroup-parent "/$tag/below" $image cat /proc/self/cgroup)
has "docker run --cgroup-parent: another parent" "^[0-9]+:pids:/$tag/below/[0-9a-f]{64}\$|^0::/\$" "$output"
find /sys/fs/cgroup -depth -type d -path "*/$tag/below" -exec rmdir {} + 2>/dev/null
