# start.sh, sourced: `ctr run` and `ctr task exec`: output, input, terminal, exit status.

# ctr_typed [STEP...] -- ARG...: ctr on a terminal. It sets the size after it has started the program: $sized waits for it.
sized='for i in $(seq 50); do [ "$(stty size)" = "33 101" ] && break; sleep 0.2; done; stty size'
ctr_typed() {
    local steps=()
    while [ "$1" != -- ]; do steps+=("$1"); shift; done
    shift
    typed --size 33x101 "${steps[@]}" -- ctr --address "$work/containerd.sock" "$@"
}

# fed LINE COMMAND...: the command's stdin has the line, and ends when its stdout has it. ctr forgets to pass an end of file
# on that comes before the task has started.
fed() {
    local line=$1
    shift
    : >"$work/fed"
    { echo "$line"; within 20 grep -qx "$line" "$work/fed"; } | "$@" >>"$work/fed"
    cat "$work/fed"
}

part_start() {
    succeeds "ctr run: the program's output" run --rm one id -u
    same "ctr run: uid 0" 0 "$output"
    ends "ctr run: the program's exit status" 7 run --rm two sh -c 'exit 7'
    same "ctr run: stdout is not stderr" out "$(run --rm streams sh -c 'echo out; echo err >&2' 2>/dev/null)"
    same "ctr run: stderr is not stdout" err "$(run --rm streams sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)"
    same "ctr run: stdin and its end reach the program" "a line" "$(fed "a line" run --rm input cat)"
    same "ctr run: a megabyte passes through stdout" 1048576 "$(run --rm bulk head -c 1048576 /dev/zero | wc -c)"
    succeeds "ctr run --env: the variable is set" run --rm "--env=ORLOP=a b" env sh -c 'echo "$ORLOP"'
    same "ctr run --env: a value with a space" "a b" "$output"
    succeeds "ctr run --cwd: the directory is entered" run --rm --cwd=/var/tmp cwd pwd
    same "ctr run --cwd: pwd" /var/tmp "$output"
    succeeds "ctr run --cwd: a missing directory is made" run --rm --cwd=/not/yet cwd2 pwd
    same "ctr run: the program is pid 1" 1 "$(run --rm pid sh -c 'echo $$')"
    same "ctr run --null-io: no output" "" "$(run --rm --null-io null echo text)"
    succeeds "ctr run --log-uri: output goes to the file" run --rm "--log-uri=file://$work/uri.log" uri echo logged
    same "ctr run --log-uri: the text" logged "$(cat "$work/uri.log")"
    run_terminal
    run_detached
    attached
    at_once
    exec_plain
    exec_terminal
    nothing_left containerd
}

run_terminal() {
    local text
    text=$(ctr_typed -- run --runc-binary "$RUNTIME" --runc-root "$work/runtime" --cgroup "/$tag/tty" -t --rm "$image" tty \
        sh -c "tty; test -t 0 && test -t 1 && test -t 2 && echo three; ls -l /dev/console; $sized")
    has "ctr run -t: all three streams are a terminal" '^three$' "$text"
    has "ctr run -t: the terminal's size" '^33 101$' "$text"
    has "ctr run -t: /dev/console is a character device" '^c.* /dev/console' "$text"
    text=$(ctr_typed '# =>echo $((6*7))\n' '42=>' '# =>stty -echo; exit 9\n' -- run --runc-binary "$RUNTIME" \
        --runc-root "$work/runtime" --cgroup "/$tag/shell" -t --rm "$image" shell env 'PS1=# ' sh)
    same "ctr run -t: the exit status of a shell that was typed into" 9 $?
    has "ctr run -t: the shell answers" '^42' "$text"
    # noflsh: a terminal throws away what is written while it is still at sending the signal.
    text=$(ctr_typed 'ready=>>\x03' -- run --runc-binary "$RUNTIME" --runc-root "$work/runtime" --cgroup "/$tag/break" -t \
        --rm "$image" break sh -c 'stty noflsh; trap "echo interrupted; exit 4" INT; echo ready; while :; do sleep 0.1; done')
    same "ctr run -t: ^C interrupts the program" 4 $?
    has "ctr run -t: the handler of ^C speaks" '^.*interrupted' "$text"
}

run_detached() {
    # `ctr c create` has no option for the cgroup; a config.json of our own has it.
    spec_file apart sh -c 'trap "exit 5" TERM; echo ready; while :; do sleep 0.1; done'
    succeeds "ctr c create: a container" ctr c create --config "$work/apart.json" apart
    succeeds "ctr task start -d: it returns" ctr task start -d --null-io apart
    within 10 is apart RUNNING
    same "ctr task ls: it is running" RUNNING "$(status_of apart)"
    local pid
    pid=$(pid_of apart)
    has "ctr task ls: the pid is the program's" "^/?[a-z/]*sh -c trap" "$(tr '\0' ' ' <"/proc/$pid/cmdline")"
    has "ctr task ps: the pid is listed" "^$pid " "$(ctr task ps apart)"
    output=$(ctr task delete apart 2>&1)
    same "ctr task delete: a running task is refused" 1 $?
    has "ctr task delete: the refusal says why" 'must be stopped|still running|not stopped' "$output"
    output=$(ctr c delete apart 2>&1)
    same "ctr c delete: a container with a task is refused" 1 $?
    same "ctr task delete: the refused one still runs" RUNNING "$(status_of apart)"
    output=$(run apart true 2>&1)
    same "ctr run: a name in use is refused" 1 $?
    ctr task kill apart
    within 10 is apart STOPPED
    same "ctr task kill: SIGTERM is the default" STOPPED "$(status_of apart)"
    succeeds "ctr task delete: a stopped task" ctr task delete apart
    has "ctr task delete: it names the exit status" 'exit code 5' "$output"
    same "ctr task delete: the task is gone" "" "$(status_of apart)"
    succeeds "ctr task start: the same container again" ctr task start -d --null-io apart
    same "ctr task start: it runs again" RUNNING "$(status_of apart)"
    succeeds "ctr task delete --force: a running task" ctr task delete --force apart
    succeeds "ctr c delete: the container" ctr c delete apart
    run -d --pid-file="$work/pid" pidfile sleep 100
    same "ctr run --pid-file: the task's pid" "$(pid_of pidfile)" "$(cat "$work/pid")"
    remove pidfile
}

attached() {
    spec_file meet sh -c 'while :; do echo tick; sleep 0.1; done'
    ctr c create --config "$work/meet.json" meet
    ctr task start -d meet >/dev/null 2>&1
    has "ctr task attach: the output of a running task" tick "$(timeout -s KILL 3 ctr --address "$work/containerd.sock" task attach meet)"
    remove meet
}

# Ten `ctr run` at the same moment: each has its own output and exit status.
at_once() {
    local k pids=() statuses=() texts=()
    for k in 1 2 3 4 5 6 7 8 9 10; do
        run --rm "crowd$k" sh -c "echo number $k; exit $k" >"$work/crowd$k.out" 2>&1 &
        pids+=($!)
    done
    for k in "${pids[@]}"; do
        wait "$k"
        statuses+=($?)
    done
    same "ctr run: ten at once, the exit statuses" "1 2 3 4 5 6 7 8 9 10" "${statuses[*]}"
    for k in 1 2 3 4 5 6 7 8 9 10; do texts+=("$(cat "$work/crowd$k.out")"); done
    same "ctr run: ten at once, the outputs" "$(printf 'number %s ' 1 2 3 4 5 6 7 8 9 10)" "$(printf '%s ' "${texts[@]}")"
}

# enter [--option...] COMMAND...: exec in the container `host`, with a new exec-id each time.
enter() {
    local options=()
    while [[ $1 == -* ]]; do options+=("$1"); shift; done
    ctr task exec --exec-id "e$RANDOM$RANDOM" "${options[@]}" host "$@"
}

exec_plain() {
    run -d --env=COLOUR=green host sleep 1000
    succeeds "ctr task exec: the program's output" enter echo inside
    same "ctr task exec: the text" inside "$output"
    ends "ctr task exec: the exit status" 3 enter sh -c 'exit 3'
    ends "ctr task exec: false" 1 enter false
    same "ctr task exec: stdin and its end reach the program" typed "$(fed typed enter cat)"
    same "ctr task exec: stderr is not stdout" err "$(enter sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)"
    same "ctr task exec: the container's environment" green "$(enter sh -c 'echo $COLOUR')"
    same "ctr task exec --cwd: the directory" /usr/bin "$(enter --cwd=/usr/bin pwd)"
    same "ctr task exec --user: a uid and gid" 1000:1000 "$(enter --user=1000:1000 sh -c 'echo $(id -u):$(id -g)')"
    same "ctr task exec --user: a name" keeper "$(enter --user=keeper id -un)"
    has "ctr task exec --user: a name that is not there" 'no users found' "$(enter --user=nobody-such true 2>&1)"
    has "ctr task exec: the container's pid namespace" '^1 .*sleep 1000' "$(enter ps -o pid,args | sed 's/^ *//')"
    same "ctr task exec: the container's cgroup" "$(enter cat /proc/1/cgroup)" "$(enter cat /proc/self/cgroup)"
    ends "ctr task exec: killed by a signal is 128 and the signal" 137 enter sh -c 'kill -9 $$'
    output=$(enter /no/such 2>&1)
    same "ctr task exec: a missing program fails" 1 $?
    has "ctr task exec: a missing program is named" '/no/such' "$output"
    output=$(enter no-such-in-path 2>&1)
    has "ctr task exec: a program that is not in PATH" 'no-such-in-path.*(not found in \$PATH|not found)' "$output"
    same "ctr task exec: a failed exec leaves the task running" RUNNING "$(status_of host)"
    enter -d --exec-id=behind sleep 500
    has "ctr task exec -d: it is among the processes" behind "$(ctr task ps host)"
    succeeds "ctr task kill --exec-id: it is accepted" ctr task kill --exec-id behind -s SIGKILL host
    within 10 no_behind
    lacks "ctr task kill --exec-id: the process is gone" '[ ]500' "$(enter ps -o args)"
    same "ctr task kill --exec-id: the task still runs" RUNNING "$(status_of host)"
    ends "ctr task delete --exec-id: the exit status" 137 ctr task delete --exec-id behind host
    local k pids=()
    for k in 1 2 3 4 5 6 7 8 9 10; do
        enter true >/dev/null 2>&1 &
        pids+=($!)
    done
    wait "${pids[@]}"
    same "ctr task exec: ten at once leave no process" 1 "$(ctr task ps host | tail -n +2 | wc -l)"
}
no_behind() { ! ctr task ps host | grep -q behind; }

exec_terminal() {
    local text
    text=$(ctr_typed -- task exec --exec-id t1 -t host sh -c "test -t 0 && test -t 1 && test -t 2 && echo three; $sized")
    has "ctr task exec -t: all three streams are a terminal" '^three$' "$text"
    has "ctr task exec -t: the terminal's size" '^33 101$' "$text"
    text=$(ctr_typed '# =>echo $((6*7))\n' '42=>' '# =>exit 6\n' -- task exec --exec-id t2 -t host env 'PS1=# ' sh)
    same "ctr task exec -t: the exit status of a shell that was typed into" 6 $?
    text=$(ctr_typed 'ready=>>\x03' -- task exec --exec-id t3 -t host \
        sh -c 'trap "exit 4" INT; echo ready; while :; do sleep 0.1; done')
    same "ctr task exec -t: ^C interrupts the program" 4 $?
    remove host
}
