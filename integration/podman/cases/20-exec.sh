# exec: into one container that runs as an ordinary user with an environment of its own.
hold --env FROM=run --user 1000:1000 -w /tmp into

same "podman exec: the container's user" "uid=1000(keeper) gid=1000(keeper)" "$(podman exec into id 2>&1)"
same "podman exec: the container's working directory" /tmp "$(podman exec into pwd 2>&1)"
same "podman exec: the container's environment" run "$(podman exec into sh -c 'echo $FROM' 2>&1)"
ends "podman exec: the program's exit status" 42 podman exec into sh -c 'exit 42'
ends "podman exec: a program killed by a signal" 137 podman exec into sh -c 'kill -KILL $$'
same "podman exec -u: root" 0 "$(podman exec -u root into id -u 2>&1)"
same "podman exec -u: its HOME" /root "$(podman exec -u root into sh -c 'echo $HOME' 2>&1)"
same "podman exec -u: a number without a name" "77:88" "$(podman exec -u 77:88 into sh -c 'echo $(id -u):$(id -g)' 2>&1)"
same "podman exec -w: another directory" /usr "$(podman exec -w /usr into pwd 2>&1)"
same "podman exec -e: another variable" "exec" "$(podman exec -e FROM=exec into sh -c 'echo $FROM' 2>&1)"
same "podman exec -i: input" given "$(echo given | podman exec -i into cat 2>&1)"
same "podman exec -i: a megabyte through the program" 1048576 "$(head -c 1048576 /dev/zero | podman exec -i into cat | wc -c)"
output=$(podman exec into sh -c 'echo out; echo err >&2' 2>"$work/err")
same "podman exec: stdout and stderr stay apart" "out err" "$output $(cat "$work/err")"
has "podman exec -t: a terminal" '^/dev/pts/' "$(podman exec -t into tty 2>&1)"
# The client sets the size only after the start.
sized='for i in $(seq 50); do [ "$(stty size)" = "31 101" ] && break; sleep 0.2; done; stty size'
output=$(podman_typed "# =>$sized; "'echo typed $((20 + 3))\n' 'typed 23=>exit 4\n' -- exec -it -e 'PS1=# ' into sh)
same "podman exec -it: the exit status through a terminal" 4 $?
has "podman exec -it: what is typed is run" '^typed 23' "$output"
has "podman exec -it: the size of the caller's terminal" '^31 101' "$output"
succeeds "podman exec -d: it detaches" podman exec -d into sh -c 'echo detached >/tmp/detached; exec sleep 33'
within 15 podman exec into test -s /tmp/detached
same "podman exec -d: it ran" detached "$(podman exec into cat /tmp/detached 2>&1)"
has "podman top: it sees what exec began" 'sleep 33' "$(podman top into 2>&1)"
same "podman exec: no capability for a user" 0000000000000000 "$(podman exec into sh -c 'sed -n "s/^CapEff:.//p" /proc/self/status')"
wanted=$(run --rm $image sh -c 'sed -n "s/^CapBnd:.//p" /proc/self/status')
same "podman exec: the container's bounding set" "$wanted" "$(podman exec into sh -c 'sed -n "s/^CapBnd:.//p" /proc/self/status')"
same "podman exec -u root: the container's capabilities" "$wanted" "$(podman exec -u root into sh -c 'sed -n "s/^CapEff:.//p" /proc/self/status')"
output=$(podman exec --privileged -u root into sh -c 'sed -n "s/^CapEff:.//p" /proc/self/status' 2>&1)
[ "${#output}" = 16 ] && [ $((0x$output & 0x200000)) != 0 ]
same "podman exec --privileged: CAP_SYS_ADMIN" 0 $?
same "podman exec: the container's filter" 2 "$(podman exec into sh -c 'sed -n "s/^Seccomp:.//p" /proc/self/status')"
same "podman exec: the container's limits" "$(podman exec into cat /proc/1/limits | grep 'open files')" "$(podman exec into cat /proc/self/limits | grep 'open files')"
same "podman exec: the container's cgroup" "$(podman exec into cat /proc/1/cgroup)" "$(podman exec into cat /proc/self/cgroup)"
exec 3<<<"number three" 4<<<"number four"
same "podman exec --preserve-fds: they arrive" "number three number four" \
    "$(podman exec --preserve-fds 2 into sh -c 'cat <&3; cat <&4' 2>&1 | xargs)"
same "podman run --preserve-fds: they arrive" "number three" "$(exec 3<<<"number three"; run --rm --preserve-fds 1 $image sh -c 'cat <&3' 2>&1)"
exec 3<&- 4<&-
same "podman exec: no descriptor of the runtime" "0 1 2" "$(podman exec into sh -c 'exec ls /proc/self/fd' | grep -v '^3$' | xargs)"
has "podman inspect: exec sessions" '^\[\]|^\[[0-9a-f]+' "$(inspect '{{.ExecIDs}}' into)"
for number in 1 2 3 4 5 6; do podman exec into sh -c "exit $number" & pids[number]=$!; done
statuses=""
for number in 1 2 3 4 5 6; do wait "${pids[number]}"; statuses+=" $?"; done
same "podman exec: six at once" " 1 2 3 4 5 6" "$statuses"
podman exec into sh -c 'sleep 60' >"$work/log" 2>&1 &
within 15 sh -c "/usr/bin/podman --events-backend file top into | grep -q 'sleep 60'"
succeeds "podman stop: with a process of exec inside" podman stop -t 5 into
wait $!
same "podman exec: it ends when the container is stopped" 137 $?
