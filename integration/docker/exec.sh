# exec.sh, sourced: docker exec in a running container.

docker run -d --name host --user keeper --env outer=1 --workdir /home --cap-drop CHOWN $image sleep 1000 >/dev/null
pid=$(inspect host '{{.State.Pid}}')

ends "docker exec: the exit status" 9 docker exec host sh -c 'exit 9'
ends "docker exec: ended by a signal" 137 docker exec host sh -c 'kill -9 $$'
same "docker exec: stdout" out "$(docker exec host sh -c 'echo out; echo err >&2' 2>/dev/null)"
same "docker exec: stderr" err "$(docker exec host sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)"
same "docker exec: without -i stdin is empty" 0 "$(echo words | docker exec host wc -c)"
same "docker exec -i: stdin comes from the pipe" words "$(echo words | docker exec -i host cat)"
same "docker exec: the container's user" 1000 "$(docker exec host id -u)"
same "docker exec: the container's working directory" /home "$(docker exec host pwd)"
same "docker exec: the container's environment" 1 "$(docker exec host sh -c 'echo $outer')"
same "docker exec --user: by name" 0 "$(docker exec --user root host id -u)"
same "docker exec --user: by numbers" 44:55 "$(docker exec --user 44:55 host sh -c 'echo $(id -u):$(id -g)')"
same "docker exec --workdir: another directory" /usr/bin "$(docker exec --workdir /usr/bin host pwd)"
same "docker exec --env: one more variable" "1 2" "$(docker exec --env inner=2 host sh -c 'echo $outer $inner')"
has "docker exec: a user other than root has no capabilities" '^CapEff:.0+$' "$(docker exec host cat /proc/self/status)"
has "docker exec --user root: the container's capabilities" '^CapEff:.00000000a80425fa$' "$(docker exec --user root host cat /proc/self/status)"
has "docker exec: the seccomp filter is loaded" '^Seccomp:.2$' "$(docker exec host cat /proc/self/status)"
same "docker exec --privileged: the capabilities of a privileged container" \
    "$(run --privileged $image grep CapEff: /proc/self/status)" "$(docker exec --privileged --user root host grep CapEff: /proc/self/status)"
same "docker exec: it is in the container's cgroup" "$(sed -n 's/^.*pids://p' "/proc/$pid/cgroup")" \
    "$(docker exec -d host sleep 555; sleep 0.5; for p in $(left_processes '^sleep 555' | cut -d ' ' -f 1); do sed -n 's/^.*pids://p' "/proc/$p/cgroup"; done)"
has "docker exec -d: it runs on" 'sleep 555' "$(docker top host)"
has "docker exec -t: a terminal" '^/dev/pts/0$' "$(docker exec -t host tty | tr -d '\r')"
sized='for i in 1 2 3 4 5 6 7 8 9; do stty size 2>/dev/null | grep . && break; sleep 0.3; done'
output=$(typed --size 29x77 "\$ =>$sized; tty; exit 6\n" -- docker exec -it host sh; exit "${PIPESTATUS[0]}")
same "docker exec -it: the shell's exit status" 6 $?
has "docker exec -it: the terminal's size" '^29 77$' "$output"
has "docker exec -it: its name" '^/dev/pts/[0-9]+$' "$output"
same "docker exec: the namespaces are the container's" "$(readlink "/proc/$pid/ns/net")" "$(docker exec host readlink /proc/self/ns/net)"
same "docker exec: twenty in a row and two at a time" 20 \
    "$(for pair in 1 2 3 4 5 6 7 8 9 10; do docker exec host echo a & docker exec host echo b & wait %1 %2 2>/dev/null; wait $! ; done | wc -l)"
same "docker inspect: no exec of a finished program is listed" 1 "$(inspect host '{{len .ExecIDs}}')"
remove host
