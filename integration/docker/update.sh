# update.sh, sourced: docker update, read back from the cgroup files of the running container.

docker run -d --name changing --memory 64m --memory-swap 128m --cpus 1 --pids-limit 50 $image sleep 1000 >/dev/null
succeeds "docker update: memory and swap" docker update --memory 80m --memory-swap 200m changing
same "docker update --memory: the cgroup's limit" 83886080 "$(cgroup changing memory memory.limit_in_bytes memory.max)"
if v2; then
    same "docker update --memory-swap: the cgroup's limit" 125829120 "$(cgroup changing memory - memory.swap.max)"
else
    same "docker update --memory-swap: the cgroup's limit" 209715200 "$(cgroup changing memory memory.memsw.limit_in_bytes)"
fi
# v1 wants memory raised after swap and lowered before it.
succeeds "docker update: both raised beyond the old swap limit" docker update --memory 300m --memory-swap 400m changing
same "docker update --memory: raised" 314572800 "$(cgroup changing memory memory.limit_in_bytes memory.max)"
succeeds "docker update: both lowered below the old memory limit" docker update --memory 50m --memory-swap 60m changing
same "docker update --memory: lowered" 52428800 "$(cgroup changing memory memory.limit_in_bytes memory.max)"
succeeds "docker update --memory-reservation: it returns" docker update --memory-reservation 40m changing
same "docker update --memory-reservation: the cgroup's value" 41943040 "$(cgroup changing memory memory.soft_limit_in_bytes memory.low)"
succeeds "docker update --cpus: it returns" docker update --cpus 0.5 changing
if v2; then
    same "docker update --cpus: the cgroup's quota" "50000 100000" "$(cgroup changing cpu - cpu.max)"
else
    same "docker update --cpus: the cgroup's quota" 50000 "$(cgroup changing cpu cpu.cfs_quota_us)"
    same "docker update --cpus: the cgroup's period" 100000 "$(cgroup changing cpu cpu.cfs_period_us)"
fi
succeeds "docker update --cpu-shares: it returns" docker update --cpu-shares 512 changing
same "docker update --cpu-shares: the cgroup's value" "$(v2 && echo 20 || echo 512)" "$(cgroup changing cpu cpu.shares cpu.weight)"
succeeds "docker update --cpuset-cpus: it returns" docker update --cpuset-cpus 0 changing
same "docker update --cpuset-cpus: the cgroup's value" 0 "$(cgroup changing cpuset cpuset.cpus)"
succeeds "docker update --pids-limit: it returns" docker update --pids-limit 33 changing
same "docker update --pids-limit: the cgroup's limit" 33 "$(cgroup changing pids pids.max)"
succeeds "docker update --pids-limit: none" docker update --pids-limit -1 changing
same "docker update --pids-limit: the cgroup without limit" max "$(cgroup changing pids pids.max)"
same "docker update: what was not named stays" "52428800 512" \
    "$(cgroup changing memory memory.limit_in_bytes memory.max) $(v2 && echo 512 || cgroup changing cpu cpu.shares)"
succeeds "docker update --restart: it returns" docker update --restart on-failure:3 changing
same "docker update --restart: the policy" "on-failure 3" \
    "$(inspect changing '{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}')"
ends "docker update: memory above swap is refused" 1 docker update --memory 1g changing
has "docker update: the refusal says so" 'emory limit should be smaller than already set memoryswap limit' "$output"
ends "docker update: a memory limit above what is used" 0 docker update --memory 45m changing
same "docker update: the container still runs" running "$(inspect changing '{{.State.Status}}')"
same "docker update: devices stay open to the container" 4 "$(docker exec changing sh -c 'head -c 4 /dev/zero | wc -c')"
docker exec changing sh -c 'dd if=/dev/zero of=/dev/shm/used bs=1M count=30 2>/dev/null'
ends "docker update: a memory limit far below what is used" 1 docker update --memory 6m --memory-swap 6m changing
echo "# sentence | update: memory below what is used | $output"
has "docker update: the failure says why" 'device or resource busy|memory' "$output"
remove changing
