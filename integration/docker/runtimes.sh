# runtimes.sh, sourced: how dockerd is told of the runtime, and what it says of it.

succeeds "docker info: it answers" docker info
has "docker info: the added runtimes are listed" '^ Runtimes:.* debug.* tested| Runtimes:.* tested.* debug' "$output"
has "docker info: the default runtime" '^ Default Runtime: tested$' "$output"

succeeds "docker run: by the default runtime" run --name first $image cat /proc/self/cgroup
has "docker run: the container's cgroup is below the daemon's parent" "/$tag/[0-9a-f]{64}\$|^[0-9]+:[^:]*:/\$" "$output"
succeeds "docker run --runtime: the same runtime by name" run --runtime tested $image echo named
same "docker run --runtime: its output" named "$output"
succeeds "docker run --runtime: with runtimeArgs" run --runtime debug $image echo wrapped
same "docker run --runtime: no message of the runtime's mixes with the output" wrapped "$output"
has "dockerd: runtimeArgs make a wrapper script" "^exec $RUNTIME --debug|$RUNTIME --debug" "$(cat "$work"/data/runtimes/debug 2>&1)"

: >"$work/runc.calls"
succeeds "docker run --runtime: runc is looked up in PATH" run --runtime runc $image echo looked-up
has "docker run --runtime: the lookup found the one in PATH" ' create .*--bundle' "$(cat "$work/runc.calls")"
ends "docker run --runtime: an unknown name is refused" 125 run --runtime unheard-of $image true
has "docker run --runtime: the refusal names it" 'nknown runtime.*unheard-of' "$output"

docker run -d --runtime debug --name kept-runtime $image sleep 1000 >/dev/null
same "docker inspect: the runtime of a container" debug "$(inspect kept-runtime '{{.HostConfig.Runtime}}')"
succeeds "docker exec: in a container with runtimeArgs" docker exec kept-runtime echo inside
same "docker exec: its output with runtimeArgs" inside "$output"
same "dockerd: the runtime keeps its state where it was told" "$(inspect kept-runtime '{{.Id}}')" "$(ls "$work"/exec/runtime-*/moby 2>&1)"
remove kept-runtime
