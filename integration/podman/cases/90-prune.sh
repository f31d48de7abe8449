# What is left when containers end in unusual ways, and what prune takes away.
hold orphan
kill -KILL "$(inspect '{{.State.ConmonPid}}' orphan)"
within 15 sh -c "! test -e /proc/$(inspect '{{.State.ConmonPid}}' orphan)"
id=$(inspect '{{.Id}}' orphan)
succeeds "podman rm -f: after conmon was killed" podman rm -f -t 0 orphan
# Without conmon nobody tells Podman of the end, and it forgets the container without a word to the runtime.
ends "podman rm -f: what it forgot, the runtime's delete --force removes" 0 "$RUNTIME" delete --force "$id"
hold shot
kill -KILL "$(inspect '{{.State.Pid}}' shot)"
same "podman wait: of a container killed from outside" 137 "$(podman wait shot 2>&1)"
succeeds "podman start: of a container killed from outside" podman start shot
for number in 1 2 3 4; do run --rm $image sh -c "exit $number" >"$work/log.$number" 2>&1 & pids[number]=$!; done
statuses=""
for number in 1 2 3 4; do wait "${pids[number]}"; statuses+=" $?"; done
same "podman run: four at once" " 1 2 3 4" "$statuses"
/usr/bin/podman --events-backend file run --cgroup-parent "/$tag" --name cut $image sh -c 'echo up; sleep 50' >"$work/cut" 2>&1 &
disown
within 10 grep -q up "$work/cut"
kill -KILL $!
same "podman run: the container outlives a killed client" running "$(inspect '{{.State.Status}}' cut)"
succeeds "podman exec: after the client was killed" podman exec cut true
podman rm -f -t 0 cut >"$work/log" 2>&1
run --name ended $image true
succeeds "podman system prune: it runs" podman system prune -f --volumes
same "podman system prune: only the running one is left" shot "$(podman ps -a --format '{{.Names}}')"
succeeds "podman rm -fa: all that remain" podman rm -fa -t 0
