# policies.sh, sourced: what dockerd does by itself: health checks, restart policies, a dockerd that is restarted, with
# its containers kept (live-restore) or started anew.

docker run -d --name healthy --health-cmd 'test -e /tmp/well' --health-interval 400ms --health-retries 2 --health-timeout 5s \
    $image sh -c 'touch /tmp/well; exec sleep 1000' >/dev/null
within 15 is healthy '{{.State.Health.Status}}' healthy
same "docker run --health-cmd: healthy" healthy "$(inspect healthy '{{.State.Health.Status}}')"
docker exec healthy rm /tmp/well
within 15 is healthy '{{.State.Health.Status}}' unhealthy
same "docker run --health-cmd: unhealthy when the check fails" unhealthy "$(inspect healthy '{{.State.Health.Status}}')"
has "docker inspect: the exit status of a failed check" '^1$' "$(inspect healthy '{{range .State.Health.Log}}{{println .ExitCode}}{{end}}')"
docker exec healthy touch /tmp/well
within 15 is healthy '{{.State.Health.Status}}' healthy
same "docker run --health-cmd: healthy again" healthy "$(inspect healthy '{{.State.Health.Status}}')"
remove healthy
docker run -d --name slow --health-cmd 'sleep 60' --health-interval 300ms --health-retries 1 --health-timeout 700ms $image sleep 1000 >/dev/null
within 10 eval '[ -n "$(left_processes "^sleep 60 ")" ]'
hung=$(left_processes '^sleep 60 ' | head -n 1)
within 15 is slow '{{.State.Health.Status}}' unhealthy
same "docker run --health-timeout: a check that hangs is unhealthy" unhealthy "$(inspect slow '{{.State.Health.Status}}')"
# The next check may hang already.
within 15 eval '! left_processes "^sleep 60 " | grep -qx "$hung"'
lacks "docker run --health-timeout: the check that hung is killed" "^${hung:-none}\$" "$(left_processes '^sleep 60 ')"
remove slow

docker run -d --name failing --restart on-failure:2 $image sh -c 'echo once; exit 5' >/dev/null
within 20 eval 'is failing "{{.RestartCount}} {{.State.Status}}" "2 exited"'
same "docker run --restart on-failure:2: two restarts, then it stays" "2 exited 5" \
    "$(inspect failing '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}')"
same "docker run --restart on-failure:2: the program ran three times" 3 "$(docker logs failing | grep -c once)"
remove failing
docker run -d --name fine --restart on-failure $image true >/dev/null
within 10 is fine '{{.State.Status}}' exited
same "docker run --restart on-failure: success is not restarted" "0 exited" "$(inspect fine '{{.RestartCount}} {{.State.Status}}')"
remove fine
docker run -d --name phoenix --stop-timeout 1 --restart always $image sleep 1000 >/dev/null
old=$(inspect phoenix '{{.State.Pid}}')
kill -9 "$old"
within 20 eval '[ "$(inspect phoenix "{{.State.Running}}")" = true ] && [ "$(inspect phoenix "{{.State.Pid}}")" != "$old" ]'
same "docker run --restart always: a killed program runs again" "true 1" "$(inspect phoenix '{{.State.Running}} {{.RestartCount}}')"

docker run -d --name once --stop-timeout 1 $image sleep 1000 >/dev/null
docker run -d --name asleep --restart unless-stopped $image sleep 1000 >/dev/null
docker stop --time 0 asleep >/dev/null
stop_dockerd
same "dockerd stop: its containers end" "" "$(left_processes '^sleep 1000')"
within 10 eval '[ -z "$(left_cgroups)" ]'
same "dockerd stop: no cgroup of a container is left" "" "$(left_cgroups)"
start_dockerd || not_ok "dockerd restart: it starts again" "$(tail "$work/dockerd.log")"
within 20 is phoenix '{{.State.Running}}' true
same "dockerd restart: --restart always runs again" true "$(inspect phoenix '{{.State.Running}}')"
same "dockerd restart: a container without policy does not" exited "$(inspect once '{{.State.Status}}')"
same "dockerd restart: --restart unless-stopped that was stopped does not" exited "$(inspect asleep '{{.State.Status}}')"
succeeds "dockerd restart: a container of before starts" docker start once
remove once asleep phoenix
stop_dockerd

start_dockerd --live-restore || not_ok "dockerd --live-restore: it starts" "$(tail "$work/dockerd.log")"
docker run -d --name kept --restart always -p 127.0.0.1:18090:80 $image sh -c 'trap "echo asked; exit 3" TERM; i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.2; done' >/dev/null
docker run -d --name leaving $image sh -c 'sleep 2; exit 9' >/dev/null
docker run -d --name paused $image sleep 1000 >/dev/null
docker pause paused >/dev/null
old=$(inspect kept '{{.State.Pid}}')
stop_dockerd
same "dockerd --live-restore: the program outlives dockerd" yes "$([ -d "/proc/$old" ] && echo yes)"
within 20 eval '[ -z "$(left_processes "^sh -c sleep 2; exit 9")" ]'
start_dockerd --live-restore || not_ok "dockerd --live-restore: it starts again" "$(tail "$work/dockerd.log")"
same "dockerd --live-restore: the same process is known again" "$old true" "$(inspect kept '{{.State.Pid}} {{.State.Running}}')"
same "dockerd --live-restore: exec works in a kept container" in "$(docker exec kept echo in 2>&1)"
same "dockerd --live-restore: a program that ended meanwhile" "exited 9" "$(inspect leaving '{{.State.Status}} {{.State.ExitCode}}')"
same "dockerd --live-restore: a paused container is paused" paused "$(inspect paused '{{.State.Status}}')"
succeeds "dockerd --live-restore: unpause" docker unpause paused
first=$(docker logs kept | wc -l)
goes_on() { [ "$(docker logs kept | wc -l)" -gt "$first" ]; }
within 15 goes_on
same "dockerd --live-restore: the log goes on" yes "$(goes_on && echo yes)"
kill -9 "$dockerd"; wait "$dockerd" 2>/dev/null
pkill_containerd() { local pid; for pid in $(left_processes '^containerd --config|/containerd --config' | cut -d ' ' -f 1); do kill -9 "$pid"; done; }
pkill_containerd
rm -f "$work/dockerd.pid"
start_dockerd --live-restore || not_ok "dockerd --live-restore: it starts after SIGKILL" "$(tail "$work/dockerd.log")"
same "dockerd --live-restore: after SIGKILL of dockerd and containerd the program is known" "$old true" "$(inspect kept '{{.State.Pid}} {{.State.Running}}')"
succeeds "dockerd --live-restore: stop" docker stop --time 10 kept
same "dockerd --live-restore: the exit status" 3 "$(inspect kept '{{.State.ExitCode}}')"
remove kept leaving paused
stop_dockerd

start_dockerd --experimental || not_ok "dockerd --experimental: it starts" "$(tail "$work/dockerd.log")"
docker run -d --name marked $image sleep 1000 >/dev/null
ends "docker checkpoint: it fails" 1 docker checkpoint create marked one
echo "# sentence | checkpoint | $output"
has "docker checkpoint: the failure says why" 'checkpoint|criu|CRIU' "$output"
same "docker checkpoint: the container runs on" true "$(inspect marked '{{.State.Running}}')"
remove marked
stop_dockerd
start_dockerd || not_ok "dockerd: it starts" "$(tail "$work/dockerd.log")"
