# What surrounds a container: hooks, pid files, notification, restarts, health, checkpoints, annotations.
mkdir -p "$work/hooks"
cat >"$work/hook" <<'SH'
#!/bin/sh
# $1: the stage. The state comes on stdin.
state=$(cat)
echo "$1 $(echo "$state" | jq -r '[.status, .pid, .bundle != null, .annotations["tried"] // "-"] | join(" ")') ns=$(readlink /proc/self/ns/mnt)" >>"$2"
SH
chmod 755 "$work/hook"
: >"$work/hooked" && chmod 666 "$work/hooked"
for stage in prestart createRuntime createContainer poststart poststop; do
    cat >"$work/hooks/$stage.json" <<JSON
{"version": "1.0.0", "hook": {"path": "$work/hook", "args": ["hook", "$stage", "$work/hooked"],
  "env": ["PATH=/usr/bin:/bin"]}, "when": {"annotations": {"^tried$": "yes"}}, "stages": ["$stage"]}
JSON
done
cat >"$work/hooks/startContainer.json" <<JSON
{"version": "1.0.0", "hook": {"path": "/bin/sh", "args": ["sh", "-c", "cat >/tmp/hooked"]},
 "when": {"annotations": {"^tried$": "yes"}}, "stages": ["startContainer"]}
JSON
output=$(podman --hooks-dir "$work/hooks" run --cgroup-parent "/$tag" --rm --annotation tried=yes $image cat /tmp/hooked 2>&1)
has "podman run --hooks-dir: startContainer, inside, with the state" '"status": ?"created"' "$output"
for stage in prestart createRuntime createContainer; do
    has "podman run --hooks-dir: $stage" "^$stage (creating|created) [1-9][0-9]* true yes" "$(cat "$work/hooked")"
done
has "podman run --hooks-dir: poststart" "^poststart (running|stopped) [1-9][0-9]* true yes" "$(cat "$work/hooked")"
within 15 grep -q '^poststop' "$work/hooked"
has "podman run --hooks-dir: poststop" "^poststop stopped " "$(cat "$work/hooked")"
same "podman run --hooks-dir: in the order of the specification" "prestart createRuntime createContainer poststart poststop" \
    "$(cut -d' ' -f1 "$work/hooked" | xargs)"
[ "$(sed -n 's/^createRuntime.*ns=//p' "$work/hooked")" = "$(readlink /proc/self/ns/mnt)" ]
same "podman run --hooks-dir: createRuntime in the host's mount namespace" 0 $?
[ "$(sed -n 's/^createContainer.*ns=//p' "$work/hooked")" != "$(readlink /proc/self/ns/mnt)" ]
same "podman run --hooks-dir: createContainer in the container's" 0 $?
sed -i "s|\"args\": .*|\"args\": [\"sh\", \"-c\", \"echo hook is cross >\&2; exit 3\"],|; s|\"path\": \"[^\"]*\"|\"path\": \"/bin/sh\"|" "$work/hooks/createRuntime.json"
ends "podman run --hooks-dir: a failing hook ends it" 126 podman --hooks-dir "$work/hooks" run --cgroup-parent "/$tag" --rm --annotation tried=yes $image true
has "podman run --hooks-dir: the sentence has the hook's words" 'hook is cross' "$output"

run -d --name pidfile --pidfile "$work/pidfile" --conmon-pidfile "$work/conmon.pid" --cidfile "$work/cid" $image sleep 100 >"$work/log" 2>&1
same "podman run --pidfile: the program's pid" "$(inspect '{{.State.Pid}}' pidfile)" "$(cat "$work/pidfile")"
same "podman run --conmon-pidfile: conmon's pid" conmon "$(cat "/proc/$(cat "$work/conmon.pid")/comm")"
same "podman run: its parent is conmon" "$(cat "$work/conmon.pid")" "$(sed -n 's/^PPid:.//p' "/proc/$(cat "$work/pidfile")/status")"
ends "podman container checkpoint: refused" 125 podman container checkpoint pidfile
has "podman container checkpoint: the sentence" '[Cc]heckpoint|CRIU|criu' "$output"
same "podman container checkpoint: the container goes on" running "$(inspect '{{.State.Status}}' pidfile)"
has "podman generate systemd: the unit" '^ExecStart=/usr/bin/podman start ' "$(podman generate systemd pidfile 2>&1)"

# listen SOCKET: prints what arrives there until READY=1 has.
listen() {
    timeout 20 perl -e 'use Socket; $| = 1; socket(S, AF_UNIX, SOCK_DGRAM, 0); bind(S, sockaddr_un($ARGV[0])) or die; chmod 0666, $ARGV[0];
        print "bound\n"; while (defined recv(S, $_, 4096, 0)) { tr/\n/ /; print "$_\n"; last if /READY=1/ }' "$1" 2>&1
}
for kind in conmon container; do
    listen "$work/notify-$kind" >"$work/notified-$kind" &
    listener=$!
    within 15 grep -q bound "$work/notified-$kind"
    case $kind in
    conmon) program=(sleep 50) ;;
    # The host's perl: busybox cannot send a datagram to a socket in the file system.
    container) program=(/usr/bin/perl -e 'use Socket; socket(S, AF_UNIX, SOCK_DGRAM, 0); send(S, "READY=1", 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or die "$!\n"; sleep 50') ;;
    esac
    NOTIFY_SOCKET=$work/notify-$kind podman run --cgroup-parent "/$tag" -d --name "notify-$kind" --sdnotify=$kind \
        -v /usr:/usr:ro -v /usr/lib:/lib:ro -v /usr/lib64:/lib64:ro $image "${program[@]}" >"$work/log" 2>&1 || cat "$work/log"
    wait $listener
    has "podman run --sdnotify=$kind: READY=1 reaches the caller" 'READY=1' "$(cat "$work/notified-$kind")"
done
has "podman run --sdnotify=conmon: MAINPID is conmon" "MAINPID=$(inspect '{{.State.ConmonPid}}' notify-conmon)" "$(cat "$work/notified-conmon")"
same "podman run --sdnotify=ignore: no variable" "socket none" \
    "$(NOTIFY_SOCKET=$work/notify-none run --rm --sdnotify=ignore $image sh -c 'echo "socket ${NOTIFY_SOCKET-none}"' 2>&1)"

run -d --name again --restart on-failure:2 $image sh -c 'echo life; sleep 0.2; exit 1' >"$work/log" 2>&1
within 15 sh -c "test \$(/usr/bin/podman --events-backend file logs again | grep -c life) = 3"
sleep 1
same "podman run --restart on-failure:2: three lives" 3 "$(podman logs again | grep -c life)"
same "podman run --restart on-failure:2: then it stays away" "exited 1" "$(inspect '{{.State.Status}} {{.State.ExitCode}}' again)"
run -d --name well --health-cmd 'test -e /tmp/well' --health-interval disable --health-retries 1 $image sleep 100 >"$work/log" 2>&1
ends "podman healthcheck run: unhealthy" 1 podman healthcheck run well
same "podman inspect: unhealthy" unhealthy "$(inspect '{{.State.Health.Status}}' well)"
podman exec well touch /tmp/well
ends "podman healthcheck run: healthy" 0 podman healthcheck run well
same "podman inspect: healthy" healthy "$(inspect '{{.State.Health.Status}}' well)"
output=$(podman --log-level debug run --cgroup-parent "/$tag" --rm $image true 2>&1)
lacks "podman --log-level debug: no complaint about the configuration" 'level=(error|warning)' "$output"
has "podman container runlabel, inspect: cgroups path" "/$tag/libpod-" "$(inspect '{{.State.CgroupPath}}' well)"
# The error sentence arrives whole only if podman asked for JSON, which it does for a runtime listed in containers.conf.
output=$(run --rm $image /missing 2>&1)
lacks "containers.conf: errors come as JSON and are shown as text" 'level=error|\{"level"' "$output"
has "containers.conf: the runtime's name stands in front" "^Error: $runtime: " "$output"
