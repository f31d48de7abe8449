# Failures: the exit status that Podman makes of the runtime's sentence, and that the sentence is there.

# fails NAME STATUS PATTERN PODMAN-ARG...: prints the sentence as a comment too.
fails() {
    local name=$1 status=$2 pattern=$3
    shift 3
    ends "$name: exit status" "$status" "$@"
    has "$name: the sentence" "$pattern" "$output"
    echo "# sentence: $name: $(grep -v '^#' <<<"$output" | tail -n 1 | sed "s|$work|WORK|g; s/[0-9a-f]\{64\}/ID/g")"
}

fails "podman run: a missing program" 127 'no such file or directory|not found' run --rm $image /missing
fails "podman run: a missing program in PATH" 127 'not found' run --rm $image missing
fails "podman run: a file that is not executable" 126 '[Pp]ermission denied' run --rm $image /etc/passwd
fails "podman run: a directory as program" 126 '[Pp]ermission denied|is a directory' run --rm $image /etc
printf 'garbage' >"$work/garbage" && chmod 755 "$work/garbage"
fails "podman run: a file that is no program" 126 'exec format error|Exec format error' run --rm -v "$work/garbage:/garbage" $image /garbage
printf '#!/missing/interpreter\n' >"$work/script" && chmod 755 "$work/script"
# Known only to execve, so it is `start` that fails: 126 in either case.
fails "podman run: a script whose interpreter is missing" 126 'no such file or directory|not found' \
    run --rm -v "$work/script:/script" $image /script
fails "podman run: an unknown user" 126 'nobodyatall' run --rm --user nobodyatall $image true
fails "podman run: a working directory that is a file" 126 'not a directory|Not a directory|etc/passwd' run --rm -w /etc/passwd $image true
fails "podman run: a missing device" 125 '/dev/missing' run --rm --device /dev/missing $image true
fails "podman run: a missing volume source" 125 '/missing' run --rm -v /missing:/mnt $image true
fails "podman run: a bind onto a file inside a file" 126 'etc/passwd' run --rm -v "$work/garbage:/etc/passwd/x" $image true
fails "podman run: a sysctl that is not of a namespace" 125 'kernel.panic' run --rm --sysctl kernel.panic=1 $image true
fails "podman run: a sysctl that does not exist" 127 'net.ipv4.missing|net/ipv4/missing' run --rm --sysctl net.ipv4.missing=1 $image true
fails "podman run: an unknown capability" 125 'CAP_EVERYTHING' run --rm --cap-add EVERYTHING $image true
fails "podman run: CPUs that the host lacks" 125 'CPUs' run --rm --cpuset-cpus 900 $image true
fails "podman run: more open files than the host allows" 126 'not permitted' run --rm --ulimit nofile=1048576:1048576 $image true
echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_MISSING"}]}' >"$work/bad.json"
fails "podman run: an unknown seccomp action" 126 'SCMP_ACT_MISSING|seccomp' run --rm --security-opt "seccomp=$work/bad.json" $image true
fails "podman run: an unknown apparmor profile" 125 '[Aa]pp[Aa]rmor' run --rm --security-opt apparmor=missing $image true
hold fails
fails "podman exec: a missing program" 127 'no such file or directory|not found' podman exec fails /missing
fails "podman exec: a missing program in PATH" 127 'not found' podman exec fails missing
fails "podman exec: a file that is not executable" 126 '[Pp]ermission denied' podman exec fails /etc/passwd
fails "podman exec: a directory as program" 126 '[Pp]ermission denied|is a directory' podman exec fails /etc
fails "podman exec: an unknown user" 255 'nobodyatall' podman exec -u nobodyatall fails true
fails "podman exec: a missing working directory" 127 'missing' podman exec -w /missing fails true
ends "podman exec -d: a missing program is refused" 125 podman exec -d fails /missing
podman stop -t 5 fails >"$work/log" 2>&1
fails "podman exec: an ended container" 255 'running' podman exec fails true
fails "podman kill: an ended container" 125 'running' podman kill fails
same "podman run: failures leave no cgroup" "" "$(left_of_containers)"
same "podman run: failures leave no state" "" "$(ls "/run/$runtime" 2>/dev/null)"
