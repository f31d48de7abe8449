# from, run, commit: single steps in a working container.
options=()
container=$(buildah from --name working $image 2>&1)
same "buildah from: the container" working "$container"
same "buildah run: output" "out" "$(in_container working -- echo out 2>&1)"
in_container working -- sh -c 'exit 9' >"$work/log" 2>&1
same "buildah run: the exit status" 9 $?
same "buildah run: input" given "$(echo given | in_container working -- cat 2>&1)"
output=$(in_container working -- sh -c 'echo out; echo err >&2' 2>"$work/err")
same "buildah run: stdout and stderr stay apart" "out err" "$output $(cat "$work/err")"
options=(--user 1000:1000 --workingdir /tmp --env A=b --hostname named --cap-add CAP_NET_ADMIN --volume "$work/context:/ctx:ro" --mount type=tmpfs,target=/fast)
output=$(in_container working -- sh -c 'id -u; pwd; echo $A; hostname; cat /ctx/file; grep -c " /fast " /proc/mounts; sed -n "s/^CapBnd:.//p" /proc/self/status' 2>&1)
same "buildah run: user, directory, environment, name, volume, tmpfs" "1000 /tmp b named from the context 1" "$(head -n 6 <<<"$output" | xargs)"
[ $((0x$(tail -n 1 <<<"$output") & 0x1000)) != 0 ]
same "buildah run --cap-add: the bounding set" 0 $?
options=(--terminal)
output=$(typed --size 31x101 -- /usr/bin/buildah run --runtime "$RUNTIME" --isolation oci -t working -- sh -c 'tty; stty size; exit 8')
same "buildah run -t: the exit status" 8 $?
has "buildah run -t: a terminal" '/dev/pts/' "$output"
has "buildah run -t: the size of the caller's" '31 101' "$output"
for option in '--network none' '--network host' '--ipc host' '--pid host' '--uts host' '--cgroupns host' '--isolation chroot'; do
    options=($option)
    succeeds "buildah run $option: it runs" in_container working -- true
done
options=()
in_container working -- /missing >"$work/log" 2>&1
status=$?
[ $status != 0 ]
same "buildah run: a missing program fails" 0 $?
has "buildah run: a missing program, in words" '/missing.*no such file|/missing.*not found' "$(cat "$work/log")"
in_container working -- sh -c 'echo made >/made' >"$work/log" 2>&1
succeeds "buildah commit: an image" buildah commit -q working localhost/committed
same "podman run: what buildah committed" made "$(run --rm localhost/committed cat /made 2>&1)"

# Killed in the middle: a signal to buildah ends the program; nothing of it may stay.
for signal in TERM INT KILL; do
    setsid timeout -s KILL 60 /usr/bin/buildah run --runtime "$RUNTIME" --isolation oci working -- sh -c 'echo up; sleep 4321' >"$work/cut" 2>&1 &
    disown
    within 10 grep -q up "$work/cut"
    pid=$(left_processes "/usr/bin/buildah run --runtime $RUNTIME --isolation oci working" | grep -v timeout | head -n 1 | cut -d' ' -f1)
    kill -$signal "$pid"
    within 15 sh -c "! grep -qs sleep.4321 /proc/[0-9]*/cmdline"
    case $signal in
    KILL) ends "buildah run: after KILL the runtime's delete --force cleans up" 0 \
            sh -c "for id in \$(ls /run/$runtime 2>/dev/null); do $RUNTIME delete --force \$id || exit; done" ;;
    *) within 15 sh -c "test -z \"\$(ls /run/$runtime 2>/dev/null)\""
        same "buildah run: after $signal no state is left" "" "$(ls "/run/$runtime" 2>/dev/null)" ;;
    esac
    same "buildah run: after $signal no process is left" "" "$(left_processes 'sleep 4321$')"
done
rm -rf "$TMPDIR"/buildah*
