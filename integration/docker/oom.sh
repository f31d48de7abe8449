# oom.sh, sourced: a program that is killed because it takes more memory than it may.

# A tmpfs file would only stay unwritten; tail keeps an endless line in memory.
docker run --name greedy --memory 24m --memory-swap 24m $image sh -c 'exec tail /dev/zero' >"$work/greedy" 2>&1
same "docker run: a program beyond its memory limit is killed" 137 $?
remove greedy
# The shim watches only when the program runs already, and tells of it a moment later: thrice, and time to tell.
since=$(date +%s)
docker run --name greedy --memory 24m --memory-swap 24m $image \
    sh -c 'for i in 1 2 3; do tail /dev/zero; code=$?; sleep 1; done; exit $code' >"$work/greedy" 2>&1
same "docker inspect: OOMKilled" "true 137" "$(inspect greedy '{{.State.OOMKilled}} {{.State.ExitCode}}')"
happened() { docker events --since "$since" --until "$(date +%s.%N)" --filter container=greedy --format '{{.Action}}'; }
within 10 eval 'happened | grep -qx oom'
has "docker events: oom" '^oom$' "$(happened)"
remove greedy
docker run -d --name partly --memory 24m --memory-swap 24m $image sh -c 'tail /dev/zero; echo child $?; sleep 1000' >/dev/null
within 20 logged partly '^child'
has "docker run: only the greedy child is killed" '^child 137$' "$(docker logs partly 2>&1)"
same "docker inspect: the container runs on" "running" "$(inspect partly '{{.State.Status}}')"
remove partly
