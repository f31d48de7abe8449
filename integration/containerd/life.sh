# life.sh, sourced: pause, resume, signals, checkpoint, and the deaths of a shim and of containerd.
# A program that says which signal it got.
trapper='for s in HUP INT TERM USR1; do trap "echo got $s; [ $s = USR1 ] || exit 5" $s; done
echo ready; while :; do sleep 0.1; done'

part_life() {
    pausing
    signals
    checkpointing
    shim_killed
    containerd_restarted
    nothing_left "containerd after the deaths"
}

pausing() {
    run -d still sh -c 'while :; do date +%s%N >/tmp/now; sleep 0.02; done'
    succeeds "ctr task pause: it is accepted" ctr task pause still
    same "ctr task pause: the state is PAUSED" PAUSED "$(status_of still)"
    local file before
    file=/proc/$(pid_of still)/root/tmp/now
    before=$(cat "$file")
    sleep 0.2
    same "ctr task pause: the program stands still" "$before" "$(cat "$file")"
    output=$(ctr task exec --exec-id p still true 2>&1)
    same "ctr task exec: refused in a paused task" 1 $?
    output=$(ctr task delete still 2>&1)
    same "ctr task delete: a paused task is refused" 1 $?
    succeeds "ctr task resume: it is accepted" ctr task resume still
    same "ctr task resume: the state is RUNNING" RUNNING "$(status_of still)"
    succeeds "ctr task resume: the program goes on" within 15 differs "$before" "$file"
    ctr task pause still
    succeeds "ctr task kill: a paused task takes SIGKILL" ctr task kill -s SIGKILL still
    ctr task resume still >/dev/null 2>&1
    within 10 is still STOPPED
    same "ctr task kill: the paused task ends" STOPPED "$(status_of still)"
    remove still
}

differs() { local now; now=$(cat "$2") && [ -n "$now" ] && [ "$now" != "$1" ]; }

# victim ID: a detached trapper that is ready for its signals; what it says is in $work/ID.log.
victim() {
    rm -f "$work/$1.log"
    run -d "--log-uri=file://$work/$1.log" "$1" sh -c "$trapper"
    within 10 grep -q ready "$work/$1.log"
}

# gets NAME STATUS TEXT KILL-OPTION...: how it ends and what it says.
gets() {
    local name=$1 status=$2 text=$3
    shift 3
    victim target
    ctr task kill "$@" target
    within 10 is target STOPPED
    same "$name: it ends" STOPPED "$(status_of target)"
    has "$name: its exit status" "exit code $status" "$(ctr task delete target 2>&1)"
    has "$name: what it says" "$text" "$(cat "$work/target.log")"
    remove target
}

signals() {
    gets "ctr task kill" 5 'got TERM'
    gets "ctr task kill -s SIGKILL" 137 ready -s SIGKILL
    gets "ctr task kill -s 9" 137 ready -s 9
    gets "ctr task kill -s KILL" 137 ready -s KILL
    gets "ctr task kill -s SIGHUP" 5 'got HUP' -s SIGHUP
    gets "ctr task kill -s 2" 5 'got INT' -s 2
    gets "ctr task kill --all -s SIGKILL" 137 ready --all -s SIGKILL
    victim target
    succeeds "ctr task kill -s SIGUSR1: it is accepted" ctr task kill -s SIGUSR1 target
    within 15 grep -q 'got USR1' "$work/target.log"
    same "ctr task kill -s SIGUSR1: the program goes on" RUNNING "$(status_of target)"
    has "ctr task kill -s SIGUSR1: what it says" 'got USR1' "$(cat "$work/target.log")"
    # With --all the signal reaches a process that exec has brought, too.
    ctr task exec -d --exec-id guest target sleep 1000
    ctr task kill --all -s SIGUSR1 target
    within 15 lonely target
    lacks "ctr task kill --all: an exec'd process gets the signal" guest "$(ctr task ps target)"
    output=$(ctr task kill -s NOSUCH target 2>&1)
    same "ctr task kill: an unknown signal is refused" 1 $?
    ctr task kill -s SIGKILL target
    within 10 is target STOPPED
    output=$(ctr task kill target 2>&1)
    same "ctr task kill: a stopped task is refused" 1 $?
    has "ctr task kill: the refusal says why" 'process already finished|not found' "$output"
    remove target
    output=$(ctr task kill never 2>&1)
    same "ctr task kill: a task that is not there" 1 $?
    # A shared pid namespace: the kernel does not end the children of a dead pid 1 there, the runtime must.
    run -d "--with-ns=pid:/proc/self/ns/pid" shared sh -c 'sleep 7654 & wait'
    within 15 pgrep -f 'sleep 7654'
    ctr task kill -s SIGKILL shared
    within 10 is shared STOPPED
    within 10 no_sleeper
    same "ctr task kill: no process is left in a shared pid namespace" "" "$(pgrep -f 'sleep 7654')"
    remove shared
}
lonely() { ! ctr task ps "$1" | grep -q guest; }
no_sleeper() { ! pgrep -f 'sleep 7654'; }

checkpointing() {
    run -d lasting sleep 1000
    output=$(ctr task checkpoint --image-path "$work/dump" lasting 2>&1)
    same "ctr task checkpoint: refused where it cannot be done" 1 $?
    has "ctr task checkpoint: the refusal names it" 'checkpoint|criu|CRIU' "$output"
    same "ctr task checkpoint: the refused one runs on" RUNNING "$(status_of lasting)"
    output=$(ctr c checkpoint --task lasting docker.io/local/dump:1 2>&1)
    same "ctr c checkpoint --task: refused where it cannot be done" 1 $?
    same "ctr c checkpoint --task: the refused one runs on" RUNNING "$(status_of lasting)"
    remove lasting
}

shim_of() { left_processes "containerd-shim-runc.*-id $1 " | cut -d' ' -f1; }

shim_killed() {
    run -d orphan sleep 4321
    local shim pid
    shim=$(shim_of orphan)
    pid=$(pid_of orphan)
    kill -9 "$shim"
    within 10 not_running "$pid"
    same "containerd: the container of a killed shim ends" "" "$(pgrep -f 'sleep 4321')"
    within 10 no_task orphan
    same "containerd: the task of a killed shim is gone" "" "$(status_of orphan)"
    within 10 clean
    same "containerd: no cgroup of a killed shim's container is left" "" "$(left_cgroups)"
    same "containerd: no mount of a killed shim's container is left" "" "$(left_mounts "$work/state")"
    same "containerd: no state of a killed shim's container is left" "" "$(left_state)"
    succeeds "ctr c delete: the container of a killed shim" ctr c delete orphan
    succeeds "ctr run: its name is free again" run --rm orphan true
}
not_running() { [ ! -e "/proc/$1" ] || grep -q ' Z ' "/proc/$1/stat"; }
no_task() { [ -z "$(status_of "$1")" ]; }

containerd_restarted() {
    run -d survivor sleep 1000
    local pid
    pid=$(pid_of survivor)
    stop_containerd
    start_containerd
    same "containerd: a restart leaves the container running" RUNNING "$(status_of survivor)"
    same "containerd: a restart keeps the pid" "$pid" "$(pid_of survivor)"
    same "ctr task exec: after a restart" back "$(ctr task exec --exec-id r survivor echo back)"
    succeeds "ctr task pause: after a restart" ctr task pause survivor
    succeeds "ctr task resume: after a restart" ctr task resume survivor
    kill -9 "$containerd"
    wait "$containerd" 2>/dev/null
    start_containerd
    same "containerd: its SIGKILL leaves the container running" RUNNING "$(status_of survivor)"
    ctr task kill -s SIGKILL survivor
    within 10 is survivor STOPPED
    has "ctr task delete: after restarts, the exit status" 'exit code 137' "$(ctr task delete survivor 2>&1)"
    succeeds "ctr c delete: after restarts" ctr c delete survivor
}
