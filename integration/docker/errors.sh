# errors.sh, sourced: what the user sees of a container that cannot be: docker's exit status and sentence. 125 is the
# daemon's own failure, 126 a command that cannot be executed, 127 one that is not there; dockerd finds out which by
# looking for phrases in the runtime's message.

# refused NAME STATUS PATTERN ARGUMENT...: docker run ends with that status and a sentence that matches.
refused() {
    local name=$1 status=$2 pattern=$3
    shift 3
    local got=0
    output=$(run "$@" 2>&1 </dev/null) || got=$?
    has "docker run: $name: exit status" "^($status)\$" "$got"
    output=$(grep -vE '^$|docker run --help|^time=' <<<"$output")
    echo "# sentence | $name | $got | $output"
    has "docker run: $name: the sentence" "$pattern" "$output"
    # dockerd rejects newlines and colours badly: what the runtime says is one line.
    same "docker run: $name: in one line" 1 "$(wc -l <<<"$output")"
}

refused "a missing binary" 127 '"?no-such-binary"?.*(executable file .*not found|[Nn]o such file)' $image no-such-binary
refused "a missing path" 127 '/no/such/path.*[Nn]o such file' $image /no/such/path
refused "a file that is not executable" 126 '/etc/not-executable.*[Pp]ermission denied' $image /etc/not-executable
refused "a directory as command" 126 '/etc.*(permission denied|is a directory|Permission denied)' $image /etc
refused "an entrypoint that is missing" 127 'no-such-entry' --entrypoint no-such-entry $image
refused "an unknown user" 125 'unable to find user nobody-known: no matching entries' --user nobody-known $image true
refused "an unknown group" 125 'unable to find group nogroup-known' --user root:nogroup-known $image true
refused "a memory limit below docker's least" 125 'Minimum memory limit' --memory 1m $image true
refused "a memory limit without a number" 125 'invalid size' --memory lots $image true
refused "a swap limit below the memory limit" 125 'Minimum memoryswap limit' --memory 64m --memory-swap 32m $image true
refused "a cpuset the host has not" 125 'CPUs are not available' --cpuset-cpus 4000 $image true
refused "a missing device" 127 'no-such-device' --device /dev/no-such-device $image true
refused "a missing source of a bind mount" 125 'bind source path does not exist' --mount type=bind,source=/no/such/dir,target=/mnt $image true
refused "a directory mounted over a file" '125|126|127' '[Nn]ot a directory' -v /etc:/etc/passwd $image true
refused "a working directory that is a file" 125 '/etc/passwd is not a directory' --workdir /etc/passwd $image true
refused "a sysctl that is not namespaced" 125 'sysctl' --sysctl kernel.panic=1 $image true
refused "a sysctl that does not exist" 127 'net.ipv4.no_such' --sysctl net.ipv4.no_such=1 $image true
refused "an unknown capability" 125 'CAP_FLY|FLY' --cap-add FLY $image true
refused "an open files limit above the host's" 125 '[Oo]peration not permitted|RLIMIT_NOFILE|rlimit' --ulimit nofile=999999:999999 $image true
refused "a seccomp profile that is not JSON" 125 'seccomp profile .* failed' --security-opt seccomp=/etc/passwd $image true
refused "a network that is not there" 125 'network no-such-network not found' --network no-such-network $image true

succeeds "docker run --workdir: a missing directory is made" run --workdir /made/on/demand $image pwd
same "docker run --workdir: and entered" /made/on/demand "$output"
within 10 eval '[ -z "$(left_cgroups; left_processes containerd-shim)" ]'
same "docker: nothing of failed containers is left in cgroups" "" "$(left_cgroups)"
same "docker: no shim of a failed container is left" "" "$(left_processes containerd-shim)"

docker run -d --name host $image sleep 1000 >/dev/null
exec_refused() {
    local name=$1 status=$2 pattern=$3
    shift 3
    ends "docker exec: $name: exit status" "$status" docker exec "$@"
    echo "# sentence | exec: $name | $output"
    has "docker exec: $name: the sentence" "$pattern" "$output"
}
exec_refused "a missing binary" 126 'no-such-binary.*executable file .*not found|no-such-binary.*[Nn]o such file' host no-such-binary
exec_refused "a file that is not executable" 126 '[Pp]ermission denied' host /etc/not-executable
exec_refused "a directory as command" 126 '[Pp]ermission denied|is a directory' host /etc
exec_refused "an unknown user" 126 'unable to find user nobody-known' --user nobody-known host true
exec_refused "a missing working directory" 126 '/no/such/dir' --workdir /no/such/dir host true
docker pause host >/dev/null
exec_refused "in a paused container" 1 'is paused' host true
docker unpause host >/dev/null
docker kill host >/dev/null
exec_refused "in a stopped container" 1 'is not running' host true
remove host
