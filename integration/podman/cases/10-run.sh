# run, with and without input, terminal and detachment: what the caller sees of the program.

ends "podman run: the program's exit status" 7 run --rm $image sh -c 'exit 7'
ends "podman run: a program killed by a signal" 137 run --rm --init $image sh -c 'kill -KILL $$'
ends "podman run: a program ended by TERM" 143 run --rm --init $image sh -c 'kill -TERM $$'
output=$(run --rm $image sh -c 'echo out; echo err >&2' 2>"$work/err" </dev/null)
same "podman run: stdout and stderr stay apart" "out err" "$output $(cat "$work/err")"
same "podman run -i: the program's input" "one two" "$(echo one two | run --rm -i $image cat 2>&1)"
same "podman run -i: a megabyte through the program" 1048576 \
    "$(head -c 1048576 /dev/zero | run --rm -i $image cat 2>&1 | wc -c)"
same "podman run: no input without -i" "" "$(echo one | run --rm $image cat 2>&1)"
succeeds "podman run -t: a terminal" run --rm -t $image sh -c 'tty; test -t 0 && test -t 1 && test -t 2 && echo all three'
has "podman run -t: /dev/pts/0" '^/dev/pts/0' "$output"
has "podman run -t: stdin, stdout and stderr are it" '^all three' "$output"
# The client sets the size only after the start.
sized='for i in $(seq 50); do [ "$(stty size)" = "31 101" ] && break; sleep 0.2; done; stty size'
output=$(podman_typed "# =>$sized; "'echo typed $((20 + 3))\n' 'typed 23=>exit 4\n' -- \
    run --cgroup-parent "/$tag" --rm -it -e 'PS1=# ' $image sh)
same "podman run -it: the exit status through a terminal" 4 $?
has "podman run -it: what is typed is run" '^typed 23' "$output"
has "podman run -it: the size of the caller's terminal" '^31 101' "$output"

succeeds "podman run -d: it detaches" run -d --name life $image sh -c 'echo begun; trap "echo ended; exit 3" TERM; while :; do sleep 0.1; done'
within 10 sh -c "/usr/bin/podman --events-backend file logs life | grep -q begun"
same "podman inspect: it runs" running "$(inspect '{{.State.Status}}' life)"
pid=$(inspect '{{.State.Pid}}' life)
same "podman inspect: the pid is that of the program" sh "$(cat /proc/"$pid"/comm)"
has "podman inspect: the runtime under test" "^$runtime$" "$(inspect '{{.OCIRuntime}}' life)"
has "podman inspect: the runtime's state is in its usual place" . "$(ls "/run/$runtime")"
has "podman ps: it is up" '^life Up' "$(podman ps --format '{{.Names}} {{.Status}}')"
has "podman top: the processes" '^root +1 +0 .*sh -c' "$(podman top life 2>&1)"
has "podman top: columns by name" '^root +1$' "$(podman top life huser pid 2>&1)"
succeeds "podman stop: TERM is enough" podman stop -t 10 life
same "podman stop: the program's own exit status" 3 "$(inspect '{{.State.ExitCode}}' life)"
same "podman logs: of an ended container" "begun ended" "$(podman logs life 2>&1 | xargs)"
succeeds "podman start: again" podman start life
within 10 sh -c "test \$(/usr/bin/podman --events-backend file logs life | grep -c begun) = 2"
same "podman logs: both lives" 2 "$(podman logs life | grep -c begun)"
succeeds "podman restart: it restarts" podman restart -t 5 life
[ "$(inspect '{{.State.Pid}}' life)" != "$pid" ]
same "podman restart: a new process" 0 $?
succeeds "podman rm -f: of a running container" podman rm -f -t 0 life
lacks "podman rm -f: nothing of it is listed" life "$(podman ps -a --format '{{.Names}}')"

run -d --name deaf $image sh -c 'trap "" TERM; while :; do sleep 0.1; done' >"$work/log" 2>&1
succeeds "podman stop: KILL after the time" podman stop -t 1 deaf
same "podman stop: killed by KILL" 137 "$(inspect '{{.State.ExitCode}}' deaf)"
podman start deaf >"$work/log" 2>&1
succeeds "podman kill: KILL is the default" podman kill deaf
same "podman kill: podman wait tells the status" 137 "$(podman wait deaf 2>&1)"

run -d --name signals $image sh -c 'trap "echo got HUP" HUP; trap "echo got USR1" USR1; trap "exit 5" TERM; echo ready; while :; do sleep 0.1; done' >"$work/log" 2>&1
within 10 sh -c "/usr/bin/podman --events-backend file logs signals | grep -q ready"
succeeds "podman kill -s: by name" podman kill -s HUP signals
succeeds "podman kill -s: by number" podman kill -s 10 signals
within 10 sh -c "/usr/bin/podman --events-backend file logs signals | grep -q USR1"
within 10 sh -c "/usr/bin/podman --events-backend file logs signals | grep -q HUP"
has "podman kill -s: HUP arrives" 'got HUP' "$(podman logs signals)"
has "podman kill -s: USR1 arrives" 'got USR1' "$(podman logs signals)"
succeeds "podman pause: it pauses" podman pause signals
same "podman pause: podman says paused" paused "$(inspect '{{.State.Status}}' signals)"
has "podman pause: the cgroup is frozen" FROZEN "$(cgroup_file signals freezer freezer.state)"
ends "podman exec: not in a paused container" 255 podman exec signals true
succeeds "podman unpause: it goes on" podman unpause signals
same "podman unpause: podman says running" running "$(inspect '{{.State.Status}}' signals)"
podman pause signals >"$work/log" 2>&1
succeeds "podman rm -f: of a paused container" podman rm -f -t 1 signals

timeout -s KILL 60 /usr/bin/podman --events-backend file run --cgroup-parent "/$tag" --name proxied --sig-proxy $image \
    sh -c 'trap "echo proxied; exit 6" USR2; echo ready; while :; do sleep 0.1; done' >"$work/proxied" 2>&1 &
pid=$!
within 20 grep -q ready "$work/proxied"
kill -USR2 "$(pgrep -P $pid -x podman)"
wait $pid
status=$?
has "podman run --sig-proxy: the signal reaches the program" '^proxied' "$(cat "$work/proxied")"
same "podman run --sig-proxy: and its exit status the caller" 6 $status

run -d -i --name open $image sh -c 'read line; echo "read $line"; exit 9' >"$work/log" 2>&1
output=$(echo attached | podman attach open 2>&1)
has "podman attach: input and output" '^read attached' "$output"
same "podman attach: podman wait tells the exit status" 9 "$(podman wait open 2>&1)"
same "podman start -a: the program's output" "once" "$(create --name later $image echo once >/dev/null 2>&1; podman start -a later 2>&1)"
podman create --cgroup-parent "/$tag" --name gate $image sleep 100 >"$work/log" 2>&1
succeeds "podman init: created, not started" podman init gate
same "podman init: podman says initialized" initialized "$(inspect '{{.State.Status}}' gate)"
has "podman init: the program has not begun" '^(orlop:|.*init|runc|crun|exe|[0-9]+$)' "$(cat /proc/"$(inspect '{{.State.Pid}}' gate)"/comm)"
succeeds "podman start: of an initialized container" podman start gate
same "podman start: now it is the program" sleep "$(cat /proc/"$(inspect '{{.State.Pid}}' gate)"/comm)"
podman create --cgroup-parent "/$tag" --name gone $image sleep 100 >"$work/log" 2>&1
podman init gone >"$work/log" 2>&1
succeeds "podman rm: of an initialized container" podman rm -f -t 0 gone
succeeds "podman run --replace: in place of a running one" run -d --replace --name gate $image sleep 50
succeeds "podman rename: of a running container" podman rename gate moved
succeeds "podman exec: under the new name" podman exec moved true
