# life.sh, sourced: the life of a container: create, start, stop, kill, pause, restart, rename, wait, top, stats, events.

since=$(date +%s)
succeeds "docker create: it returns the id" docker create --name life $image sh -c 'trap "echo asked; exit 22" TERM; echo up; while :; do sleep 0.1; done'
same "docker inspect: State of a created container" "created 0 0" "$(inspect life '{{.State.Status}} {{.State.Pid}} {{.State.ExitCode}}')"
succeeds "docker start: it returns the name" docker start life
same "docker inspect: State of a running container" "running true" "$(inspect life '{{.State.Status}} {{.State.Running}}')"
pid=$(inspect life '{{.State.Pid}}')
has "docker inspect: State.Pid is the program" '^sh -c trap' "$(tr '\0' ' ' <"/proc/$pid/cmdline")"
has "docker top: the program" 'sh -c trap' "$(docker top life)"
has "docker top: with options for ps" "^ *$pid " "$(docker top life -o pid,comm)"
has "docker ps: it is listed as up" 'Up ' "$(docker ps --filter name=life --format '{{.Status}}')"
ends "docker start: of a running container changes nothing" 0 docker start life
same "docker start: the pid is the same" "$pid" "$(inspect life '{{.State.Pid}}')"
within 15 logged life up
began=$(date +%s%N)
succeeds "docker stop: SIGTERM first" docker stop --time 20 life
took=$((($(date +%s%N) - began) / 1000000))
same "docker stop: a program that obeys does not wait for the time" yes "$([ $took -lt 5000 ] && echo yes || echo "$took ms")"
same "docker inspect: State after stop" "exited 22 0" "$(inspect life '{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}')"
has "docker logs: the program was asked" '^asked$' "$(docker logs life)"
succeeds "docker start: again after stop" docker start life
old=$(inspect life '{{.State.Pid}}')
within 15 logged life 'up'
succeeds "docker restart: of a running container" docker restart life
same "docker restart: another process runs" yes "$([ "$(inspect life '{{.State.Pid}}')" != "$old" ] && is life '{{.State.Running}}' true && echo yes)"
succeeds "docker rename: while it runs" docker rename life renamed
same "docker rename: found under the new name" running "$(inspect renamed '{{.State.Status}}')"
ends "docker rm: a running container is refused" 1 docker rm renamed
succeeds "docker rm --force: it goes" docker rm -f renamed

docker run -d --name stubborn $image sh -c 'trap "" TERM; echo up; while :; do sleep 0.1; done' >/dev/null
within 15 logged stubborn up
began=$(date +%s%N)
succeeds "docker stop: a program that ignores SIGTERM" docker stop --time 2 stubborn
took=$((($(date +%s%N) - began) / 1000000))
same "docker stop: SIGKILL after the time" "yes 137" "$([ $took -ge 1900 ] && [ $took -lt 6000 ] && echo yes || echo "$took ms") $(inspect stubborn '{{.State.ExitCode}}')"
remove stubborn

docker run -d --name signals --stop-signal USR1 $image sh -c '
    trap "echo got HUP" HUP; trap "echo got USR2" USR2; trap "echo got WINCH" WINCH; trap "echo got RT" 34
    trap "echo got USR1; exit 31" USR1; echo up; while :; do sleep 0.1; done' >/dev/null
within 15 logged signals up
for signal in HUP,HUP SIGUSR2,USR2 28,WINCH; do
    docker kill -s "${signal%,*}" signals >/dev/null
    within 15 logged signals "got ${signal#*,}"
done
has "docker kill -s: a name without SIG" '^got HUP$' "$(docker logs signals)"
has "docker kill -s: a name with SIG" '^got USR2$' "$(docker logs signals)"
has "docker kill -s: a number" '^got WINCH$' "$(docker logs signals)"
succeeds "docker kill -s: a real-time signal" docker kill -s SIGRTMIN signals
within 15 logged signals 'got RT'
has "docker kill -s: the real-time signal came" '^got RT$' "$(docker logs signals)"
ends "docker kill -s: an unknown signal is refused" 1 docker kill -s NOSUCH signals
docker stop --time 20 signals >/dev/null
same "docker run --stop-signal: docker stop sends it" 31 "$(inspect signals '{{.State.ExitCode}}')"
ends "docker kill: a stopped container is refused" 1 docker kill signals
remove signals

docker run -d --name counting $image sh -c 'i=0; while :; do i=$((i+1)); echo $i >/tmp/count; sleep 0.05; done' >/dev/null
within 15 docker exec counting test -s /tmp/count
succeeds "docker pause: it returns" docker pause counting
same "docker inspect: State of a paused container" "paused true" "$(inspect counting '{{.State.Status}} {{.State.Paused}}')"
root=/proc/$(inspect counting '{{.State.Pid}}')/root
first=$(cat "$root/tmp/count"); sleep 0.4
same "docker pause: nothing runs" "$first" "$(cat "$root/tmp/count")"
ends "docker pause: twice is refused" 1 docker pause counting
succeeds "docker unpause: it returns" docker unpause counting
goes_on() { local now; now=$(cat "$root/tmp/count"); [ -n "$now" ] && [ "$now" != "$first" ]; }
within 15 goes_on
same "docker unpause: it goes on" yes "$(goes_on && echo yes)"
docker pause counting >/dev/null
succeeds "docker stop: of a paused container" docker stop --time 1 counting
same "docker stop: the paused container ended" exited "$(inspect counting '{{.State.Status}}')"
remove counting
docker run -d --name frozen $image sleep 1000 >/dev/null
docker pause frozen >/dev/null
succeeds "docker rm --force: of a paused container" docker rm -f frozen

docker run -d --name worker --memory 100m --pids-limit 50 $image sh -c 'dd if=/dev/zero of=/dev/shm/x bs=1M count=20 2>/dev/null; sleep 1000 & sleep 1000' >/dev/null
stats() { output=$(docker stats --no-stream --format '{{.Name}}|{{.MemUsage}}|{{.PIDs}}|{{.CPUPerc}}' worker); }
at_work() { stats && grep -qE '^worker\|2[0-9](\.[0-9]+)?MiB / [^|]*\|[23]\|' <<<"$output"; }
within 30 at_work
has "docker stats: the memory limit" '^worker\|.* / 100MiB\|' "$output"
has "docker stats: the memory used" '^worker\|2[0-9](\.[0-9]+)?MiB / ' "$output"
has "docker stats: the number of processes" '^worker\|[^|]*\|[23]\|' "$output"
docker kill worker >/dev/null
same "docker wait: of a container that was killed" 137 "$(docker wait worker)"
same "docker inspect: a killed program is not an OOM" "137 false" "$(inspect worker '{{.State.ExitCode}} {{.State.OOMKilled}}')"
remove worker

output=$(docker events --since "$since" --until "$(date +%s.%N)" --filter image=$image --format '{{.Action}}')
for action in create start kill die stop restart rename destroy; do
    has "docker events: $action" "^$action\$" "$output"
done
output=$(docker events --since "$since" --until "$(date +%s.%N)" --format '{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}}')
has "docker events: pause" '^pause counting' "$output"
has "docker events: unpause" '^unpause counting' "$output"
has "docker events: die tells the exit status" '^die signals 31$' "$output"

docker run -d --name marked $image sleep 1000 >/dev/null
ends "docker checkpoint: refused without the experimental mode" 1 docker checkpoint create marked one
remove marked
